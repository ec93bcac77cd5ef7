/* The simulated engine: the production dispatcher, queue, dlq, registry and store, linked as they are, on one thread
 * and a clock that the simulation moves. What it puts in the place of the world, by defining or wrapping symbols at
 * link time:
 *
 *   host.c   the C library's faces: clocks, randomness, free disk, memory, threads (each a fiber, switched only where
 *            the simulation says)
 *   disk.c   the store's faults: a step that fails, a crash at any step; what was not committed is lost
 *   loop.c   the event loop: posted work and timers
 *   exec.c   the executor: scripted workers
 *
 * life.c opens and ends the engine as tools/bided does, steps.c chooses what happens next, model.c says what must be
 * true, bugs.c puts bugs in on purpose. One process simulates one seed; main.c runs many, and makes a failure small.
 *
 * Every step has a stream of randomness of its own, made of the seed and its number, so that a step can be left out
 * without changing the others.
 */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/id.h"
#include "dispatcher/dispatcher.h"
#include "dlq/dlq.h"
#include "queue/queue.h"
#include "registry/registry.h"
#include "store/store.h"

enum {
    SIM_FNS = 6,       /* names of functions */
    SIM_VERSIONS = 64, /* of one function that may be in force at the same time */
    SIM_MAX_DISRUPTIONS = 5,
};
#define SIM_EPOCH_US 1790000000000000LL /* where the clock stands at first */

/* What a seed is about: drawn once, so that each seed stresses something else. "in": 1 of so many, 0 never. */
struct sim_plan {
    uint64_t steps, events; /* at most */
    uint32_t open_max;      /* events that are not over */
    uint32_t account, worker_starts;
    uint64_t map_bytes, reserve_bytes, dlq_bytes, history_bytes;
    bool history_payload;
    uint32_t crash_in, io_in, full_in;                        /* of a store's steps */
    uint32_t step_in, stop_in, operator_in, kill_in, lose_in; /* of the simulation's */
    uint32_t disrupted_pct, failed_pct;                       /* of runs */
    uint32_t start_failed_pct, init_failed_pct;               /* of workers */
    uint32_t long_pct;                                        /* of payloads: out of line */
};

enum sim_bug {
    BUG_NONE,
    BUG_ACK_EARLY,
    BUG_LETTER_LATER,
    BUG_COUNT_TWICE,
    BUG_COUNT_DISRUPTION,
    BUG_RESTART_WAITS,
    BUG_WAITS_FOLLOW_CLOCK,
    BUG_FORGET_RESERVED,
    BUG_FORGET_PAUSE,
    BUG_PURGE_MISSES,
    BUG_REPLAY_KEEPS,
    BUG_START_LOST,
    BUG_UNSYNCED_START,
    BUG_LOSE_QUEUED,
    BUG_FORGET_CANCEL,
    BUG_IGNORE_COMMIT,
    BUG_DISK_LIES,
    BUG_EARLY,
    BUG_OTHER_PAYLOAD,
    BUGS
};
extern const char *const sim_bug_names[BUGS];

struct sim_totals {
    uint64_t steps, events, calls, runs, commits, crashes, stops, faults, clock_steps, dead, replayed, cancelled,
        verified, passed_most;
    int64_t virtual_ms;
    uint64_t digest; /* of what happened: the same for the same seed */
};

struct sim {
    uint64_t seed, step, rng;
    struct sim_plan plan;
    enum sim_bug bug;
    bool trace;
    bool calm; /* no more faults: everything is to come to its end */
    struct sim_totals totals;

    int64_t mono_us, wall_offset_us;
    int64_t wall_high_ms; /* highest the clock stood since all was quiet, when it was set back */
    const char *crash;    /* why the engine ends now; NULL: it runs on */

    struct settings *settings;
    struct clock clock;
    struct id_gen ids;
    struct store *store;
    struct queue *queue;
    struct dlq *dlq;
    struct registry *registry;
    struct loop *loop;
    struct dispatcher *dispatcher;
    int code_fd;
    bool recovering; /* inside queue_recover */
    bool stopping;   /* in order */
    bool unclean;    /* the engine was started after a crash */
};
extern struct sim sim;

/* main.c */
_Noreturn void sim_violation(const char *fmt, ...) BIDE_PRINTF(1, 2);
void sim_trace(const char *fmt, ...) BIDE_PRINTF(1, 2);
#define SIM_TRACE(...)                                                                                                 \
    do {                                                                                                               \
        if (sim.trace)                                                                                                 \
            sim_trace(__VA_ARGS__);                                                                                    \
    } while (0)
void sim_step_begins(void); /* the next number, and its randomness */
uint64_t sim_rand(void);
uint32_t sim_below(uint32_t n); /* 0 .. n-1 */
bool sim_one_in(uint32_t n);    /* 0: never */
bool sim_percent(uint32_t percent);
void sim_note(uint64_t what); /* into the digest */

/* host.c */
int64_t sim_wall_ms(void);
void *sim_alloc(size_t n); /* zeroed, and it stays when the engine ends */
void host_begin(void);     /* from here on what is allocated is the engine's */
void host_end(bool check); /* the engine is gone, its memory too. check: it must have given it all back */
uint32_t fiber_count(void);
bool fiber_runnable(uint32_t i);
void fiber_run(uint32_t i);  /* until it waits or yields */
bool fiber_here(void);       /* the caller runs on a fiber */
void fiber_yield(void);      /* on a fiber: somebody else's turn */
int64_t fiber_next_us(void); /* when one goes on by itself; INT64_MAX: all wait for something */

/* disk.c */
int disk_fault(enum store_fault at, void *arg);
void disk_fatal(const struct err *e, void *arg);
struct store_table *disk_table(const char *name);
void disk_crash(void); /* what is not committed is lost, the environment closed under its owner */

/* loop.c */
bool loop_busy(void);                        /* something is posted */
void loop_turn(void);                        /* some of it */
uint64_t loop_posted(void), loop_done(void); /* how much, since the engine began */
int64_t loop_next_timer_us(void);            /* INT64_MAX: none */
bool loop_timer_due(void);
void loop_timers(void); /* fire one that is due */

/* exec.c */
int64_t exec_next_us(void); /* INT64_MAX: nothing is to come */
bool exec_due(void);
void exec_turn(void);     /* one worker that is due does what it does */
void exec_kill_one(void); /* a worker dies */
void exec_lose(void);     /* the executor process does */
uint32_t exec_idle(uint32_t handler);
bool exec_busy(uint32_t handler); /* one of its workers is neither idle nor gone */

/* inside.c */
bool inside_owes(void); /* the queue keeps moves that found no room */

/* steps.c */
void steps_first(void); /* there are functions */
void steps_one(void);
void steps_work(void);  /* somebody's turn, or time passes */
void steps_drain(void); /* until all is over */

#endif
