/* zeros SIZE[K|M|G]: writes a zero to every page of SIZE bytes, and says how many there were. */
#include "say.h"
#include <sys/mman.h>

int main(int argc, char **argv) {
    must(argc == 2);
    unsigned long size = parse_size(argv[1]);
    volatile char *memory =
        mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED);
    for (unsigned long at = 0; at < size; at += 4096)
        memory[at] = 0;
    say("wrote %lu zeros", size / 4096);
    return 0;
}
