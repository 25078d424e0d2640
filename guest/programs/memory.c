/* brk, mmap, munmap, mprotect, madvise and mremap do what their manual pages say. */
#include "say.h"
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

static char *map(size_t pages, int protection) {
    char *memory = mmap(0, pages * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED);
    return memory;
}

static void show_brk(void) {
    char *start = sbrk(0);
    must(sbrk(100 * PAGE) == start);
    memset(start, 0x5a, 100 * PAGE);
    say("brk: first %x last %x", start[0], start[100 * PAGE - 1]);
    must(sbrk(-50 * PAGE) != (void *)-1);
    must(sbrk(50 * PAGE) != (void *)-1);
    say("brk after shrink and growth: kept %x, new %x", start[49 * PAGE], start[60 * PAGE]);
    must(brk(start) == 0);
}

static void show_holes(void) {
    char *memory = map(16, PROT_READ | PROT_WRITE);
    memset(memory, 1, 16 * PAGE);
    must(munmap(memory + 4 * PAGE, 4 * PAGE) == 0);
    unsigned char vector[16];
    say("mincore over a hole: %s", outcome(mincore(memory, 16 * PAGE, vector)));
    char *again = mmap(memory + 4 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    say("fixed into the hole: %d, content %d, neighbours %d %d", again == memory + 4 * PAGE, again[0],
        memory[3 * PAGE], memory[8 * PAGE]);
    void *taken = mmap(memory, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    say("fixed_noreplace on a mapping: %s", outcome(taken == MAP_FAILED ? -1 : 0));
    say("munmap twice: %s %s", outcome(munmap(memory, 16 * PAGE)), outcome(munmap(memory, 16 * PAGE)));
}

static void show_protection_and_advice(void) {
    char *memory = map(8, PROT_READ | PROT_WRITE);
    memset(memory, 2, 8 * PAGE);
    say("mprotect: %s", outcome(mprotect(memory, 4 * PAGE, PROT_READ)));
    say("read of a page made read-only: %d", memory[PAGE]);
    say("back: %s", outcome(mprotect(memory, 4 * PAGE, PROT_READ | PROT_WRITE)));
    memory[PAGE] = 3;
    say("dontneed: %s", outcome(madvise(memory, 2 * PAGE, MADV_DONTNEED)));
    say("after dontneed: %d %d %d", memory[0], memory[PAGE], memory[2 * PAGE]);
    say("unaligned mprotect: %s", outcome(mprotect(memory + 1, PAGE, PROT_READ)));
    say("mprotect of nothing: %s", outcome(mprotect((void *)0x10000, PAGE, PROT_READ)));
    say("madvise of an unknown kind: %s", outcome(madvise(memory, PAGE, 12345)));
    munmap(memory, 8 * PAGE);
}

static void show_remap(void) {
    char *memory = map(4, PROT_READ | PROT_WRITE);
    memset(memory, 4, 4 * PAGE);
    char *grown = mremap(memory, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    must(grown != MAP_FAILED);
    say("mremap: kept %d, new %d", grown[4 * PAGE - 1], grown[63 * PAGE]);
    char *shrunk = mremap(grown, 64 * PAGE, 2 * PAGE, 0);
    say("shrunk in place: %d, content %d", shrunk == grown, shrunk[PAGE]);
    munmap(shrunk, 2 * PAGE);
}

static void show_refusals(void) {
    void *bad = mmap(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say("length 0: %s", outcome(bad == MAP_FAILED ? -1 : 0));
    bad = mmap(0, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0);
    say("neither private nor shared: %s", outcome(bad == MAP_FAILED ? -1 : 0));
    bad = mmap(0, PAGE, PROT_READ, MAP_PRIVATE, 77, 0);
    say("bad descriptor: %s", outcome(bad == MAP_FAILED ? -1 : 0));
    bad = mmap(0, (size_t)1 << 60, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say("a length beyond the address space: %s", outcome(bad == MAP_FAILED ? -1 : 0));
    char *big = mmap(0, (size_t)1 << 36, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(big != MAP_FAILED);
    big[(size_t)1 << 35] = 5;
    say("one page in 64 GiB: %d", big[(size_t)1 << 35]);
    munmap(big, (size_t)1 << 36);
}

int main(void) {
    show_brk();
    show_holes();
    show_protection_and_advice();
    show_remap();
    show_refusals();
    return 0;
}
