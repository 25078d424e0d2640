/* Parent and child write to what they shared at fork; neither sees the other's writes. */
#include "say.h"
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 300 };

static unsigned long sum(const unsigned char *memory) {
    unsigned long total = 0;
    for (int page = 0; page < PAGES; page++)
        total += memory[page * 4096] + memory[page * 4096 + 4095];
    return total;
}

static void fill(unsigned char *memory, int step, unsigned char value) {
    for (int page = 0; page < PAGES; page += step)
        memory[page * 4096] = memory[page * 4096 + 4095] = value;
}

int main(void) {
    int flags = MAP_ANONYMOUS;
    unsigned char *private = mmap(0, PAGES * 4096, PROT_READ | PROT_WRITE, flags | MAP_PRIVATE, -1, 0);
    unsigned char *shared = mmap(0, PAGES * 4096, PROT_READ | PROT_WRITE, flags | MAP_SHARED, -1, 0);
    must(private != MAP_FAILED && shared != MAP_FAILED);
    fill(private, 1, 1);
    fill(shared, 1, 1);
    for (int generation = 0; generation < 3; generation++) {
        pid_t child = fork();
        must(child >= 0);
        if (child == 0) {
            fill(private, 2, 10 + generation);
            fill(shared, 3, 20 + generation);
            pid_t grandchild = fork();
            must(grandchild >= 0);
            if (grandchild == 0) {
                fill(private, 5, 99);
                say("  grandchild %d: private %lu", generation, sum(private));
                _exit(0);
            }
            must(waitpid(grandchild, 0, 0) == grandchild);
            say(" child %d: private %lu shared %lu", generation, sum(private), sum(shared));
            _exit(generation);
        }
        int status;
        must(waitpid(child, &status, 0) == child);
        say("parent: private %lu shared %lu, child's status %d", sum(private), sum(shared),
            WEXITSTATUS(status));
    }
    return 0;
}
