/* What a process is told about itself and its machine. */
#include "say.h"
#include <sched.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    struct utsname name;
    must(uname(&name) == 0);
    say("%s %s", name.sysname, name.machine);
    say("real and effective ids agree: %d", getuid() == geteuid() && getgid() == getegid());
    say("pid is tid: %d", getpid() == gettid());
    pid_t parent = getpid(), child = fork();
    must(child >= 0);
    if (child == 0) {
        say("child: parent is known %d, own group is inherited %d", getppid() == parent,
            getpgid(0) == getpgid(parent));
        say("setsid: %d", setsid() == getpid());
        _exit(0);
    }
    must(waitpid(child, 0, 0) == child);
    say("page size %ld %lu", sysconf(_SC_PAGESIZE), getauxval(AT_PAGESZ));
    say("secure %lu, random is there %d", getauxval(AT_SECURE), getauxval(AT_RANDOM) != 0);
    unsigned char bytes[64] = {0};
    must(getrandom(bytes, sizeof bytes, 0) == sizeof bytes);
    int zeros = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        zeros += bytes[i] == 0;
    say("random bytes are random: %d", zeros < 8);
    struct rlimit limit;
    say("files: %d", getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= 256);
    say("bad resource: %s", outcome(getrlimit(99, &limit)));
    cpu_set_t set;
    say("runs on a processor: %d", sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) >= 1);
    struct sysinfo info;
    say("has memory: %d", sysinfo(&info) == 0 && info.totalram * info.mem_unit >= 8 << 20);
    say("yield: %s", outcome(sched_yield()));
    return 0;
}
