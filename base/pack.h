/* msgpack, bounded: the only wrapper of the library.
 *
 * Writing appends to a struct buf whose ceiling is the record's limit. Errors stick: check pack_error once at the end.
 *
 *   struct pack p;
 *   pack_init(&p, &buf);
 *   pack_array(&p, 3); pack_uint(&p, 7); pack_str(&p, "x"); pack_bin(&p, data, len);
 *   if (pack_error(&p) < 0) ...
 *
 * Reading takes untrusted bytes: lengths and nesting are checked against what is really there before the library sees
 * them, the top level must be one array that uses all the bytes, and every getter checks the type.
 *
 *   struct unpack u;
 *   if (unpack_init(&u, data, len) < 0) ...      // ERR_CORRUPT
 *   x = unpack_uint(&u); s = unpack_str(&u); ...
 *   if (unpack_finish(&u) < 0) ...               // ERR_CORRUPT if anything before was wrong
 *   unpack_done(&u);                             // always
 *
 * Slices point into the bytes given to unpack_init. Items after the last one read are ignored by unpack_done and
 * refused by unpack_finish; unpack_left says how many there are, so that a newer minor format can append.
 */
#ifndef BASE_PACK_H
#define BASE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

struct pack {
    struct buf *out;
    int error;
};

void pack_init(struct pack *p, struct buf *out);
void pack_array(struct pack *p, size_t n);
void pack_uint(struct pack *p, uint64_t v);
void pack_int(struct pack *p, int64_t v);
void pack_bool(struct pack *p, bool v);
void pack_nil(struct pack *p);
void pack_str(struct pack *p, const char *s); /* NULL packs nil */
void pack_strn(struct pack *p, const char *s, size_t n);
void pack_bin(struct pack *p, const void *d, size_t n);
int pack_error(const struct pack *p) BIDE_MUST_USE; /* 0, ERR_TOOBIG or ERR_NOMEM */

enum { UNPACK_DEPTH = 8 };

struct unpack {
    void *zone;                     /* the library's memory */
    const void *item[UNPACK_DEPTH]; /* arrays entered, outermost first */
    uint32_t next[UNPACK_DEPTH];    /* next index in each */
    int depth;
    int error;
};

int unpack_init(struct unpack *u, const void *data, size_t len) BIDE_MUST_USE;
void unpack_done(struct unpack *u);

/* Each takes the next item of the current array. A wrong type, or no item left, gives a zero value and makes
 * unpack_finish fail. */
uint64_t unpack_uint(struct unpack *u);
int64_t unpack_int(struct unpack *u);
bool unpack_bool(struct unpack *u);
struct slice unpack_bin(struct unpack *u);  /* bin; p == NULL for nil */
struct slice unpack_strn(struct unpack *u); /* str; p == NULL for nil; not NUL-terminated */
/* Copy a str into out (cap bytes with the NUL); longer than fits or with a NUL inside is an error. nil gives "". */
void unpack_str(struct unpack *u, char *out, size_t cap);
/* Enter the next item, an array; its length. leave skips what was not read. */
size_t unpack_enter(struct unpack *u);
void unpack_leave(struct unpack *u);
size_t unpack_left(const struct unpack *u); /* items not yet read in the current array */
void unpack_skip(struct unpack *u);
int unpack_finish(struct unpack *u) BIDE_MUST_USE; /* 0, or ERR_CORRUPT if any step failed or items are left over */
int unpack_error(const struct unpack *u) BIDE_MUST_USE; /* the same without the check for left-over items */

#endif
