/* compute [ROUNDS]: integer and floating-point work whose result is known; how long it took and how long it ran, in
 * nanoseconds, go to standard error. */
#include "say.h"
#include <math.h>
#include <time.h>

static long now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

int main(int argc, char **argv) {
    unsigned long rounds = argc > 1 ? strtoul(argv[1], 0, 10) : 5000000;
    long started = now(CLOCK_MONOTONIC), ran = now(CLOCK_PROCESS_CPUTIME_ID);
    unsigned long hash = 14695981039346656037UL;
    double x = 0.1;
    for (unsigned long i = 0; i < rounds; i++) {
        hash = (hash ^ (i & 0xff)) * 1099511628211UL;
        x = 3.999 * x * (1 - x);
    }
    long took = now(CLOCK_MONOTONIC) - started;
    ran = now(CLOCK_PROCESS_CPUTIME_ID) - ran;
    say("%lx %.12f", hash, x);
    fprintf(stderr, "%ld %ld\n", took, ran);
    return 0;
}
