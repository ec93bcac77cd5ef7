/* /bide/v1/status and /health. */
#include <string.h>

#include "build.h"
#include "logs/logs.h"
#include "route.h"

enum { PAUSED_SHOWN_MAX = 64, PAGE = 64 };

void health_get(struct call *c)
{
    static const char ok[] = "{\"status\":\"ok\"}";
    call_reply(c, 200, NULL, 0, ok, sizeof(ok) - 1);
}

static void put_books(struct json_out *o, const struct books *b)
{
    out_begin(o, "events", '{');
    out_uint(o, "accepted", b->accepted);
    out_uint(o, "queued", b->queued);
    out_uint(o, "running", b->running);
    out_uint(o, "waiting", b->waiting);
    out_uint(o, "done", b->done);
    out_uint(o, "dead", b->dead);
    out_uint(o, "cancelled", b->cancelled);
    out_uint(o, "removed", b->removed);
    out_uint(o, "replayed", b->replayed);
    out_end(o, '}');
}

/* A bound that this share of all commits stayed under, since the start; null when there is none to tell. */
static void put_commit_bound(struct json_out *o, const char *key, const struct hist_view *v, double share)
{
    int64_t us = hist_quantile(v, share);
    if (us >= 0)
        out_int(o, key, us);
    else
        out_null(o, key);
}

static void put_store(struct json_out *o, struct store *s, const struct settings *settings)
{
    struct store_stats st;
    struct hist_view us, ops;
    store_stats(s, &st);
    store_histograms(s, &us, &ops);
    out_begin(o, "store", '{');
    out_bool(o, "full", st.full);
    out_uint(o, "map_bytes", st.map_bytes);
    out_uint(o, "map_used_bytes", st.map_used_bytes);
    out_uint(o, "disk_free_bytes", st.disk_free_bytes);
    out_uint(o, "commits", st.commits);
    out_uint(o, "ops", st.ops);
    out_uint(o, "ops_failed", st.ops_failed);
    out_uint(o, "last_commit_us", st.last_commit_us);
    put_commit_bound(o, "commit_p50_us", &us, 0.5);
    put_commit_bound(o, "commit_p99_us", &us, 0.99);
    out_int(o, "reserve_bytes", settings_int(settings, SET_QUEUE_RESERVE_BYTES));
    out_end(o, '}');
}

static void put_dlq(struct json_out *o, const struct dlq_stats *st, uint64_t held)
{
    out_begin(o, "dlq", '{');
    out_uint(o, "letters", st->letters);
    out_uint(o, "replayed", st->replayed);
    out_uint(o, "bytes", st->bytes);
    out_uint(o, "max_bytes", st->max_bytes);
    out_bool(o, "full", st->full);
    out_uint(o, "held", held);
    out_end(o, '}');
}

/* --- the oldest event, and those that the dead-letter store has no room for ----- */

struct depths {
    char function[FUNCTION_NAME_MAX + 1]; /* of the oldest event; "" there is none */
    const char *state;
    int64_t since_ms, max_age_s;
    uint64_t held;
};

static void note_oldest(struct depths *x, const struct function *f, const char *state, int64_t since_ms)
{
    if (since_ms < 0 || (x->function[0] != '\0' && since_ms >= x->since_ms))
        return;
    memcpy(x->function, f->name, sizeof(x->function));
    x->state = state;
    x->since_ms = since_ms;
    x->max_age_s = dispatcher_max_age_s(f);
}

static int read_depths(const struct api_deps *d, struct depths *x)
{
    const struct function *page[PAGE];
    struct queue_report r[PAGE];
    struct books books;
    char after[FUNCTION_NAME_MAX + 1] = "";
    size_t n;
    int rc = 0;
    *x = (struct depths){.held = 0};
    while (rc == 0 && (n = registry_list(d->registry, after, page, PAGE)) > 0) {
        memcpy(after, page[n - 1]->name, sizeof(after));
        for (size_t i = 0; i < n; i++)
            r[i].fid = page[i]->fid;
        rc = queue_report(d->queue, r, n, &books);
        for (size_t i = 0; i < n; i++) {
            if (rc == 0) {
                note_oldest(x, page[i], "queued", r[i].oldest_queued_at_ms);
                note_oldest(x, page[i], "waiting", r[i].oldest_waiting_at_ms);
                x->held += r[i].now.held;
            }
            function_unref(page[i]);
        }
    }
    return rc;
}

static void put_oldest(struct json_out *o, const struct depths *x, int64_t now_ms)
{
    if (x->function[0] == '\0') {
        out_null(o, "oldest");
        return;
    }
    out_begin(o, "oldest", '{');
    out_str(o, "function", x->function);
    out_str(o, "state", x->state);
    out_int(o, "age_ms", now_ms > x->since_ms ? now_ms - x->since_ms : 0);
    out_int(o, "max_age_ms", x->max_age_s * 1000);
    out_end(o, '}');
}

static void put_logs(struct json_out *o, struct logs *l)
{
    struct logs_stats st;
    logs_stats(l, &st);
    out_begin(o, "logs", '{');
    out_bool(o, "on", st.on);
    out_uint(o, "streams", st.streams);
    out_uint(o, "bytes", st.bytes);
    out_uint(o, "written_bytes", st.written_bytes);
    out_uint(o, "dropped_bytes", st.dropped_bytes);
    out_uint(o, "lost_bytes", st.lost_bytes);
    out_bool(o, "stopped", st.stopped);
    out_str(o, "why", st.stopped ? st.why : NULL);
    out_end(o, '}');
}

static void put_workers(struct json_out *o, const struct dispatcher_status *st)
{
    out_uint(o, "workers", st->workers);
    out_begin(o, "worker_detail", '{');
    out_uint(o, "busy", st->workers_busy);
    out_uint(o, "starting", st->workers_starting);
    out_uint(o, "memory_mb", st->worker_memory_mb);
    out_uint(o, "running_sync", st->running_sync);
    out_uint(o, "running_async", st->running_async);
    out_bool(o, "shutting_down", st->shutting_down);
    out_end(o, '}');
}

static void put_fault(const char *function, const char *why, int64_t retry_in_ms, void *arg)
{
    struct json_out *o = arg;
    out_begin(o, NULL, '{');
    out_str(o, "function", function);
    out_str(o, "why", why);
    out_int(o, "retry_in_ms", retry_in_ms);
    out_end(o, '}');
}

/* The names of the first paused functions, and how many there are. */
static void put_paused(struct json_out *o, struct registry *r)
{
    const struct function *page[PAGE];
    char after[FUNCTION_NAME_MAX + 1] = "";
    size_t n;
    uint64_t paused = 0;
    out_begin(o, "paused", '[');
    while ((n = registry_list(r, after, page, PAGE)) > 0) {
        memcpy(after, page[n - 1]->name, sizeof(after));
        for (size_t i = 0; i < n; i++) {
            if (page[i]->paused && paused++ < PAUSED_SHOWN_MAX)
                out_str(o, NULL, page[i]->name);
            function_unref(page[i]);
        }
    }
    out_end(o, ']');
    out_uint(o, "functions_paused", paused);
}

static void put_text(const char *text, void *arg)
{
    out_str(arg, NULL, text);
}

static void build_status(struct call *c, struct json_out *o, struct fault *f)
{
    const struct api_deps *d = &c->api->d;
    struct books books;
    struct dlq_stats letters;
    struct dispatcher_status st;
    struct depths depths;
    int r = queue_books(d->queue, &books);
    if (r == 0)
        r = dlq_stats(d->dlq, &letters);
    if (r == 0)
        r = read_depths(d, &depths);
    if (r < 0) {
        (void)fault_set(f, FAULT_SERVICE, "the books cannot be read: %s", err_name(r));
        return;
    }
    dispatcher_status(d->dispatcher, &st);
    out_begin(o, NULL, '{');
    out_str(o, "version", d->version);
    out_int(o, "now_ms", clock_now_ms(d->clock));
    out_str(o, "clock", d->clock->is_virtual ? "virtual" : "real");
    out_str(o, "region", c->api->region);
    out_int(o, "uptime_ms", clock_mono_ms() - c->api->began_ms);
    put_books(o, &books);
    put_oldest(o, &depths, clock_now_ms(d->clock));
    out_uint(o, "functions", registry_count(d->registry));
    put_paused(o, d->registry);
    put_workers(o, &st);
    put_store(o, queue_store(d->queue), d->settings);
    put_dlq(o, &letters, depths.held);
    put_logs(o, d->logs);
    out_begin(o, "faults", '[');
    dispatcher_faults(d->dispatcher, put_fault, o);
    out_end(o, ']');
    out_begin(o, "degradations", '[');
    dispatcher_degradations(d->dispatcher, put_text, o);
    out_end(o, ']');
    out_end(o, '}');
}

void bide_status(struct call *c)
{
    build_answer(c, build_status);
}
