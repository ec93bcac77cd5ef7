/* The dead-letter store: events that will not be tried again by themselves, with everything known about them, looked
 * at, replayed and removed.
 *
 * A dead letter is written by the queue's own transaction (dlq_open registers the writer), so there is no instant at
 * which an event is in both or in neither. A replayed letter stays readable until dlq.retention.
 */
#ifndef DLQ_DLQ_H
#define DLQ_DLQ_H

#include "queue/queue.h"

struct dlq;

struct dlq_opts {
    struct clock *clock;
    struct id_gen *ids;
    int64_t retention_ms;
    uint64_t max_bytes;
};

/* Before store_start; registers itself as the queue's dead-letter writer. */
int dlq_open(struct dlq **ret, struct queue *q, const struct dlq_opts *o, struct err *e) BIDE_MUST_USE;
void dlq_close(struct dlq *d);

/* How long letters are kept from now on. Any thread. */
void dlq_set_retention(struct dlq *d, int64_t retention_ms);

/* To look at a stopped daemon's directory: reading functions and dlq_verify only. */
int dlq_open_read_only(struct dlq **ret, struct queue *q, struct err *e) BIDE_MUST_USE;

/* What a listing shows. Valid during the callback. */
struct dead_letter {
    struct event ev;           /* ev.state is EVENT_DEAD, or EVENT_REPLAYED with ev.replayed_as */
    const char *error_type;    /* of the last attempt, "" when there was none */
    const char *error_message; /* likewise */
};
typedef void dlq_cb(const struct dead_letter *dl, void *arg);

struct dlq_filter {
    const char *function;       /* "" or NULL: all */
    enum condition condition;   /* CONDITION_NONE: all */
    bool replayed_too;          /* letters replayed already are hidden otherwise; of a bulk replay: "again" */
    uint64_t until;             /* letters that died after this mark are left alone; 0: none is set */
    int64_t since_ms, until_ms; /* died at or after the one, before the other; 0: whenever */
    const char *error_type;     /* of the last attempt, in listings only; "" or NULL: any */
};

/* A page, oldest first; cursor 0 starts, *ret_cursor 0: no more. Any thread. */
int dlq_list(struct dlq *d, const struct dlq_filter *f, uint64_t cursor, uint32_t max_n, dlq_cb *cb, void *arg,
             uint64_t *ret_cursor) BIDE_MUST_USE;

/* One letter by event id. ERR_NOTFOUND. */
int dlq_find(struct dlq *d, const struct id *id, dlq_cb *cb, void *arg) BIDE_MUST_USE;

/* Where a replayed event goes: the incarnation that has this name now. The letter's own is gone when the function was
 * deleted. ERR_NOTFOUND: there is no such function now. Called on the store thread; must not block. */
typedef int dlq_resolve_cb(const char *name, const char *qualifier, uint64_t *ret_fid, void *arg);

struct dlq_replay_result {
    uint64_t replayed;
    uint64_t skipped; /* their function is gone, or their payload cannot be read */
    uint64_t cursor;  /* 0: finished; else call again with it */
    uint64_t until; /* to be put into the filter of the next call, so that what dies meanwhile is not replayed again */
    struct id new_id; /* of a replay by id */
};
typedef void dlq_replay_cb(int err, const struct dlq_replay_result *r, void *arg);

/* One letter back to the queue as a new event, linked both ways, in one transaction. ERR_NOTFOUND unknown id or
 * function gone; ERR_CONFLICT replayed before and again is false. */
int dlq_replay_one(struct dlq *d, const struct id *id, bool again, dlq_resolve_cb *resolve, void *resolve_arg,
                   dlq_replay_cb *cb, void *arg) BIDE_MUST_USE;

/* A bounded chunk (up to max_n letters in one transaction) of a bulk replay: call again with r->cursor until it is 0.
 * Letters that died after the redrive began are left alone: give r->until back in the filter. Each letter is replayed
 * at most once however often a crash makes the caller repeat (with replayed_too: once for each time it is asked for).
 * max_n counts as 1000 above that; a chunk also ends after 8 MiB of payload. */
int dlq_replay_chunk(struct dlq *d, const struct dlq_filter *f, uint64_t cursor, uint32_t max_n,
                     dlq_resolve_cb *resolve, void *resolve_arg, dlq_replay_cb *cb, void *arg) BIDE_MUST_USE;

/* Put letters from elsewhere in, at most 1000 in one transaction; the letters stay the caller's until cb. Those whose
 * event id is known are left alone. next < n: there is no room (dlq.max_bytes) for that one; those before it are in.
 * Retention counts from now, not from their death. By cb: ERR_FULL inside the store's reserve; nothing is in then. */
struct dlq_import_result {
    uint64_t imported, known;
    size_t next;
};
typedef void dlq_import_cb(int err, const struct dlq_import_result *r, void *arg);
int dlq_import(struct dlq *d, const struct queue_import *letters, size_t n, dlq_import_cb *cb, void *arg) BIDE_MUST_USE;

/* Remove by id, or a chunk by filter (of up to max_n, at most 1000); they become `removed`. */
typedef void dlq_rm_cb(int err, uint64_t removed, uint64_t cursor, void *arg);
int dlq_remove_one(struct dlq *d, const struct id *id, dlq_rm_cb *cb, void *arg) BIDE_MUST_USE;
int dlq_remove_chunk(struct dlq *d, const struct dlq_filter *f, uint64_t cursor, uint32_t max_n, dlq_rm_cb *cb,
                     void *arg) BIDE_MUST_USE;

/* Remove letters older than the retention, a bounded number. */
int dlq_retention(struct dlq *d, uint32_t max_n, dlq_rm_cb *cb, void *arg) BIDE_MUST_USE;
/* When the oldest letter outlives it, as the last call of that saw it; INT64_MAX: it left none. Any thread. */
int64_t dlq_retention_due(const struct dlq *d);

/* Bytes kept, letters kept, and whether dlq.max_bytes is reached (events that should die stay waiting meanwhile). */
struct dlq_stats {
    uint64_t letters, replayed, bytes, max_bytes;
    bool full;
};
int dlq_stats(struct dlq *d, struct dlq_stats *ret) BIDE_MUST_USE;

/* The dead-letter half of `bide verify`, in the same snapshot as queue_verify. */
int dlq_verify(struct dlq *d, struct store_txn *t, queue_report_cb *report, void *arg,
               uint64_t *ret_findings) BIDE_MUST_USE;

#endif
