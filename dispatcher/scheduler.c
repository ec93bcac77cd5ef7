#include "scheduler.h"

#include <stdlib.h>

#include "sched_priv.h"

int sched_new(struct sched **ret, const struct sched_limits *limits)
{
    struct sched *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    sched_set_limits(s, limits);
    s->next_worker = 1;
    TAILQ_INIT(&s->ring);
    TAILQ_INIT(&s->pool);
    TAILQ_INIT(&s->floor);
    TAILQ_INIT(&s->first);
    TAILQ_INIT(&s->more);
    TAILQ_INIT(&s->refills);
    TAILQ_INIT(&s->refilling);
    TAILQ_INIT(&s->strays);
    TAILQ_INIT(&s->call_ring);
    TAILQ_INIT(&s->runnable);
    TAILQ_INIT(&s->idle);
    TAILQ_INIT(&s->doomed);
    timerq_init(&s->expiry);
    timerq_init(&s->timers);
    *ret = s;
    return 0;
}

void sched_set_limits(struct sched *s, const struct sched_limits *limits)
{
    s->limits = *limits;
    s->slots.account = limits->account;
    s->look_starts = true; /* more may be allowed now */
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

static struct fn_list *pool_of(struct sched *s, const struct fn *f)
{
    return f->share.reserved >= 0 ? &s->floor : &s->pool;
}

void sched_unplace(struct sched *s, struct fn *f)
{
    switch (f->place) {
    case PLACE_RING:
        TAILQ_REMOVE(&s->ring, f, link);
        break;
    case PLACE_POOL:
        TAILQ_REMOVE(pool_of(s, f), f, link);
        break;
    case PLACE_FIRST:
        TAILQ_REMOVE(&s->first, f, link);
        s->look_starts = true; /* others may have waited behind it */
        break;
    case PLACE_MORE:
        TAILQ_REMOVE(&s->more, f, link);
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
        TAILQ_INSERT_TAIL(pool_of(s, f), f, link);
    else if (where == PLACE_FIRST)
        TAILQ_INSERT_TAIL(&s->first, f, link);
    else if (where == PLACE_MORE)
        TAILQ_INSERT_TAIL(&s->more, f, link);
    if (where == PLACE_FIRST || where == PLACE_MORE) {
        f->passed = 0;
        s->look_starts = true;
    }
}

void sched_wake(struct sched *s, struct fn *f)
{
    if (timerq_first(&f->ready) == NULL)
        return;
    switch (f->place) {
    case PLACE_RING:
    case PLACE_POOL: /* its turn for a slot stands, whatever else is new */
        break;
    case PLACE_FIRST:
    case PLACE_MORE:
        s->look_starts = true;
        if (!TAILQ_EMPTY(&f->idle))
            sched_place(s, f, PLACE_RING);
        else if (f->place == PLACE_MORE && f->live == 0)
            sched_place(s, f, PLACE_FIRST);
        break;
    case PLACE_OFF:
    case PLACE_TIMED:
        sched_place(s, f, PLACE_RING);
        break;
    }
}

static void wake_if_free(struct sched *s, const struct fn_list *waiting)
{
    struct fn *f = TAILQ_FIRST(waiting);
    if (f != NULL && concurrency_check(&s->slots, &f->share) == CONCURRENCY_FREE)
        sched_place(s, f, PLACE_RING);
}

void sched_wake_pool(struct sched *s)
{
    /* One slot may be all there is for both: they take turns at being asked first. */
    s->pool_first = !s->pool_first;
    wake_if_free(s, s->pool_first ? &s->pool : &s->floor);
    wake_if_free(s, s->pool_first ? &s->floor : &s->pool);
}

void sched_want_refill(struct sched *s, struct fn *f)
{
    if (f->disk_more && !f->refilling && !f->on_refill && !f->deleted && f->ready.len <= SCHED_WINDOW / 4) {
        f->on_refill = true;
        TAILQ_INSERT_TAIL(&s->refills, f, refill_link);
    }
}

/* --- functions ---------------------------------------------------------------------------------------------------- */

struct fn *sched_fn(const struct sched *s, uint64_t fid)
{
    struct fn *f = NULL;
    HASH_FIND(hh, s->fns, &fid, sizeof fid, f);
    return f;
}

void sched_unref(struct sched *s, struct fn *f)
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

static void forget_ev(struct sched *s, struct ev *e)
{
    struct fn *f = e->fn;
    if (e == s->lone)
        s->lone = NULL;
    if (e->state == EV_TOMB)
        TAILQ_REMOVE(&f->tombs, e, tomb_link);
    HASH_DEL(s->evs, e);
    free(e);
    sched_unref(s, f);
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

void sched_stays_on_disk(struct fn *f, uint64_t seq)
{
    f->disk_more = true;
    if (seq <= f->high_seq)
        f->high_seq = seq - 1;
    /* A refill on its way moves the mark forward again, over this one. */
    if (f->refilling && (f->missed == 0 || seq < f->missed))
        f->missed = seq;
}

static void leave_on_disk(struct sched *s, struct ev *e)
{
    struct fn *f = e->fn;
    sched_stays_on_disk(f, e->seq);
    forget_ev(s, e);
    sched_want_refill(s, f);
}

void sched_event_again(struct sched *s, struct ev *e)
{
    if (e == s->lone)
        s->lone = NULL; /* chosen again when its turn comes */
    if (!make_ready(s, e, e->expiry.at_ms))
        leave_on_disk(s, e);
}

/* What a changed function's workers were being started for is decided anew: by its new code, limit or pause. */
static void unbind_all(struct sched *s, struct fn *f, bool calls_too)
{
    struct worker *w, *next;
    HASH_ITER (hh, s->workers, w, next) {
        struct ev *e = w->ev;
        struct call *c = w->call;
        if (w->fn != f || (w->state != WORKER_STARTING && w->state != WORKER_RUNNABLE))
            continue;
        if (e != NULL) {
            sched_unbind_waiting(s, w);
            sched_event_again(s, e);
        } else if (c != NULL && calls_too) {
            sched_unbind_waiting(s, w);
            sched_call_again(s, c);
        }
    }
}

int sched_function_put(struct sched *s, const struct sched_function *cfg)
{
    struct fn *f = sched_fn(s, cfg->fid);
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
    sched_unplace(s, f);
    /* An event that waits to run alone must not hold everything up for a function that is not to start any. */
    if (s->lone != NULL && s->lone->fn == f && s->lone->state == EV_READY && cfg->paused)
        s->lone = NULL;
    if (new_share)
        concurrency_set_reserved(&s->slots, &f->share, cfg->reserved);
    if (new_code || new_share || cfg->paused)
        unbind_all(s, f, new_code);
    if (new_code) {
        /* New code may be the cure of what could not be started. */
        f->failures = 0;
        f->backoff_until = 0;
        f->run_avg_us = 0;
        doom_outdated(s, f, false, SCHED_STOP_OLD);
    }
    s->look_starts = true;
    sched_wake(s, f);
    return 0;
}

/* A refill has arrived: strays older than every one still on its way are of no use any more. */
static void end_refill(struct sched *s, struct fn *f)
{
    struct ev *e;
    f->refilling = false;
    TAILQ_REMOVE(&s->refilling, f, refill_link);
    const struct fn *oldest = TAILQ_FIRST(&s->refilling);
    while ((e = TAILQ_FIRST(&s->strays)) != NULL && (oldest == NULL || e->refill < oldest->refill)) {
        TAILQ_REMOVE(&s->strays, e, tomb_link);
        HASH_DEL(s->evs, e);
        free(e);
    }
}

void sched_function_del(struct sched *s, uint64_t fid)
{
    struct fn *f = sched_fn(s, fid);
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
    if (f->refilling)
        end_refill(s, f);
    f->refs++; /* for the length of this call */
    HASH_ITER (hh, s->evs, e, next_e) {
        if (e->fn != f || e->state == EV_RUNNING || e->state == EV_SETTLING)
            continue;
        if (e->state == EV_BOUND)
            sched_unbind_waiting(s, e->worker);
        if (e->state == EV_READY)
            sched_unready(s, e);
        forget_ev(s, e);
    }
    doom_outdated(s, f, true, SCHED_STOP_OLD);
    sched_unref(s, f);
    sched_unref(s, f);
}

void sched_backlog(struct sched *s, uint64_t fid)
{
    struct fn *f = sched_fn(s, fid);
    if (f == NULL || f->deleted)
        return;
    f->disk_more = true;
    sched_want_refill(s, f);
}

void sched_refilled(struct sched *s, uint64_t fid, bool more)
{
    struct fn *f = sched_fn(s, fid);
    if (f == NULL)
        return;
    if (f->refilling)
        end_refill(s, f);
    f->disk_more = f->disk_more || more || f->missed > 0;
    if (f->missed > 0 && f->missed <= f->high_seq)
        f->high_seq = f->missed - 1;
    f->missed = 0;
    f->refs++;
    while (!TAILQ_EMPTY(&f->tombs))
        forget_ev(s, TAILQ_FIRST(&f->tombs));
    sched_want_refill(s, f);
    sched_unref(s, f);
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

static struct ev *new_ev(struct sched *s, struct fn *f, uint64_t seq)
{
    struct ev *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->seq = seq;
    e->fn = f;
    HASH_ADD(hh, s->evs, seq, sizeof e->seq, e);
    if (e->hh.tbl == NULL) {
        free(e);
        return NULL;
    }
    f->refs++;
    return e;
}

/* The last of f's window: it is a leaf of the heap. */
static struct ev *youngest(const struct fn *f)
{
    const struct timerq *q = &f->ready;
    struct timerq_item *last = q->v[q->len];
    for (size_t i = q->len / 2 + 1; i < q->len; i++)
        if (q->v[i]->at_ms > last->at_ms)
            last = q->v[i];
    return (struct ev *)(void *)((char *)last - offsetof(struct ev, ready));
}

/* Room in a full window for an event that is older than the youngest there. */
static bool make_room(struct sched *s, struct fn *f, uint64_t seq, uint64_t *ret_out)
{
    struct ev *last = youngest(f);
    if (last->seq < seq)
        return false;
    *ret_out = last->seq;
    sched_unready(s, last);
    leave_on_disk(s, last);
    return true;
}

bool sched_event_add(struct sched *s, uint64_t fid, const struct sched_event *in, uint64_t *ret_out)
{
    struct fn *f = sched_fn(s, fid);
    struct ev *e = find_ev(s, in->seq);
    *ret_out = 0;
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
        sched_stays_on_disk(f, in->seq);
        sched_want_refill(s, f);
        return false;
    }
    if (e != NULL && e->state == EV_TOMB && e->fn == NULL) {
        TAILQ_REMOVE(&s->strays, e, tomb_link);
        HASH_DEL(s->evs, e);
        free(e);
        e = NULL;
    } else if (e != NULL && e->state == EV_TOMB) {
        TAILQ_REMOVE(&f->tombs, e, tomb_link);
        e->state = EV_SETTLING;
    }
    if (f->ready.len >= SCHED_WINDOW && !make_room(s, f, in->seq, ret_out)) {
        sched_stays_on_disk(f, in->seq);
        return false;
    }
    if (e == NULL) {
        e = new_ev(s, f, in->seq);
        if (e == NULL) {
            sched_stays_on_disk(f, in->seq);
            return false;
        }
    }
    e->disruptions = in->disruptions;
    e->sync_start = in->sync_start || in->disruptions > 0;
    int64_t expires = in->max_age_ms > INT64_MAX - in->accepted_at_ms ? INT64_MAX : in->accepted_at_ms + in->max_age_ms;
    if (!make_ready(s, e, expires)) {
        leave_on_disk(s, e);
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

/* One that is not known here may be on its way in a refill that read it before: it is kept as a tomb, without a
 * function, until every refill that is on its way now has arrived. */
static void bury_stray(struct sched *s, uint64_t seq)
{
    struct ev *e = TAILQ_EMPTY(&s->refilling) ? NULL : calloc(1, sizeof *e);
    if (e == NULL)
        return; /* without memory, the start of its run will find that it is not queued */
    e->seq = seq;
    e->state = EV_TOMB;
    e->refill = s->n_refills;
    HASH_ADD(hh, s->evs, seq, sizeof e->seq, e);
    if (e->hh.tbl == NULL)
        free(e);
    else
        TAILQ_INSERT_TAIL(&s->strays, e, tomb_link);
}

uint64_t sched_event_forget(struct sched *s, uint64_t seq)
{
    struct ev *e = find_ev(s, seq);
    if (e == NULL)
        bury_stray(s, seq);
    if (e != NULL && e->state == EV_RUNNING)
        return e->worker->id;
    if (e == NULL || (e->state != EV_READY && e->state != EV_BOUND))
        return 0;
    if (e->state == EV_READY)
        sched_unready(s, e);
    else
        sched_unbind_waiting(s, e->worker);
    leave(s, e);
    return 0;
}

/* --- looking at it ------------------------------------------------------------------------------------------------ */

void sched_stats(const struct sched *s, struct sched_stats *ret)
{
    *ret = (struct sched_stats){.workers = HASH_COUNT(s->workers),
                                .starting = s->starting,
                                .idle = s->n_idle,
                                .busy = s->n_busy,
                                .memory_mb = s->memory_mb,
                                .running_sync = s->busy_calls,
                                .running_async = (uint64_t)s->slots.busy - s->busy_calls,
                                .running_unreserved = (uint64_t)s->slots.pool_busy,
                                .window = s->window};
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
    const struct worker *w = sched_worker(s, worker);
    return w != NULL ? w->fn->fid : 0;
}

int64_t sched_function_backoff(const struct sched *s, uint64_t fid, int64_t mono_ms)
{
    const struct fn *f = sched_fn(s, fid);
    return f != NULL && f->failures > 0 && f->backoff_until > mono_ms ? f->backoff_until - mono_ms : 0;
}
