/* compute [ROUNDS]: integer and floating-point work whose result is known; the time goes to standard error. */
#include "say.h"
#include <math.h>
#include <time.h>

int main(int argc, char **argv) {
    unsigned long rounds = argc > 1 ? strtoul(argv[1], 0, 10) : 5000000;
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    unsigned long hash = 14695981039346656037UL;
    double x = 0.1;
    for (unsigned long i = 0; i < rounds; i++) {
        hash = (hash ^ (i & 0xff)) * 1099511628211UL;
        x = 3.999 * x * (1 - x);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    say("%lx %.12f", hash, x);
    fprintf(stderr, "%ld\n", (end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec - start.tv_nsec);
    return 0;
}
