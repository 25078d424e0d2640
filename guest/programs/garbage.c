/* Executes bytes that are no instructions; the signal must end it. */
#include "say.h"
#include <sys/mman.h>

int main(void) {
    unsigned char *memory =
        mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED);
    memset(memory, 0x06, 4096);
    say("jumping");
    ((void (*)(void))memory)();
    say("came back");
    return 0;
}
