/* Strict HTTP/1.x request parser: bytes in, events out. It opens nothing, waits for nothing and allocates nothing; the
 * caller owns every byte of memory. It may be fed one byte at a time or everything at once: the events are the same.
 *
 *   struct http1 p;
 *   struct http1_request rq;
 *   char store[16384 + HTTP1_TRAILER_BYTES];
 *   http1_begin(&p, &rq, store, sizeof store);
 *   while ((ev = http1_next(&p, in, in_len, &used, &piece)) != HTTP1_EV_MORE) {
 *       in += used, in_len -= used;
 *       // HTTP1_EV_HEAD: rq is filled; http1_body_max() may follow
 *       // HTTP1_EV_BODY: piece is part of the body
 *       // HTTP1_EV_END: rq.trailers is filled; http1_begin() for the next request on the connection
 *       // HTTP1_EV_ERROR: p.status and p.reason; nothing more can be read from this connection
 *   }
 *
 * What it refuses, and with which status, is a deliberate list: everything two implementations might frame differently
 * (RFC 9112, sections 2.2, 5, 6, 7 and 11.2) is refused rather than interpreted. Lines end in CRLF only; folded lines,
 * chunk extensions and any transfer coding but "chunked" do not exist here. Methods outside the list below are
 * 501, or 405 for CONNECT and TRACE.
 *
 * No thread rule: a parser and its request belong to whoever calls.
 */
#ifndef BASE_HTTP1_H
#define BASE_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

enum http1_method {
    HTTP1_GET,
    HTTP1_HEAD,
    HTTP1_POST,
    HTTP1_PUT,
    HTTP1_PATCH,
    HTTP1_DELETE,
    HTTP1_OPTIONS,
};

enum {
    HTTP1_HEADERS_MAX = 100,    /* more header lines are 431 */
    HTTP1_TRAILERS_MAX = 16,    /* more trailer lines are 431 */
    HTTP1_TRAILER_BYTES = 4096, /* all trailer lines with their line ends; more is 431 */
};

/* One header or trailer line. name and value are NUL-terminated and hold no other NUL; the value has no white space
 * around it. Both point into the store. */
struct http1_field {
    const char *name;
    const char *value;
    size_t name_len;
    size_t value_len;
};

/* A request as read. Filled at HTTP1_EV_HEAD (trailers: at HTTP1_EV_END); everything in it points into the store. */
struct http1_request {
    enum http1_method method;
    unsigned minor;       /* HTTP/1.0 or HTTP/1.1 */
    struct slice target;  /* as sent, NUL-terminated */
    struct slice path;    /* still escaped, starts with '/', or is "*" for OPTIONS * */
    struct slice query;   /* still escaped, without '?'; p is NULL when there is no '?' */
    struct slice host;    /* authority of the target if it has one, else the Host header; p NULL: HTTP/1.0 without */
    bool keep_alive;      /* the connection may carry another request after this one */
    bool expect_continue; /* the client waits for "100 Continue" before it sends the body */
    bool chunked;
    bool has_length;         /* there was a Content-Length */
    uint64_t content_length; /* 0 when chunked or without has_length */
    size_t n_headers;
    size_t n_trailers;
    struct http1_field headers[HTTP1_HEADERS_MAX];
    struct http1_field trailers[HTTP1_TRAILERS_MAX];
};

enum http1_event { HTTP1_EV_MORE, HTTP1_EV_HEAD, HTTP1_EV_BODY, HTTP1_EV_END, HTTP1_EV_ERROR };

struct http1 {
    int status;         /* set at HTTP1_EV_ERROR: 400 405 411 413 414 417 431 501 505 */
    const char *reason; /* set at HTTP1_EV_ERROR: what was wrong, for a person; static storage */
    /* the rest is the parser's own */
    struct http1_request *rq;
    char *store;
    size_t head_cap;
    size_t used;  /* bytes of store in use */
    size_t start; /* where the line being read begins */
    size_t trailer_cap;
    int state;
    bool skipped_crlf;
    unsigned n_host, n_connection_close, n_connection_keep, n_te, n_expect;
    unsigned chunk_digits;
    uint64_t left; /* of the body, or of the chunk */
    uint64_t body_len;
    uint64_t body_max;
    uint64_t overhead; /* bytes of chunk framing so far */
};

/* Begin a request: on a fresh connection, or after HTTP1_EV_END. store holds the request's text and must outlive every
 * use of rq; it takes store_len - HTTP1_TRAILER_BYTES bytes of head (request line and headers with their line ends). A
 * longer head is 431, or 414 while still in the target. No body limit is set. */
void http1_begin(struct http1 *p, struct http1_request *rq, char *store, size_t store_len);

/* Go on with in[0..len) up to the next event. *ret_used bytes were consumed, also with HTTP1_EV_MORE (then all of
 * them). *ret_piece is set at HTTP1_EV_BODY, is never empty, and points into in. After HTTP1_EV_ERROR and HTTP1_EV_END
 * the same event is given again and nothing is consumed. */
enum http1_event http1_next(struct http1 *p, const char *in, size_t len, size_t *ret_used, struct slice *ret_piece);

/* Between HTTP1_EV_HEAD and the next call: bodies longer than max bytes are 413, at once when the length was declared.
 * Chunk framing may take another max + 64 KiB. */
void http1_body_max(struct http1 *p, uint64_t max);

/* Bytes of a request were read, and its end was not: an end of file now cuts it short. */
bool http1_midway(const struct http1 *p);

/* The body is known to be empty. Valid from HTTP1_EV_HEAD on. */
static inline bool http1_bodyless(const struct http1_request *rq)
{
    return !rq->chunked && rq->content_length == 0;
}

/* The first field of that name (any case), or NULL. */
const struct http1_field *http1_find(const struct http1_field *f, size_t n, const char *name);

/* What may be written as a field: a token; a value of no control bytes but tab. */
bool http1_name_ok(const char *name, size_t len);
bool http1_value_ok(const char *value, size_t len);

const char *http1_method_name(enum http1_method m); /* "GET"; static storage */
const char *http1_status_text(int status);          /* "Not Found"; "Unknown" for codes without a name */

#endif
