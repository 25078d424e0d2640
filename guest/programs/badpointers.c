/* Pointers into nowhere and lengths that wrap give the errno that Linux gives. */
#include "say.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void try(const char *name, void *pointer) {
    int ends[2];
    must(pipe(ends) == 0);
    must(write(ends[1], "abcdefgh", 8) == 8);
    struct iovec part = {pointer, 8};
    say("%s", name);
    say(" write %s", outcome(syscall(SYS_write, ends[1], pointer, 8)));
    say(" read %s", outcome(syscall(SYS_read, ends[0], pointer, 8)));
    say(" writev %s", outcome(syscall(SYS_writev, ends[1], &part, 1)));
    say(" iovec %s", outcome(syscall(SYS_writev, ends[1], pointer, 1)));
    say(" open %s", outcome(syscall(SYS_open, pointer, O_RDONLY)));
    say(" stat %s", outcome(syscall(SYS_stat, "/", pointer)));
    say(" pipe %s", outcome(syscall(SYS_pipe, pointer)));
    say(" uname %s", outcome(syscall(SYS_uname, pointer)));
    say(" nanosleep %s", outcome(syscall(SYS_nanosleep, pointer, 0)));
    say(" clock_gettime %s", outcome(syscall(SYS_clock_gettime, 0, pointer)));
    say(" sigaction %s", outcome(syscall(SYS_rt_sigaction, SIGUSR1, pointer, 0, 8)));
    say(" sigprocmask %s", outcome(syscall(SYS_rt_sigprocmask, SIG_BLOCK, pointer, 0, 8)));
    say(" execve %s", outcome(syscall(SYS_execve, pointer, 0, 0)));
    say(" getcwd %s", outcome(syscall(SYS_getcwd, pointer, 4096)));
    say(" getrandom %s", outcome(syscall(SYS_getrandom, pointer, 8, 0)));
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    char *edge = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(edge != MAP_FAILED && munmap(edge + 4096, 4096) == 0);
    try("unmapped", (void *)0x1000);
    try("kernel", (void *)0xffffffff80000000);
    try("last page", (void *)0xfffffffffffff000);
    try("not canonical", (void *)0x8000000000000000);
    try("edge of a mapping", edge + 4095);
    struct iovec huge[2] = {{edge, (size_t)1 << 63}, {edge, 8}};
    say("iovec too long: %s", outcome(writev(1, huge, 2)));
    say("too many iovecs: %s", outcome(syscall(SYS_writev, 1, huge, 5000)));
    say("negative iovec count: %s", outcome(syscall(SYS_writev, 1, huge, -1)));
    say("bad descriptors: %s %s %s", outcome(write(1000, "x", 1)), outcome(close(-1)), outcome(dup2(1, -5)));
    say("munmap that wraps: %s", outcome(munmap(edge, (size_t)-4096)));
    say("mprotect that wraps: %s", outcome(mprotect(edge, (size_t)-4096, PROT_READ)));
    say("bad signal numbers: %s %s", outcome(kill(getpid(), 65)), outcome(kill(getpid(), -1)));
    say("handler for SIGKILL: %s", outcome(signal(SIGKILL, SIG_IGN) == SIG_ERR ? -1 : 0));
    say("unknown system call: %s", outcome(syscall(1999)));
    return 0;
}
