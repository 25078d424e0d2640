/*
 * Listens at a control file as programs for cgroup v1 do; it knows nothing of vmcg.
 *
 *   listener FILE [ARGS]
 *
 * Says "listening", then "signal N" for each N that the eventfd holds, and "removed" when the group
 * is gone, which ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int fail(const char *what) {
    perror(what);
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        fputs("usage: listener FILE [ARGS]\n", stderr);
        return 2;
    }
    int event = eventfd(0, 0);
    int target = open(argv[1], O_RDONLY);
    if (event < 0 || target < 0)
        return fail(argv[1]);
    char path[PATH_MAX], line[LINE_MAX];
    snprintf(line, sizeof line, "%s", argv[1]);
    snprintf(path, sizeof path, "%s/cgroup.event_control", dirname(line));
    int control = open(path, O_WRONLY);
    if (control < 0)
        return fail(path);
    int length = snprintf(line, sizeof line, "%d %d %s", event, target, argc > 2 ? argv[2] : "");
    if (write(control, line, length) != length)
        return fail("registering");
    setlinebuf(stdout);
    puts("listening");
    for (;;) {
        uint64_t count;
        if (read(event, &count, sizeof count) != sizeof count)
            return fail("eventfd");
        if (access(path, W_OK) == -1 && errno == ENOENT) {
            puts("removed");
            return 0;
        }
        printf("signal %llu\n", (unsigned long long)count);
    }
}
