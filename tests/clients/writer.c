/*
 * writer FILE VALUE: writes VALUE to a file; a SIGINT meanwhile interrupts it. Says "writing", then "ok" or the
 * name of the error.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void on_signal(int signal) { (void)signal; }

int main(int argc, char **argv) {
    struct sigaction action = {.sa_handler = on_signal};
    if (argc != 3 || sigaction(SIGINT, &action, 0))
        return 2;
    int file = open(argv[1], O_WRONLY);
    if (file < 0)
        return 1;
    puts("writing");
    fflush(stdout);
    long written = write(file, argv[2], strlen(argv[2]));
    puts(written < 0 ? strerrorname_np(errno) : "ok");
    return 0;
}
