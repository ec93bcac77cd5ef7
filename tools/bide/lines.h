/* Reading JSON Lines: one event per line, blank lines skipped, each checked as the daemon checks it. */
#ifndef BIDE_LINES_H
#define BIDE_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct lines {
    int fd;
    const char *name;    /* for messages; borrowed */
    bool plain, end;     /* a plain file: reading it never blocks for long; its end was read */
    struct buf in;       /* what was read */
    size_t at;           /* where the next line begins in it */
    uint64_t number;     /* of the line read last, from 1 */
    struct slice line;   /* the line read last, valid until the next call */
    uint64_t size, read; /* bytes of a plain file, and of what was read */
};

/* path "-": standard input. */
int lines_open(struct lines *l, const char *path, struct err *e) BIDE_MUST_USE;
void lines_close(struct lines *l);

/* The next line that is not blank: 1, or 0 at the end. ERR_INVALID: it is no JSON, e names its number. ERR_AGAIN: no
 * whole line is here yet (not from a plain file). ERR_TOOBIG, ERR_IO. */
int lines_next(struct lines *l, struct err *e) BIDE_MUST_USE;

/* Back to the first line of a plain file. */
int lines_rewind(struct lines *l, struct err *e) BIDE_MUST_USE;

/* How much of a plain file was read. */
unsigned lines_percent(const struct lines *l);

/* The daemon's own rule for an event: any JSON value, kept as bytes. False: why says what is wrong with it. */
bool lines_is_json(const void *p, size_t len, char *why, size_t cap);

#endif
