/* The simulation's world: virtual clocks, a scripted executor, an operator, and a shell that does with the scheduler's
 * decisions what the dispatcher does, against the model's store instead of the queue.
 *
 *   world_init(&w, seed, n_events, broken);
 *   while (world_step(&w)) ;           // one thing happens, then every decision is pulled and checked
 *   world_done(&w);
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "base/timerq.h"
#include "model.h"
#include "scheduler/backoff.h"
#include "scheduler/scheduler.h"

enum {
    WORLD_FNS = 12,
    WORLD_WORKERS_MAX = 96,
    WORLD_CALLS_MAX = 4096,
    WORLD_MAX_DISRUPTIONS = 5,
};

enum thing_kind {
    T_ARRIVE,      /* accepts and calls come in */
    T_COMMIT,      /* the store commits what has gathered */
    T_REFILL_READ, /* a refill reads the store */
    T_REFILL,      /* what it read arrives */
    T_WORKER,      /* a worker's start, run, reset or stop comes to its end */
    T_OPERATOR,    /* pause, limits, code, delete, cancel, clock */
    T_CRASH,
    T_DEATH, /* an idle worker dies by itself */
};

struct thing {
    struct timerq_item at; /* mono */
    enum thing_kind kind;
    uint32_t epoch; /* of the engine; 0: outlives it */
    uint32_t slot;  /* worker or function */
    uint64_t id;
    uint64_t *seqs; /* refill's answer */
    size_t n_seqs;
    uint64_t after_seq;
    uint32_t max_n;
    bool more;
};

enum w_state {
    W_NONE,
    W_STARTING,
    W_IDLE,
    W_BUSY,
    W_RESETTING, /* after a timeout: will be ready */
    W_DYING,     /* by itself: for the scheduler it could still become ready */
    W_STOPPING,
};
enum w_end { E_OK, E_ERROR, E_TIMEOUT, E_CRASH };

struct sim_worker {
    uint64_t id, fid, generation;
    uint32_t fn;
    int32_t memory_mb;
    enum w_state state;
    bool has_job, handed, start_fails, init_fails;
    struct sched_job job; /* bound while starting, run while busy */
    enum w_end end;
    uint64_t run;
    bool starting; /* counts among the starts in progress */
};

struct sim_call {
    uint64_t id, fid;
    uint32_t fn;
    bool open, bound;
};

struct sim_fn {
    struct sched_function cfg;
    bool alive;
    int64_t run_ms, start_ms;                              /* scale */
    uint32_t p_error, p_timeout, p_init, p_start, p_crash; /* per mille */
    int64_t max_age_ms;
    uint32_t max_attempts;
    uint32_t held;   /* slots */
    uint32_t window; /* ready events the scheduler holds */
    uint32_t calls;  /* accepted, neither bound nor running nor answered */
    uint32_t idle, live;
    uint32_t skipped; /* event starts given to others while this one could have run */
};

struct due {
    int64_t at; /* events' time */
    uint64_t seq;
};

struct world {
    uint64_t rng, seed, step;
    int64_t mono, wall_offset;
    uint32_t epoch;
    struct model model;
    struct sched *sched;
    struct sched_limits limits;
    struct backoff_policy policy;
    struct timerq things;
    struct sim_fn fns[WORLD_FNS];
    struct sim_worker workers[WORLD_WORKERS_MAX];
    struct sim_call calls[WORLD_CALLS_MAX];
    uint32_t n_calls;
    uint64_t next_fid, next_call, next_run;
    uint64_t events_left;
    uint32_t held, held_pool; /* slots */
    int64_t memory_mb;
    uint32_t starting, executing;
    bool lone_runs, commit_due, draining, stepped_back, unpulled;
    int64_t drain_since;
    struct due *due; /* heap by due_at, of waiting events; stale entries are skipped */
    size_t n_due, due_cap;
    int64_t crash_gap_ms;
    uint64_t n_runs, n_starts, n_expired, n_crashes, n_lone, n_refills, n_calls_run, n_refused, n_stops;
    uint64_t n_decisions;
};

void world_init(struct world *w, uint64_t seed, uint64_t n_events, enum model_break broken);
bool world_step(struct world *w);
void world_done(struct world *w);

/* world.c for the other files */
void world_wait(struct world *w, uint64_t seq); /* it waits for its due_at */
uint64_t world_random(struct world *w, uint64_t below);
bool world_chance(struct world *w, uint32_t per_mille);
int64_t world_now(const struct world *w);
struct thing *world_later(struct world *w, enum thing_kind kind, int64_t in_ms, bool of_engine);
void world_submit(struct world *w, const struct op *o);
struct sim_fn *world_fn(struct world *w, uint64_t fid); /* NULL: deleted */
void world_slot(struct world *w, uint64_t fid, int by);
void world_recount(struct world *w, uint32_t fn); /* a worker of it changed */
struct sim_worker *world_worker(struct world *w, uint64_t id);

/* shell.c: the dispatcher's part */
void shell_begin(struct world *w); /* a new scheduler told everything, as at a start of the daemon */
void shell_commit(struct world *w);
void shell_refill_read(struct world *w, struct thing *t);
void shell_refill(struct world *w, struct thing *t);
void shell_worker(struct world *w, struct sim_worker *k);
void shell_pull(struct world *w);
void shell_call(struct world *w, uint32_t fn);
void shell_promote(struct world *w);
void shell_death(struct world *w, struct sim_worker *k);
void shell_unbind(struct world *w, uint32_t fn, bool calls_too);
void shell_delete(struct world *w, uint32_t fn);

/* rules.c: what must hold at a decision and after all of them */
void rules_take(struct world *w, uint32_t fn, const struct sched_job *job);
void rules_run(struct world *w, const struct sim_worker *k, const struct sched_job *job, bool was_bound);
void rules_quiet(struct world *w);
void rules_fair(struct world *w, uint32_t fn);
enum model_state rules_settle(const struct world *w, const struct model_event *e, enum w_end end, bool init_failed,
                              bool deleted, bool lone, enum model_why *ret_why, int64_t *ret_wait_ms);

#endif
