/* POST /bide/v1/functions/NAME/events: many events in one request, all of them accepted or none. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event_lines.h"
#include "invoke.h"
#include "route.h"

struct accept {
    struct call *c;
    const struct function *f;
    struct event_lines lines;
    int read; /* what event_lines_read said */
    struct id *ids;
};

static void accept_free(void *arg)
{
    struct accept *x = arg;
    function_unref(x->f);
    event_lines_done(&x->lines);
    free(x->ids);
    free(x);
}

/* --- lines that cannot be events ----- */

static void put_faults(struct json_out *o, const struct accept *x)
{
    const struct event_lines *l = &x->lines;
    char more[64] = "", text[sizeof(l->faults->why.text) + 160];
    if (l->n_faults > 1)
        (void)snprintf(more, sizeof(more), " (and %" PRIu64 " more such lines)", l->n_faults - 1);
    (void)snprintf(text, sizeof(text), "Nothing was accepted. Line %" PRIu64 ": %s%s", l->faults->line,
                   l->faults->why.text, more);
    out_begin(o, NULL, '{');
    out_str(o, "Type", "User");
    out_str(o, "message", text);
    out_uint(o, "ErrorCount", l->n_faults);
    out_begin(o, "Errors", '[');
    for (uint64_t i = 0; i < l->n_faults && i < LINE_FAULTS_MAX; i++) {
        out_begin(o, NULL, '{');
        out_uint(o, "Line", l->faults[i].line);
        out_str(o, "Message", l->faults[i].why.text);
        out_end(o, '}');
    }
    out_end(o, ']');
    out_end(o, '}');
}

static void answer_faults(const struct accept *x)
{
    struct call *c = x->c;
    const struct fault_info *info = fault_info(FAULT_INVALID_CONTENT);
    const struct call_extra extra = {"x-amzn-ErrorType", info->name};
    struct buf b;
    struct json_out o;
    call_json(&b, &o);
    put_faults(&o, x);
    if (out_error(&o) < 0) {
        call_error(c, out_error(&o), NULL);
    } else {
        tally_refusal(&c->api->tally, refusal_of_fault(FAULT_INVALID_CONTENT));
        call_reply(c, info->status, &extra, 1, b.data, b.len);
    }
    buf_done(&b);
}

/* --- all of them are sound ----- */

static void answer_ids(void *arg)
{
    struct accept *x = arg;
    struct call *c = x->c;
    struct buf b;
    struct json_out o;
    char text[ID_TEXT_LEN + 1];
    if (c->result < 0) {
        call_error(c, c->result, NULL);
        return;
    }
    hist_add(&c->api->tally.accept_us, clock_mono_us() - c->began_us);
    call_json(&b, &o);
    out_begin(&o, NULL, '{');
    out_begin(&o, "ids", '[');
    for (size_t i = 0; i < x->lines.n; i++) {
        id_format(&x->ids[i], text);
        out_str(&o, NULL, text);
    }
    out_end(&o, ']');
    out_end(&o, '}');
    call_reply_json(c, 202, &o);
}

/* The store thread: the events are on disk, or were refused. */
static void on_accepted(int err, const struct event *ev, void *arg)
{
    struct accept *x = arg;
    (void)ev;
    x->c->result = err;
    int r = loop_post(x->c->api->d.loop, answer_ids, x);
    if (r < 0)
        bide_no_memory("completion");
}

static void submit(struct accept *x)
{
    struct call *c = x->c;
    struct api *a = c->api;
    char made[INVOKE_TRACE_MADE_MAX];
    const char *trace = invoke_trace(c, made);
    int64_t now_ms = clock_now_ms(a->d.clock);
    struct queue_new *in = calloc(x->lines.n, sizeof(*in));
    x->ids = calloc(x->lines.n, sizeof(*x->ids));
    int r = in && x->ids ? 0 : ERR_NOMEM;
    for (size_t i = 0; r == 0 && i < x->lines.n; i++) {
        x->ids[i] = id_new(a->d.ids, now_ms);
        in[i] = (struct queue_new){
            .id = x->ids[i],
            .fid = x->f->fid,
            .name = x->f->name,
            .qualifier = c->fn.qualifier,
            .trace = trace,
            .payload = x->lines.events[i].p,
            .payload_len = x->lines.events[i].len,
        };
    }
    if (r == 0)
        r = queue_accept_many(a->d.queue, in, x->lines.n, on_accepted, x);
    free(in);
    if (r < 0)
        call_error(c, r, NULL);
}

/* --- both ----- */

/* The loop's thread, or a worker's for what is long. */
static void read_lines(void *arg)
{
    struct accept *x = arg;
    x->read = event_lines_read(&x->lines, x->c->body, x->c->body_len, QUEUE_ACCEPT_MAX, x->c->api->max_event_payload);
}

static void on_read(void *arg)
{
    struct accept *x = arg;
    struct call *c = x->c;
    if (x->read == ERR_TOOBIG)
        call_fault(c, FAULT_TOO_LARGE, "More than %d events in one request", QUEUE_ACCEPT_MAX);
    else if (x->read < 0)
        call_error(c, x->read, NULL);
    else if (x->lines.n_faults > 0)
        answer_faults(x);
    else if (x->lines.n == 0)
        call_fault(c, FAULT_INVALID_CONTENT, "There is no event in the request: each line of JSON is one.");
    else
        submit(x);
}

void bide_events_accept(struct call *c)
{
    struct check ck;
    invoke_check(c, &ck);
    const struct function *f = invoke_function(c, &ck);
    if (!f)
        return;
    struct accept *x = calloc(1, sizeof(*x));
    if (!x) {
        function_unref(f);
        call_error(c, ERR_NOMEM, NULL);
        return;
    }
    x->c = c;
    x->f = f;
    c->state = x;
    c->free_state = accept_free;
    if (c->body_len <= INLINE_BODY_MAX) {
        read_lines(x);
        on_read(x);
    } else if (pool_submit(c->api->pool, POOL_WORK, read_lines, on_read, NULL, x) < 0) {
        call_fault(c, FAULT_TOO_MANY, "Too many large requests at a time; try again.");
    }
}
