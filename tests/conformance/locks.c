// Locks of files: flock(), record locks of processes and of open files, waiting, circles.
#include "conform.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

static char path[] = "/tmp/lockXXXXXX";

static int lock(int fd, int command, int type, long start, long len) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return (int)err(fcntl(fd, command, &lock));
}

static void show(const char *what, int fd, int command, int type, long start, long len) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    int result = fcntl(fd, command, &lock);
    printf("%s: %d type %d start %ld len %ld parent %d none %d\n", what, result, lock.l_type,
           (long)lock.l_start, (long)lock.l_len, lock.l_pid == getppid(), lock.l_pid == -1);
}

static int in_child(int (*run)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int result = run();
        fflush(stdout);
        _exit(result);
    }
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int others(void) {
    int fd = open(path, O_RDWR);
    show("whole", fd, F_GETLK, F_WRLCK, 0, 0);
    show("before", fd, F_GETLK, F_WRLCK, 0, 10);
    show("read in read", fd, F_GETLK, F_RDLCK, 100, 10);
    show("write in read", fd, F_GETLK, F_WRLCK, 100, 10);
    printf("set %d\n", lock(fd, F_SETLK, F_WRLCK, 15, 1));
    printf("set elsewhere %d\n", lock(fd, F_SETLK, F_WRLCK, 50, 1));
    printf("shared %d\n", lock(fd, F_SETLK, F_RDLCK, 100, 5));
    return 0;
}

static int flocks(void) {
    int fd = open(path, O_RDONLY);
    printf("exclusive %ld", err(flock(fd, LOCK_EX | LOCK_NB)));
    printf(" shared %ld\n", err(flock(fd, LOCK_SH | LOCK_NB)));
    return 0;
}

static int all_free(void) {
    int fd = open(path, O_RDWR);
    int one = lock(fd, F_SETLK, F_WRLCK, 0, 0), other = flock(fd, LOCK_EX | LOCK_NB);
    return one == 0 && other == 0;
}

static void nothing(int signal) { (void)signal; }

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    int fd = mkstemp(path);
    ftruncate(fd, 1000);

    printf("set %d %d\n", lock(fd, F_SETLK, F_WRLCK, 10, 10), lock(fd, F_SETLK, F_RDLCK, 100, 20));
    show("own", fd, F_GETLK, F_WRLCK, 0, 0);
    in_child(others);
    printf("middle %d\n", lock(fd, F_SETLK, F_UNLCK, 13, 4));
    printf("grow %d\n", lock(fd, F_SETLK, F_RDLCK, 120, 0));
    in_child(others);
    close(open(path, O_RDONLY));
    printf("free after a close %d\n", in_child(all_free));

    printf("flock %d\n", flock(fd, LOCK_SH));
    in_child(flocks);
    printf("change %d\n", flock(fd, LOCK_EX));
    in_child(flocks);
    int copy = dup(fd);
    close(copy);
    in_child(flocks);
    printf("unlock %d\n", flock(fd, LOCK_UN));
    printf("free %d\n", in_child(all_free));
    int second = open(path, O_RDWR);
    printf("two in one %d", flock(fd, LOCK_EX));
    printf(" %ld\n", err(flock(second, LOCK_SH | LOCK_NB)));
    printf("nonsense %ld\n", err(flock(fd, 77)));
    flock(fd, LOCK_UN);

    printf("of files %d", lock(fd, F_OFD_SETLK, F_WRLCK, 0, 100));
    printf(" %d", lock(second, F_OFD_SETLK, F_WRLCK, 50, 100));
    printf(" %d\n", lock(second, F_OFD_SETLK, F_WRLCK, 100, 100));
    show("of file", second, F_OFD_GETLK, F_RDLCK, 0, 0);
    printf("against the process %d\n", lock(fd, F_SETLK, F_WRLCK, 0, 10));
    close(second);
    printf("gone with the file %d\n", lock(fd, F_OFD_SETLK, F_WRLCK, 100, 100));
    lock(fd, F_OFD_SETLK, F_UNLCK, 0, 0);

    int ready[2];
    pipe(ready);
    char byte;
    lock(fd, F_SETLK, F_WRLCK, 0, 1);
    pid_t child = fork();
    if (child == 0) {
        lock(fd, F_SETLK, F_WRLCK, 1, 1);
        write(ready[1], "x", 1);
        _exit(lock(fd, F_SETLKW, F_WRLCK, 0, 1) == 0 ? 5 : 6);
    }
    read(ready[0], &byte, 1);
    // One of the two closes the circle and is told, whoever comes second.
    int mine = lock(fd, F_SETLKW, F_WRLCK, 1, 1);
    if (mine == -EDEADLK)
        lock(fd, F_SETLK, F_UNLCK, 0, 1);
    int status;
    waitpid(child, &status, 0);
    printf("a circle is seen %d\n", (mine == -EDEADLK) != (WEXITSTATUS(status) == 6));

    lock(fd, F_SETLK, F_WRLCK, 0, 1);
    child = fork();
    if (child == 0) {
        struct sigaction action = {.sa_handler = nothing};
        sigaction(SIGALRM, &action, NULL);
        ualarm(20000, 0);
        int result = lock(fd, F_SETLKW, F_WRLCK, 0, 1);
        printf("interrupted %d\n", result);
        _exit(0);
    }
    waitpid(child, &status, 0);

    int reading = open(path, O_RDONLY);
    printf("no right to write %d\n", lock(reading, F_SETLK, F_WRLCK, 0, 1));
    printf("bad type %d\n", lock(fd, F_SETLK, 9, 0, 1));
    printf("bad start %d\n", lock(fd, F_SETLK, F_WRLCK, -5, 1));
    printf("negative length %d\n", lock(fd, F_SETLK, F_WRLCK, 50, -10));
    printf("bad address %ld\n", err(fcntl(fd, F_SETLK, (void *)8)));
    unlink(path);
    return 0;
}
