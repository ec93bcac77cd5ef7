/* bide: the command line. The frame (opts.c) finds the verb and its options, the verb (cmd_*.c) does the rest. */
#include <signal.h>
#include <stdio.h>

#include "help.h"
#include "opts.h"

#ifndef BIDE_VERSION
#error "the build gives BIDE_VERSION"
#endif

static int run(struct call *c)
{
    int status = c->cmd->run(c);
    client_close(c->client);
    return status;
}

int main(int argc, char **argv)
{
    struct call c = {0};
    const char *topic;
    int status = EXIT_DONE;
    /* A reader that goes away, as head does, ends us quietly, also under a parent that ignores the signal. */
    (void)signal(SIGPIPE, SIG_DFL);
    switch (opts_parse(&c, argc - 1, argv + 1, &topic)) {
    case WISH_USAGE:
        return EXIT_USAGE;
    case WISH_VERSION:
        (void)puts("bide " BIDE_VERSION);
        break;
    case WISH_HELP:
        if (c.cmd != NULL)
            help_verb(c.cmd, stdout);
        else if (topic != NULL)
            help_group(topic, stdout);
        else
            help_top(stdout);
        break;
    case WISH_RUN:
        if (c.cmd == NULL) {
            help_top(stderr);
            return EXIT_USAGE;
        }
        status = run(&c);
        break;
    }
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == EXIT_DONE)
        return call_fail("standard output cannot be written");
    return status;
}
