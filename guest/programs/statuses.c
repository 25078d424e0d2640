/* Wait statuses of children that end in every way, WNOHANG, ECHILD, orphans, waitid. */
#include "say.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void show(const char *name, int status) {
    if (WIFEXITED(status))
        say("%s: exited %d", name, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        say("%s: killed by %s", name, sigabbrev_np(WTERMSIG(status)));
    else
        say("%s: %x", name, status);
}

static int wait_for(pid_t child) {
    int status;
    must(waitpid(child, &status, 0) == child);
    return status;
}

int main(void) {
    /* Who starts tests in the background may have it ignored. */
    signal(SIGHUP, SIG_DFL);
    int codes[] = {0, 1, 42, 255, 256 + 3};
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        must(child >= 0);
        if (child == 0)
            _exit(codes[i]);
        show("exit", wait_for(child));
    }
    int signals[] = {SIGTERM, SIGKILL, SIGUSR1, SIGALRM, SIGPIPE, SIGHUP};
    for (int i = 0; i < 6; i++) {
        pid_t child = fork();
        must(child >= 0);
        if (child == 0) {
            kill(getpid(), signals[i]);
            _exit(1);
        }
        show("signal", wait_for(child) & ~0x80);
    }
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    int status = 0;
    say("WNOHANG while it lives: %d", waitpid(child, &status, WNOHANG));
    say("kill 0: %s", outcome(kill(child, 0)));
    kill(child, SIGKILL);
    show("paused", wait_for(child));
    say("kill of the dead: %s", outcome(kill(child, 0)));
    say("wait without children: %s", outcome(wait(0)));
    say("bad options: %s", outcome(waitpid(-1, 0, 0x1000)));
    child = fork();
    if (child == 0)
        _exit(9);
    siginfo_t info = {0};
    must(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0);
    say("waitid: same child %d, code %d, status %d", info.si_pid == child, info.si_code, info.si_status);
    show("after WNOWAIT", wait_for(child));
    signal(SIGCHLD, SIG_IGN);
    if (fork() == 0)
        _exit(0);
    say("with SIGCHLD ignored: %s", outcome(wait(0)));
    return 0;
}
