/* Facts about slots, calls and workers. */
#include <stdlib.h>

#include "backoff.h"
#include "sched_priv.h"

enum { AVG_WEIGHT = 8 /* a new value counts for one part in so many */ };

/* --- slots ------------------------------------------------------------------------------------------------------ */

void sched_take_slot(struct sched *s, struct fn *f, bool is_call)
{
    concurrency_take(&s->slots, &f->share);
    s->busy_calls += is_call;
}

void sched_give_slot(struct sched *s, struct fn *f, bool is_call)
{
    concurrency_give(&s->slots, &f->share);
    s->busy_calls -= is_call;
    sched_wake_pool(s); /* those that wait come before the one that had it */
    if (f->share.reserved >= 0)
        sched_wake(s, f); /* it may have been at its own limit */
}

void sched_unbind(struct sched *s, struct worker *w)
{
    bool is_call = w->call != NULL;
    if (w->ev != NULL)
        w->ev->worker = NULL;
    else
        w->call->worker = NULL;
    w->ev = NULL;
    w->call = NULL;
    sched_give_slot(s, w->fn, is_call);
}

void sched_unbind_waiting(struct sched *s, struct worker *w)
{
    bool runnable = w->state == WORKER_RUNNABLE;
    if (runnable)
        TAILQ_REMOVE(&s->runnable, w, link);
    w->state = WORKER_STARTING;
    sched_unbind(s, w);
    if (runnable)
        sched_become_idle(s, w, w->since_ms);
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

void sched_call_again(struct sched *s, struct call *c)
{
    struct fn *f = c->fn;
    sched_take_slot(s, f, true);
    c->state = CALL_PENDING;
    TAILQ_INSERT_HEAD(&f->calls, c, link);
    if (!f->on_calls) {
        f->on_calls = true;
        TAILQ_INSERT_TAIL(&s->call_ring, f, call_link);
    }
}

enum sched_refusal sched_call_add(struct sched *s, uint64_t fid, uint64_t id, int64_t mono_ms)
{
    struct fn *f = sched_fn(s, fid);
    if (f == NULL || f->deleted || s->draining)
        return SCHED_REFUSE_FAILED;
    switch (concurrency_check(&s->slots, &f->share)) {
    case CONCURRENCY_RESERVED_FULL:
        return SCHED_REFUSE_RESERVED;
    case CONCURRENCY_ACCOUNT_FULL:
        return SCHED_REFUSE_ACCOUNT;
    case CONCURRENCY_FREE:
        break;
    }
    /* An event that runs alone runs alone; one that waits for that is not to be starved by calls. */
    if (s->lone != NULL && (s->lone->state != EV_READY || mono_ms - s->lone_since > SCHED_LONE_PATIENCE_MS))
        return SCHED_REFUSE_ACCOUNT;
    struct call *c = calloc(1, sizeof *c);
    if (c == NULL)
        return SCHED_REFUSE_FAILED;
    c->id = id;
    c->fn = f;
    HASH_ADD(hh, s->calls, id, sizeof c->id, c);
    if (c->hh.tbl == NULL) {
        free(c);
        return SCHED_REFUSE_FAILED;
    }
    f->refs++;
    TAILQ_INSERT_TAIL(&f->calls, c, link);
    if (!f->on_calls) {
        f->on_calls = true;
        TAILQ_INSERT_TAIL(&s->call_ring, f, call_link);
    }
    sched_take_slot(s, f, true);
    return SCHED_REFUSE_NONE;
}

/* Out of the scheduler; its slot has been dealt with. */
void sched_drop_call(struct sched *s, struct call *c)
{
    struct fn *f = c->fn;
    if (c->state == CALL_PENDING) {
        TAILQ_REMOVE(&f->calls, c, link);
        if (TAILQ_EMPTY(&f->calls) && f->on_calls) {
            f->on_calls = false;
            TAILQ_REMOVE(&s->call_ring, f, call_link);
        }
        s->look_starts = true; /* events' starts wait behind it */
    }
    HASH_DEL(s->calls, c);
    free(c);
    sched_unref(s, f);
}

void sched_call_gone(struct sched *s, uint64_t id)
{
    struct call *c = NULL;
    HASH_FIND(hh, s->calls, &id, sizeof id, c);
    if (c == NULL || c->state == CALL_RUNNING)
        return;
    if (c->state == CALL_PENDING) {
        sched_give_slot(s, c->fn, true);
        sched_drop_call(s, c);
        return;
    }
    sched_unbind_waiting(s, c->worker);
    sched_drop_call(s, c);
}

/* --- workers ------------------------------------------------------------------------------------------------------ */

struct worker *sched_worker(const struct sched *s, uint64_t id)
{
    struct worker *w = NULL;
    HASH_FIND(hh, s->workers, &id, sizeof id, w);
    return w;
}

struct worker *sched_worker_new(struct sched *s, struct fn *f, int64_t mono_ms)
{
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->id = s->next_worker;
    HASH_ADD(hh, s->workers, id, sizeof w->id, w);
    if (w->hh.tbl == NULL) {
        free(w);
        return NULL;
    }
    s->next_worker++;
    w->fn = f;
    w->generation = f->cfg.generation;
    w->memory_mb = f->cfg.memory_mb;
    w->state = WORKER_STARTING;
    w->first_start = true;
    w->since_ms = mono_ms;
    f->refs++;
    f->live++;
    s->memory_mb += w->memory_mb;
    s->starting++;
    return w;
}

static void free_worker(struct sched *s, struct worker *w)
{
    struct fn *f = w->fn;
    f->between -= w->between;
    if (w->first_start)
        s->starting--;
    if (w->state == WORKER_STOPPING || w->state == WORKER_DOOMED)
        s->leaving_mb -= w->memory_mb;
    else
        f->live--;
    s->memory_mb -= w->memory_mb;
    HASH_DEL(s->workers, w);
    free(w);
    s->look_starts = true;
    sched_wake(s, f);
    sched_unref(s, f);
}

void sched_leave_lists(struct sched *s, struct worker *w)
{
    if (w->state == WORKER_IDLE) {
        s->idle_mb -= w->memory_mb;
        s->n_idle--;
        TAILQ_REMOVE(&s->idle, w, link);
        TAILQ_REMOVE(&w->fn->idle, w, fn_link);
    } else if (w->state == WORKER_RUNNABLE) {
        TAILQ_REMOVE(&s->runnable, w, link);
    } else if (w->state == WORKER_BUSY) {
        s->n_busy--;
        TAILQ_REMOVE(&w->fn->busy, w, fn_link);
    } else if (w->state == WORKER_DOOMED) {
        TAILQ_REMOVE(&s->doomed, w, link);
    }
}

void sched_doom(struct sched *s, struct worker *w, enum sched_stop why)
{
    sched_leave_lists(s, w);
    w->state = WORKER_DOOMED;
    w->why = why;
    w->fn->live--;
    s->leaving_mb += w->memory_mb;
    TAILQ_INSERT_TAIL(&s->doomed, w, link);
    sched_wake(s, w->fn); /* it may have none left */
}

static int64_t moving(int64_t avg, int64_t value)
{
    if (value < 1)
        value = 1;
    return avg == 0 ? value : avg + (value - avg) / AVG_WEIGHT;
}

void sched_become_idle(struct sched *s, struct worker *w, int64_t mono_ms)
{
    struct fn *f = w->fn;
    sched_leave_lists(s, w);
    w->since_ms = mono_ms;
    w->state = WORKER_STARTING; /* on no list */
    if (f->deleted || w->generation != f->cfg.generation || s->draining) {
        sched_doom(s, w, s->draining ? SCHED_STOP_DRAIN : SCHED_STOP_OLD);
        return;
    }
    w->state = WORKER_IDLE;
    s->n_idle++;
    s->idle_mb += w->memory_mb;
    TAILQ_INSERT_TAIL(&s->idle, w, link);
    TAILQ_INSERT_HEAD(&f->idle, w, fn_link);
    s->look_starts = true; /* somebody may want its room */
    sched_wake(s, f);
}

static void not_between(struct worker *w)
{
    w->fn->between -= w->between;
    w->between = false;
}

int64_t sched_worker_ready(struct sched *s, uint64_t id, int64_t mono_ms)
{
    struct worker *w = sched_worker(s, id);
    int64_t took_ms = -1;
    if (w == NULL || w->state != WORKER_STARTING)
        return took_ms;
    not_between(w);
    if (w->first_start) {
        w->first_start = false;
        s->starting--;
        took_ms = mono_ms - w->since_ms;
        w->fn->start_avg_ms = moving(w->fn->start_avg_ms, took_ms);
        w->fn->failures = 0;
        w->ready_at_ms = mono_ms;
        s->look_starts = true;
    }
    if (w->ev == NULL && w->call == NULL) {
        sched_become_idle(s, w, mono_ms);
        return took_ms;
    }
    w->state = WORKER_RUNNABLE;
    TAILQ_INSERT_TAIL(&s->runnable, w, link);
    return took_ms;
}

void sched_worker_start_failed(struct sched *s, uint64_t id, int64_t mono_ms)
{
    struct worker *w = sched_worker(s, id);
    if (w == NULL)
        return;
    if (w->state == WORKER_STARTING || w->state == WORKER_RUNNABLE) {
        struct fn *f = w->fn;
        struct ev *e = w->ev;
        struct call *c = w->call;
        /* Starts that were under way together fail together: that is one failure. */
        if (f->failures == 0 || mono_ms >= f->backoff_until) {
            f->failures++;
            f->backoff_until =
                mono_ms + backoff_requeue_wait(s->limits.requeue_first_ms, s->limits.requeue_max_ms, f->failures);
        }
        sched_leave_lists(s, w);
        w->state = WORKER_STARTING;
        if (e != NULL || c != NULL)
            sched_unbind(s, w);
        if (c != NULL)
            sched_call_again(s, c); /* the decision that follows refuses it, since the function backs off */
        if (e != NULL)
            sched_event_again(s, e);
    } else {
        sched_leave_lists(s, w);
    }
    if (w->state == WORKER_IDLE)
        w->state = WORKER_STARTING;
    free_worker(s, w);
}

bool sched_worker_init_failed(struct sched *s, uint64_t id, struct sched_job *ret)
{
    struct worker *w = sched_worker(s, id);
    if (w == NULL || (w->state != WORKER_STARTING && w->state != WORKER_RUNNABLE))
        return false; /* it is being stopped already */
    if (w->first_start) {
        w->first_start = false;
        s->starting--;
        s->look_starts = true;
    }
    sched_leave_lists(s, w);
    w->state = WORKER_STOPPING;
    w->fn->live--;
    s->leaving_mb += w->memory_mb;
    sched_wake(s, w->fn);
    if (w->ev == NULL && w->call == NULL)
        return false;
    *ret = sched_job_of(s, w);
    struct ev *e = w->ev;
    struct call *c = w->call;
    sched_unbind(s, w);
    if (e != NULL) {
        e->state = EV_SETTLING;
        if (e == s->lone)
            s->lone = NULL;
    } else {
        sched_drop_call(s, c);
    }
    return true;
}

void sched_job_done(struct sched *s, uint64_t id, bool usable, int64_t mono_ms)
{
    struct worker *w = sched_worker(s, id);
    if (w == NULL || w->state != WORKER_BUSY)
        return;
    struct fn *f = w->fn;
    struct ev *e = w->ev;
    struct call *c = w->call;
    f->run_avg_us = moving(f->run_avg_us, (mono_ms - w->since_ms) * 1000 + 500);
    sched_leave_lists(s, w);
    w->state = WORKER_STARTING;
    w->since_ms = mono_ms;
    sched_unbind(s, w);
    if (e != NULL) {
        e->state = EV_SETTLING;
        if (e == s->lone)
            s->lone = NULL;
    } else if (c != NULL) {
        sched_drop_call(s, c);
    }
    if (usable) {
        sched_become_idle(s, w, mono_ms);
    } else {
        w->between = true;
        f->between++;
    }
}

void sched_worker_gone(struct sched *s, uint64_t id, int64_t mono_ms)
{
    struct worker *w = sched_worker(s, id);
    if (w == NULL)
        return;
    if (w->state == WORKER_BUSY)
        sched_job_done(s, id, false, mono_ms);
    else if (w->ev != NULL || w->call != NULL) {
        sched_worker_start_failed(s, id, mono_ms);
        return;
    }
    sched_leave_lists(s, w);
    if (w->state == WORKER_IDLE || w->state == WORKER_RUNNABLE)
        w->state = WORKER_STARTING;
    free_worker(s, w);
}

void sched_drain(struct sched *s)
{
    struct worker *w, *next;
    s->draining = true;
    TAILQ_FOREACH_SAFE (w, &s->idle, link, next)
        sched_doom(s, w, SCHED_STOP_DRAIN);
}

struct sched_job sched_job_of(const struct sched *s, const struct worker *w)
{
    if (w->call != NULL)
        return (struct sched_job){.sync = true, .fid = w->fn->fid, .key = w->call->id};
    return (struct sched_job){.fid = w->fn->fid,
                              .key = w->ev->seq,
                              .lone = w->ev == s->lone,
                              .sync_start = w->ev->sync_start || w->ev == s->lone};
}

void sched_hold(struct sched *s, bool on)
{
    s->held = on;
}
