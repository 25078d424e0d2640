/*
 * locked map|future|call PAGES: makes PAGES pages that stay in memory, by MAP_LOCKED, by mlockall(MCL_FUTURE)
 * before they are mapped, or by mlock(); fills and says so. Waits for a line, unlocks them, says so; waits
 * for another, verifies them, and says so.
 */
#include "say.h"
#include <sys/mman.h>

enum { WORDS = 512 };

static void wait_for_line(void) {
    char line[16];
    must(fgets(line, sizeof line, stdin) != 0);
}

int main(int argc, char **argv) {
    must(argc == 3);
    unsigned long words = strtoul(argv[2], 0, 10) * WORDS;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    if (strcmp(argv[1], "future") == 0)
        must(mlockall(MCL_FUTURE) == 0);
    if (strcmp(argv[1], "map") == 0)
        flags |= MAP_LOCKED;
    unsigned long *memory = mmap(0, words * 8, PROT_READ | PROT_WRITE, flags, -1, 0);
    must(memory != MAP_FAILED);
    if (strcmp(argv[1], "call") == 0)
        must(mlock(memory, words * 8) == 0);
    for (unsigned long word = 0; word < words; word++)
        memory[word] = word * 0x9e3779b97f4a7c15;
    say("locked");
    wait_for_line();
    must(munlockall() == 0);
    say("unlocked");
    wait_for_line();
    for (unsigned long word = 0; word < words; word++)
        must(memory[word] == word * 0x9e3779b97f4a7c15);
    say("verified");
    return 0;
}
