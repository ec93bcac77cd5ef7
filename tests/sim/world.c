#include "world.h"

#include <stdlib.h>
#include <string.h>

enum { MINUTE_MS = 60000, DAY_MS = 86400000, CHECK_ALL_EVERY = 20000 };

/* splitmix64 */
uint64_t world_random(struct world *w, uint64_t below)
{
    uint64_t z = (w->rng += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return below > 0 ? (z ^ (z >> 31)) % below : 0;
}

bool world_chance(struct world *w, uint32_t per_mille)
{
    return world_random(w, 1000) < per_mille;
}

int64_t world_now(const struct world *w)
{
    return w->mono + w->wall_offset;
}

struct thing *world_later(struct world *w, enum thing_kind kind, int64_t in_ms, bool of_engine)
{
    struct thing *t = calloc(1, sizeof *t);
    if (t == NULL || timerq_set(&w->things, &t->at, w->mono + in_ms) < 0)
        sim_violation("no memory");
    t->kind = kind;
    t->epoch = of_engine ? w->epoch : 0;
    return t;
}

void world_submit(struct world *w, const struct op *o)
{
    model_submit(&w->model, o);
    if (!w->commit_due) {
        w->commit_due = true;
        (void)world_later(w, T_COMMIT, (int64_t)world_random(w, 6), true);
    }
}

struct sim_fn *world_fn(struct world *w, uint64_t fid)
{
    for (int i = 0; i < WORLD_FNS; i++)
        if (w->fns[i].alive && w->fns[i].cfg.fid == fid)
            return &w->fns[i];
    return NULL;
}

void world_slot(struct world *w, uint64_t fid, int by)
{
    struct sim_fn *f = world_fn(w, fid);
    w->held += (uint32_t)by;
    if (f != NULL)
        f->held += (uint32_t)by;
    if (f == NULL || f->cfg.reserved < 0)
        w->held_pool += (uint32_t)by;
}

struct sim_worker *world_worker(struct world *w, uint64_t id)
{
    for (int i = 0; i < WORLD_WORKERS_MAX; i++)
        if (w->workers[i].state != W_NONE && w->workers[i].id == id)
            return &w->workers[i];
    return NULL;
}

void world_recount(struct world *w, uint32_t fn)
{
    struct sim_fn *f = &w->fns[fn];
    f->idle = f->live = 0;
    for (int i = 0; i < WORLD_WORKERS_MAX; i++) {
        const struct sim_worker *k = &w->workers[i];
        if (k->fid != f->cfg.fid || k->state == W_NONE || k->state == W_STOPPING)
            continue;
        f->live++;
        f->idle += k->state == W_IDLE && !k->has_job && k->generation == f->cfg.generation;
    }
}

/* --- waits -------------------------------------------------------------------------------------------------------- */

void world_wait(struct world *w, uint64_t seq)
{
    if (w->n_due + 2 > w->due_cap) {
        w->due_cap = w->due_cap > 0 ? 2 * w->due_cap : 1024;
        w->due = realloc(w->due, w->due_cap * sizeof *w->due);
        if (w->due == NULL)
            sim_violation("no memory");
    }
    struct due d = {.at = w->model.events[seq].due_at, .seq = seq};
    size_t i = ++w->n_due;
    for (; i > 1 && w->due[i / 2].at > d.at; i /= 2)
        w->due[i] = w->due[i / 2];
    w->due[i] = d;
}

static void due_pop(struct world *w)
{
    struct due last = w->due[w->n_due--];
    size_t i = 1;
    for (size_t c; (c = 2 * i) <= w->n_due; i = c) {
        if (c < w->n_due && w->due[c + 1].at < w->due[c].at)
            c++;
        if (w->due[c].at >= last.at)
            break;
        w->due[i] = w->due[c];
    }
    w->due[i] = last;
}

/* --- functions ---------------------------------------------------------------------------------------------------- */

static int32_t random_reserved(struct world *w, uint32_t except)
{
    int64_t left = w->limits.account - 2;
    for (uint32_t i = 0; i < WORLD_FNS; i++)
        if (i != except && w->fns[i].alive && w->fns[i].cfg.reserved > 0)
            left -= w->fns[i].cfg.reserved;
    if (left < 0 || world_chance(w, 600))
        return -1;
    return (int32_t)world_random(w, (uint64_t)(left < 4 ? left : 4) + 1);
}

static void random_fn(struct world *w, uint32_t i)
{
    static const int64_t ages[] = {MINUTE_MS, 90000, 10 * MINUTE_MS, 360 * MINUTE_MS};
    static const int64_t runs[] = {1, 5, 20, 50, 200, 3000};
    static const int32_t memory[] = {128, 128, 128, 256, 256, 512, 512, 1024, 1536, 3008};
    struct sim_fn *f = &w->fns[i];
    *f = (struct sim_fn){.alive = true,
                         .run_ms = runs[world_random(w, 6)],
                         .start_ms = 20 + (int64_t)world_random(w, 400),
                         .p_error = (uint32_t)world_random(w, 4) * 80,
                         .p_timeout = (uint32_t)world_random(w, 3) * 20,
                         .p_init = (uint32_t)world_random(w, 4) * 20,
                         .p_start = (uint32_t)world_random(w, 4) * 20,
                         .p_crash = world_chance(w, 300) ? 200 : 2,
                         .max_age_ms = ages[world_random(w, 4)],
                         .max_attempts = 1 + (uint32_t)world_random(w, 3)};
    f->cfg = (struct sched_function){.fid = w->next_fid++,
                                     .generation = 1,
                                     .reserved = random_reserved(w, i),
                                     .memory_mb = memory[world_random(w, 10)]};
}

/* The scheduler takes back what waits for a worker of the function: the world believes it when it is decided anew. */
static void put(struct world *w, uint32_t i, bool calls_too, bool events_too)
{
    if (sched_function_put(w->sched, &w->fns[i].cfg) < 0)
        sim_violation("no memory");
    if (calls_too || events_too)
        shell_unbind(w, i, calls_too);
    world_recount(w, i);
}

static void set_reserved(struct world *w, uint32_t i, int32_t reserved)
{
    struct sim_fn *f = &w->fns[i];
    bool changed = f->cfg.reserved != reserved;
    if (f->cfg.reserved < 0)
        w->held_pool -= f->held;
    f->cfg.reserved = reserved;
    if (reserved < 0)
        w->held_pool += f->held;
    put(w, i, false, changed || f->cfg.paused);
}

/* --- what happens ------------------------------------------------------------------------------------------------- */

static void arrive(struct world *w)
{
    uint32_t i = (uint32_t)world_random(w, WORLD_FNS);
    const struct sim_fn *f = &w->fns[i];
    uint64_t burst = world_chance(w, 5) ? 1500 : 1 + world_random(w, 6);
    if (f->run_ms > 100 && burst > 6)
        burst = 10;
    if (f->alive) {
        for (; burst > 0 && w->events_left > 0; burst--, w->events_left--) {
            uint64_t seq = model_new_event(&w->model, i, f->cfg.fid, world_now(w), f->max_age_ms, f->max_attempts);
            world_submit(w, &(struct op){.kind = OP_ACCEPT, .seq = seq});
        }
        if (world_chance(w, 200))
            shell_call(w, i);
    }
    if (w->events_left > 0)
        (void)world_later(w, T_ARRIVE, (int64_t)world_random(w, 120), false);
}

static void step_clock(struct world *w)
{
    static const int64_t steps[] = {1000, MINUTE_MS, 60 * MINUTE_MS};
    int64_t by = steps[world_random(w, 3)];
    if (world_chance(w, 30)) {
        by = 365LL * DAY_MS; /* a jump back by so much is the queue's to mend: it caps a wait at its own length */
    } else if (world_chance(w, 500)) {
        by = -by;
        w->stepped_back = true;
    }
    w->wall_offset += by;
}

/* One that runs now, or any. */
static uint64_t choose_event(struct world *w)
{
    const struct sim_worker *k = &w->workers[world_random(w, WORLD_WORKERS_MAX)];
    if (k->state == W_BUSY && !k->job.sync)
        return k->job.key;
    uint64_t n = w->model.n_events - 1;
    return n > 0 ? 1 + world_random(w, n) : 0;
}

static void cancel_some(struct world *w)
{
    for (int i = 0; i < 20; i++) {
        uint64_t seq = choose_event(w);
        if (w->model.events[seq].exists && (i < 5 || w->model.events[seq].state == M_RUNNING))
            world_submit(w, &(struct op){.kind = OP_CANCEL, .seq = seq});
    }
    if (world_chance(w, 300)) /* right behind: some of it is on disk, and nobody was told */
        world_later(w, T_CRASH, (int64_t)world_random(w, 6), false)->id = 1;
}

static void retry_some(struct world *w)
{
    for (int i = 0; i < 20; i++) {
        uint64_t seq = choose_event(w);
        if (w->model.events[seq].exists && w->model.events[seq].state == M_WAITING)
            world_submit(w, &(struct op){.kind = OP_RETRY, .seq = seq});
    }
}

static void operate_on_events(struct world *w, const struct sim_fn *f)
{
    if (world_chance(w, 300))
        cancel_some(w);
    if (world_chance(w, 300))
        retry_some(w);
    if (f->alive && world_chance(w, 60))
        world_submit(w, &(struct op){.kind = OP_PURGE, .fid = f->cfg.fid, .until = w->model.n_events});
}

static void operate(struct world *w)
{
    uint32_t i = (uint32_t)world_random(w, WORLD_FNS);
    struct sim_fn *f = &w->fns[i];
    if (!f->alive) {
        random_fn(w, i);
        put(w, i, false, false);
    } else {
        switch (world_random(w, 7)) {
        case 0:
        case 1:
            f->cfg.paused = !f->cfg.paused;
            put(w, i, false, f->cfg.paused);
            break;
        case 2:
        case 3:
            set_reserved(w, i, random_reserved(w, i));
            break;
        case 4:
            f->cfg.generation++;
            put(w, i, true, true);
            break;
        case 5:
            if (world_chance(w, 300)) {
                set_reserved(w, i, -1);
                shell_delete(w, i);
            }
            break;
        case 6:
            if (world_chance(w, 100))
                step_clock(w);
            break;
        }
    }
    operate_on_events(w, f);
    if (!w->draining)
        (void)world_later(w, T_OPERATOR, (int64_t)world_random(w, 3000), false);
}

/* The engine dies: some of what was submitted may have been committed, the rest is gone, and so is all it knew. */
static void crash(struct world *w)
{
    size_t n = world_random(w, w->model.n_ops + 1);
    for (size_t i = 0; i < n; i++)
        (void)model_apply(&w->model, &w->model.ops[i], world_now(w));
    w->model.n_ops = 0;
    sched_free(w->sched);
    memset(w->workers, 0, sizeof w->workers);
    w->n_calls = w->held = w->held_pool = w->starting = w->executing = 0;
    w->memory_mb = 0;
    w->lone_runs = w->commit_due = false;
    w->epoch++;
    w->n_crashes++;
    model_recover(&w->model, WORLD_MAX_DISRUPTIONS, world_now(w));
    model_check_all(&w->model);
    w->n_due = 0;
    for (uint64_t seq = 1; seq < w->model.n_events; seq++)
        if (w->model.events[seq].exists && w->model.events[seq].state == M_WAITING)
            world_wait(w, seq);
    shell_begin(w);
}

static void happen(struct world *w, struct thing *t)
{
    switch (t->kind) {
    case T_ARRIVE:
        arrive(w);
        break;
    case T_COMMIT:
        w->commit_due = false;
        shell_commit(w);
        break;
    case T_REFILL_READ:
        shell_refill_read(w, t);
        break;
    case T_REFILL:
        shell_refill(w, t);
        break;
    case T_WORKER:
        if (w->workers[t->slot].id == t->id)
            shell_worker(w, &w->workers[t->slot]);
        break;
    case T_OPERATOR:
        if (!w->draining)
            operate(w);
        break;
    case T_CRASH:
        if (!w->draining) {
            crash(w);
            if (t->id == 0)
                (void)world_later(w, T_CRASH, (int64_t)world_random(w, 2 * (uint64_t)w->crash_gap_ms), false);
        }
        break;
    case T_DEATH:
        shell_death(w, &w->workers[world_random(w, WORLD_WORKERS_MAX)]);
        if (!w->draining)
            (void)world_later(w, T_DEATH, (int64_t)world_random(w, 500), false);
        break;
    }
}

static void begin_drain(struct world *w)
{
    w->draining = true;
    w->drain_since = w->mono;
    for (uint32_t i = 0; i < WORLD_FNS; i++) {
        struct sim_fn *f = &w->fns[i];
        f->p_start = f->p_crash = 0;
        f->cfg.paused = false;
        if (f->alive)
            put(w, i, false, false);
    }
}

static bool all_over(const struct world *w)
{
    return w->model.n_final == w->model.accepted && w->model.n_ops == 0 && w->n_calls == 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_moment(struct world *w)
{
    int64_t wall, mono;
    sched_wakeup(w->sched, &wall, &mono);
    if (wall != INT64_MAX)
        mono = earlier(mono, wall - w->wall_offset);
    if (w->n_due > 0)
        mono = earlier(mono, w->due[1].at - w->wall_offset);
    const struct timerq_item *it = timerq_first(&w->things);
    if (it != NULL)
        mono = earlier(mono, it->at_ms);
    if (mono == INT64_MAX && !w->unpulled)
        sim_violation("nothing will ever happen again and %llu of %llu events are not over",
                      (unsigned long long)(w->model.accepted - w->model.n_final),
                      (unsigned long long)w->model.accepted);
    return mono > w->mono && !w->unpulled ? mono : w->mono;
}

static void promote_early(struct world *w)
{
    if (w->model.broken == BREAK_EARLY && !w->model.broke && w->n_due > 0 && w->due[1].at > world_now(w) + 1000) {
        w->model.broke = true;
        shell_promote(w);
        due_pop(w);
    }
}

bool world_step(struct world *w)
{
    w->step++;
    w->mono = next_moment(w);
    while (w->n_due > 0 && w->due[1].at <= world_now(w)) {
        shell_promote(w);
        due_pop(w);
    }
    promote_early(w);
    struct timerq_item *it = timerq_first(&w->things);
    if (it != NULL && it->at_ms <= w->mono) {
        struct thing *t = (struct thing *)(void *)it; /* its first member */
        timerq_del(&w->things, it);
        if (t->epoch == 0 || t->epoch == w->epoch)
            happen(w, t);
        free(t->seqs);
        free(t);
    }
    /* Facts may come several at a time before the decisions are pulled. */
    w->unpulled = !w->unpulled && world_chance(w, 100);
    if (!w->unpulled)
        shell_pull(w);
    if (w->step % CHECK_ALL_EVERY == 0)
        model_check_all(&w->model);
    if (w->events_left == 0 && !w->draining)
        begin_drain(w);
    if (w->draining && w->mono - w->drain_since > 2LL * DAY_MS)
        sim_violation("two days of quiet and %llu of %llu events are not over",
                      (unsigned long long)(w->model.accepted - w->model.n_final),
                      (unsigned long long)w->model.accepted);
    return !(w->draining && all_over(w));
}

void world_init(struct world *w, uint64_t seed, uint64_t n_events, enum model_break broken)
{
    *w = (struct world){.rng = seed, .seed = seed, .epoch = 1, .next_fid = 1, .next_call = 1, .next_run = 1};
    if (model_init(&w->model, n_events, SCHED_LONE_DISRUPTIONS) < 0)
        sim_violation("no memory");
    w->model.broken = broken;
    w->events_left = n_events;
    w->wall_offset = 1700000000000;
    w->policy = (struct backoff_policy){
        .first_wait_ms = 60000, .multiplier = 2.0, .max_wait_ms = 300000, .max_disruptions = WORLD_MAX_DISRUPTIONS};
    w->limits = (struct sched_limits){.account = 4 + (int32_t)world_random(w, 20),
                                      .worker_memory_mb = 2048 << world_random(w, 4),
                                      .worker_starts = 1 + (uint32_t)world_random(w, 4),
                                      .worker_idle_ms = 1000 << world_random(w, 9),
                                      .requeue_first_ms = 1000,
                                      .requeue_max_ms = 300000};
    w->crash_gap_ms = 1000 << world_random(w, 6);
    timerq_init(&w->things);
    for (uint32_t i = 0; i < WORLD_FNS; i++)
        if (world_chance(w, 800))
            random_fn(w, i);
    shell_begin(w);
    (void)world_later(w, T_ARRIVE, 0, false);
    (void)world_later(w, T_OPERATOR, 1000, false);
    (void)world_later(w, T_DEATH, 1000, false);
    (void)world_later(w, T_CRASH, w->crash_gap_ms, false);
}

void world_done(struct world *w)
{
    struct timerq_item *it;
    while ((it = timerq_first(&w->things)) != NULL) {
        struct thing *t = (struct thing *)(void *)it;
        timerq_del(&w->things, it);
        free(t->seqs);
        free(t);
    }
    timerq_done(&w->things);
    sched_free(w->sched);
    model_done(&w->model);
    free(w->due);
}
