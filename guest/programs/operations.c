/* operations NAME COUNT: does one kind of operation COUNT times; prints nanoseconds an operation. */
#include "say.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 16], pages60[60 << 12];

static void null_call(long count) {
    while (count-- > 0)
        syscall(SYS_getppid);
}

/* Far enough apart that no fault maps what the next one touches. */
static void page_fault(long count) {
    char *pages = mmap(0, count << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(pages != MAP_FAILED);
    for (long i = 0; i < count; i++)
        pages[i << 16] = 1;
    munmap(pages, count << 16);
}

/* The process has 60 pages of memory it wrote, besides its code. */
static void fork_wait(long count) {
    for (long page = 0; page < 60; page++)
        pages60[page << 12] = 1;
    while (count-- > 0) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        must(child > 0 && waitpid(child, 0, 0) == child);
    }
}

static void directory(long count) {
    while (count-- > 0)
        must(mkdir("/dev/shm/operations", 0700) == 0 && rmdir("/dev/shm/operations") == 0);
}

static void fork_exec(long count) {
    while (count-- > 0) {
        pid_t child = fork();
        if (child == 0) {
            execl("/proc/self/exe", "operations", "nothing", "0", (char *)0);
            _exit(1);
        }
        must(child > 0 && waitpid(child, 0, 0) == child);
    }
}

static void pipe_trip(long count) {
    int there[2], back[2];
    char byte = 0;
    must(pipe(there) == 0 && pipe(back) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1)
            must(write(back[1], &byte, 1) == 1);
        _exit(0);
    }
    for (long i = 0; i < count; i++)
        must(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1);
    close(there[1]);
    must(waitpid(child, 0, 0) == child);
}

static void *nothing(void *argument) { return argument; }

static void thread_join(long count) {
    while (count-- > 0) {
        pthread_t thread;
        must(pthread_create(&thread, 0, nothing, 0) == 0 && pthread_join(thread, 0) == 0);
    }
}

/* A MiB of a file that is in the page cache. */
static void cached_read(long count) {
    int fd = memfd_create("cached", 0);
    for (int i = 0; i < 16; i++)
        must(write(fd, buffer, sizeof buffer) == sizeof buffer);
    while (count-- > 0)
        for (long at = 0; at < 1 << 20; at += sizeof buffer)
            must(pread(fd, buffer, sizeof buffer, at) == sizeof buffer);
    close(fd);
}

static void compute(long count) {
    volatile unsigned long sink;
    unsigned long hash = 14695981039346656037UL;
    while (count-- > 0)
        hash = (hash ^ (count & 0xff)) * 1099511628211UL;
    sink = hash;
    (void)sink;
}

static const struct {
    const char *name;
    void (*run)(long count);
} kinds[] = {
    {"null", null_call}, {"fault", page_fault}, {"fork", fork_wait}, {"exec", fork_exec},
    {"pipe", pipe_trip}, {"thread", thread_join}, {"read", cached_read}, {"compute", compute},
    {"mkdir", directory},
};

int main(int argc, char **argv) {
    must(argc == 3);
    long count = atol(argv[2]);
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, argv[1]) != 0)
            continue;
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        kinds[i].run(count);
        clock_gettime(CLOCK_MONOTONIC, &end);
        double ns = (end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec);
        say("%.1f", ns / count);
    }
    return 0;
}
