// Timers that are read: counts, intervals, polling, and what is refused.
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int64_t left_ms(int fd) {
    struct itimerspec now;
    timerfd_gettime(fd, &now);
    return now.it_value.tv_sec * 1000 + now.it_value.tv_nsec / 1000000;
}

int main(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    uint64_t count = 7;
    ssize_t got = read(fd, &count, sizeof count);
    printf("off: %zd %d\n", got, errno);
    struct itimerspec soon = {.it_value.tv_nsec = 20000000};
    printf("set %d\n", timerfd_settime(fd, 0, &soon, NULL));
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT};
    printf("poll now %d\n", poll(&one, 1, 0));
    printf("poll %d revents %d\n", poll(&one, 1, 5000), one.revents);
    printf("short read %zd", read(fd, &count, 4));
    printf(" %d\n", errno);
    got = read(fd, &count, sizeof count);
    printf("read %zd count %llu\n", got, (unsigned long long)count);
    printf("left %d\n", (int)left_ms(fd));

    int waits = timerfd_create(CLOCK_REALTIME, 0);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct itimerspec past = {.it_value = {now.tv_sec - 1, 0}, .it_interval.tv_sec = 100};
    struct itimerspec old;
    printf("set %d\n", timerfd_settime(waits, TFD_TIMER_ABSTIME, &past, &old));
    got = read(waits, &count, sizeof count);
    printf("read %zd count %llu\n", got, (unsigned long long)count);
    printf("interval waits %d\n", left_ms(waits) > 90000);
    struct itimerspec off = {0};
    timerfd_settime(waits, 0, &off, &old);
    printf("old interval %ld left %ld\n", (long)old.it_interval.tv_sec, (long)left_ms(waits));
    printf("write %zd", write(fd, &count, 8));
    printf(" %d\n", errno);
    printf("bad clock %d", timerfd_create(77, 0));
    printf(" %d\n", errno);
    struct itimerspec bad = {.it_value.tv_nsec = 1000000000};
    printf("bad time %d", timerfd_settime(fd, 0, &bad, NULL));
    printf(" %d\n", errno);
    printf("no timer %d", timerfd_settime(1, 0, &off, NULL));
    printf(" %d\n", errno);
    return 0;
}
