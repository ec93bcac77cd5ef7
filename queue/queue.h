/* The durable event queue: accept, start, settle, wait, expire, history and the books. The life of an event and its
 * states are the design's section 4; the table of allowed moves is event.c.
 *
 * Everything that changes something is an op on the store thread with a completion called there, after the commit.
 * Everything that reads takes a short snapshot on the calling thread. Events belong to a function's incarnation (fid),
 * never to its name.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "store/store.h"

struct queue;

enum {
    QUEUE_NAME_MAX = 64,       /* function name */
    QUEUE_QUALIFIER_MAX = 128, /* "" when none was given */
    QUEUE_TRACE_MAX = 512,     /* X-Amzn-Trace-Id */
    QUEUE_TYPE_MAX = 256,      /* error type */
    QUEUE_MESSAGE_MAX = 1024,  /* error message as kept in listings */
    QUEUE_ERROR_MAX = 16384,   /* the function's whole error object (message, type, stack), cut above this */
    QUEUE_LOG_TAIL_MAX = 4096, /* last bytes of the attempt's log */
    QUEUE_ATTEMPTS_MAX = 16,   /* attempts one event can have */
    QUEUE_ACCEPT_MAX = 1000,   /* events accepted in one transaction by queue_accept_many */
};

enum event_state {
    EVENT_NONE, /* before accept */
    EVENT_QUEUED,
    EVENT_RUNNING,
    EVENT_WAITING,
    EVENT_DONE,
    EVENT_DEAD,
    EVENT_CANCELLED,
    EVENT_REPLAYED,
    EVENT_REMOVED,
    EVENT_STATES
};
const char *event_state_name(enum event_state s); /* "queued" */

enum condition {
    CONDITION_NONE,
    CONDITION_RETRIES_EXHAUSTED,
    CONDITION_EVENT_AGE_EXCEEDED,
    CONDITION_ZERO_RESERVED_CONCURRENCY,
    CONDITION_DISRUPTED,
    CONDITION_FUNCTION_DELETED,
    CONDITION_CORRUPT,
    CONDITIONS
};
const char *condition_name(enum condition c); /* "RetriesExhausted" */

/* How an attempt ended; the names are the outward contract's (`events show`). */
enum outcome {
    OUTCOME_SUCCESS,
    OUTCOME_FUNCTION_ERROR,
    OUTCOME_TIMEOUT,
    OUTCOME_OUT_OF_MEMORY,
    OUTCOME_EXITED,
    OUTCOME_INIT_ERROR,
    OUTCOMES
};
const char *outcome_name(enum outcome o); /* "success" */

/* One attempt, as stored. Text lives in the struct's owner: borrowed on the way in, valid during the callback on the
 * way out. NULL/0 where there is none. */
struct attempt {
    uint32_t n; /* from 1 */
    int64_t started_at_ms;
    int64_t ended_at_ms;
    enum outcome outcome;
    const char *error_type;
    const char *error_message;
    const char *error; /* the error object as the function gave it (JSON text), cut to QUEUE_ERROR_MAX */
    size_t error_len;
    const char *log_tail;
    size_t log_tail_len;
    int exit_code;    /* -1: none */
    int signal;       /* 0: none */
    uint64_t peak_kb; /* 0: unknown */
    char version[32]; /* executed version: "$LATEST" or a number */
};

/* What is known of an event without its payload. A plain value: may be copied. */
struct event {
    uint64_t seq; /* place in every order; given at accept, never reused */
    struct id id;
    uint64_t fid;
    enum event_state state;
    int64_t accepted_at_ms;
    int64_t due_at_ms;     /* waiting: absolute */
    int64_t wait_ms;       /* waiting: the delay due_at_ms came from */
    int64_t started_at_ms; /* running */
    int64_t ended_at_ms;   /* done, dead, cancelled, replayed */
    uint32_t attempts;     /* attempts that came to an end */
    uint32_t disruptions;
    uint32_t lone_runs; /* disruptions of lone runs */
    uint64_t run;       /* names the run in progress: settle must give it back; see queue_start */
    bool lone;          /* running: alone by rule */
    bool cancel_asked;  /* running: an operator cancelled it; any outcome ends it as cancelled */
    uint32_t payload_len;
    enum condition condition; /* dead */
    struct id replay_of;      /* zero: none */
    struct id replayed_as;
    char name[QUEUE_NAME_MAX + 1];
    char qualifier[QUEUE_QUALIFIER_MAX + 1];
    char trace[QUEUE_TRACE_MAX + 1];
};

/* queued + running + ... = accepted, at every commit, from one snapshot. */
struct books {
    uint64_t accepted, queued, running, waiting, done, dead, cancelled, removed, replayed;
};

struct queue_opts {
    struct clock *clock;
    bool history_payload; /* keep payloads of done events */
    int64_t history_retention_ms;
    uint64_t history_max_bytes;
    uint32_t max_disruptions; /* lone runs broken off after which an event is dead (Disrupted) */
};

/* Open the tables and read the books. Before store_start. ERR_VERSION: written by a newer bided. */
int queue_open(struct queue **ret, struct store *s, const struct queue_opts *o, struct err *e) BIDE_MUST_USE;
void queue_close(struct queue *q); /* after store_stop */

/* How history is kept from now on; the next eviction goes by it. Any thread. */
void queue_set_history(struct queue *q, bool payload, int64_t retention_ms, uint64_t max_bytes);

/* To look at a stopped daemon's directory: reading functions and queue_verify only. The store is read-only. */
int queue_open_read_only(struct queue **ret, struct store *s, struct err *e) BIDE_MUST_USE;

/* Put right what the last stop left: every event found running goes back to its old place as a disruption (or is dead,
 * when that was one lone run too many); *ret_recovered counts them. Cost: the number of running events, whatever the
 * backlog. After queue_set_dead_writer, before store_start. */
int queue_recover(struct queue *q, uint64_t *ret_recovered, struct err *e) BIDE_MUST_USE;

/* Small numbers kept with the queue, by name ("clock_ms"). get: any thread, ERR_NOTFOUND. put: an op; cb may be NULL.
 * put_now: on the calling thread, only before store_start or after store_stop. */
typedef void queue_done_cb(int err, void *arg);
int queue_meta_get(struct queue *q, const char *name, int64_t *ret) BIDE_MUST_USE;
int queue_meta_put(struct queue *q, const char *name, int64_t value, queue_done_cb *cb, void *arg) BIDE_MUST_USE;
int queue_meta_put_now(struct queue *q, const char *name, int64_t value, struct err *e) BIDE_MUST_USE;

/* --- accept ------------------------------------------------------------------------------------------------------- */

struct queue_new {
    struct id id; /* made by the caller: it is the request id the client sees */
    uint64_t fid;
    const char *name;
    const char *qualifier; /* "" or NULL: none */
    const char *trace;     /* NULL: none */
    const void *payload;   /* borrowed for the call: copied */
    size_t payload_len;
    struct id replay_of; /* zero: none */
};

/* err 0: stored; ev is valid during the callback. */
typedef void queue_event_cb(int err, const struct event *ev, void *arg);

/* Store an event durably, then call cb on the store thread. Any thread; never blocks on the disk.
 * Errors at once (cb not called): ERR_TOOBIG, ERR_NOMEM, ERR_SHUTDOWN. By cb: ERR_FULL inside the reserve, ERR_IO. */
int queue_accept(struct queue *q, const struct queue_new *in, queue_event_cb *cb, void *arg) BIDE_MUST_USE;

/* n events (1 to QUEUE_ACCEPT_MAX) in one transaction, all of them or none, in their order: their seqs follow each
 * other. cb gets the first. Texts that are one and the same pointer are copied once. ERR_TOOBIG also for another n. */
int queue_accept_many(struct queue *q, const struct queue_new *in, size_t n, queue_event_cb *cb,
                      void *arg) BIDE_MUST_USE;

/* The same inside a caller's write transaction (replay). *ret is the stored event. */
int queue_accept_in(struct queue *q, struct store_txn *t, const struct queue_new *in, struct event *ret) BIDE_MUST_USE;

/* After the commit of a queue_accept_in, on the store thread: tell on_ready. */
void queue_announce(struct queue *q, const struct event *ev);

/* Told, on the store thread and after the commit, of every event that became queued (accepted, due, requeued,
 * replayed), so that a dispatcher needs no disk read. payload is valid during the call and NULL when it was not at
 * hand. */
typedef void queue_ready_cb(const struct event *ev, const void *payload, size_t payload_len, void *arg);
void queue_on_ready(struct queue *q, queue_ready_cb *cb, void *arg); /* before store_start */

/* --- running ------------------------------------------------------------------------------------------------------ */

/* queued -> running. run is chosen by the caller (never 0, never reused in this process) and must be given to settle.
 * cb may be NULL: nobody waits, and the change may wait some milliseconds for the commit of another (STORE_OP_LAZY),
 * its own settle's, say. Errors by cb: ERR_NOTFOUND, ERR_CONFLICT (not queued: cancelled meanwhile, say). */
int queue_start(struct queue *q, uint64_t seq, uint64_t run, bool lone, queue_event_cb *cb, void *arg) BIDE_MUST_USE;

enum verdict { VERDICT_DONE, VERDICT_WAIT, VERDICT_DEAD, VERDICT_REQUEUE /* a disruption */, VERDICT_CANCELLED };

struct settle {
    uint64_t seq;
    uint64_t fid; /* whose event it is */
    uint64_t run;
    enum verdict verdict;
    enum condition condition; /* VERDICT_DEAD */
    int64_t wait_ms;          /* VERDICT_WAIT */
    int64_t due_at_ms;        /* VERDICT_WAIT */
    bool counts;              /* an attempt came to an end and is recorded; false for a disruption */
    struct attempt attempt;   /* when counts; n is set by the queue */
};

/* running -> what the verdict says, with everything it moves, in one transaction. Copies s. ERR_CONFLICT by cb: the
 * event is not in that run (a late answer): nothing changed. A running event with cancel_asked ends as cancelled
 * whatever the verdict. */
int queue_settle(struct queue *q, const struct settle *s, queue_event_cb *cb, void *arg) BIDE_MUST_USE;

/* queued or waiting -> dead (EventAgeExceeded, ZeroReservedConcurrency). */
int queue_expire(struct queue *q, uint64_t seq, enum condition c, queue_event_cb *cb, void *arg) BIDE_MUST_USE;

/* Without room on the disk or in the store, a start, an outcome or an expiry is not refused but owed: kept in memory,
 * in order for each event, until it is stored; its callback comes then. Somebody must press for it. */
typedef void queue_owed_cb(void *arg);
/* cb, on the store thread: something is owed now, and nothing was before. Without a cb there is no owing. */
void queue_on_owed(struct queue *q, queue_owed_cb *cb, void *arg);
size_t queue_press(struct queue *q);      /* try again, any thread; how many are owed (those that are tried included) */
void queue_owed_give_up(struct queue *q); /* at the end: they fail with ERR_FULL, from now on at once */

/* waiting -> queued for up to max_n events due at now_ms; each is announced by on_ready. */
typedef void queue_count_cb(int err, uint64_t n, void *arg); /* n == max_n: there may be more */
int queue_promote_due(struct queue *q, int64_t now_ms, uint32_t max_n, queue_count_cb *cb, void *arg) BIDE_MUST_USE;

/* Up to max_n queued or waiting events of a deleted function -> dead (FunctionDeleted). */
int queue_function_deleted(struct queue *q, uint64_t fid, uint32_t max_n, queue_count_cb *cb, void *arg) BIDE_MUST_USE;

/* --- the operator's hand ------------------------------------------------------------------------------------------ */

/* queued or waiting -> cancelled. A running one is flagged, durably: whatever its end, and also when a crash is its
 * end, it is cancelled then, and ev->cancel_asked says so. Cancelling what is cancelled is fine. Errors by cb:
 * ERR_NOTFOUND; ERR_CONFLICT: it is over, or has failed for good and waits (ev->condition) for room among the dead
 * letters: ev tells which. */
int queue_cancel(struct queue *q, const struct id *id, queue_event_cb *cb, void *arg) BIDE_MUST_USE;

/* waiting -> queued now, announced by on_ready. ERR_NOTFOUND; ERR_CONFLICT: not waiting (or, as above, not for its due
 * time): ev tells. */
int queue_retry(struct queue *q, const struct id *id, queue_event_cb *cb, void *arg) BIDE_MUST_USE;

/* The same for all events of a function that are in the states named, accepted before it began: a chunk of up to max_n
 * (at most 1000, or 8 MiB of payload) at a time. Give what the callback got back as the next chunk's, until more is
 * false. An event that starts and fails between two chunks may be missed. Those that wait for room among the dead
 * letters are left alone. */
struct queue_sweep {
    uint64_t fid;
    bool queued, waiting, running;
    uint64_t until; /* 0 at first: the mark is set by the first chunk */
    uint64_t after; /* 0 at first: how far it has come */
    /* of this chunk */
    uint64_t n;       /* cancelled, or tried now */
    uint64_t flagged; /* running: will be cancelled */
    uint64_t corrupt; /* could not be read: dead letters now */
    bool more;
};
typedef void queue_sweep_cb(int err, const struct queue_sweep *at, void *arg);
int queue_cancel_chunk(struct queue *q, const struct queue_sweep *s, uint32_t max_n, queue_sweep_cb *cb,
                       void *arg) BIDE_MUST_USE;
int queue_retry_chunk(struct queue *q, const struct queue_sweep *s, uint32_t max_n, queue_sweep_cb *cb,
                      void *arg) BIDE_MUST_USE; /* the waiting ones, whatever s names */

/* Told, on the store thread and after the commit, of events that are cancelled or flagged, so that a dispatcher forgets
 * them and stops what runs them. seqs is valid during the call. */
typedef void queue_cancelled_cb(const uint64_t *seqs, size_t n, void *arg);
void queue_on_cancelled(struct queue *q, queue_cancelled_cb *cb, void *arg); /* before store_start */

/* Evict history by age and size, up to max_n records; they become `removed`. */
int queue_evict_history(struct queue *q, uint32_t max_n, queue_count_cb *cb, void *arg) BIDE_MUST_USE;
/* When the oldest record outlives the retention, as the last eviction saw it; INT64_MAX: it left none. Any thread. */
int64_t queue_history_due(const struct queue *q);

/* --- reading (any thread; short snapshots) ------------------------------------------------------------------------ */

/* Earliest due time of all waiting events; false when there is none. Kept in memory, cheap. */
bool queue_next_due(struct queue *q, int64_t *ret_due_at_ms);

/* Walk the ready order of one function from after_seq (exclusive), up to max_n events or max_bytes of payload (at least
 * one event). cb gets the payload when it is short enough to be stored inline, else NULL (queue_payload then). Return 0
 * and set *ret_more when there is more behind. A record that cannot be read is turned into a dead letter (Corrupt) by
 * an op submitted here, and skipped. */
int queue_fetch_ready(struct queue *q, uint64_t fid, uint64_t after_seq, uint32_t max_n, size_t max_bytes,
                      queue_ready_cb *cb, void *arg, bool *ret_more) BIDE_MUST_USE;

/* The payload of an event in any state that still has it, appended to b. ERR_NOTFOUND: history keeps none. */
int queue_payload(struct queue *q, uint64_t seq, struct buf *b) BIDE_MUST_USE;

/* Functions with queued events at the time of the call (for start-up): cb per fid with the number queued. */
typedef void queue_function_cb(uint64_t fid, uint64_t queued, uint64_t waiting, void *arg);
int queue_functions(struct queue *q, queue_function_cb *cb, void *arg) BIDE_MUST_USE;

struct queue_function_stats {
    uint64_t queued, running, waiting, dead;
    uint64_t held; /* of the waiting ones: dead but for room in the dead-letter store */
};
int queue_function_stats(struct queue *q, uint64_t fid, struct queue_function_stats *ret) BIDE_MUST_USE;

int queue_books(struct queue *q, struct books *ret) BIDE_MUST_USE; /* from one snapshot */

/* Counted in memory since the daemon started, at the commit that made it so. */
struct queue_tally {
    uint64_t received;            /* events accepted, replays included */
    uint64_t dropped[CONDITIONS]; /* events that became dead letters, by condition */
};

/* A function as /metrics shows it. */
struct queue_report {
    uint64_t fid; /* in */
    struct queue_function_stats now;
    int64_t oldest_queued_at_ms;  /* accepted; -1: none is queued */
    int64_t oldest_waiting_at_ms; /* the same of those that wait */
    struct queue_tally tally;
};

/* Fill r[0..n) for the fids in it, with the books, from one snapshot. Cost: the number of functions, whatever the
 * backlog. */
int queue_report(struct queue *q, struct queue_report *r, size_t n, struct books *ret_books) BIDE_MUST_USE;

/* By request id: ERR_NOTFOUND when unknown. attempts cb is called once per attempt in order. */
typedef void queue_attempt_cb(const struct attempt *a, void *arg);
int queue_find(struct queue *q, const struct id *id, struct event *ret, queue_attempt_cb *cb, void *arg) BIDE_MUST_USE;

/* A page of events, newest first, that match; what a filter leaves 0, "" or NULL is not asked for. cursor 0 = from the
 * start; *ret_cursor 0 = no more. At most max_n matches are reported and a bounded number looked at per call. */
struct queue_filter {
    const char *name;
    enum event_state state;
    int64_t since_ms, until_ms; /* accepted at or after the one, before the other */
    const char *error_type;     /* of the last attempt */
};
typedef void queue_list_cb(const struct event *ev, void *arg);
int queue_list(struct queue *q, const struct queue_filter *f, uint64_t cursor, uint32_t max_n, queue_list_cb *cb,
               void *arg, uint64_t *ret_cursor) BIDE_MUST_USE;

/* --- for dlq/ ------------------------------------------------------------------------------------------------------
 */

/* The dead-letter store writes its own record inside the queue's transaction, so that leaving the queue and entering
 * the store is one commit. attempts are the event's, oldest first. */
typedef int queue_dead_cb(struct store_txn *t, const struct event *ev, const struct attempt *attempts,
                          size_t n_attempts, void *arg);
void queue_set_dead_writer(struct queue *q, queue_dead_cb *cb, void *arg); /* before queue_recover */

/* A letter that comes from elsewhere enters as accepted and dead (or replayed: ev.state) in one move, with its id,
 * times and attempts; the dead-letter writer is called as at a death. Everything is borrowed for the call. ERR_EXISTS:
 * the id is known; nothing was written. */
struct queue_import {
    struct event ev; /* seq, payload_len, due and run are the queue's own; fid 0: no function of this name is there */
    const struct attempt *attempts; /* at most QUEUE_ATTEMPTS_MAX; ev.attempts may count more */
    size_t n_attempts;
    const void *payload;
    size_t payload_len;
};
int queue_import_in(struct queue *q, struct store_txn *t, const struct queue_import *in) BIDE_MUST_USE;

/* dead -> replayed or removed, inside the dead-letter store's transaction: books, index, payload. */
int queue_dead_replayed_in(struct queue *q, struct store_txn *t, uint64_t seq, const struct id *as) BIDE_MUST_USE;
int queue_dead_removed_in(struct queue *q, struct store_txn *t, uint64_t seq) BIDE_MUST_USE;
/* Read inside a caller's transaction. */
int queue_find_in(struct queue *q, struct store_txn *t, const struct id *id, struct event *ret) BIDE_MUST_USE;
int queue_books_in(struct queue *q, struct store_txn *t, struct books *ret) BIDE_MUST_USE;
int queue_event_in(struct queue *q, struct store_txn *t, uint64_t seq, struct event *ret) BIDE_MUST_USE;
int queue_payload_in(struct queue *q, struct store_txn *t, uint64_t seq, struct buf *b) BIDE_MUST_USE;
int queue_attempts_in(struct queue *q, struct store_txn *t, uint64_t seq, queue_attempt_cb *cb,
                      void *arg) BIDE_MUST_USE;
struct store *queue_store(struct queue *q);

/* --- bide verify ---------------------------------------------------------------------------------------------------
 */

/* Recount everything in one snapshot: the books against the records, every event in exactly one state, every index
 * entry with its record and the reverse, checksums, payload chunks. Each finding is reported as one line; *ret_findings
 * counts them. Long reader: minutes on a big store. */
typedef void queue_report_cb(const char *line, void *arg);
int queue_verify(struct queue *q, struct store_txn *t, queue_report_cb *report, void *arg,
                 uint64_t *ret_findings) BIDE_MUST_USE;

#endif
