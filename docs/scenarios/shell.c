/*
 * shell PARENT CHILD PROGRAM: touches PARENT bytes and forks; the child writes to CHILD bytes of them,
 * waits a second in which it can be moved, and executes this program again to touch PROGRAM bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static char *touch(char *memory, size_t size) {
    if (!memory)
        memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        _exit(2);
    for (size_t at = 0; at < size; at += 4096)
        memory[at]++;
    return memory;
}

int main(int argc, char **argv) {
    if (argc == 2) {
        touch(0, strtoul(argv[1], 0, 10));
        for (;;)
            pause();
    }
    if (argc != 4)
        return 2;
    int done[2];
    char byte = 0;
    char *memory = touch(0, strtoul(argv[1], 0, 10));
    if (pipe(done))
        return 2;
    if (fork() == 0) {
        touch(memory, strtoul(argv[2], 0, 10));
        write(done[1], &byte, 1);
        sleep(1);
        char *again[] = {argv[0], argv[3], 0};
        execv(argv[0], again);
        _exit(2);
    }
    read(done[0], &byte, 1);
    puts("the child is ready to be moved");
    fflush(stdout);
    for (;;)
        pause();
}
