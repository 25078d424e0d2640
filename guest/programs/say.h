/* Printing and failing, for programs that show one behaviour each. */
#ifndef SAY_H
#define SAY_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints one line and flushes it, so that a fork never prints it twice. */
#define say(...) (printf(__VA_ARGS__), putchar('\n'), fflush(stdout))

/* Ends the program with the failing expression and errno when `ok` is false. */
#define must(ok)                                                                       \
    do {                                                                               \
        if (!(ok)) {                                                                   \
            say("%s:%d: %s failed: %s", __FILE_NAME__, __LINE__, #ok, strerror(errno)); \
            exit(99);                                                                  \
        }                                                                              \
    } while (0)

/* The name of the errno a call left, or "ok". */
static inline const char *outcome(long result) {
    return result >= 0 ? "ok" : strerrorname_np(errno);
}

/* A number of bytes, or of K, M or G. */
static inline unsigned long parse_size(const char *text) {
    char *end;
    unsigned long size = strtoul(text, &end, 10);
    switch (*end) {
    case 'G': size <<= 10; /* fall through */
    case 'M': size <<= 10; /* fall through */
    case 'K': size <<= 10;
    }
    return size;
}

#endif
