/* The dispatcher: the thin shell round the pure scheduler (scheduler.h). It owns the loop thread on which workers live,
 * turns commits, timers and workers' answers into facts for the scheduler, and the scheduler's decisions into ops on
 * the queue and calls to the executor.
 *
 *   dispatcher_new(&d, &deps, &err);      // before store_start: registers the queue's and the registry's listeners
 *   ... store_start ...
 *   dispatcher_begin(d);                  // loads functions and backlog; events start
 *   loop_run(loop)                        // on the dispatcher's thread
 *   dispatcher_shutdown(d, ...);
 */
#ifndef DISPATCHER_DISPATCHER_H
#define DISPATCHER_DISPATCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/hist.h"
#include "base/loop.h"
#include "base/settings.h"
#include "dlq/dlq.h"
#include "queue/queue.h"
#include "registry/registry.h"

struct dispatcher;
struct logs;

enum { DISPATCHER_DEFAULT_AGE_S = 21600 }; /* Lambda: MaximumEventAgeInSeconds of a function that sets none */

struct dispatcher_deps {
    struct loop *loop; /* the dispatcher's own */
    struct clock *clock;
    const struct settings *settings;
    struct registry *registry;
    struct queue *queue;
    struct dlq *dlq;
    int executor_sock;          /* ownership passes */
    int runtimes_fd;            /* stays open as long as the dispatcher lives */
    struct logs *logs;          /* where functions' output goes; lives longer. NULL: nowhere */
    bool unclean;               /* the last stop was a crash: first starts of each function are synced first */
    void (*on_lost)(void *arg); /* the executor process is gone; on the dispatcher's thread */
    void *arg;
};

int dispatcher_new(struct dispatcher **ret, const struct dispatcher_deps *deps, struct err *e) BIDE_MUST_USE;
void dispatcher_free(struct dispatcher *d); /* after its loop has ended */

/* Load every function and its backlog. Once, on any thread, after store_start. */
void dispatcher_begin(struct dispatcher *d);

enum invoke_end {
    INVOKE_OK,             /* body is the function's answer */
    INVOKE_FUNCTION_ERROR, /* body is the error object; the client gets X-Amz-Function-Error: Unhandled */
    INVOKE_THROTTLED_RESERVED,
    INVOKE_THROTTLED_ACCOUNT,
    INVOKE_FAILED, /* the platform could not run it: 500 */
};

/* A synchronous call. Everything is copied by dispatcher_invoke. */
struct invoke_call {
    const struct function *fn; /* a reference of its own is taken */
    struct id id;
    const char *qualifier; /* "" = none */
    const char *trace;
    const char *client_context; /* decoded JSON, NULL = none */
    const void *payload;        /* empty means {} */
    size_t payload_len;
    bool want_log;
};

/* Borrowed for the callback. */
struct invoke_answer {
    enum invoke_end end;
    const void *body;
    size_t body_len;
    const char *log_tail;
    size_t log_tail_len;
    const char *version; /* executed: "$LATEST" or a number */
    const char *why;     /* INVOKE_FAILED: for people */
};
typedef void invoke_cb(const struct invoke_answer *a, void *arg);

/* Any thread; cb is called exactly once, on the dispatcher's thread (post it back to where the caller lives). *ret_call
 * names the call for dispatcher_invoke_abandon. ERR_NOMEM, ERR_SHUTDOWN: cb is not called. */
int dispatcher_invoke(struct dispatcher *d, const struct invoke_call *c, invoke_cb *cb, void *arg,
                      uint64_t *ret_call) BIDE_MUST_USE;

/* The caller has gone: a call that has not begun to run is dropped, a running one runs on (as on Lambda). cb still
 * comes. */
void dispatcher_invoke_abandon(struct dispatcher *d, uint64_t call);

/* Can this runtime be run here? If not, a sentence for the client is in e. ERR_NOTFOUND: no
 * such runtime. ERR_AGAIN: its interpreter is not installed. ERR_INVALID: its folder is not whole. Any thread, no
 * dispatcher needed. */
int dispatcher_runtime_check(int runtimes_fd, const char *runtime, struct err *e) BIDE_MUST_USE;

/* Age at which an event of f is given up. */
static inline int32_t dispatcher_max_age_s(const struct function *f)
{
    return f->async.present && f->async.max_age_s >= 0 ? f->async.max_age_s : DISPATCHER_DEFAULT_AGE_S;
}

struct dispatcher_status {
    uint64_t workers, workers_busy, workers_starting, workers_idle;
    uint64_t worker_memory_mb; /* of live workers */
    uint64_t running_sync, running_async;
    uint64_t running_unreserved; /* of both: of functions without reserved concurrency */
    bool shutting_down;
};
void dispatcher_status(struct dispatcher *d, struct dispatcher_status *ret); /* any thread; a moment ago */

/* Counted since the start; what a function did is gone with the function. */
struct dispatcher_stats {
    struct hist_view wait_ms;  /* events: from ready to the hand-over */
    struct hist_view start_ms; /* workers: from the decision to the runtime's first request for work */
    uint64_t clock_steps;      /* the real clock was set forward */
};
void dispatcher_stats(struct dispatcher *d, struct dispatcher_stats *ret); /* any thread */

struct dispatcher_function_stats {
    uint64_t running;                               /* slots taken now, calls and events */
    uint64_t sync_runs, async_runs;                 /* invocations that came to an end, well or not */
    uint64_t errors[OUTCOMES];                      /* of those; OUTCOME_SUCCESS stays 0 */
    uint64_t throttled_reserved, throttled_account; /* calls refused */
    uint64_t disruptions;
    uint64_t start_failures;      /* workers that the platform could not start */
    uint64_t init_failures;       /* workers whose function failed to initialise */
    struct hist_view age_ms;      /* events: from accepted to the hand-over, each run */
    struct hist_view duration_us; /* from the hand-over to the outcome */
};
/* Any thread. False: nothing is known of it; ret is all 0. */
bool dispatcher_function_stats(struct dispatcher *d, uint64_t fid, struct dispatcher_function_stats *ret);

/* Functions whose workers cannot be started now, and why; and the sandbox's degradations. cb on the caller's thread. */
typedef void dispatcher_fault_cb(const char *function, const char *why, int64_t retry_in_ms, void *arg);
void dispatcher_faults(struct dispatcher *d, dispatcher_fault_cb *cb, void *arg); /* any thread */
typedef void dispatcher_text_cb(const char *text, void *arg);
void dispatcher_degradations(struct dispatcher *d, dispatcher_text_cb *cb, void *arg); /* any thread */

/* The virtual clock has been moved: cb (dispatcher's thread) once all that became due is in the queue. Any thread. */
int dispatcher_clock_moved(struct dispatcher *d, void (*cb)(void *arg), void *arg) BIDE_MUST_USE;

/* The live settings have changed: go by them from now on. Any thread. ERR_NOMEM. */
int dispatcher_reload(struct dispatcher *d) BIDE_MUST_USE;

/* Stop starting work, let running attempts end for up to grace_ms of real time, end the rest as disruptions, stop all
 * workers, then cb (dispatcher's thread) once nothing is in flight and every op is committed. Any thread, once. */
void dispatcher_shutdown(struct dispatcher *d, int64_t grace_ms, void (*cb)(void *arg), void *arg);

#endif
