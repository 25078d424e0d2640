/* Pipes between processes: order, end of file, EPIPE, a full pipe, poll, dup2. */
#include "say.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void show_transfer(void) {
    int ends[2];
    must(pipe(ends) == 0);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        close(ends[0]);
        static unsigned char block[10000];
        for (int i = 0; i < 100; i++) {
            memset(block, i, sizeof block);
            must(write(ends[1], block, sizeof block) == sizeof block);
        }
        _exit(0);
    }
    close(ends[1]);
    static unsigned char buffer[3333];
    unsigned long total = 0, sum = 0;
    for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0; total += got)
        for (ssize_t i = 0; i < got; i++)
            sum = sum * 31 + buffer[i];
    say("%lu bytes, sum %lx", total, sum);
    close(ends[0]);
    must(waitpid(child, 0, 0) == child);
}

static void show_edges(void) {
    int ends[2];
    char byte = 'x';
    must(pipe2(ends, O_NONBLOCK) == 0);
    say("read of an empty pipe: %s", outcome(read(ends[0], &byte, 1)));
    static char block[4096];
    long room = 0;
    for (ssize_t got; (got = write(ends[1], block, sizeof block)) > 0; room += got)
        ;
    say("a pipe holds %ld bytes, then: %s", room, outcome(-1));
    struct pollfd polls[] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}};
    int ready = poll(polls, 2, 0);
    say("poll full: %d, %d %d", ready, polls[0].revents, polls[1].revents);
    while (read(ends[0], block, sizeof block) > 0)
        ;
    ready = poll(polls, 2, 0);
    say("poll empty: %d, %d %d", ready, polls[0].revents, polls[1].revents);
    close(ends[1]);
    polls[1].fd = -1;
    ready = poll(polls, 2, 1000);
    say("poll after the writer left: %d, %d", ready, polls[0].revents);
    say("read at the end: %ld", read(ends[0], &byte, 1));
    close(ends[0]);
    must(pipe(ends) == 0);
    close(ends[0]);
    signal(SIGPIPE, SIG_IGN);
    say("write without a reader: %s", outcome(write(ends[1], &byte, 1)));
    say("lseek on a pipe: %s", outcome(lseek(ends[1], 0, SEEK_SET)));
    close(ends[1]);
}

static void show_redirection(void) {
    int ends[2];
    must(pipe(ends) == 0);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        printf("from the child's standard output");
        fflush(stdout);
        _exit(0);
    }
    close(ends[1]);
    char text[64] = {0};
    must(read(ends[0], text, sizeof text - 1) > 0);
    say("'%s'", text);
    must(waitpid(child, 0, 0) == child);
}

int main(void) {
    show_transfer();
    show_edges();
    show_redirection();
    return 0;
}
