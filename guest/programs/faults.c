/* Catches the faults a program can make and shows code and address of each. */
#include "say.h"
#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile int signal_seen, code_seen;
static volatile uintptr_t address_seen;

static void catch(int signal, siginfo_t *info, void *context) {
    (void)context;
    signal_seen = signal;
    code_seen = info->si_code;
    address_seen = (uintptr_t)info->si_addr;
    siglongjmp(back, 1);
}

#define attempt(name, base, ...)                                                              \
    do {                                                                                      \
        if (sigsetjmp(back, 1) == 0) {                                                        \
            __VA_ARGS__;                                                                      \
            say("%s: no fault", name);                                                        \
        } else {                                                                              \
            say("%s: %s code %d offset %ld", name, sigabbrev_np(signal_seen), code_seen,      \
                (long)(address_seen - (uintptr_t)(base)));                                    \
        }                                                                                     \
    } while (0)

int main(void) {
    struct sigaction action = {.sa_sigaction = catch, .sa_flags = SA_SIGINFO};
    int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        must(sigaction(signals[i], &action, 0) == 0);
    volatile char *read_only = mmap(0, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile char *none = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile char *gone = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap((void *)gone, 4096);
    volatile char *volatile null = 0;
    attempt("null read", 0, (void)*null);
    attempt("null write", 0, null[16] = 1);
    attempt("write to read-only", read_only, read_only[5000] = 1);
    attempt("read of read-only", read_only, (void)read_only[5000]);
    attempt("read of PROT_NONE", none, (void)none[7]);
    attempt("read of unmapped", gone, (void)gone[9]);
    attempt("jump into data", read_only, ((void (*)(void))read_only)());
    attempt("kernel address", 0xffffffff80000000, *(volatile char *)0xffffffff80000000 = 1);
    attempt("top of memory", 0xfffffffffff05000, *(volatile char *)0xfffffffffff05000 = 1);
    attempt("not canonical", 0, *(volatile char *)0x8000000000000000 = 1);
    attempt("privileged instruction", 0, asm volatile("hlt"));
    attempt("privileged register", 0, asm volatile("mov %%rax, %%cr3" ::: "memory"));
    attempt("port", 0, asm volatile("outb %%al, $0x50" ::: "memory"));
    attempt("undefined instruction", address_seen, asm volatile("ud2"));
    attempt("division by zero", address_seen, asm volatile("idivl %0" : : "r"(0) : "rax", "rdx"));
    attempt("breakpoint", address_seen, asm volatile("int3"));
    attempt("int 0x20", 0, asm volatile("int $0x20"));
    return 0;
}
