/* Handlers run, masks hold signals back, SIGCHLD tells of a child, a handler returns to where it came from. */
#include "say.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t seen[65];
static volatile sig_atomic_t order[8], order_length;

static void count(int signal) {
    seen[signal]++;
}

static void note(int signal, siginfo_t *info, void *context) {
    (void)context;
    order[order_length++] = signal == SIGUSR1 ? 1 : 2;
    order[order_length++] = info->si_pid == getpid();
    if (signal == SIGUSR1)
        raise(SIGUSR2);
}

static void handle(int signal, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    must(sigaction(signal, &action, 0) == 0);
}

static void show_delivery_and_masks(void) {
    sigset_t one, pending;
    handle(SIGUSR1, count, 0);
    handle(SIGINT, count, 0);
    handle(SIGTERM, count, SA_RESETHAND);
    raise(SIGUSR1);
    kill(getpid(), SIGINT);
    raise(SIGTERM);
    struct sigaction now;
    sigaction(SIGTERM, 0, &now);
    say("USR1 %d INT %d TERM %d, TERM is default again: %d", seen[SIGUSR1], seen[SIGINT], seen[SIGTERM],
        now.sa_handler == SIG_DFL);
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    sigprocmask(SIG_BLOCK, &one, 0);
    raise(SIGUSR1);
    raise(SIGUSR1);
    sigpending(&pending);
    say("blocked: USR1 %d, pending %d", seen[SIGUSR1], sigismember(&pending, SIGUSR1));
    sigprocmask(SIG_UNBLOCK, &one, 0);
    say("unblocked: USR1 %d", seen[SIGUSR1]);
    signal(SIGUSR2, SIG_IGN);
    raise(SIGUSR2);
    say("ignored: alive");
}

static void show_nesting(void) {
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    sigaddset(&action.sa_mask, SIGUSR2);
    must(sigaction(SIGUSR1, &action, 0) == 0 && sigaction(SIGUSR2, &action, 0) == 0);
    raise(SIGUSR1);
    say("nested: %d%d %d%d", order[0], order[1], order[2], order[3]);
}

static void show_children(void) {
    handle(SIGCHLD, count, 0);
    sigset_t none, chld;
    sigemptyset(&none);
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, 0);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0)
        _exit(7);
    int result = sigsuspend(&none);
    say("sigsuspend: %s, CHLD %d", outcome(result), seen[SIGCHLD]);
    int status;
    must(wait(&status) == child);
    say("child ended with %d", WEXITSTATUS(status));
    sigprocmask(SIG_UNBLOCK, &chld, 0);
}

static void show_interruption(int flags, const char *name) {
    int ends[2];
    must(pipe(ends) == 0);
    handle(SIGUSR1, count, flags);
    pid_t parent = getpid(), child = fork();
    must(child >= 0);
    if (child == 0) {
        usleep(100000);
        kill(parent, SIGUSR1);
        usleep(100000);
        write(ends[1], "x", 1);
        _exit(0);
    }
    char byte;
    ssize_t got = read(ends[0], &byte, 1);
    say("read under %s: %s", name, outcome(got));
    while (wait(0) < 0 && errno == EINTR)
        ;
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    show_delivery_and_masks();
    show_nesting();
    show_children();
    show_interruption(0, "no flag");
    show_interruption(SA_RESTART, "SA_RESTART");
    return 0;
}
