/* zombie: makes a child that ends at once, says its id, and waits for it only when its input ends. */
#include "say.h"
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    int ended[2];
    char byte;
    must(pipe(ended) == 0);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0)
        _exit(0);
    close(ended[1]);
    must(read(ended[0], &byte, 1) == 0);
    say("%d", child);
    while (read(0, &byte, 1) > 0)
        ;
    must(waitpid(child, 0, 0) == child);
    return 0;
}
