// Random system calls with random arguments: randomcalls SEED CHILDREN. Each child makes calls until it
// ends, is stopped or sleeps too long. Never run natively: the calls do what they say.
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t state;

static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint64_t argument(char *memory) {
    switch (next() % 8) {
    case 0: return next() % 8;
    case 1: return next() % 5000;
    case 2: return (uint64_t)memory + next() % 65536;
    case 3: return ((uint64_t)memory & ~4095UL) + (next() % 16) * 4096;
    case 4: return 1UL << (next() % 64);
    case 5: return -(next() % 5000);
    case 6: return 0;
    default: return next();
    }
}

static void make_calls(int calls) {
    char *memory = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < calls; i++) {
        uint64_t a[6];
        for (int j = 0; j < 6; j++) {
            a[j] = argument(memory);
        }
        long number = next() % 470;
        // The parent and its siblings are left alone, and nobody is made who would outlive the test.
        if (number == SYS_kill || number == SYS_tkill || number == SYS_tgkill ||
            number == SYS_rt_sigqueueinfo || number == SYS_rt_tgsigqueueinfo || number == SYS_fork ||
            number == SYS_vfork || number == SYS_clone || number == SYS_clone3) {
            continue;
        }
        syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    int children = argc > 2 ? atoi(argv[2]) : 20;
    for (int i = 0; i < children; i++) {
        pid_t child = fork();
        if (child == 0) {
            state = (seed + i) * 0x9e3779b97f4a7c15UL + 1;
            make_calls(2000);
            _exit(0);
        }
        int status;
        for (int waited = 0; waitpid(child, &status, WNOHANG) == 0; waited++) {
            if (waited == 50) {
                kill(child, SIGKILL);
            }
            usleep(5000);
        }
    }
    printf("%d children\n", children);
    return 0;
}
