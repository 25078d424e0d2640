/* sum FILE read|map: adds up the bytes of a file, read in pieces or mapped as a whole. */
#include "say.h"
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned char buffer[1 << 16];

static unsigned long add(const unsigned char *bytes, long count) {
    unsigned long sum = 0;
    for (long at = 0; at < count; at++)
        sum += bytes[at];
    return sum;
}

int main(int argc, char **argv) {
    must(argc == 3);
    int fd = open(argv[1], O_RDONLY);
    struct stat stat;
    must(fd >= 0 && fstat(fd, &stat) == 0);
    unsigned long sum = 0;
    if (strcmp(argv[2], "map") == 0) {
        const unsigned char *file = mmap(0, stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
        must(file != MAP_FAILED);
        sum = add(file, stat.st_size);
    } else {
        long count;
        while ((count = read(fd, buffer, sizeof buffer)) > 0)
            sum += add(buffer, count);
        must(count == 0);
    }
    say("bytes add up to %lu", sum);
    return 0;
}
