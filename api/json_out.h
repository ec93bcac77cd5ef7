/* Writing JSON into a buffer: compact, members in the order written. Text that is not UTF-8 (a function's log, say)
 * comes out with U+FFFD in place of each bad byte. Errors stick: check json_out_error once at the end.
 *
 *   struct json_out o;
 *   json_out_init(&o, &buf);
 *   json_begin(&o, NULL, '{');
 *   json_str(&o, "name", "x");
 *   json_end(&o, '}');
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

void json_out_init(struct json_out *o, struct buf *b);
void json_begin(struct json_out *o, const char *key, char bracket); /* '{' or '[' */
void json_end(struct json_out *o, char bracket);                    /* '}' or ']' */
void json_str(struct json_out *o, const char *key, const char *s);  /* NULL: null */
void json_strn(struct json_out *o, const char *key, const char *s, size_t len);
void json_int(struct json_out *o, const char *key, int64_t v);
void json_uint(struct json_out *o, const char *key, uint64_t v);
void json_bool(struct json_out *o, const char *key, bool v);
void json_null(struct json_out *o, const char *key);
void json_seconds(struct json_out *o, const char *key, int64_t ms); /* a number of seconds with milliseconds */
/* Bytes that are JSON already, verbatim. */
void json_raw(struct json_out *o, const char *key, const void *p, size_t len);
int json_out_error(const struct json_out *o) BIDE_MUST_USE;

#endif
