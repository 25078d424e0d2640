/* forks COUNT: prints the nanoseconds that one fork of a child that exits at once, and the wait for it, take. */
#include "measure.h"
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 100;
    double start = now_ns();
    for (int number = 0; number < count; number++) {
        int status;
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            return 1;
    }
    printf("%.0f\n", (now_ns() - start) / count);
    return 0;
}
