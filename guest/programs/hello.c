/* Shows its arguments and the part of its environment that begins with TEST_. */
#include "say.h"

extern char **environ;

int main(int argc, char **argv) {
    say("argc %d", argc);
    for (int i = 1; i < argc; i++)
        say("argv[%d] '%s'", i, argv[i]);
    for (char **entry = environ; *entry; entry++)
        if (strncmp(*entry, "TEST_", 5) == 0)
            say("env '%s'", *entry);
    fprintf(stderr, "this line went to standard error\n");
    return argc > 1 && strcmp(argv[1], "exit") == 0 ? atoi(argv[2]) : 0;
}
