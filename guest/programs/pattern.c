/*
 * pattern SIZE[K|M|G] SEED ROUNDS [shared|fork]...: fills memory with words that follow from SEED and
 * their place, and verifies all of them ROUNDS times, changing one word of every page each time.
 *
 *   shared   the memory is shared (MAP_SHARED), else private
 *   fork     a child verifies and changes the memory at the same time: its own copy of private
 *            memory; in shared memory it keeps to the odd pages, and the parent to the even ones
 *
 * Says how many pages were verified; a wrong word ends it with status 1.
 */
#include "say.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8 };

static unsigned long *memory;
static unsigned long pages, seed, verified;

/* Steele, Lea, Flood: splitmix64. */
static unsigned long mixed(unsigned long x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static unsigned long word_of(unsigned long page, unsigned long word, unsigned long round) {
    unsigned long value = mixed(seed ^ mixed(page));
    /* Word 1 changes every round, and with it who wrote it can be told. */
    return word == 1 ? value + round : value ^ word;
}

static void fill(void) {
    for (unsigned long page = 0; page < pages; page++)
        for (unsigned long word = 0; word < WORDS; word++)
            memory[page * WORDS + word] = word_of(page, word, 0);
}

/* Looks at every step-th page from first on, and makes word 1 that of the next round. */
static void verify(unsigned long first, unsigned long step, unsigned long round) {
    for (unsigned long page = first; page < pages; page += step) {
        unsigned long *at = memory + page * WORDS;
        for (unsigned long word = 0; word < WORDS; word++)
            if (at[word] != word_of(page, word, round)) {
                say("page %lu word %lu round %lu is %lx instead of %lx", page, word, round, at[word],
                    word_of(page, word, round));
                _exit(1);
            }
        at[1] = word_of(page, 1, round + 1);
        verified++;
    }
}

int main(int argc, char **argv) {
    must(argc >= 4);
    pages = parse_size(argv[1]) / PAGE;
    seed = strtoul(argv[2], 0, 10);
    unsigned long rounds = strtoul(argv[3], 0, 10);
    int is_shared = 0, forks = 0;
    for (int at = 4; at < argc; at++) {
        is_shared |= strcmp(argv[at], "shared") == 0;
        forks |= strcmp(argv[at], "fork") == 0;
    }
    int flags = MAP_ANONYMOUS | (is_shared ? MAP_SHARED : MAP_PRIVATE);
    memory = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    must(memory != MAP_FAILED);
    fill();
    pid_t child = forks ? fork() : 0;
    must(child >= 0);
    int is_child = forks && child == 0;
    unsigned long first = is_child, step = 2;
    if (!forks || !is_shared)
        first = 0, step = 1;
    for (unsigned long round = 0; round < rounds; round++)
        verify(first, step, round);
    if (is_child)
        _exit(0);
    if (forks) {
        int status = 0;
        must(waitpid(child, &status, 0) == child);
        must(status == 0);
    }
    say("verified %lu pages", verified);
    return 0;
}
