/* The engine's side of the executor: workers as the dispatcher sees them. It asks the executor process for sandboxes,
 * serves each worker's Runtime API (Lambda: section 9) on the worker's own socket, captures its log and turns
 * everything that can happen into one outcome per invocation. Knows no queue, no dead letter and no API.
 *
 *   executor_new(&x, loop, sock, &opts, &cbs, arg, &err);
 *   executor_start(x, id, &spec);         // on_ready(id) when the runtime first asks for work
 *   executor_invoke(x, id, &inv);         // on_result(id, ...) exactly once
 *   executor_stop(x, id);                 // on_gone(id)
 *
 * All calls and callbacks on the loop's thread. Callbacks may call back in, except executor_free.
 */
#ifndef EXECUTOR_EXECUTOR_H
#define EXECUTOR_EXECUTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"

struct executor;
struct logs;

enum {
    EXECUTOR_RESPONSE_MAX = 6291556, /* Lambda: 6 MB and 100 bytes */
    EXECUTOR_LOG_TAIL = 4096,
    EXECUTOR_ENV_MAX = 128,
    EXECUTOR_LAYERS_MAX = 5, /* Lambda: section 3.10 */
};

struct executor_spec {
    const char *function_name;
    const char *function_arn; /* unqualified */
    const char *version;      /* "$LATEST" or a number */
    const char *runtime;      /* "python3.12", "provided.al2023": resolved by runtime.c */
    const char *handler;
    const char *role_profile;  /* name of the role in the settings */
    const char *code_sha256;   /* 64 hex */
    const char *const *layers; /* such hashes of unpacked layers, n_layers of them: /opt, a later one over an earlier */
    size_t n_layers;
    const char *region;
    const char *access_key_id, *secret_access_key, *session_token; /* put into the environment; "" = none */
    const char *const *env_keys;                                   /* the user's variables, n_env of them */
    const char *const *env_values;
    size_t n_env;
    int32_t memory_mb;
    int32_t tmp_mb;
    int32_t timeout_ms;
};

struct executor_invocation {
    uint64_t token;             /* the caller's; given back in on_result */
    const char *request_id;     /* text form */
    const char *invoked_arn;    /* as invoked, with the qualifier if one was given */
    const char *trace;          /* "" = none */
    const char *client_context; /* decoded JSON; NULL = none */
    const void *payload;        /* copied */
    size_t payload_len;
    bool want_log; /* a log tail is wanted even on success */
};

enum executor_end {
    EXECUTOR_OK,       /* body is the function's response */
    EXECUTOR_FN_ERROR, /* body is the error object the runtime posted */
    EXECUTOR_TIMEOUT,  /* body is made here, as Lambda words it */
    EXECUTOR_OUT_OF_MEMORY,
    EXECUTOR_EXITED,     /* the runtime process ended without an answer */
    EXECUTOR_INIT_ERROR, /* the runtime never became ready: its own fault (import error, exit, init time limit) */
    EXECUTOR_DISRUPTED,  /* the box or the executor process was lost by no fault of the function */
};

/* Borrowed for the callback. */
struct executor_result {
    uint64_t token;
    enum executor_end end;
    const void *body; /* response or error object (JSON text); never NULL, may be empty */
    size_t body_len;
    const char *error_type; /* not EXECUTOR_OK: as far as known, "" otherwise */
    const char *error_message;
    const char *log_tail; /* last EXECUTOR_LOG_TAIL bytes, START to REPORT; empty for a success that did not want it */
    size_t log_tail_len;
    int exit_code;        /* -1 none */
    int signal;           /* 0 none */
    uint64_t peak_kb;     /* 0 unknown */
    int64_t duration_ms;  /* real time from hand-over to answer */
    bool platform_made;   /* body was worded here, not by the runtime */
    bool worker_survives; /* it will be ready again (on_ready) or is ready at once when usable_now */
    bool usable_now;      /* the worker is idle and may be given the next invocation at once */
};

struct executor_cbs {
    /* The runtime asked for its first invocation, or is ready again after a timeout's reset. */
    void (*on_ready)(uint64_t worker, void *arg);
    /* The platform could not start it (sandbox step, fork, interpreter gone): never the event's fault. The worker does
     * not exist any more. */
    void (*on_start_failed)(uint64_t worker, const char *why, void *arg);
    /* The function's own initialisation failed before the worker was ever ready, twice (Lambda re-runs init once). r
     * has end EXECUTOR_INIT_ERROR (or _OUT_OF_MEMORY) and token 0. Its body names no request: see executor_init_body.
     * The worker is being stopped; on_gone follows. */
    void (*on_init_failed)(uint64_t worker, const struct executor_result *r, void *arg);
    void (*on_result)(uint64_t worker, const struct executor_result *r, void *arg);
    /* The worker is gone, asked or not. If it was busy, on_result came first. */
    void (*on_gone)(uint64_t worker, void *arg);
    /* The executor process is gone: the engine must end (exit status 3). */
    void (*on_lost)(void *arg);
};

struct executor_opts {
    int runtimes_fd;         /* the folder of the runtimes installed; stays the caller's, open for as long */
    int64_t init_limit_ms;   /* 10 s on demand */
    int64_t freeze_after_ms; /* 20 ms of idleness */
    int64_t reset_limit_ms;  /* for the executor process to reset a box; 0 = 50 ms (the design, section 6) */
    struct logs *logs;       /* where log streams go (logs.h); NULL: nowhere */
};

/* sock: the SOCK_SEQPACKET to the executor process; ownership passes. */
int executor_new(struct executor **ret, struct loop *l, int sock, const struct executor_opts *o,
                 const struct executor_cbs *cbs, void *arg, struct err *e) BIDE_MUST_USE;
void executor_free(struct executor *x);

/* Can this runtime be run here? If not, a sentence for the client is in e. ERR_NOTFOUND: no folder serves the name.
 * ERR_AGAIN: no interpreter of its is installed. ERR_INVALID: its manifest is wrong. Any thread. */
int executor_runtime_check(int runtimes_fd, const char *runtime, struct err *e) BIDE_MUST_USE;

/* worker: the caller's id, never 0, never reused. Errors come by on_start_failed, also those found at once: they come
 * from the loop, never before this returns (without memory for a worker's record the process ends). */
void executor_start(struct executor *x, uint64_t worker, const struct executor_spec *spec);

/* Hand an event to a worker that is ready and idle: on_ready was called for it since its latest result. The time limit
 * runs from now. on_result follows exactly once, never before this returns; also when the runtime or the box has died
 * since on_ready. */
void executor_invoke(struct executor *x, uint64_t worker, const struct executor_invocation *inv);

/* Append to out what the client whose request met this init failure gets: Lambda's own wordings begin with the
 * request's id, which nobody knew when the runtime failed; what a runtime posted goes out as it is. ERR_TOOBIG,
 * ERR_NOMEM. */
int executor_init_body(const struct executor_result *r, const char *request_id, struct buf *out) BIDE_MUST_USE;

/* Kill the worker's box. A busy one ends as EXECUTOR_DISRUPTED first. Unknown ids are ignored. */
void executor_stop(struct executor *x, uint64_t worker);

size_t executor_workers(const struct executor *x); /* live ones */

/* What the executor process reported at its start: degradations, one text each; valid as long as x. */
size_t executor_degradations(const struct executor *x, const char *const **ret);

#endif
