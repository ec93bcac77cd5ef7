/* The scheduler: decides which event runs on which worker, when a worker starts or stops, when to wait and when to give
 * up. Pure: it opens nothing, sleeps never, has no clock and no threads. The shell gives facts, each with the time
 * where time matters, and pulls decisions until there are none:
 *
 *   sched_event_add(s, fid, &ev, &out);
 *   while (sched_next(s, now_ms, mono_ms, &d))
 *       carry out d;
 *   arm a timer for sched_wakeup(...)
 *
 * Two time domains (the design, section 8): now_ms is the events' time, which may be virtual; mono_ms is real,
 * monotonic time, for workers. Memory is bounded: each function has a window of ready events; what does not fit stays
 * in the queue on disk and is asked for (SCHED_REFILL) when the window runs low.
 *
 * The life of an event in here: ready (in its function's window) -> bound (a worker is being started for it) -> running
 * -> settling (its end is being made durable) -> forgotten.
 */
#ifndef DISPATCHER_SCHEDULER_H
#define DISPATCHER_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct sched;

enum {
    SCHED_WINDOW = 512,             /* ready events of one function held in memory */
    SCHED_LONE_DISRUPTIONS = 3,     /* from so many disruptions on, an event runs alone */
    SCHED_LONE_PATIENCE_MS = 10000, /* so long synchronous calls may keep a lone event waiting */
    SCHED_START_GUESS_MS = 100,     /* what a start is taken to last before one was seen */
};

struct sched_limits {
    int32_t account;          /* account.concurrency */
    int64_t worker_memory_mb; /* bound of the sum over live workers */
    uint32_t worker_starts;   /* starts in progress at once */
    int64_t worker_idle_ms;   /* an idle worker is stopped after this */
    int64_t requeue_first_ms; /* backoff of a function whose workers cannot start */
    int64_t requeue_max_ms;
};

struct sched_function {
    uint64_t fid;
    uint64_t generation; /* idle workers of another generation are stopped */
    int32_t reserved;    /* -1 none */
    int32_t memory_mb;
    bool paused; /* no asynchronous starts */
};

struct sched_event {
    uint64_t seq;
    int64_t accepted_at_ms;
    int64_t max_age_ms;
    uint32_t disruptions;
    bool sync_start; /* its start must be on disk before the hand-over */
    bool from_disk;  /* found by a refill; otherwise it became ready just now */
};

struct sched_job {
    bool sync;
    uint64_t fid;
    uint64_t key; /* seq of the event, or id of the call */
    bool lone;
    bool sync_start;
};

enum sched_expiry { SCHED_EXPIRE_AGE, SCHED_EXPIRE_ZERO_RESERVED };
enum sched_stop { SCHED_STOP_IDLE, SCHED_STOP_MAKE_ROOM, SCHED_STOP_OLD, SCHED_STOP_DRAIN };
enum sched_refusal { SCHED_REFUSE_NONE, SCHED_REFUSE_RESERVED, SCHED_REFUSE_ACCOUNT, SCHED_REFUSE_FAILED };

enum sched_kind {
    SCHED_START_WORKER, /* worker, fid, generation: start it; job is bound to it */
    SCHED_RUN,          /* worker, job: hand over */
    SCHED_STOP_WORKER,  /* worker, why */
    SCHED_EXPIRE,       /* job (an event), expiry; the event has left the scheduler, settling */
    SCHED_REFILL,       /* fid, after_seq, max_n: fetch, add, then sched_refilled */
    SCHED_REFUSE,       /* job (a call), refusal */
};

struct sched_decision {
    enum sched_kind kind;
    uint64_t worker;
    uint64_t fid;
    uint64_t generation;
    struct sched_job job;
    enum sched_stop stop;
    enum sched_expiry expiry;
    enum sched_refusal refusal;
    uint64_t after_seq;
    uint32_t max_n;
};

int sched_new(struct sched **ret, const struct sched_limits *limits) BIDE_MUST_USE;
void sched_free(struct sched *s);

/* Other limits from now on. What is there already over a lower one goes as its work ends. */
void sched_set_limits(struct sched *s, const struct sched_limits *limits);

/* --- facts about functions ---------------------------------------------------------------------------------------- */

/* New or changed. */
int sched_function_put(struct sched *s, const struct sched_function *f) BIDE_MUST_USE;

/* Deleted: its ready events are forgotten at once (the queue makes dead letters of them), bound ones too, running ones
 * run on; its idle workers are stopped. Calls that wait for a worker are refused. Unknown fids are fine. */
void sched_function_del(struct sched *s, uint64_t fid);

/* There may be more of this function's ready events on disk, behind the window. */
void sched_backlog(struct sched *s, uint64_t fid);

/* The answer to SCHED_REFILL, after the events were added. */
void sched_refilled(struct sched *s, uint64_t fid, bool more);

/* --- facts about events ------------------------------------------------------------------------------------------- */

/* An event is ready. True: it is in the window now. False: it is known already, or stays on disk until a refill finds
 * it (the window is full), or its function is unknown. ERR_NOMEM counts as the latter: disk is never short of it. An
 * older event than the youngest of a full window takes that one's place, so that it keeps its turn and its age is
 * watched: *ret_out is the one that went back to disk, 0: none. */
bool sched_event_add(struct sched *s, uint64_t fid, const struct sched_event *ev, uint64_t *ret_out);

/* It left the queued state by other means (cancelled, purged), or is to. One that runs or settles is left alone: the
 * worker that runs it, to be stopped by the caller, or 0. */
uint64_t sched_event_forget(struct sched *s, uint64_t seq);
/* Its end (or its expiry) is durable. One that became ready again meanwhile is left alone. */
void sched_event_settled(struct sched *s, uint64_t seq);

/* --- facts about calls -------------------------------------------------------------------------------------------- */

/* A synchronous call takes a slot now or is refused now. */
enum sched_refusal sched_call_add(struct sched *s, uint64_t fid, uint64_t call, int64_t mono_ms);
void sched_call_gone(struct sched *s, uint64_t call); /* the caller left; a running one runs on */

/* --- facts about workers ------------------------------------------------------------------------------------------ */

/* How long its start took in milliseconds; -1: it was ready before, or is unknown. */
int64_t sched_worker_ready(struct sched *s, uint64_t worker, int64_t mono_ms);
/* The platform could not start it: the function backs off; a bound event keeps its place, a bound call is refused. */
void sched_worker_start_failed(struct sched *s, uint64_t worker, int64_t mono_ms);
/* The function's own initialisation failed: *ret is the job bound to it (true), now out of the scheduler's hands: an
 * event is settling. The worker counts until sched_worker_gone. */
bool sched_worker_init_failed(struct sched *s, uint64_t worker, struct sched_job *ret);
/* The job it ran has ended; an event is settling until sched_event_settled. usable: the worker can take the next at
 * once; otherwise it will be ready or gone. */
void sched_job_done(struct sched *s, uint64_t worker, bool usable, int64_t mono_ms);
void sched_worker_gone(struct sched *s, uint64_t worker, int64_t mono_ms);

/* No more work is started; idle workers are stopped as they come. */
void sched_drain(struct sched *s);

/* While on, no event is given to a worker and none is given up for its age: what is decided could not be stored. Calls
 * are served as ever. */
void sched_hold(struct sched *s, bool on);

/* --- decisions ---------------------------------------------------------------------------------------------------- */

/* The next decision, or false when there is none now. */
bool sched_next(struct sched *s, int64_t now_ms, int64_t mono_ms, struct sched_decision *ret);

/* When to call sched_next again although nothing happens: INT64_MAX = never. *ret_now_ms is in the events' time,
 * *ret_mono_ms in monotonic time. */
void sched_wakeup(struct sched *s, int64_t *ret_now_ms, int64_t *ret_mono_ms);

struct sched_stats {
    uint64_t workers, starting, idle, busy; /* workers by state; stopping ones count in workers only */
    int64_t memory_mb;
    uint64_t running_sync, running_async; /* jobs that hold a slot */
    uint64_t running_unreserved;          /* of those, of functions without a reservation */
    uint64_t window;                      /* ready events in memory */
};
void sched_stats(const struct sched *s, struct sched_stats *ret);

/* The ids of all live workers, malloc'ed into *ret (NULL when there are none or no memory); how many. */
size_t sched_worker_ids(const struct sched *s, uint64_t **ret);

/* The function a worker belongs to; 0: no such worker. */
uint64_t sched_worker_function(const struct sched *s, uint64_t worker);

/* Why a function's workers are not being started, for people: milliseconds until the next try, 0 = no fault. */
int64_t sched_function_backoff(const struct sched *s, uint64_t fid, int64_t mono_ms);

#endif
