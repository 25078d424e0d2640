/*
 * fill KIND: fills pipes or pairs of sockets until a write is refused, says how many bytes there are in how
 * many and why it stopped; on a line of input empties all of them and says how much came out; on the
 * next closes them.
 *
 * KIND: pipe | stream | datagram | all-pipes (pipe after pipe, until one is refused).
 */
#include "say.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS = 200, PIECE = 1000 };

static int pairs[PAIRS][2], used;
static char bytes[PIECE];

static int open_pair(const char *kind) {
    int *pair = pairs[used];
    if (strstr(kind, "pipe"))
        return pipe2(pair, O_NONBLOCK);
    int type = strcmp(kind, "stream") == 0 ? SOCK_STREAM : SOCK_DGRAM, swap;
    if (socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, pair) != 0)
        return -1;
    swap = pair[0], pair[0] = pair[1], pair[1] = swap;
    return 0;
}

int main(int argc, char **argv) {
    unsigned long in = 0, out = 0;
    ssize_t done = 0;
    char line[16];
    must(argc == 2);
    int most = strncmp(argv[1], "all-", 4) == 0 ? PAIRS : 1;
    setvbuf(stdout, 0, _IONBF, 0);
    say("ready");
    read(0, line, sizeof line);
    while (used < most && open_pair(argv[1]) == 0) {
        while ((done = write(pairs[used][1], bytes, sizeof bytes)) > 0)
            in += done;
        used++;
        if (errno != EAGAIN)
            break;
    }
    int why = errno;
    say("%lu bytes in %d: %s", in, used, strerror(why));
    read(0, line, sizeof line);
    for (int at = 0; at < used; at++)
        while ((done = read(pairs[at][0], bytes, sizeof bytes)) > 0)
            out += done;
    say("%lu bytes came out", out);
    read(0, line, sizeof line);
    for (int at = 0; at < used; at++)
        close(pairs[at][0]), close(pairs[at][1]);
    say("closed");
    while (read(0, line, sizeof line) > 0)
        ;
    return 0;
}
