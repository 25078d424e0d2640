/* A program executes itself again: arguments, environment, descriptors and ignored signals as promised. */
#include "say.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void as_successor(char **argv) {
    say("successor: argv[0] '%s', argument '%s', environment '%s'", argv[0], argv[2], getenv("TEST_VALUE"));
    say("a plain descriptor is open: %s", outcome(fcntl(20, F_GETFD)));
    say("a close-on-exec descriptor is closed: %s", outcome(fcntl(21, F_GETFD)));
    struct sigaction action;
    sigaction(SIGUSR1, 0, &action);
    say("ignored stays ignored: %d", action.sa_handler == SIG_IGN);
    sigaction(SIGUSR2, 0, &action);
    say("a handler becomes default: %d", action.sa_handler == SIG_DFL);
    exit(23);
}

static void nothing(int signal) {
    (void)signal;
}

int main(int argc, char **argv) {
    if (argc == 3)
        as_successor(argv);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        must(dup2(1, 20) == 20 && dup3(1, 21, O_CLOEXEC) == 21);
        signal(SIGUSR1, SIG_IGN);
        signal(SIGUSR2, nothing);
        char *arguments[] = {"zero", "one", "two words", 0};
        char *environment[] = {"TEST_VALUE=a value", 0};
        execve(argv[0], arguments, environment);
        _exit(98);
    }
    int status;
    must(waitpid(child, &status, 0) == child);
    say("status %d", WEXITSTATUS(status));
    pid_t quick = vfork();
    if (quick == 0) {
        execl(argv[0], "again", "one", "from vfork", (char *)0);
        _exit(98);
    }
    must(waitpid(quick, &status, 0) == quick);
    say("status %d", WEXITSTATUS(status));
    char *none[] = {"x", 0};
    say("missing: %s", outcome(execve("/nowhere/at/all", none, none)));
    say("a directory: %s", outcome(execve("/", none, none)));
    say("a device: %s", outcome(execve("/dev/null", none, none)));
    return 0;
}
