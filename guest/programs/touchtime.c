/* touchtime SIZE_MIB: prints the nanoseconds that the first touch of SIZE_MIB MiB took. */
#include "say.h"
#include <sys/mman.h>
#include <time.h>

static long now_ns(void) {
    struct timespec now;
    must(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

int main(int argc, char **argv) {
    must(argc == 2);
    size_t size = strtoul(argv[1], 0, 10) << 20;
    char *memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED);
    long start = now_ns();
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = 1;
    say("%ld", now_ns() - start);
    return 0;
}
