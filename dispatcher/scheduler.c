#include "scheduler.h"

#include <stdlib.h>

#include "backoff.h"
#include "sched_priv.h"

enum { AVG_WEIGHT = 8 /* a new value counts for one part in so many */ };

int sched_new(struct sched **ret, const struct sched_limits *limits)
{
    struct sched *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->limits = *limits;
    s->slots.account = limits->account;
    s->next_worker = 1;
    TAILQ_INIT(&s->ring);
    TAILQ_INIT(&s->pool);
    TAILQ_INIT(&s->start);
    TAILQ_INIT(&s->refills);
    TAILQ_INIT(&s->call_ring);
    TAILQ_INIT(&s->runnable);
    TAILQ_INIT(&s->idle);
    TAILQ_INIT(&s->doomed);
    timerq_init(&s->expiry);
    timerq_init(&s->timers);
    *ret = s;
    return 0;
}

void sched_free(struct sched *s)
{
    if (s == NULL)
        return;
    struct ev *e, *next_e;
    struct call *c, *next_c;
    struct worker *w, *next_w;
    struct fn *f, *next_f;
    HASH_ITER (hh, s->evs, e, next_e) {
        HASH_DEL(s->evs, e);
        free(e);
    }
    HASH_ITER (hh, s->calls, c, next_c) {
        HASH_DEL(s->calls, c);
        free(c);
    }
    HASH_ITER (hh, s->workers, w, next_w) {
        HASH_DEL(s->workers, w);
        free(w);
    }
    HASH_ITER (hh, s->fns, f, next_f) {
        HASH_DEL(s->fns, f);
        timerq_done(&f->ready);
        free(f);
    }
    timerq_done(&s->expiry);
    timerq_done(&s->timers);
    free(s);
}

/* --- waiting places ----------------------------------------------------------------------------------------------- */

void sched_unplace(struct sched *s, struct fn *f)
{
    switch (f->place) {
    case PLACE_RING:
        TAILQ_REMOVE(&s->ring, f, link);
        break;
    case PLACE_POOL:
        TAILQ_REMOVE(&s->pool, f, link);
        break;
    case PLACE_START:
        TAILQ_REMOVE(&s->start, f, link);
        break;
    case PLACE_TIMED:
        timerq_del(&s->timers, &f->timer);
        break;
    case PLACE_OFF:
        break;
    }
    f->place = PLACE_OFF;
}

void sched_place(struct sched *s, struct fn *f, enum place where)
{
    sched_unplace(s, f);
    f->place = where;
    if (where == PLACE_RING)
        TAILQ_INSERT_TAIL(&s->ring, f, link);
    else if (where == PLACE_POOL)
        TAILQ_INSERT_TAIL(&s->pool, f, link);
    else if (where == PLACE_START)
        TAILQ_INSERT_TAIL(&s->start, f, link);
}

void sched_wake(struct sched *s, struct fn *f)
{
    if (f->place != PLACE_RING && timerq_first(&f->ready) != NULL)
        sched_place(s, f, PLACE_RING);
}

void sched_wake_pool(struct sched *s)
{
    if (!TAILQ_EMPTY(&s->pool))
        sched_place(s, TAILQ_FIRST(&s->pool), PLACE_RING);
}

void sched_wake_start(struct sched *s)
{
    if (!TAILQ_EMPTY(&s->start))
        sched_place(s, TAILQ_FIRST(&s->start), PLACE_RING);
}

void sched_want_refill(struct sched *s, struct fn *f)
{
    if (f->disk_more && !f->refilling && !f->on_refill && !f->deleted && f->ready.len <= SCHED_WINDOW / 4) {
        f->on_refill = true;
        TAILQ_INSERT_TAIL(&s->refills, f, refill_link);
    }
}

/* --- functions ---------------------------------------------------------------------------------------------------- */

static struct fn *find_fn(const struct sched *s, uint64_t fid)
{
    struct fn *f = NULL;
    HASH_FIND(hh, s->fns, &fid, sizeof fid, f);
    return f;
}

static void unref_fn(struct sched *s, struct fn *f)
{
    f->refs--;
    if (f->refs > 0 || !f->deleted)
        return;
    sched_unplace(s, f);
    concurrency_set_reserved(&s->slots, &f->share, -1);
    timerq_done(&f->ready);
    HASH_DEL(s->fns, f);
    free(f);
}

static void doom_outdated(struct sched *s, struct fn *f, bool all, enum sched_stop why)
{
    struct worker *w, *next;
    TAILQ_FOREACH_SAFE (w, &f->idle, fn_link, next)
        if (all || w->generation != f->cfg.generation)
            sched_doom(s, w, why);
}

int sched_function_put(struct sched *s, const struct sched_function *cfg)
{
    struct fn *f = find_fn(s, cfg->fid);
    if (f == NULL) {
        f = calloc(1, sizeof *f);
        if (f == NULL)
            return ERR_NOMEM;
        f->fid = cfg->fid;
        f->share.reserved = -1;
        timerq_init(&f->ready);
        TAILQ_INIT(&f->calls);
        TAILQ_INIT(&f->tombs);
        TAILQ_INIT(&f->idle);
        TAILQ_INIT(&f->busy);
        HASH_ADD(hh, s->fns, fid, sizeof f->fid, f);
        if (f->hh.tbl == NULL) {
            free(f);
            return ERR_NOMEM;
        }
        f->refs = 1; /* its own, until deleted */
    }
    bool new_code = f->cfg.generation != cfg->generation;
    bool new_share = f->share.reserved != cfg->reserved;
    f->cfg = *cfg;
    /* An event that waits to run alone must not hold everything up for a function that is not to start any. */
    if (s->lone != NULL && s->lone->fn == f && s->lone->state == EV_READY && cfg->paused)
        s->lone = NULL;
    if (new_share)
        concurrency_set_reserved(&s->slots, &f->share, cfg->reserved);
    if (new_code) {
        /* New code may be the cure of what could not be started. */
        f->failures = 0;
        f->backoff_until = 0;
        f->run_avg_us = 0;
        doom_outdated(s, f, false, SCHED_STOP_OLD);
    }
    sched_wake(s, f);
    if (new_share)
        while (!TAILQ_EMPTY(&s->pool))
            sched_wake_pool(s); /* the pool's size changed for everybody */
    return 0;
}

static void forget_ev(struct sched *s, struct ev *e)
{
    struct fn *f = e->fn;
    if (e == s->lone)
        s->lone = NULL;
    if (e->state == EV_TOMB)
        TAILQ_REMOVE(&f->tombs, e, tomb_link);
    HASH_DEL(s->evs, e);
    free(e);
    unref_fn(s, f);
}

static struct worker *worker_of(struct sched *s, const struct ev *e, const struct call *c)
{
    struct worker *w, *next;
    HASH_ITER (hh, s->workers, w, next)
        if ((e != NULL && w->ev == e) || (c != NULL && w->call == c))
            return w;
    return NULL;
}

/* The job bound to a worker that is still starting goes away; the worker will be ready without one. */
static void unbind(struct sched *s, struct worker *w)
{
    bool is_call = w->call != NULL;
    w->ev = NULL;
    w->call = NULL;
    sched_give_slot(s, w->fn, is_call);
}

void sched_function_del(struct sched *s, uint64_t fid)
{
    struct fn *f = find_fn(s, fid);
    struct ev *e, *next_e;
    if (f == NULL || f->deleted)
        return;
    f->deleted = true;
    f->disk_more = false;
    sched_unplace(s, f);
    if (f->on_refill) {
        TAILQ_REMOVE(&s->refills, f, refill_link);
        f->on_refill = false;
    }
    f->refs++; /* for the length of this call */
    HASH_ITER (hh, s->evs, e, next_e) {
        if (e->fn != f || e->state == EV_RUNNING || e->state == EV_SETTLING)
            continue;
        struct worker *w = e->state == EV_BOUND ? worker_of(s, e, NULL) : NULL;
        if (w != NULL)
            unbind(s, w);
        if (e->state == EV_READY)
            sched_unready(s, e);
        forget_ev(s, e);
    }
    doom_outdated(s, f, true, SCHED_STOP_OLD);
    unref_fn(s, f);
    unref_fn(s, f);
}

void sched_backlog(struct sched *s, uint64_t fid)
{
    struct fn *f = find_fn(s, fid);
    if (f == NULL || f->deleted)
        return;
    f->disk_more = true;
    sched_want_refill(s, f);
}

void sched_refilled(struct sched *s, uint64_t fid, bool more)
{
    struct fn *f = find_fn(s, fid);
    if (f == NULL)
        return;
    f->refilling = false;
    f->disk_more = f->disk_more || more;
    f->refs++;
    while (!TAILQ_EMPTY(&f->tombs))
        forget_ev(s, TAILQ_FIRST(&f->tombs));
    sched_want_refill(s, f);
    unref_fn(s, f);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

static struct ev *find_ev(const struct sched *s, uint64_t seq)
{
    struct ev *e = NULL;
    HASH_FIND(hh, s->evs, &seq, sizeof seq, e);
    return e;
}

void sched_unready(struct sched *s, struct ev *e)
{
    timerq_del(&e->fn->ready, &e->ready);
    timerq_del(&s->expiry, &e->expiry);
    s->window--;
    if (timerq_first(&e->fn->ready) == NULL)
        sched_unplace(s, e->fn);
    sched_want_refill(s, e->fn);
}

static bool make_ready(struct sched *s, struct ev *e, int64_t expires_at)
{
    struct fn *f = e->fn;
    if (timerq_set(&f->ready, &e->ready, (int64_t)e->seq) < 0)
        return false;
    if (timerq_set(&s->expiry, &e->expiry, expires_at) < 0) {
        timerq_del(&f->ready, &e->ready);
        return false;
    }
    e->state = EV_READY;
    s->window++;
    sched_wake(s, f);
    return true;
}

bool sched_event_add(struct sched *s, uint64_t fid, const struct sched_event *in)
{
    struct fn *f = find_fn(s, fid);
    struct ev *e = find_ev(s, in->seq);
    if (f == NULL || f->deleted)
        return false;
    bool behind = in->seq > f->high_seq;
    /* One that settles, or has settled while a refill was on its way, can be ready again (a disruption); but a refill
     * may have read it before it was started. */
    bool known = e != NULL && (in->from_disk || (e->state != EV_SETTLING && e->state != EV_TOMB));
    if (known) {
        if (behind && in->from_disk)
            f->high_seq = in->seq;
        return false;
    }
    /* What lies behind the window on disk comes by a refill, in order; only the refill itself may move the mark. */
    if (behind && !in->from_disk && (f->disk_more || f->refilling)) {
        f->disk_more = true;
        sched_want_refill(s, f);
        return false;
    }
    if (e != NULL && e->state == EV_TOMB) {
        TAILQ_REMOVE(&f->tombs, e, tomb_link);
        e->state = EV_SETTLING;
    }
    if (f->ready.len >= SCHED_WINDOW) {
        f->disk_more = true;
        if (!behind)
            f->high_seq = in->seq - 1;
        return false;
    }
    if (e == NULL) {
        e = calloc(1, sizeof *e);
        if (e == NULL)
            return false;
        e->seq = in->seq;
        e->fn = f;
        HASH_ADD(hh, s->evs, seq, sizeof e->seq, e);
        if (e->hh.tbl == NULL) {
            free(e);
            return false;
        }
        f->refs++;
    }
    e->disruptions = in->disruptions;
    e->sync_start = in->sync_start || in->disruptions > 0;
    int64_t expires = in->max_age_ms > INT64_MAX - in->accepted_at_ms ? INT64_MAX : in->accepted_at_ms + in->max_age_ms;
    if (!make_ready(s, e, expires)) {
        f->disk_more = true;
        if (!behind)
            f->high_seq = in->seq - 1;
        forget_ev(s, e);
        return false;
    }
    if (behind)
        f->high_seq = in->seq;
    return true;
}

/* A refill on its way may have read the event before it left: it must be known until that has arrived. */
static void leave(struct sched *s, struct ev *e)
{
    if (!e->fn->refilling) {
        forget_ev(s, e);
        return;
    }
    if (e == s->lone)
        s->lone = NULL;
    e->state = EV_TOMB;
    TAILQ_INSERT_TAIL(&e->fn->tombs, e, tomb_link);
}

void sched_event_settled(struct sched *s, uint64_t seq)
{
    struct ev *e = find_ev(s, seq);
    if (e != NULL && e->state == EV_SETTLING)
        leave(s, e);
}

void sched_event_forget(struct sched *s, uint64_t seq)
{
    struct ev *e = find_ev(s, seq);
    if (e == NULL || (e->state != EV_READY && e->state != EV_BOUND))
        return;
    if (e->state == EV_READY)
        sched_unready(s, e);
    if (e->state == EV_BOUND) {
        struct worker *w = worker_of(s, e, NULL);
        if (w != NULL) {
            if (w->state == WORKER_RUNNABLE) {
                TAILQ_REMOVE(&s->runnable, w, link);
                w->state = WORKER_STARTING;
                unbind(s, w);
                sched_worker_ready(s, w->id, w->since_ms);
            } else {
                unbind(s, w);
            }
        }
    }
    leave(s, e);
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

void sched_take_slot(struct sched *s, struct fn *f, bool is_call)
{
    concurrency_take(&s->slots, &f->share);
    s->busy++;
    s->busy_calls += is_call;
}

void sched_give_slot(struct sched *s, struct fn *f, bool is_call)
{
    concurrency_give(&s->slots, &f->share);
    s->busy--;
    s->busy_calls -= is_call;
    sched_wake(s, f);
    if (f->share.reserved < 0)
        sched_wake_pool(s);
}

enum sched_refusal sched_call_add(struct sched *s, uint64_t fid, uint64_t id, int64_t mono_ms)
{
    struct fn *f = find_fn(s, fid);
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
    }
    HASH_DEL(s->calls, c);
    free(c);
    unref_fn(s, f);
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
    struct worker *w = worker_of(s, NULL, c);
    BIDE_ASSERT(w != NULL, "a bound call without a worker");
    if (w->state == WORKER_RUNNABLE)
        return; /* about to be handed over */
    unbind(s, w);
    sched_drop_call(s, c);
}

/* --- workers ------------------------------------------------------------------------------------------------------ */

static struct worker *find_worker(const struct sched *s, uint64_t id)
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
    sched_wake(s, f);
    sched_wake_start(s);
    unref_fn(s, f);
}

static void leave_lists(struct sched *s, struct worker *w)
{
    if (w->state == WORKER_IDLE) {
        TAILQ_REMOVE(&s->idle, w, link);
        TAILQ_REMOVE(&w->fn->idle, w, fn_link);
    } else if (w->state == WORKER_RUNNABLE) {
        TAILQ_REMOVE(&s->runnable, w, link);
    } else if (w->state == WORKER_BUSY) {
        TAILQ_REMOVE(&w->fn->busy, w, fn_link);
    } else if (w->state == WORKER_DOOMED) {
        TAILQ_REMOVE(&s->doomed, w, link);
    }
}

void sched_doom(struct sched *s, struct worker *w, enum sched_stop why)
{
    leave_lists(s, w);
    w->state = WORKER_DOOMED;
    w->why = why;
    w->fn->live--;
    s->leaving_mb += w->memory_mb;
    TAILQ_INSERT_TAIL(&s->doomed, w, link);
}

static int64_t moving(int64_t avg, int64_t value)
{
    if (value < 1)
        value = 1;
    return avg == 0 ? value : avg + (value - avg) / AVG_WEIGHT;
}

static void become_idle(struct sched *s, struct worker *w, int64_t mono_ms)
{
    struct fn *f = w->fn;
    leave_lists(s, w);
    w->since_ms = mono_ms;
    w->state = WORKER_STARTING; /* on no list */
    if (f->deleted || w->generation != f->cfg.generation || s->draining) {
        sched_doom(s, w, s->draining ? SCHED_STOP_DRAIN : SCHED_STOP_OLD);
        return;
    }
    w->state = WORKER_IDLE;
    TAILQ_INSERT_TAIL(&s->idle, w, link);
    TAILQ_INSERT_HEAD(&f->idle, w, fn_link);
    sched_wake(s, f);
    sched_wake_start(s); /* somebody may want its room */
}

static void not_between(struct worker *w)
{
    w->fn->between -= w->between;
    w->between = false;
}

void sched_worker_ready(struct sched *s, uint64_t id, int64_t mono_ms)
{
    struct worker *w = find_worker(s, id);
    if (w == NULL || w->state != WORKER_STARTING)
        return;
    not_between(w);
    if (w->first_start) {
        w->first_start = false;
        s->starting--;
        w->fn->start_avg_ms = moving(w->fn->start_avg_ms, mono_ms - w->since_ms);
        w->fn->failures = 0;
        sched_wake_start(s);
    }
    if (w->ev == NULL && w->call == NULL) {
        become_idle(s, w, mono_ms);
        return;
    }
    w->state = WORKER_RUNNABLE;
    TAILQ_INSERT_TAIL(&s->runnable, w, link);
}

void sched_worker_start_failed(struct sched *s, uint64_t id, int64_t mono_ms)
{
    struct worker *w = find_worker(s, id);
    if (w == NULL)
        return;
    struct fn *f = w->fn;
    f->failures++;
    f->backoff_until =
        mono_ms + backoff_requeue_wait(s->limits.requeue_first_ms, s->limits.requeue_max_ms, f->failures);
    leave_lists(s, w);
    struct ev *e = w->ev;
    struct call *c = w->call;
    if (e != NULL || c != NULL)
        unbind(s, w);
    if (c != NULL) {
        /* Back among the pending ones: the decision that follows refuses it, since the function backs off. */
        sched_take_slot(s, f, true);
        c->state = CALL_PENDING;
        TAILQ_INSERT_HEAD(&f->calls, c, link);
        if (!f->on_calls) {
            f->on_calls = true;
            TAILQ_INSERT_TAIL(&s->call_ring, f, call_link);
        }
    }
    if (e != NULL) {
        if (e == s->lone)
            s->lone = NULL; /* chosen again when its turn comes */
        if (!make_ready(s, e, e->expiry.at_ms)) {
            f->disk_more = true;
            f->high_seq = e->seq - 1 < f->high_seq ? e->seq - 1 : f->high_seq;
            forget_ev(s, e);
        }
    }
    w->state = WORKER_STARTING;
    free_worker(s, w);
}

bool sched_worker_init_failed(struct sched *s, uint64_t id, struct sched_job *ret)
{
    struct worker *w = find_worker(s, id);
    if (w == NULL)
        return false;
    if (w->first_start) {
        w->first_start = false;
        s->starting--;
        sched_wake_start(s);
    }
    leave_lists(s, w);
    w->state = WORKER_STOPPING;
    w->fn->live--;
    s->leaving_mb += w->memory_mb;
    if (w->ev == NULL && w->call == NULL)
        return false;
    *ret = sched_job_of(s, w);
    struct ev *e = w->ev;
    struct call *c = w->call;
    unbind(s, w);
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
    struct worker *w = find_worker(s, id);
    if (w == NULL || w->state != WORKER_BUSY)
        return;
    struct fn *f = w->fn;
    struct ev *e = w->ev;
    struct call *c = w->call;
    f->run_avg_us = moving(f->run_avg_us, (mono_ms - w->since_ms) * 1000 + 500);
    leave_lists(s, w);
    w->state = WORKER_STARTING;
    w->since_ms = mono_ms;
    unbind(s, w);
    if (e != NULL) {
        e->state = EV_SETTLING;
        if (e == s->lone)
            s->lone = NULL;
    } else if (c != NULL) {
        sched_drop_call(s, c);
    }
    if (usable) {
        become_idle(s, w, mono_ms);
    } else {
        w->between = true;
        f->between++;
    }
}

void sched_worker_gone(struct sched *s, uint64_t id, int64_t mono_ms)
{
    struct worker *w = find_worker(s, id);
    if (w == NULL)
        return;
    if (w->state == WORKER_BUSY)
        sched_job_done(s, id, false, mono_ms);
    else if (w->ev != NULL || w->call != NULL) {
        sched_worker_start_failed(s, id, mono_ms);
        return;
    }
    leave_lists(s, w);
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

/* --- looking at it ------------------------------------------------------------------------------------------------ */

void sched_stats(const struct sched *s, struct sched_stats *ret)
{
    const struct worker *w;
    *ret = (struct sched_stats){.workers = HASH_COUNT(s->workers),
                                .starting = s->starting,
                                .memory_mb = s->memory_mb,
                                .running_sync = s->busy_calls,
                                .running_async = s->busy - s->busy_calls,
                                .window = s->window};
    TAILQ_FOREACH (w, &s->idle, link)
        ret->idle++;
    for (w = s->workers; w != NULL; w = w->hh.next)
        ret->busy += w->state == WORKER_BUSY;
}

size_t sched_worker_ids(const struct sched *s, uint64_t **ret)
{
    size_t n = 0;
    *ret = calloc(HASH_COUNT(s->workers) + 1, sizeof **ret);
    for (const struct worker *w = s->workers; w != NULL && *ret != NULL; w = w->hh.next)
        (*ret)[n++] = w->id;
    return n;
}

uint64_t sched_worker_function(const struct sched *s, uint64_t worker)
{
    const struct worker *w = find_worker(s, worker);
    return w != NULL ? w->fn->fid : 0;
}

int64_t sched_function_backoff(const struct sched *s, uint64_t fid, int64_t mono_ms)
{
    const struct fn *f = find_fn(s, fid);
    return f != NULL && f->failures > 0 && f->backoff_until > mono_ms ? f->backoff_until - mono_ms : 0;
}
