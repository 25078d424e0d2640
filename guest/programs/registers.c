/* Fills all registers and the flags, enters the kernel by a system call and by page faults, and says what came back. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { RAX, RCX, RDX, RBX, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, FLAGS, COUNT };
static const char *const NAMES[COUNT] = {"rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", "r8",
                                         "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "flags"};

uint64_t before[COUNT], after[COUNT], stack_before, stack_after;
extern const char behind_syscall[];
void by_syscall(void), by_touch(void);

#define LOAD                                                                                                   \
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"                                       \
    "mov %rsp, stack_before(%rip)\n pushq before+120(%rip)\n popfq\n"                                          \
    "mov before(%rip), %rax\n mov before+8(%rip), %rcx\n mov before+16(%rip), %rdx\n mov before+24(%rip), %rbx\n" \
    "mov before+32(%rip), %rbp\n mov before+40(%rip), %rsi\n mov before+48(%rip), %rdi\n"                      \
    "mov before+56(%rip), %r8\n mov before+64(%rip), %r9\n mov before+72(%rip), %r10\n"                        \
    "mov before+80(%rip), %r11\n mov before+88(%rip), %r12\n mov before+96(%rip), %r13\n"                      \
    "mov before+104(%rip), %r14\n mov before+112(%rip), %r15\n"
#define STORE                                                                                                  \
    "mov %rax, after(%rip)\n mov %rcx, after+8(%rip)\n mov %rdx, after+16(%rip)\n mov %rbx, after+24(%rip)\n"  \
    "mov %rbp, after+32(%rip)\n mov %rsi, after+40(%rip)\n mov %rdi, after+48(%rip)\n"                         \
    "mov %r8, after+56(%rip)\n mov %r9, after+64(%rip)\n mov %r10, after+72(%rip)\n"                           \
    "mov %r11, after+80(%rip)\n mov %r12, after+88(%rip)\n mov %r13, after+96(%rip)\n"                         \
    "mov %r14, after+104(%rip)\n mov %r15, after+112(%rip)\n"                                                  \
    "mov %rsp, stack_after(%rip)\n pushfq\n popq after+120(%rip)\n cld\n"                                      \
    "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n ret\n"

__asm__(".globl by_syscall, by_touch, behind_syscall\n"
        "by_syscall:\n" LOAD "syscall\n behind_syscall:\n" STORE "by_touch:\n" LOAD "movb $1, (%rdi)\n" STORE);

static void fill(int round) {
    for (int number = 0; number < COUNT; number++)
        before[number] = 0x0101010101010101u * (uint64_t)(number + 16 * round);
    /* CF PF AF ZF SF DF OF in turns; the interrupt flag and bit 1 are always set. */
    before[FLAGS] = 0x202 | (round & 1 ? 0xcd5 : 0);
}

/* Says which registers are not what they should be. */
static void report(const char *how, int round) {
    int wrong = stack_before != stack_after;
    for (int number = 0; number < COUNT; number++)
        if (before[number] != after[number]) {
            printf("%s, round %d: %s was lost\n", how, round, NAMES[number]);
            wrong = 1;
        }
    printf("%s, round %d: %s\n", how, round, wrong ? "wrong" : "right");
}

static volatile int steps;

static void on_step(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    ucontext_t *interrupted = context;
    if (++steps == 6)
        interrupted->uc_mcontext.gregs[REG_EFL] &= ~0x100;
}

/* Single steps go on after a system call. */
static void step_over_syscall(void) {
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &action, NULL);
    __asm__ volatile("pushfq\n orq $0x100, (%%rsp)\n popfq\n nop\n mov $39, %%eax\n syscall\n"
                     "nop\n nop\n nop\n nop\n nop\n nop\n"
                     : : : "rax", "rcx", "r11", "memory", "cc");
    printf("%d steps\n", steps);
}

int main(void) {
    char *pages = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int round = 0; round < 32; round++) {
        fill(round);
        before[RAX] = SYS_getpid;
        by_syscall();
        before[RAX] = getpid();
        before[RCX] = (uint64_t)behind_syscall;
        before[R11] = before[FLAGS];
        report("system call", round);
        fill(round);
        before[RDI] = (uint64_t)pages + (uint64_t)round * 8192;
        by_touch();
        report("page fault", round);
    }
    step_over_syscall();
    return 0;
}
