/* One worker on the engine's side: its sockets, its runtime, the invocation in its hands. What may happen to it is
 * supervise.h's table; worker.c does what the table says. Private to the engine's side.
 *
 * A worker is freed only by what comes from the executor process or from the clock, never inside a call of the
 * dispatcher's: callbacks may therefore call back in while a worker's function is still running.
 */
#ifndef EXECUTOR_WORKER_H
#define EXECUTOR_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/httpd.h"
#include "base/timerq.h"
#include "boxenv.h"
#include "capture.h"
#include "executor.h"
#include "peer.h"
#include "runtime.h"
#include "supervise.h"
#include "verdict.h"

enum {
    WORKER_BUCKETS = 1024,
    WORKER_START_LIMIT_MS = 30000, /* for the executor process to say how a start went */
    WORKER_STOP_LIMIT_MS = 10000,
    WORKER_RESET_LIMIT_MS = 50,    /* unless the options say otherwise */
    WORKER_FAILING_LIMIT_MS = 100, /* from init/error to the exit */
    WORKER_ANSWERED_MIN_MS = 1000, /* from an answer to the next request for work, at least */
    WORKER_LAST_WORDS_MS = 2,      /* what a runtime sent before it exited may arrive after the news of its exit */
    WORKER_LAST_WORDS_TURNS = 500, /* a big answer: so many times that */
    WORKER_NPROC = 1024,           /* Lambda: section 7 */
};

struct worker;

struct executor {
    struct loop *loop;
    struct peer peer;
    int runtimes_fd;
    int64_t init_limit_ms;
    int64_t freeze_after_ms;
    int64_t reset_limit_ms;
    struct logs *logs; /* NULL: none */
    struct executor_cbs cbs;
    void *arg;
    struct timerq deadlines;
    struct loop_timer *timer;
    int64_t timer_at_ms; /* what the timer is armed for; INT64_MAX: not armed */
    struct worker *bucket[WORKER_BUCKETS];
    size_t n_workers; /* those the dispatcher knows */
    char *degraded[PROTO_DEGRADED_MAX];
    size_t n_degraded;
};

struct worker_timer {
    struct timerq_item it; /* first: the heap gives it back */
    struct worker *w;
};

/* How a program is started, kept for starting it again. */
struct launch {
    struct runtime runtime;
    struct boxenv env;
    struct proto_start start; /* argv and env are filled in for each sending */
    char layer_text[EXECUTOR_LAYERS_MAX][65];
    const char *layer[EXECUTOR_LAYERS_MAX]; /* into layer_text */
    char region[32];
    char version[32];  /* of the function */
    char wrapper[256]; /* AWS_LAMBDA_EXEC_WRAPPER; "" = none */
};

/* An invocation that waits for the runtime to ask for work. */
struct pending {
    char *invoked_arn, *trace, *client_context; /* client_context NULL: none */
    size_t payload_len;
    const char *payload;
    char text[]; /* all of the above */
};

/* The runtime's end, or the box's. */
struct worker_end {
    int exec_errno;
    int exit_code;
    int sig;
};

struct worker {
    struct executor *x;
    struct worker *next; /* in its bucket */
    uint64_t id;
    enum sup_state state;
    struct worker_timer deadline;   /* the state's */
    struct worker_timer last_words; /* an exit that is not acted on yet */
    struct worker_end end;
    unsigned last_words_turns;
    unsigned posting; /* bodies being received */

    struct launch *launch; /* NULL: it could not even be made */
    char *why;             /* why not */
    size_t program;        /* index of the program tried */
    int32_t memory_mb;
    int64_t timeout_ms;

    struct httpd *httpd; /* its own, so that what it holds open it takes from nobody; NULL before the first box */
    struct httpd_listener *listener;
    struct httpd_req *poll; /* the request for work */
    struct capture log;
    int peak_fd; /* -1 none */
    uint64_t peak_kb;

    bool was_ready;   /* its first init is behind it */
    bool told_ready;  /* the dispatcher may invoke */
    bool served;      /* an invocation came since the runtime was (re)started */
    bool boosted;     /* in init: the CPU boost is on */
    bool start_again; /* when the box is gone, start anew under the same id */
    bool silent;      /* the dispatcher has been told that it does not exist */
    int init_runs;
    int64_t init_began_us;
    int64_t cold_init_us;    /* until the first REPORT has told it */
    struct verdict *failure; /* of init; NULL: none yet */
    char *failure_body;      /* copy of what the runtime posted */

    bool busy; /* a result is due */
    bool want_log;
    uint64_t token;
    int64_t began_us;
    int64_t limit_at_ms; /* monotonic */
    int64_t limit_epoch_ms;
    struct pending *pending;
    char request_id[64]; /* of the latest invocation */
};

/* What came with an event. Only the members of the event's kind are looked at. */
struct happening {
    struct httpd_req *req; /* NEXT, RESPONSE, ERROR, INIT_ERROR: answered by whoever acts. NULL: answered already */
    const void *body;
    size_t body_len;
    const char *error_type; /* of the header or trailer; NULL none */
    bool too_large;         /* RESPONSE: the body was refused for its size */
    struct worker_end end;  /* EXITED, OOM */
    const char *why;        /* START_FAILED, DEAD */
    int *fds;               /* STARTED: PROTO_STARTED_x; those taken become -1 */
    const struct executor_invocation *inv;
};

/* spec is borrowed. A launch that cannot be made is reported by the worker's first deadline. */
void worker_new(struct executor *x, uint64_t id, const struct executor_spec *spec);

/* Without callbacks: for executor_free. */
void worker_discard(struct worker *w);

/* Do what the table says. w may be gone afterwards. */
void worker_happen(struct worker *w, enum sup_event ev, struct happening *h);

/* The runtime exited: heard now, acted on after its last words. */
void worker_exited(struct worker *w, const struct worker_end *end);
void worker_last_words_due(struct worker *w);

/* For invocation.c and startup.c. stop and reset move the state on, tell the executor process and arm the timer. */
void worker_set_state(struct worker *w, enum sup_state s);
void worker_stop(struct worker *w);
void worker_reset(struct worker *w);
void worker_start_failed(struct worker *w, const char *why); /* tell, and free it */
void worker_end_boost(struct worker *w);
uint64_t worker_peak_kb(struct worker *w); /* so far; 0 unknown */

/* executor.c's */
struct worker *executor_find(struct executor *x, uint64_t id);
void executor_timer_set(struct worker_timer *t, int64_t delay_ms);
void executor_timer_clear(struct worker_timer *t);
void executor_link(struct worker *w);
void executor_unlink(struct worker *w);

#endif
