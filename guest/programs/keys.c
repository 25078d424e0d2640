/* What a terminal does besides lines: reads with a time limit, another size, the end of the connection. */
#include "say.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static volatile int signals;

static void count(int signal) {
    (void)signal;
    signals++;
}

static void set(int least, int tenths) {
    struct termios settings;
    must(tcgetattr(0, &settings) == 0);
    settings.c_lflag &= ~(ICANON | ECHO);
    settings.c_cc[VMIN] = least;
    settings.c_cc[VTIME] = tenths;
    must(tcsetattr(0, TCSANOW, &settings) == 0);
}

static void told(const char *what) {
    char bytes[16] = "";
    long length = read(0, bytes, 15);
    say("%s: %ld '%s'", what, length, bytes);
}

static void reads(void) {
    set(0, 0);
    told("at once");
    set(0, 2);
    told("after a fifth of a second");
    set(3, 0);
    say("type three");
    told("three");
    set(5, 2);
    say("type two");
    told("a pause after two");
    set(0, 100);
    say("type one");
    told("one before the time is over");
}

static void resize(unsigned short rows, unsigned short columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns}, seen = {0};
    signals = 0;
    must(ioctl(0, TIOCSWINSZ, &size) == 0 && ioctl(1, TIOCGWINSZ, &seen) == 0);
    say("%d rows, %d columns, %d signals", seen.ws_row, seen.ws_col, signals);
}

int main(int argc, char **argv) {
    struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
    sigaction(SIGWINCH, &action, 0);
    sigaction(SIGHUP, &action, 0);
    if (argc > 1 && strcmp(argv[1], "hangup") == 0) {
        char byte;
        must(vhangup() == 0);
        return 20 + (signals > 0) + 2 * (read(0, &byte, 1) == 0);
    }
    struct termios before;
    must(tcgetattr(0, &before) == 0);
    reads();
    resize(50, 60);
    resize(50, 60);
    resize(51, 60);
    must(tcsetattr(0, TCSADRAIN, &before) == 0);
    say("end");
    return 0;
}
