/* The store's insides, shared by env.c, txn.c, writer.c and reserve.c alone. The only header that names LMDB. */
#ifndef STORE_PRIV_H
#define STORE_PRIV_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "store.h"

enum { HOOKS_MAX = 8, BATCH_DEFAULT = 1024, READERS_MAX = 126 };

struct store_table {
    struct store *store;
    MDB_dbi dbi;
};

struct store_txn {
    struct store *store;
    MDB_txn *txn;
    bool writing;
    uint64_t writes; /* puts and deletes so far: an op that failed before its first costs nothing */
    int failed;      /* first ERR_FULL or ERR_IO of a put or delete in this transaction; it can only be aborted then */
};

struct store_cursor {
    struct store_txn *t;
    MDB_cursor *cur;
};

struct store {
    struct store_opts opts;
    MDB_env *env;
    char path[256];
    int dir_fd; /* for statvfs */
    unsigned page_size;
    struct store_table tables[STORE_TABLES_MAX];
    size_t n_tables;
    struct store_hooks hooks[HOOKS_MAX];
    size_t n_hooks;

    pthread_t thread;
    bool started, stopped;
    pthread_mutex_t mu; /* guards the inbox, stopping and sleeping */
    pthread_cond_t wake;
    struct store_op *head, *tail;
    bool stopping, sleeping;

    /* reserve.c; the store's thread */
    int64_t reserve_checked_ms;
    uint64_t reserve_commits;
    _Atomic bool full;
    _Atomic uint64_t used_bytes, disk_free_bytes;
    _Atomic uint64_t commits, ops, ops_failed, last_commit_us;
};

/* LMDB's or the system's code as ours; text into e when given. */
int store_error(int mdb, struct err *e, const char *what);
int store_fault_at(const struct store *s, enum store_fault at);

/* Begin and end a write transaction with its hooks. commit: 0, or the reason why nothing of it is stored. */
int txn_begin(struct store *s, struct store_txn *t) BIDE_MUST_USE;
int txn_commit(struct store_txn *t) BIDE_MUST_USE;
void txn_abort(struct store_txn *t);

/* Look at the free space when that is due; sets s->full. */
void reserve_check(struct store *s, bool now);

#endif
