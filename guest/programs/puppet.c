/*
 * Does what lines on standard input say, and answers each with one line.
 *
 *   touch N     writes one byte to each of the next N untouched pages of a private mapping
 *   again N     writes to the first N pages of the mapping once more
 *   sum N       adds up the bytes written to the first N pages
 *   lock N      locks the last N touched pages in memory
 *   drop        gives every touched page back (MADV_DONTNEED)
 *   thin        gives back all but each sixteenth
 *   fork        makes a child that shares everything touched so far
 *   child N     the child writes to the first N pages
 *   reap        the child ends and is waited for
 *   pid         says the process id
 *   thread      makes a thread that does nothing, and says its id
 *   exit N      ends with status N
 *
 * Between two answers it touches no page that it has not touched before: no stdio, no heap.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 1 << 18 };

static char *memory;
static unsigned long touched;
static char line[64], answer[32];
static int to_child[2], from_child[2];
static pid_t child;

static void reply(unsigned long number) {
    char *at = answer + sizeof answer;
    *--at = '\n';
    do
        *--at = '0' + number % 10;
    while (number /= 10);
    write(1, at, answer + sizeof answer - at);
}

static int read_line(void) {
    for (size_t length = 0; length < sizeof line - 1; length++) {
        if (read(0, line + length, 1) != 1)
            return 0;
        if (line[length] == '\n') {
            line[length] = 0;
            return 1;
        }
    }
    return 0;
}

static void write_pages(unsigned long from, unsigned long count) {
    for (unsigned long page = from; page < from + count && page < PAGES; page++)
        memory[page * PAGE]++;
}

static unsigned long sum_pages(unsigned long count) {
    unsigned long sum = 0;
    for (unsigned long page = 0; page < count && page < PAGES; page++)
        sum += memory[page * PAGE];
    return sum;
}

static void be_the_child(void) {
    unsigned long count;
    while (read(to_child[0], &count, sizeof count) == sizeof count) {
        write_pages(0, count);
        write(from_child[1], &count, sizeof count);
    }
    _exit(0);
}

static void make_child(void) {
    if (pipe(to_child) || pipe(from_child))
        _exit(98);
    child = fork();
    if (child < 0)
        _exit(97);
    if (child == 0) {
        close(to_child[1]);
        be_the_child();
    }
    close(to_child[0]);
    close(from_child[1]);
}

static void *say_id_and_wait(void *unused) {
    pid_t id = gettid();
    write(from_child[1], &id, sizeof id);
    for (;;)
        pause();
    return unused;
}

static pid_t make_thread(void) {
    pthread_t thread;
    pid_t id = 0;
    if (pipe(from_child) || pthread_create(&thread, 0, say_id_and_wait, 0))
        _exit(96);
    read(from_child[0], &id, sizeof id);
    return id;
}

static int obey(void) {
    char *space = strchr(line, ' ');
    unsigned long count = space ? strtoul(space + 1, 0, 10) : 0;
    unsigned long number = count;
    if (strncmp(line, "touch", 5) == 0) {
        write_pages(touched, count);
        number = touched += count;
    } else if (strncmp(line, "again", 5) == 0) {
        write_pages(0, count);
    } else if (strncmp(line, "sum", 3) == 0) {
        number = sum_pages(count);
    } else if (strncmp(line, "lock", 4) == 0) {
        number = mlock(memory + (touched - count) * PAGE, count * PAGE) ? 0 : count;
    } else if (strncmp(line, "drop", 4) == 0) {
        madvise(memory, touched * PAGE, MADV_DONTNEED);
        number = touched;
        touched = 0;
    } else if (strncmp(line, "thin", 4) == 0) {
        for (unsigned long page = 0; page < touched; page += 16)
            madvise(memory + (page + 1) * PAGE, 15 * PAGE, MADV_DONTNEED);
        number = touched / 16;
    } else if (strncmp(line, "fork", 4) == 0) {
        make_child();
        number = child;
    } else if (strncmp(line, "child", 5) == 0) {
        write(to_child[1], &count, sizeof count);
        read(from_child[0], &number, sizeof number);
    } else if (strncmp(line, "reap", 4) == 0) {
        int status = 0;
        close(to_child[1]);
        close(from_child[0]);
        waitpid(child, &status, 0);
        number = status;
    } else if (strncmp(line, "pid", 3) == 0) {
        number = getpid();
    } else if (strncmp(line, "thread", 6) == 0) {
        number = make_thread();
    } else {
        _exit(count);
    }
    reply(number);
    return 1;
}

int main(void) {
    memory = mmap(0, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return 99;
    while (read_line())
        obey();
    return 0;
}
