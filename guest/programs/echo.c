/* Copies standard input to standard output and counts. */
#include "say.h"
#include <unistd.h>

int main(void) {
    static char buffer[4096];
    unsigned long total = 0;
    for (ssize_t got; (got = read(0, buffer, sizeof buffer)) > 0; total += got)
        for (ssize_t done = 0; done < got;) {
            ssize_t written = write(1, buffer + done, got - done);
            must(written > 0);
            done += written;
        }
    fprintf(stderr, "%lu bytes\n", total);
    return 0;
}
