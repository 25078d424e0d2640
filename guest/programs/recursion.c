/* The stack grows to megabytes; beyond its limit the process dies of SIGSEGV, and only that one. */
#include "say.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) static unsigned long descend(unsigned long depth) {
    volatile char frame[1000];
    frame[depth % 1000] = (char)depth;
    return depth == 0 ? 0 : descend(depth - 1) + (frame[depth % 1000] == (char)depth);
}

int main(void) {
    struct rlimit limit;
    must(getrlimit(RLIMIT_STACK, &limit) == 0);
    say("stack limit is 8 MiB or more: %d", limit.rlim_cur >= 8 << 20);
    say("6000 frames: %lu", descend(6000));
    pid_t child = fork();
    must(child >= 0);
    if (child == 0)
        _exit(descend(1UL << 40) != 0);
    int status;
    must(waitpid(child, &status, 0) == child);
    say("endless: %s", WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : "exited");
    return 0;
}
