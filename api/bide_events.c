/* /bide/v1/events: what is in the queue and in the history. */
#include <string.h>

#include "build.h"
#include "route.h"

static void put_item(const struct event *ev, void *arg)
{
    struct json_out *o = arg;
    out_begin(o, NULL, '{');
    build_put_event(o, ev);
    out_end(o, '}');
}

static int read_state(struct call *c, enum event_state *ret, struct fault *f)
{
    char v[32];
    *ret = EVENT_NONE;
    int r = build_filter(c, "state", v, sizeof(v), f);
    if (r < 0 || !*v)
        return r;
    for (int s = EVENT_QUEUED; s < EVENT_STATES; s++) {
        if (strcmp(event_state_name((enum event_state)s), v) == 0) {
            *ret = (enum event_state)s;
            return 0;
        }
    }
    return fault_set(f, FAULT_VALIDATION, "'%s' is not a state of an event", v);
}

static void build_list(struct call *c, struct json_out *o, struct fault *f)
{
    char name[SEGMENT_MAX], type[BUILD_TYPE_MAX];
    uint32_t limit;
    uint64_t cursor, next = 0;
    struct queue_filter filter = {.name = name, .error_type = type};
    if (build_page(c, &limit, &cursor, f) < 0 || build_filter(c, "function", name, sizeof(name), f) < 0 ||
        build_filter(c, "error_type", type, sizeof(type), f) < 0 || read_state(c, &filter.state, f) < 0 ||
        build_times(c, &filter.since_ms, &filter.until_ms, f) < 0)
        return;
    out_begin(o, NULL, '{');
    out_begin(o, "items", '[');
    int r = queue_list(c->api->d.queue, &filter, cursor, limit, put_item, o, &next);
    if (r < 0)
        (void)fault_set(f, FAULT_SERVICE, "events: %s", err_name(r));
    out_end(o, ']');
    build_put_cursor(o, next);
    out_end(o, '}');
}

void bide_events_list(struct call *c)
{
    build_answer(c, build_list);
}

static void put_attempt(const struct attempt *a, void *arg)
{
    build_put_attempt(arg, a);
}

static void build_get(struct call *c, struct json_out *o, struct fault *f)
{
    struct id id;
    struct event ev;
    struct buf b;
    struct json_out attempts;
    if (build_id(c, &id, f) < 0)
        return;
    call_json(&b, &attempts);
    out_begin(&attempts, NULL, '[');
    int r = queue_find(c->api->d.queue, &id, &ev, put_attempt, &attempts);
    out_end(&attempts, ']');
    if (r == ERR_NOTFOUND)
        (void)fault_set(f, FAULT_NOT_FOUND, "Event not found: %s", c->arg);
    else if (r < 0)
        (void)fault_set(f, FAULT_SERVICE, "event %s: %s", c->arg, err_name(r));
    else {
        out_begin(o, NULL, '{');
        build_put_event(o, &ev);
        out_raw(o, "attempts", b.data, b.len);
        build_put_payload(o, c->api->d.queue, ev.seq);
        out_end(o, '}');
        if (out_error(&attempts) < 0)
            (void)fault_set(f, FAULT_SERVICE, "event %s: %s", c->arg, err_name(out_error(&attempts)));
    }
    buf_done(&b);
}

void bide_events_get(struct call *c)
{
    build_answer(c, build_get);
}
