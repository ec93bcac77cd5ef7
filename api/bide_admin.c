/* /bide/v1/clock/advance and /bide/v1/verify. */
#include <stdlib.h>

#include "build.h"
#include "json_in.h"
#include "route.h"

enum { FINDINGS_MAX = 1000 };
static const int64_t ADVANCE_MAX_MS = INT64_C(10) * 366 * 24 * 3600 * 1000; /* ten years */

/* --- the virtual clock (the design, section 8) ----- */

static void answer_advanced(void *arg)
{
    struct call *c = arg;
    struct buf b;
    struct json_out o;
    call_json(&b, &o);
    out_begin(&o, NULL, '{');
    out_int(&o, "now_ms", clock_now_ms(c->api->d.clock));
    out_end(&o, '}');
    call_reply_json(c, 200, &o);
}

/* The dispatcher's thread: all that became due is queued. */
static void on_moved(void *arg)
{
    call_post(arg, answer_advanced);
}

static void tell_dispatcher(void *arg)
{
    struct call *c = arg;
    int r = c->result < 0 ? c->result : dispatcher_clock_moved(c->api->d.dispatcher, on_moved, c);
    if (r < 0)
        call_error(c, r, NULL);
}

/* The store thread: the new time is on disk, so that a restart does not go back. */
static void on_stored(int err, void *arg)
{
    struct call *c = arg;
    c->result = err;
    call_post(c, tell_dispatcher);
}

void bide_clock_advance(struct call *c)
{
    struct json_in in;
    struct err e;
    int64_t ms = -1;
    if (json_in_parse(&in, c->body, c->body_len, &e) < 0) {
        call_fault(c, FAULT_INVALID_CONTENT, "Could not parse request body into json: %s", e.text);
        return;
    }
    bool given = json_in_int(&in, in.root, "ms", &ms);
    json_in_done(&in);
    if (!given || ms < 0 || ms > ADVANCE_MAX_MS) {
        call_fault(c, FAULT_VALIDATION, "\"ms\" must be a number of milliseconds, at most ten years");
        return;
    }
    if (!c->api->d.clock->is_virtual) {
        call_fault(c, FAULT_CONFLICT,
                   "The clock is real and moves by itself. Start bided with clock = virtual to move it by hand.");
        return;
    }
    int64_t now = clock_advance(c->api->d.clock, ms);
    int r = queue_meta_put(c->api->d.queue, "clock_ms", now, on_stored, c);
    if (r < 0)
        call_error(c, r, NULL);
}

/* --- the books recounted ----- */

struct findings {
    struct json_out *o;
    unsigned n;
};

static void put_finding(const char *line, void *arg)
{
    struct findings *x = arg;
    if (x->n++ < FINDINGS_MAX)
        out_str(x->o, NULL, line);
}

static void build_verify(struct call *c, struct json_out *o, struct fault *f)
{
    const struct api_deps *d = &c->api->d;
    struct store_txn *t;
    struct findings x = {.o = o};
    uint64_t in_queue = 0, in_dlq = 0;
    int r = store_read_begin(queue_store(d->queue), &t);
    if (r < 0) {
        (void)fault_set(f, FAULT_SERVICE, "verify: %s", err_name(r));
        return;
    }
    out_begin(o, NULL, '{');
    out_begin(o, "findings", '[');
    r = queue_verify(d->queue, t, put_finding, &x, &in_queue);
    if (r == 0)
        r = dlq_verify(d->dlq, t, put_finding, &x, &in_dlq);
    store_read_end(t);
    out_end(o, ']');
    out_uint(o, "n_findings", in_queue + in_dlq);
    out_bool(o, "ok", in_queue + in_dlq == 0);
    out_end(o, '}');
    if (r < 0)
        (void)fault_set(f, FAULT_SERVICE, "verify: %s", err_name(r));
}

void bide_verify(struct call *c)
{
    if (c->api->verifying) {
        call_fault(c, FAULT_CONFLICT, "A verify is running already.");
        return;
    }
    c->api->verifying = true;
    c->is_verify = true;
    build_answer(c, build_verify);
}
