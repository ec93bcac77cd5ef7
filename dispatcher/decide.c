/* The scheduler's decisions, in the order in which sched_next looks for one. */
#include "sched_priv.h"

static struct fn *fn_of_timer(struct timerq_item *it)
{
    return (struct fn *)(void *)((char *)it - offsetof(struct fn, timer));
}

static struct ev *ev_of_expiry(struct timerq_item *it)
{
    return (struct ev *)(void *)((char *)it - offsetof(struct ev, expiry));
}

static struct ev *first_ready(const struct fn *f)
{
    struct timerq_item *it = timerq_first(&f->ready);
    return it != NULL ? (struct ev *)(void *)((char *)it - offsetof(struct ev, ready)) : NULL;
}

static bool expire(struct sched *s, struct ev *e, enum sched_expiry why, struct sched_decision *ret)
{
    sched_unready(s, e);
    e->state = EV_SETTLING;
    if (e == s->lone)
        s->lone = NULL;
    *ret = (struct sched_decision){
        .kind = SCHED_EXPIRE, .fid = e->fn->fid, .job = {.fid = e->fn->fid, .key = e->seq}, .expiry = why};
    return true;
}

/* --- workers ------------------------------------------------------------------------------------------------------ */

static bool step_expired(struct sched *s, int64_t now_ms, struct sched_decision *ret)
{
    struct timerq_item *it = timerq_first(&s->expiry);
    return it != NULL && it->at_ms <= now_ms && expire(s, ev_of_expiry(it), SCHED_EXPIRE_AGE, ret);
}

static void run(struct sched *s, struct worker *w, int64_t mono_ms, struct sched_decision *ret)
{
    if (w->ev != NULL)
        w->ev->state = EV_RUNNING;
    else
        w->call->state = CALL_RUNNING;
    w->state = WORKER_BUSY;
    w->since_ms = mono_ms;
    TAILQ_INSERT_TAIL(&w->fn->busy, w, fn_link);
    *ret = (struct sched_decision){.kind = SCHED_RUN, .worker = w->id, .fid = w->fn->fid, .job = sched_job_of(s, w)};
}

static bool step_runnable(struct sched *s, int64_t mono_ms, struct sched_decision *ret)
{
    struct worker *w = TAILQ_FIRST(&s->runnable);
    if (w == NULL)
        return false;
    TAILQ_REMOVE(&s->runnable, w, link);
    run(s, w, mono_ms, ret);
    return true;
}

static bool step_doomed(struct sched *s, int64_t mono_ms, struct sched_decision *ret)
{
    struct worker *w = TAILQ_FIRST(&s->idle);
    if (w != NULL && mono_ms - w->since_ms >= s->limits.worker_idle_ms)
        sched_doom(s, w, SCHED_STOP_IDLE);
    w = TAILQ_FIRST(&s->doomed);
    if (w == NULL)
        return false;
    TAILQ_REMOVE(&s->doomed, w, link);
    w->state = WORKER_STOPPING;
    *ret = (struct sched_decision){.kind = SCHED_STOP_WORKER, .worker = w->id, .fid = w->fn->fid, .stop = w->why};
    return true;
}

static void run_on_idle(struct sched *s, struct worker *w, int64_t mono_ms, struct sched_decision *ret)
{
    TAILQ_REMOVE(&s->idle, w, link);
    TAILQ_REMOVE(&w->fn->idle, w, fn_link);
    run(s, w, mono_ms, ret);
}

enum room { ROOM_YES, ROOM_SOON /* workers are leaving */, ROOM_STOP /* *ret_idle must go first */, ROOM_NO };

/* Is there memory for one more worker of f? Idle workers of other functions give way, oldest first; of f itself only
 * ones that run old code are idle here, and they are doomed already. */
static enum room room_for(struct sched *s, const struct fn *f, struct worker **ret_idle)
{
    int64_t need = f->cfg.memory_mb;
    if (s->memory_mb + need <= s->limits.worker_memory_mb)
        return ROOM_YES;
    if (s->memory_mb - s->leaving_mb + need <= s->limits.worker_memory_mb)
        return ROOM_SOON;
    struct worker *w;
    TAILQ_FOREACH (w, &s->idle, link) {
        if (w->fn != f) {
            *ret_idle = w;
            return ROOM_STOP;
        }
    }
    return s->leaving_mb > 0 ? ROOM_SOON : ROOM_NO;
}

static bool start(struct sched *s, struct fn *f, int64_t mono_ms, struct ev *e, struct call *c,
                  struct sched_decision *ret)
{
    struct worker *w = sched_worker_new(s, f, mono_ms);
    if (w == NULL)
        return false;
    w->ev = e;
    w->call = c;
    if (e != NULL)
        e->state = EV_BOUND;
    else
        c->state = CALL_BOUND;
    *ret = (struct sched_decision){.kind = SCHED_START_WORKER,
                                   .worker = w->id,
                                   .fid = f->fid,
                                   .generation = w->generation,
                                   .job = sched_job_of(s, w)};
    return true;
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static void unqueue_call(struct sched *s, struct call *c)
{
    struct fn *f = c->fn;
    TAILQ_REMOVE(&f->calls, c, link);
    if (TAILQ_EMPTY(&f->calls)) {
        f->on_calls = false;
        TAILQ_REMOVE(&s->call_ring, f, call_link);
    }
}

static bool refuse(struct sched *s, struct call *c, enum sched_refusal why, struct sched_decision *ret)
{
    *ret = (struct sched_decision){.kind = SCHED_REFUSE,
                                   .fid = c->fn->fid,
                                   .job = {.sync = true, .fid = c->fn->fid, .key = c->id},
                                   .refusal = why};
    sched_give_slot(s, c->fn, true);
    sched_drop_call(s, c);
    return true;
}

/* The first pending call of f: an idle worker, a start, a refusal, or nothing yet (false). */
static bool serve_call(struct sched *s, struct fn *f, int64_t mono_ms, struct sched_decision *ret)
{
    struct call *c = TAILQ_FIRST(&f->calls);
    struct worker *w = TAILQ_FIRST(&f->idle), *victim = NULL;
    if (w != NULL) {
        unqueue_call(s, c);
        w->call = c;
        run_on_idle(s, w, mono_ms, ret);
        return true;
    }
    /* A worker that has just answered asks for its next job in a moment: worth waiting for, against a cold start. */
    if (f->between > 0)
        return false;
    if (f->deleted || s->draining || (f->failures > 0 && mono_ms < f->backoff_until))
        return refuse(s, c, SCHED_REFUSE_FAILED, ret);
    if (s->starting >= s->limits.worker_starts)
        return false;
    switch (room_for(s, f, &victim)) {
    case ROOM_YES:
        unqueue_call(s, c);
        if (start(s, f, mono_ms, NULL, c, ret))
            return true;
        TAILQ_INSERT_HEAD(&f->calls, c, link);
        f->on_calls = true;
        TAILQ_INSERT_HEAD(&s->call_ring, f, call_link);
        return refuse(s, c, SCHED_REFUSE_FAILED, ret);
    case ROOM_SOON:
        return false;
    case ROOM_STOP:
        sched_doom(s, victim, SCHED_STOP_MAKE_ROOM);
        return false;
    case ROOM_NO:
        break;
    }
    return refuse(s, c, SCHED_REFUSE_ACCOUNT, ret);
}

static bool step_calls(struct sched *s, int64_t mono_ms, struct sched_decision *ret)
{
    struct fn *f, *next;
    TAILQ_FOREACH_SAFE (f, &s->call_ring, call_link, next)
        if (serve_call(s, f, mono_ms, ret))
            return true;
    return false;
}

/* --- events ------------------------------------------------------------------------------------------------------- */

/* One more worker only while what is queued would otherwise wait longer than a start takes. A run in progress that
 * already lasts longer than the average counts as what it is. *ret_at: when that may change by time alone. */
static bool wants_more(const struct fn *f, int64_t mono_ms, int64_t *ret_at)
{
    *ret_at = INT64_MAX;
    if (f->live == 0)
        return true;
    int64_t queued = (int64_t)f->ready.len + (f->disk_more ? SCHED_WINDOW : 0);
    int64_t start_us = (f->start_avg_ms > 0 ? f->start_avg_ms : SCHED_START_GUESS_MS) * 1000;
    int64_t run_us = f->run_avg_us;
    const struct worker *oldest = TAILQ_FIRST(&f->busy);
    if (oldest != NULL && (mono_ms - oldest->since_ms) * 1000 > run_us)
        run_us = (mono_ms - oldest->since_ms) * 1000;
    if (run_us * queued / f->live > start_us)
        return true;
    if (oldest != NULL)
        *ret_at = oldest->since_ms + start_us * f->live / queued / 1000 + 1;
    return false;
}

static void wait_until(struct sched *s, struct fn *f, int64_t mono_ms)
{
    sched_unplace(s, f);
    if (mono_ms != INT64_MAX && timerq_set(&s->timers, &f->timer, mono_ms) == 0)
        f->place = PLACE_TIMED;
}

/* Start a worker for e, f's first event, if that is due; otherwise put f where it has to wait. */
static bool start_for(struct sched *s, struct fn *f, struct ev *e, int64_t mono_ms, struct sched_decision *ret)
{
    int64_t at;
    struct worker *victim = NULL;
    if (f->failures > 0 && mono_ms < f->backoff_until) {
        if (s->lone == e)
            s->lone = NULL; /* others need not wait for a function that cannot start */
        wait_until(s, f, f->backoff_until);
        return false;
    }
    if (!wants_more(f, mono_ms, &at)) {
        wait_until(s, f, at);
        return false;
    }
    /* The last start slot is kept for functions that have no worker at all: a flood of one does not delay another. */
    uint32_t starts = s->limits.worker_starts;
    if (f->live > 0 && starts > 1)
        starts--;
    if (s->starting >= starts) {
        sched_place(s, f, PLACE_START);
        return false;
    }
    switch (room_for(s, f, &victim)) {
    case ROOM_YES:
        break;
    case ROOM_STOP:
        /* A function that has workers already takes no other's. */
        if (f->live == 0)
            sched_doom(s, victim, SCHED_STOP_MAKE_ROOM);
        sched_place(s, f, PLACE_START);
        return false;
    case ROOM_SOON:
    case ROOM_NO:
        sched_place(s, f, PLACE_START);
        return false;
    }
    int64_t expires = e->expiry.at_ms;
    sched_unready(s, e);
    e->expiry.at_ms = expires;
    sched_take_slot(s, f, false);
    if (start(s, f, mono_ms, e, NULL, ret)) {
        if (!TAILQ_EMPTY(&s->start))
            sched_wake_start(s); /* more than one slot may have come free */
        return true;
    }
    sched_give_slot(s, f, false);
    /* Out of memory: the queue on disk has the event, a later refill brings it back. */
    e->state = EV_SETTLING;
    f->disk_more = true;
    f->high_seq = e->seq - 1 < f->high_seq ? e->seq - 1 : f->high_seq;
    sched_event_settled(s, e->seq);
    return false;
}

/* f's turn on the ring. True: a decision. False: f waits somewhere else now, or something was put in motion. */
static bool serve_event(struct sched *s, struct fn *f, int64_t mono_ms, struct sched_decision *ret)
{
    struct ev *e = first_ready(f);
    if (e == NULL || f->deleted || s->draining) {
        sched_unplace(s, f);
        return false;
    }
    if (f->share.reserved == 0)
        return expire(s, e, SCHED_EXPIRE_ZERO_RESERVED, ret);
    /* A function larger than all workers together may be can never start: the shell names it as a fault. */
    if (f->cfg.paused || f->cfg.memory_mb > s->limits.worker_memory_mb) {
        sched_unplace(s, f);
        return false;
    }
    if (s->lone != NULL && s->lone->fn == f && s->lone != e && s->lone->state == EV_READY)
        s->lone = NULL; /* an older event came back before it */
    if (e->disruptions >= SCHED_LONE_DISRUPTIONS && s->lone == NULL) {
        s->lone = e;
        s->lone_since = mono_ms;
    }
    if (s->lone != NULL && (s->lone != e || s->busy > 0))
        return false; /* keeps its turn until the lone run is over */
    switch (concurrency_check(&s->slots, &f->share)) {
    case CONCURRENCY_RESERVED_FULL:
        sched_unplace(s, f);
        return false;
    case CONCURRENCY_ACCOUNT_FULL:
        sched_place(s, f, PLACE_POOL);
        return false;
    case CONCURRENCY_FREE:
        break;
    }
    struct worker *w = TAILQ_FIRST(&f->idle);
    if (w == NULL)
        return start_for(s, f, e, mono_ms, ret);
    sched_unready(s, e);
    sched_take_slot(s, f, false);
    w->ev = e;
    run_on_idle(s, w, mono_ms, ret);
    return true;
}

static bool step_events(struct sched *s, int64_t mono_ms, struct sched_decision *ret)
{
    struct timerq_item *it;
    while ((it = timerq_first(&s->timers)) != NULL && it->at_ms <= mono_ms)
        sched_wake(s, fn_of_timer(it));
    if (s->lone != NULL && s->lone->state != EV_READY)
        return false; /* it runs alone */
    if (s->lone != NULL)
        return serve_event(s, s->lone->fn, mono_ms, ret);
    struct fn *f;
    while ((f = TAILQ_FIRST(&s->ring)) != NULL) {
        /* Round robin: whoever had a turn goes to the end. */
        TAILQ_REMOVE(&s->ring, f, link);
        TAILQ_INSERT_TAIL(&s->ring, f, link);
        if (serve_event(s, f, mono_ms, ret))
            return true;
        if (s->lone != NULL)
            return false;
    }
    return false;
}

static bool step_refill(struct sched *s, struct sched_decision *ret)
{
    struct fn *f = TAILQ_FIRST(&s->refills);
    if (f == NULL)
        return false;
    TAILQ_REMOVE(&s->refills, f, refill_link);
    f->on_refill = false;
    f->refilling = true;
    f->disk_more = false; /* until the answer, or a new event that does not fit, says so again */
    *ret = (struct sched_decision){.kind = SCHED_REFILL,
                                   .fid = f->fid,
                                   .after_seq = f->high_seq,
                                   .max_n = (uint32_t)(SCHED_WINDOW - f->ready.len)};
    return true;
}

bool sched_next(struct sched *s, int64_t now_ms, int64_t mono_ms, struct sched_decision *ret)
{
    return step_expired(s, now_ms, ret) || step_runnable(s, mono_ms, ret) || step_calls(s, mono_ms, ret) ||
           step_events(s, mono_ms, ret) || step_doomed(s, mono_ms, ret) || step_refill(s, ret);
}

void sched_wakeup(struct sched *s, int64_t *ret_now_ms, int64_t *ret_mono_ms)
{
    const struct timerq_item *expiry = timerq_first(&s->expiry), *timer = timerq_first(&s->timers);
    const struct worker *idle = TAILQ_FIRST(&s->idle);
    *ret_now_ms = expiry != NULL ? expiry->at_ms : INT64_MAX;
    *ret_mono_ms = timer != NULL ? timer->at_ms : INT64_MAX;
    if (idle != NULL && idle->since_ms + s->limits.worker_idle_ms < *ret_mono_ms)
        *ret_mono_ms = idle->since_ms + s->limits.worker_idle_ms;
    /* A call held up by a backoff is refused at once, by starts or memory when those change: no timer of its own. */
}
