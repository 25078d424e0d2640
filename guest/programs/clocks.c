/* Time goes on, sleeps last as long as asked, timers fire. */
#include "say.h"
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t alarms;

static void count(int signal) {
    (void)signal;
    alarms++;
}

static long now_ms(clockid_t clock) {
    struct timespec now;
    must(clock_gettime(clock, &now) == 0);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(void) {
    long before = now_ms(CLOCK_MONOTONIC);
    struct timespec nap = {0, 200000000};
    must(nanosleep(&nap, 0) == 0);
    long slept = now_ms(CLOCK_MONOTONIC) - before;
    say("slept at least 200 ms: %d, less than 5 s: %d", slept >= 200, slept < 5000);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1;
    say("absolute sleep: %d", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, 0));
    say("it is past that time: %d", now_ms(CLOCK_MONOTONIC) >= until.tv_sec * 1000);
    say("the year is after 2020: %d", time(0) > 1577836800);
    struct timeval day;
    must(gettimeofday(&day, 0) == 0);
    say("time and gettimeofday agree: %d", labs(time(0) - day.tv_sec) <= 1);
    struct timespec resolution;
    must(clock_getres(CLOCK_REALTIME, &resolution) == 0);
    say("clock_getres: below a second: %d", resolution.tv_sec == 0);
    say("unknown clock: %s", outcome(clock_gettime(99, &until)));
    nap.tv_nsec = 1000000000;
    say("too many nanoseconds: %s", outcome(nanosleep(&nap, 0)));
    signal(SIGALRM, count);
    struct itimerval every = {{0, 50000}, {0, 50000}};
    must(setitimer(ITIMER_REAL, &every, 0) == 0);
    while (alarms < 3)
        pause();
    struct itimerval off = {0};
    must(setitimer(ITIMER_REAL, &off, 0) == 0);
    say("three ticks came");
    alarms = 0;
    alarm(1);
    nap = (struct timespec){10, 0};
    struct timespec left = {0};
    int result = nanosleep(&nap, &left);
    say("sleep broken by alarm: %s, %d, left about 9 s: %d", outcome(result), alarms,
        left.tv_sec == 8 || left.tv_sec == 9);
    return 0;
}
