// Running programs: what is none, what lies where none can, from a thread, by descriptor; and what stays open.
#include "conform.h"
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <stddef.h>

static const char *self;

static void outcome(const char *what, int status) {
    if (WIFSIGNALED(status))
        printf("%s: signal %d\n", what, WTERMSIG(status));
    else
        printf("%s: %d\n", what, WEXITSTATUS(status));
}

// Tries to run a file in a child, which says the errno.
static void attempt(const char *what, const char *path) {
    int status;
    if (fork() == 0) {
        execl(path, "program", (char *)NULL);
        _exit(errno);
    }
    wait(&status);
    outcome(what, status);
}

static void with(const char *what, const void *bytes, size_t length, mode_t mode) {
    char path[] = "/tmp/conform-exec-XXXXXX";
    int fd = mkstemp(path);
    write(fd, bytes, length);
    fchmod(fd, mode);
    close(fd);
    attempt(what, path);
    unlink(path);
}

// A program of one segment: exits with 42 where it can be loaded.
struct program {
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    unsigned char code[16];
};

static void placed(const char *what, unsigned long place, unsigned long length) {
    struct program program = {
        .header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                   .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
                   .e_phoff = sizeof(Elf64_Ehdr), .e_ehsize = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1},
        .segment = {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_filesz = sizeof program, .p_align = 4096},
        .code = {0x6a, 0x3c, 0x58, 0x6a, 42, 0x5f, 0x0f, 0x05}, // exit(42)
    };
    program.header.e_entry = place + offsetof(struct program, code);
    program.segment.p_vaddr = program.segment.p_paddr = place;
    program.segment.p_memsz = length;
    with(what, &program, sizeof program, 0700);
}

static void none(void) {
    attempt("a directory", "/tmp");
    attempt("nothing", "/tmp/conform-nothing");
    attempt("a device", "/dev/null");
    attempt("below a file", "/etc/passwd/x");
    attempt("no name", "");
    char path[5001];
    memset(path, 'x', 5000), path[0] = '/', path[5000] = 0;
    attempt("5000 bytes", path);
    with("a text", "just a text\n", 12, 0700);
    with("a text not executable", "just a text\n", 12, 0600);
    with("empty", "", 0, 0700);
    with("a script of nobody", "#!/tmp/conform-nobody\n", 22, 0700);
    with("a script of a directory", "#!/tmp\n", 7, 0700);
    with("a script", "#!/bin/sh\nexit 9\n", 17, 0700);
    with("a script of nothing", "#!\n", 3, 0700);
    with("a header", "\177ELF\2\1\1", 7, 0700);
    attempt("a bad pointer", (char *)8);
}

static void places(void) {
    placed("usual", 0x400000, 4096);
    placed("large", 0x400000, 1 << 30);
    placed("over the stack", 0x7f0000000000, 0xfffffff000);
    placed("beyond the end", 0x7ffffffff000, 4096);
    placed("in the kernel", 0xffffffff80000000, 4096);
    placed("around the end of all", 0xfffffffffffff000, 8192);
    placed("nowhere a program is", 0x8000000000000, 4096);
    placed("longer than all", 0x400000, 1UL << 62);
}

static void *runs(void *argument) {
    (void)argument;
    char leader[16];
    sprintf(leader, "%d", getpid());
    execl(self, "again", "leader", leader, (char *)NULL);
    return NULL;
}

static void *waits(void *argument) {
    for (;;)
        pause();
    return argument;
}

static void thread(const char *what, int leaves) {
    int status;
    if (fork() == 0) {
        pthread_t one, other;
        pthread_create(&other, NULL, waits, NULL);
        pthread_create(&one, NULL, runs, NULL);
        if (leaves)
            pthread_exit(NULL);
        waits(NULL);
    }
    wait(&status);
    outcome(what, status);
}

static void locks(void) {
    char path[] = "/tmp/conform-lock-XXXXXX", name[16];
    int fd = mkstemp(path), other = open(path, O_RDWR | O_CLOEXEC);
    sprintf(name, "%d", fd);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int status;
    for (int closes = 0; closes < 2; closes++) {
        int stop[2];
        pipe(stop);
        pid_t child = fork();
        if (child == 0) {
            fcntl(fd, F_SETLK, &lock);
            if (!closes)
                fcntl(other, F_SETFD, 0);
            dup2(stop[1], 1);
            execl(self, "again", "hold", (char *)NULL);
            _exit(1);
        }
        char byte;
        close(stop[1]);
        read(stop[0], &byte, 1);
        struct flock seen = lock;
        fcntl(fd, F_GETLK, &seen);
        printf("%s: %s\n", closes ? "a descriptor was closed" : "all stay open",
               seen.l_type == F_UNLCK ? "no lock" : "locked");
        kill(child, SIGKILL), waitpid(child, &status, 0);
        close(stop[0]);
    }
    close(fd), close(other), unlink(path);
}

static void at(void) {
    int status, fd = open("/bin/sh", O_PATH | O_CLOEXEC), directory = open("/bin", O_RDONLY | O_DIRECTORY);
    char *words[] = {"sh", "-c", "exit 5", NULL}, *environment[] = {NULL};
    struct {
        const char *what;
        int fd;
        const char *path;
        int flags;
    } ways[] = {{"by descriptor", fd, "", AT_EMPTY_PATH},  {"in a directory", directory, "sh", 0},
                {"by path", -1, "/bin/sh", 0},             {"not asked for", fd, "", 0},
                {"a directory itself", directory, "", AT_EMPTY_PATH}, {"flags", directory, "sh", 0x77},
                {"no descriptor", 99, "sh", 0}};
    for (unsigned way = 0; way < sizeof ways / sizeof *ways; way++) {
        if (fork() == 0) {
            syscall(SYS_execveat, ways[way].fd, ways[way].path, words, environment, ways[way].flags);
            _exit(errno);
        }
        wait(&status);
        outcome(ways[way].what, status);
    }
    close(fd), close(directory);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc > 2 && strcmp(argv[1], "leader") == 0)
        return getpid() == atoi(argv[2]) && syscall(SYS_gettid) == getpid() ? 11 : 12;
    if (argc > 1 && strcmp(argv[1], "hold") == 0) {
        write(1, "x", 1);
        waits(NULL);
    }
    self = argv[0];
    none();
    places();
    thread("from a thread", 0);
    thread("from a thread whose leader has left", 1);
    locks();
    at();
    return 0;
}
