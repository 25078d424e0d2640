/*
 * nest DIRECTORY: makes a directory in DIRECTORY, goes there, makes another, and so on until that is
 * refused; says how many it made and why it stopped.
 * nest -m COUNT DIRECTORY: makes COUNT empty files in DIRECTORY.
 * nest -s COUNT DIRECTORY: asks for COUNT names in DIRECTORY that are not there.
 * nest -r COUNT DIRECTORY SEED: COUNT times makes or removes a file of DIRECTORY at random.
 * nest -x COUNT DIRECTORY SEED: the same, while others do so as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int dig(const char *directory) {
    unsigned long made = 0;
    if (chdir(directory) != 0)
        return perror(directory), 1;
    while (mkdir("x", 0777) == 0 && chdir("x") == 0)
        made++;
    printf("%lu directories: %s\n", made, strerror(errno));
    return 0;
}

static int make(unsigned long count, const char *directory) {
    char name[32];
    unsigned long made = 0;
    if (chdir(directory) != 0)
        return perror(directory), 1;
    for (; made < count; made++) {
        snprintf(name, sizeof name, "%lu", made);
        int file = open(name, O_CREAT | O_WRONLY, 0666);
        if (file < 0)
            break;
        close(file);
    }
    printf("%lu files: %s\n", made, made < count ? strerror(errno) : "all");
    return 0;
}

static int seek(unsigned long count, const char *directory) {
    char name[32];
    struct stat found;
    if (chdir(directory) != 0)
        return perror(directory), 1;
    for (unsigned long at = 0; at < count; at++) {
        snprintf(name, sizeof name, "%lu", at);
        if (stat(name, &found) == 0 || errno != ENOENT)
            return perror(name), 1;
    }
    printf("%lu names\n", count);
    return 0;
}

/* Twice as often made as removed at first, then the other way round, and so on. */
static int shuffle(unsigned long count, const char *directory, unsigned seed) {
    enum { NAMES = 512 };
    static char is_there[NAMES];
    char name[32];
    if (chdir(directory) != 0)
        return perror(directory), 1;
    for (unsigned long at = 0; at < count; at++) {
        int which = rand_r(&seed) % NAMES, makes = (rand_r(&seed) % 3 != 0) == (at / NAMES % 2 == 0);
        snprintf(name, sizeof name, "%d", which);
        if (makes == is_there[which])
            continue;
        int file = makes ? open(name, O_CREAT | O_WRONLY, 0666) : unlink(name);
        if (file < 0)
            return perror(name), 1;
        if (makes)
            close(file);
        is_there[which] = makes;
    }
    printf("%lu times\n", count);
    return 0;
}

/* What was there already, or was not, is somebody else's doing. */
static int struggle(unsigned long count, const char *directory, unsigned seed) {
    char name[32];
    unsigned long made = 0, removed = 0;
    if (chdir(directory) != 0)
        return perror(directory), 1;
    for (unsigned long at = 0; at < count; at++) {
        snprintf(name, sizeof name, "%d", rand_r(&seed) % 256);
        if (rand_r(&seed) % 2) {
            int file = open(name, O_CREAT | O_EXCL | O_WRONLY, 0666);
            if (file < 0 && errno != EEXIST)
                return perror(name), 1;
            made += file >= 0;
            if (file >= 0)
                close(file);
        } else if (unlink(name) == 0) {
            removed++;
        } else if (errno != ENOENT) {
            return perror(name), 1;
        }
    }
    printf("%lu made, %lu removed\n", made, removed);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2)
        return dig(argv[1]);
    if (argc == 4 && strcmp(argv[1], "-m") == 0)
        return make(strtoul(argv[2], 0, 10), argv[3]);
    if (argc == 4 && strcmp(argv[1], "-s") == 0)
        return seek(strtoul(argv[2], 0, 10), argv[3]);
    if (argc == 5 && strcmp(argv[1], "-r") == 0)
        return shuffle(strtoul(argv[2], 0, 10), argv[3], atoi(argv[4]));
    if (argc == 5 && strcmp(argv[1], "-x") == 0)
        return struggle(strtoul(argv[2], 0, 10), argv[3], atoi(argv[4]));
    fprintf(stderr, "usage: nest [-m COUNT | -s COUNT | -r COUNT | -x COUNT] DIRECTORY [SEED]\n");
    return 2;
}
