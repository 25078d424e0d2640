/*
 * touchtime SIZE_MIB [huge]: prints the nanoseconds that the first touch of SIZE_MIB MiB took: of every page, or of
 * every huge page.
 */
#include "say.h"
#include <sys/mman.h>
#include <time.h>

static long now_ns(void) {
    struct timespec now;
    must(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

int main(int argc, char **argv) {
    must(argc == 2 || argc == 3);
    size_t size = strtoul(argv[1], 0, 10) << 20, step = argc == 3 ? 2 << 20 : 4096;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (argc == 3 ? MAP_HUGETLB : 0);
    char *memory = mmap(0, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    must(memory != MAP_FAILED);
    long start = now_ns();
    for (size_t at = 0; at < size; at += step)
        memory[at] = 1;
    say("%ld", now_ns() - start);
    return 0;
}
