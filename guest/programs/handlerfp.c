/* A handler that computes leaves the interrupted computation's floating point and vector state alone. */
#include "say.h"
#include <math.h>
#include <signal.h>
#include <sys/time.h>

static volatile double sink;
static volatile sig_atomic_t runs;

static void compute(int signal) {
    (void)signal;
    double value = 0.5;
    for (int i = 0; i < 100; i++)
        value = value * 3.7 * (1 - value);
    sink = value;
    asm volatile("pxor %%xmm0, %%xmm0\n\tpcmpeqd %%xmm1, %%xmm1\n\tpxor %%xmm7, %%xmm7\n\t"
                 "pxor %%xmm15, %%xmm15\n\tfninit\n\tfldpi"
                 ::: "xmm0", "xmm1", "xmm7", "xmm15");
    runs++;
}

int main(void) {
    signal(SIGALRM, compute);
    struct itimerval every = {{0, 10000}, {0, 10000}};
    must(setitimer(ITIMER_REAL, &every, 0) == 0);
    int differences = 0;
    double first = 0;
    long double first_extended = 0;
    for (int round = 0; runs < 20; round++) {
        double value = 0.3, other = 0.6;
        long double extended = 0.25L;
        for (int i = 0; i < 20000; i++) {
            value = value * 3.9 * (1 - value);
            other = other * 3.8 * (1 - other);
            extended = extended * 3.7L * (1 - extended);
        }
        if (round == 0)
            first = value + other, first_extended = extended;
        differences += value + other != first || extended != first_extended;
    }
    say("handlers ran, differences: %d", differences);
    return 0;
}
