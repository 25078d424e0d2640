// Names: making, linking, renaming, removing and listing; paths that are wrong.
#include "conform.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>

static int by_name(const void *one, const void *other) { return strcmp(*(char **)one, *(char **)other); }

static void list(const char *path) {
    DIR *directory = opendir(path);
    char *names[64];
    int count = 0;
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        char line[300];
        snprintf(line, sizeof line, "%s:%d", entry->d_name, entry->d_type);
        names[count++] = strdup(line);
    }
    closedir(directory);
    qsort(names, count, sizeof *names, by_name);
    printf("%s:", path);
    for (int i = 0; i < count; i++)
        printf(" %s", names[i]);
    printf("\n");
}

static void show(const char *path) {
    struct stat about;
    long result = err(lstat(path, &about));
    printf("%s: %ld", path, result);
    if (result == 0)
        printf(" mode %o links %ld size %ld mine %d blocks %d", about.st_mode, (long)about.st_nlink,
               S_ISDIR(about.st_mode) ? 0 : (long)about.st_size, about.st_uid == getuid(), about.st_blksize == 4096);
    printf("\n");
}

static void make(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    write(fd, text, strlen(text));
    close(fd);
}

int main(void) {
    char dir[] = "/tmp/nameXXXXXX";
    mkdtemp(dir);
    chdir(dir);
    umask(022);
    make("a", "alpha");
    printf("mkdir %ld again %ld over a file %ld\n", err(mkdir("d", 0777)), err(mkdir("d", 0777)), err(mkdir("a", 0777)));
    printf("below nothing %ld below a file %ld\n", err(mkdir("x/y", 0777)), err(mkdir("a/y", 0777)));
    printf("link %ld again %ld of a directory %ld of nothing %ld\n", err(link("a", "b")), err(link("a", "b")),
           err(link("d", "e")), err(link("x", "y")));
    show("a");
    printf("symlink %ld again %ld dangling %ld loop %ld\n", err(symlink("a", "s")), err(symlink("a", "s")),
           err(symlink("nowhere", "t")), err(symlink("l", "l")));
    show("s");
    char target[100];
    memset(target, '.', sizeof target);
    printf("readlink %ld %.3s short %ld of a file %ld\n", err(readlink("s", target, 100)), target,
           err(readlink("t", target, 3)), err(readlink("a", target, 100)));
    printf("loop %ld nofollow %ld dangling %ld\n", err(open("l", O_RDONLY)), err(open("s", O_RDONLY | O_NOFOLLOW)),
           err(open("t", O_RDONLY)));
    printf("create through a link %d", open("t", O_CREAT | O_WRONLY, 0600) >= 0);
    show("nowhere");
    printf("exclusive %ld on a link %ld\n", err(open("a", O_CREAT | O_EXCL | O_WRONLY, 0600)),
           err(open("s", O_CREAT | O_EXCL | O_WRONLY, 0600)));
    printf("directory %ld written %ld a file as one %ld\n", err(open("d", O_RDONLY | O_DIRECTORY) >= 0 ? 0 : -1),
           err(open("d", O_WRONLY)), err(open("a", O_RDONLY | O_DIRECTORY)));
    make("d/f", "in there");
    list(".");
    list("d");
    printf("rename %ld\n", err(rename("a", "d/a")));
    show("d/a");
    printf("over %ld", err(rename("b", "d/f")));
    printf(" same file %ld", err(rename("d/a", "d/f")));
    printf(" of nothing %ld", err(rename("x", "y")));
    printf(" into itself %ld", err(rename("d", "d/g")));
    printf(" file over directory %ld", err(rename("nowhere", "d")));
    printf(" directory over file %ld\n", err(rename("d", "nowhere")));
    mkdir("e", 0700);
    make("e/x", "x");
    printf("over a full one %ld", err(rename("d", "e")));
    unlink("e/x");
    printf(" an empty one %ld\n", err(rename("d", "e")));
    list(".");
    list("e");
    printf("no replace %ld %ld\n", err(renameat2(AT_FDCWD, "nowhere", AT_FDCWD, "s", RENAME_NOREPLACE)),
           err(renameat2(AT_FDCWD, "nowhere", AT_FDCWD, "n", RENAME_NOREPLACE)));
    printf("rmdir full %ld a file %ld nothing %ld dot %ld\n", err(rmdir("e")), err(rmdir("n")), err(rmdir("x")), err(rmdir(".")));
    printf("unlink a directory %ld nothing %ld below a file %ld\n", err(unlink("e")), err(unlink("x")), err(unlink("n/x")));
    int at = open("e", O_RDONLY | O_DIRECTORY);
    printf("at %ld %ld %ld\n", err(mkdirat(at, "sub", 0750)), err(symlinkat("..", at, "up")), err(linkat(at, "f", at, "g", 0)));
    struct stat about;
    printf("fstatat %ld %ld %ld\n", err(fstatat(at, "g", &about, 0)), err(fstatat(at, "", &about, AT_EMPTY_PATH)),
           err(fstatat(at, "", &about, 0)));
    printf("not a directory %ld bad fd %ld\n", err(openat(open("n", O_RDONLY), "f", O_RDONLY)), err(openat(999, "f", O_RDONLY)));
    printf("chdir %ld %ld %ld", err(chdir("e/up/e")), err(chdir("f")), err(chdir("nothing")));
    char where[PATH_MAX];
    getcwd(where, sizeof where);
    printf(" %s", where + strlen(dir));
    printf(" short %s %d\n", getcwd(where, 3), errno);
    printf("fchdir %ld\n", err(fchdir(at)));
    chdir("..");
    printf("chmod %ld", err(chmod("n", 04751)));
    show("n");
    printf("access %ld %ld %ld %ld\n", err(access("n", R_OK | W_OK | X_OK)), err(access("x", F_OK)), err(access("n", 99)),
           err(access("n/x", F_OK)));
    printf("unlinkat %ld %ld %ld\n", err(unlinkat(at, "sub", 0)), err(unlinkat(at, "sub", AT_REMOVEDIR)),
           err(unlinkat(at, "g", AT_REMOVEDIR)));
    int open_one = open("n", O_RDWR);
    unlink("n");
    fstat(open_one, &about);
    printf("without a name: links %ld write %ld\n", (long)about.st_nlink, err(write(open_one, "x", 1)));
    struct timeval times[2] = {{1000, 0}, {2000, 0}};
    make("timed", "");
    utimes("timed", times);
    stat("timed", &about);
    printf("mtime %ld\n", (long)about.st_mtime);
    char name[300], path[5001];
    memset(name, 'n', sizeof name);
    name[255] = 0;
    printf("255 bytes %d", open(name, O_CREAT | O_WRONLY, 0600) >= 0);
    name[255] = 'n', name[256] = 0;
    printf(" 256 bytes %ld\n", err(open(name, O_CREAT | O_WRONLY, 0600)));
    memset(path, '/', 5000);
    path[5000] = 0;
    printf("5000 bytes %ld %ld %ld", err(open(path, O_RDONLY)), err(mkdir(path, 0700)), err(stat(path, &about)));
    path[4095] = 0;
    printf(" 4095 %ld\n", err(open(path, O_RDONLY) >= 0 ? 0 : -1));
    printf("empty %ld %ld %ld\n", err(open("", O_RDONLY)), err(unlink("")), err(rename("", "x")));
    printf("bad address %ld %ld\n", err(open((char *)8, O_RDONLY)), err(open((char *)0xffff800000000000, O_RDONLY)));
    printf("slash after a file %ld %ld\n", err(open("timed/", O_RDONLY)), err(open("new/", O_CREAT | O_WRONLY, 0600)));
    struct statfs fs;
    printf("statfs %ld %ld %ld\n", err(statfs(".", &fs)), (long)fs.f_bsize, (long)fs.f_namelen);
    chdir("/");
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", dir);
    printf("rm %d\n", system("true") == 0 && system(command) == 0);
    printf("gone %ld\n", err(access(dir, F_OK)));
    return 0;
}
