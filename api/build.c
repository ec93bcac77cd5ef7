#include "build.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "json_in.h"

struct build {
    struct call *c;
    build_cb *build;
    const char *content_type;
    struct buf b;
    struct json_out o;
    struct fault fault;
};

static void free_build(void *arg)
{
    struct build *x = arg;
    buf_done(&x->b);
    fault_done(&x->fault);
    free(x);
}

static void run_build(void *arg)
{
    struct build *x = arg;
    x->build(x->c, &x->o, &x->fault);
}

static void on_built(void *arg)
{
    struct build *x = arg;
    struct fault f = x->fault;
    x->fault = (struct fault){0};
    if (f.type == FAULT_NONE && out_error(&x->o) == 0) {
        struct call_extra type = {"Content-Type", x->content_type};
        call_reply(x->c, 200, &type, 1, x->b.data, x->b.len);
        return;
    }
    if (f.type == FAULT_NONE)
        (void)fault_set(&f, FAULT_SERVICE, "the answer could not be built: %s", err_name(out_error(&x->o)));
    call_fault_take(x->c, &f);
}

void build_answer(struct call *c, build_cb *build)
{
    build_answer_as(c, build, "application/json", REPLY_MAX);
}

void build_answer_as(struct call *c, build_cb *build, const char *content_type, size_t max)
{
    struct build *x = calloc(1, sizeof(*x));
    if (!x) {
        call_error(c, ERR_NOMEM, NULL);
        return;
    }
    x->c = c;
    x->build = build;
    x->content_type = content_type;
    buf_init(&x->b, max);
    out_init(&x->o, &x->b);
    c->state = x;
    c->free_state = free_build;
    if (pool_submit(c->api->pool, POOL_READ, run_build, on_built, NULL, x) < 0)
        call_fault(c, FAULT_TOO_MANY, "Too many readers at a time; try again.");
}

/* --- the query ----- */

int build_limit(struct call *c, uint32_t usual, uint32_t max, uint32_t *ret, struct fault *f)
{
    char v[32];
    uint64_t n;
    *ret = usual;
    int r = call_query(c, "limit", v, sizeof(v));
    if (r == ERR_NOTFOUND)
        return 0;
    if (r < 0 || num_parse_u64(v, strlen(v), &n) < 0 || n < 1)
        return fault_set(f, FAULT_VALIDATION, "limit must be a number from 1 to %u", (unsigned)max);
    *ret = n > max ? max : (uint32_t)n;
    return 0;
}

int build_page(struct call *c, uint32_t *ret_limit, uint64_t *ret_cursor, struct fault *f)
{
    char v[32];
    *ret_cursor = 0;
    if (build_limit(c, BUILD_PAGE, BUILD_PAGE_MAX, ret_limit, f) < 0)
        return ERR_INVALID;
    int r = call_query(c, "cursor", v, sizeof(v));
    if (r != ERR_NOTFOUND && (r < 0 || num_parse_u64(v, strlen(v), ret_cursor) < 0))
        return fault_set(f, FAULT_VALIDATION, "cursor is not one that was given out");
    return 0;
}

int build_filter(struct call *c, const char *name, char *out, size_t cap, struct fault *f)
{
    int r = call_query(c, name, out, cap);
    if (r == ERR_NOTFOUND) {
        *out = '\0';
        return 0;
    }
    return r < 0 ? fault_set(f, FAULT_VALIDATION, "%s is malformed or too long", name) : 0;
}

static int read_moment(struct call *c, const char *name, int64_t *ret, struct fault *f)
{
    char v[64];
    *ret = 0;
    int r = build_filter(c, name, v, sizeof(v), f);
    if (r < 0 || !*v)
        return r;
    if (clock_parse_when(v, strlen(v), clock_now_ms(c->api->d.clock), ret) == 0)
        return 0;
    return fault_set(f, FAULT_VALIDATION, "%s is neither a duration (2h) nor a time (2026-01-02T03:04:05Z): '%s'", name,
                     v);
}

int build_times(struct call *c, int64_t *ret_since_ms, int64_t *ret_until_ms, struct fault *f)
{
    int r = read_moment(c, "since", ret_since_ms, f);
    return r < 0 ? r : read_moment(c, "until", ret_until_ms, f);
}

int build_id(struct call *c, struct id *ret, struct fault *f)
{
    if (id_parse(c->arg, strlen(c->arg), ret) < 0)
        return fault_set(f, FAULT_VALIDATION, "'%s' is not an event id", c->arg);
    return 0;
}

/* --- the answer ----- */

void build_put_id(struct json_out *o, const char *key, const struct id *id)
{
    char text[ID_TEXT_LEN + 1];
    if (id_is_zero(id)) {
        out_null(o, key);
        return;
    }
    id_format(id, text);
    out_str(o, key, text);
}

void build_put_cursor(struct json_out *o, uint64_t cursor)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, cursor);
    out_str(o, "cursor", cursor ? text : NULL);
}

static void put_time(struct json_out *o, const char *key, int64_t ms)
{
    if (ms > 0)
        out_int(o, key, ms);
    else
        out_null(o, key);
}

void build_put_event(struct json_out *o, const struct event *ev)
{
    build_put_id(o, "id", &ev->id);
    out_str(o, "function", ev->name);
    out_str(o, "qualifier", *ev->qualifier ? ev->qualifier : NULL);
    out_str(o, "state", event_state_name(ev->state));
    out_int(o, "accepted_at_ms", ev->accepted_at_ms);
    if (ev->state == EVENT_WAITING) {
        out_int(o, "due_at_ms", ev->due_at_ms);
        out_int(o, "wait_ms", ev->wait_ms);
    }
    put_time(o, "started_at_ms", ev->started_at_ms);
    put_time(o, "ended_at_ms", ev->ended_at_ms);
    out_uint(o, "attempt_count", ev->attempts);
    out_uint(o, "disruptions", ev->disruptions);
    out_uint(o, "lone_runs", ev->lone_runs);
    out_bool(o, "cancel_asked", ev->cancel_asked);
    out_uint(o, "payload_bytes", ev->payload_len);
    if (ev->condition != CONDITION_NONE)
        out_str(o, "condition", condition_name(ev->condition));
    build_put_id(o, "replay_of", &ev->replay_of);
    build_put_id(o, "replayed_as", &ev->replayed_as);
    out_str(o, "trace", *ev->trace ? ev->trace : NULL);
}

/* The error object as JSON when it is all there; cut or malformed, as text. */
static void put_error(struct json_out *o, const struct attempt *a)
{
    if (a->error_len == 0)
        out_null(o, "error");
    else if (json_check_payload(a->error, a->error_len, NULL) == 0)
        out_raw(o, "error", a->error, a->error_len);
    else
        out_strn(o, "error", a->error, a->error_len);
}

void build_put_attempt(struct json_out *o, const struct attempt *a)
{
    out_begin(o, NULL, '{');
    out_uint(o, "n", a->n);
    out_int(o, "started_at_ms", a->started_at_ms);
    out_int(o, "ended_at_ms", a->ended_at_ms);
    out_str(o, "outcome", outcome_name(a->outcome));
    out_str(o, "error_type", a->error_type && *a->error_type ? a->error_type : NULL);
    out_str(o, "error_message", a->error_message && *a->error_message ? a->error_message : NULL);
    put_error(o, a);
    if (a->exit_code >= 0)
        out_int(o, "exit_code", a->exit_code);
    else
        out_null(o, "exit_code");
    if (a->signal > 0)
        out_int(o, "signal", a->signal);
    else
        out_null(o, "signal");
    out_uint(o, "peak_kb", a->peak_kb);
    out_str(o, "version", a->version);
    if (a->log_tail_len)
        out_strn(o, "log_tail", a->log_tail, a->log_tail_len);
    else
        out_null(o, "log_tail");
    out_end(o, '}');
}

void build_put_payload(struct json_out *o, struct queue *q, uint64_t seq)
{
    struct buf b;
    buf_init(&b, REPLY_MAX);
    /* Accepted payloads are JSON, or empty, which stands for no payload. */
    if (queue_payload(q, seq, &b) == 0 && b.len > 0)
        out_raw(o, "payload", b.data, b.len);
    else
        out_null(o, "payload");
    buf_done(&b);
}
