/* What the programs that measure share: the time, and an end at the first failure. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline void must(int ok, const char *what) {
    if (ok)
        return;
    perror(what);
    exit(1);
}

static inline double now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}
