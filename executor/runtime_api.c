#include "runtime_api.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "invocation.h"
#include "worker.h"

enum {
    MINUTE_MS = 60 * 1000,
    CONNS_MAX = 64,
    INFLIGHT_MAX = 16 * 1024 * 1024,
    TRAILER_BODY_MAX = 8192,
};

static void reply_json(struct httpd_req *req, int status, const char *body, size_t len)
{
    static const struct httpd_header json = {"Content-Type", "application/json"};
    httpd_reply(req, status, &json, 1, body, len);
}

static void reply_error(struct httpd_req *req, int status, const char *type, const char *message)
{
    char body[512];
    int n = snprintf(body, sizeof body, "{\"errorMessage\":\"%s\",\"errorType\":\"%s\"}", message, type);
    reply_json(req, status, body, (size_t)n);
}

void runtime_api_accepted(struct httpd_req *req)
{
    static const char ok[] = "{\"status\":\"OK\"}";
    reply_json(req, 202, ok, sizeof ok - 1);
}

void runtime_api_not_now(struct httpd_req *req, enum sup_state s, enum sup_event ev)
{
    char message[160];
    (void)snprintf(message, sizeof message,
                   "State transition from %s to %s failed for runtime. Error: State transition is not allowed",
                   supervise_state_name(s), ev == SUP_EV_NEXT ? "Ready" : "ResponseSent");
    reply_error(req, 403, "InvalidStateTransition", message);
}

void runtime_api_deliver(struct httpd_req *poll, const struct delivery *d)
{
    char deadline[24];
    struct httpd_header h[8];
    size_t n = 0;
    (void)snprintf(deadline, sizeof deadline, "%" PRId64, d->deadline_epoch_ms);
    h[n++] = (struct httpd_header){"Content-Type", "application/json"};
    h[n++] = (struct httpd_header){"Lambda-Runtime-Aws-Request-Id", d->request_id};
    h[n++] = (struct httpd_header){"Lambda-Runtime-Deadline-Ms", deadline};
    h[n++] = (struct httpd_header){"Lambda-Runtime-Invoked-Function-Arn", d->invoked_arn};
    if (d->trace[0] != '\0')
        h[n++] = (struct httpd_header){"Lambda-Runtime-Trace-Id", d->trace};
    if (d->client_context != NULL)
        h[n++] = (struct httpd_header){"Lambda-Runtime-Client-Context", d->client_context};
    httpd_req_on_close(poll, NULL, NULL);
    httpd_reply(poll, 200, h, n, d->payload, d->payload_len);
}

/* --- the request for work ----------------------------------------------------------------------------------------- */

static void poll_gone(struct httpd_req *req, void *arg)
{
    struct worker *w = arg;
    w->poll = NULL;
    httpd_reply_abort(req);
}

void runtime_api_hold(struct worker *w, struct httpd_req *poll)
{
    w->poll = poll;
    httpd_req_on_close(poll, poll_gone, w);
}

void runtime_api_drop(struct worker *w)
{
    struct httpd_req *poll = w->poll;
    if (poll == NULL)
        return;
    w->poll = NULL;
    httpd_req_on_close(poll, NULL, NULL);
    httpd_reply_abort(poll);
}

/* --- what the runtime posts --------------------------------------------------------------------------------------- */

static const char *const error_type_header = "Lambda-Runtime-Function-Error-Type";

/* A streamed response that failed midway says so in its trailers, the error object in base64. */
static bool streamed_error(struct httpd_req *req, struct buf *body, const char **ret_type)
{
    const struct http1_request *rq = httpd_req_head(req);
    const struct http1_field *type = http1_find(rq->trailers, rq->n_trailers, error_type_header);
    const struct http1_field *text = http1_find(rq->trailers, rq->n_trailers, "Lambda-Runtime-Function-Error-Body");
    if (type == NULL && text == NULL)
        return false;
    *ret_type = type != NULL ? type->value : NULL;
    if (text != NULL && base64_decode(text->value, text->value_len, body) < 0)
        buf_clear(body);
    return true;
}

static void posted(struct httpd_req *req, int how, enum sup_event ev)
{
    struct worker *w = httpd_req_tag(req);
    struct happening h = {.req = how == HTTPD_BODY_WHOLE ? req : NULL,
                          .error_type = httpd_req_header(req, error_type_header)};
    struct buf trailer;
    w->posting--;
    if (how != HTTPD_BODY_WHOLE && how != 413)
        return; /* cut short: it is not an answer; the time limit or the exit will settle the invocation */
    if (how == HTTPD_BODY_WHOLE) {
        h.body = httpd_req_body(req).p;
        h.body_len = httpd_req_body(req).len;
    }
    h.too_large = how == 413;
    buf_init(&trailer, TRAILER_BODY_MAX);
    if (how == HTTPD_BODY_WHOLE && ev == SUP_EV_RESPONSE && streamed_error(req, &trailer, &h.error_type)) {
        ev = SUP_EV_ERROR;
        h.body = trailer.data;
        h.body_len = trailer.len;
    }
    worker_happen(w, ev, &h);
    buf_done(&trailer);
}

/* The invocation may have ended while the body came in. */
static void posted_for_id(struct httpd_req *req, int how, enum sup_event ev)
{
    struct worker *w = httpd_req_tag(req);
    if (httpd_req_data(req) == (void *)(uintptr_t)w->token && invocation_current_id(w)[0] != '\0') {
        posted(req, how, ev);
        return;
    }
    w->posting--;
    if (how == HTTPD_BODY_WHOLE)
        reply_error(req, 400, "InvalidRequestID", "Invalid request ID");
}

static void on_response(struct httpd_req *req, int how, void *arg)
{
    (void)arg;
    posted_for_id(req, how, SUP_EV_RESPONSE);
}

static void on_error(struct httpd_req *req, int how, void *arg)
{
    (void)arg;
    posted_for_id(req, how, SUP_EV_ERROR);
}

static void on_init_error(struct httpd_req *req, int how, void *arg)
{
    (void)arg;
    posted(req, how, SUP_EV_INIT_ERROR);
}

/* One at a time: it bounds what a worker can make the engine keep. */
static void collect(struct httpd_req *req, httpd_body_cb *cb)
{
    struct worker *w = httpd_req_tag(req);
    if (w->posting > 0) {
        reply_error(req, 403, "InvalidStateTransition", "Another answer is being received");
        return;
    }
    w->posting++;
    httpd_req_collect(req, EXECUTOR_RESPONSE_MAX, cb, NULL);
}

/* --- routes ------------------------------------------------------------------------------------------------------- */

static bool path_is(struct slice path, const char *want)
{
    return path.len == strlen(want) && memcmp(path.p, want, path.len) == 0;
}

static void post_for_id(struct httpd_req *req, struct slice id, enum sup_event ev)
{
    struct worker *w = httpd_req_tag(req);
    const char *mode = httpd_req_header(req, "Lambda-Runtime-Function-Response-Mode");
    if (id.len == 0 || !path_is(id, invocation_current_id(w))) {
        reply_error(req, 400, "InvalidRequestID", "Invalid request ID");
    } else if (supervise_action(w->state, ev) == SUP_REFUSE) {
        runtime_api_not_now(req, w->state, ev);
    } else if (ev == SUP_EV_RESPONSE && mode != NULL && strcmp(mode, "streaming") != 0) {
        reply_error(req, 400, "InvalidFunctionResponseMode", "Invalid function response mode");
    } else {
        httpd_req_set_data(req, (void *)(uintptr_t)w->token);
        collect(req, ev == SUP_EV_RESPONSE ? on_response : on_error);
    }
}

/* POST {prefix}{id}/response and {prefix}{id}/error. False: another path. */
static bool route_invocation(struct httpd_req *req, struct slice path)
{
    static const char prefix[] = "/2018-06-01/runtime/invocation/";
    const char *p = path.p;
    if (path.len <= sizeof prefix - 1 || memcmp(p, prefix, sizeof prefix - 1) != 0)
        return false;
    p += sizeof prefix - 1;
    size_t len = path.len - (sizeof prefix - 1);
    const char *slash = memchr(p, '/', len);
    if (slash == NULL)
        return false;
    struct slice id = {.p = p, .len = (size_t)(slash - p)}, verb = {.p = slash, .len = len - (size_t)(slash - p)};
    if (path_is(verb, "/response"))
        post_for_id(req, id, SUP_EV_RESPONSE);
    else if (path_is(verb, "/error"))
        post_for_id(req, id, SUP_EV_ERROR);
    else
        return false;
    return true;
}

static bool route_post(struct httpd_req *req, struct slice path)
{
    if (!path_is(path, "/2018-06-01/runtime/init/error"))
        return route_invocation(req, path);
    struct worker *w = httpd_req_tag(req);
    if (supervise_action(w->state, SUP_EV_INIT_ERROR) == SUP_REFUSE)
        runtime_api_not_now(req, w->state, SUP_EV_INIT_ERROR);
    else
        collect(req, on_init_error);
    return true;
}

static bool route_get(struct httpd_req *req, struct slice path)
{
    if (path_is(path, "/2018-06-01/runtime/invocation/next")) {
        worker_happen(httpd_req_tag(req), SUP_EV_NEXT, &(struct happening){.req = req});
        return true;
    }
    if (!path_is(path, "/ping") && !path_is(path, "/2018-06-01/ping"))
        return false;
    static const struct httpd_header text = {"Content-Type", "text/plain"};
    httpd_reply(req, 200, &text, 1, "pong", 4);
    return true;
}

static void on_head(struct httpd_req *req, void *arg)
{
    (void)arg;
    const struct http1_request *rq = httpd_req_head(req);
    bool found =
        rq->method == HTTP1_GET ? route_get(req, rq->path) : rq->method == HTTP1_POST && route_post(req, rq->path);
    if (!found)
        reply_error(req, 404, "NotFound", "There is no such call in this Runtime API");
}

static void on_refused(struct httpd_req *req, int status, const char *reason, void *arg)
{
    (void)arg;
    if (status == 413) {
        char message[96];
        (void)snprintf(message, sizeof message, "Exceeded maximum allowed payload size (%d bytes).",
                       EXECUTOR_RESPONSE_MAX);
        reply_error(req, 413, "RequestEntityTooLarge", message);
    } else {
        reply_error(req, status, status == 408 ? "TruncatedHTTPRequest" : "InvalidRequest", reason);
    }
}

/* A worker's connections are its own affair: slow or silent ones hurt nobody but it, and end with its box. The times
 * are above the longest time limit of a function, 15 minutes. */
int runtime_api_new(struct loop *l, struct httpd **ret, struct err *e)
{
    struct httpd_limits lim;
    httpd_limits_default(&lim);
    lim.max_conns = CONNS_MAX;
    lim.max_pipelined = 4;
    lim.max_inflight_bytes = INFLIGHT_MAX;
    lim.request_ms = 16 * MINUTE_MS;
    lim.write_stall_ms = 16 * MINUTE_MS;
    lim.idle_ms = 24 * 60 * MINUTE_MS; /* a handler may run for its whole limit between two requests */
    return httpd_new(l, &lim, on_head, on_refused, NULL, ret, e);
}
