/* One run of the handler's program: event on its stdin, result from its stdout, stderr passed on to the log. */
#ifndef EXEC_RUN_H
#define EXEC_RUN_H

#include <stdbool.h>
#include <stddef.h>

enum {
    RUN_RESULT_MAX = 6291556, /* Lambda: 6 MB and 100 bytes */
    RUN_STDERR_TAIL = 1024,
};

struct run {
    int exec_errno; /* not 0: the program could not be executed */
    int status;     /* as from wait */
    bool too_large; /* more than RUN_RESULT_MAX came; it was read to its end and thrown away */
    char *out;      /* heap; caller frees */
    size_t out_len;
    char tail[RUN_STDERR_TAIL]; /* the last of its stderr */
    size_t tail_len;
};

/* Once, before the first run. */
void run_init(void);

/* Returns when the program has ended and everything that it started is dead. A program that does not read its stdin, or
 * closes its stdout, is let be. What it could not be given (no process, no memory) ends this process. */
void run_program(struct run *r, const char *path, char *const *env, const char *event, size_t len);

#endif
