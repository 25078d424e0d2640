// Descriptors: how many there may be, which is the lowest, and files opened through /proc/self/fd.
#include "conform.h"
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static void limit(rlim_t most) {
    struct rlimit wish;
    getrlimit(RLIMIT_NOFILE, &wish);
    wish.rlim_cur = most;
    printf("limit %lu: %ld\n", (unsigned long)most, err(setrlimit(RLIMIT_NOFILE, &wish)));
}

static void limits(void) {
    struct rlimit wish = {1048577, 1048577};
    printf("more than there may ever be %ld", err(setrlimit(RLIMIT_NOFILE, &wish)));
    wish.rlim_cur = wish.rlim_max = RLIM_INFINITY;
    printf(" no limit %ld", err(setrlimit(RLIMIT_NOFILE, &wish)));
    wish = (struct rlimit){10, 5};
    printf(" upside down %ld\n", err(setrlimit(RLIMIT_NOFILE, &wish)));
    limit(200);
    int fd, last = -1;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        last = fd;
    printf("last %d then %d\n", last, -errno);
    printf("dup %ld", err(dup(0)));
    printf(" dup2 within %ld", err(dup2(0, 199)));
    printf(" beyond %ld", err(dup2(0, 200)));
    printf(" from the limit on %ld", err(fcntl(0, F_DUPFD, 200)));
    printf(" from the last on %ld", err(fcntl(0, F_DUPFD, 199)));
    printf(" pipe %ld\n", err(pipe((int[2]){0, 0})));
    printf("closed %ld", err(close(70)));
    printf(" %ld", err(close(65)));
    printf(", the lowest is %ld", err(dup(0)));
    printf(", then %ld\n", err(fcntl(0, F_DUPFD_CLOEXEC, 66)));
    limit(50);
    printf("what is open stays: %ld", err(fcntl(100, F_GETFD)));
    printf(", closed %ld", err(close(100)));
    printf(", anew %ld\n", err(dup(0)));
    printf("all closed %ld\n", err(close_range(3, ~0U, 0)));
    limit(1000);
    printf("far away %ld", err(dup2(1, 999)));
    printf(", the lowest is %ld\n", err(dup(0)));
    close_range(3, ~0U, 0);
}

static void again(void) {
    char path[] = "/tmp/conform-again-XXXXXX", link[64], name[64];
    int fd = mkstemp(path);
    write(fd, "some text", 9);
    sprintf(link, "/proc/self/fd/%d", fd);
    sprintf(name, "/dev/fd/%d", fd);
    char text[16] = "";
    int second = open(name, O_RDONLY);
    printf("opened again reads %ld bytes from the start: %s\n", err(read(second, text, 15)), text);
    close(second);
    printf("chmod %ld", err(chmod(link, 0640)));
    struct stat about;
    fstat(fd, &about);
    printf(" mode %o\n", about.st_mode);
    int place = open(path, O_PATH);
    sprintf(link, "/proc/self/fd/%d", place);
    printf("by path %ld", err(chmod(link, 0604)));
    fstat(fd, &about);
    printf(" mode %o", about.st_mode);
    printf(", by descriptor %ld", err(fchmod(place, 0600)));
    printf(", read %ld", err(read(place, text, 1)));
    second = open(link, O_RDWR);
    printf(" opened for writing %ld\n", err(write(second, "S", 1)));
    close(second), close(place), close(fd), unlink(path);
    mkdir("/tmp/conform-again", 0700);
    int directory = open("/tmp/conform-again", O_RDONLY | O_DIRECTORY);
    printf("a directory %ld", err(fchmod(directory, 0751)));
    stat("/tmp/conform-again", &about);
    printf(" mode %o", about.st_mode);
    sprintf(name, "/proc/self/fd/%d/inside", directory);
    printf(" a directory in it %ld", err(mkdir(name, 0700)));
    printf(" %ld\n", err(rmdir("/tmp/conform-again/inside")));
    close(directory), rmdir("/tmp/conform-again");
    printf("a device and more %ld", err(open("/dev/null/x", O_RDONLY)));
    printf(", no such descriptor %ld\n", err(open("/dev/fd/77", O_RDONLY)));
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    limits();
    again();
    return 0;
}
