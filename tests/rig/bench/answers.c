/*
 * answers DIR: what a read through FUSE costs at least. Mounts a file system on DIR whose every name is a file of one
 * line, with the same open flags as vmcg's, and answers from one thread until it is unmounted. Returns when it is mounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Linux 6.1's; older headers do not have it. */
enum { NO_FLUSH = 1 << 5, FOR_EVER = 1000000 };

static int device;
static char request[1 << 17];

static void reply(uint64_t unique, int error, const void *body, size_t len) {
    struct fuse_out_header header = {.len = sizeof header + len, .error = error, .unique = unique};
    struct iovec parts[] = {{&header, sizeof header}, {(void *)body, len}};
    /* ENOENT: who asked has gone. */
    if (writev(device, parts, 2) < 0 && errno != ENOENT)
        perror("answers: writev");
}

static struct fuse_attr attributes(uint64_t node) {
    int mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0444;
    return (struct fuse_attr){.ino = node, .mode = mode, .nlink = 1, .blksize = 4096};
}

static void answer(const struct fuse_in_header *header) {
    const struct fuse_init_in *offer = (const void *)(header + 1);
    struct fuse_init_out init = {.major = 7, .minor = 31, .max_readahead = offer->max_readahead, .max_write = 4096};
    struct fuse_entry_out entry = {.nodeid = 2, .entry_valid = FOR_EVER, .attr_valid = FOR_EVER, .attr = attributes(2)};
    struct fuse_attr_out found = {.attr_valid = FOR_EVER, .attr = attributes(header->nodeid)};
    struct fuse_open_out opened = {.open_flags = FOPEN_DIRECT_IO | NO_FLUSH};
    switch (header->opcode) {
    case FUSE_INIT:
        return reply(header->unique, 0, &init, sizeof init);
    case FUSE_LOOKUP:
        return reply(header->unique, 0, &entry, sizeof entry);
    case FUSE_GETATTR:
        return reply(header->unique, 0, &found, sizeof found);
    case FUSE_OPEN:
        return reply(header->unique, 0, &opened, sizeof opened);
    case FUSE_READ:
        return reply(header->unique, 0, "1048576\n", 8);
    case FUSE_RELEASE:
        return reply(header->unique, 0, 0, 0);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
        return;
    default:
        return reply(header->unique, -ENOSYS, 0, 0);
    }
}

int main(int argc, char **argv) {
    char options[64];
    device = open("/dev/fuse", O_RDWR);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
    if (argc != 2 || device < 0 || mount("answers", argv[1], "fuse", 0, options) != 0) {
        perror("answers: usage: answers DIR");
        return 1;
    }
    if (fork() != 0)
        return 0;
    fclose(stdout);
    for (;;) {
        if (read(device, request, sizeof request) > 0)
            answer((const void *)request);
        else if (errno == ENODEV)
            return 0;
    }
}
