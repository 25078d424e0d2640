/*
 * around PAGES ROUNDS: fills PAGES pages, each with a content of its own, then goes round them ROUNDS times,
 * changing a word of each. Prints the nanoseconds of a touch.
 */
#include "say.h"
#include <sys/mman.h>
#include <time.h>

enum { WORDS = 512 };

static long now_ns(void) {
    struct timespec now;
    must(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

int main(int argc, char **argv) {
    must(argc == 3);
    unsigned long pages = strtoul(argv[1], 0, 10), rounds = strtoul(argv[2], 0, 10);
    must(pages > 0 && rounds > 0);
    unsigned long *memory = mmap(0, pages * WORDS * 8, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED);
    for (unsigned long word = 0; word < pages * WORDS; word++)
        memory[word] = word * 0x9e3779b97f4a7c15;
    long start = now_ns();
    for (unsigned long round = 0; round < rounds; round++)
        for (unsigned long page = 0; page < pages; page++)
            memory[page * WORDS + round % WORDS]++;
    say("%ld", (now_ns() - start) / (long)(pages * rounds));
    return 0;
}
