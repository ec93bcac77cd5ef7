/* A blocking HTTP client for the verbs, on libcurl: over DIR/bide.sock without a signature, or with --endpoint over
 * TCP, signed with the AWS_* variables.
 */
#ifndef BIDE_CLIENT_H
#define BIDE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct client;

struct reply {
    long status;
    struct buf body;
    char request_id[64];
    char function_error[64];
    char *log_result; /* base64, or NULL */
    bool later;       /* refused for now: the daemon says when to try again */
};

/* endpoint NULL: the Unix socket in folder data. */
int client_open(struct client **ret, const char *data, const char *endpoint, struct err *e) BIDE_MUST_USE;
void client_close(struct client *c);
/* Says why PATH, a file of the daemon in DATA, cannot be used: no daemon, or one that this user may not talk to. */
int client_unreachable(const char *data, const char *path, int errnum, struct err *e);

/* extra: header lines, NULL-terminated list, may be NULL. body may be NULL. r must be reply_init'ed; it is overwritten.
 * ERR_IO (ERR_NOTFOUND when it could not even be sent): nobody answered, e says why and what to do. An HTTP error
 * status is not an error here. */
int client_call(struct client *c, const char *method, const char *path, const char *const *extra, const void *body,
                size_t len, struct reply *r, struct err *e) BIDE_MUST_USE;

/* GET path whose answer is too long to be held: each piece of a 200's body goes to cb, which is also called with len 0
 * every second or so of silence; a result below 0 from it ends the call, which then returns it. Any other status is
 * answered as by client_call. */
typedef int client_piece_cb(const void *p, size_t len, void *arg);
int client_stream(struct client *c, const char *path, client_piece_cb *cb, void *arg, struct reply *r,
                  struct err *e) BIDE_MUST_USE;

void reply_init(struct reply *r);
void reply_done(struct reply *r);

/* --- several calls in flight ----- */

struct client_batch;

/* One call has ended. All of it lives during the callback. */
struct client_ended {
    uint64_t tag;
    int rc;                    /* 0: answered. ERR_NOTFOUND: nobody could be reached, nothing was sent. ERR_IO: it was
                                * sent and no answer came, so it may have been done */
    const struct reply *reply; /* when rc is 0 */
    const char *why;           /* when it is not */
    struct slice body;         /* as it was given */
};
typedef void client_ended_cb(const struct client_ended *ended, void *arg);

enum { CLIENT_BATCH_MAX = 64 };

/* Up to n calls at a time (CLIENT_BATCH_MAX), on connections that are kept. No call is ever sent twice. c must outlive
 * it. */
int client_batch_new(struct client_batch **ret, struct client *c, size_t n, client_ended_cb *cb, void *arg,
                     struct err *e) BIDE_MUST_USE;
void client_batch_free(struct client_batch *b); /* breaks off what is in flight; NULL is fine */

size_t client_batch_busy(const struct client_batch *b);

/* Start a call; ERR_BUSY when all places are taken. body is copied. path and extra are borrowed until it has ended. */
int client_batch_send(struct client_batch *b, uint64_t tag, const char *method, const char *path,
                      const char *const *extra, const void *body, size_t len, struct err *e) BIDE_MUST_USE;

/* Wait for up to timeout_ms and call cb for each call that ended. A signal ends the wait, and so do bytes to be read on
 * input_fd (-1: none). */
int client_batch_turn(struct client_batch *b, int timeout_ms, int input_fd, struct err *e) BIDE_MUST_USE;

/* The server's own words for a failed call: its message and type, or the status. Static storage, one at a time. */
const char *reply_why(const struct reply *r);

#endif
