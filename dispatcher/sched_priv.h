/* The scheduler's insides, shared by scheduler.c (facts about functions and events), jobs.c (facts about calls and
 * workers) and decide.c (decisions) alone. */
#ifndef DISPATCHER_SCHED_PRIV_H
#define DISPATCHER_SCHED_PRIV_H

#include <bsd/sys/queue.h>

#include "base/timerq.h"
#include "concurrency.h"
#include "scheduler.h"

#define HASH_NONFATAL_OOM         1
#define uthash_nonfatal_oom(elt_) ((void)(elt_)) /* the element's hh.tbl stays NULL: checked after each add */
#include <uthash.h>

struct fn;
struct worker;

enum ev_state { EV_READY, EV_BOUND, EV_RUNNING, EV_SETTLING, EV_TOMB /* forgotten while a refill was on its way */ };

struct ev {
    UT_hash_handle hh; /* by seq */
    uint64_t seq;
    struct fn *fn;
    enum ev_state state;
    uint32_t disruptions;
    bool sync_start;
    struct worker *worker;     /* bound or running */
    struct timerq_item ready;  /* at = seq, in fn->ready */
    struct timerq_item expiry; /* at = when it is too old, in s->expiry */
    uint64_t refill;           /* strays: the last one decided when it was buried */
    TAILQ_ENTRY(ev) tomb_link; /* EV_TOMB: in fn->tombs */
};

enum call_state { CALL_PENDING, CALL_BOUND, CALL_RUNNING };

struct call {
    UT_hash_handle hh; /* by id */
    uint64_t id;
    struct fn *fn;
    enum call_state state;
    struct worker *worker;  /* bound or running */
    TAILQ_ENTRY(call) link; /* in fn->calls while pending */
};

enum worker_state {
    WORKER_STARTING, /* being started, or reset after a timeout: will be ready or gone */
    WORKER_RUNNABLE, /* ready, and the job bound to it waits to be handed over */
    WORKER_IDLE,
    WORKER_BUSY,
    WORKER_DOOMED,   /* a stop is to be decided */
    WORKER_STOPPING, /* asked to stop; gone to come */
};

struct worker {
    UT_hash_handle hh; /* by id */
    uint64_t id;
    struct fn *fn;
    uint64_t generation;
    int32_t memory_mb;
    enum worker_state state;
    bool first_start; /* counts among the starts in progress until ready */
    bool between;     /* counts in fn->between until ready */
    enum sched_stop why;
    struct ev *ev; /* job: one of these, or neither */
    struct call *call;
    int64_t since_ms;            /* mono: start begun, idle since, or busy since */
    int64_t ready_at_ms;         /* mono: ready for the first time */
    TAILQ_ENTRY(worker) link;    /* runnable, idle (oldest first), doomed */
    TAILQ_ENTRY(worker) fn_link; /* fn->idle (newest first), fn->busy (oldest first) */
};

/* Where a function with work to do is waiting. Exactly one place at a time. */
enum place {
    PLACE_OFF,   /* nothing to start, or its own limit: a fact about it brings it back */
    PLACE_RING,  /* in turn */
    PLACE_POOL,  /* for a slot others hold */
    PLACE_FIRST, /* for a start or memory, for its first worker */
    PLACE_MORE,  /* for a start or memory, for one more */
    PLACE_TIMED, /* for a moment of monotonic time */
};

struct fn {
    UT_hash_handle hh; /* by fid */
    uint64_t fid;
    struct sched_function cfg;
    bool deleted;
    struct concurrency_share share;
    struct timerq ready; /* by seq */
    uint64_t high_seq;   /* everything ready up to here was seen: a refill goes on after it */
    uint64_t missed;     /* lowest one that was left on disk while a refill was on its way; 0: none */
    bool disk_more;
    bool refilling;
    uint64_t refill; /* number of the one on its way */
    bool on_refill;  /* in s->refills */
    enum place place;
    uint32_t passed;      /* PLACE_FIRST: starts of others while it was the first to wait and did not fit */
    TAILQ_ENTRY(fn) link; /* ring, pool or floor, first, more */
    TAILQ_ENTRY(fn) refill_link;
    TAILQ_ENTRY(fn) call_link;
    bool on_calls;            /* in s->call_ring */
    struct timerq_item timer; /* PLACE_TIMED, in s->timers */
    TAILQ_HEAD(, call) calls; /* pending */
    TAILQ_HEAD(, ev) tombs;
    TAILQ_HEAD(, worker) idle, busy;
    uint32_t live;         /* starting, runnable, idle, busy */
    uint32_t between;      /* of those, done with a job and not ready for the next yet */
    uint32_t refs;         /* events, calls and workers that point here */
    uint32_t failures;     /* starts failed in a row */
    int64_t backoff_until; /* mono */
    int64_t run_avg_us;    /* moving averages; 0 = none yet */
    int64_t start_avg_ms;
};

TAILQ_HEAD(fn_list, fn);
TAILQ_HEAD(worker_list, worker);

struct sched {
    struct sched_limits limits;
    struct concurrency slots;
    struct fn *fns;
    struct ev *evs;
    struct call *calls;
    struct worker *workers;
    struct fn_list ring;
    struct fn_list pool, floor; /* PLACE_POOL: functions without and with a reservation */
    bool pool_first;
    struct fn_list first, more;
    bool look_starts;                  /* something changed for first and more */
    struct fn_list refills, refilling; /* to be decided; on their way, oldest first */
    uint64_t n_refills;
    TAILQ_HEAD(, ev) strays;
    struct fn_list call_ring;
    struct worker_list runnable, idle, doomed;
    struct timerq expiry; /* events' time */
    struct timerq timers; /* monotonic time */
    uint64_t next_worker;
    int64_t memory_mb;  /* of workers that are not gone */
    int64_t leaving_mb; /* of those, doomed or stopping */
    int64_t idle_mb;    /* of those, idle */
    uint32_t starting;
    uint64_t busy_calls;
    uint64_t window;
    uint64_t n_idle, n_busy; /* workers, as the lists hold them */
    struct ev *lone;         /* waits for everything else to end, or runs alone */
    int64_t lone_since;      /* mono */
    bool draining;
    bool held; /* no decision about events that are not on a worker yet */
};

/* NULL: no such function, worker. */
struct fn *sched_fn(const struct sched *s, uint64_t fid);
struct worker *sched_worker(const struct sched *s, uint64_t id);
/* One thing less that points at f; a deleted function goes with the last. */
void sched_unref(struct sched *s, struct fn *f);

/* A function may have something to do: to the end of the ring, wherever it waited. */
void sched_wake(struct sched *s, struct fn *f);
/* Take it from where it waits. */
void sched_unplace(struct sched *s, struct fn *f);
void sched_place(struct sched *s, struct fn *f, enum place where);
/* Whoever waits longest for a slot and can have one now gets its turn. */
void sched_wake_pool(struct sched *s);
void sched_want_refill(struct sched *s, struct fn *f);

/* The event is not taken into the window: the next refill begins early enough to find it. */
void sched_stays_on_disk(struct fn *f, uint64_t seq);
/* Out of the window. */
void sched_unready(struct sched *s, struct ev *e);
void sched_take_slot(struct sched *s, struct fn *f, bool is_call);
void sched_give_slot(struct sched *s, struct fn *f, bool is_call);
/* The job bound to a worker that has not been handed it: the worker will be without one. */
void sched_unbind_waiting(struct sched *s, struct worker *w);
/* A bound event back to its place; a bound call back to the front of the pending ones, with its slot. */
void sched_event_again(struct sched *s, struct ev *e);
void sched_call_again(struct sched *s, struct call *c);
/* From the list its state puts it on. */
void sched_leave_lists(struct sched *s, struct worker *w);
/* w, which is ready and on no list, has nothing to do. */
void sched_become_idle(struct sched *s, struct worker *w, int64_t mono_ms);
/* On w no more: its slot is given back, what becomes of the job is the caller's business. */
void sched_unbind(struct sched *s, struct worker *w);
/* To be stopped: from idle (or no list at all) to the doomed ones. */
void sched_doom(struct sched *s, struct worker *w, enum sched_stop why);
struct worker *sched_worker_new(struct sched *s, struct fn *f, int64_t mono_ms);
void sched_drop_call(struct sched *s, struct call *c);
struct sched_job sched_job_of(const struct sched *s, const struct worker *w);

#endif
