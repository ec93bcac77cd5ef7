/* The dispatcher's part: facts in, decisions out, ops on the store. */
#include <stdlib.h>

#include "world.h"

static struct sim_worker *new_worker(struct world *w)
{
    for (int i = 0; i < WORLD_WORKERS_MAX; i++)
        if (w->workers[i].state == W_NONE)
            return &w->workers[i];
    sim_violation("more than %d workers", WORLD_WORKERS_MAX);
}

static void worker_later(struct world *w, struct sim_worker *k, int64_t in_ms)
{
    struct thing *t = world_later(w, T_WORKER, in_ms, true);
    t->slot = (uint32_t)(k - w->workers);
    t->id = k->id;
}

static void worker_move(struct world *w, struct sim_worker *k, enum w_state to)
{
    if (k->starting && to != W_STARTING) {
        k->starting = false;
        w->starting--;
    }
    k->state = to;
    if (to == W_NONE)
        w->memory_mb -= k->memory_mb;
    world_recount(w, k->fn);
}

static struct sim_call *find_call(struct world *w, uint64_t id)
{
    for (uint32_t i = 0; i < w->n_calls; i++)
        if (w->calls[i].id == id)
            return &w->calls[i];
    sim_violation("call %llu is not known", (unsigned long long)id);
}

static void end_call(struct world *w, struct sim_call *c)
{
    struct sim_fn *f = world_fn(w, c->fid);
    if (!c->bound && f != NULL)
        f->calls--;
    world_slot(w, c->fid, -1);
    *c = w->calls[--w->n_calls];
}

/* --- facts -------------------------------------------------------------------------------------------------------- */

static void add(struct world *w, uint64_t seq, bool from_disk)
{
    struct model_event *e = &w->model.events[seq];
    struct sim_fn *f = world_fn(w, e->fid);
    if (f == NULL) {
        world_submit(w, &(struct op){.kind = OP_DELETED, .seq = seq, .why = WHY_DELETED});
        return;
    }
    struct sched_event in = {.seq = seq,
                             .accepted_at_ms = e->accepted_at,
                             .max_age_ms = e->max_age_ms,
                             .disruptions = e->disruptions,
                             .from_disk = from_disk};
    uint64_t out = 0;
    bool added = sched_event_add(w->sched, e->fid, &in, &out);
    if (out != 0) {
        if (out < seq || !w->model.events[out].in_window)
            sim_violation("event %llu makes room for %llu", (unsigned long long)out, (unsigned long long)seq);
        w->model.events[out].in_window = false;
        f->window--;
    }
    if (!added)
        return;
    if (e->in_window || e->in_hand)
        sim_violation("event %llu was taken into the window twice", (unsigned long long)seq);
    e->in_window = true;
    f->window++;
}

static void leave_window(struct world *w, struct model_event *e)
{
    struct sim_fn *f = world_fn(w, e->fid);
    if (e->in_window && f != NULL)
        f->window--;
    e->in_window = false;
}

void shell_begin(struct world *w)
{
    if (sched_new(&w->sched, &w->limits) < 0)
        sim_violation("no memory");
    for (int i = 0; i < WORLD_FNS; i++) {
        struct sim_fn *f = &w->fns[i];
        f->held = f->window = f->calls = f->skipped = f->idle = f->live = 0;
        if (!f->alive)
            continue;
        if (sched_function_put(w->sched, &f->cfg) < 0)
            sim_violation("no memory");
        sched_backlog(w->sched, f->cfg.fid);
    }
    for (uint64_t seq = 1; seq < w->model.n_events; seq++) {
        const struct model_event *e = &w->model.events[seq];
        if (e->exists && (e->state == M_QUEUED || e->state == M_WAITING) && world_fn(w, e->fid) == NULL)
            world_submit(w, &(struct op){.kind = OP_DELETED, .seq = seq, .why = WHY_DELETED});
    }
}

void shell_call(struct world *w, uint32_t fn)
{
    struct sim_fn *f = &w->fns[fn];
    if (w->n_calls == WORLD_CALLS_MAX)
        return;
    struct sched_job job = {.sync = true, .fid = f->cfg.fid, .key = w->next_call++};
    switch (sched_call_add(w->sched, job.fid, job.key, w->mono)) {
    case SCHED_REFUSE_NONE:
        rules_take(w, fn, &job);
        world_slot(w, job.fid, 1);
        f->calls++;
        w->calls[w->n_calls++] = (struct sim_call){.id = job.key, .fid = job.fid, .fn = fn, .open = true};
        return;
    case SCHED_REFUSE_RESERVED:
        if (f->cfg.reserved < 0 || (int32_t)f->held < f->cfg.reserved)
            sim_violation("call refused for a reservation of %d, %u held", f->cfg.reserved, f->held);
        break;
    case SCHED_REFUSE_ACCOUNT:
    case SCHED_REFUSE_FAILED:
        break;
    }
    w->n_refused++;
}

/* What waits for a worker of fn waits for the next decision instead. */
void shell_unbind(struct world *w, uint32_t fn, bool calls_too)
{
    struct sim_fn *f = &w->fns[fn];
    for (int i = 0; i < WORLD_WORKERS_MAX; i++) {
        struct sim_worker *k = &w->workers[i];
        if (k->state == W_NONE || k->fid != f->cfg.fid || k->state == W_BUSY || !k->has_job)
            continue;
        if (k->job.sync && !calls_too)
            continue;
        k->has_job = false;
        if (k->job.sync) {
            find_call(w, k->job.key)->bound = false;
            f->calls++;
            continue;
        }
        struct model_event *e = &w->model.events[k->job.key];
        e->in_hand = false;
        e->in_window = true;
        f->window++;
        world_slot(w, k->fid, -1);
    }
}

void shell_delete(struct world *w, uint32_t fn)
{
    struct sim_fn *f = &w->fns[fn];
    uint64_t fid = f->cfg.fid;
    sched_function_del(w->sched, fid);
    for (int i = 0; i < WORLD_WORKERS_MAX; i++) {
        struct sim_worker *k = &w->workers[i];
        if (k->state == W_NONE || k->fid != fid || k->state == W_BUSY || !k->has_job || k->job.sync)
            continue;
        k->has_job = false;
        w->model.events[k->job.key].in_hand = false;
        world_slot(w, fid, -1);
    }
    f->alive = false;
    for (uint64_t seq = 1; seq < w->model.n_events; seq++) {
        struct model_event *e = &w->model.events[seq];
        if (e->fid != fid || !e->exists)
            continue;
        e->in_window = false;
        if (e->state == M_QUEUED || e->state == M_WAITING)
            world_submit(w, &(struct op){.kind = OP_DELETED, .seq = seq, .why = WHY_DELETED});
    }
}

/* --- the executor's answers --------------------------------------------------------------------------------------- */

static void settle(struct world *w, const struct sim_worker *k, bool init_failed)
{
    struct model_event *e = &w->model.events[k->job.key];
    struct op o = {.kind = OP_SETTLE, .seq = k->job.key, .run = k->run};
    bool deleted = world_fn(w, e->fid) == NULL;
    bool disrupted = k->end == E_CRASH && !init_failed;
    o.to = rules_settle(w, e, k->end, init_failed, deleted, k->job.lone, &o.why, &o.wait_ms);
    o.due_at = world_now(w) + o.wait_ms;
    o.counts = !disrupted;
    o.disruption = disrupted;

    static const enum model_why whys[] = {[BACKOFF_EXHAUSTED] = WHY_EXHAUSTED,
                                          [BACKOFF_TOO_OLD] = WHY_AGE,
                                          [BACKOFF_DELETED] = WHY_DELETED,
                                          [BACKOFF_DISRUPTED] = WHY_DISRUPTED};
    static const enum model_state states[] = {
        [BACKOFF_DONE] = M_DONE,     [BACKOFF_WAIT] = M_WAITING, [BACKOFF_EXHAUSTED] = M_DEAD,
        [BACKOFF_TOO_OLD] = M_DEAD,  [BACKOFF_DELETED] = M_DEAD, [BACKOFF_REQUEUE] = M_QUEUED,
        [BACKOFF_DISRUPTED] = M_DEAD};
    struct backoff_facts facts = {.end = disrupted                        ? BACKOFF_DISRUPTION
                                         : k->end == E_OK && !init_failed ? BACKOFF_SUCCESS
                                                                          : BACKOFF_FUNCTION_ERROR,
                                  .attempts = e->attempts + o.counts,
                                  .max_attempts = e->max_attempts,
                                  .lone_runs = e->lone_runs + (disrupted && k->job.lone),
                                  .accepted_at_ms = e->accepted_at,
                                  .max_age_ms = e->max_age_ms,
                                  .deleted = deleted};
    int64_t wait_ms;
    enum backoff_verdict v = backoff_settle(&w->policy, &facts, world_now(w), 0.0, &wait_ms);
    if (states[v] != o.to || (o.to == M_DEAD && whys[v] != o.why) || (o.to == M_WAITING && wait_ms != o.wait_ms))
        sim_violation(
            "event %llu after attempt %u at age %lld of %lld: verdict %d, wait %lld ms; the rule says state %d "
            "for reason %d, wait %lld ms",
            (unsigned long long)k->job.key, facts.attempts, (long long)(world_now(w) - e->accepted_at),
            (long long)e->max_age_ms, (int)v, (long long)wait_ms, (int)o.to, (int)o.why, (long long)o.wait_ms);
    world_submit(w, &o);
}

/* The run is over for whoever waited for it. */
static void leave_worker(struct world *w, struct sim_worker *k)
{
    k->has_job = false;
    if (k->job.sync) {
        end_call(w, find_call(w, k->job.key));
        return;
    }
    w->model.events[k->job.key].executing = false;
    world_slot(w, k->fid, -1);
}

static void run_ended(struct world *w, struct sim_worker *k)
{
    w->executing--;
    if (k->job.lone)
        w->lone_runs = false;
    if (!k->job.sync)
        settle(w, k, false);
    leave_worker(w, k);
    bool usable = k->end == E_OK || k->end == E_ERROR;
    worker_move(w, k, usable ? W_IDLE : k->end == E_TIMEOUT ? W_RESETTING : W_DYING);
    if (!usable)
        worker_later(w, k, (int64_t)world_random(w, 60));
    sched_job_done(w->sched, k->id, usable, w->mono);
}

static void start_failed(struct world *w, struct sim_worker *k)
{
    if (k->has_job && k->job.sync) {
        struct sim_call *c = find_call(w, k->job.key);
        struct sim_fn *f = world_fn(w, k->fid);
        c->bound = false;
        if (f != NULL)
            f->calls++;
    } else if (k->has_job) {
        struct model_event *e = &w->model.events[k->job.key];
        e->in_hand = false;
        e->in_window = true;
        world_fn(w, k->fid)->window++;
        world_slot(w, k->fid, -1);
    }
    worker_move(w, k, W_NONE);
    sched_worker_start_failed(w->sched, k->id, w->mono);
}

static void init_failed(struct world *w, struct sim_worker *k)
{
    struct sched_job job;
    bool had = sched_worker_init_failed(w->sched, k->id, &job);
    if (had != k->has_job || (had && (job.key != k->job.key || job.sync != k->job.sync)))
        sim_violation("worker %llu: its initialisation failed for another job than it was bound to",
                      (unsigned long long)k->id);
    if (had && !job.sync) {
        struct model_event *e = &w->model.events[job.key];
        k->run = w->next_run++;
        k->end = E_ERROR;
        world_submit(w, &(struct op){.kind = OP_START, .seq = job.key, .run = k->run, .lone = job.lone});
        settle(w, k, true);
        e->in_hand = true;
    }
    if (had)
        leave_worker(w, k);
    worker_move(w, k, W_STOPPING);
    worker_later(w, k, 1 + (int64_t)world_random(w, 30));
}

/* Its box is killed: the run ends now, and the worker is gone in a moment. */
static void break_off(struct world *w, struct sim_worker *k)
{
    k->end = E_CRASH;
    run_ended(w, k);
}

void shell_worker(struct world *w, struct sim_worker *k)
{
    switch (k->state) {
    case W_NONE:
    case W_IDLE:
        break;
    case W_STARTING:
        if (k->start_fails) {
            start_failed(w, k);
        } else if (k->init_fails) {
            init_failed(w, k);
        } else {
            worker_move(w, k, W_IDLE);
            sched_worker_ready(w->sched, k->id, w->mono);
        }
        break;
    case W_BUSY:
        run_ended(w, k);
        break;
    case W_RESETTING:
        worker_move(w, k, W_IDLE);
        sched_worker_ready(w->sched, k->id, w->mono);
        break;
    case W_DYING:
    case W_STOPPING:
        worker_move(w, k, W_NONE);
        sched_worker_gone(w->sched, k->id, w->mono);
        break;
    }
}

void shell_death(struct world *w, struct sim_worker *k)
{
    if (k->state != W_IDLE || k->has_job)
        return;
    worker_move(w, k, W_NONE);
    sched_worker_gone(w->sched, k->id, w->mono);
}

/* --- the store's answers ------------------------------------------------------------------------------------------ */

static void hand_over(struct world *w, struct sim_worker *k)
{
    const struct sim_fn *f = &w->fns[k->fn];
    const struct model_event *e = k->job.sync ? NULL : &w->model.events[k->job.key];
    if (e != NULL && k->job.sync_start && (e->state != M_RUNNING || e->run != k->run))
        sim_violation("event %llu with %u disruptions reaches its worker and its start is not on disk",
                      (unsigned long long)k->job.key, e->disruptions);
    k->handed = true;
    worker_later(w, k, 1 + (int64_t)world_random(w, (uint64_t)f->run_ms * 2));
}

static void start_committed(struct world *w, const struct op *o, bool applied)
{
    struct sim_worker *k = world_worker(w, o->worker);
    if (k == NULL || k->state != W_BUSY || k->run != o->run || k->handed)
        return;
    if (applied) {
        hand_over(w, k);
        return;
    }
    w->executing--;
    if (k->job.lone)
        w->lone_runs = false;
    w->model.events[o->seq].in_hand = false;
    leave_worker(w, k);
    worker_move(w, k, W_IDLE);
    sched_job_done(w->sched, k->id, true, w->mono);
    sched_event_settled(w->sched, o->seq);
}

static void settled(struct world *w, const struct op *o, bool applied)
{
    struct model_event *e = &w->model.events[o->seq];
    bool again = applied && e->state == M_QUEUED, first = world_chance(w, 500);
    e->in_hand = false;
    if (applied && e->state == M_WAITING)
        world_wait(w, o->seq);
    if (again && first)
        add(w, o->seq, false);
    sched_event_settled(w->sched, o->seq);
    if (again && !first)
        add(w, o->seq, false);
    model_check_event(&w->model, o->seq);
}

static void cancelled(struct world *w, uint64_t seq)
{
    struct model_event *e = &w->model.events[seq];
    struct sim_worker *at = world_worker(w, sched_event_forget(w->sched, seq));
    leave_window(w, e);
    if (at != NULL) {
        if (at->state != W_BUSY || at->job.sync || at->job.key != seq)
            sim_violation("worker %llu is said to run event %llu, and does not", (unsigned long long)at->id,
                          (unsigned long long)seq);
        if (at->handed)
            break_off(w, at);
        return;
    }
    for (int i = 0; i < WORLD_WORKERS_MAX; i++) {
        struct sim_worker *k = &w->workers[i];
        if ((k->state == W_STARTING || k->state == W_IDLE) && k->has_job && !k->job.sync && k->job.key == seq) {
            k->has_job = false;
            e->in_hand = false;
            world_slot(w, k->fid, -1);
            world_recount(w, k->fn);
        }
    }
}

static void purged(struct world *w, const struct op *o)
{
    for (uint32_t i = 0; i < o->n_seqs; i++) {
        cancelled(w, o->seqs[i]);
        model_check_event(&w->model, o->seqs[i]);
    }
    if (o->n_seqs == PURGE_CHUNK)
        world_submit(w, &(struct op){.kind = OP_PURGE, .fid = o->fid, .until = o->until});
}

void shell_commit(struct world *w)
{
    struct model *m = &w->model;
    size_t n = m->n_ops;
    struct op *ops = malloc((n + 1) * sizeof *ops);
    if (ops == NULL)
        sim_violation("no memory");
    for (size_t i = 0; i < n; i++)
        ops[i] = m->ops[i];
    m->n_ops = 0;
    bool *applied = calloc(n + 1, sizeof *applied);
    if (applied == NULL)
        sim_violation("no memory");
    for (size_t i = 0; i < n; i++)
        applied[i] = model_apply(m, &ops[i], world_now(w));
    for (size_t i = 0; i < n; i++) {
        const struct op *o = &ops[i];
        switch (o->kind) {
        case OP_ACCEPT:
            add(w, o->seq, false);
            break;
        case OP_PROMOTE:
            m->events[o->seq].promoting = false;
            if (applied[i])
                add(w, o->seq, false);
            break;
        case OP_START:
            if (o->worker != 0)
                start_committed(w, o, applied[i]);
            break;
        case OP_SETTLE:
            settled(w, o, applied[i]);
            break;
        case OP_EXPIRE:
            m->events[o->seq].in_hand = false;
            sched_event_settled(w->sched, o->seq);
            break;
        case OP_CANCEL:
            if (applied[i])
                cancelled(w, o->seq);
            break;
        case OP_RETRY:
            if (applied[i])
                add(w, o->seq, false);
            break;
        case OP_PURGE:
            purged(w, o);
            break;
        case OP_DELETED:
            break;
        }
    }
    free(applied);
    free(ops);
}

void shell_promote(struct world *w)
{
    const struct due *d = &w->due[1];
    struct model_event *e = &w->model.events[d->seq];
    if (e->state == M_WAITING && e->due_at == d->at && !e->promoting) {
        e->promoting = true;
        world_submit(w, &(struct op){.kind = OP_PROMOTE, .seq = d->seq});
    }
}

void shell_refill_read(struct world *w, struct thing *t)
{
    struct thing *answer = world_later(w, T_REFILL, (int64_t)world_random(w, 20), true);
    answer->id = t->id;
    answer->seqs = calloc(t->max_n + 1, sizeof *answer->seqs);
    if (answer->seqs == NULL)
        sim_violation("no memory");
    for (uint64_t seq = t->after_seq + 1; seq < w->model.n_events && !answer->more; seq++) {
        const struct model_event *e = &w->model.events[seq];
        if (!e->exists || e->fid != t->id || e->state != M_QUEUED)
            continue;
        if (answer->n_seqs == t->max_n)
            answer->more = true;
        else
            answer->seqs[answer->n_seqs++] = seq;
    }
}

void shell_refill(struct world *w, struct thing *t)
{
    if (world_fn(w, t->id) != NULL)
        for (size_t i = 0; i < t->n_seqs; i++)
            add(w, t->seqs[i], true);
    sched_refilled(w->sched, t->id, t->more);
}

/* --- decisions ---------------------------------------------------------------------------------------------------- */

static struct sim_fn *fn_of(struct world *w, uint64_t fid)
{
    struct sim_fn *f = world_fn(w, fid);
    if (f == NULL)
        sim_violation("a decision for function %llu, which is gone", (unsigned long long)fid);
    return f;
}

static void take_job(struct world *w, const struct sched_job *job, bool on_idle)
{
    if (job->sync) {
        struct sim_call *c = find_call(w, job->key);
        struct sim_fn *f = world_fn(w, c->fid);
        if (c->bound)
            sim_violation("call %llu is in two places", (unsigned long long)job->key);
        c->bound = true;
        if (f != NULL)
            f->calls--;
        return;
    }
    struct model_event *e = &w->model.events[job->key];
    struct sim_fn *f = fn_of(w, e->fid);
    if (!e->in_window || e->in_hand)
        sim_violation("event %llu is started and was not ready", (unsigned long long)job->key);
    rules_take(w, e->fn, job);
    if (on_idle)
        rules_fair(w, e->fn);
    f->skipped = 0;
    leave_window(w, e);
    e->in_hand = true;
    world_slot(w, e->fid, 1);
}

static void do_start(struct world *w, const struct sched_decision *d)
{
    struct sim_fn *f = fn_of(w, d->fid);
    struct sim_worker *k = new_worker(w);
    if (w->memory_mb + f->cfg.memory_mb > w->limits.worker_memory_mb)
        sim_violation("workers of %lld MB and one more of %d: more than %lld", (long long)w->memory_mb,
                      f->cfg.memory_mb, (long long)w->limits.worker_memory_mb);
    if (w->starting >= w->limits.worker_starts)
        sim_violation("%u starts in progress and one more", w->starting);
    if (d->generation != f->cfg.generation)
        sim_violation("worker %llu starts with old code", (unsigned long long)d->worker);
    for (uint32_t i = 0; i < w->n_calls && !d->job.sync; i++)
        if (!w->calls[i].bound)
            sim_violation("a worker starts for event %llu while call %llu waits for one",
                          (unsigned long long)d->job.key, (unsigned long long)w->calls[i].id);
    take_job(w, &d->job, false);
    *k = (struct sim_worker){.id = d->worker,
                             .fid = d->fid,
                             .generation = d->generation,
                             .fn = (uint32_t)(f - w->fns),
                             .memory_mb = f->cfg.memory_mb,
                             .has_job = true,
                             .job = d->job,
                             .starting = true,
                             .start_fails = world_chance(w, f->p_start),
                             .init_fails = world_chance(w, f->p_init)};
    w->memory_mb += k->memory_mb;
    w->starting++;
    w->n_starts++;
    worker_move(w, k, W_STARTING);
    worker_later(w, k, 1 + (int64_t)world_random(w, (uint64_t)f->start_ms * 2));
}

static void choose_end(struct world *w, struct sim_worker *k)
{
    const struct sim_fn *f = &w->fns[k->fn];
    uint64_t p = world_random(w, 1000);
    k->end = p < f->p_crash                               ? E_CRASH
             : p < f->p_crash + f->p_timeout              ? E_TIMEOUT
             : p < f->p_crash + f->p_timeout + f->p_error ? E_ERROR
                                                          : E_OK;
}

static void do_run(struct world *w, const struct sched_decision *d)
{
    struct sim_worker *k = world_worker(w, d->worker);
    if (k == NULL || k->state != W_IDLE)
        sim_violation("%llu is handed to worker %llu, which is not ready", (unsigned long long)d->job.key,
                      (unsigned long long)d->worker);
    bool was_bound = k->has_job;
    if (was_bound && (d->job.key != k->job.key || d->job.sync != k->job.sync))
        sim_violation("worker %llu gets another job than it was started for", (unsigned long long)k->id);
    if (!was_bound)
        take_job(w, &d->job, true);
    rules_run(w, k, &d->job, was_bound);
    k->has_job = true;
    k->job = d->job;
    k->run = w->next_run++;
    k->handed = false;
    choose_end(w, k);
    worker_move(w, k, W_BUSY);
    w->executing++;
    w->n_runs++;
    if (d->job.sync) {
        w->n_calls_run++;
        hand_over(w, k);
        return;
    }
    struct model_event *e = &w->model.events[d->job.key];
    e->executing = true;
    w->lone_runs = d->job.lone;
    w->n_lone += d->job.lone;
    bool wait = d->job.sync_start && w->model.broken != BREAK_UNSYNCED;
    world_submit(
        w, &(struct op){
               .kind = OP_START, .seq = d->job.key, .run = k->run, .lone = d->job.lone, .worker = wait ? k->id : 0});
    if (!wait)
        hand_over(w, k);
}

static void do_stop(struct world *w, const struct sched_decision *d)
{
    struct sim_worker *k = world_worker(w, d->worker);
    if (k == NULL || k->state != W_IDLE || k->has_job)
        sim_violation("worker %llu is stopped and was not idle", (unsigned long long)d->worker);
    worker_move(w, k, W_STOPPING);
    worker_later(w, k, (int64_t)world_random(w, 30));
    w->n_stops++;
}

static void do_expire(struct world *w, const struct sched_decision *d)
{
    struct model_event *e = &w->model.events[d->job.key];
    const struct sim_fn *f = fn_of(w, e->fid);
    bool age = d->expiry == SCHED_EXPIRE_AGE;
    struct sim_worker *bound = NULL;
    for (int i = 0; i < WORLD_WORKERS_MAX && e->in_hand; i++)
        if (w->workers[i].state == W_IDLE && w->workers[i].has_job && !w->workers[i].job.sync &&
            w->workers[i].job.key == d->job.key)
            bound = &w->workers[i];
    if (bound != NULL) {
        bound->has_job = false;
        world_slot(w, e->fid, -1);
        world_recount(w, bound->fn);
    } else if (!e->in_window || e->in_hand) {
        sim_violation("event %llu expires and was not ready", (unsigned long long)d->job.key);
    }
    if (age && world_now(w) - e->accepted_at < e->max_age_ms)
        sim_violation("event %llu expires %lld ms too early", (unsigned long long)d->job.key,
                      (long long)(e->max_age_ms - (world_now(w) - e->accepted_at)));
    if (!age && f->cfg.reserved != 0)
        sim_violation("event %llu expires for want of a reservation of %d", (unsigned long long)d->job.key,
                      f->cfg.reserved);
    leave_window(w, e);
    e->in_hand = true;
    w->n_expired++;
    world_submit(w, &(struct op){.kind = OP_EXPIRE, .seq = d->job.key, .why = age ? WHY_AGE : WHY_ZERO});
}

void shell_pull(struct world *w)
{
    struct sched_decision d;
    for (int n = 0; sched_next(w->sched, world_now(w), w->mono, &d); n++) {
        if (n > 1000000)
            sim_violation("decisions without end");
        w->n_decisions++;
        switch (d.kind) {
        case SCHED_START_WORKER:
            do_start(w, &d);
            break;
        case SCHED_RUN:
            do_run(w, &d);
            break;
        case SCHED_STOP_WORKER:
            do_stop(w, &d);
            break;
        case SCHED_EXPIRE:
            do_expire(w, &d);
            break;
        case SCHED_REFILL: {
            struct thing *t = world_later(w, T_REFILL_READ, (int64_t)world_random(w, 10), true);
            t->id = d.fid;
            t->after_seq = d.after_seq;
            t->max_n = d.max_n;
            w->n_refills++;
            break;
        }
        case SCHED_REFUSE:
            end_call(w, find_call(w, d.job.key));
            w->n_refused++;
            break;
        }
    }
    rules_quiet(w);
}
