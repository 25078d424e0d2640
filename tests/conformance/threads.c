// Threads and futexes: creation, joining, locks of all kinds, storage, cancellation, robust lists.
#include "conform.h"
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define THREADS 8

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_rwlock_t readers = PTHREAD_RWLOCK_INITIALIZER;
static long counter;
static __thread int own;
static pthread_key_t key;
static atomic_int destroyed, serial;

static long futex(void *at, int operation, unsigned value, void *timeout, void *second, unsigned third) {
    return err(syscall(SYS_futex, at, operation, value, timeout, second, third));
}

static void destroy(void *value) {
    (void)value;
    destroyed++;
}

static void *work(void *number) {
    own = (int)(long)number;
    pthread_setspecific(key, number);
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
        if (i % 100 == 0)
            pthread_rwlock_rdlock(&readers), pthread_rwlock_unlock(&readers);
    }
    if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
        serial++;
    return (void *)(long)(own * 2);
}

static void many(void) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    pthread_key_create(&key, destroy);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    long total = 0;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        total += (long)result;
    }
    printf("counter %ld results %ld destroyed %d serial %d own %d\n", counter, total, destroyed, serial, own);
}

static int turn;

static void *ping(void *unused) {
    (void)unused;
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&lock);
        while (turn % 2 == 0)
            pthread_cond_wait(&changed, &lock);
        turn++;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void conditions(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, ping, NULL);
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&lock);
        while (turn % 2 == 1)
            pthread_cond_wait(&changed, &lock);
        turn++;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
    }
    pthread_join(thread, NULL);
    printf("turns %d\n", turn);
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 20000000;
    if (soon.tv_nsec >= 1000000000)
        soon.tv_sec++, soon.tv_nsec -= 1000000000;
    pthread_mutex_lock(&lock);
    printf("timed wait %d\n", pthread_cond_timedwait(&changed, &lock, &soon));
    pthread_mutex_unlock(&lock);
    sem_t semaphore;
    sem_init(&semaphore, 0, 1);
    printf("semaphore %d", sem_trywait(&semaphore));
    printf(" %d", sem_trywait(&semaphore));
    printf(" %ld\n", err(sem_timedwait(&semaphore, &soon)));
}

static void *forever(void *unused) {
    for (;;)
        pause();
    return unused;
}

static volatile pthread_t handled_by;
static void on_signal(int number) {
    (void)number;
    handled_by = pthread_self();
}

static void ends(void) {
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, forever, NULL);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    printf("cancelled %d\n", result == PTHREAD_CANCELED);
    signal(SIGUSR1, on_signal);
    pthread_create(&thread, NULL, forever, NULL);
    pthread_kill(thread, SIGUSR1);
    while (!handled_by)
        sched_yield();
    printf("in the thread %d\n", pthread_equal(handled_by, thread));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    handled_by = 0;
    kill(getpid(), SIGUSR1);
    while (!handled_by)
        sched_yield();
    printf("in the one that does not block %d\n", pthread_equal(handled_by, thread));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        pthread_create(&thread, NULL, forever, NULL);
        _exit(4);
    }
    int status;
    waitpid(child, &status, 0);
    printf("exit ends all %d\n", WEXITSTATUS(status));
}

struct shared {
    pthread_mutex_t lock;
    unsigned word, other;
    atomic_int ready;
};

static void robust(void) {
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->lock, &attributes);
    pid_t child = fork();
    if (child == 0) {
        pthread_mutex_lock(&shared->lock);
        shared->ready = 1;
        kill(getpid(), SIGKILL);
    }
    while (!shared->ready)
        sched_yield();
    int result = pthread_mutex_lock(&shared->lock);
    printf("owner died %d consistent %d unlock %d\n", result == EOWNERDEAD, pthread_mutex_consistent(&shared->lock),
           pthread_mutex_unlock(&shared->lock));
    waitpid(child, NULL, 0);

    child = fork();
    if (child == 0) {
        shared->ready = 2;
        _exit(futex(&shared->word, FUTEX_WAIT, 0, NULL, NULL, 0) == 0 ? 7 : 8);
    }
    while (futex(&shared->word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0)
        sched_yield();
    int status;
    waitpid(child, &status, 0);
    printf("woken across processes %d\n", WEXITSTATUS(status));
    child = fork();
    if (child == 0)
        _exit(futex(&shared->word, FUTEX_WAIT, 0, NULL, NULL, 0) == 0 ? 7 : 8);
    while (futex(&shared->word, FUTEX_REQUEUE, 0, (void *)1, &shared->other, 0) == 0)
        sched_yield();
    printf("moved: nobody here %ld one there %ld\n", futex(&shared->word, FUTEX_WAKE, 1, NULL, NULL, 0),
           futex(&shared->other, FUTEX_WAKE, 1, NULL, NULL, 0));
    waitpid(child, &status, 0);
    printf("requeued %d\n", WEXITSTATUS(status));
}

static void raw(void) {
    unsigned word = 5;
    struct timespec short_time = {0, 10000000}, bad_time = {0, 2000000000};
    printf("changed %ld timeout %ld bad time %ld\n", futex(&word, FUTEX_WAIT, 4, NULL, NULL, 0),
           futex(&word, FUTEX_WAIT, 5, &short_time, NULL, 0), futex(&word, FUTEX_WAIT, 5, &bad_time, NULL, 0));
    printf("unaligned %ld nowhere %ld kernel %ld nonsense %ld\n", futex((char *)&word + 1, FUTEX_WAIT, 5, NULL, NULL, 0),
           futex((void *)4096, FUTEX_WAIT, 5, NULL, NULL, 0), futex((void *)0xffff800000000000, FUTEX_WAKE, 1, NULL, NULL, 0),
           futex(&word, 77, 0, NULL, NULL, 0));
    printf("no bits %ld nobody %ld compare %ld\n", futex(&word, FUTEX_WAIT_BITSET, 5, NULL, NULL, 0),
           futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0), futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &word, 4));
    unsigned second = 1;
    printf("wake op %ld", futex(&word, FUTEX_WAKE_OP, 1, (void *)1, &second,
                                FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 1)));
    printf(" second %u\n", second);
    struct futex_waitv waits[2] = {{.val = 5, .uaddr = (unsigned long)&word, .flags = FUTEX_32},
                                   {.val = 9, .uaddr = (unsigned long)&second, .flags = FUTEX_32}};
    printf("waitv changed %ld none %ld flags %ld\n", err(syscall(SYS_futex_waitv, waits, 2, 0, NULL, 0)),
           err(syscall(SYS_futex_waitv, waits, 0, 0, NULL, 0)), err(syscall(SYS_futex_waitv, waits, 2, 1, NULL, 0)));
    waits[1].val = second;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("waitv timeout %ld\n", err(syscall(SYS_futex_waitv, waits, 2, 0, &now, CLOCK_MONOTONIC)));
    unsigned *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct futex_waitv both[2] = {{.uaddr = (unsigned long)shared, .flags = FUTEX_32},
                                  {.uaddr = (unsigned long)(shared + 1), .flags = FUTEX_32}};
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(10 + err(syscall(SYS_futex_waitv, both, 2, 0, NULL, 0)));
    while (futex(shared + 1, FUTEX_WAKE, 1, NULL, NULL, 0) == 0)
        sched_yield();
    int status;
    waitpid(child, &status, 0);
    printf("waitv woken by %d\n", WEXITSTATUS(status) - 10);
}

int main(void) {
    many();
    conditions();
    ends();
    robust();
    raw();
    return 0;
}
