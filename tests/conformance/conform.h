// What the conformance programs share: the answer of a call as the kernel gives it.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The result, or the negated error number.
static inline long err(long result) { return result < 0 ? -errno : result; }
