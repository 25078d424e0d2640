// Timers that count what a process runs, and timers with a signal of their own.
#include "conform.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

static volatile int count;
static siginfo_t last;

static void note(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    last = *info;
    count++;
}

// The signal is blocked but while it is waited for.
static void until(int wanted) {
    sigset_t none;
    sigemptyset(&none);
    while (count < wanted)
        sigsuspend(&none);
}

static void running(int which, int number) {
    struct itimerval wish = {{0, 5000}, {0, 5000}}, left;
    count = 0;
    printf("set %ld", err(setitimer(which, &wish, NULL)));
    while (count < 3) // what counts is that it runs
        ;
    printf(" signal %d right %d code %d", last.si_signo, last.si_signo == number, last.si_code);
    printf(" get %ld", err(getitimer(which, &left)));
    printf(" interval %ld", (long)left.it_interval.tv_usec);
    wish = (struct itimerval){{0, 0}, {0, 0}};
    printf(" off %ld", err(setitimer(which, &wish, &left)));
    getitimer(which, &left);
    printf(" left %ld\n", (long)left.it_value.tv_usec);
}

static void notifying(clockid_t clock) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_int = 77};
    struct itimerspec often = {{0, 2000000}, {0, 2000000}}, once = {{0, 0}, {0, 1000000}}, off = {{0, 0}, {0, 0}}, left;
    timer_t timer;
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    printf("clock %d create %ld", clock, err(timer_create(clock, &event, &timer)));
    count = 0;
    printf(" set %ld", err(timer_settime(timer, 0, &often, NULL)));
    until(3);
    printf(" code %d value %d signal %d", last.si_code, last.si_value.sival_int, last.si_signo - SIGRTMIN);
    printf(" off %ld", err(timer_settime(timer, 0, &off, &left)));
    printf(" interval %ld", left.it_interval.tv_nsec);
    timer_gettime(timer, &left);
    printf(" left %ld %ld\n", (long)left.it_value.tv_sec, left.it_value.tv_nsec);
    count = 0;
    timer_settime(timer, 0, &once, NULL);
    until(1);
    struct timespec past = {1, 0};
    timer_settime(timer, TIMER_ABSTIME, &(struct itimerspec){{0, 0}, past}, NULL);
    until(2);
    printf("once, and at a point that has passed\n");
    timer_settime(timer, 0, &often, NULL);
    for (int slept = 0; slept < 10; slept++)
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    siginfo_t taken = {0};
    printf("blocked, it waits: %d", sigwaitinfo(&set, &taken) == SIGRTMIN + 1);
    printf(" code %d expired more often %d", taken.si_code, taken.si_overrun > 3);
    printf(" as told %d\n", timer_getoverrun(timer) == taken.si_overrun);
    printf("delete %ld\n", err(timer_delete(timer)));
}

static void wrong(void) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 99};
    timer_t timer;
    printf("no such signal %ld", err(timer_create(CLOCK_MONOTONIC, &event, &timer)));
    printf(" clock %ld", err(timer_create(77, NULL, &timer)));
    event = (struct sigevent){.sigev_notify = 33, .sigev_signo = SIGUSR1};
    printf(" way %ld", err(timer_create(CLOCK_MONOTONIC, &event, &timer)));
    event.sigev_notify = SIGEV_NONE;
    printf(" silent %ld\n", err(timer_create(CLOCK_MONOTONIC, &event, &timer)));
    struct itimerspec bad = {{0, 0}, {0, 2000000000}}, once = {{0, 0}, {1000, 0}}, left;
    printf("too many nanoseconds %ld", err(timer_settime(timer, 0, &bad, NULL)));
    printf(" set %ld", err(timer_settime(timer, 0, &once, NULL)));
    timer_gettime(timer, &left);
    printf(" left %d overrun %ld\n", left.it_value.tv_sec >= 900, err(timer_getoverrun(timer)));
    if (fork() == 0)
        _exit(timer_gettime(timer, &left) == -1 ? errno : 0);
    int status;
    wait(&status);
    printf("a child has none: %d\n", WEXITSTATUS(status));
    struct itimerval interval;
    printf("number %ld\n", err(getitimer(7, &interval)));
}

static long milliseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void *spins(void *argument) {
    for (volatile long turn = 0; turn < 50000000; turn++)
        ;
    return argument;
}

static void threads(void) {
    pthread_t thread;
    clockid_t clock;
    struct timespec time;
    pthread_create(&thread, NULL, spins, NULL);
    printf("a thread's clock %d", pthread_getcpuclockid(thread, &clock));
    pthread_join(thread, NULL);
    // Who joins may be earlier than the end of the thread.
    long gone;
    while ((gone = err(clock_gettime(clock, &time))) == 0)
        sched_yield();
    printf(" gone %ld", gone);
    printf(" own less %d\n", milliseconds(CLOCK_THREAD_CPUTIME_ID) < milliseconds(CLOCK_PROCESS_CPUTIME_ID));
    clock_getcpuclockid(0, &clock);
    printf("my process %ld", err(clock_gettime(clock, &time)));
    printf(" nobody %d\n", clock_getcpuclockid(32001, &clock) != 0);
}

static void priorities(void) {
    printf("priority %ld", err(setpriority(PRIO_PROCESS, 0, 7)));
    errno = 0;
    printf(" is %d, of the group %d", getpriority(PRIO_PROCESS, 0), getpriority(PRIO_PGRP, getpgrp()) <= 7);
    printf(" too much %ld", err(setpriority(PRIO_PROCESS, 0, 100)));
    printf(" is %d", getpriority(PRIO_PROCESS, 0));
    printf(" nobody %ld", err(getpriority(PRIO_PROCESS, 32000)));
    printf(" which %ld\n", err(getpriority(9, 0)));
    printf("policy %d", sched_getscheduler(0));
    printf(" batch %ld", err(sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0})));
    printf(" is %d", sched_getscheduler(0));
    printf(" with priority %ld", err(sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){5})));
    printf(" unknown %ld", err(sched_setscheduler(0, 77, &(struct sched_param){0})));
    printf(" range %d %d %d %d\n", sched_get_priority_min(SCHED_FIFO), sched_get_priority_max(SCHED_FIFO),
           sched_get_priority_max(SCHED_OTHER), sched_get_priority_max(99));
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGVTALRM, &action, NULL), sigaction(SIGPROF, &action, NULL), sigaction(SIGRTMIN + 1, &action, NULL);
    running(ITIMER_VIRTUAL, SIGVTALRM);
    running(ITIMER_PROF, SIGPROF);
    notifying(CLOCK_REALTIME);
    notifying(CLOCK_MONOTONIC);
    wrong();
    threads();
    priorities();
    return 0;
}
