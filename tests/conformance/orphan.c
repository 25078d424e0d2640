// PR_SET_PDEATHSIG: a child learns of its parent's end by a signal; a fork does not inherit the wish.
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    int told[2];
    int wish = -1;
    if (pipe(told) != 0) {
        return 1;
    }
    printf("refused %d\n", prctl(PR_SET_PDEATHSIG, 65));
    fflush(stdout);
    if (fork() == 0) {
        if (fork() == 0) {
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, SIGUSR2);
            sigprocmask(SIG_BLOCK, &set, NULL);
            prctl(PR_SET_PDEATHSIG, SIGUSR2);
            prctl(PR_GET_PDEATHSIG, &wish);
            printf("wish %d\n", wish);
            fflush(stdout);
            if (write(told[1], "x", 1) != 1) {
                _exit(1);
            }
            int signal = 0;
            sigwait(&set, &signal);
            printf("signal %d\n", signal);
            fflush(stdout);
            _exit(0);
        }
        char byte;
        _exit(read(told[0], &byte, 1) == 1 ? 0 : 1);
    }
    close(told[1]);
    int status;
    wait(&status);
    char byte;
    // The grandchild holds the other end until it ends.
    printf("parent %d, then %zd\n", WEXITSTATUS(status), read(told[0], &byte, 1));
    if (fork() == 0) {
        prctl(PR_GET_PDEATHSIG, &wish);
        _exit(wish);
    }
    wait(&status);
    printf("inherited %d\n", WEXITSTATUS(status));
    return 0;
}
