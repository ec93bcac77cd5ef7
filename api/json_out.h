/* Writing JSON into a buffer: compact, members in the order written. Text that is not UTF-8 (a function's log, say)
 * comes out with U+FFFD in place of each bad byte. Errors stick: check out_error once at the end.
 *
 *   struct json_out o;
 *   out_init(&o, &buf);
 *   out_begin(&o, NULL, '{');
 *   out_str(&o, "name", "x");
 *   out_end(&o, '}');
 *
 * key is NULL inside a list and at the top.
 */
#ifndef API_JSON_OUT_H
#define API_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct json_out {
    struct buf *b;
    bool comma; /* the next item needs one before it */
    int error;
};

void out_init(struct json_out *o, struct buf *b);
void out_begin(struct json_out *o, const char *key, char bracket); /* '{' or '[' */
void out_end(struct json_out *o, char bracket);                    /* '}' or ']' */
void out_str(struct json_out *o, const char *key, const char *s);  /* NULL: null */
void out_strn(struct json_out *o, const char *key, const char *s, size_t len);
/* Does it come back from a JSON string as it was: UTF-8 without a NUL? */
bool out_is_text(const char *s, size_t len);
void out_int(struct json_out *o, const char *key, int64_t v);
void out_uint(struct json_out *o, const char *key, uint64_t v);
void out_bool(struct json_out *o, const char *key, bool v);
void out_null(struct json_out *o, const char *key);
void out_seconds(struct json_out *o, const char *key, int64_t ms); /* a number of seconds with milliseconds */
/* Bytes that are JSON already, verbatim. */
void out_raw(struct json_out *o, const char *key, const void *p, size_t len);
int out_error(const struct json_out *o) BIDE_MUST_USE;

#endif
