/* The shell's insides, shared by dispatcher.c, work.c, backlog.c and calls.c alone. Everything here belongs to the
 * dispatcher's thread unless it says otherwise.
 */
#ifndef DISPATCHER_PRIV_H
#define DISPATCHER_PRIV_H

#include <bsd/sys/queue.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"
#define uthash_fatal(what_) bide_no_memory("table") /* its own way out says nothing */
#include <uthash.h>

#include "backoff.h"
#include "base/hist.h"
#include "dispatcher.h"
#include "executor/executor.h"
#include "scheduler.h"

enum {
    DECISIONS_A_TURN = 256,
    PRESS_MS = 200, /* between two tries at what found no room */
    BURY_AGAIN_MS = 1000,
    PROMOTE_AT_ONCE = 512,
    DELETE_AT_ONCE = 512,
    SYNCED_STARTS = 8,             /* first starts of a function after a crash that wait for the disk */
    CACHED_PAYLOAD_MAX = 16 << 20, /* bytes of payloads of ready events held in memory, all functions */
    CACHED_ONE_MAX = 64 * 1024,    /* a longer payload is read when it is needed */
    REFILL_BYTES = 1 << 20,
    DEFAULT_RETRIES = 2, /* Lambda: MaximumRetryAttempts */
    BURIED_MAX = 32,     /* deleted functions still known: an event accepted just before may be committed after */
    FAULTS_MAX = 64,     /* shown at once */
    DEGRADATIONS_MAX = 16,
    CLOCK_STEP_MS = 10000,      /* a forward jump of the real clock by more than this is a step */
    CLOCK_STEP_HOLD_MS = 60000, /* ages are not believed for so long after one */
};

/* A function as the scheduler knows it. */
struct known {
    UT_hash_handle hh; /* by fid */
    uint64_t fid;
    const struct function *fn; /* the newest snapshot; the last one when deleted */
    bool deleted;
    bool buried;             /* deleted, and none of its events is queued or waiting any more */
    uint32_t jobs;           /* of it, in dispatcher.jobs */
    TAILQ_ENTRY(known) link; /* dispatcher.buried */
    uint32_t synced_starts;  /* so many more wait for the disk */
};

/* Why a function's workers cannot be started: shown by `bide status`. */
struct fault {
    uint64_t fid; /* 0: unused */
    char name[FUNCTION_NAME_MAX + 1];
    char why[320];
    int64_t retry_at_mono_ms; /* 0: not until it is changed */
};

/* A ready event in the scheduler's window: what a hand-over needs, and no more. */
struct cached {
    UT_hash_handle hh; /* by seq */
    uint64_t seq;
    uint64_t fid;
    struct id id;
    int64_t accepted_at_ms;
    int64_t ready_at_ms; /* accepted, or due again; -1: not known any more */
    uint32_t attempts, disruptions, lone_runs, payload_len;
    char *payload;   /* NULL: not at hand */
    char *qualifier; /* NULL: none */
    char *trace;     /* NULL: none */
};

struct call {
    UT_hash_handle hh; /* by id */
    uint64_t id;
    const struct function *fn;
    struct id request_id;
    char *qualifier, *trace, *client_context; /* NULL: none */
    char *payload;
    size_t payload_len;
    bool want_log;
    invoke_cb *cb;
    void *arg;
};

/* What a busy worker does: an event or a call. */
struct job {
    UT_hash_handle hh; /* by worker */
    uint64_t worker;
    uint64_t run;
    uint64_t fid;
    struct cached *ev;
    struct call *call;
    bool lone;
    bool cancelled; /* and its worker stopped for it: no disruption */
    int64_t started_at_ms;
    int64_t began_us; /* monotonic: the hand-over; 0 before it */
    char version[32];
};

/* Counted since the start, per function. */
struct fn_stats {
    UT_hash_handle hh; /* by fid */
    uint64_t fid;
    _Atomic uint64_t running; /* slots taken now */
    _Atomic uint64_t sync_runs, async_runs, errors[OUTCOMES];
    _Atomic uint64_t throttled_reserved, throttled_account;
    _Atomic uint64_t disruptions, start_failures, init_failures;
    struct hist age_ms, duration_us;
};

struct stats {
    pthread_mutex_t mu; /* the hash changes under it, others than the dispatcher's thread read under it */
    struct fn_stats *functions;
    struct fn_stats nobody; /* takes what belongs to no function any more */
    struct hist wait_ms, start_ms;
    _Atomic uint64_t clock_steps;
};

struct dispatcher {
    struct dispatcher_deps deps;
    struct loop *loop;
    struct sched *sched;
    struct executor *executor;
    struct known *known;
    TAILQ_HEAD(, known) buried; /* known, but only for late events; oldest first */
    uint32_t n_buried;
    TAILQ_HEAD(, deletion) unburied; /* whose events found no room as dead letters */
    struct cached *cached;
    struct call *calls;
    struct job *jobs;
    struct code_use *code_uses;
    struct loop_timer *tick;  /* the scheduler's next wake-up */
    struct loop_timer *due;   /* the earliest due time */
    struct loop_timer *press; /* what the queue owes is tried again */
    struct loop_timer *bury;  /* unburied is tried again */
    struct loop_timer *grace;
    bool pumping, pump_again;
    bool holding; /* the queue owes something */
    bool promoting;
    uint64_t next_run;
    struct backoff_policy policy;
    int64_t last_now_ms, last_mono_ms, hold_ms, hold_until_mono_ms;

    /* clock moved: who waits for everything due to be queued */
    TAILQ_HEAD(, clock_wait) clock_waits;

    /* shutdown */
    bool draining, stopping_workers;
    void (*drained)(void *arg);
    void *drained_arg;
    uint64_t ops; /* submitted, completion not yet seen here */

    struct backlog *backlog;
    struct stats stats;

    /* any thread */
    _Atomic uint64_t next_call;
    _Atomic int64_t cached_bytes;
    pthread_mutex_t mu; /* guards status and faults below */
    struct dispatcher_status status;
    struct fault faults[FAULTS_MAX];
    char *degradations[DEGRADATIONS_MAX];
    size_t n_degradations;
};

struct clock_wait {
    TAILQ_ENTRY(clock_wait) link;
    void (*cb)(void *arg);
    void *arg;
};

/* dispatcher.c */
void dispatcher_pump(struct dispatcher *d);
void dispatcher_promote(struct dispatcher *d); /* move what is due, then re-arm */
void dispatcher_op_done(struct dispatcher *d); /* one of d->ops has come back */
void dispatcher_check_drained(struct dispatcher *d);
/* The events' time, as far as it is believed, for what depends on age. After a forward step of the real clock, ages are
 * taken as they were before it for a minute of monotonic time: a wrong clock that is set right again must not have
 * given up a whole backlog. */
int64_t dispatcher_trusted_now(struct dispatcher *d, int64_t mono_ms);

/* known.c: functions; all on the dispatcher's thread, but known_changed, which any may call */
struct known *known_find(struct dispatcher *d, uint64_t fid); /* NULL: unknown */
void known_changed(const struct function *f, bool deleted, void *arg);
/* A chunk of a deleted function's events becomes dead letters, and then the next, until there is none. */
void known_bury(struct dispatcher *d, uint64_t fid);
void known_bury_again(void *arg);                       /* a timer's: those that found no room */
void known_busy(struct dispatcher *d, struct known *k); /* it has one job more */
/* After each of its jobs and its burial: a deleted function that nothing needs is known for a while longer, and then
 * not at all. */
void known_idle(struct dispatcher *d, struct known *k);
void known_begin(struct dispatcher *d);                      /* all that the registry has */
int known_go_on_burying(struct dispatcher *d) BIDE_MUST_USE; /* the deletions that the last daemon did not end */
void known_done(struct dispatcher *d);

/* faults.c: what an operator is told; these three on the dispatcher's thread */
void faults_set(struct dispatcher *d, const struct function *f, const char *why, int64_t retry_at_mono_ms);
void faults_clear(struct dispatcher *d, uint64_t fid);
void faults_degradations(struct dispatcher *d);
bool faults_why(struct dispatcher *d, uint64_t fid, char *out, size_t cap); /* "" and false: none */

/* stats.c: all but stats_done on the dispatcher's thread */
void stats_init(struct dispatcher *d);
void stats_done(struct dispatcher *d);
void stats_add_function(struct dispatcher *d, uint64_t fid);
void stats_del_function(struct dispatcher *d, uint64_t fid);
struct fn_stats *stats_of(struct dispatcher *d, uint64_t fid); /* never NULL */
void stats_handed_over(struct dispatcher *d, const struct job *j);
/* An invocation came to an end, or was broken off. */
void stats_ended(struct dispatcher *d, uint64_t fid, bool sync, enum outcome outcome, bool disrupted);

/* work.c: events on workers */
struct cached *cached_new(const struct event *ev, const void *payload, size_t payload_len);
void cached_free(struct dispatcher *d, struct cached *c);
bool work_add(struct dispatcher *d, struct cached *c, bool from_disk); /* takes c */
void work_forget(struct dispatcher *d, uint64_t seq);
void work_cancelled(struct dispatcher *d, uint64_t seq); /* on disk: not to be run, or not on */
void work_start_worker(struct dispatcher *d, const struct sched_decision *dec);
void work_run(struct dispatcher *d, const struct sched_decision *dec);
void work_expire(struct dispatcher *d, const struct sched_decision *dec);
extern const struct executor_cbs work_executor_cbs;

/* code_use.c: a worker began to run this package, is gone; every one that is left, at the end */
void code_use(struct dispatcher *d, uint64_t worker, const char *sha256);
void code_unuse(struct dispatcher *d, uint64_t worker);
void code_unuse_all(struct dispatcher *d);

/* calls.c */
void calls_answer(struct dispatcher *d, struct call *c, const struct invoke_answer *a); /* ends c */
void calls_refuse(struct dispatcher *d, uint64_t id, enum sched_refusal why);
void calls_free(struct dispatcher *d, struct call *c);

/* backlog.c: a reader thread that refills windows from disk */
int backlog_new(struct backlog **ret, struct dispatcher *d, struct err *e) BIDE_MUST_USE;
void backlog_free(struct backlog *b); /* joins the thread */
void backlog_refill(struct backlog *b, uint64_t fid, uint64_t after_seq, uint32_t max_n);

#endif
