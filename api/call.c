/* The life of a request: head, early refusal, body, signature, handler, answer. */
#include "call.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth.h"
#include "json_in.h"
#include "route.h"
#include "runtimes.h"
#include "uri.h"

/* --- reading the request ----- */

const char *call_header(const struct call *c, const char *name)
{
    return httpd_req_header(c->req, name);
}

int call_query(const struct call *c, const char *name, char *out, size_t cap)
{
    struct slice q = httpd_req_head(c->req)->query;
    return q.p ? uri_query_get(q.p, q.len, name, out, cap) : ERR_NOTFOUND;
}

void call_check_name(struct call *c, struct check *ck, int64_t max_len)
{
    char q[SEGMENT_MAX + 1];
    int r = name_parse(c->arg, NAME_ANY, &c->fn);
    check_pattern(ck, "functionName", c->arg, r != ERR_INVALID, NAME_PATTERN);
    check_length(ck, "functionName", c->arg, 1, max_len);
    r = call_query(c, "Qualifier", q, sizeof(q));
    if (r == ERR_NOTFOUND)
        return;
    check_pattern(ck, "qualifier", q, r == 0 && qualifier_valid(q), QUALIFIER_PATTERN);
    if (r == 0)
        check_length(ck, "qualifier", q, 1, NAME_QUALIFIER_MAX);
}

int call_check_place(struct call *c, struct fault *f)
{
    char q[NAME_QUALIFIER_MAX + 1];
    struct name *n = &c->fn;
    if (call_query(c, "Qualifier", q, sizeof(q)) == 0) {
        if (*n->qualifier && strcmp(n->qualifier, q) != 0)
            return fault_set(f, FAULT_INVALID_PARAMETER,
                             "The derived qualifier from the function name does not match the specified qualifier.");
        memcpy(n->qualifier, q, sizeof(q));
    }
    if (*n->region && strcmp(n->region, c->api->region) != 0)
        return fault_set(f, FAULT_NOT_FOUND, "Functions from '%s' are not reachable in this region ('%s')", n->region,
                         c->api->region);
    if (*n->account && strcmp(n->account, c->api->account) != 0) {
        f->type = FAULT_ACCESS_DENIED; /* with a null message, as on Lambda */
        return ERR_INVALID;
    }
    return 0;
}

int call_check_runtime(const struct call *c, const char *runtime, struct fault *f)
{
    struct err e = {0};
    if (runtime == NULL)
        return 0;
    int found = dispatcher_runtime_check(c->api->d.runtimes_fd, runtime, &e);
    return runtime_check_name(runtime, found, e.text, f);
}

int call_name(struct call *c, int64_t max_len)
{
    struct check ck;
    struct fault f = {0};
    check_init(&ck);
    call_check_name(c, &ck, max_len);
    int r = check_failed(&ck) ? fault_set(&f, FAULT_VALIDATION, "%s", check_message(&ck)) : call_check_place(c, &f);
    check_done(&ck);
    if (r < 0)
        call_fault_take(c, &f);
    return r;
}

const struct function *call_function(struct call *c)
{
    const char *q = c->fn.qualifier;
    return *q && strcmp(q, "$LATEST") != 0 ? NULL : registry_get(c->api->d.registry, c->fn.name);
}

const struct function *call_must_function(struct call *c, const char *shown)
{
    char arn[ARN_MAX];
    const struct function *f = call_function(c);
    if (f)
        return f;
    arn_format(c->api->region, c->api->account, c->fn.name, *c->fn.qualifier ? c->fn.qualifier : shown, arn);
    call_fault(c, FAULT_NOT_FOUND, "Function not found: %s", arn);
    return NULL;
}

/* --- answering ----- */

void call_free(struct call *c)
{
    if (c->link) {
        *c->link = c->next;
        if (c->next)
            c->next->link = c->link;
    }
    if (c->is_verify)
        c->api->verifying = false;
    if (c->free_state)
        c->free_state(c->state);
    buf_done(&c->canonical);
    free(c);
}

/* The reply's headers into h. How many. */
static size_t reply_headers(struct httpd_header h[EXTRA_MAX + 2], const char *id, int status,
                            const struct call_extra *extra, size_t n)
{
    size_t n_h = 0;
    bool typed = false;
    BIDE_ASSERT(n <= EXTRA_MAX, "%zu headers", n);
    h[n_h++] = (struct httpd_header){"x-amzn-RequestId", id};
    for (size_t i = 0; i < n; i++) {
        h[n_h++] = (struct httpd_header){extra[i].name, extra[i].value};
        typed = typed || strcmp(extra[i].name, "Content-Type") == 0;
    }
    if (status != 204 && !typed)
        h[n_h++] = (struct httpd_header){"Content-Type", "application/json"};
    return n_h;
}

static void send_reply(struct api *a, struct httpd_req *req, const char *id, int status, const struct call_extra *extra,
                       size_t n, const void *body, size_t len)
{
    struct httpd_header h[EXTRA_MAX + 2];
    size_t n_h = reply_headers(h, id, status, extra, n);
    tally_answer(&a->tally, status);
    httpd_reply(req, status, h, n_h, body, len);
}

void call_reply(struct call *c, int status, const struct call_extra *extra, size_t n, const void *body, size_t len)
{
    send_reply(c->api, c->req, c->id_text, status, extra, n, body, len);
    call_free(c);
}

void call_reply_empty(struct call *c, int status)
{
    call_reply(c, status, NULL, 0, NULL, 0);
}

void call_reply_start(struct call *c, int status, const struct call_extra *extra, size_t n)
{
    struct httpd_header h[EXTRA_MAX + 2];
    size_t n_h = reply_headers(h, c->id_text, status, extra, n);
    tally_answer(&c->api->tally, status);
    httpd_reply_start(c->req, status, h, n_h);
}

void call_reply_end(struct call *c)
{
    httpd_reply_end(c->req);
    call_free(c);
}

void call_reply_abort(struct call *c)
{
    httpd_reply_abort(c->req);
    call_free(c);
}

void call_json(struct buf *b, struct json_out *o)
{
    buf_init(b, REPLY_MAX);
    out_init(o, b);
}

void call_reply_json(struct call *c, int status, struct json_out *o)
{
    struct buf *b = o->b;
    if (out_error(o) < 0)
        call_fault(c, FAULT_SERVICE, "the answer could not be built: %s", err_name(out_error(o)));
    else
        call_reply(c, status, NULL, 0, b->data, b->len);
    buf_done(b);
}

const struct call_extra call_retry_soon = {"Retry-After", "1"};

static void send_fault(struct api *a, enum refusal why, struct httpd_req *req, const char *id, enum fault_type t,
                       const char *type_name, int status, const char *text, const struct call_extra *more)
{
    struct buf b;
    struct call_extra extra[2] = {{"x-amzn-ErrorType", type_name}, {NULL, NULL}};
    buf_init(&b, REPLY_MAX);
    if (more)
        extra[1] = *more;
    if (fault_body(t, text, NULL, &b) < 0)
        buf_clear(&b);
    tally_refusal(&a->tally, why);
    send_reply(a, req, id, status, extra, more ? 2 : 1, b.data, b.len);
    buf_done(&b);
}

void call_fault_take(struct call *c, struct fault *f)
{
    const struct fault_info *info = fault_info(f->type);
    send_fault(c->api, refusal_of_fault(f->type), c->req, c->id_text, f->type, info->name, info->status, f->text,
               f->type == FAULT_TOO_MANY ? &call_retry_soon : NULL);
    fault_done(f);
    call_free(c);
}

void call_fault(struct call *c, enum fault_type t, const char *fmt, ...)
{
    struct fault f = {.type = t};
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&f.text, fmt, ap) < 0)
        f.text = NULL;
    va_end(ap);
    call_fault_take(c, &f);
}

void call_error(struct call *c, int err, const struct err *e)
{
    const char *text = e && e->text[0] ? e->text : err_name(err);
    static const struct call_extra later = {"Retry-After", "10"};
    switch (err) {
    case ERR_FULL:
        send_fault(c->api, REFUSED_STORE_FULL, c->req, c->id_text, FAULT_SERVICE, fault_info(FAULT_SERVICE)->name, 500,
                   "bide has no room left on disk or in its store: nothing was stored. See bide status.", &later);
        call_free(c);
        return;
    case ERR_SHUTDOWN:
        send_fault(c->api, REFUSED_SHUTDOWN, c->req, c->id_text, FAULT_SERVICE, fault_info(FAULT_SERVICE)->name, 500,
                   "bide is shutting down", &later);
        call_free(c);
        return;
    default:
        call_fault(c, FAULT_SERVICE, "%s", text);
    }
}

/* --- waiting ----- */

void call_post(struct call *c, loop_cb *cb)
{
    int r = loop_post(c->api->d.loop, cb, c);
    if (r < 0)
        bide_no_memory("completion");
}

struct registry_wait *call_wait(struct call *c, void (*then)(struct registry_wait *w))
{
    struct registry_wait *w = calloc(1, sizeof(*w));
    if (!w) {
        call_error(c, ERR_NOMEM, NULL);
        return NULL;
    }
    w->c = c;
    w->then = then;
    return w;
}

static void run_then(void *arg)
{
    struct registry_wait *w = arg;
    w->then(w);
    function_unref(w->f);
    free(w);
}

void call_on_registry(int err, const struct err *e, const struct function *f, void *arg)
{
    struct registry_wait *w = arg;
    w->err = err;
    if (e)
        w->e = *e;
    w->f = f ? function_ref(f) : NULL;
    int r = loop_post(w->c->api->d.loop, run_then, w);
    if (r < 0)
        bide_no_memory("completion");
}

void call_started(struct registry_wait *w, int rc)
{
    if (rc == 0)
        return;
    w->err = rc;
    (void)err_set(&w->e, rc, "%s", err_name(rc));
    run_then(w);
}

/* --- the request comes in ----- */

static void deny(struct call *c, const struct sigv4_fail *fail)
{
    send_fault(c->api, REFUSED_SIGNATURE, c->req, c->id_text, FAULT_VALIDATION, fail->type, 403, fail->message, NULL);
    call_free(c);
}

static bool is_event(struct httpd_req *req)
{
    const char *type = httpd_req_header(req, "x-amz-invocation-type");
    return type && strcmp(type, "Event") == 0;
}

static uint64_t body_max(const struct api *a, const struct route *r, struct httpd_req *req)
{
    if (r->flags & ROUTE_PAYLOAD)
        return is_event(req) ? a->max_event_payload : INVOKE_BODY_MAX;
    if (r->flags & ROUTE_LETTERS)
        return LETTERS_BODY_MAX;
    if (r->flags & ROUTE_EVENTS)
        return EVENTS_BODY_MAX;
    return r->flags & ROUTE_CODE ? CODE_BODY_MAX : CONTROL_BODY_MAX;
}

/* What Lambda says about a body over its cap. n: its length, 0 when it is not known. */
static void too_large_text(const struct api *a, const struct route *r, struct httpd_req *req, uint64_t n, char *out,
                           size_t cap)
{
    uint64_t max = body_max(a, r, req);
    if ((r->flags & ROUTE_PAYLOAD) && is_event(req))
        (void)snprintf(out, cap,
                       "%" PRIu64 " byte payload is too large for the Event invocation type (limit %" PRIu64 " bytes)",
                       n ? n : max + 1, max);
    else
        (void)snprintf(out, cap, "Request must be smaller than %" PRIu64 " bytes for the %s operation", max,
                       r->flags & ROUTE_PAYLOAD ? "InvokeFunction" : r->operation);
}

/* The hash for the signature, and for events whether they are JSON. The loop's thread for short bodies, else a worker.
 */
static void prepare(void *arg)
{
    struct call *c = arg;
    if (c->must_verify)
        sha256_sum(c->body, c->body_len, c->body_hash);
    if (c->route->flags & ROUTE_PAYLOAD) {
        c->payload_err = json_check_payload(c->body, c->body_len, &c->payload_detail);
        c->payload_checked = true;
    }
}

static void on_prepared(void *arg)
{
    struct call *c = arg;
    struct sigv4_fail fail;
    if (auth_body(c, &fail) < 0)
        deny(c, &fail);
    else
        c->route->handler(c);
}

static void on_body(struct httpd_req *req, int how, void *arg)
{
    struct call *c = arg;
    if (how != HTTPD_BODY_WHOLE) {
        call_free(c); /* the client has gone, or the server answers in our place */
        return;
    }
    struct slice b = httpd_req_body(req);
    c->body = b.p;
    c->body_len = b.len;
    if (c->body_len <= INLINE_BODY_MAX) {
        prepare(c);
        on_prepared(c);
        return;
    }
    if (pool_submit(c->api->pool, POOL_WORK, prepare, on_prepared, NULL, c) < 0)
        call_fault(c, FAULT_TOO_MANY, "Too many large requests at a time; try again.");
}

static struct call *call_new(struct api *a, struct httpd_req *req)
{
    struct call *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->api = a;
    c->req = req;
    c->began_us = clock_mono_us();
    c->id = id_new(a->d.ids, clock_now_ms(a->d.clock));
    id_format(&c->id, c->id_text);
    buf_init(&c->canonical, 64 * 1024);
    c->next = a->calls;
    c->link = &a->calls;
    if (c->next)
        c->next->link = &c->next;
    a->calls = c;
    return c;
}

void call_on_head(struct httpd_req *req, void *arg)
{
    struct api *a = arg;
    const struct http1_request *head = httpd_req_head(req);
    struct sigv4_fail fail;
    char text[160];
    int r;
    struct call *c = call_new(a, req);
    if (!c) {
        httpd_reply_abort(req);
        return;
    }
    c->route = route_find(head->method, head->path, c->arg, &r);
    if (!c->route) {
        call_fault(c, FAULT_UNKNOWN_OPERATION, "There is no such operation.");
        return;
    }
    if (r < 0) {
        call_fault(
            c, FAULT_VALIDATION,
            "1 validation error detected: Value at 'functionName' failed to satisfy constraint: Member must have "
            "length less than or equal to %d",
            NAME_TEXT_MAX);
        return;
    }
    if (auth_head(c, &fail) < 0) {
        deny(c, &fail);
        return;
    }
    if (head->has_length && head->content_length > body_max(a, c->route, req)) {
        too_large_text(a, c->route, req, head->content_length, text, sizeof(text));
        call_fault(c, FAULT_TOO_LARGE, "%s", text);
        return;
    }
    httpd_req_collect(req, body_max(a, c->route, req), on_body, c);
}

/* Refusals of the server's own. The call, if there was one, has had or will have its on_body. */
void call_on_refuse(struct httpd_req *req, int status, const char *reason, void *arg)
{
    static const struct {
        int status;
        const char *type;
    } rows[] = {
        {408, "RequestTimeoutException"},
        {411, "LengthRequiredException"},
        {413, "RequestEntityTooLargeException"},
        {414, "RequestUriTooLargeException"},
        {431, "RequestHeaderSectionTooLargeException"},
        {405, "UnknownOperationException"},
        {501, "UnknownOperationException"},
    };
    struct api *a = arg;
    const struct http1_request *head = httpd_req_head(req);
    const char *type = "BadRequestException";
    char id_text[ID_TEXT_LEN + 1], ignored[SEGMENT_MAX + 1], text[160];
    int r;
    struct id id = id_new(a->d.ids, clock_now_ms(a->d.clock));
    id_format(&id, id_text);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].status == status)
            type = rows[i].type;
    const struct route *route =
        status == 413 && head->path.p ? route_find(head->method, head->path, ignored, &r) : NULL;
    if (route) {
        too_large_text(a, route, req, 0, text, sizeof(text));
        reason = text;
    }
    send_fault(a, refusal_of_status(status), req, id_text, FAULT_VALIDATION, type, status, reason, NULL);
}
