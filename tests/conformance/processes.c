// Processes: waiting, exec, scripts, groups and sessions, limits, names, what children inherit.
#include "conform.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void told(const char *what, long result, int status) {
    printf("%s %d", what, result > 0 ? 1 : (int)result);
    if (WIFEXITED(status))
        printf(" exited %d\n", WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        printf(" signal %d\n", WTERMSIG(status));
    else if (WIFSTOPPED(status))
        printf(" stopped %d\n", WSTOPSIG(status));
    else
        printf(" continued %d\n", WIFCONTINUED(status));
}

static void waits(void) {
    int status = 0;
    printf("no children %ld\n", err(waitpid(-1, &status, 0)));
    pid_t child = fork();
    if (child == 0) {
        raise(SIGSTOP);
        pause();
    }
    long result = err(waitpid(child, &status, WUNTRACED));
    told("stop", result, status);
    printf("nothing new %ld\n", err(waitpid(child, &status, WUNTRACED | WNOHANG)));
    kill(child, SIGCONT);
    result = err(waitpid(child, &status, WCONTINUED));
    told("continue", result, status);
    kill(child, SIGTERM);
    siginfo_t info;
    printf("waitid %ld", err(waitid(P_PID, child, &info, WEXITED | WNOWAIT)));
    printf(" signo %d code %d status %d pid %d\n", info.si_signo, info.si_code, info.si_status, info.si_pid == child);
    result = err(waitpid(child, &status, 0));
    told("end", result, status);
    printf("gone %ld bad options %ld\n", err(waitpid(child, &status, 0)), err(waitpid(-1, &status, 0x4000)));
    child = fork();
    if (child == 0)
        _exit(300);
    struct rusage usage;
    result = err(wait4(child, &status, 0, &usage));
    told("wait4", result, status);
    signal(SIGCHLD, SIG_IGN);
    child = fork();
    if (child == 0)
        _exit(1);
    printf("ignored %ld\n", err(waitpid(child, &status, 0)));
    signal(SIGCHLD, SIG_DFL);
    child = vfork();
    if (child == 0)
        _exit(5);
    result = err(waitpid(child, &status, __WALL));
    told("vfork", result, status);
}

static long run(const char *path, char *const arguments[], char *const environment[]) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execve(path, arguments, environment);
        _exit(100 + errno);
    }
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void make(const char *path, const void *bytes, size_t len, int mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    write(fd, bytes, len);
    close(fd);
    chmod(path, mode);
}

static void execs(void) {
    char dir[] = "/tmp/execXXXXXX";
    mkdtemp(dir);
    chdir(dir);
    char *environment[] = {"WORD=a value", NULL};
    printf("echo %ld\n", run("/bin/echo", (char *[]){"echo", "one", "two words", NULL}, environment));
    printf("env %ld\n", run("/bin/sh", (char *[]){"sh", "-c", "echo $WORD; exit 3", NULL}, environment));
    printf("nothing %ld directory %ld text %ld\n", run("./none", (char *[]){"x", NULL}, environment),
           run("/", (char *[]){"x", NULL}, environment), run("/etc/passwd", (char *[]){"x", NULL}, environment));
    make("script", "#!/bin/sh -e\necho script $0 $#; false\nexit 9\n", 43, 0755);
    printf("script %ld\n", run("./script", (char *[]){"x", "a", "b", NULL}, environment));
    make("plain", "echo no interpreter\n", 20, 0755);
    printf("no interpreter %ld\n", run("./plain", (char *[]){"x", NULL}, environment));
    make("bad", "#!/nowhere/at/all\n", 18, 0755);
    printf("missing interpreter %ld\n", run("./bad", (char *[]){"x", NULL}, environment));
    make("loop", "#!./loop\n", 9, 0755);
    printf("its own interpreter %ld\n", run("./loop", (char *[]){"x", NULL}, environment));
    make("empty", "", 0, 0755);
    printf("empty %ld\n", run("./empty", (char *[]){"x", NULL}, environment));
    char header[4096] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    make("short", header, 20, 0755);
    printf("cut short %ld\n", run("./short", (char *[]){"x", NULL}, environment));
    // A segment at the end of what a program may have, and one in the kernel's half.
    unsigned long places[] = {0x7ffffffff000, 0xffff800000000000, 0xfffffffffffff000};
    for (int i = 0; i < 3; i++) {
        unsigned short *half = (unsigned short *)header;
        unsigned long *word = (unsigned long *)header;
        half[8] = 2, half[9] = 62, half[10] = 1;
        word[3] = places[i], word[4] = 64;
        half[26] = 64, half[27] = 56, half[28] = 1;
        unsigned *part = (unsigned *)(header + 64);
        part[0] = 1, part[1] = 5;
        unsigned long *segment = (unsigned long *)(header + 72);
        segment[0] = 0, segment[1] = places[i], segment[2] = places[i], segment[3] = 4096, segment[4] = 8192, segment[5] = 4096;
        make("overlapping", header, sizeof header, 0755);
        long result = run("./overlapping", (char *[]){"x", NULL}, environment);
        printf("overlapping fails %d\n", result != 0);
    }
    char *big = malloc(200000);
    memset(big, 'x', 199999);
    big[199999] = 0;
    printf("too long %ld\n", run("/bin/true", (char *[]){"true", big, NULL}, environment));
    printf("bad pointers %ld %ld\n", err(execve((char *)8, NULL, NULL)), run("/bin/true", (char **)8, environment));
    fflush(stdout);
    int kept = open("/etc/passwd", O_RDONLY), closed = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    char command[100];
    snprintf(command, sizeof command, "test -e /proc/self/fd/%d && ! test -e /proc/self/fd/%d", kept, closed);
    printf("descriptors %ld\n", run("/bin/sh", (char *[]){"sh", "-c", command, NULL}, environment));
    chdir("/");
    snprintf(command, sizeof command, "rm -r %s", dir);
    system(command);
}

static void groups(void) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        printf("session %d", setsid() == getpid());
        printf(" again %ld", err(setsid()));
        printf(" group %d sid %d\n", getpgrp() == getpid(), getsid(0) == getpid());
        printf("leader %ld\n", err(setpgid(0, 0)));
        fflush(stdout);
        pid_t other = fork();
        if (other == 0) {
            setpgid(0, 0);
            printf("own group %d\n", getpgrp() == getpid());
            fflush(stdout);
            _exit(0);
        }
        waitpid(other, NULL, 0);
        printf("nobody %ld %ld %ld\n", err(setpgid(999999, 0)), err(getpgid(999999)), err(kill(-999999, 0)));
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    child = fork();
    if (child == 0) {
        setpgid(0, 0);
        for (int i = 0; i < 3; i++)
            if (fork() == 0)
                pause();
        kill(0, SIGUSR1);
        _exit(1);
    }
    int status;
    long result = err(waitpid(child, &status, 0));
    told("whole group", result, status);
}

static void limits(void) {
    struct rlimit limit;
    printf("stack %ld", err(getrlimit(RLIMIT_STACK, &limit)));
    printf(" bad %ld\n", err(getrlimit(99, &limit)));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        limit = (struct rlimit){20, 30};
        printf("files %ld", err(setrlimit(RLIMIT_NOFILE, &limit)));
        int count = 0;
        while (dup(0) >= 0)
            count++;
        printf(" all below %d last errno %d dup2 %ld\n", count < 20, errno, err(dup2(0, 20)));
        limit = (struct rlimit){40, 30};
        printf("soft above hard %ld\n", err(setrlimit(RLIMIT_NOFILE, &limit)));
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    limit = (struct rlimit){1 << 20, RLIM_INFINITY};
    child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_STACK, &limit);
        printf("small stack %ld\n", run("/bin/sh", (char *[]){"sh", "-c", "ulimit -s", NULL}, (char *[]){NULL}));
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    char name[16] = "";
    prctl(PR_SET_NAME, "a name that is too long");
    prctl(PR_GET_NAME, name);
    printf("name %s\n", name);
    printf("nonsense %ld\n", err(prctl(4711, 0, 0, 0, 0)));
}

static void inherited(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGUSR1, SIG_IGN);
    umask(027);
    raise(SIGUSR2);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        sigset_t now, pending;
        sigprocmask(SIG_BLOCK, NULL, &now);
        sigpending(&pending);
        struct sigaction action;
        sigaction(SIGUSR1, NULL, &action);
        printf("blocked %d pending %d ignored %d umask %o\n", sigismember(&now, SIGUSR2), sigismember(&pending, SIGUSR2),
               action.sa_handler == SIG_IGN, umask(0));
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    int flag = 0;
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_GET_PDEATHSIG, &flag);
        printf("death signal %d\n", flag);
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    struct {
        unsigned long flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    } request = {.exit_signal = SIGCHLD};
    child = syscall(SYS_clone3, &request, sizeof request);
    if (child == 0)
        _exit(6);
    int status;
    long result = err(waitpid(child, &status, 0));
    told("clone3", result, status);
    printf("bad flags %ld short %ld\n", err(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0)), err(syscall(SYS_clone3, &request, 8)));
    printf("user %d %ld group %d\n", getuid() == geteuid(), err(setuid(getuid())), getgid() == getegid());
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    waits();
    execs();
    groups();
    limits();
    inherited();
    return 0;
}
