/* Growable bytes with a ceiling.
 *
 *   struct buf b;
 *   buf_init(&b, 64 * 1024);        // never holds more than 64 KiB
 *   if (buf_append(&b, p, n) < 0)   // ERR_TOOBIG or ERR_NOMEM; b keeps what it had
 *   ...
 *   buf_done(&b);
 *
 * data is always followed by a NUL that len does not count, so text may be used as a C string; it may contain NULs.
 * Growth may move data. Not thread-safe.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct buf {
    char *data; /* never NULL */
    size_t len;
    size_t cap; /* allocated bytes, 0 while data points at the shared empty string */
    size_t max; /* ceiling of len */
};

/* Borrowed bytes: somebody else owns them, for as long as the function that hands them out says. */
struct slice {
    const void *p;
    size_t len;
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);  /* frees; b may be used again after buf_init only */
void buf_clear(struct buf *b); /* len = 0, memory kept */
void buf_reset(struct buf *b); /* len = 0, memory given back, ceiling kept */
int buf_append(struct buf *b, const void *p, size_t n) BIDE_MUST_USE;
int buf_puts(struct buf *b, const char *s) BIDE_MUST_USE;
int buf_putc(struct buf *b, char c) BIDE_MUST_USE;
int buf_printf(struct buf *b, const char *fmt, ...) BIDE_PRINTF(2, 3) BIDE_MUST_USE;

/* Room for n more bytes at data + len; the caller then adds to len. */
int buf_reserve(struct buf *b, size_t n) BIDE_MUST_USE;

/* Drop n bytes from the front. */
void buf_consume(struct buf *b, size_t n);

/* The bytes, malloc'ed and NUL-terminated, now owned by the caller (free()); b is empty afterwards. NULL without
 * memory. *ret_len may be NULL. */
char *buf_take(struct buf *b, size_t *ret_len);

#endif
