/*
 * Does with huge pages what lines on standard input say, and answers each with a number: what the
 * call returned, the negative error number, or -135 where the touch ended in SIGBUS (128 + 7).
 *
 *   map S N FLAGS           maps N huge pages of memory as number S
 *   file S PATH FIRST N FLAGS   the same of a file, from huge page FIRST on; made if need be
 *   touch S FIRST N         writes to huge pages of mapping S; read S FIRST N only reads
 *   unmap S FIRST N         unmaps them; drop S FIRST N: MADV_DONTNEED; shrink S N: mremap
 *   move S                  moves mapping S elsewhere
 *   truncate PATH N | punch PATH FIRST N | allocate PATH FIRST N | unlink PATH
 *   segment S N FLAGS       SHM_HUGETLB, mapped as S and removed; memfd S N FLAGS: MFD_HUGETLB
 *   fork                    makes a child; child LINE: it does what LINE says; reap: it ends
 *   cut S: munmap of half a page; write 0 PATH: write() to a file; offset S: maps a file between pages
 *   size S LOG              maps a page of the size with this logarithm
 *   small [0]               maps a GiB of small pages; with 0 writes to the first
 *   pid | exit N
 *
 * FLAGS: p private, s shared, n no reservation, r read only, g pages of 1 GiB, f fixed over S.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS = 16, BUS = -135 };

static struct mapping {
    char *start;
    size_t page, pages;
} slots[SLOTS];
static sigjmp_buf before_touch;
static int to_child[2], from_child[2];
static pid_t child;

static void on_bus(int signal) {
    (void)signal;
    siglongjmp(before_touch, 1);
}

static long result(long answer) { return answer < 0 ? -errno : answer; }

static size_t page_of(const char *flags) { return strchr(flags, 'g') ? 1ul << 30 : 2ul << 20; }

static long keep(int slot, void *start, size_t page, size_t pages) {
    if (start == MAP_FAILED)
        return -errno;
    slots[slot] = (struct mapping){start, page, pages};
    return 0;
}

static long map(int slot, int fd, size_t first, size_t pages, const char *flags) {
    size_t page = page_of(flags);
    int how = strchr(flags, 's') ? MAP_SHARED : MAP_PRIVATE;
    if (strchr(flags, 'n'))
        how |= MAP_NORESERVE;
    if (strchr(flags, 'f'))
        how |= MAP_FIXED;
    if (fd < 0)
        how |= MAP_ANONYMOUS | MAP_HUGETLB | (page > 2ul << 20 ? 30 << MAP_HUGE_SHIFT : 0);
    int rights = strchr(flags, 'r') ? PROT_READ : PROT_READ | PROT_WRITE;
    void *at = strchr(flags, 'f') ? slots[slot].start : 0;
    return keep(slot, mmap(at, pages * page, rights, how, fd, first * page), page, pages);
}

static long map_file(int slot, const char *path, size_t first, size_t pages, const char *flags) {
    int fd = open(path, O_CREAT | O_RDWR, 0600);
    if (fd < 0)
        return -errno;
    long answer = map(slot, fd, first, pages, flags);
    close(fd);
    return answer;
}

static long touch(int slot, size_t first, size_t count, int writes) {
    volatile size_t done = 0;
    if (sigsetjmp(before_touch, 1))
        return BUS;
    for (; done < count; done++) {
        volatile char *byte = slots[slot].start + (first + done) * slots[slot].page;
        if (writes)
            *byte += 1;
        else
            (void)*byte;
    }
    return done;
}

static long of_file(const char *path, int mode, size_t first, size_t count) {
    int fd = open(path, O_RDWR);
    if (fd < 0)
        return -errno;
    long answer = mode < 0 ? ftruncate(fd, first << 21)
                           : fallocate(fd, mode, first << 21, count << 21);
    answer = result(answer);
    close(fd);
    return answer;
}

static long segment(int slot, size_t pages, const char *flags) {
    int how = IPC_CREAT | 0600 | SHM_HUGETLB | (strchr(flags, 'n') ? SHM_NORESERVE : 0);
    int id = shmget(IPC_PRIVATE, pages << 21, how);
    if (id < 0)
        return -errno;
    long answer = keep(slot, shmat(id, 0, 0), 2ul << 20, pages);
    shmctl(id, IPC_RMID, 0);
    return answer;
}

static long unnamed(int slot, size_t pages, const char *flags) {
    int fd = memfd_create("huge", MFD_HUGETLB);
    if (fd < 0)
        return -errno;
    long answer = map(slot, fd, 0, pages, flags);
    close(fd);
    return answer;
}

static long write_file(const char *path) {
    int fd = open(path, O_CREAT | O_RDWR, 0600);
    if (fd < 0)
        return -errno;
    long answer = result(write(fd, "x", 1));
    close(fd);
    unlink(path);
    return answer;
}

static long map_between(void) {
    int fd = memfd_create("huge", MFD_HUGETLB);
    if (fd < 0)
        return -errno;
    void *start = mmap(0, 2 << 20, PROT_READ, MAP_SHARED, fd, 4096);
    long answer = start == MAP_FAILED ? -errno : 0;
    close(fd);
    return answer;
}

/* Maps a page of a size nobody may have heard of, and unmaps it again. */
static long map_size(unsigned log) {
    int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | log << MAP_HUGE_SHIFT;
    void *start = mmap(0, 1ul << log, PROT_READ, how, -1, 0);
    return start == MAP_FAILED ? -errno : result(munmap(start, 1ul << log));
}

static long move(int slot) {
    struct mapping *it = &slots[slot];
    size_t length = it->page * it->pages;
    char *room = mmap(0, 2 * length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return -errno;
    char *target = (char *)(((size_t)room + it->page - 1) / it->page * it->page);
    char *moved = mremap(it->start, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    return keep(slot, moved, it->page, it->pages);
}

static long small(int writes) {
    static char *start;
    if (writes)
        return *start = 1;
    start = mmap(0, 1ul << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return start == MAP_FAILED ? -errno : 0;
}

static long obey(char *line);

static void make_child(void) {
    static char line[256];
    if (pipe(to_child) || pipe(from_child))
        _exit(98);
    child = fork();
    if (child)
        return;
    close(to_child[1]);
    while (read(to_child[0], line, sizeof line) == sizeof line) {
        long answer = obey(line);
        write(from_child[1], &answer, sizeof answer);
    }
    _exit(0);
}

static long tell_child(const char *text) {
    static char line[256];
    long answer = 0;
    strncpy(line, text, sizeof line - 1);
    write(to_child[1], line, sizeof line);
    return read(from_child[0], &answer, sizeof answer) == sizeof answer ? answer : -1;
}

static long reap(void) {
    int status = 0;
    close(to_child[1]);
    close(from_child[0]);
    waitpid(child, &status, 0);
    return status;
}

static long obey(char *line) {
    char verb[16] = "", path[128] = "", flags[16] = "";
    int slot = 0;
    size_t first = 0, count = 0;
    sscanf(line, "%15s", verb);
    if (!strcmp(verb, "file")) {
        sscanf(line, "%*s %d %127s %zu %zu %15s", &slot, path, &first, &count, flags);
        return map_file(slot, path, first, count, flags);
    }
    if (!strcmp(verb, "child"))
        return tell_child(line + strlen("child "));
    if (!strcmp(verb, "truncate") || !strcmp(verb, "punch") || !strcmp(verb, "allocate")) {
        sscanf(line, "%*s %127s %zu %zu", path, &first, &count);
        int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        return of_file(path, *verb == 't' ? -1 : *verb == 'p' ? hole : 0, first, count);
    }
    if (sscanf(line, "%*s %d %zu %15s", &slot, &first, flags) == 3 && strpbrk(flags, "psnrgf")) {
        if (!strcmp(verb, "segment"))
            return segment(slot, first, flags);
        if (!strcmp(verb, "memfd"))
            return unnamed(slot, first, flags);
        return map(slot, -1, 0, first, flags);
    }
    sscanf(line, "%*s %d %zu %zu", &slot, &first, &count);
    struct mapping *it = &slots[slot];
    char *at = it->start + first * it->page;
    if (!strcmp(verb, "touch") || !strcmp(verb, "read"))
        return touch(slot, first, count, *verb == 't');
    if (!strcmp(verb, "unmap"))
        return result(munmap(at, count * it->page));
    if (!strcmp(verb, "drop"))
        return result(madvise(at, count * it->page, MADV_DONTNEED));
    if (!strcmp(verb, "shrink"))
        return mremap(it->start, it->pages * it->page, first * it->page, 0) == it->start ? 0 : -errno;
    if (!strcmp(verb, "move"))
        return move(slot);
    if (!strcmp(verb, "cut"))
        return result(munmap(at, it->page / 2));
    if (!strcmp(verb, "write") && sscanf(line, "%*s %*d %127s", path) == 1)
        return write_file(path);
    if (!strcmp(verb, "offset"))
        return map_between();
    if (!strcmp(verb, "small"))
        return small(strchr(line, ' ') != 0);
    if (!strcmp(verb, "size"))
        return map_size(first);
    if (!strcmp(verb, "fork"))
        return make_child(), 0;
    if (!strcmp(verb, "reap"))
        return reap();
    if (!strcmp(verb, "pid"))
        return getpid();
    if (!strcmp(verb, "unlink") && sscanf(line, "%*s %127s", path) == 1)
        return result(unlink(path));
    _exit(slot);
}

int main(void) {
    static char line[256];
    signal(SIGBUS, on_bus);
    setvbuf(stdout, 0, _IONBF, 0);
    while (fgets(line, sizeof line, stdin))
        printf("%ld\n", obey(line));
    return 0;
}
