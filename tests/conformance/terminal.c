// What a stream that is no terminal says of itself.
#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

int main(void) {
    struct termios settings;
    struct winsize window;
    for (int fd = 0; fd < 3; fd++) {
        printf("%d: isatty %d", fd, isatty(fd));
        printf(" %d", errno);
        printf(" settings %d", tcgetattr(fd, &settings));
        printf(" %d", errno);
        printf(" window %d", ioctl(fd, TIOCGWINSZ, &window));
        printf(" %d\n", errno);
    }
    return 0;
}
