/* A sleep that is stopped just before its end ends then, and does not start over. */
#include "say.h"
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SLEEP_NS 3000000000L

static long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

int main(void) {
    int ready[2], status;
    must(pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
        struct timespec wish = {SLEEP_NS / 1000000000L, SLEEP_NS % 1000000000L};
        long start = now_ns();
        must(write(ready[1], &start, sizeof start) == sizeof start);
        int answer = nanosleep(&wish, 0);
        long slept = now_ns() - start;
        /* Started over it would take nearly twice as long. */
        _exit(answer != 0 ? 1 : slept < SLEEP_NS ? 2 : slept > SLEEP_NS * 11 / 6 ? 3 : 0);
    }
    long start;
    must(child > 0 && read(ready[0], &start, sizeof start) == sizeof start);
    while (now_ns() < start + SLEEP_NS * 29 / 30)
        usleep(10000);
    must(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    must(kill(child, SIGCONT) == 0 && waitpid(child, &status, 0) == child);
    say("the child slept as long as it wanted: %d", WEXITSTATUS(status));
    return 0;
}
