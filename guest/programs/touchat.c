/*
 * Touches a page when told "touch", and says when that was, in nanoseconds of the realtime clock,
 * taken right before the touching instruction; gives it back when told "drop".
 */
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096 };

int main(void) {
    char line[64];
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return 1;
    setlinebuf(stdout);
    /* Everything that the loop needs is touched once before it counts. */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *page = 1;
    madvise(page, PAGE, MADV_DONTNEED);
    puts("ready");
    while (fgets(line, sizeof line, stdin)) {
        if (line[0] == 't') {
            clock_gettime(CLOCK_REALTIME, &now);
            *(volatile char *)page = 1;
            printf("%lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
        } else {
            madvise(page, PAGE, MADV_DONTNEED);
            puts("dropped");
        }
    }
    return 0;
}
