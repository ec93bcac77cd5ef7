/* The scheduler's decisions, in the order in which sched_next looks for one. */
#include "sched_priv.h"

enum {
    VICTIM_LOOKS = 16, /* idle workers looked at, at a time, to make room */
    START_LOOKS = 64,  /* functions looked at, at a time, for one whose worker fits */
    PASSED_MAX = 16,   /* smaller functions may start before the first one that does not fit, so many times */
};

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

static void expired(struct sched *s, struct ev *e, enum sched_expiry why, struct sched_decision *ret)
{
    e->state = EV_SETTLING;
    if (e == s->lone)
        s->lone = NULL;
    *ret = (struct sched_decision){
        .kind = SCHED_EXPIRE, .fid = e->fn->fid, .job = {.fid = e->fn->fid, .key = e->seq}, .expiry = why};
}

static bool expire(struct sched *s, struct ev *e, enum sched_expiry why, struct sched_decision *ret)
{
    sched_unready(s, e);
    expired(s, e, why, ret);
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
    s->n_busy++;
    TAILQ_INSERT_TAIL(&w->fn->busy, w, fn_link);
    *ret = (struct sched_decision){.kind = SCHED_RUN, .worker = w->id, .fid = w->fn->fid, .job = sched_job_of(s, w)};
    sched_wake(s, w->fn); /* from now on it can be seen how long the others have to wait behind this run */
}

static bool step_runnable(struct sched *s, int64_t now_ms, int64_t mono_ms, struct sched_decision *ret)
{
    struct worker *w = TAILQ_FIRST(&s->runnable);
    if (w == NULL)
        return false;
    struct ev *e = w->ev;
    TAILQ_REMOVE(&s->runnable, w, link);
    if (e == NULL || e->expiry.at_ms > now_ms) {
        run(s, w, mono_ms, ret);
        return true;
    }
    /* It grew too old while its worker started. */
    w->state = WORKER_STARTING;
    sched_unbind(s, w);
    sched_become_idle(s, w, mono_ms);
    expired(s, e, SCHED_EXPIRE_AGE, ret);
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
    sched_leave_lists(s, w);
    run(s, w, mono_ms, ret);
}

enum room { ROOM_YES, ROOM_SOON /* workers are leaving */, ROOM_NO };

static int64_t start_ms(const struct fn *f)
{
    return f->start_avg_ms > 0 ? f->start_avg_ms : SCHED_START_GUESS_MS;
}

/* May w, which is idle, go for an event of f? One that has no work waiting may. One that has may only go for a function
 * that has no worker at all, and not before it has been of use for as long as its own start took: functions that take
 * turns in too little memory then spend at most half their time starting. */
static bool may_go(const struct worker *w, const struct fn *f, bool enough, int64_t mono_ms)
{
    if (w->fn->ready.len == 0 || w->fn->cfg.paused)
        return enough;
    return f->live == 0 && mono_ms - w->ready_at_ms >= start_ms(w->fn);
}

/* Is there memory for one more worker of f? Idle workers of other functions give way, oldest first; when it is
 * urgent (a call, or an event all others wait for) any of them, if that is enough. (Of f itself none is idle here but
 * doomed ones.) */
static enum room room_for(struct sched *s, const struct fn *f, bool urgent, int64_t mono_ms)
{
    int64_t limit = s->limits.worker_memory_mb - f->cfg.memory_mb;
    if (s->memory_mb <= limit)
        return ROOM_YES;
    bool enough = s->memory_mb - s->leaving_mb - s->idle_mb <= limit;
    struct worker *w = TAILQ_FIRST(&s->idle), *next;
    for (int looks = 0; w != NULL && s->memory_mb - s->leaving_mb > limit && looks < VICTIM_LOOKS; looks++, w = next) {
        next = TAILQ_NEXT(w, link);
        if (w->fn != f && (urgent ? enough : may_go(w, f, enough, mono_ms)))
            sched_doom(s, w, SCHED_STOP_MAKE_ROOM);
    }
    return s->memory_mb - s->leaving_mb <= limit || (urgent && enough) ? ROOM_SOON : ROOM_NO;
}

static void bind(struct worker *w, struct ev *e, struct call *c)
{
    w->ev = e;
    w->call = c;
    if (e != NULL)
        e->worker = w;
    else
        c->worker = w;
}

static bool start(struct sched *s, struct fn *f, int64_t mono_ms, struct ev *e, struct call *c,
                  struct sched_decision *ret)
{
    struct worker *w = sched_worker_new(s, f, mono_ms);
    if (w == NULL)
        return false;
    bind(w, e, c);
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
    s->look_starts = true; /* events' starts wait behind it */
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
    struct worker *w = TAILQ_FIRST(&f->idle);
    if (w != NULL) {
        unqueue_call(s, c);
        bind(w, NULL, c);
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
    switch (room_for(s, f, true, mono_ms)) {
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

/* One more worker only while what is queued would otherwise wait longer than a start takes, and never more than the
 * function may run at once: as on Lambda, reserved concurrency bounds the environments too. A run in progress that
 * already lasts longer than the average counts as what it is. *ret_at: when that may change by time alone. */
static bool wants_more(const struct fn *f, int64_t mono_ms, int64_t *ret_at)
{
    *ret_at = INT64_MAX;
    if (f->live == 0)
        return true;
    if (f->share.reserved >= 0 && f->live >= f->share.reserved)
        return false; /* one of them is between two jobs */
    int64_t queued = (int64_t)f->ready.len + (f->disk_more ? SCHED_WINDOW : 0);
    int64_t start_us = start_ms(f) * 1000;
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

enum try {
    TRY_STARTED, /* *ret is filled */
    TRY_BUSY,    /* no start slot is free */
    TRY_NO_ROOM, /* no memory now */
    TRY_MOVED,   /* f waits for something else now */
};

/* Start a worker for f's first event. */
static enum try try_start(struct sched *s, struct fn *f, struct ev *e, int64_t mono_ms, struct sched_decision *ret)
{
    int64_t at;
    if (f->failures > 0 && mono_ms < f->backoff_until) {
        if (s->lone == e)
            s->lone = NULL; /* others need not wait for a function that cannot start */
        wait_until(s, f, f->backoff_until);
        return TRY_MOVED;
    }
    if (!wants_more(f, mono_ms, &at)) {
        wait_until(s, f, at);
        return TRY_MOVED;
    }
    /* The last start slot is kept for functions that have no worker at all: a flood of one does not delay another. */
    uint32_t starts = s->limits.worker_starts;
    if (f->live > 0 && starts > 1)
        starts--;
    if (s->starting >= starts)
        return TRY_BUSY;
    if (room_for(s, f, s->lone == e, mono_ms) != ROOM_YES)
        return TRY_NO_ROOM;
    sched_unready(s, e);
    sched_take_slot(s, f, false);
    if (start(s, f, mono_ms, e, NULL, ret))
        return TRY_STARTED;
    sched_give_slot(s, f, false);
    /* Out of memory: the queue on disk has the event, a later refill brings it back. */
    e->state = EV_SETTLING;
    sched_stays_on_disk(f, e->seq);
    sched_event_settled(s, e->seq);
    return TRY_MOVED;
}

/* f is in s->first or s->more. Is it there for good reason still, and can it have its worker? */
static enum try try_waiting(struct sched *s, struct fn *f, int64_t mono_ms, struct sched_decision *ret)
{
    struct ev *e = first_ready(f);
    if (concurrency_check(&s->slots, &f->share) != CONCURRENCY_FREE || !TAILQ_EMPTY(&f->idle) ||
        e->disruptions >= SCHED_LONE_DISRUPTIONS) {
        sched_place(s, f, PLACE_RING);
        return TRY_MOVED;
    }
    enum place right = f->live == 0 ? PLACE_FIRST : PLACE_MORE;
    if (f->place != right) {
        sched_place(s, f, right);
        return TRY_MOVED;
    }
    enum try t = try_start(s, f, e, mono_ms, ret);
    if (t == TRY_STARTED)
        sched_place(s, f, PLACE_RING); /* to the end, if it has more */
    return t;
}

static bool start_one_of(struct sched *s, struct fn_list *waiting, int64_t mono_ms, struct sched_decision *ret)
{
    struct fn *f, *next, *passed = NULL;
    int looks = 0;
    TAILQ_FOREACH_SAFE (f, waiting, link, next) {
        if (++looks > START_LOOKS)
            break;
        switch (try_waiting(s, f, mono_ms, ret)) {
        case TRY_STARTED:
            if (passed != NULL)
                passed->passed++;
            return true;
        case TRY_BUSY:
            return false;
        case TRY_NO_ROOM:
            if (passed == NULL)
                passed = f;
            if (passed->passed >= PASSED_MAX)
                return false;
            break;
        case TRY_MOVED:
            break;
        }
    }
    return false;
}

/* Starts for events wait behind those for calls, and those of functions that have a worker behind those that have none:
 * memory that comes free is not taken from under them. */
static bool step_starts(struct sched *s, int64_t mono_ms, struct sched_decision *ret)
{
    if (!s->look_starts || !TAILQ_EMPTY(&s->call_ring))
        return false;
    s->look_starts = false;
    if (start_one_of(s, &s->first, mono_ms, ret) ||
        (TAILQ_EMPTY(&s->first) && start_one_of(s, &s->more, mono_ms, ret))) {
        s->look_starts = true; /* there may be room for the next */
        return true;
    }
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
        if (s->lone == e)
            s->lone = NULL;
        sched_unplace(s, f);
        return false;
    }
    if (s->lone != NULL && s->lone->fn == f && s->lone != e && s->lone->state == EV_READY)
        s->lone = NULL; /* an older event came back before it */
    if (e->disruptions >= SCHED_LONE_DISRUPTIONS && s->lone == NULL) {
        s->lone = e;
        s->lone_since = mono_ms;
    }
    if (s->lone != NULL && (s->lone != e || s->slots.busy > 0))
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
    if (w == NULL && s->lone == e)
        return try_start(s, f, e, mono_ms, ret) == TRY_STARTED;
    if (w == NULL) {
        int64_t at;
        if (f->failures > 0 && mono_ms < f->backoff_until)
            wait_until(s, f, f->backoff_until);
        else if (wants_more(f, mono_ms, &at))
            sched_place(s, f, f->live == 0 ? PLACE_FIRST : PLACE_MORE);
        else
            wait_until(s, f, at);
        return false;
    }
    sched_unready(s, e);
    sched_take_slot(s, f, false);
    bind(w, e, NULL);
    run_on_idle(s, w, mono_ms, ret);
    return true;
}

/* Round robin: whoever had a turn goes to the end. The ring is empty afterwards, or an event waits to run alone. */
static bool step_ring(struct sched *s, int64_t mono_ms, struct sched_decision *ret)
{
    for (;;) {
        if (TAILQ_EMPTY(&s->ring))
            sched_wake_pool(s);
        struct fn *f = TAILQ_FIRST(&s->ring);
        if (f == NULL)
            return false;
        TAILQ_REMOVE(&s->ring, f, link);
        TAILQ_INSERT_TAIL(&s->ring, f, link);
        if (serve_event(s, f, mono_ms, ret))
            return true;
        if (s->lone != NULL)
            return false;
    }
}

static bool step_events(struct sched *s, int64_t mono_ms, struct sched_decision *ret)
{
    struct timerq_item *it;
    while ((it = timerq_first(&s->timers)) != NULL && it->at_ms <= mono_ms)
        sched_wake(s, fn_of_timer(it));
    if (s->lone != NULL && s->lone->state != EV_READY)
        return false; /* it runs alone */
    if (s->lone != NULL && serve_event(s, s->lone->fn, mono_ms, ret))
        return true;
    if (s->lone != NULL)
        return false; /* it still waits for others to end */
    do {
        /* Before idle workers are used again: a function without any may be waiting for the room of one. */
        if (step_starts(s, mono_ms, ret) || step_ring(s, mono_ms, ret))
            return true;
    } while (s->lone == NULL && s->look_starts && TAILQ_EMPTY(&s->call_ring));
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
    f->refill = ++s->n_refills;
    TAILQ_INSERT_TAIL(&s->refilling, f, refill_link);
    f->disk_more = false; /* until the answer, or a new event that does not fit, says so again */
    *ret = (struct sched_decision){.kind = SCHED_REFILL,
                                   .fid = f->fid,
                                   .after_seq = f->high_seq,
                                   .max_n = (uint32_t)(SCHED_WINDOW - f->ready.len)};
    return true;
}

static bool gives_out_events(const struct sched *s)
{
    return !s->held && !s->draining;
}

bool sched_next(struct sched *s, int64_t now_ms, int64_t mono_ms, struct sched_decision *ret)
{
    return (!s->held && step_expired(s, now_ms, ret)) || step_runnable(s, now_ms, mono_ms, ret) ||
           step_calls(s, mono_ms, ret) || (gives_out_events(s) && step_events(s, mono_ms, ret)) ||
           step_doomed(s, mono_ms, ret) || step_refill(s, ret);
}

void sched_wakeup(struct sched *s, int64_t *ret_now_ms, int64_t *ret_mono_ms)
{
    const struct timerq_item *expiry = timerq_first(&s->expiry), *timer = timerq_first(&s->timers);
    const struct worker *idle = TAILQ_FIRST(&s->idle);
    *ret_now_ms = expiry != NULL && !s->held ? expiry->at_ms : INT64_MAX;
    *ret_mono_ms = timer != NULL && gives_out_events(s) ? timer->at_ms : INT64_MAX;
    if (idle != NULL && idle->since_ms + s->limits.worker_idle_ms < *ret_mono_ms)
        *ret_mono_ms = idle->since_ms + s->limits.worker_idle_ms;
    /* A call held up by a backoff is refused at once, by starts or memory when those change: no timer of its own. */
}
