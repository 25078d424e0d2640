/* churn SIZE STEPS: touches SIZE bytes in so many steps, gives them back in as many, and starts over. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    size_t size = strtoul(argv[1], 0, 10), steps = strtoul(argv[2], 0, 10);
    char *memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || steps == 0)
        return 2;
    size_t step = size / steps / 4096 * 4096;
    for (unsigned long round = 0;; round++) {
        for (size_t at = 0; at < step * steps; at += 4096)
            memory[at] = 1;
        if (round == 0) {
            puts("one round is over");
            fflush(stdout);
        }
        for (size_t at = 0; at < step * steps; at += step)
            madvise(memory + at, step, MADV_DONTNEED);
    }
}
