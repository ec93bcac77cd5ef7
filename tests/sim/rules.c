/* The rules, written down a second time and independently of the code under test. */
#include "world.h"

static bool slot_free(const struct world *w, const struct sim_fn *f)
{
    int64_t reserved = 0;
    for (int i = 0; i < WORLD_FNS; i++)
        if (w->fns[i].alive && w->fns[i].cfg.reserved > 0)
            reserved += w->fns[i].cfg.reserved;
    if ((int64_t)w->held >= w->limits.account)
        return false;
    if (f->cfg.reserved >= 0)
        return (int64_t)f->held < f->cfg.reserved;
    return (int64_t)w->held_pool < w->limits.account - reserved;
}

/* A job is about to take a slot: reserved concurrency is a ceiling and everybody else's floor. */
void rules_take(struct world *w, uint32_t fn, const struct sched_job *job)
{
    const struct sim_fn *f = &w->fns[fn];
    if (!slot_free(w, f))
        sim_violation("function %u takes a slot for %s %llu: it holds %u of %d reserved, the pool %u, all %u of %d", fn,
                      job->sync ? "call" : "event", (unsigned long long)job->key, f->held, f->cfg.reserved,
                      w->held_pool, w->held, w->limits.account);
    if (job->sync)
        return;
    const struct model_event *e = &w->model.events[job->key];
    if (f->cfg.paused)
        sim_violation("event %llu of a paused function is started", (unsigned long long)job->key);
    if (f->cfg.reserved == 0)
        sim_violation("event %llu is started at reserved concurrency 0", (unsigned long long)job->key);
    if (world_now(w) - e->accepted_at >= e->max_age_ms)
        sim_violation("event %llu is started at an age of %lld ms, its limit is %lld", (unsigned long long)job->key,
                      (long long)(world_now(w) - e->accepted_at), (long long)e->max_age_ms);
}

static void lone_rule(const struct world *w, const struct model_event *e, const struct sched_job *job)
{
    unsigned long long key = job->key;
    if (w->lone_runs)
        sim_violation("%llu is handed over while an event runs alone", key);
    if (job->sync)
        return;
    if (job->lone != (e->disruptions >= SCHED_LONE_DISRUPTIONS))
        sim_violation("event %llu with %u disruptions: lone=%d", key, e->disruptions, job->lone);
    if (job->lone && w->executing > 0)
        sim_violation("event %llu is to run alone beside %u others", key, w->executing);
    if (e->disruptions > 0 && !job->sync_start)
        sim_violation("event %llu has disruptions and its start is not synced", key);
}

/* A job is handed to a worker. */
void rules_run(struct world *w, const struct sim_worker *k, const struct sched_job *job, bool was_bound)
{
    const struct sim_fn *f = &w->fns[k->fn];
    const struct model_event *e = job->sync ? NULL : &w->model.events[job->key];
    unsigned long long key = job->key;
    lone_rule(w, e, job);
    if (!f->alive || f->cfg.fid != k->fid)
        return; /* deleted: what was bound before may end */
    if (k->generation != f->cfg.generation)
        sim_violation("%llu is handed to worker %llu that has old code", key, (unsigned long long)k->id);
    if (job->sync)
        return;
    if (e->executing)
        sim_violation("event %llu is in two places", key);
    if (model_is_final(e))
        sim_violation("event %llu is handed over and was final", key);
    if (!w->stepped_back && world_now(w) < e->true_due_at)
        sim_violation("event %llu runs %lld ms before it is due", key, (long long)(e->true_due_at - world_now(w)));
    if (f->cfg.paused)
        sim_violation("event %llu of a paused function runs", key);
    if (world_now(w) - e->accepted_at >= e->max_age_ms)
        sim_violation("event %llu runs and is too old", key);
    if (f->calls > 0 && !was_bound)
        sim_violation("event %llu runs on a worker that a call waits for", key);
}

/* No worker is in motion. */
static bool drained(const struct world *w)
{
    for (int i = 0; i < WORLD_WORKERS_MAX; i++)
        if (w->workers[i].state != W_NONE && w->workers[i].state != W_IDLE)
            return false;
    return true;
}

/* A function whose first worker does not fit is passed over for a while and then waited for: nobody else starts. */
static bool big_one_waits(const struct world *w)
{
    for (int i = 0; i < WORLD_FNS; i++) {
        const struct sim_fn *f = &w->fns[i];
        if (f->alive && f->window > 0 && f->live == 0 && !f->cfg.paused &&
            w->memory_mb + f->cfg.memory_mb > w->limits.worker_memory_mb &&
            f->cfg.memory_mb <= w->limits.worker_memory_mb)
            return true;
    }
    return false;
}

/* Could its first worker start now, without anybody giving way? */
static bool could_start(const struct world *w, const struct sim_fn *f)
{
    return f->live == 0 && w->starting < w->limits.worker_starts &&
           w->memory_mb + f->cfg.memory_mb <= w->limits.worker_memory_mb &&
           sched_function_backoff(w->sched, f->cfg.fid, w->mono) == 0 && !big_one_waits(w);
}

/* No decision is left: then nothing that could be done may be undone (work conservation). While an event waits to run
 * alone others wait for it, so this is only asked when there is none, or when all is quiet. */
void rules_quiet(struct world *w)
{
    for (uint32_t i = 0; i < w->n_calls; i++)
        if (!w->calls[i].bound)
            return; /* it comes first */
    for (uint32_t i = 0; i < WORLD_FNS; i++) {
        const struct sim_fn *f = &w->fns[i];
        if (!f->alive || f->window == 0 || f->cfg.paused || f->cfg.memory_mb > w->limits.worker_memory_mb)
            continue;
        if (f->cfg.reserved == 0 && w->model.n_lone == 0)
            sim_violation("function %u has reserved concurrency 0 and keeps its events", i);
        if (!slot_free(w, f) || (f->idle == 0 && !could_start(w, f)))
            continue;
        if (w->model.n_lone == 0 || drained(w))
            sim_violation("function %u has %u ready events, a free slot and %s, and nothing is decided", i, f->window,
                          f->idle > 0 ? "an idle worker" : "room to start its first worker");
    }
}

/* An event of fn is started: others that could have been must not be passed over for long. */
void rules_fair(struct world *w, uint32_t fn)
{
    for (uint32_t i = 0; i < WORLD_FNS; i++) {
        struct sim_fn *f = &w->fns[i];
        if (i == fn || !f->alive || f->window == 0 || f->idle == 0 || f->cfg.paused || !slot_free(w, f)) {
            f->skipped = 0;
            continue;
        }
        if (++f->skipped > 4 * WORLD_FNS)
            sim_violation("function %u could run and was passed over %u times", i, f->skipped);
    }
}

/* Lambda: section 5.1 and the table of an event's life, rows 5 to 10. */
enum model_state rules_settle(const struct world *w, const struct model_event *e, enum w_end end, bool init_failed,
                              bool deleted, bool lone, enum model_why *ret_why, int64_t *ret_wait_ms)
{
    *ret_why = WHY_NONE;
    *ret_wait_ms = 0;
    if (end == E_OK && !init_failed)
        return M_DONE;
    if (end == E_CRASH && !init_failed) {
        if (lone && e->lone_runs + 1 >= WORLD_MAX_DISRUPTIONS)
            *ret_why = WHY_DISRUPTED;
        else if (deleted)
            *ret_why = WHY_DELETED;
        return *ret_why == WHY_NONE ? M_QUEUED : M_DEAD;
    }
    static const int64_t waits[] = {60000, 120000};
    int64_t age = world_now(w) > e->accepted_at ? world_now(w) - e->accepted_at : 0;
    if (e->attempts + 1 >= e->max_attempts)
        *ret_why = WHY_EXHAUSTED;
    else if (deleted)
        *ret_why = WHY_DELETED;
    else if (age + waits[e->attempts] >= e->max_age_ms)
        *ret_why = WHY_AGE;
    if (*ret_why != WHY_NONE)
        return M_DEAD;
    *ret_wait_ms = waits[e->attempts];
    return M_WAITING;
}
