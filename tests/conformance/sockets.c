// Pairs of sockets: streams, messages, peeking, shutting down, and open files that are sent along.
#include "conform.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

static char buffer[300000];

static void polling(const char *what, int fd) {
    struct pollfd polled = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    int count = poll(&polled, 1, 0);
    printf("%s: poll %d %x\n", what, count, polled.revents);
}

static long send_files(int socket, const char *text, const int *fds, int count) {
    char control[CMSG_SPACE(sizeof(int) * 8)] = {0};
    struct iovec part = {(void *)text, strlen(text)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control};
    message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
    return err(sendmsg(socket, &message, 0));
}

static int receive(int socket, int flags, int room, int *fds) {
    char control[CMSG_SPACE(sizeof(int) * 8)] = {0};
    struct iovec parts[2] = {{buffer, 4}, {buffer + 4, 96}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2, .msg_control = control};
    message.msg_controllen = room ? CMSG_SPACE(sizeof(int) * room) : 0;
    long got = err(recvmsg(socket, &message, flags));
    int count = 0;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (got >= 0 && header) {
        count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(header), sizeof(int) * count);
    }
    printf("received %ld \"%.*s\" flags %x control %zu files %d\n", got, got > 0 ? (int)got : 0, buffer,
           got < 0 ? 0 : message.msg_flags, got < 0 ? 0 : message.msg_controllen, count);
    return count;
}

static void streams(void) {
    int s[2];
    printf("pair %ld\n", err(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s)));
    printf("flags %d\n", fcntl(s[0], F_GETFD));
    polling("idle", s[0]);
    write(s[0], "hello ", 6);
    send(s[0], "world", 5, 0);
    int unread;
    ioctl(s[1], FIONREAD, &unread);
    printf("unread %d\n", unread);
    long got = err(recv(s[1], buffer, 8, MSG_PEEK));
    printf("peek %ld %.8s\n", got, buffer);
    got = err(read(s[1], buffer, 100));
    printf("read %ld %.11s\n", got, buffer);
    printf("nothing %ld\n", err(recv(s[1], buffer, 100, MSG_DONTWAIT)));
    fcntl(s[1], F_SETFL, O_NONBLOCK);
    printf("nothing %ld\n", err(read(s[1], buffer, 100)));
    fcntl(s[1], F_SETFL, 0);
    printf("shutdown %ld\n", err(shutdown(s[0], SHUT_WR)));
    polling("its other end", s[1]);
    printf("end %ld\n", err(read(s[1], buffer, 100)));
    signal(SIGPIPE, SIG_IGN);
    printf("no more %ld\n", err(write(s[0], "x", 1)));
    write(s[1], "back", 4);
    polling("half", s[0]);
    close(s[1]);
    polling("closed", s[0]);
    got = err(read(s[0], buffer, 100));
    printf("the rest %ld then %ld\n", got, err(read(s[0], buffer, 100)));
    close(s[0]);

    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    write(s[0], "unread", 6);
    close(s[1]);
    printf("reset %ld", err(read(s[0], buffer, 1)));
    printf(" then %ld\n", err(read(s[0], buffer, 1)));
    close(s[0]);

    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    pid_t child = fork();
    if (child == 0) {
        memset(buffer, 'x', sizeof buffer);
        _exit(write(s[0], buffer, sizeof buffer) == sizeof buffer ? 3 : 4);
    }
    printf("all of it %ld\n", err(recv(s[1], buffer, sizeof buffer, MSG_WAITALL)));
    int status;
    waitpid(child, &status, 0);
    printf("child %d\n", WEXITSTATUS(status));
    int value;
    socklen_t len = sizeof value;
    getsockopt(s[0], SOL_SOCKET, SO_TYPE, &value, &len);
    printf("type %d len %d\n", value, (int)len);
    printf("address %ld\n", err(sendto(s[0], "x", 1, 0, (void *)buffer, 110)));
    printf("no socket %ld\n", err(recv(0, buffer, 1, 0)));
    close(s[0]);
    close(s[1]);
}

static void messages(int type) {
    int s[2];
    printf("type %d: %ld\n", type, err(socketpair(AF_UNIX, type, 0, s)));
    send(s[0], "first", 5, 0);
    send(s[0], "", 0, 0);
    send(s[0], "the third message", 17, 0);
    printf("peek %ld\n", err(recv(s[1], buffer, 100, MSG_PEEK)));
    printf("one %ld\n", err(read(s[1], buffer, 100)));
    printf("empty %ld\n", err(read(s[1], buffer, 100)));
    printf("cut %ld\n", err(recv(s[1], buffer, 3, MSG_TRUNC)));
    printf("rest %ld\n", err(recv(s[1], buffer, 100, MSG_DONTWAIT)));
    printf("long %ld\n", err(send(s[0], buffer, 300000, 0)));
    send(s[0], "parts", 5, 0);
    receive(s[1], 0, 0, NULL);
    memset(buffer, 'y', 200);
    send(s[0], buffer, 200, 0);
    receive(s[1], 0, 0, NULL);
    int count = 0;
    while (send(s[0], "z", 1, MSG_DONTWAIT) == 1)
        count++;
    printf("queued %d\n", count > 5 && count < 1000);
    close(s[1]);
    printf("gone %ld\n", err(send(s[0], "x", 1, 0)));
    close(s[0]);
}

static void files(void) {
    int s[2], pipes[2], fds[8];
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    pipe(pipes);
    int number = memfd_create("sent", 0);
    write(number, "in a file", 9);
    printf("sent %ld\n", send_files(s[0], "two", (int[]){pipes[1], number}, 2));
    write(s[0], " more", 5);
    close(number);
    int count = receive(s[1], MSG_PEEK, 8, fds);
    while (count > 0)
        close(fds[--count]);
    count = receive(s[1], MSG_CMSG_CLOEXEC, 8, fds);
    printf("close on exec %d\n", fcntl(fds[0], F_GETFD));
    printf("pread %ld", err(pread(fds[1], buffer, 100, 0)));
    printf(" %.9s\n", buffer);
    write(fds[0], "through the pipe", 16);
    close(fds[0]);
    close(pipes[1]);
    printf("pipe %ld", err(read(pipes[0], buffer, 100)));
    printf(" then %ld\n", err(read(pipes[0], buffer, 100)));
    receive(s[1], 0, 8, fds);
    send_files(s[0], "cut", (int[]){0, 1, 2}, 3);
    count = receive(s[1], 0, 1, fds);
    printf("same %d\n", count == 2 || count == 1);
    send_files(s[0], "dropped", (int[]){pipes[0]}, 1);
    close(pipes[0]);
    printf("read only %ld\n", err(read(s[1], buffer, 100)));
    printf("bad file %ld\n", send_files(s[0], "x", (int[]){999}, 1));
    pid_t child = fork();
    if (child == 0) {
        int own = open("/etc/passwd", O_RDONLY);
        _exit(send_files(s[0], "from a child", (int[]){own}, 1) == 12 ? 0 : 1);
    }
    receive(s[1], 0, 8, fds);
    struct stat about;
    printf("its file %ld", err(fstat(fds[0], &about)));
    printf(" regular %d\n", S_ISREG(about.st_mode));
    waitpid(child, NULL, 0);
    int more[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, more);
    printf("a socket %ld\n", send_files(s[0], "socket", &more[0], 1));
    close(more[0]);
    receive(s[1], 0, 8, fds);
    write(fds[0], "hello", 5);
    printf("through it %ld\n", err(read(more[1], buffer, 100)));
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    streams();
    messages(SOCK_SEQPACKET);
    messages(SOCK_DGRAM);
    files();
    int s[2];
    printf("no family %ld\n", err(socketpair(77, SOCK_STREAM, 0, s)));
    printf("no type %ld\n", err(socketpair(AF_UNIX, 9, 0, s)));
    int *volatile nowhere = (int *)8;
    printf("bad address %ld\n", err(socketpair(AF_UNIX, SOCK_STREAM, 0, nowhere)));
    return 0;
}
