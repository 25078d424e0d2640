/*
 * bigread SIZE[K|M|G]: reads SIZE zeros into memory never touched, in as few calls as it takes, and says what
 * the last one came to.
 */
#include "say.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv) {
    must(argc == 2);
    unsigned long size = parse_size(argv[1]);
    char *memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int zeros = open("/dev/zero", O_RDONLY);
    must(memory != MAP_FAILED && zeros >= 0);
    long count;
    unsigned long done = 0;
    do {
        count = read(zeros, memory + done, size - done);
        done += count > 0 ? count : 0;
    } while (count > 0 && done < size);
    int error = errno;
    /* At once: without a page to be had, the next one touched outside a call is waited for. */
    must(munmap(memory, size) == 0);
    errno = error;
    say("read: %s", outcome(count));
    char byte;
    say("and on: %s", outcome(read(zeros, &byte, 1)));
    return 0;
}
