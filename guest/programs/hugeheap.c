/*
 * hugeheap SIZE: a heap as libhugetlbfs made it for malloc. It grows by segments of huge pages; where mmap
 * says ENOMEM it warns, and grows by small pages instead. Everything allocated is written and read back. Says
 * what the heap is made of, waits until its standard input ends, and gives everything back.
 */
#include "say.h"
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE = 2 << 20, SEGMENT = 2 * HUGE, BLOCK = 48 << 10, SEGMENTS = 4096 };

static struct segment {
    char *start;
    int is_huge;
} segments[SEGMENTS];
static size_t count, left;
static int has_warned;

static void *more(int flags) {
    return mmap(0, SEGMENT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

/* A new segment; huge pages first. */
static void grow(void) {
    must(count < SEGMENTS);
    char *start = more(MAP_HUGETLB);
    int is_huge = start != MAP_FAILED;
    if (!is_huge) {
        must(errno == ENOMEM);
        if (!has_warned)
            fprintf(stderr, "hugeheap: WARNING: new heap segment map failed: %s; using small pages\n",
                    strerror(errno));
        has_warned = 1;
        start = more(0);
        must(start != MAP_FAILED);
    }
    segments[count++] = (struct segment){start, is_huge};
    left = SEGMENT;
}

static char *allocate(void) {
    if (left < BLOCK)
        grow();
    left -= BLOCK;
    return segments[count - 1].start + left;
}

static size_t use(size_t blocks) {
    char **all = malloc(blocks * sizeof *all);
    must(all != 0);
    for (size_t i = 0; i < blocks; i++) {
        all[i] = allocate();
        memset(all[i], (int)i & 0xff, BLOCK);
    }
    size_t wrong = 0;
    for (size_t i = 0; i < blocks; i++)
        for (size_t at = 0; at < BLOCK; at += 512)
            wrong += all[i][at] != (char)i;
    free(all);
    return wrong;
}

int main(int argc, char **argv) {
    must(argc == 2);
    char *unit;
    size_t size = strtoul(argv[1], &unit, 10) << (*unit == 'M' ? 20 : *unit == 'K' ? 10 : 0);
    size_t wrong = use(size / BLOCK), huge = 0;
    for (size_t i = 0; i < count; i++)
        huge += segments[i].is_huge;
    say("heap of %zu segments: %zu of huge pages, %zu of small ones, %zu blocks wrong", count, huge,
        count - huge, wrong);
    char byte;
    while (read(0, &byte, 1) > 0)
        ;
    for (size_t i = 0; i < count; i++)
        must(munmap(segments[i].start, SEGMENT) == 0);
    return wrong != 0;
}
