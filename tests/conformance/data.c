// Data of files: offsets, vectors, holes, lengths, copies, and what is refused.
#include "conform.h"
#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static char buffer[70000];

static long size_of(int fd) {
    struct stat about;
    fstat(fd, &about);
    return about.st_size;
}

int main(void) {
    char path[] = "/tmp/dataXXXXXX";
    int fd = mkstemp(path);
    printf("write %ld at %ld\n", err(write(fd, "0123456789", 10)), err(lseek(fd, 0, SEEK_CUR)));
    printf("seek %ld %ld %ld %ld %ld\n", err(lseek(fd, 4, SEEK_SET)), err(lseek(fd, -2, SEEK_CUR)), err(lseek(fd, -3, SEEK_END)),
           err(lseek(fd, -1, SEEK_SET)), err(lseek(fd, 0, 99)));
    printf("read %ld %.3s then %ld\n", err(read(fd, buffer, 100)), buffer, err(read(fd, buffer, 100)));
    printf("pwrite %ld pread %ld", err(pwrite(fd, "AB", 2, 4)), err(pread(fd, buffer, 100, 3)));
    printf(" %.7s negative %ld %ld at %ld\n", buffer, err(pread(fd, buffer, 1, -1)), err(pwrite(fd, "x", 1, -1)),
           err(lseek(fd, 0, SEEK_CUR)));
    printf("far %ld size %ld", err(pwrite(fd, "Z", 1, 100000)), size_of(fd));
    printf(" hole %ld %d\n", err(pread(fd, buffer, 10, 5000)), buffer[0]);
    struct stat about;
    fstat(fd, &about);
    printf("sparse %d\n", about.st_blocks * 512 < about.st_size);
    struct iovec parts[3] = {{buffer, 3}, {NULL, 0}, {buffer + 10, 4}};
    lseek(fd, 0, SEEK_SET);
    printf("readv %ld %.3s %.4s\n", err(readv(fd, parts, 3)), buffer, buffer + 10);
    printf("writev %ld at %ld\n", err(writev(fd, parts, 3)), err(lseek(fd, 0, SEEK_CUR)));
    printf("preadv %ld pwritev %ld\n", err(preadv(fd, parts, 3, 99999)), err(pwritev(fd, parts, 1, 20)));
    printf("vectors: none %ld negative %ld many %ld nowhere %ld", err(readv(fd, parts, 0)), err(readv(fd, parts, -1)),
           err(readv(fd, parts, 2000)), err(readv(fd, (struct iovec *)8, 1)));
    struct iovec wraps[2] = {{buffer, SSIZE_MAX}, {buffer, SSIZE_MAX}};
    printf(" negative length %ld", err(readv(fd, (struct iovec[]){{buffer, (size_t)-1}}, 1)));
    printf(" too long %ld\n", err(writev(fd, wraps, 2)));
    char odd[64];
    struct iovec *unaligned = (struct iovec *)(odd + 3);
    struct iovec one = {buffer, 5};
    memcpy(odd + 3, &one, sizeof one);
    lseek(fd, 0, SEEK_SET);
    printf("unaligned %ld\n", err(syscall(SYS_readv, fd, unaligned, 1L)));
    printf("bad buffer %ld kernel %ld wraps %ld write %ld\n", err(read(fd, (void *)8, 5)),
           err(read(fd, (void *)0xffff888000000000, 5)), err(read(fd, (void *)-3, 5)), err(write(fd, (void *)8, 5)));
    lseek(fd, 0, SEEK_SET);
    printf("nothing %ld from nowhere %ld\n", err(read(fd, buffer, 0)), err(read(fd, (void *)8, 0)));

    printf("truncate %ld size %ld longer %ld size %ld negative %ld\n", err(ftruncate(fd, 5)), size_of(fd), err(truncate(path, 50)),
           size_of(fd), err(ftruncate(fd, -1)));
    printf("beyond reads %ld", err(pread(fd, buffer, 50, 0)));
    printf(" %.5s %d\n", buffer, buffer[5]);
    printf("allocate %ld", err(fallocate(fd, 0, 0, 8192)));
    printf(" size %ld keep %ld", size_of(fd), err(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100000)));
    printf(" size %ld none %ld negative %ld\n", size_of(fd), err(fallocate(fd, 0, 0, 0)), err(fallocate(fd, 0, -1, 5)));
    memset(buffer, 'f', 8192);
    pwrite(fd, buffer, 8192, 0);
    printf("punch %ld", err(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1000, 5000)));
    pread(fd, buffer, 8192, 0);
    printf(" %d %d %d %d alone %ld\n", buffer[999], buffer[1000], buffer[5999], buffer[6000],
           err(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10)));

    int add = open(path, O_WRONLY | O_APPEND);
    lseek(add, 0, SEEK_SET);
    write(add, "end", 3);
    printf("append %ld at %ld\n", size_of(fd), err(lseek(add, 0, SEEK_CUR)));
    printf("read of a writer %ld write of a reader %ld\n", err(read(add, buffer, 1)), err(write(open(path, O_RDONLY), "x", 1)));
    close(add);
    int cut = open(path, O_WRONLY | O_TRUNC);
    printf("cut %ld\n", size_of(cut));

    ftruncate(fd, 0);
    for (int i = 0; i < 70000; i++)
        buffer[i] = i % 251;
    lseek(fd, 0, SEEK_SET);
    printf("large %ld\n", err(write(fd, buffer, 70000)));
    char target_path[] = "/tmp/dataXXXXXX";
    int target = mkstemp(target_path);
    unlink(target_path);
    off_t offset = 10;
    printf("sendfile %ld", err(sendfile(target, fd, &offset, 69000)));
    printf(" offset %ld size %ld at %ld\n", (long)offset, size_of(target), err(lseek(target, 0, SEEK_CUR)));
    pread(target, buffer, 3, 68990);
    printf("copied %d\n", (unsigned char)buffer[0] == 69000 % 251);
    off_t from = 0, to = 100000;
    printf("copy %ld", err(copy_file_range(fd, &from, target, &to, 1000, 0)));
    printf(" from %ld to %ld size %ld flags %ld\n", (long)from, (long)to, size_of(target),
           err(copy_file_range(fd, &from, target, &to, 10, 1)));
    int pipes[2];
    pipe(pipes);
    offset = 0;
    printf("into a pipe %ld", err(sendfile(pipes[1], fd, &offset, 100)));
    printf(" %ld\n", err(read(pipes[0], buffer, 200)));
    printf("seek a pipe %ld pread %ld\n", err(lseek(pipes[0], 0, SEEK_CUR)), err(pread(pipes[0], buffer, 1, 0)));
    printf("bad file %ld %ld %ld\n", err(read(99, buffer, 1)), err(write(-1, buffer, 1)), err(lseek(99, 0, SEEK_SET)));
    printf("dup %d", dup2(fd, 50) == 50);
    lseek(50, 7, SEEK_SET);
    printf(" one offset %ld", err(lseek(fd, 0, SEEK_CUR)));
    printf(" flags %d", fcntl(50, F_GETFD));
    printf(" %ld %d\n", err(dup3(fd, 51, O_CLOEXEC)), fcntl(51, F_GETFD));
    printf("dup2 same %ld bad %ld high %ld dup3 same %ld\n", err(dup2(fd, fd)) == fd ? 0L : 1L, err(dup2(99, 5)), err(dup2(fd, 1 << 20)),
           err(dup3(fd, fd, 0)));
    printf("F_DUPFD %ld F_GETFL %o", err(fcntl(fd, F_DUPFD, 60)), fcntl(fd, F_GETFL));
    printf(" set %ld %o\n", err(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK)), fcntl(fd, F_GETFL));
    printf("close %ld again %ld\n", err(close(50)), err(close(50)));
    printf("fsync %ld %ld sync_file %ld\n", err(fsync(fd)), err(fdatasync(fd)), err(fsync(pipes[0])));
    unlink(path);
    return 0;
}
