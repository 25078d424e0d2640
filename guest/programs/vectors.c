/* Two tasks keep different values in all vector registers for two seconds; neither disturbs the other. */
#include "say.h"
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EACH16(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
#define LOAD(n) "vmovdqa (%[in]), %%ymm" #n "\n\t"
#define COMPARE(n) "vpxor %%ymm" #n ", %%ymm0, %%ymm1\n\tvpor %%ymm1, %%ymm2, %%ymm2\n\t"
#define CLOBBER(n) "ymm" #n,

/* Fills ymm0-15 with the value, spins, and returns the or of all differences that arose. */
__attribute__((target("avx2"))) static unsigned long spin_avx2(unsigned long value) {
    unsigned long in[4] __attribute__((aligned(32))) = {value, ~value, value * 3, value * 5};
    unsigned long out[4] __attribute__((aligned(32)));
    asm volatile(EACH16(LOAD)
                 "mov $40000000, %%rcx\n"
                 "1: dec %%rcx\n\tjnz 1b\n\t"
                 "vpxor (%[in]), %%ymm1, %%ymm1\n\t"
                 "vpxor (%[in]), %%ymm2, %%ymm2\n\t"
                 "vpor %%ymm1, %%ymm2, %%ymm2\n\t"
                 COMPARE(3) COMPARE(4) COMPARE(5) COMPARE(6) COMPARE(7) COMPARE(8) COMPARE(9)
                 COMPARE(10) COMPARE(11) COMPARE(12) COMPARE(13) COMPARE(14) COMPARE(15)
                 "vpxor (%[in]), %%ymm0, %%ymm1\n\t"
                 "vpor %%ymm1, %%ymm2, %%ymm2\n\t"
                 "vmovdqa %%ymm2, (%[out])\n\t"
                 "vzeroupper\n\t"
                 :
                 : [in] "r"(in), [out] "r"(out)
                 : "rcx", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    return out[0] | out[1] | out[2] | out[3];
}

#define LOAD512(n) "vmovdqu64 (%[in]), %%zmm" #n "\n\t"
#define COMPARE512(n) "vpxorq %%zmm" #n ", %%zmm0, %%zmm1\n\tvporq %%zmm1, %%zmm2, %%zmm2\n\t"

/* The same with zmm0-31, for a processor with AVX-512. */
__attribute__((target("avx512f"))) static unsigned long spin_avx512(unsigned long value) {
    unsigned long in[8], out[8], differences = 0;
    for (int i = 0; i < 8; i++)
        in[i] = value * (2 * i + 1);
    asm volatile(EACH16(LOAD512)
                 LOAD512(16) LOAD512(17) LOAD512(18) LOAD512(19) LOAD512(20) LOAD512(21) LOAD512(22) LOAD512(23)
                 LOAD512(24) LOAD512(25) LOAD512(26) LOAD512(27) LOAD512(28) LOAD512(29) LOAD512(30) LOAD512(31)
                 "mov $40000000, %%rcx\n"
                 "1: dec %%rcx\n\tjnz 1b\n\t"
                 "vpxorq (%[in]), %%zmm1, %%zmm1\n\t"
                 "vpxorq (%[in]), %%zmm2, %%zmm2\n\t"
                 "vporq %%zmm1, %%zmm2, %%zmm2\n\t"
                 COMPARE512(3) COMPARE512(4) COMPARE512(5) COMPARE512(6) COMPARE512(7) COMPARE512(8)
                 COMPARE512(9) COMPARE512(10) COMPARE512(11) COMPARE512(12) COMPARE512(13) COMPARE512(14)
                 COMPARE512(15) COMPARE512(16) COMPARE512(17) COMPARE512(18) COMPARE512(19) COMPARE512(20)
                 COMPARE512(21) COMPARE512(22) COMPARE512(23) COMPARE512(24) COMPARE512(25) COMPARE512(26)
                 COMPARE512(27) COMPARE512(28) COMPARE512(29) COMPARE512(30) COMPARE512(31)
                 "vpxorq (%[in]), %%zmm0, %%zmm1\n\t"
                 "vporq %%zmm1, %%zmm2, %%zmm2\n\t"
                 "vmovdqu64 %%zmm2, (%[out])\n\t"
                 "vzeroupper\n\t"
                 :
                 : [in] "r"(in), [out] "r"(out)
                 : "rcx", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17",
                   "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",
                   "xmm28", "xmm29", "xmm30", "xmm31");
    for (int i = 0; i < 8; i++)
        differences |= out[i];
    return differences;
}

/* The same with xmm0 alone, for a processor without AVX2. */
static unsigned long spin_sse(unsigned long value) {
    unsigned long out;
    asm volatile("movq %[in], %%xmm0\n\tmov $40000000, %%rcx\n"
                 "1: dec %%rcx\n\tjnz 1b\n\t"
                 "movq %%xmm0, %[out]\n\t"
                 : [out] "=r"(out)
                 : [in] "r"(value)
                 : "rcx", "cc", "xmm0");
    return out ^ value;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static unsigned long watch(unsigned long value) {
    unsigned long (*spin)(unsigned long) = __builtin_cpu_supports("avx512f") ? spin_avx512
                                           : __builtin_cpu_supports("avx2")  ? spin_avx2
                                                                             : spin_sse;
    unsigned long differences = 0;
    for (double end = seconds() + 2; seconds() < end;)
        differences |= spin(value);
    return differences;
}

int main(void) {
    pid_t child = fork();
    must(child >= 0);
    if (child == 0)
        _exit(watch(0x1122334455667788) != 0);
    unsigned long differences = watch(0x99aabbccddeeff00);
    int status;
    must(waitpid(child, &status, 0) == child);
    say("parent: %lx, child: %d", differences, WEXITSTATUS(status));
    return 0;
}
