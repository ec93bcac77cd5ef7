/* The Runtime API (Lambda: section 9) on each worker's own listening socket: routes, headers, answers. What a call
 * means for the worker is worker.c's; the socket it came in by is the worker's identity, so that nothing a runtime
 * sends can name another's. On the loop's thread.
 */
#ifndef EXECUTOR_RUNTIME_API_H
#define EXECUTOR_RUNTIME_API_H

#include <stddef.h>
#include <stdint.h>

#include "base/httpd.h"
#include "supervise.h"

struct worker;

/* A server for one worker; the tag of its listener must be the struct worker. ERR_NOMEM, ERR_IO. */
int runtime_api_new(struct loop *l, struct httpd **ret, struct err *e) BIDE_MUST_USE;

/* Keep the request for work until it is answered or its client goes; drop it without an answer. */
void runtime_api_hold(struct worker *w, struct httpd_req *poll);
void runtime_api_drop(struct worker *w);

struct delivery {
    const char *request_id, *invoked_arn;
    const char *trace;          /* "" = none */
    const char *client_context; /* NULL = none */
    int64_t deadline_epoch_ms;
    const void *payload;
    size_t payload_len;
};

/* The answers. */
void runtime_api_deliver(struct httpd_req *poll, const struct delivery *d);
void runtime_api_accepted(struct httpd_req *req);
void runtime_api_not_now(struct httpd_req *req, enum sup_state s, enum sup_event ev);

#endif
