/* Reading JSON. Control documents: jansson, duplicate members refused, each member read by its type; the first member
 * of a wrong type is remembered. Payloads: only whether they are JSON; the bytes themselves are kept as they came.
 */
#ifndef API_JSON_IN_H
#define API_JSON_IN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Is it a JSON text? Empty is fine (Lambda: the runtime gets {}). ERR_INVALID with the parser's words in e. Four
 * things that are JSON by the grammar are refused: numbers beyond a double, lone surrogate escapes, NULs escaped in the
 * name of a member, nesting over 2,048.
 */
int json_check_payload(const void *p, size_t len, struct err *e) BIDE_MUST_USE;

/* The same of one line among others, which is not empty. */
int json_check_line(const void *p, size_t len, struct err *e) BIDE_MUST_USE;

struct json_in {
    json_t *root;    /* an object */
    struct err type; /* code 0, or the first member that had a wrong type */
};

/* Parse an object; no bytes at all are an empty one. ERR_INVALID. After success json_in_done. */
int json_in_parse(struct json_in *in, const void *p, size_t len, struct err *e) BIDE_MUST_USE;
void json_in_done(struct json_in *in);

/* Members of o (NULL o: none); null counts as absent. Borrowed from the document. */
const char *json_in_str(struct json_in *in, const json_t *o, const char *key); /* NULL: absent */
const char *json_in_strn(struct json_in *in, const json_t *o, const char *key, size_t *ret_len);
bool json_in_int(struct json_in *in, const json_t *o, const char *key, int64_t *ret); /* false: absent */
bool json_in_bool(struct json_in *in, const json_t *o, const char *key, bool *ret);
const json_t *json_in_object(struct json_in *in, const json_t *o, const char *key);
const json_t *json_in_array(struct json_in *in, const json_t *o, const char *key);

#endif
