// Unix sockets with names: of files and without, connections, messages, who is at the other side.
#include "conform.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define PLACE "/tmp/conform-unix"

static struct sockaddr_un address_of(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    return address;
}

static long bind_to(int fd, const char *path) {
    struct sockaddr_un address = address_of(path);
    return err(bind(fd, (struct sockaddr *)&address, sizeof address));
}

static long connect_to(int fd, const char *path) {
    struct sockaddr_un address = address_of(path);
    return err(connect(fd, (struct sockaddr *)&address, sizeof address));
}

static void told(const char *what, int fd, int (*ask)(int, struct sockaddr *, socklen_t *)) {
    struct sockaddr_un address = {0};
    socklen_t length = sizeof address;
    long answer = err(ask(fd, (struct sockaddr *)&address, &length));
    printf("%s %ld length %u '%s%s'\n", what, answer, length, address.sun_path[0] ? "" : "@",
           address.sun_path + !address.sun_path[0]);
}

static short ready(int fd) {
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT};
    poll(&one, 1, 0);
    return one.revents;
}

static void stream(int type) {
    printf("type %d\n", type);
    int server = socket(AF_UNIX, type, 0), client = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);
    char text[64] = "";
    printf("unconnected: poll %x", ready(client));
    printf(" read %ld", err(read(client, text, 1)));
    printf(" write %ld", err(send(client, "x", 1, MSG_NOSIGNAL)));
    printf(" accept %ld", err(accept(server, NULL, NULL)));
    printf(" listen %ld\n", err(listen(server, 1)));
    printf("nobody there %ld", connect_to(client, PLACE));
    printf(", bind %ld", bind_to(server, PLACE));
    struct stat about;
    stat(PLACE, &about);
    printf(" type %o", about.st_mode & S_IFMT);
    printf(", again %ld", bind_to(client, PLACE));
    printf(", open %ld", err(open(PLACE, O_RDWR)));
    printf(", not yet %ld\n", connect_to(client, PLACE));
    printf("listen %ld", err(listen(server, 0)));
    printf(" connect %ld", connect_to(client, PLACE));
    printf(" again %ld\n", connect_to(client, PLACE));
    int second = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);
    printf("the queue is full %ld\n", connect_to(second, PLACE));
    printf("listener %x", ready(server));
    printf(" client %x\n", ready(client));
    printf("sent before it is accepted %ld\n", err(write(client, "early", 5)));
    int accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC);
    printf("accepted: close-on-exec %ld", err(fcntl(accepted, F_GETFD)));
    printf(", reads %ld", err(read(accepted, text, sizeof text)));
    printf(" %s\n", text);
    printf("now there is room %ld\n", connect_to(second, PLACE));
    printf("back %ld", err(write(accepted, "answer", 7)));
    printf(" %ld %s\n", err(read(client, text, sizeof text)), text);
    told("server", server, getsockname), told("client", client, getsockname);
    told("accepted", accepted, getsockname), told("its peer", accepted, getpeername);
    told("the client's peer", client, getpeername), told("no peer", server, getpeername);
    struct ucred who = {0};
    socklen_t length = sizeof who;
    printf("credentials %ld", err(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &who, &length)));
    printf(" mine %d uid %d gid %d length %u\n", who.pid == getpid(), who.uid, who.gid, length);
    int value;
    length = sizeof value;
    getsockopt(server, SOL_SOCKET, SO_ACCEPTCONN, &value, &length);
    printf("accepts %d\n", value);
    close(accepted);
    printf("closed: poll %x", ready(client));
    printf(" read %ld", err(read(client, text, 1)));
    printf(" write %ld\n", err(send(client, "x", 1, MSG_NOSIGNAL)));
    close(server);
    printf("never accepted: poll %x", ready(second));
    printf(" read %ld\n", err(read(second, text, 1)));
    int late = socket(AF_UNIX, type, 0);
    printf("gone %ld", connect_to(late, PLACE));
    unlink(PLACE);
    printf(" unlinked %ld\n", connect_to(late, PLACE));
    close(late), close(second), close(client);
}

static void children(void) {
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    bind_to(server, PLACE), listen(server, 5);
    for (int child = 0; child < 4; child++)
        if (fork() == 0) {
            int fd = socket(AF_UNIX, SOCK_STREAM, 0);
            char text[16] = "";
            connect_to(fd, PLACE);
            dprintf(fd, "child %d", child);
            shutdown(fd, SHUT_WR);
            read(fd, text, sizeof text);
            _exit(atoi(text));
        }
    int sum = 0;
    for (int child = 0; child < 4; child++) {
        int fd = accept(server, NULL, NULL), number = 0;
        char text[16] = "";
        while (read(fd, text, sizeof text) > 0)
            sscanf(text, "child %d", &number);
        dprintf(fd, "%d", number + 10);
        close(fd);
    }
    for (int child = 0, status; child < 4; child++)
        wait(&status), sum += WEXITSTATUS(status);
    printf("children %d\n", sum);
    close(server), unlink(PLACE);
}

static void messages(void) {
    int server = socket(AF_UNIX, SOCK_DGRAM, 0), client = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    struct sockaddr_un to = address_of(PLACE), from;
    socklen_t length = sizeof from;
    char text[64] = "";
    printf("no address %ld", err(send(client, "x", 1, 0)));
    printf(" nobody %ld\n", err(sendto(client, "x", 1, 0, (struct sockaddr *)&to, sizeof to)));
    bind_to(server, PLACE);
    printf("poll %x", ready(client));
    printf(", sent %ld", err(sendto(client, "one", 3, 0, (struct sockaddr *)&to, sizeof to)));
    printf(" got %ld", err(recvfrom(server, text, sizeof text, 0, (struct sockaddr *)&from, &length)));
    printf(" from length %u\n", length);
    bind_to(client, PLACE "-client");
    printf("connect %ld", connect_to(client, PLACE));
    printf(" sent %ld", err(write(client, "two", 3)));
    length = sizeof from;
    memset(&from, 0, sizeof from);
    printf(" got %ld", err(recvfrom(server, text, sizeof text, 0, (struct sockaddr *)&from, &length)));
    printf(" from %s length %u\n", from.sun_path, length);
    printf("answer %ld", err(sendto(server, "back", 4, 0, (struct sockaddr *)&from, length)));
    printf(" got %ld\n", err(read(client, text, sizeof text)));
    int sent = 0;
    while (write(client, "fill", 4) == 4)
        sent++;
    printf("filled %d then %d poll %x\n", sent, -errno, ready(client));
    read(server, text, sizeof text);
    printf("room again %x\n", ready(client));
    close(server);
    printf("closed %ld\n", err(write(client, "x", 1)));
    unlink(PLACE), unlink(PLACE "-client"), close(client);
    int stream = socket(AF_UNIX, SOCK_STREAM, 0), other = socket(AF_UNIX, SOCK_DGRAM, 0);
    bind_to(other, PLACE);
    printf("another type %ld\n", connect_to(stream, PLACE));
    close(stream), close(other), unlink(PLACE);
}

static void nameless(void) {
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0conform-abstract"};
    socklen_t length = 2 + 17;
    printf("abstract %ld", err(bind(server, (struct sockaddr *)&address, length)));
    printf(" taken %ld", err(bind(client, (struct sockaddr *)&address, length)));
    listen(server, 1);
    printf(" connect %ld\n", err(connect(client, (struct sockaddr *)&address, length)));
    told("name", server, getsockname), told("peer", client, getpeername);
    close(server), close(client);
    client = socket(AF_UNIX, SOCK_STREAM, 0);
    printf("gone %ld", err(connect(client, (struct sockaddr *)&address, length)));
    sa_family_t family = AF_UNIX;
    printf(" made up %ld", err(bind(client, (struct sockaddr *)&family, sizeof family)));
    length = sizeof address;
    getsockname(client, (struct sockaddr *)&address, &length);
    printf(" length %u\n", length);
    printf("too short %ld", err(bind(server, (struct sockaddr *)&address, 1)));
    printf(" too long %ld", err(connect(client, (struct sockaddr *)&address, 200)));
    printf(" family %ld\n", err(connect(client, (struct sockaddr *)&(struct sockaddr){.sa_family = AF_INET}, 16)));
    printf("protocol %ld", err(socket(AF_UNIX, SOCK_STREAM, 7)));
    printf(" type %ld", err(socket(AF_UNIX, 77, 0)));
    printf(" family %ld\n", err(socket(99, SOCK_STREAM, 0)));
    close(client);
}

static void credentials(void) {
    int pair[2], on = 1;
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    printf("pass %ld\n", err(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on)));
    if (fork() == 0) {
        write(pair[0], "hello", 5);
        _exit(0);
    }
    int status;
    pid_t child = wait(&status);
    char text[16], control[128] = "";
    struct iovec part = {text, sizeof text};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = 128};
    printf("received %ld", err(recvmsg(pair[1], &message, 0)));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    struct ucred who = {0};
    if (header)
        memcpy(&who, CMSG_DATA(header), sizeof who);
    printf(" type %d length %zu child %d uid %d\n", header ? header->cmsg_type : -1,
           header ? (size_t)header->cmsg_len : 0, who.pid == child, who.uid);
    close(pair[0]), close(pair[1]);
}

static void many(void) {
    int pair[2];
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    char texts[3][8] = {"one", "three", "fifteen"}, got[4][8] = {{0}};
    struct iovec out[3], in[4];
    struct mmsghdr sent[3] = {{{0}, 0}}, received[4] = {{{0}, 0}};
    for (int i = 0; i < 3; i++) {
        out[i] = (struct iovec){texts[i], strlen(texts[i])};
        sent[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
    }
    for (int i = 0; i < 4; i++) {
        in[i] = (struct iovec){got[i], 8};
        received[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
    }
    printf("sendmmsg %ld", err(sendmmsg(pair[0], sent, 3, 0)));
    printf(" lengths %u %u %u\n", sent[0].msg_len, sent[1].msg_len, sent[2].msg_len);
    printf("recvmmsg %ld", err(recvmmsg(pair[1], received, 4, MSG_WAITFORONE, NULL)));
    printf(" %u %s %u %s\n", received[0].msg_len, got[0], received[2].msg_len, got[2]);
    printf("nothing %ld\n", err(recvmmsg(pair[1], received, 4, MSG_DONTWAIT, NULL)));
    close(pair[0]), close(pair[1]);
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    unlink(PLACE), unlink(PLACE "-client");
    stream(SOCK_STREAM);
    stream(SOCK_SEQPACKET);
    children();
    messages();
    nameless();
    credentials();
    many();
    return 0;
}
