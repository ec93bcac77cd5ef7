/* Percent-encoding and query strings, decoded exactly once. Pure. */
#ifndef API_URI_H
#define API_URI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum { URI_PARAMS_MAX = 64 };

/* Decode into out (cap bytes with the terminator). ERR_INVALID: a bad escape, or a NUL; ERR_TOOBIG. '+' stays '+'. */
int uri_decode(const char *p, size_t len, char *out, size_t cap) BIDE_MUST_USE;

/* Append p percent-encoded as RFC 3986 says for signatures: all but A-Za-z0-9-_.~ and the bytes of keep. */
int uri_encode(struct buf *out, const char *p, size_t len, const char *keep) BIDE_MUST_USE;

/* One parameter, as it is in the query string. */
struct uri_param {
    struct slice name;
    struct slice value; /* empty when there is no '=' */
};

/* Split a query string. ERR_TOOBIG: more than URI_PARAMS_MAX. Slices point into query. */
int uri_split_query(const char *query, size_t len, struct uri_param *v, size_t *ret_n) BIDE_MUST_USE;

/* The decoded value of the first parameter of that name. ERR_NOTFOUND, and uri_decode's errors. */
int uri_query_get(const char *query, size_t len, const char *name, char *out, size_t cap) BIDE_MUST_USE;

#endif
