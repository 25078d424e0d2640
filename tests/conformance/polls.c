// Waiting for files: poll, ppoll, select, pselect, epoll, eventfd, on pipes and sockets.
#include "conform.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

static volatile int handled;
static void on_signal(int number) { handled = number; }

static void show(const char *what, int fd, short events) {
    struct pollfd polled = {fd, events, 0};
    int count = poll(&polled, 1, 0);
    printf("%s %d %x\n", what, count, polled.revents);
}

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void polls(void) {
    int p[2];
    pipe2(p, O_NONBLOCK);
    show("empty reader", p[0], POLLIN);
    show("writer", p[1], POLLOUT);
    char block[4096] = {0};
    while (write(p[1], block, sizeof block) > 0)
        ;
    show("full writer", p[1], POLLOUT);
    read(p[0], block, 4096);
    show("less full", p[1], POLLOUT);
    show("reader", p[0], POLLIN | POLLRDNORM);
    show("not asked", p[0], 0);
    close(p[0]);
    show("broken", p[1], POLLOUT);
    pipe(p);
    close(p[1]);
    show("hung up", p[0], POLLIN);
    show("closed", p[1], POLLIN);
    show("negative", -5, POLLIN);
    show("file", open("/etc/passwd", O_RDONLY), POLLIN | POLLOUT);
    struct pollfd none;
    long start = now_ms();
    int count = poll(&none, 0, 30);
    printf("time out %d %d\n", count, now_ms() - start >= 30);
    printf("bad address %ld\n", err(poll((struct pollfd *)8, 1, 0)));
    int q[2];
    pipe(q);
    pid_t child = fork();
    if (child == 0) {
        struct pollfd wait = {q[0], POLLIN, 0};
        _exit(poll(&wait, 1, -1) == 1 && wait.revents == POLLIN ? 9 : 8);
    }
    write(q[1], "x", 1);
    int status;
    waitpid(child, &status, 0);
    printf("woken %d\n", WEXITSTATUS(status));
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigset_t blocked, open_set;
    sigemptyset(&open_set);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    raise(SIGUSR1);
    struct timespec second = {5, 0};
    read(q[0], block, 1);
    struct pollfd wait = {q[0], POLLIN, 0};
    printf("ppoll %ld", err(ppoll(&wait, 1, &second, &open_set)));
    printf(" handled %d\n", handled == SIGUSR1);
}

static void selects(void) {
    int p[2];
    pipe(p);
    fd_set reads, writes;
    FD_ZERO(&reads);
    FD_ZERO(&writes);
    FD_SET(p[0], &reads);
    FD_SET(p[1], &writes);
    struct timeval none = {0, 0};
    int count = select(p[1] + 1, &reads, &writes, NULL, &none);
    printf("select %d reads %d writes %d\n", count, FD_ISSET(p[0], &reads) != 0, FD_ISSET(p[1], &writes) != 0);
    write(p[1], "x", 1);
    FD_SET(p[0], &reads);
    struct timespec second = {1, 0};
    count = pselect(p[0] + 1, &reads, NULL, NULL, &second, NULL);
    printf("pselect %d reads %d\n", count, FD_ISSET(p[0], &reads) != 0);
    close(p[0]);
    FD_ZERO(&reads);
    FD_SET(p[0], &reads);
    printf("closed %ld", err(select(p[0] + 1, &reads, NULL, NULL, &none)));
    printf(" negative %ld", err(select(-1, NULL, NULL, NULL, &none)));
    none.tv_usec = -1;
    printf(" time %ld\n", err(select(0, NULL, NULL, NULL, &none)));
}

static void events(const char *what, int set, int timeout) {
    struct epoll_event found[8];
    long count = err(epoll_wait(set, found, 8, timeout));
    printf("%s %ld:", what, count);
    for (int i = 0; i < count; i++)
        printf(" %d=%x", found[i].data.fd, found[i].events);
    printf("\n");
}

static void add(int set, int operation, int fd, unsigned wanted, int data) {
    struct epoll_event event = {.events = wanted, .data.fd = data};
    printf("ctl %ld\n", err(epoll_ctl(set, operation, fd, &event)));
}

static void epolls(void) {
    int set = epoll_create1(EPOLL_CLOEXEC), p[2], s[2];
    pipe(p);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    add(set, EPOLL_CTL_ADD, p[0], EPOLLIN, 1);
    add(set, EPOLL_CTL_ADD, p[0], EPOLLIN, 1);
    add(set, EPOLL_CTL_MOD, s[0], EPOLLIN, 2);
    add(set, EPOLL_CTL_DEL, s[0], 0, 2);
    add(set, EPOLL_CTL_ADD, set, EPOLLIN, 3);
    add(set, EPOLL_CTL_ADD, 99, EPOLLIN, 3);
    add(set, EPOLL_CTL_ADD, open("/etc/passwd", O_RDONLY), EPOLLIN, 3);
    events("nothing", set, 0);
    write(p[1], "x", 1);
    events("level", set, -1);
    events("still", set, 0);
    add(set, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLET, 1);
    events("edge", set, 0);
    events("no more", set, 0);
    write(p[1], "y", 1);
    events("edge again", set, 0);
    add(set, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 1);
    events("once", set, 0);
    events("not twice", set, 0);
    add(set, EPOLL_CTL_ADD, s[0], EPOLLIN | EPOLLRDHUP, 2);
    close(s[1]);
    events("hung up", set, 0);
    close(s[0]);
    events("closed", set, 0);
    struct epoll_event one;
    printf("no room %ld bad set %ld bad address %ld\n", err(epoll_wait(set, &one, 0, 0)), err(epoll_wait(p[0], &one, 1, 0)),
           err(epoll_ctl(set, EPOLL_CTL_ADD, p[1], NULL)));
    int outer = epoll_create1(0);
    add(set, EPOLL_CTL_MOD, p[0], EPOLLIN, 1);
    add(outer, EPOLL_CTL_ADD, set, EPOLLIN, 7);
    events("nested", outer, 0);
}

static void counters(void) {
    unsigned long value = 3;
    int counter = eventfd(2, EFD_NONBLOCK);
    write(counter, &value, 8);
    show("counter", counter, POLLIN | POLLOUT);
    printf("read %ld", err(read(counter, &value, 8)));
    printf(" %lu again %ld short %ld\n", value, err(read(counter, &value, 8)), err(read(counter, &value, 4)));
    value = -1;
    printf("too much %ld", err(write(counter, &value, 8)));
    value = -2;
    printf(" most %ld", err(write(counter, &value, 8)));
    value = 1;
    printf(" more %ld\n", err(write(counter, &value, 8)));
    show("full", counter, POLLIN | POLLOUT);
    int semaphore = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    printf("one %ld one %ld none %ld\n", err(read(semaphore, &value, 8)), err(read(semaphore, &value, 8)),
           err(read(semaphore, &value, 8)));
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    polls();
    selects();
    epolls();
    counters();
    return 0;
}
