/* files DIR: reads the files of a directory in every way there is, and lists it. */
#include "say.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void list(const char *dir) {
    struct dirent **entries;
    int count = scandir(dir, &entries, 0, by_name);
    must(count >= 0);
    for (int i = 0; i < count; i++) {
        struct stat info;
        must(lstat(entries[i]->d_name, &info) == 0);
        say("%s type %d mode %o size %ld", entries[i]->d_name, entries[i]->d_type, info.st_mode,
            S_ISREG(info.st_mode) ? (long)info.st_size : 0);
    }
}

static void read_in_pieces(void) {
    char text[64] = {0};
    int fd = open("text", O_RDONLY);
    must(fd >= 0);
    must(read(fd, text, 5) == 5);
    say("read '%s'", text);
    say("pread at 10: %ld '%.4s'", pread(fd, text, 4, 10), text);
    say("offset after pread: %ld", lseek(fd, 0, SEEK_CUR));
    say("seek to the end: %ld, read there: %ld", lseek(fd, 0, SEEK_END), read(fd, text, 9));
    say("seek before the start: %s", outcome(lseek(fd, -1, SEEK_SET)));
    char first[3] = {0}, second[5] = {0};
    struct iovec parts[] = {{first, 2}, {second, 4}};
    lseek(fd, 0, SEEK_SET);
    say("readv %ld '%s' '%s'", readv(fd, parts, 2), first, second);
    int copy = dup(fd);
    say("a dup shares the offset: %ld", lseek(copy, 0, SEEK_CUR));
    close(fd);
    say("read of a closed descriptor: %s", outcome(read(fd, text, 1)));
    close(copy);
}

static void read_whole(void) {
    int fd = open("big", O_RDONLY);
    must(fd >= 0);
    static unsigned char buffer[7001];
    unsigned long sum = 0, length = 0;
    for (ssize_t got; (got = read(fd, buffer, sizeof buffer)) > 0; length += got)
        for (ssize_t i = 0; i < got; i++)
            sum = sum * 31 + buffer[i];
    say("big: %lu bytes, sum %lx", length, sum);
    unsigned char *mapped = mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    must(mapped != MAP_FAILED);
    close(fd);
    unsigned long mapped_sum = 0;
    for (unsigned long i = 0; i < length; i++)
        mapped_sum = mapped_sum * 31 + mapped[i];
    say("mapped: sum %s, beyond the end %d", mapped_sum == sum ? "equal" : "different", mapped[length]);
    mapped[4096] ^= 0xff;
    fd = open("big", O_RDONLY);
    unsigned char byte;
    must(pread(fd, &byte, 1, 4096) == 1);
    say("a private write stays private: %d", byte == (unsigned char)(mapped[4096] ^ 0xff));
    close(fd);
}

static void devices_and_refusals(void) {
    char bytes[32];
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY);
    say("null: write %ld read %ld", write(null, bytes, 20), read(null, bytes, 20));
    memset(bytes, 1, sizeof bytes);
    long got = read(zero, bytes, 20);
    say("zero: read %ld, byte %d %d", got, bytes[0], bytes[20]);
    say("missing: %s", outcome(open("missing", O_RDONLY)));
    say("below a file: %s", outcome(open("text/below", O_RDONLY)));
    say("a directory for reading as a file: %s", outcome(read(open(".", O_RDONLY), bytes, 1)));
    say("O_DIRECTORY on a file: %s", outcome(open("text", O_RDONLY | O_DIRECTORY)));
    say("empty name: %s", outcome(open("", O_RDONLY)));
    say("bad pointer as name: %s", outcome(open((char *)8, O_RDONLY)));
    static char longest[5001];
    memset(longest, 'a', 5000);
    say("a name of 5000 bytes: %s", outcome(open(longest, O_RDONLY)));
    say("through a link: %s", outcome(access("link", R_OK)));
    ssize_t length = readlink("link", bytes, sizeof bytes);
    say("link -> %.*s", (int)length, bytes);
    say("a loop of links: %s", outcome(open("loop", O_RDONLY)));
    say("empty file: %ld", read(open("empty", O_RDONLY), bytes, 1));
}

int main(int argc, char **argv) {
    must(argc == 2 && chdir(argv[1]) == 0);
    char where[4096];
    must(getcwd(where, sizeof where));
    say("getcwd is the argument: %d", strcmp(where, argv[1]) == 0);
    list(".");
    read_in_pieces();
    read_whole();
    devices_and_refusals();
    return 0;
}
