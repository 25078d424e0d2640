/*
 * nest DIRECTORY: makes a directory in DIRECTORY, goes there, makes another, and so on until that is
 * refused; says how many it made and why it stopped.
 * nest -m COUNT DIRECTORY: makes COUNT empty files in DIRECTORY.
 * nest -s COUNT DIRECTORY: asks for COUNT names in DIRECTORY that are not there.
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

int main(int argc, char **argv) {
    if (argc == 2)
        return dig(argv[1]);
    if (argc == 4 && strcmp(argv[1], "-m") == 0)
        return make(strtoul(argv[2], 0, 10), argv[3]);
    if (argc == 4 && strcmp(argv[1], "-s") == 0)
        return seek(strtoul(argv[2], 0, 10), argv[3]);
    fprintf(stderr, "usage: nest [-m COUNT | -s COUNT] DIRECTORY\n");
    return 2;
}
