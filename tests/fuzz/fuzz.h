/* What the fuzz targets share. A target may assert whatever holds of every input (BIDE_ASSERT): agreement with a second
 * implementation, a round trip, a fixed point. An input that breaks it is a finding as a crash is.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly that size, so that the address sanitizer sees a read past the end. free() it. */
static inline void *exact(const void *p, size_t n)
{
    void *c = calloc(1, n);
    BIDE_ASSERT(c != NULL, "out of memory");
    if (n > 0)
        memcpy(c, p, n);
    return c;
}

/* A C string: the bytes up to the first NUL. free() it. */
static inline char *exact_text(const void *p, size_t n)
{
    char *c = strndup(p, n);
    BIDE_ASSERT(c != NULL, "out of memory");
    return c;
}

/* An input taken apart, from the front. */
struct feed {
    const uint8_t *p;
    size_t left;
};

static inline uint8_t feed_byte(struct feed *f)
{
    if (f->left == 0)
        return 0;
    f->left--;
    return *f->p++;
}

/* Up to the next separator, or all that is left; the separator is taken away. */
static inline struct slice feed_until(struct feed *f, char separator)
{
    const uint8_t *at = f->left > 0 ? memchr(f->p, separator, f->left) : NULL;
    struct slice s = {f->p, at != NULL ? (size_t)(at - f->p) : f->left};
    size_t used = s.len + (at != NULL);
    f->p += used;
    f->left -= used;
    return s;
}

#endif
