// Fifos: opening waits for the other side, ends of file, polling, and what is refused.
#include "conform.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void polling(int fd) {
    struct pollfd polled = {fd, POLLIN, 0};
    int count = poll(&polled, 1, 0);
    printf(" poll %d %x\n", count, polled.revents);
}

static void nothing(int signal) { (void)signal; }

int main(void) {
    char dir[] = "/tmp/fifoXXXXXX";
    mkdtemp(dir);
    chdir(dir);
    setvbuf(stdout, NULL, _IONBF, 0);
    umask(022);
    printf("mkfifo %ld", err(mkfifo("f", 0666)));
    printf(" again %ld\n", err(mkfifo("f", 0666)));
    struct stat about;
    stat("f", &about);
    printf("mode %o size %ld links %ld\n", about.st_mode, (long)about.st_size, (long)about.st_nlink);
    printf("nobody reads: %ld\n", err(open("f", O_WRONLY | O_NONBLOCK)));

    int reader = open("f", O_RDONLY | O_NONBLOCK);
    char buffer[64];
    printf("nobody writes: %zd", read(reader, buffer, sizeof buffer));
    polling(reader);
    int writer = open("f", O_WRONLY | O_NONBLOCK);
    printf("now a writer %d", writer >= 0);
    printf(" read %ld\n", err(read(reader, buffer, sizeof buffer)));
    printf("wrote %zd", write(writer, "some bytes", 10));
    int unread;
    ioctl(reader, FIONREAD, &unread);
    printf(" unread %d", unread);
    polling(reader);
    fstat(writer, &about);
    struct stat named;
    stat("f", &named);
    printf("same %d\n", about.st_ino == named.st_ino && about.st_dev == named.st_dev);
    close(writer);
    polling(reader);
    printf(" read %zd", read(reader, buffer, sizeof buffer));
    printf(" then %zd\n", read(reader, buffer, sizeof buffer));
    close(reader);

    int both = open("f", O_RDWR);
    write(both, "left", 4);
    close(both);
    both = open("f", O_RDWR | O_NONBLOCK);
    printf("left over: %ld\n", err(read(both, buffer, sizeof buffer)));
    close(both);

    pid_t child = fork();
    if (child == 0) {
        int out = open("f", O_WRONLY);
        for (int i = 0; i < 3; i++)
            dprintf(out, "line %d\n", i);
        close(out);
        int in = open("f", O_RDONLY);
        ssize_t got = read(in, buffer, sizeof buffer);
        printf("child read %.*s\n", (int)got, buffer);
        _exit(got == 5 ? 7 : 8);
    }
    FILE *lines = fopen("f", "r");
    while (fgets(buffer, sizeof buffer, lines))
        printf("parent read %s", buffer);
    fclose(lines);
    int out = open("f", O_WRONLY);
    write(out, "hello", 5);
    close(out);
    int status;
    waitpid(child, &status, 0);
    printf("child %d\n", WEXITSTATUS(status));

    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGALRM, &action, NULL);
    ualarm(20000, 0);
    printf("interrupted %ld\n", err(open("f", O_RDONLY)));
    printf("nobody reads after that: %ld\n", err(open("f", O_WRONLY | O_NONBLOCK)));
    both = open("f", O_RDWR);
    printf("seek %ld\n", err(lseek(both, 0, SEEK_CUR)));
    close(both);

    printf("mknod fifo %d", mknod("g", S_IFIFO | 0600, 0));
    printf(" file %d", mknod("h", S_IFREG | 0640, 0));
    printf(" directory %ld\n", err(mknod("i", S_IFDIR | 0700, 0)));
    stat("h", &about);
    printf("made %o\n", about.st_mode);
    printf("rename %d", rename("f", "k"));
    printf(" gone %ld\n", err(open("f", O_RDWR)));
    printf("unlink %d %d %d\n", unlink("k"), unlink("g"), unlink("h"));
    chdir("/");
    printf("rmdir %d\n", rmdir(dir));
    return 0;
}
