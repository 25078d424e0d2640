/* many N: N processes run at once, preempted in turn, and all end. */
#include "say.h"
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 20;
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        must(child >= 0);
        if (child == 0) {
            volatile unsigned long sum = 0;
            for (unsigned long j = 0; j < 2000000; j++)
                sum += j * i;
            _exit(sum % 97);
        }
    }
    long total = 0;
    for (int i = 0; i < count; i++) {
        int status;
        must(wait(&status) > 0 && WIFEXITED(status));
        total += WEXITSTATUS(status);
    }
    say("%d children, sum of statuses %ld", count, total);
    return 0;
}
