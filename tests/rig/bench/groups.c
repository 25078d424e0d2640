/*
 * Times control files of a memory hierarchy, Linux's own or vmcg's: it knows only paths. Prints nanoseconds.
 *
 *   groups read FILE TIMES       one open, read, close
 *   groups pread FILE TIMES      one read of a file that stays open
 *   groups make DIR COUNT        one mkdir of COUNT below DIR
 *   groups remove DIR COUNT      one rmdir of the same
 *   groups write FILE TEXT       one write
 */
#include "measure.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char text[1 << 16];

static void read_afresh(const char *path, int number) {
    (void)number;
    int file = open(path, O_RDONLY);
    must(file >= 0 && read(file, text, sizeof text) > 0, path);
    close(file);
}

static void read_again(const char *path, int number) {
    static int file;
    if (number == 0)
        must((file = open(path, O_RDONLY)) >= 0, path);
    must(pread(file, text, sizeof text, 0) > 0, path);
}

static void make(const char *dir, int number) {
    snprintf(text, sizeof text, "%s/%d", dir, number);
    must(mkdir(text, 0755) == 0, text);
}

static void take_away(const char *dir, int number) {
    snprintf(text, sizeof text, "%s/%d", dir, number);
    must(rmdir(text) == 0, text);
}

static void write_once(const char *path, const char *words) {
    int file = open(path, O_WRONLY);
    must(file >= 0, path);
    double start = now_ns();
    must(write(file, words, strlen(words)) > 0, path);
    printf("%.0f\n", now_ns() - start);
}

static const struct {
    const char *name;
    void (*act)(const char *path, int number);
} ACTIONS[] = {{"read", read_afresh}, {"pread", read_again}, {"make", make}, {"remove", take_away}};

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "write") == 0) {
        write_once(argv[2], argv[3]);
        return 0;
    }
    for (size_t action = 0; argc == 4 && action < sizeof ACTIONS / sizeof *ACTIONS; action++) {
        if (strcmp(argv[1], ACTIONS[action].name) != 0)
            continue;
        int times = atoi(argv[3]);
        double start = now_ns();
        for (int number = 0; number < times; number++)
            ACTIONS[action].act(argv[2], number);
        printf("%.0f\n", (now_ns() - start) / times);
        return 0;
    }
    fprintf(stderr, "usage: groups read|pread|make|remove|write PATH COUNT|TEXT\n");
    return 2;
}
