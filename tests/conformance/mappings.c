// Mappings: files, shared memory, moving, advice, locks, guard pages, and what touching them does.
#include "conform.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PAGE 4096L

static sigjmp_buf back;
static siginfo_t seen;

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    seen = *info;
    siglongjmp(back, 1);
}

// Reads or writes a byte; says what came of it.
static void touch(const char *what, volatile char *at, int writes) {
    if (sigsetjmp(back, 1) == 0) {
        if (writes)
            *at = 'w';
        printf("%s: %d\n", what, *at);
    } else {
        printf("%s: signal %d code %d at %s\n", what, seen.si_signo, seen.si_code,
               (volatile char *)seen.si_addr == at ? "it" : "elsewhere");
    }
}

static int resident(void *at, int pages) {
    unsigned char map[64];
    if (mincore(at, pages * PAGE, map) != 0)
        return -errno;
    int count = 0;
    for (int i = 0; i < pages; i++)
        count += map[i] & 1;
    return count;
}

static void files(void) {
    char path[] = "/tmp/mapXXXXXX";
    int fd = mkstemp(path);
    for (int i = 0; i < 4 * PAGE; i++)
        write(fd, &(char){'a' + i / PAGE}, 1);
    char *shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    private[0] = 'P';
    shared[1] = 'S';
    char byte[2];
    pread(fd, byte, 2, 0);
    printf("file %c%c private %c%c\n", byte[0], byte[1], private[0], private[1]);
    private[2 * PAGE] = 'Q';
    touch("last page", shared + 3 * PAGE, 0);
    printf("truncate %ld\n", err(ftruncate(fd, PAGE + 100)));
    touch("within", shared + PAGE + 50, 0);
    touch("rest of the page", shared + PAGE + 200, 0);
    touch("shared beyond", shared + 2 * PAGE, 0);
    touch("shared beyond, written", shared + 3 * PAGE + 5, 1);
    touch("own copy beyond", private + 2 * PAGE, 0);
    touch("own copy within", private, 0);
    printf("read there %ld\n", err(pread(fd, byte, 1, 2 * PAGE)));
    ftruncate(fd, 4 * PAGE);
    touch("longer again", shared + 2 * PAGE, 0);
    touch("written again", shared + 3 * PAGE, 1);
    printf("punch %ld\n", err(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE)));
    touch("punched", shared + 1, 0);
    touch("own copy stays", private, 0);
    printf("msync %ld %ld %ld\n", err(msync(shared, PAGE, MS_SYNC)), err(msync(shared, PAGE, MS_SYNC | MS_ASYNC)),
           err(msync(shared + 1, PAGE, MS_SYNC)));
    printf("unmap %ld\n", err(munmap(shared, 4 * PAGE)));
    printf("msync %ld\n", err(msync(shared, PAGE, MS_SYNC)));
    touch("unmapped", shared, 0);
    munmap(private, 4 * PAGE);
    close(fd);
    fd = open(path, O_RDONLY);
    printf("no right %d\n", mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? errno : 0);
    shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    printf("no right later %ld\n", err(mprotect(shared, PAGE, PROT_READ | PROT_WRITE)));
    touch("read only", shared, 1);
    printf("unaligned %d\n", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 100) == MAP_FAILED ? errno : 0);
    printf("no length %d\n", mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? errno : 0);
    printf("no file %d\n", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, 77, 0) == MAP_FAILED ? errno : 0);
    printf("no kind %d\n", mmap(NULL, PAGE, PROT_READ, 0, fd, 0) == MAP_FAILED ? errno : 0);
    close(fd);
    fd = open(path, O_WRONLY);
    printf("unreadable %d\n", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? errno : 0);
    close(fd);
    unlink(path);
}

static void places(void) {
    char *base = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(base, 'b', 8 * PAGE);
    char *fixed = mmap(base + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    printf("fixed %d zero %d beside %d\n", fixed == base + PAGE, *fixed, base[2 * PAGE]);
    char *taken = mmap(base + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    printf("taken %d\n", taken == MAP_FAILED ? errno : 0);
    munmap(base + 3 * PAGE, PAGE);
    taken = mmap(base + 3 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    printf("free %d\n", taken == base + 3 * PAGE);
    mprotect(base + 4 * PAGE, PAGE, PROT_NONE);
    touch("guard", base + 4 * PAGE, 0);
    mprotect(base + 4 * PAGE, PAGE, PROT_READ);
    touch("readable again", base + 4 * PAGE, 0);
    touch("not writable", base + 4 * PAGE, 1);
    printf("hole %ld\n", err(munmap(base + 5 * PAGE, PAGE)));
    printf("across a hole %ld\n", err(mprotect(base + 4 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE)));
    printf("too high %d\n", mmap((void *)(1UL << 50), PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
                                     MAP_FAILED ? errno : 0);
    printf("too long %d\n", mmap(NULL, 1UL << 50, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0);
    printf("wraps %ld\n", err(munmap((void *)(-2 * PAGE), 4 * PAGE)));
    char *large = mmap(NULL, 1L << 36, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    printf("reserved for nothing %d\n", large != MAP_FAILED);
    touch("its middle", large + (1L << 35), 1);
    munmap(large, 1L << 36);
}

static void moves(void) {
    char *old = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 4; i++)
        old[i * PAGE] = '0' + i;
    char *moved = mremap(old, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    printf("grown %d %c%c%c%c then %d\n", moved != MAP_FAILED, moved[0], moved[PAGE], moved[2 * PAGE], moved[3 * PAGE],
           moved[4 * PAGE]);
    char *shrunk = mremap(moved, 64 * PAGE, 2 * PAGE, 0);
    printf("shrunk %d\n", shrunk == moved);
    touch("cut off", moved + 3 * PAGE, 0);
    char *target = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *fixed = mremap(moved, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    printf("at a place %d %c%c\n", fixed == target, fixed[0], fixed[PAGE]);
    touch("left behind", moved, 0);
    mmap(fixed + 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    printf("no room %d\n", mremap(fixed, 2 * PAGE, 8 * PAGE, 0) == MAP_FAILED ? errno : 0);
    printf("not mapped %d\n", mremap(moved, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? errno : 0);
    printf("onto itself %d\n", mremap(fixed, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, fixed + PAGE) == MAP_FAILED
                                   ? errno : 0);
    printf("bad flags %d\n", mremap(fixed, PAGE, PAGE, 64) == MAP_FAILED ? errno : 0);
    char *shared = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared[0] = 's';
    char *copy = mremap(shared, 0, 2 * PAGE, MREMAP_MAYMOVE);
    printf("a second view %d", copy == MAP_FAILED ? errno : 0);
    if (copy == MAP_FAILED)
        return;
    copy[1] = 'v';
    printf(" %c%c\n", shared[0], shared[1]);
}

static void advice(void) {
    char *base = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(base, 'x', 16 * PAGE);
    printf("resident %d\n", resident(base, 16));
    printf("dont need %ld resident %d", err(madvise(base, 8 * PAGE, MADV_DONTNEED)), resident(base, 16));
    printf(" reads %d and %d\n", base[0], base[8 * PAGE]);
    int hints[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_FREE,
                   MADV_DONTFORK, MADV_DOFORK, MADV_DONTDUMP, MADV_MERGEABLE, MADV_COLD, MADV_PAGEOUT};
    for (unsigned i = 0; i < sizeof hints / sizeof *hints; i++)
        printf("%d:%ld ", hints[i], err(madvise(base, PAGE, hints[i])));
    printf("\nunaligned %ld nonsense %ld nowhere %ld\n", err(madvise(base + 1, PAGE, MADV_DONTNEED)),
           err(madvise(base, PAGE, 4711)), err(madvise((void *)(PAGE * 64), PAGE, MADV_DONTNEED)));
    printf("mincore nowhere %d\n", resident((void *)(PAGE * 64), 1));
    char *shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(shared, 'y', 4 * PAGE);
    madvise(shared, 4 * PAGE, MADV_DONTNEED);
    printf("shared after dont need %c", shared[0]);
    printf(" remove %ld", err(madvise(shared, 2 * PAGE, MADV_REMOVE)));
    printf(" %d %c\n", shared[0], shared[2 * PAGE]);
    printf("mlock %ld munlock %ld nowhere %ld\n", err(mlock(base, 4 * PAGE)), err(munlock(base, 4 * PAGE)),
           err(mlock((void *)(PAGE * 64), PAGE)));
    char *locked = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
    printf("locked at once %d\n", resident(locked, 4));
    printf("dont need locked %ld\n", err(madvise(locked, PAGE, MADV_DONTNEED)));
    printf("mlockall %ld %ld %ld\n", err(mlockall(MCL_FUTURE)), err(munlockall()), err(mlockall(64)));
}

static void sharing(void) {
    char *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int zero = open("/dev/zero", O_RDWR);
    char *zeros = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, zero, 0);
    int memory = memfd_create("m", 0);
    ftruncate(memory, PAGE);
    char *named = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    int posix = shm_open("/conformance", O_RDWR | O_CREAT, 0600);
    ftruncate(posix, PAGE);
    char *posixly = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, posix, 0);
    char *private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (child == 0) {
        *shared = *zeros = *named = *posixly = *private = 'c';
        _exit(0);
    }
    waitpid(child, NULL, 0);
    printf("from the child %c%c%c%c not %d\n", *shared, *zeros, *named, *posixly, *private);
    printf("unlink %ld again %ld\n", err(shm_unlink("/conformance")), err(shm_unlink("/conformance")));
}

static void limits(void) {
    struct rlimit limit = {256L << 20, 256L << 20};
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        printf("AS %ld", err(setrlimit(RLIMIT_AS, &limit)));
        char *big = mmap(NULL, 512L << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        printf(" big %d", big == MAP_FAILED ? errno : 0);
        char *small = mmap(NULL, 16L << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        printf(" small %d malloc %d\n", small != MAP_FAILED, malloc(1L << 29) == NULL);
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    files();
    places();
    moves();
    advice();
    sharing();
    limits();
    return 0;
}
