/* What the files of store/ share. Only this folder names the LMDB library. */
#ifndef STORE_PRIV_H
#define STORE_PRIV_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "gather.h"
#include "store.h"

enum {
    STORE_HOOKS_MAX = 8,
    STORE_READERS_MAX = 256,
    STORE_BATCH_OPS = 1024,
    STORE_LAZY_US = 5000,
    STORE_CULPRITS_MAX = 8, /* after so many repetitions of a batch each of its ops gets a transaction of its own */
};

/* Bytes of pages after which a transaction takes no more ops: far below where LMDB spills dirty pages to disk (512
 * MiB), which its 0.9.24 does with a leak. */
#define STORE_BATCH_BYTES ((uint64_t)32 << 20)

struct store_table {
    MDB_dbi dbi;
    char name[64];
};

struct store_txn {
    struct store *s;
    MDB_txn *txn;
    bool write;
    int broken;         /* ERR_x: LMDB gave the transaction up, whatever the op says */
    unsigned cursors;   /* open ones */
    uint64_t writes;    /* puts and deletes that changed something */
    uint64_t put_bytes; /* of the pages the puts may take: see page_cost */
};

/* Free room, as last measured, and what was put since. */
struct room {
    pthread_mutex_t mu;
    uint64_t map_free; /* unused tail of the map, and the free list when free_list_counted */
    uint64_t free_list;
    uint64_t disk_free;
    uint64_t put; /* bytes committed since the measurement */
    unsigned commits;
    int64_t at_ms; /* CLOCK_MONOTONIC; 0: never */
    bool free_list_counted;
    bool full;
};

struct store {
    MDB_env *env;
    struct store_opts opts;
    uint64_t map_bytes;
    unsigned page_len;
    int data_fd; /* LMDB's, for fstatvfs */
    char path[256];
    char warning[400];

    struct store_table tables[STORE_TABLES_MAX];
    size_t n_tables;
    struct store_hooks hooks[STORE_HOOKS_MAX];
    size_t n_hooks;
    atomic_uint readers; /* open read transactions */

    pthread_mutex_t mu; /* guards the inbox, the flags and stats */
    pthread_cond_t wake;
    struct store_op *inbox_head;
    struct store_op *inbox_tail;
    size_t inbox_urgent; /* ops in it that are not lazy */
    size_t wake_at;      /* the writer waits for so many of them; 0: for anything, SIZE_MAX: it works */
    bool stopping;
    struct store_stats stats; /* the counters only */
    struct hist commit_us, commit_ops;
    _Atomic int64_t batch_since_ms; /* CLOCK_MONOTONIC; 0: waits for work */

    pthread_t thread;
    bool started;
    struct gather gather;    /* the store thread's */
    struct store_op **batch; /* the store thread's, opts.batch_ops of them */
    bool fatal;              /* the store thread's: nothing is written any more */
    const char *bad_step;    /* what failed with ERR_IO, for the last words */
    int bad_rc;

    struct room room;
};

/* err.c: one translation for the whole folder. */
int store_errcode(int mdb_rc);
int store_fail(struct err *e, int mdb_rc, const char *step, const char *path);

/* The fault opts.fault wants here, or 0. */
int store_fault_at(struct store *s, enum store_fault at);
/* Out of going on: tells opts.on_fatal, or ends the process. */
void store_fatal(struct store *s, const struct err *e);

/* Write transactions. begin leaves nothing behind when it fails; commit ends t in every case. Codes: ERR_IO must be
 * treated as fatal, ERR_FULL as passing. */
int store_txn_begin(struct store *s, struct store_txn *t);
int store_txn_commit(struct store_txn *t);
void store_txn_abort(struct store_txn *t);
/* A failed write: its code, kept in t->broken when the transaction cannot go on. */
int store_txn_failed(struct store_txn *t, int mdb_rc);

/* reserve.c. pending: bytes put in the transaction that is open. */
void store_room_init(struct store *s);
bool store_room_refuses(struct store *s, uint64_t pending);
void store_room_committed(struct store *s, uint64_t put_bytes);
bool store_disk_exhausted(struct store *s);
/* Pages of the free list that are numbered first or above. An LMDB code. */
int store_free_pages(struct store *s, size_t first, uint64_t *ret);

#endif
