/* Runtimes: what has to be run for "python3.12". A runtime is a folder below the runtimes directory with a file
 * `manifest`; in a box the folder is /var/runtime. A new language is a new folder and no C.
 *
 * A '*' in a value of the manifest (manifest.h has its form) stands for what the '*' of the matching `serves` pattern
 * stood for. Keys:
 *
 *   serves       name or pattern with one '*' that this folder runs; at least one
 *   interpreter  absolute path below /usr or a read_only path (a box sees no other programs); the first that is there
 *                on this host is run
 *   read_only    folder of the host that boxes of this runtime see too, at the same place: where an interpreter is
 *                installed outside of /usr. Bound by the executor process, which reads it from the manifest itself
 *   program      path in the box, brought by the function; the first that exists there is run
 *   bootstrap    name of a program in this folder. Exactly one of interpreter, program and bootstrap must be given
 *   arg          argument of the program, in order; `{memory:N}` in it stands for N per cent of the function's
 *                MemorySize, in MB
 *   env          NAME=VALUE
 *   version      text for the log's INIT_START line, as "python:3.*"
 *   execution_env  `no`: AWS_EXECUTION_ENV stays unset
 *   wrapper      `no`: AWS_LAMBDA_EXEC_WRAPPER is not honoured
 *   install      what to install when no interpreter is there
 *
 * No thread rule: nothing is kept between calls, so that a folder put there while the daemon runs is found.
 */
#ifndef EXECUTOR_RUNTIME_H
#define EXECUTOR_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "executor_proto/manifest.h"

enum {
    RUNTIME_NAME_MAX = 32,
    RUNTIME_PROGRAMS_MAX = 8,
    RUNTIME_ARGS_MAX = 16,
    RUNTIME_ARG_LEN_MAX = MANIFEST_LINE_MAX,
    RUNTIME_ENV_MAX = 16,
    RUNTIME_TEXT_MAX = 4 * MANIFEST_MAX,
};

/* Filled by runtime_find; the pointers lead into text, so that it must not be copied. */
struct runtime {
    char name[RUNTIME_NAME_MAX + 1]; /* as asked for */
    char dir[RUNTIME_NAME_MAX + 1];  /* name of the folder */
    bool own_program;                /* the function brings the program: that it is missing is the function's fault */
    bool wrapper;
    bool execution_env;
    const char *version;
    const char *program[RUNTIME_PROGRAMS_MAX]; /* own_program: tried in order in the box; else just the one found */
    size_t n_programs;
    const char *arg[RUNTIME_ARGS_MAX];
    size_t n_args;
    const char *env[RUNTIME_ENV_MAX];
    size_t n_env;
    size_t text_len;
    char text[RUNTIME_TEXT_MAX];
};

/* arg as a function of memory_mb gets it, into out (cut at cap). */
void runtime_arg(const char *arg, int32_t memory_mb, char *out, size_t cap);

/* runtimes_fd: the folder, opened as root: the engine may not be allowed to walk there.
 *
 * ERR_NOTFOUND: no folder serves the name. ERR_AGAIN: no interpreter of its is installed, and e says what to install.
 * ERR_INVALID: its own program is missing, or a manifest is wrong, and e names folder, line and fault. ERR_IO. */
int runtime_find(int runtimes_fd, const char *name, struct runtime *ret, struct err *e) BIDE_MUST_USE;

#endif
