// Signals: what handlers are told, queues, stacks, restarts, timers, waiting, and files of signals.
#include "conform.h"
#include <fcntl.h>
#include <fenv.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

static siginfo_t seen;
static volatile int count, order[16];
static sigjmp_buf back;
static char *stack;

static void note(int number, siginfo_t *info, void *context) {
    (void)context;
    seen = *info;
    order[count++ % 16] = number;
}

static void leap(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    seen = *info;
    siglongjmp(back, 1);
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigaction(number, &action, NULL);
}

// Raises a floating-point exception that is not masked, by a vector instruction and by the x87.
static void raise_float(int exceptions, double left, double right) {
    volatile double one = left, other = right;
    volatile long double x87 = left, other_x87 = right;
    for (int by_x87 = 0; by_x87 < 2; by_x87++) {
        seen.si_code = 0;
        if (sigsetjmp(back, 1) == 0) {
            fesetenv(FE_DFL_ENV);
            feenableexcept(exceptions);
            if (by_x87) {
                x87 = x87 / other_x87;
                __asm__ volatile("fwait");
            } else
                one = one / other;
        }
        fesetenv(FE_DFL_ENV);
        printf("float %x: %d %d\n", exceptions, seen.si_signo, seen.si_code);
    }
}

static void faults(void) {
    for (int number = SIGILL; number <= SIGSEGV; number++)
        if (number == SIGILL || number == SIGTRAP || number == SIGBUS || number == SIGFPE || number == SIGSEGV)
            handle(number, leap, SA_NODEFER);
    volatile int zero = 0, ten = 10;
    if (!sigsetjmp(back, 1))
        zero = ten / zero;
    printf("divide: %d code %d\n", seen.si_signo, seen.si_code);
    raise_float(FE_DIVBYZERO, 1, 0);
    raise_float(FE_INVALID, 0, 0);
    raise_float(FE_OVERFLOW, 1e308, 1e-308);
    raise_float(FE_UNDERFLOW, 1e-308, 1e308);
    raise_float(FE_INEXACT, 1, 3);
    if (!sigsetjmp(back, 1))
        __asm__ volatile("ud2");
    printf("undefined: %d code %d\n", seen.si_signo, seen.si_code);
    if (!sigsetjmp(back, 1))
        __asm__ volatile("int3");
    printf("breakpoint: %d code %d\n", seen.si_signo, seen.si_code);
    if (!sigsetjmp(back, 1))
        *(volatile char *)0x123 = 1;
    printf("nowhere: %d code %d at %lx\n", seen.si_signo, seen.si_code, (long)seen.si_addr);
    if (!sigsetjmp(back, 1))
        *(volatile char *)0xffff888000000000 = 1;
    printf("kernel: %d\n", seen.si_signo);
    if (!sigsetjmp(back, 1))
        __asm__ volatile("hlt");
    printf("privileged: %d code %d\n", seen.si_signo, seen.si_code);
    static const char constant[] = "read only";
    if (!sigsetjmp(back, 1))
        *(volatile char *)constant = 1;
    printf("read only: %d code %d at it %d\n", seen.si_signo, seen.si_code, seen.si_addr == constant);
    char *data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    data[0] = (char)0xc3;
    if (!sigsetjmp(back, 1))
        ((void (*)(void))data)();
    printf("not executable: %d code %d at it %d\n", seen.si_signo, seen.si_code, seen.si_addr == data);
}

static void queues(void) {
    sigset_t set, old;
    sigemptyset(&set);
    int numbers[] = {SIGUSR1, SIGUSR2, SIGRTMIN, SIGRTMIN + 1};
    for (int i = 0; i < 4; i++) {
        sigaddset(&set, numbers[i]);
        handle(numbers[i], note, 0);
    }
    sigprocmask(SIG_BLOCK, &set, &old);
    for (int i = 0; i < 3; i++) {
        sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 10 + i});
        sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = i});
    }
    kill(getpid(), SIGUSR1);
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 99});
    sigset_t pending;
    sigpending(&pending);
    printf("pending %d %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGRTMIN), sigismember(&pending, SIGHUP));
    count = 0;
    sigprocmask(SIG_SETMASK, &old, NULL);
    // Handlers run in the order of their frames, last one first.
    printf("delivered %d last %d value %d code %d\n", count, seen.si_signo == SIGUSR1, 0, seen.si_code);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 5});
    siginfo_t info;
    struct timespec none = {0, 0}, soon = {0, 10000000};
    printf("wait %d", sigwaitinfo(&set, &info) == SIGRTMIN);
    printf(" value %d code %d own %d\n", info.si_value.sival_int, info.si_code, info.si_pid == getpid());
    printf("none %ld late %ld\n", err(sigtimedwait(&set, &info, &none)), err(sigtimedwait(&set, &info, &soon)));
    printf("nobody %ld bad signal %ld kill 0 %ld\n", err(kill(999999, SIGUSR1)), err(kill(getpid(), 99)), err(kill(getpid(), 0)));
    printf("made up %ld\n", err(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &(siginfo_t){.si_code = SI_USER})));
    printf("unblockable %ld\n", err(sigaction(SIGKILL, &(struct sigaction){.sa_handler = SIG_IGN}, NULL)));
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void on_stack(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    char here;
    stack_t now;
    sigaltstack(NULL, &now);
    printf("on the stack %d flags %d change %ld\n", &here > stack && &here < stack + 65536, now.ss_flags,
           err(sigaltstack(&now, NULL)));
}

static void stacks(void) {
    stack = malloc(65536);
    stack_t alternate = {.ss_sp = stack, .ss_size = 65536};
    printf("stack %ld", err(sigaltstack(&alternate, NULL)));
    handle(SIGUSR1, on_stack, SA_ONSTACK);
    raise(SIGUSR1);
    alternate.ss_size = 100;
    printf("too small %ld\n", err(sigaltstack(&alternate, NULL)));
    alternate.ss_flags = SS_DISABLE;
    printf("off %ld\n", err(sigaltstack(&alternate, NULL)));
}

static void calls(void) {
    int p[2];
    char byte;
    pipe(p);
    struct itimerval soon = {.it_value.tv_usec = 20000};
    handle(SIGALRM, note, 0);
    setitimer(ITIMER_REAL, &soon, NULL);
    printf("interrupted %ld\n", err(read(p[0], &byte, 1)));
    handle(SIGALRM, note, SA_RESTART);
    pid_t child = fork();
    if (child == 0) {
        setitimer(ITIMER_REAL, &soon, NULL);
        _exit(read(p[0], &byte, 1) == 1 && seen.si_signo == SIGALRM ? 3 : 4);
    }
    struct pollfd none;
    poll(&none, 0, 60);
    write(p[1], "x", 1);
    int status;
    waitpid(child, &status, 0);
    printf("restarted %d\n", WEXITSTATUS(status));
    setitimer(ITIMER_REAL, &soon, NULL);
    printf("not restarted %ld %ld\n", err(poll(&none, 0, 1000)), err(0));
    struct itimerval again = {.it_value.tv_usec = 5000, .it_interval.tv_usec = 5000};
    count = 0;
    setitimer(ITIMER_REAL, &again, NULL);
    while (count < 3)
        pause();
    setitimer(ITIMER_REAL, &(struct itimerval){0}, &again);
    printf("again and again %d interval %ld\n", count >= 3, (long)again.it_interval.tv_usec);
    handle(SIGUSR1, note, SA_RESETHAND);
    raise(SIGUSR1);
    struct sigaction action;
    sigaction(SIGUSR1, NULL, &action);
    printf("once %d\n", action.sa_handler == SIG_DFL);
    handle(SIGCHLD, note, 0);
    child = fork();
    if (child == 0)
        _exit(6);
    while (seen.si_signo != SIGCHLD)
        poll(&none, 0, 10);
    printf("child: code %d status %d pid %d\n", seen.si_code, seen.si_status, seen.si_pid == child);
    waitpid(child, NULL, 0);
    signal(SIGCHLD, SIG_DFL);
}

static void files(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    struct signalfd_siginfo got[4];
    printf("none %ld short %ld write %ld\n", err(read(fd, got, sizeof got)), err(read(fd, got, 100)), err(write(fd, got, 128)));
    kill(getpid(), SIGUSR1);
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 7});
    struct pollfd polled = {fd, POLLIN, 0};
    printf("poll %d %x\n", poll(&polled, 1, 0), POLLIN);
    long len = err(read(fd, got, sizeof got));
    printf("read %ld: %d code %d own %d; %d code %d value %d\n", len, got[0].ssi_signo, got[0].ssi_code,
           got[0].ssi_pid == (unsigned)getpid(), got[1].ssi_signo == (unsigned)SIGRTMIN, got[1].ssi_code, got[1].ssi_int);
    fcntl(fd, F_SETFL, 0);
    pid_t child = fork();
    if (child == 0)
        _exit(9);
    len = err(read(fd, got, sizeof got));
    printf("child: read %ld signal %d code %d status %d pid %d\n", len, got[0].ssi_signo, got[0].ssi_code, got[0].ssi_status,
           got[0].ssi_pid == (unsigned)child);
    waitpid(child, NULL, 0);
    sigdelset(&set, SIGUSR1);
    printf("change %d not one %ld flags %ld\n", signalfd(fd, &set, 0) == fd, err(signalfd(0, &set, 0)), err(signalfd(-1, &set, 1)));
    kill(getpid(), SIGUSR1);
    printf("not in it %d\n", poll(&polled, 1, 0));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    faults();
    queues();
    stacks();
    calls();
    files();
    return 0;
}
