/* manyfiles COUNT [PATH]: opens PATH (else /dev/null) COUNT times, uses the last descriptor, forks with all of them open. */
#include "say.h"
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    long count = argc > 1 ? atol(argv[1]) : 100;
    const char *path = argc > 2 ? argv[2] : "/dev/null";
    struct rlimit limit = {count + 3, count + 3};
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    long opened = 0;
    int fd, last = 2;
    while ((fd = open(path, O_RDONLY)) >= 0) {
        last = fd;
        if (++opened % 20000 == 0)
            say("%ld", opened);
    }
    say("%ld files, the last %d, then %s", opened, last, strerrorname_np(errno));
    char byte;
    say("the last one reads %zd", read(last, &byte, 1));
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(fcntl(last, F_GETFD) == 0 && close(last) == 0 ? 5 : 6);
    say("a child: %s", child < 0 ? strerrorname_np(errno) : "made");
    if (child > 0)
        must(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 5);
    must(close(last / 2) == 0);
    say("the lowest is free: %d", open(path, O_RDONLY) == last / 2);
    /* With all the memory in use that there is. */
    while (dup(last) >= 0)
        opened++;
    must(close_range(3, ~0U, 0) == 0);
    say("all closed: %d", fcntl(last, F_GETFD) == -1);
    return 0;
}
