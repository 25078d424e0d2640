/* hog SIZE[K|M|G] [SECONDS]: touches SIZE bytes, says so, and holds them until SIGTERM or the time is over. */
#include "say.h"
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv) {
    must(argc >= 2);
    unsigned long size = parse_size(argv[1]);
    char *memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED);
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    must(sigprocmask(SIG_BLOCK, &term, 0) == 0);
    for (unsigned long at = 0; at < size; at += 4096)
        memory[at] = 1;
    say("holding %lu pages", size / 4096);
    struct timespec limit = {argc > 2 ? atoi(argv[2]) : 1 << 30, 0};
    int signal = sigtimedwait(&term, 0, &limit);
    say(signal == SIGTERM ? "ended by SIGTERM" : "time is over");
    return 0;
}
