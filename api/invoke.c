/* Invoke: synchronous, asynchronous and dry (Lambda: section 4). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "invoke.h"
#include "json_in.h"
#include "route.h"

enum { NAME_LEN_MAX = 170, CONTEXT_MAX = 3583 };

enum invoke_type { REQUEST_RESPONSE, EVENT, DRY_RUN };

/* What the headers ask for. */
struct wish {
    enum invoke_type type;
    bool want_log;
    const char *context; /* base64; NULL: none */
    const char *trace;
    char made_trace[INVOKE_TRACE_MADE_MAX];
};

/* Created when the client sent none; the request's own id is random enough to serve. */
static void make_trace(const struct call *c, char out[INVOKE_TRACE_MADE_MAX])
{
    char hex[2 * sizeof(c->id.b) + 1];
    hex_encode(c->id.b, sizeof(c->id.b), hex);
    (void)snprintf(out, INVOKE_TRACE_MADE_MAX, "Root=1-%08" PRIx64 "-%.24s;Parent=%.16s;Sampled=0",
                   (uint64_t)clock_real_ms() / 1000, hex + 8, hex + 16);
}

const char *invoke_trace(struct call *c, char made[INVOKE_TRACE_MADE_MAX])
{
    const char *given = call_header(c, "x-amzn-trace-id");
    if (given && *given && strlen(given) <= QUEUE_TRACE_MAX)
        return given;
    make_trace(c, made);
    return made;
}

static void read_wish(struct call *c, struct wish *w, struct check *ck)
{
    const char *type = call_header(c, "x-amz-invocation-type");
    const char *log = call_header(c, "x-amz-log-type");
    w->type = REQUEST_RESPONSE;
    if (type && strcmp(type, "Event") == 0)
        w->type = EVENT;
    else if (type && strcmp(type, "DryRun") == 0)
        w->type = DRY_RUN;
    else if (type)
        check_enum(ck, "invocationType", type, strcmp(type, "RequestResponse") == 0, "Event, RequestResponse, DryRun");
    if (log)
        check_enum(ck, "logType", log, strcmp(log, "None") == 0 || strcmp(log, "Tail") == 0, "None, Tail");
    w->want_log = log && strcmp(log, "Tail") == 0;
    w->context = call_header(c, "x-amz-client-context");
    if (w->context && !*w->context)
        w->context = NULL;
    w->trace = invoke_trace(c, w->made_trace);
}

/* --- asynchronous ----- */

static void answer_event(void *arg)
{
    struct call *c = arg;
    if (c->result < 0) {
        call_error(c, c->result, NULL);
    } else {
        hist_add(&c->api->tally.accept_us, clock_mono_us() - c->began_us);
        call_reply_empty(c, 202);
    }
}

/* The store thread: the event is on disk, or was refused. */
static void on_accepted(int err, const struct event *ev, void *arg)
{
    struct call *c = arg;
    (void)ev;
    c->result = err;
    call_post(c, answer_event);
}

static void invoke_event(struct call *c, const struct function *f, const struct wish *w)
{
    struct queue_new in = {
        .id = c->id,
        .fid = f->fid,
        .name = f->name,
        .qualifier = c->fn.qualifier,
        .trace = w->trace,
        .payload = c->body,
        .payload_len = c->body_len,
    };
    int r = queue_accept(c->api->d.queue, &in, on_accepted, c);
    if (r < 0)
        call_error(c, r, NULL);
}

/* --- synchronous ----- */

struct sync {
    struct call *c;
    uint64_t call; /* the dispatcher's name for it */
    enum invoke_end end;
    char *body;
    size_t body_len;
    struct buf log; /* base64 */
    char version[32];
    char *why;
};

static void free_sync(void *arg)
{
    struct sync *s = arg;
    buf_done(&s->log);
    free(s->body);
    free(s->why);
    free(s);
}

static void answer_throttled(struct call *c, const char *reason)
{
    struct buf b;
    struct call_extra extra[2] = {{"x-amzn-ErrorType", fault_info(FAULT_TOO_MANY)->name}, call_retry_soon};
    buf_init(&b, 1024);
    int r = fault_body(FAULT_TOO_MANY, "Rate Exceeded.", reason, &b);
    if (r < 0) {
        call_error(c, r, NULL);
    } else {
        tally_refusal(&c->api->tally, REFUSED_THROTTLED);
        call_reply(c, fault_info(FAULT_TOO_MANY)->status, extra, 2, b.data, b.len);
    }
    buf_done(&b);
}

static void answer_sync(void *arg)
{
    struct call *c = arg;
    struct sync *s = c->state;
    struct call_extra extra[3];
    size_t n = 0;
    switch (s->end) {
    case INVOKE_THROTTLED_RESERVED:
        answer_throttled(c, "ReservedFunctionConcurrentInvocationLimitExceeded");
        return;
    case INVOKE_THROTTLED_ACCOUNT:
        answer_throttled(c, "ConcurrentInvocationLimitExceeded");
        return;
    case INVOKE_FAILED:
        call_fault(c, FAULT_SERVICE, "%s", s->why ? s->why : "The function could not be run.");
        return;
    case INVOKE_FUNCTION_ERROR:
        extra[n++] = (struct call_extra){"X-Amz-Function-Error", "Unhandled"};
        break;
    case INVOKE_OK:
        break;
    }
    extra[n++] = (struct call_extra){"X-Amz-Executed-Version", s->version};
    if (s->log.len)
        extra[n++] = (struct call_extra){"X-Amz-Log-Result", s->log.data};
    call_reply(c, 200, extra, n, s->body, s->body_len);
}

/* The dispatcher's thread: keep a copy and go home with it. */
static void on_answer(const struct invoke_answer *a, void *arg)
{
    struct sync *s = arg;
    s->end = a->end;
    s->body = malloc(a->body_len + 1);
    if (s->body && a->body_len)
        memcpy(s->body, a->body, a->body_len);
    s->body_len = a->body_len;
    (void)snprintf(s->version, sizeof(s->version), "%s", a->version ? a->version : "$LATEST");
    if (a->why)
        s->why = strdup(a->why);
    if (a->log_tail_len && base64_encode(a->log_tail, a->log_tail_len, &s->log) < 0)
        buf_clear(&s->log); /* the answer matters more than its log */
    if (!s->body)
        s->end = INVOKE_FAILED;
    call_post(s->c, answer_sync);
}

static void on_client_gone(struct httpd_req *req, void *arg)
{
    struct sync *s = arg;
    (void)req;
    dispatcher_invoke_abandon(s->c->api->d.dispatcher, s->call);
}

/* The client's context: base64 of a JSON object. */
static int decode_context(const struct wish *w, struct buf *out)
{
    struct json_in in;
    if (!w->context)
        return 0;
    size_t len = strlen(w->context);
    if (len > CONTEXT_MAX || base64_decode(w->context, len, out) < 0 ||
        json_in_parse(&in, out->data, out->len, NULL) < 0)
        return ERR_INVALID;
    json_in_done(&in);
    return 0;
}

static void invoke_sync(struct call *c, const struct function *f, const struct wish *w)
{
    struct buf context;
    buf_init(&context, CONTEXT_MAX);
    struct sync *s = calloc(1, sizeof(*s));
    if (!s) {
        call_error(c, ERR_NOMEM, NULL);
        return;
    }
    s->c = c;
    buf_init(&s->log, 8192);
    c->state = s;
    c->free_state = free_sync;
    if (decode_context(w, &context) < 0) {
        call_fault(c, FAULT_INVALID_CONTENT, "Client context must be a valid Base64-encoded JSON object.");
        buf_done(&context);
        return;
    }
    struct invoke_call ic = {
        .fn = f,
        .id = c->id,
        .qualifier = c->fn.qualifier,
        .trace = w->trace,
        .client_context = context.len ? context.data : NULL,
        .payload = c->body,
        .payload_len = c->body_len,
        .want_log = w->want_log,
    };
    int r = dispatcher_invoke(c->api->d.dispatcher, &ic, on_answer, s, &s->call);
    buf_done(&context);
    if (r < 0)
        call_error(c, r, NULL);
    else
        httpd_req_on_close(c->req, on_client_gone, s);
}

/* --- both ----- */

const struct function *invoke_function(struct call *c, struct check *ck)
{
    static const char *const states[] = {"Pending", "Active", "Failed"};
    struct fault fault = {0};
    int r =
        check_failed(ck) ? fault_set(&fault, FAULT_VALIDATION, "%s", check_message(ck)) : call_check_place(c, &fault);
    check_done(ck);
    if (r < 0) {
        call_fault_take(c, &fault);
        return NULL;
    }
    const struct function *f = call_must_function(c, "$LATEST");
    if (f && f->state != FUNCTION_ACTIVE) {
        call_fault(
            c, FAULT_CONFLICT,
            "The operation cannot be performed at this time. The function is currently in the following state: %s",
            states[f->state]);
        function_unref(f);
        return NULL;
    }
    return f;
}

void invoke_check(struct call *c, struct check *ck)
{
    check_init(ck);
    call_check_name(c, ck, NAME_LEN_MAX);
}

void invoke_handle(struct call *c)
{
    struct check ck;
    struct wish w;
    invoke_check(c, &ck);
    read_wish(c, &w, &ck);
    const struct function *f = invoke_function(c, &ck);
    if (!f)
        return;
    if (c->payload_err < 0)
        call_fault(c, FAULT_INVALID_CONTENT,
                   "Could not parse request body into json: Could not parse payload into json: %s",
                   c->payload_detail.text);
    else if (w.type == DRY_RUN)
        call_reply_empty(c, 204);
    else if (w.type == EVENT)
        invoke_event(c, f, &w);
    else
        invoke_sync(c, f, &w);
    function_unref(f);
}
