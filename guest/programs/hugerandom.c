/*
 * hugerandom SEED STEPS: does with huge pages what chance says: private and shared mappings, files
 * that others use too, touches, unmaps, truncations, holes, moves, copies in children. Whatever fails
 * is as good; a touch may end in SIGBUS. Prints a line after every 20 steps, and waits for one.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS = 6, PAGES = 4, STEPS_A_LINE = 20 };

static const size_t page = 2ul << 20;
static const char *const files[] = {"/dev/hugepages/a", "/dev/hugepages/b"};
static struct {
    char *start;
    size_t pages;
} slots[SLOTS];
static sigjmp_buf before_touch;
static unsigned long long state;

static void on_bus(int signal) {
    (void)signal;
    siglongjmp(before_touch, 1);
}

/* xorshift64: below `limit`. */
static unsigned chance(unsigned limit) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % limit;
}

static void unmap(int slot) {
    if (slots[slot].start)
        munmap(slots[slot].start, slots[slot].pages * page);
    slots[slot].start = 0;
}

static void map(int slot) {
    int how = chance(2) ? MAP_SHARED : MAP_PRIVATE;
    int fd = chance(2) ? open(files[chance(2)], O_CREAT | O_RDWR, 0600) : -1;
    how |= (fd < 0 ? MAP_ANONYMOUS | MAP_HUGETLB : 0) | (chance(4) ? 0 : MAP_NORESERVE);
    size_t pages = 1 + chance(PAGES);
    unmap(slot);
    char *start = mmap(0, pages * page, PROT_READ | PROT_WRITE, how, fd, chance(2) * page * (fd >= 0));
    if (fd >= 0)
        close(fd);
    if (start != MAP_FAILED) {
        slots[slot].start = start;
        slots[slot].pages = pages;
    }
}

static void touch(int slot) {
    if (!slots[slot].start || sigsetjmp(before_touch, 1))
        return;
    for (size_t at = 0; at < slots[slot].pages; at++)
        ((volatile char *)slots[slot].start)[at * page] += 1;
}

/* A hole stays in the slot: nobody else may map there while the slot is in use. */
static void cut(int slot) {
    size_t at = chance(PAGES);
    if (slots[slot].start && at < slots[slot].pages)
        mmap(slots[slot].start + at * page, page, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void of_file(int is_hole) {
    int fd = open(files[chance(2)], O_RDWR);
    if (fd < 0)
        return;
    if (is_hole)
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, chance(PAGES) * page, page);
    else
        ftruncate(fd, chance(PAGES) * page);
    close(fd);
}

static void copy(void) {
    pid_t child = fork();
    if (!child) {
        signal(SIGSEGV, SIG_DFL);
        for (int slot = 0; slot < SLOTS; slot++)
            touch(slot);
        _exit(0);
    }
    if (child > 0)
        waitpid(child, 0, 0);
}

static void on_segv(int signal) {
    (void)signal;
    siglongjmp(before_touch, 1);
}

static void step(void) {
    int slot = chance(SLOTS);
    switch (chance(12)) {
    case 0: case 1: case 2: return map(slot);
    case 3: case 4: case 5: return touch(slot);
    case 6: return unmap(slot);
    case 7: return cut(slot);
    case 8: return of_file(0);
    case 9: return of_file(1);
    case 10: unlink(files[chance(2)]); return;
    default: return copy();
    }
}

int main(int count, char **words) {
    static char line[16];
    if (count != 3)
        return 2;
    state = strtoull(words[1], 0, 10) * 2654435761u + 1;
    signal(SIGBUS, on_bus);
    signal(SIGSEGV, on_segv);
    setvbuf(stdout, 0, _IONBF, 0);
    for (int done = 0, steps = atoi(words[2]); done < steps; done++) {
        if (done % STEPS_A_LINE == 0 && (printf("%d %d\n", getpid(), done), !fgets(line, 16, stdin)))
            return 3;
        step();
    }
    for (int slot = 0; slot < SLOTS; slot++)
        unmap(slot);
    puts("done");
    /* Until the end of the input, so that who moves this task finds it. */
    while (fgets(line, 16, stdin))
        ;
    return 0;
}
