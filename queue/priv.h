/* The queue's insides, shared by the files of this folder alone. */
#ifndef QUEUE_PRIV_H
#define QUEUE_PRIV_H

#include <bsd/sys/queue.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"
#define uthash_fatal(what_) bide_no_memory("counters of a function") /* its own way out says nothing */
#include <uthash.h>

#include "codec.h"
#include "event.h"
#include "keys.h"
#include "queue.h"

enum {
    QUEUE_FORMAT = 1,          /* of the tables as a whole */
    LOOK_MAX = 2000,           /* records one listing call looks at */
    DEAD_PENDING_MS = 60000,   /* wait of an event for which the dead-letter store has no room */
    SWEEP_MAX = 1000,          /* events of a function that one transaction cancels or tries now */
    SWEEP_BYTES_MAX = 8 << 20, /* their payload, but one event always */
};

/* Counters of one function, as the writer sees them; saved is what the last commit holds. */
struct counts {
    UT_hash_handle hh; /* by fid */
    uint64_t fid;
    struct queue_function_stats now, saved;
    struct queue_tally tally_now, tally; /* with the batch in hand; as committed, under tally_mu */
    bool dirty;
    bool gone; /* of a deleted function: forgotten with its last event */
    TAILQ_ENTRY(counts) link;
};

/* Everything that a batch changes in memory and that an abort takes back. */
struct ledger {
    struct books books;
    uint64_t next_seq, next_finish, history_bytes;
    int64_t last_ms;     /* the clock at the last commit: an earlier one at the next start was set back */
    int64_t max_wait_ms; /* longest wait ever given: bounds how far ahead a due time can be */
};

struct queue {
    struct store *store;
    struct queue_opts opts;
    _Atomic bool history_payload; /* these three as last set, opts as opened */
    _Atomic int64_t history_retention_ms;
    _Atomic uint64_t history_max_bytes;
    _Atomic int64_t history_due_ms; /* as the last eviction saw it */
    struct store_table *event, *payload, *ready, *due, *waiting, *running, *attempt, *ids, *history, *stats, *meta;
    struct ledger now, saved; /* the writing thread's */
    bool dirty, due_dirty;
    bool recapping; /* last_ms stays until every wait is put right, so that a crash halfway is made good */
    struct counts *counts;
    pthread_mutex_t tally_mu; /* the writing thread changes counts' members and tallies under it, others read */
    TAILQ_HEAD(, counts) dirty_counts;
    struct buf scratch;          /* the writing thread's encoder */
    _Atomic int64_t next_due_ms; /* INT64_MAX: none */
    _Atomic int64_t max_wait_ms;
    int64_t pending_due_ms;
    queue_ready_cb *ready_cb;
    void *ready_arg;
    queue_dead_cb *dead_cb;
    void *dead_arg;
    queue_cancelled_cb *cancelled_cb;
    void *cancelled_arg;
    queue_owed_cb *owed_cb;
    void *owed_arg;
    pthread_mutex_t owed_mu; /* guards what follows */
    TAILQ_HEAD(, event_op) owed;
    bool owed_given_up;
};

/* queue.c: counters; the writing thread, inside a transaction */
struct counts *counts_of(struct queue *q, uint64_t fid); /* NULL: no memory */
/* c is changed by this transaction: written with it, or put back as it was. */
void counts_touch(struct queue *q, struct counts *c);
/* The function was deleted: nothing is kept of it once none of its events counts in anything. ERR_NOMEM. */
int counts_gone(struct queue *q, uint64_t fid) BIDE_MUST_USE;
/* One event of fid enters or leaves a state. ERR_NOMEM. */
int books_enter(struct queue *q, uint64_t fid, enum event_state s) BIDE_MUST_USE;
int books_leave(struct queue *q, uint64_t fid, enum event_state s) BIDE_MUST_USE;

/* report.c: an event was accepted, became a dead letter; the writing thread, after books_enter in the same transaction
 */
void tally_received(struct queue *q, uint64_t fid);
void tally_dropped(struct queue *q, uint64_t fid, enum condition why);

/* rows.c: single rows */
int row_load(struct queue *q, struct store_txn *t, uint64_t seq,
             struct stored *ret) BIDE_MUST_USE; /* as in the record */
/* The same with what the running row adds: state, started_at_ms, run, lone. */
int row_load_live(struct queue *q, struct store_txn *t, uint64_t seq, struct stored *ret) BIDE_MUST_USE;
int row_save(struct queue *q, struct store_txn *t, const struct stored *s, unsigned flags) BIDE_MUST_USE;
int row_payload(struct queue *q, struct store_txn *t, const struct stored *s, struct buf *b) BIDE_MUST_USE;
int row_put_payload(struct queue *q, struct store_txn *t, uint64_t seq, const void *p, size_t len) BIDE_MUST_USE;
uint32_t row_chunks(uint32_t payload_len); /* rows of a payload; 0: it is inline */
uint32_t row_chunk_len(struct slice v);    /* of a payload row; one that cannot be read counts as full */
int row_del_payload(struct queue *q, struct store_txn *t, const struct stored *s) BIDE_MUST_USE;
int row_ready_put(struct queue *q, struct store_txn *t, const struct event *ev) BIDE_MUST_USE;
int row_ready_del(struct queue *q, struct store_txn *t, const struct event *ev) BIDE_MUST_USE;
/* Value of a waiting row: due time, and 1 when it waits only for room in the dead-letter store. */
enum { WAITING_VALUE = KEY_SEQ + 1 };
bool row_waiting_held(struct slice v);
/* The first of a function's ready or waiting rows from from_seq on. ERR_NOTFOUND. */
struct place {
    uint64_t seq;
    int64_t due_ms; /* waiting */
    bool held;      /* waiting: only for room in the dead-letter store */
};
int row_next_of(struct store_txn *t, struct store_table *tab, uint64_t fid, uint64_t from_seq,
                struct place *ret) BIDE_MUST_USE;
int row_wait_put(struct queue *q, struct store_txn *t, const struct event *ev) BIDE_MUST_USE;
int row_wait_del(struct queue *q, struct store_txn *t, const struct event *ev) BIDE_MUST_USE;
/* Every trace of a finished event: record, id, payload, attempts. */
int row_erase(struct queue *q, struct store_txn *t, const struct stored *s) BIDE_MUST_USE;
/* Into the order in which finished events are evicted. */
int row_finish(struct queue *q, struct store_txn *t, const struct stored *s) BIDE_MUST_USE;
/* cb per attempt, oldest first, with its details. */
int row_attempts(struct queue *q, struct store_txn *t, const struct stored *s, queue_attempt_cb *cb,
                 void *arg) BIDE_MUST_USE;

/* run.c: an attempt that ended, counted and added to the record and, when it has details, to their own row */
int attempt_keep(struct queue *q, struct store_txn *t, struct stored *s, const struct attempt *a) BIDE_MUST_USE;
/* run.c: a running event, counted nowhere, ends as done or cancelled */
int run_finish(struct queue *q, struct store_txn *t, struct stored *s, enum event_state state) BIDE_MUST_USE;

/* due.c: a waiting event, in no index any more and counted nowhere, is queued again at its old place */
int due_requeue(struct queue *q, struct store_txn *t, struct stored *s) BIDE_MUST_USE;

/* cancel.c: the flag on a running event; the end of one that is in no index any more and counted nowhere */
int cancel_flag(struct queue *q, struct store_txn *t, uint64_t seq) BIDE_MUST_USE;
int cancel_finish(struct queue *q, struct store_txn *t, struct stored *s) BIDE_MUST_USE;

/* dead.c */
/* s is in no index any more and counted nowhere: make it a dead letter. When the dead-letter store has no room, leave
 * it waiting, to be tried again. */
int dead_enter(struct queue *q, struct store_txn *t, struct stored *s, enum condition c) BIDE_MUST_USE;
/* The record of seq (in state from, of function fid) cannot be read: put a dead letter with its raw bytes in its place.
 */
int dead_corrupt(struct queue *q, struct store_txn *t, uint64_t seq, uint64_t fid, enum event_state from) BIDE_MUST_USE;
/* What can be told of an event whose record is lost, from what else names it: id (zero: none), payload chunks,
 * attempts. The payload is the raw record when it had no chunks. */
int dead_salvage(struct queue *q, struct store_txn *t, uint64_t seq, uint64_t fid, struct stored *ret) BIDE_MUST_USE;
void dead_report_corrupt(struct queue *q, uint64_t seq, uint64_t fid); /* any thread: does it by an op */

/* A heap op that calls a queue_event_cb. */
struct event_op {
    struct store_op op;
    struct queue *q;
    queue_event_cb *cb;
    void *arg;
    struct event ev;
    uint64_t seq;
    uint64_t run;
    bool lone;
    enum condition condition;
    bool becomes_ready; /* tell on_ready after the commit */
    bool cancelled;     /* tell on_cancelled after the commit */
    struct id id;       /* of an event that is named by its id */
    /* owed.c */
    bool may_owe; /* a move of an accepted event, not somebody's wish: not refused for want of room */
    bool is_owed; /* it is in queue->owed */
    bool pressed; /* and with the store just now */
    TAILQ_ENTRY(event_op) owed_link;
};
struct event_op *event_op_new(struct queue *q, store_run_cb *run, uint64_t seq, queue_event_cb *cb, void *arg);
int event_op_submit(struct event_op *x) BIDE_MUST_USE;
void event_op_end(struct event_op *x, int err); /* tells whom it concerns, and frees */

/* owed.c: true: err is not the end of x, which is kept to be tried again. The store thread. */
bool owed_keep(struct event_op *x, int err);

#endif
