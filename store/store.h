/* The store: one LMDB environment, one writer thread, group commit. Knows no event and no function.
 *
 *   store_open(&s, "queue", &opts, &err);
 *   store_table(s, "event", &tab, &err);        // every table, before store_start
 *   ... recovery in store_write_now() ...
 *   store_start(s, &err);                       // from here on only the store thread writes
 *   store_submit(s, &op);                       // any thread
 *   store_stop(s); store_close(s);
 *
 * Every change of durable state is an op: a function run on the store thread inside the one write transaction of a
 * batch, and a completion called, also on the store thread, after the batch is on stable storage (or after it failed).
 * While one commit is being synced the next batch gathers. It then goes at once, or waits for those whom that commit
 * answered, if they tend to come back within half of a commit's time (gather.h); what nobody waits for may be held back
 * longer (STORE_OP_LAZY). All of a batch's completions are called in the order of submission.
 *
 * No LMDB type shows here. Slices read from a transaction point into the map: they die at the next write of that
 * transaction and at its end.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hist.h"

struct store;
struct store_table;
struct store_txn;
struct store_cursor;

enum { STORE_TABLES_MAX = 32, STORE_KEY_MAX = 511, STORE_EXIT_FATAL = 4 };

/* Where a test may make the store fail; see store_opts.fault. A failing put or del loses the transaction, as LMDB's own
 * would; ERR_IO anywhere is fatal. COMMITTED comes after the commit and before anybody is told: always fatal. */
enum store_fault { STORE_FAULT_BEGIN, STORE_FAULT_PUT, STORE_FAULT_DEL, STORE_FAULT_COMMIT, STORE_FAULT_COMMITTED };

struct store_opts {
    uint64_t max_bytes;     /* map size: address space, not disk */
    uint64_t reserve_bytes; /* ops marked STORE_OP_NEW are refused while free map or free disk is under this */
    size_t batch_ops;       /* at most so many ops in one transaction; 0 = default (1024) */
    int64_t lazy_us;        /* how long a STORE_OP_LAZY waits for company; 0 = default (5 ms) */
    bool read_only;         /* for tools looking at a stopped daemon's directory: no store_start */
    bool unsafe_nosync;     /* tests and benchmarks only: commits are not synced */
    /* Called on the store thread when going on would break the promise (EIO from write or sync). The batch's
     * completions have had ERR_IO. Default: print one line on stderr and _exit(STORE_EXIT_FATAL). */
    void (*on_fatal)(const struct err *e, void *arg);
    /* Tests: return 0, or the ERR_x with which this step is to fail. */
    int (*fault)(enum store_fault at, void *arg);
    void *arg;
};

/* Open or create the environment in folder path (created with mode 0700 if missing, its parent synced). Refuses network
 * file systems. The data descriptor is made close-on-exec by hand.
 * Errors: ERR_IO (struct err names the step), ERR_CORRUPT (not an LMDB file, truncated), ERR_VERSION, ERR_NOMEM. */
int store_open(struct store **ret, const char *path, const struct store_opts *opts, struct err *e) BIDE_MUST_USE;
void store_close(struct store *s); /* after store_stop; NULL is fine */

/* "" or one line for the operator: the file system forgets (tmpfs) or is in doubt (overlay, FUSE). Lives as long as s.
 */
const char *store_warning(const struct store *s);

/* Can a store be kept in this folder? ERR_IO when its file system is none for a memory map. warning gets what
 * store_warning would say. path is for the texts. */
int store_check_place(int dir_fd, const char *path, char *warning, size_t cap, struct err *e) BIDE_MUST_USE;

/* Open (create unless read-only) a named table. Before store_start. The handle lives as long as the store. */
int store_table(struct store *s, const char *name, struct store_table **ret, struct err *e) BIDE_MUST_USE;

/* Start the writer thread (again, after store_stop). */
int store_start(struct store *s, struct err *e) BIDE_MUST_USE;
/* Everything submitted so far is finished (completions called) with what those completions submit, then the thread
 * ends. Later submits: ERR_SHUTDOWN. Ops of a store that was never started are completed here with ERR_SHUTDOWN. */
void store_stop(struct store *s);

/* --- ops ------------------------------------------------------------------------------------------------------- */

/* Runs inside the write transaction. Return 0, or an ERR_x: this op alone fails with it. Close the cursors it opened.
 * May be run more than once (a batch that fails is aborted and run again without its culprit), so it must touch nothing
 * but the transaction and its own arg, and must not assume what it left in arg earlier. An op that fails before its
 * first write costs the batch nothing. */
typedef int store_run_cb(struct store_txn *t, void *arg);

/* err 0: what run did is on stable storage. Else nothing of it is. Called exactly once, on the store thread. */
typedef void store_done_cb(int err, void *arg);

enum {
    STORE_OP_NEW =
        1, /* brings in new work: refused with ERR_FULL inside the reserve, so that old work can be finished */
    STORE_OP_LAZY =
        2, /* nobody waits for it: joins the next commit of one somebody waits for, or its own a little later */
};

/* Caller's storage, untouched by the caller from submit until done. */
struct store_op {
    store_run_cb *run;
    store_done_cb *done; /* may be NULL */
    void *arg;
    unsigned flags;
    uint64_t bytes; /* of a STORE_OP_NEW: what it is about to put, where that may be much; the reserve is held to it */
    /* the store's own */
    struct store_op *next;
    int result;
    bool left_out; /* failed for good: the batch is repeated without it */
};

/* Any thread; never blocks on the disk. Before store_start the op waits for it. After store_stop: ERR_SHUTDOWN (done is
 * not called). */
int store_submit(struct store *s, struct store_op *op) BIDE_MUST_USE;

/* Run fn in a write transaction and commit it, on the calling thread. Only before store_start (recovery, set-up). */
int store_write_now(struct store *s, store_run_cb *fn, void *arg, struct err *e) BIDE_MUST_USE;

/* Called around every write transaction, also store_write_now's, on the writing thread. A module that keeps counters in
 * memory loads nothing in begin, writes them in before_commit and forgets the batch's changes in aborted. At most 8. */
struct store_hooks {
    void (*begin)(void *arg);                             /* a transaction, or its repetition, begins */
    int (*before_commit)(struct store_txn *t, void *arg); /* 0 or ERR_x: the whole batch fails */
    void (*committed)(void *arg);                         /* on stable storage; before the ops' completions */
    void (*aborted)(void *arg);
    void (*wrote)(void *arg); /* after committed, when the transaction has changed anything */
    void *arg;
};
int store_add_hooks(struct store *s, const struct store_hooks *h) BIDE_MUST_USE; /* before any transaction */

/* --- inside a transaction ---------------------------------------------------------------------------------------- */

/* 0, ERR_NOTFOUND, ERR_IO. *ret points into the map. */
int store_get(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len,
              struct slice *ret) BIDE_MUST_USE;

enum {
    STORE_PUT_NEW = 1 /* ERR_EXISTS if the key is there */,
    STORE_PUT_APPEND = 2 /* key is above all others: no page split */
};

/* Write transactions only. ERR_FULL: map or disk. */
int store_put(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len, const void *val,
              size_t val_len, unsigned flags) BIDE_MUST_USE;
int store_del(struct store_txn *t, struct store_table *tab, const void *key,
              size_t key_len) BIDE_MUST_USE; /* ERR_NOTFOUND */

/* Cursor over a table in key order. Lives inside its transaction. */
int store_cursor_open(struct store_txn *t, struct store_table *tab, struct store_cursor **ret) BIDE_MUST_USE;
void store_cursor_close(struct store_cursor *c);
/* First entry with key >= given (key_len 0: the first of all). ERR_NOTFOUND at the end. */
int store_cursor_seek(struct store_cursor *c, const void *key, size_t key_len, struct slice *ret_key,
                      struct slice *ret_val) BIDE_MUST_USE;
int store_cursor_next(struct store_cursor *c, struct slice *ret_key, struct slice *ret_val) BIDE_MUST_USE;
int store_cursor_prev(struct store_cursor *c, struct slice *ret_key, struct slice *ret_val) BIDE_MUST_USE;
int store_cursor_last(struct store_cursor *c, struct slice *ret_key, struct slice *ret_val) BIDE_MUST_USE;
/* Write transactions: delete the entry the cursor is on; next then gives the one after it. */
int store_cursor_del(struct store_cursor *c) BIDE_MUST_USE;

/* Entries of a table, as LMDB counts them (exact). */
uint64_t store_count(struct store_txn *t, struct store_table *tab);

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* A consistent snapshot, any thread, together with the writer. Keep it for milliseconds: an open one stops page reuse.
 * begin/end pair on one thread. ERR_BUSY: too many readers. */
int store_read_begin(struct store *s, struct store_txn **ret) BIDE_MUST_USE;
void store_read_end(struct store_txn *t);

/* --- copying it ------------------------------------------------------------------------------------------------- */

enum {
    STORE_COPY_COMPACT = 1 /* only what is in use, in order: a smaller file. Without it page by page, free ones too */
};

/* Write one consistent snapshot of everything to fd (a file or a pipe; SIGPIPE must be ignored), as a data.mdb, while
 * the writer goes on. Blocks for as long as fd takes, on a thread of its own; until it returns no page that was in use
 * at its beginning is used again, so that the file grows by what is written meanwhile. Any number of bytes may have
 * been written when it fails. ERR_IO (also when the reader of a pipe went away), ERR_FULL, ERR_CORRUPT (compacting: a
 * page that belongs to nothing; copy without), ERR_NOMEM. */
int store_copy(struct store *s, int fd, unsigned flags, struct err *e) BIDE_MUST_USE;

/* --- looking at it ------------------------------------------------------------------------------------------------ */

struct store_stats {
    uint64_t map_bytes;      /* size of the map */
    uint64_t map_used_bytes; /* pages in use, free pages not counted */
    uint64_t disk_free_bytes;
    bool full; /* inside the reserve: new work is being refused */
    uint64_t commits;
    uint64_t changes; /* commits that changed anything; counted before the wrote hooks are called */
    uint64_t ops;     /* committed ops */
    uint64_t ops_failed;
    uint64_t last_commit_us; /* duration of the last commit */
};
void store_stats(struct store *s, struct store_stats *ret); /* any thread */

/* Commits since the start: how long each took (microseconds), and how many ops it held. Any thread. */
void store_histograms(struct store *s, struct hist_view *ret_commit_us, struct hist_view *ret_commit_ops);

/* For how long the store thread has been at the batch in hand, in milliseconds; 0 while it waits for work. Any thread.
 */
int64_t store_busy_ms(struct store *s);

/* Big-endian integers, the byte order of every key. */
void store_put_u64(uint8_t *p, uint64_t v);
void store_put_u32(uint8_t *p, uint32_t v);
uint64_t store_get_u64(const uint8_t *p);
uint32_t store_get_u32(const uint8_t *p);

#endif
