/* GET /metrics: everything the modules count, gathered and written on a pool thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/procinfo.h"
#include "logs/logs.h"
#include "metrics.h"
#include "route.h"

enum {
    METRICS_FUNCTIONS_MAX = 1000, /* with series of their own; the first by name */
    METRICS_AT_ONCE = 4,          /* answers being made */
    PAGE = 64,
};

#define N(list) (sizeof(list) / sizeof((list)[0]))
static const int64_t per_us = 1000000, per_ms = 1000;

struct fn_row {
    char name[FUNCTION_NAME_MAX + 1];
    int32_t reserved;
    int32_t max_age_s;
    bool paused, fault;
    struct dispatcher_function_stats run;
    struct queue_report *queue;
};

struct scrape {
    struct call *c;
    struct buf b;
    struct metrics_out o;
    int error;
    size_t connections, inflight; /* as the loop saw them */
    struct fn_row *fn;
    struct queue_report *reports;
    size_t n;
    uint64_t n_all;
    struct books books;
    struct dlq_stats dlq;
    struct dispatcher_status status;
    struct dispatcher_stats run;
    uint64_t degradations;
};

/* --- gathering ----- */

static void take_function(struct scrape *x, const struct function *f)
{
    struct fn_row *r = &x->fn[x->n];
    (void)snprintf(r->name, sizeof(r->name), "%s", f->name);
    r->reserved = f->reserved;
    r->paused = f->paused;
    r->max_age_s = dispatcher_max_age_s(f);
    r->queue = &x->reports[x->n];
    r->queue->fid = f->fid;
    (void)dispatcher_function_stats(x->c->api->d.dispatcher, f->fid, &r->run);
    x->n++;
}

static void take_functions(struct scrape *x)
{
    const struct function *page[PAGE];
    char after[FUNCTION_NAME_MAX + 1] = "";
    size_t n;
    while ((n = registry_list(x->c->api->d.registry, after, page, PAGE)) > 0) {
        (void)snprintf(after, sizeof(after), "%s", page[n - 1]->name);
        for (size_t i = 0; i < n; i++) {
            if (x->n < METRICS_FUNCTIONS_MAX)
                take_function(x, page[i]);
            function_unref(page[i]);
        }
        if (x->n == METRICS_FUNCTIONS_MAX)
            return;
    }
}

static int by_name(const void *name, const void *row)
{
    return strcmp(name, ((const struct fn_row *)row)->name);
}

static void mark_fault(const char *function, const char *why, int64_t retry_in_ms, void *arg)
{
    struct scrape *x = arg;
    struct fn_row *r = bsearch(function, x->fn, x->n, sizeof(*x->fn), by_name);
    (void)why;
    (void)retry_in_ms;
    if (r != NULL)
        r->fault = true;
}

static void count_text(const char *text, void *arg)
{
    struct scrape *x = arg;
    (void)text;
    x->degradations++;
}

static int gather(struct scrape *x)
{
    const struct api_deps *d = &x->c->api->d;
    x->fn = calloc(METRICS_FUNCTIONS_MAX, sizeof(*x->fn));
    x->reports = calloc(METRICS_FUNCTIONS_MAX, sizeof(*x->reports));
    if (x->fn == NULL || x->reports == NULL)
        return ERR_NOMEM;
    take_functions(x);
    x->n_all = registry_count(d->registry);
    dispatcher_faults(d->dispatcher, mark_fault, x);
    dispatcher_degradations(d->dispatcher, count_text, x);
    dispatcher_status(d->dispatcher, &x->status);
    dispatcher_stats(d->dispatcher, &x->run);
    int r = queue_report(d->queue, x->reports, x->n, &x->books);
    return r < 0 ? r : dlq_stats(d->dlq, &x->dlq);
}

/* --- one number for all ----- */

static void one(struct scrape *x, enum metric m, uint64_t v)
{
    metrics_family(&x->o, m);
    metrics_uint(&x->o, NULL, 0, v);
}

static void labelled(struct scrape *x, const char *label, const char *value, uint64_t v)
{
    metrics_uint(&x->o, &(struct metrics_label){label, value}, 1, v);
}

static void put_daemon(struct scrape *x)
{
    const struct api_deps *d = &x->c->api->d;
    const struct books *b = &x->books;
    metrics_family(&x->o, METRIC_BUILD_INFO);
    labelled(x, "version", d->version, 1);
    one(x, METRIC_RECOVERED, d->recovered_events);
    one(x, METRIC_CLOCK_STEPS, x->run.clock_steps);
    one(x, METRIC_DEGRADATIONS, x->degradations);
    metrics_family(&x->o, METRIC_EVENTS);
    labelled(x, "state", "queued", b->queued);
    labelled(x, "state", "running", b->running);
    labelled(x, "state", "waiting", b->waiting);
    labelled(x, "state", "done", b->done);
    labelled(x, "state", "dead", b->dead);
    labelled(x, "state", "cancelled", b->cancelled);
    labelled(x, "state", "replayed", b->replayed);
    one(x, METRIC_ACCEPTED, b->accepted);
    one(x, METRIC_REMOVED, b->removed);
    one(x, METRIC_FUNCTIONS, x->n_all);
    one(x, METRIC_FUNCTIONS_LEFT_OUT, x->n_all > x->n ? x->n_all - x->n : 0);
}

static void put_workers(struct scrape *x)
{
    const struct settings *s = x->c->api->d.settings;
    const struct dispatcher_status *st = &x->status;
    uint64_t known = st->workers_starting + st->workers_idle + st->workers_busy;
    one(x, METRIC_UNRESERVED_CONCURRENT, st->running_unreserved);
    one(x, METRIC_ACCOUNT_CONCURRENCY, (uint64_t)settings_int(s, SET_ACCOUNT_CONCURRENCY));
    metrics_family(&x->o, METRIC_QUEUE_WAIT);
    metrics_hist(&x->o, NULL, 0, &x->run.wait_ms, per_ms);
    metrics_family(&x->o, METRIC_WORKERS);
    labelled(x, "state", "starting", st->workers_starting);
    labelled(x, "state", "idle", st->workers_idle);
    labelled(x, "state", "busy", st->workers_busy);
    labelled(x, "state", "other", st->workers > known ? st->workers - known : 0);
    one(x, METRIC_WORKER_MEMORY, st->worker_memory_mb << 20);
    one(x, METRIC_WORKER_MEMORY_LIMIT, (uint64_t)settings_int(s, SET_WORKER_MEMORY));
    metrics_family(&x->o, METRIC_WORKER_START);
    metrics_hist(&x->o, NULL, 0, &x->run.start_ms, per_ms);
}

static void put_api(struct scrape *x)
{
    static const char *const classes[TALLY_CLASSES] = {"2xx", "3xx", "4xx", "5xx"};
    struct tally *t = &x->c->api->tally;
    struct hist_view accept;
    metrics_family(&x->o, METRIC_HTTP_ANSWERS);
    for (size_t i = 0; i < TALLY_CLASSES; i++)
        labelled(x, "code", classes[i], counter_read(&t->answers[i]));
    metrics_family(&x->o, METRIC_HTTP_REFUSALS);
    for (size_t i = 0; i < REFUSALS; i++)
        labelled(x, "reason", refusal_name((enum refusal)i), counter_read(&t->refused[i]));
    one(x, METRIC_HTTP_CONNECTIONS, x->connections);
    one(x, METRIC_HTTP_INFLIGHT, x->inflight);
    hist_read(&t->accept_us, &accept);
    metrics_family(&x->o, METRIC_ACCEPT);
    metrics_hist(&x->o, NULL, 0, &accept, per_us);
}

static void put_store(struct scrape *x)
{
    struct store *s = queue_store(x->c->api->d.queue);
    struct store_stats st;
    struct hist_view commit, ops;
    store_stats(s, &st);
    store_histograms(s, &commit, &ops);
    one(x, METRIC_STORE_FULL, st.full);
    one(x, METRIC_STORE_MAP, st.map_bytes);
    one(x, METRIC_STORE_MAP_USED, st.map_used_bytes);
    one(x, METRIC_STORE_DISK_FREE, st.disk_free_bytes);
    one(x, METRIC_STORE_RESERVE, (uint64_t)settings_int(x->c->api->d.settings, SET_QUEUE_RESERVE_BYTES));
    metrics_family(&x->o, METRIC_STORE_COMMIT);
    metrics_hist(&x->o, NULL, 0, &commit, per_us);
    metrics_family(&x->o, METRIC_STORE_COMMIT_OPS);
    metrics_hist(&x->o, NULL, 0, &ops, 1);
    one(x, METRIC_STORE_OPS_FAILED, st.ops_failed);
    metrics_family(&x->o, METRIC_DLQ_LETTERS);
    labelled(x, "replayed", "no", x->dlq.letters);
    labelled(x, "replayed", "yes", x->dlq.replayed);
    one(x, METRIC_DLQ_BYTES, x->dlq.bytes);
    one(x, METRIC_DLQ_MAX_BYTES, x->dlq.max_bytes);
    one(x, METRIC_DLQ_FULL, x->dlq.full);
}

static void put_logs(struct scrape *x)
{
    struct logs_stats st;
    logs_stats(x->c->api->d.logs, &st);
    one(x, METRIC_LOG_BYTES, st.bytes);
    one(x, METRIC_LOG_WRITTEN, st.written_bytes);
    one(x, METRIC_LOG_DROPPED, st.dropped_bytes);
    one(x, METRIC_LOG_LOST, st.lost_bytes);
    one(x, METRIC_LOG_STOPPED, st.stopped);
}

/* --- functions ----- */

typedef void put_function_cb(struct scrape *x, const struct fn_row *r);

static void each(struct scrape *x, enum metric m, put_function_cb *put)
{
    metrics_family(&x->o, m);
    for (size_t i = 0; i < x->n; i++)
        put(x, &x->fn[i]);
}

/* A sample of r with one more label. */
static void of(struct scrape *x, const struct fn_row *r, const char *label, const char *value, uint64_t v)
{
    const struct metrics_label l[] = {{"function", r->name}, {label, value}};
    metrics_uint(&x->o, l, N(l), v);
}

static void put_states(struct scrape *x, const struct fn_row *r)
{
    of(x, r, "state", "queued", r->queue->now.queued);
    of(x, r, "state", "running", r->queue->now.running);
    of(x, r, "state", "waiting", r->queue->now.waiting);
    of(x, r, "state", "dead", r->queue->now.dead);
}

static void put_held(struct scrape *x, const struct fn_row *r)
{
    labelled(x, "function", r->name, r->queue->now.held);
}

static void put_age(struct scrape *x, const struct fn_row *r, const char *state, int64_t since_ms)
{
    const struct metrics_label l[] = {{"function", r->name}, {"state", state}};
    int64_t age = since_ms < 0 ? 0 : clock_now_ms(x->c->api->d.clock) - since_ms;
    metrics_scaled(&x->o, l, N(l), age < 0 ? 0 : age, per_ms);
}

static void put_oldest(struct scrape *x, const struct fn_row *r)
{
    put_age(x, r, "queued", r->queue->oldest_queued_at_ms);
    put_age(x, r, "waiting", r->queue->oldest_waiting_at_ms);
}

static void put_max_age(struct scrape *x, const struct fn_row *r)
{
    labelled(x, "function", r->name, (uint64_t)r->max_age_s);
}

static void put_reserved(struct scrape *x, const struct fn_row *r)
{
    if (r->reserved >= 0)
        labelled(x, "function", r->name, (uint64_t)r->reserved);
}

static void put_paused(struct scrape *x, const struct fn_row *r)
{
    labelled(x, "function", r->name, r->paused);
}

static void put_fault(struct scrape *x, const struct fn_row *r)
{
    labelled(x, "function", r->name, r->fault);
}

static void put_invocations(struct scrape *x, const struct fn_row *r)
{
    of(x, r, "type", "event", r->run.async_runs);
    of(x, r, "type", "sync", r->run.sync_runs);
}

static void put_errors(struct scrape *x, const struct fn_row *r)
{
    for (enum outcome o = OUTCOME_SUCCESS + 1; o < OUTCOMES; o++)
        of(x, r, "outcome", outcome_name(o), r->run.errors[o]);
}

static void put_throttles(struct scrape *x, const struct fn_row *r)
{
    of(x, r, "reason", "reserved", r->run.throttled_reserved);
    of(x, r, "reason", "account", r->run.throttled_account);
}

static void put_duration(struct scrape *x, const struct fn_row *r)
{
    metrics_hist(&x->o, &(struct metrics_label){"function", r->name}, 1, &r->run.duration_us, per_us);
}

static void put_running(struct scrape *x, const struct fn_row *r)
{
    labelled(x, "function", r->name, r->run.running);
}

static void put_received(struct scrape *x, const struct fn_row *r)
{
    labelled(x, "function", r->name, r->queue->tally.received);
}

static void put_event_age(struct scrape *x, const struct fn_row *r)
{
    metrics_hist(&x->o, &(struct metrics_label){"function", r->name}, 1, &r->run.age_ms, per_ms);
}

static void put_dropped(struct scrape *x, const struct fn_row *r)
{
    for (enum condition c = CONDITION_NONE + 1; c < CONDITIONS; c++)
        of(x, r, "condition", condition_name(c), r->queue->tally.dropped[c]);
}

static void put_disruptions(struct scrape *x, const struct fn_row *r)
{
    labelled(x, "function", r->name, r->run.disruptions);
}

static void put_start_failures(struct scrape *x, const struct fn_row *r)
{
    labelled(x, "function", r->name, r->run.start_failures);
}

static void put_init_failures(struct scrape *x, const struct fn_row *r)
{
    labelled(x, "function", r->name, r->run.init_failures);
}

static void put_functions(struct scrape *x)
{
    static const struct {
        enum metric m;
        put_function_cb *put;
    } families[] = {
        {METRIC_FUNCTION_EVENTS, put_states},
        {METRIC_FUNCTION_HELD, put_held},
        {METRIC_FUNCTION_OLDEST, put_oldest},
        {METRIC_FUNCTION_MAX_AGE, put_max_age},
        {METRIC_FUNCTION_RESERVED, put_reserved},
        {METRIC_FUNCTION_PAUSED, put_paused},
        {METRIC_FUNCTION_FAULT, put_fault},
        {METRIC_INVOCATIONS, put_invocations},
        {METRIC_ERRORS, put_errors},
        {METRIC_THROTTLES, put_throttles},
        {METRIC_DURATION, put_duration},
        {METRIC_CONCURRENT, put_running},
        {METRIC_ASYNC_RECEIVED, put_received},
        {METRIC_ASYNC_AGE, put_event_age},
        {METRIC_ASYNC_DROPPED, put_dropped},
        {METRIC_DISRUPTIONS, put_disruptions},
        {METRIC_START_FAILURES, put_start_failures},
        {METRIC_INIT_FAILURES, put_init_failures},
    };
    for (size_t i = 0; i < N(families); i++)
        each(x, families[i].m, families[i].put);
}

/* --- the two processes ----- */

static void put_process(struct scrape *x, enum metric m, const struct metrics_label *l, const struct procinfo *p)
{
    if (m == METRIC_PROCESS_START)
        metrics_scaled(&x->o, l, 1, p->started_at_ms, per_ms);
    else if (m == METRIC_PROCESS_CPU)
        metrics_scaled(&x->o, l, 1, (int64_t)p->cpu_ms, per_ms);
    else if (m == METRIC_PROCESS_RESIDENT)
        metrics_uint(&x->o, l, 1, p->resident_bytes);
    else if (m == METRIC_PROCESS_ANON)
        metrics_uint(&x->o, l, 1, p->anon_bytes);
    else if (m == METRIC_PROCESS_VIRTUAL)
        metrics_uint(&x->o, l, 1, p->virtual_bytes);
    else if (m == METRIC_PROCESS_THREADS)
        metrics_uint(&x->o, l, 1, p->threads);
    else if (m == METRIC_PROCESS_FDS && p->open_fds >= 0)
        metrics_uint(&x->o, l, 1, (uint64_t)p->open_fds);
}

enum { ENGINE, EXECUTOR, PROCESSES };

static void put_processes(struct scrape *x)
{
    static const struct metrics_label label[PROCESSES] = {{"process", "engine"}, {"process", "executor"}};
    const pid_t pids[PROCESSES] = {getpid(), x->c->api->d.executor_pid};
    struct procinfo p[PROCESSES];
    bool known[PROCESSES];
    struct rlimit lim;
    for (size_t i = 0; i < PROCESSES; i++)
        known[i] = pids[i] > 0 && procinfo_read(pids[i], &p[i]) == 0;
    for (enum metric m = METRIC_PROCESS_START; m <= METRIC_PROCESS_FDS; m++) {
        metrics_family(&x->o, m);
        for (size_t i = 0; i < PROCESSES; i++)
            if (known[i])
                put_process(x, m, &label[i], &p[i]);
    }
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        metrics_family(&x->o, METRIC_PROCESS_MAX_FDS);
        metrics_uint(&x->o, &label[ENGINE], 1, lim.rlim_cur);
    }
}

/* --- the request ----- */

static void run_scrape(void *arg)
{
    struct scrape *x = arg;
    x->error = gather(x);
    if (x->error < 0)
        return;
    put_daemon(x);
    put_functions(x);
    put_workers(x);
    put_api(x);
    put_store(x);
    put_logs(x);
    put_processes(x);
    x->error = metrics_error(&x->o);
}

static void free_scrape(void *arg)
{
    struct scrape *x = arg;
    x->c->api->scrapes--;
    buf_done(&x->b);
    free(x->fn);
    free(x->reports);
    free(x);
}

static void on_scraped(void *arg)
{
    struct scrape *x = arg;
    static const struct call_extra type = {"Content-Type", "text/plain; version=0.0.4; charset=utf-8"};
    if (x->error < 0)
        call_fault(x->c, FAULT_SERVICE, "the metrics could not be gathered: %s", err_name(x->error));
    else
        call_reply(x->c, 200, &type, 1, x->b.data, x->b.len);
}

void bide_metrics(struct call *c)
{
    struct api *a = c->api;
    struct scrape *x = a->scrapes < METRICS_AT_ONCE ? calloc(1, sizeof(*x)) : NULL;
    if (x == NULL) {
        call_fault(c, FAULT_TOO_MANY, "Too many readers of the metrics at a time; try again.");
        return;
    }
    a->scrapes++;
    x->c = c;
    buf_init(&x->b, REPLY_MAX);
    metrics_init(&x->o, &x->b);
    x->connections = httpd_n_conns(a->http);
    x->inflight = httpd_inflight_bytes(a->http);
    c->state = x;
    c->free_state = free_scrape;
    if (pool_submit(a->pool, POOL_READ, run_scrape, on_scraped, NULL, x) < 0)
        call_fault(c, FAULT_TOO_MANY, "Too many readers at a time; try again.");
}
