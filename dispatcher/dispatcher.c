#include "dispatcher.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "priv.h"

/* --- decisions ---------------------------------------------------------------------------------------------------- */

static void carry_out(struct dispatcher *d, const struct sched_decision *dec)
{
    switch (dec->kind) {
    case SCHED_START_WORKER:
        work_start_worker(d, dec);
        break;
    case SCHED_RUN:
        work_run(d, dec);
        break;
    case SCHED_STOP_WORKER:
        executor_stop(d->executor, dec->worker);
        break;
    case SCHED_EXPIRE:
        work_expire(d, dec);
        break;
    case SCHED_REFILL:
        backlog_refill(d->backlog, dec->fid, dec->after_seq, dec->max_n);
        break;
    case SCHED_REFUSE:
        calls_refuse(d, dec->job.key, dec->refusal);
        break;
    }
}

int64_t dispatcher_trusted_now(struct dispatcher *d, int64_t mono_ms)
{
    int64_t now = clock_now_ms(d->deps.clock);
    if (d->deps.clock->is_virtual)
        return now;
    int64_t step = d->last_mono_ms == 0 ? 0 : (now - d->last_now_ms) - (mono_ms - d->last_mono_ms);
    d->last_now_ms = now;
    d->last_mono_ms = mono_ms;
    if (step > CLOCK_STEP_MS) {
        log_warn("dispatcher",
                 "the clock was set forward by_ms=%lld; no event is given up for its age during the next minute",
                 (long long)step);
        counter_add(&d->stats.clock_steps, 1);
        d->hold_ms = mono_ms < d->hold_until_mono_ms ? d->hold_ms + step : step;
        d->hold_until_mono_ms = mono_ms + CLOCK_STEP_HOLD_MS;
    }
    return mono_ms < d->hold_until_mono_ms ? now - d->hold_ms : now;
}

static void publish_status(struct dispatcher *d)
{
    struct sched_stats st;
    sched_stats(d->sched, &st);
    pthread_mutex_lock(&d->mu);
    d->status = (struct dispatcher_status){.workers = st.workers,
                                           .workers_busy = st.busy,
                                           .workers_starting = st.starting,
                                           .workers_idle = st.idle,
                                           .worker_memory_mb = (uint64_t)st.memory_mb,
                                           .running_sync = st.running_sync,
                                           .running_async = st.running_async,
                                           .running_unreserved = st.running_unreserved,
                                           .shutting_down = d->draining};
    pthread_mutex_unlock(&d->mu);
}

static void arm_tick(struct dispatcher *d, int64_t now_ms, int64_t mono_ms)
{
    int64_t at_now, at_mono, delay = INT64_MAX;
    sched_wakeup(d->sched, &at_now, &at_mono);
    if (at_now != INT64_MAX && !d->deps.clock->is_virtual)
        delay = at_now - now_ms;
    if (at_mono != INT64_MAX && at_mono - mono_ms < delay)
        delay = at_mono - mono_ms;
    if (delay == INT64_MAX)
        loop_timer_cancel(d->tick);
    else
        loop_timer_arm(d->tick, delay < 1 ? 1 : delay);
}

static void pump_posted(void *arg)
{
    struct dispatcher *d = arg;
    d->pump_again = false;
    dispatcher_pump(d);
}

void dispatcher_pump(struct dispatcher *d)
{
    if (d->pumping) /* called from inside a decision: the outer pull goes on until there is nothing left */
        return;
    d->pumping = true;
    int64_t mono = clock_mono_ms();
    int64_t now = dispatcher_trusted_now(d, mono);
    struct sched_decision dec;
    int n = 0;
    while (n < DECISIONS_A_TURN && sched_next(d->sched, now, mono, &dec)) {
        carry_out(d, &dec);
        n++;
    }
    d->pumping = false;
    publish_status(d);
    faults_degradations(d);
    if (n == DECISIONS_A_TURN && !d->pump_again && loop_post(d->loop, pump_posted, d) == 0)
        d->pump_again = true; /* bounded work per turn: the loop sees to its sockets in between */
    arm_tick(d, now, mono);
}

static void on_tick(void *arg)
{
    dispatcher_pump(arg);
}

/* --- moves that find no room: nothing new begins until they are stored ----------------------------------------------
 */

static void press(struct dispatcher *d)
{
    bool owed = queue_press(d->deps.queue) > 0;
    if (owed != d->holding) {
        if (owed)
            log_error("dispatcher", "no room is left to store what became of events: no event starts until there is");
        else
            log_info("dispatcher", "what became of events is stored: they start again");
        d->holding = owed;
        sched_hold(d->sched, owed);
        dispatcher_pump(d);
    }
    if (owed && !d->draining)
        loop_timer_arm(d->press, PRESS_MS);
}

static void on_press(void *arg)
{
    press(arg);
}

static void on_queue_owed(void *arg)
{
    struct dispatcher *d = arg;
    if (loop_post(d->loop, on_press, d) != 0)
        bide_no_memory("completion");
}

/* --- what becomes due --------------------------------------------------------------------------------------------- */

static void end_clock_waits(struct dispatcher *d)
{
    struct clock_wait *w;
    while ((w = TAILQ_FIRST(&d->clock_waits)) != NULL) {
        TAILQ_REMOVE(&d->clock_waits, w, link);
        w->cb(w->arg);
        free(w);
    }
}

struct promoted {
    struct dispatcher *d;
    int err;
    uint64_t n;
};

static void promoted_here(void *arg)
{
    struct promoted *p = arg;
    struct dispatcher *d = p->d;
    int err = p->err;
    free(p);
    d->promoting = false;
    if (err < 0 && err != ERR_SHUTDOWN) {
        log_error("dispatcher", "due events cannot be queued err=%s; trying again in a second", err_name(err));
        loop_timer_arm(d->due, 1000);
    }
    dispatcher_op_done(d);
    if (err == 0)
        dispatcher_promote(d);
}

static void promoted(int err, uint64_t n, void *arg)
{
    struct promoted *p = arg;
    p->err = err;
    p->n = n;
    if (loop_post(p->d->loop, promoted_here, p) != 0)
        bide_no_memory("completion");
}

void dispatcher_promote(struct dispatcher *d)
{
    int64_t due, now = clock_now_ms(d->deps.clock);
    bool any = queue_next_due(d->deps.queue, &due);
    if (d->promoting)
        return;
    if (!any || due > now || d->draining) {
        if (any && !d->deps.clock->is_virtual)
            loop_timer_arm(d->due, due - now);
        end_clock_waits(d);
        return;
    }
    struct promoted *p = calloc(1, sizeof *p);
    if (p == NULL) {
        loop_timer_arm(d->due, 1000);
        return;
    }
    p->d = d;
    if (queue_promote_due(d->deps.queue, now, PROMOTE_AT_ONCE, promoted, p) < 0) {
        free(p);
        return; /* shutting down */
    }
    d->promoting = true;
    d->ops++;
}

static void on_due(void *arg)
{
    dispatcher_promote(arg);
}

static void clock_moved(void *arg)
{
    struct clock_wait *w = arg;
    struct dispatcher *d = *(struct dispatcher **)(w + 1);
    TAILQ_INSERT_TAIL(&d->clock_waits, w, link);
    dispatcher_promote(d);
    dispatcher_pump(d);
}

int dispatcher_clock_moved(struct dispatcher *d, void (*cb)(void *arg), void *arg)
{
    struct clock_wait *w = malloc(sizeof *w + sizeof(struct dispatcher *));
    if (w == NULL)
        return ERR_NOMEM;
    w->cb = cb;
    w->arg = arg;
    *(struct dispatcher **)(w + 1) = d;
    int rc = loop_post(d->loop, clock_moved, w);
    if (rc < 0)
        free(w);
    return rc;
}

/* --- events that became ready, told by the store thread ----------------------------------------------------------- */

struct ready_note {
    struct dispatcher *d;
    struct cached *c;
};

static void ready_here(void *arg)
{
    struct ready_note *n = arg;
    struct dispatcher *d = n->d;
    struct cached *c = n->c;
    const struct known *k = known_find(d, c->fid);
    free(n);
    if (k != NULL && k->deleted)
        known_bury(d, c->fid); /* accepted just before the deletion, committed after it */
    if (work_add(d, c, false))
        dispatcher_pump(d);
}

static void on_queue_ready(const struct event *ev, const void *payload, size_t payload_len, void *arg)
{
    struct dispatcher *d = arg;
    bool keep = payload != NULL && payload_len <= CACHED_ONE_MAX && atomic_load(&d->cached_bytes) < CACHED_PAYLOAD_MAX;
    struct ready_note *n = malloc(sizeof *n);
    struct cached *c = cached_new(ev, keep ? payload : NULL, payload_len);
    if (c != NULL && (ev->attempts > 0 || ev->disruptions > 0))
        c->ready_at_ms = clock_now_ms(d->deps.clock);
    if (n == NULL || c == NULL)
        bide_no_memory("ready event");
    if (c->payload != NULL)
        atomic_fetch_add(&d->cached_bytes, (int64_t)c->payload_len);
    *n = (struct ready_note){.d = d, .c = c};
    if (loop_post(d->loop, ready_here, n) != 0)
        bide_no_memory("ready event");
}

/* --- events that were cancelled, told by the store thread ----------------------------------------------------------
 */

struct cancel_note {
    struct dispatcher *d;
    size_t n;
    uint64_t seqs[];
};

static void cancelled_here(void *arg)
{
    struct cancel_note *n = arg;
    struct dispatcher *d = n->d;
    for (size_t i = 0; i < n->n; i++)
        work_cancelled(d, n->seqs[i]);
    free(n);
    dispatcher_pump(d);
}

static void on_queue_cancelled(const uint64_t *seqs, size_t n, void *arg)
{
    struct dispatcher *d = arg;
    struct cancel_note *x = malloc(sizeof *x + n * sizeof *seqs);
    if (x == NULL)
        bide_no_memory("cancelled events");
    x->d = d;
    x->n = n;
    memcpy(x->seqs, seqs, n * sizeof *seqs);
    if (loop_post(d->loop, cancelled_here, x) != 0)
        bide_no_memory("cancelled events");
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void begin_backlog(uint64_t fid, uint64_t queued, uint64_t waiting, void *arg)
{
    struct dispatcher *d = arg;
    (void)waiting;
    /* Of a function that is deleted, and buried as far as anybody knew: its last event still ran when the engine ended,
     * or was accepted just then. */
    if (known_find(d, fid) == NULL && registry_whole(d->deps.registry))
        known_bury(d, fid);
    else if (queued > 0)
        sched_backlog(d->sched, fid);
}

static void begin_here(void *arg)
{
    struct dispatcher *d = arg;
    known_begin(d);
    if (queue_functions(d->deps.queue, begin_backlog, d) < 0 || known_go_on_burying(d) < 0)
        log_error("dispatcher", "the backlog cannot be read: events queued before this start wait for the next one");
    dispatcher_promote(d);
    dispatcher_pump(d);
}

void dispatcher_begin(struct dispatcher *d)
{
    if (loop_post(d->loop, begin_here, d) != 0)
        bide_no_memory("start");
}

static void on_grace_over(void *arg);

static struct sched_limits read_settings(struct dispatcher *d)
{
    const struct settings *s = d->deps.settings;
    d->policy = (struct backoff_policy){.first_wait_ms = settings_int(s, SET_ASYNC_RETRY_FIRST_WAIT),
                                        .multiplier = settings_real(s, SET_ASYNC_RETRY_MULTIPLIER),
                                        .max_wait_ms = settings_int(s, SET_ASYNC_RETRY_MAX_WAIT),
                                        .jitter = settings_real(s, SET_ASYNC_RETRY_JITTER),
                                        .max_disruptions = (uint32_t)settings_int(s, SET_ASYNC_MAX_DISRUPTIONS)};
    return (struct sched_limits){.account = (int32_t)settings_int(s, SET_ACCOUNT_CONCURRENCY),
                                 .worker_memory_mb = settings_int(s, SET_WORKER_MEMORY) >> 20,
                                 .worker_starts = (uint32_t)settings_int(s, SET_WORKER_STARTS),
                                 .worker_idle_ms = settings_int(s, SET_WORKER_IDLE),
                                 .requeue_first_ms = settings_int(s, SET_ASYNC_REQUEUE_FIRST_WAIT),
                                 .requeue_max_ms = settings_int(s, SET_ASYNC_REQUEUE_MAX_WAIT)};
}

static void reload_here(void *arg)
{
    struct dispatcher *d = arg;
    struct sched_limits lim = read_settings(d);
    sched_set_limits(d->sched, &lim);
    dispatcher_pump(d);
}

int dispatcher_reload(struct dispatcher *d)
{
    return loop_post(d->loop, reload_here, d);
}

int dispatcher_new(struct dispatcher **ret, const struct dispatcher_deps *deps, struct err *e)
{
    struct dispatcher *d = calloc(1, sizeof *d);
    if (d == NULL)
        return err_set(e, ERR_NOMEM, "dispatcher: out of memory");
    d->deps = *deps;
    d->loop = deps->loop;
    d->next_run = 1;
    atomic_store(&d->next_call, 1);
    TAILQ_INIT(&d->clock_waits);
    TAILQ_INIT(&d->buried);
    TAILQ_INIT(&d->unburied);
    pthread_mutex_init(&d->mu, NULL);
    stats_init(d);
    struct sched_limits lim = read_settings(d);
    struct executor_opts xo = {
        .runtimes_fd = deps->runtimes_fd, .logs = deps->logs, .init_limit_ms = 10000, .freeze_after_ms = 20};
    int rc = sched_new(&d->sched, &lim);
    if (rc == 0)
        rc = loop_timer_new(d->loop, on_tick, d, &d->tick);
    if (rc == 0)
        rc = loop_timer_new(d->loop, on_due, d, &d->due);
    if (rc == 0)
        rc = loop_timer_new(d->loop, on_press, d, &d->press);
    if (rc == 0)
        rc = loop_timer_new(d->loop, known_bury_again, d, &d->bury);
    if (rc == 0)
        rc = loop_timer_new(d->loop, on_grace_over, d, &d->grace);
    if (rc < 0)
        (void)err_set(e, rc, "dispatcher: cannot be set up (%s)", err_name(rc));
    else
        rc = backlog_new(&d->backlog, d, e);
    if (rc == 0)
        rc = executor_new(&d->executor, d->loop, deps->executor_sock, &xo, &work_executor_cbs, d, e);
    if (rc < 0) {
        dispatcher_free(d);
        return rc;
    }
    queue_on_ready(deps->queue, on_queue_ready, d);
    queue_on_cancelled(deps->queue, on_queue_cancelled, d);
    queue_on_owed(deps->queue, on_queue_owed, d);
    registry_on_change(deps->registry, known_changed, d);
    *ret = d;
    return 0;
}

void dispatcher_free(struct dispatcher *d)
{
    if (d == NULL)
        return;
    struct cached *c, *next_c;
    struct call *call, *next_call;
    struct job *j, *next_j;
    backlog_free(d->backlog);
    executor_free(d->executor);
    code_unuse_all(d);
    HASH_ITER (hh, d->jobs, j, next_j) {
        HASH_DEL(d->jobs, j);
        cached_free(d, j->ev);
        free(j);
    }
    HASH_ITER (hh, d->cached, c, next_c) {
        HASH_DEL(d->cached, c);
        cached_free(d, c);
    }
    HASH_ITER (hh, d->calls, call, next_call)
        calls_free(d, call);
    known_done(d);
    for (size_t i = 0; i < d->n_degradations; i++)
        free(d->degradations[i]);
    loop_timer_free(d->tick);
    loop_timer_free(d->due);
    loop_timer_free(d->press);
    loop_timer_free(d->bury);
    loop_timer_free(d->grace);
    sched_free(d->sched);
    stats_done(d);
    pthread_mutex_destroy(&d->mu);
    free(d);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

void dispatcher_op_done(struct dispatcher *d)
{
    BIDE_ASSERT(d->ops > 0, "a completion too many");
    d->ops--;
    dispatcher_check_drained(d);
}

static void stop_workers(struct dispatcher *d)
{
    if (d->stopping_workers)
        return;
    d->stopping_workers = true;
    uint64_t *ids = NULL;
    size_t n = sched_worker_ids(d->sched, &ids);
    for (size_t i = 0; i < n; i++)
        executor_stop(d->executor, ids[i]);
    free(ids);
}

void dispatcher_check_drained(struct dispatcher *d)
{
    if (!d->draining || d->drained == NULL)
        return;
    if (d->jobs == NULL && d->calls == NULL)
        stop_workers(d);
    if (d->ops > 0 || d->jobs != NULL || executor_workers(d->executor) > 0)
        return;
    void (*cb)(void *) = d->drained;
    d->drained = NULL;
    loop_timer_cancel(d->grace);
    cb(d->drained_arg);
}

static void on_grace_over(void *arg)
{
    struct dispatcher *d = arg;
    log_warn("dispatcher", "shutdown.grace is over: what still runs is broken off and will run again");
    stop_workers(d);
    dispatcher_check_drained(d);
}

struct shutdown_note {
    struct dispatcher *d;
    int64_t grace_ms;
};

static void shutdown_here(void *arg)
{
    struct shutdown_note *n = arg;
    struct dispatcher *d = n->d;
    d->draining = true;
    sched_drain(d->sched);
    queue_owed_give_up(d->deps.queue); /* those runs are repeated after the next start */
    loop_timer_arm(d->grace, n->grace_ms);
    free(n);
    end_clock_waits(d);
    dispatcher_pump(d);
    dispatcher_check_drained(d);
}

void dispatcher_shutdown(struct dispatcher *d, int64_t grace_ms, void (*cb)(void *arg), void *arg)
{
    struct shutdown_note *n = malloc(sizeof *n);
    d->drained_arg = arg;
    d->drained = cb;
    if (n == NULL)
        bide_no_memory("end");
    *n = (struct shutdown_note){.d = d, .grace_ms = grace_ms};
    if (loop_post(d->loop, shutdown_here, n) != 0)
        bide_no_memory("end");
}

/* --- looking at it ------------------------------------------------------------------------------------------------ */

void dispatcher_status(struct dispatcher *d, struct dispatcher_status *ret)
{
    pthread_mutex_lock(&d->mu);
    *ret = d->status;
    pthread_mutex_unlock(&d->mu);
}

int dispatcher_runtime_check(int runtimes_fd, const char *runtime, struct err *e)
{
    return executor_runtime_check(runtimes_fd, runtime, e);
}
