/* Cancelling events and trying them now: one, or all of a function, chunk by chunk. */
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "json_in.h"
#include "route.h"

enum { NAME_LEN_MAX = 140, CHUNK = 1000 /* events in one transaction */ };

struct sweep {
    struct call *c;
    bool retry;
    char function[FUNCTION_NAME_MAX + 1];
    struct queue_sweep at; /* of many */
    uint64_t n, flagged, corrupt;
    struct id id; /* of one */
    struct event ev;
    int err;
};

/* --- all of a function ----- */

static void answer_many(struct sweep *x)
{
    struct call *c = x->c;
    struct buf b;
    struct json_out o;
    if (x->err < 0) {
        call_error(c, x->err, NULL);
        return;
    }
    call_json(&b, &o);
    out_begin(&o, NULL, '{');
    out_str(&o, "function", x->function);
    out_uint(&o, x->retry ? "retried" : "cancelled", x->n);
    if (!x->retry)
        out_uint(&o, "cancelling", x->flagged);
    out_uint(&o, "corrupt", x->corrupt);
    out_end(&o, '}');
    call_reply_json(c, 200, &o);
}

static void many_next(struct sweep *x);

/* The loop's thread, after each chunk. A client that went away stops it between two chunks. */
static void many_after(void *arg)
{
    struct call *c = arg;
    struct sweep *x = c->state;
    if (x->err < 0 || !x->at.more || httpd_req_gone(c->req))
        answer_many(x);
    else
        many_next(x);
}

static void on_chunk(int err, const struct queue_sweep *at, void *arg)
{
    struct sweep *x = arg;
    x->err = err;
    if (err == 0) {
        x->at = *at;
        x->n += at->n;
        x->flagged += at->flagged;
        x->corrupt += at->corrupt;
    }
    call_post(x->c, many_after);
}

static void many_next(struct sweep *x)
{
    struct queue *q = x->c->api->d.queue;
    int r =
        x->retry ? queue_retry_chunk(q, &x->at, CHUNK, on_chunk, x) : queue_cancel_chunk(q, &x->at, CHUNK, on_chunk, x);
    if (r < 0)
        call_error(x->c, r, NULL);
}

static struct sweep *sweep_new(struct call *c, bool retry)
{
    struct sweep *x = calloc(1, sizeof(*x));
    if (!x) {
        call_error(c, ERR_NOMEM, NULL);
        return NULL;
    }
    x->c = c;
    x->retry = retry;
    c->state = x;
    c->free_state = free;
    return x;
}

void bide_function_purge(struct call *c)
{
    const struct function *f = call_name(c, NAME_LEN_MAX) == 0 ? call_must_function(c, "") : NULL;
    struct sweep *x = f ? sweep_new(c, false) : NULL;
    if (x) {
        memcpy(x->function, f->name, sizeof(x->function));
        x->at = (struct queue_sweep){.fid = f->fid, .queued = true, .waiting = true};
        many_next(x);
    }
    function_unref(f);
}

/* --- one event ----- */

/* Why nothing was done, with what to do instead. */
static void refuse_one(struct sweep *x)
{
    const struct event *ev = &x->ev;
    char id[ID_TEXT_LEN + 1], as[ID_TEXT_LEN + 1];
    id_format(&ev->id, id);
    id_format(&ev->replayed_as, as);
    switch (ev->state) {
    case EVENT_QUEUED:
        call_fault(x->c, FAULT_CONFLICT, "Event %s is queued already.", id);
        return;
    case EVENT_RUNNING:
        call_fault(x->c, FAULT_CONFLICT, "Event %s is running now%s.", id,
                   ev->cancel_asked ? ", and is being cancelled" : "");
        return;
    case EVENT_WAITING:
        call_fault(x->c, FAULT_CONFLICT,
                   "Event %s has failed for good (%s) and waits for room among the dead letters: see dlq.max_bytes.",
                   id, condition_name(ev->condition));
        return;
    case EVENT_DEAD:
        call_fault(x->c, FAULT_CONFLICT,
                   x->retry ? "Event %s is dead (%s): `bide dlq replay` puts it back as a new event."
                            : "Event %s is dead (%s): `bide dlq rm` removes it.",
                   id, condition_name(ev->condition));
        return;
    case EVENT_REPLAYED:
        call_fault(x->c, FAULT_CONFLICT, "Event %s is dead and was replayed as %s.", id, as);
        return;
    case EVENT_CANCELLED:
        call_fault(x->c, FAULT_CONFLICT, "Event %s was cancelled.", id);
        return;
    case EVENT_DONE:
        call_fault(x->c, FAULT_CONFLICT, "Event %s is done already.", id);
        return;
    case EVENT_NONE:
    case EVENT_REMOVED:
    case EVENT_STATES:
        break;
    }
    call_error(x->c, x->err, NULL);
}

static void answer_one(void *arg)
{
    struct call *c = arg;
    struct sweep *x = c->state;
    struct buf b;
    struct json_out o;
    char id[ID_TEXT_LEN + 1];
    id_format(&x->id, id);
    if (x->err == ERR_CONFLICT) {
        refuse_one(x);
    } else if (x->err == ERR_NOTFOUND) {
        call_fault(c, FAULT_NOT_FOUND, "Event not found: %s (synchronous calls are not events)", id);
    } else if (x->err < 0) {
        call_error(c, x->err, NULL);
    } else {
        call_json(&b, &o);
        out_begin(&o, NULL, '{');
        build_put_event(&o, &x->ev);
        out_end(&o, '}');
        call_reply_json(c, 200, &o);
    }
}

static void on_one(int err, const struct event *ev, void *arg)
{
    struct sweep *x = arg;
    x->err = err;
    x->ev = *ev;
    call_post(x->c, answer_one);
}

static void one(struct sweep *x)
{
    struct queue *q = x->c->api->d.queue;
    int r = x->retry ? queue_retry(q, &x->id, on_one, x) : queue_cancel(q, &x->id, on_one, x);
    if (r < 0)
        call_error(x->c, r, NULL);
}

/* --- what a request names ----- */

static int read_state(struct sweep *x, const char *state, struct fault *f)
{
    bool all = state == NULL;
    x->at.queued = all || strcmp(state, event_state_name(EVENT_QUEUED)) == 0;
    x->at.running = all || strcmp(state, event_state_name(EVENT_RUNNING)) == 0;
    x->at.waiting = all || strcmp(state, event_state_name(EVENT_WAITING)) == 0;
    if (x->at.queued || x->at.running || x->at.waiting)
        return 0;
    return fault_set(f, FAULT_VALIDATION, "'%.40s' is not a state to cancel in: queued, running or waiting", state);
}

static int read_selection(struct sweep *x, struct json_in *in, struct fault *f)
{
    const char *id = json_in_str(in, in->root, "id");
    const char *function = json_in_str(in, in->root, "function");
    const char *state = json_in_str(in, in->root, "state");
    if (in->type.code < 0)
        return fault_set(f, FAULT_SERIALIZATION, "%s", in->type.text);
    if ((id != NULL) + (function != NULL) != 1)
        return fault_set(f, FAULT_VALIDATION, "give \"id\" or \"function\"");
    if (id && id_parse(id, strlen(id), &x->id) < 0)
        return fault_set(f, FAULT_VALIDATION, "'%.80s' is not an event id", id);
    if (state && (id || x->retry))
        return fault_set(f, FAULT_VALIDATION, "\"state\" belongs to the cancelling of a function's events");
    if (id)
        return 0;
    const struct function *fn = registry_get(x->c->api->d.registry, function);
    if (!fn)
        return fault_set(f, FAULT_NOT_FOUND, "Function not found: %.80s", function);
    memcpy(x->function, fn->name, sizeof(x->function));
    x->at.fid = fn->fid;
    function_unref(fn);
    return read_state(x, state, f);
}

static void selection(struct call *c, bool retry)
{
    struct json_in in;
    struct fault f = {0};
    struct err e;
    struct sweep *x = sweep_new(c, retry);
    if (!x)
        return;
    int r = json_in_parse(&in, c->body, c->body_len, &e);
    if (r < 0) {
        r = fault_set(&f, FAULT_INVALID_CONTENT, "Could not parse request body into json: %s", e.text);
    } else {
        r = read_selection(x, &in, &f);
        json_in_done(&in);
    }
    if (r < 0)
        call_fault_take(c, &f);
    else if (*x->function)
        many_next(x);
    else
        one(x);
}

void bide_events_cancel(struct call *c)
{
    selection(c, false);
}

void bide_events_retry(struct call *c)
{
    selection(c, true);
}
