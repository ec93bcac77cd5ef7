/* Answers that read the store: built on a worker thread, because a page that is not in memory would hold up the loop.
 */
#ifndef API_BUILD_H
#define API_BUILD_H

#include "call.h"

/* Fill o with one JSON value, or set *f. On a worker; may read the call's request but not answer it. */
typedef void build_cb(struct call *c, struct json_out *o, struct fault *f);

/* Run build, then answer 200 with what it made, or its fault. */
void build_answer(struct call *c, build_cb *build);

/* The same for bytes of another type and ceiling, written with one out_raw. */
void build_answer_as(struct call *c, build_cb *build, const char *content_type, size_t max);

/* What the listings share: limit and cursor of the query. ERR_INVALID with f set. */
enum { BUILD_PAGE = 100, BUILD_PAGE_MAX = 1000 };
int build_page(struct call *c, uint32_t *ret_limit, uint64_t *ret_cursor, struct fault *f) BIDE_MUST_USE;
/* Only the limit, for cursors of another kind: usual when it is not there, max when it is more. */
int build_limit(struct call *c, uint32_t usual, uint32_t max, uint32_t *ret, struct fault *f) BIDE_MUST_USE;

/* A filter of the query into out; "" when it is not there. ERR_INVALID with f set. */
int build_filter(struct call *c, const char *name, char *out, size_t cap, struct fault *f) BIDE_MUST_USE;

/* since and until of the query as moments, 0 when they are not there; the error type, "" likewise. ERR_INVALID with f
 * set. */
enum { BUILD_TYPE_MAX = QUEUE_TYPE_MAX + 1 };
int build_times(struct call *c, int64_t *ret_since_ms, int64_t *ret_until_ms, struct fault *f) BIDE_MUST_USE;

/* The path's argument as an event id. ERR_INVALID with f set. */
int build_id(struct call *c, struct id *ret, struct fault *f) BIDE_MUST_USE;

/* An id, or null when it is zero. */
void build_put_id(struct json_out *o, const char *key, const struct id *id);
/* "cursor" of a page: a string to give back, or null when this was the last. */
void build_put_cursor(struct json_out *o, uint64_t cursor);

/* What is known of an event, and its attempts, as members of an object already begun. */
void build_put_event(struct json_out *o, const struct event *ev);
void build_put_attempt(struct json_out *o, const struct attempt *a);
/* "payload": the event's own bytes, or null. */
void build_put_payload(struct json_out *o, struct queue *q, uint64_t seq);

#endif
