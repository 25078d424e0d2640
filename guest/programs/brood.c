/*
 * brood COUNT: makes so many children that do nothing, says how many there are, waits for its
 * standard input to end, then ends and reaps them all and says so.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 0, made = 0;
    char line[16];
    setvbuf(stdout, 0, _IONBF, 0);
    printf("ready\n");
    read(0, line, sizeof line);
    for (; made < count; made++) {
        pid_t child = fork();
        if (child == 0)
            for (;;)
                pause();
        if (child < 0)
            break;
    }
    printf("%d children: %s\n", made, made < count ? strerror(errno) : "all");
    read(0, line, sizeof line);
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
    while (wait(0) > 0)
        ;
    printf("reaped\n");
    while (read(0, line, sizeof line) > 0)
        ;
    return 0;
}
