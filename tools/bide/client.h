/* A blocking HTTP client for the verbs, on libcurl: over DIR/bide.sock without a signature, or with --endpoint over
 * TCP, signed with the AWS_* variables.
 */
#ifndef BIDE_CLIENT_H
#define BIDE_CLIENT_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct client;

struct reply {
    long status;
    struct buf body;
    char request_id[64];
    char function_error[64];
    char *log_result; /* base64, or NULL */
};

/* endpoint NULL: the Unix socket in folder data. */
int client_open(struct client **ret, const char *data, const char *endpoint, struct err *e) BIDE_MUST_USE;
void client_close(struct client *c);

/* extra: header lines, NULL-terminated list, may be NULL. body may be NULL. r must be reply_init'ed; it is overwritten.
 * ERR_IO: nobody answered, e says why and what to do. An HTTP error status is not an error here. */
int client_call(struct client *c, const char *method, const char *path, const char *const *extra, const void *body,
                size_t len, struct reply *r, struct err *e) BIDE_MUST_USE;

void reply_init(struct reply *r);
void reply_done(struct reply *r);

/* The server's own words for a failed call: its message and type, or the status. Static storage, one at a time. */
const char *reply_why(const struct reply *r);

#endif
