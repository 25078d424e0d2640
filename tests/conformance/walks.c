// Walks: dots and links in the middle of paths, slashes and dots at their end, the links of /proc.
#include "conform.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/stat.h>

static char top[] = "/tmp/walkXXXXXX";

static void make(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    write(fd, text, strlen(text));
    close(fd);
}

// What a path leads to: the text of a file, or its kind.
static void look(const char *path) {
    struct stat named, reached;
    long first = err(lstat(path, &named)), second = err(stat(path, &reached));
    char text[32] = "";
    int fd = open(path, O_RDONLY);
    if (fd >= 0 && S_ISREG(reached.st_mode))
        text[read(fd, text, sizeof text - 1)] = 0;
    close(fd);
    printf("%s: %ld %o, %ld %o, %s\n", path, first, first ? 0 : named.st_mode & S_IFMT, second,
           second ? 0 : reached.st_mode & S_IFMT, text);
}

// Where a path leads, told from the directory the test made.
static void place(const char *path) {
    char real[PATH_MAX] = "-";
    if (!realpath(path, real))
        printf("%s: no place, %d\n", path, errno);
    else
        printf("%s: is %s\n", path, strncmp(real, top, strlen(top)) ? real : real + strlen(top));
}

static void enter(const char *path) {
    char now[PATH_MAX];
    long result = err(chdir(path));
    getcwd(now, sizeof now);
    printf("chdir %s: %ld, now in %s\n", path, result, strncmp(now, top, strlen(top)) ? now : now + strlen(top));
    chdir(top);
}

static void *count_tasks(void *unused) {
    int count = 0;
    DIR *directory = opendir("/proc/self/task");
    struct dirent *entry;
    while ((entry = readdir(directory)))
        count += entry->d_name[0] != '.';
    closedir(directory);
    char path[64];
    struct stat about;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", gettid());
    printf("%d tasks, own status %ld, of nobody %ld\n", count, err(stat(path, &about)),
           err(stat("/proc/self/task/99999999/status", &about)));
    return unused;
}

int main(void) {
    mkdtemp(top);
    chdir(top);
    mkdir("a", 0755);
    mkdir("a/b", 0755);
    mkdir("a/b/c", 0755);
    make("f", "top");
    make("a/f", "in a");
    make("a/b/f", "in b");
    symlink("a/b", "short");
    symlink("a/b/c", "long");
    symlink("../../short/../f", "a/b/back");
    symlink("short/", "slashed");
    symlink("f", "file");
    symlink("one/../two", "one");
    symlink("one/..", "two");

    const char *paths[] = {"short/../f",   "long/../f",    "long/../../f", "short/../../f", "a/b/back",   "a/b/../b/../f",
                           "./a/./b/./f",  "a//b//..//f",  "slashed/f",    "slashed",       "file/",      "file/.",
                           "f/..",         "f/../f",       "f/.",          "none/../f",     "short/.",    "short/",
                           "short",        "short/..",     "one",          "one/..",        "a/b/c/../back", "..",
                           ".",            "a/..",         "long/../../../file"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        look(paths[i]);
        if (strcmp(paths[i], ".."))
            place(paths[i]);
    }
    for (const char **path = (const char *[]){"short/..", "long", "long/..", "f", "f/..", "none/..", "short/../..", 0}; *path; path++)
        enter(*path);

    printf("mkdir %ld %ld %ld\n", err(mkdir("short/../new", 0755)), err(mkdir("long/../new", 0755)), err(mkdir("f/../new", 0755)));
    look("a/new");
    look("a/b/new");
    make("short/../made", "made");
    make("file/../made", "not made");
    look("a/made");
    printf("rename %ld\n", err(rename("short/../made", "long/../moved")));
    printf("link %ld\n", err(link("long/../moved", "short/../linked")));
    printf("symlink %ld\n", err(symlink("x", "short/../sym")));
    look("a/b/moved");
    look("a/linked");
    printf("rmdir dot %ld dots %ld slash %ld\n", err(rmdir("a/new/.")), err(rmdir("a/new/..")), err(rmdir("short/../new/")));
    printf("unlink through links %ld %ld, a slash %ld\n", err(unlink("short/../linked")), err(unlink("long/../moved")), err(unlink("f/")));

    chdir("a/b");
    look("/proc/self/cwd/f");
    place("/proc/self/cwd/../f");
    place("/proc/self/cwd");
    place("/proc/self/root/tmp");
    int fd = open("c", O_RDONLY | O_DIRECTORY);
    char by_fd[64];
    snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d/../f", fd);
    struct stat about;
    printf("behind a descriptor %ld\n", err(stat(by_fd, &about)));
    printf("openat %ld\n", err(close(openat(fd, "../../f", O_RDONLY))));
    long above = err(lstat("/proc/self/fd/..", &about));
    printf("above a directory of /proc %ld %o\n", above, about.st_mode & S_IFMT);
    place("/proc/../usr/../etc");
    place("/dev/../tmp/..");
    place("/../../etc/..");

    pthread_t other;
    pthread_create(&other, 0, count_tasks, 0);
    pthread_join(other, 0);
    chdir(top);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", top);
    return system(command);
}
