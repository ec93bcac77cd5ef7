/* The manifest of a runtime, as far as both halves read it: the engine looks there for what to run (runtime.h has the
 * keys), the executor process for what else of the host a box may see. The executor process reads it itself: a path
 * that the engine sent would be a path that a taken-over engine chose.
 *
 * A manifest is lines of `key = value`; blank lines and lines that begin with '#' are skipped. No thread rule.
 */
#ifndef EXECUTOR_MANIFEST_H
#define EXECUTOR_MANIFEST_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    MANIFEST_MAX = 4096, /* the whole file */
    MANIFEST_LINE_MAX = 511,
    MANIFEST_READ_ONLY_MAX = 4,
    MANIFEST_PATH_MAX = 255,
};

struct manifest_line {
    int n; /* its number, from 1; zero before the first */
    char text[MANIFEST_LINE_MAX + 1];
    const char *key, *value; /* into text */
};

/* The file of a runtime's folder into b (initialised, ceiling MANIFEST_MAX). ERR_NOTFOUND: there is none. ERR_TOOBIG,
 * ERR_IO. */
int manifest_load(int runtimes_fd, const char *folder, struct buf *b) BIDE_MUST_USE;

/* The next line with something in it; *at goes on. 1: there is one; 0: no more; ERR_INVALID, with *ret_why (static
 * storage). */
int manifest_next(const char **at, struct manifest_line *l, const char **ret_why) BIDE_MUST_USE;

/* May path be named by `read_only`? NULL: yes; else why not (static storage). It is a folder of the host that is
 * neither the host's own business nor made by the box itself. */
const char *manifest_path_fault(const char *path);

/* The folders that `read_only` names. ERR_INVALID: a line is wrong, or there are too many; e says which. */
struct manifest_paths {
    char path[MANIFEST_READ_ONLY_MAX][MANIFEST_PATH_MAX + 1];
    size_t n;
};
int manifest_read_only(int runtimes_fd, const char *folder, struct manifest_paths *ret, struct err *e) BIDE_MUST_USE;

#endif
