/* /bide/v1/functions/{}/logs: what a function wrote, and what the platform says about its runs. */
#include <string.h>

#include "build.h"
#include "logs/logs.h"
#include "route.h"

enum { NAME_LEN_MAX = 170, ID_SLACK_MS = 1000 };

static void put_line(const struct logs_line *line, void *arg)
{
    struct json_out *o = arg;
    out_begin(o, NULL, '{');
    out_int(o, "time_ms", line->time_ms);
    out_str(o, "stream", line->stream);
    out_str(o, "request_id", line->request_id[0] != '\0' ? line->request_id : NULL);
    out_strn(o, "message", line->text, line->len);
    out_end(o, '}');
}

static int read_since(struct call *c, int64_t *ret_ms, struct fault *f)
{
    char v[64];
    int r = call_query(c, "since", v, sizeof(v));
    if (r == ERR_NOTFOUND)
        return 0;
    if (r < 0 || clock_parse_when(v, strlen(v), clock_real_ms(), ret_ms) < 0)
        return fault_set(f, FAULT_VALIDATION,
                         "since is not a time such as 10m, 2026-01-02T03:04:05Z or epoch milliseconds");
    return 0;
}

/* An event's lines are not older than its id, which tells when it was made; unless that was told by a virtual clock, or
 * by one that has been set back since. */
static int read_event(struct call *c, char text[ID_TEXT_LEN + 1], struct logs_query *q, struct fault *f)
{
    char v[64];
    struct id id;
    int r = call_query(c, "event", v, sizeof(v));
    text[0] = '\0';
    if (r == ERR_NOTFOUND)
        return 0;
    if (r < 0 || id_parse(v, strlen(v), &id) < 0)
        return fault_set(f, FAULT_VALIDATION, "'%.60s' is not an event id", r < 0 ? "" : v);
    id_format(&id, text);
    int64_t since = id_time_ms(&id) - ID_SLACK_MS;
    if (!c->api->d.clock->is_virtual && since > q->since_ms && since < clock_real_ms())
        q->since_ms = since;
    return 0;
}

static void build_lines(struct call *c, struct json_out *o, struct fault *f)
{
    char cursor[LOGS_CURSOR_MAX], next[LOGS_CURSOR_MAX], event[ID_TEXT_LEN + 1];
    bool more = false;
    struct err e = {0};
    struct logs_query q = {.function = c->fn.name, .request_id = event, .cursor = cursor};
    if (read_since(c, &q.since_ms, f) < 0 || build_limit(c, LOGS_READ_MAX, LOGS_READ_MAX, &q.limit, f) < 0 ||
        build_filter(c, "cursor", cursor, sizeof(cursor), f) < 0 || read_event(c, event, &q, f) < 0)
        return;
    out_begin(o, NULL, '{');
    out_begin(o, "items", '[');
    int r = logs_read(c->api->d.logs, &q, put_line, o, next, &more, &e);
    out_end(o, ']');
    if (r == ERR_NOTFOUND) {
        const struct function *fn = call_function(c);
        if (fn == NULL)
            (void)fault_set(f, FAULT_NOT_FOUND, "Function not found: %s, and it has no logs", c->arg);
        function_unref(fn);
    } else if (r < 0) {
        (void)fault_set(f, r == ERR_INVALID ? FAULT_VALIDATION : FAULT_SERVICE, "%s", e.text);
    }
    out_str(o, "cursor", next);
    out_bool(o, "more", more);
    struct logs_stats st;
    logs_stats(c->api->d.logs, &st);
    out_bool(o, "on", st.on);
    out_end(o, '}');
}

void bide_logs_read(struct call *c)
{
    if (call_name(c, NAME_LEN_MAX) == 0)
        build_answer(c, build_lines);
}
