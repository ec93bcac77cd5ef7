/* The disk under the store. LMDB is the real one; a commit that returned is on it, and what an engine that crashes had
 * not committed is not. So a crash closes the environment under its owner, whatever transaction is open. */
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/fdutil.h"
#include "model.h"
#include "sim.h"
#include "store/priv.h"

enum { TXNS_MAX = 8, CURSORS_MAX = 64 };

static MDB_env *env;
static MDB_txn *txns[TXNS_MAX];
static MDB_cursor *cursors[CURSORS_MAX];
static char *held; /* BUG_DISK_LIES: the file as it was before the last commit */
static size_t held_len;

int __real_mdb_env_create(MDB_env **ret);
void __real_mdb_env_close(MDB_env *e);
int __real_mdb_txn_begin(MDB_env *e, MDB_txn *parent, unsigned flags, MDB_txn **ret);
int __real_mdb_txn_commit(MDB_txn *t);
void __real_mdb_txn_abort(MDB_txn *t);
int __real_mdb_cursor_open(MDB_txn *t, MDB_dbi dbi, MDB_cursor **ret);
void __real_mdb_cursor_close(MDB_cursor *c);
int __wrap_mdb_env_create(MDB_env **ret);
void __wrap_mdb_env_close(MDB_env *e);
int __wrap_mdb_txn_begin(MDB_env *e, MDB_txn *parent, unsigned flags, MDB_txn **ret);
int __wrap_mdb_txn_commit(MDB_txn *t);
void __wrap_mdb_txn_abort(MDB_txn *t);
int __wrap_mdb_cursor_open(MDB_txn *t, MDB_dbi dbi, MDB_cursor **ret);
void __wrap_mdb_cursor_close(MDB_cursor *c);

/* The place of p in what is open; NULL: a free one. */
static void **place_of(void *list, size_t n, const void *p)
{
    void **v = list;
    for (size_t i = 0; i < n; i++)
        if (v[i] == p)
            return &v[i];
    sim_violation("more is open in the store than the simulation can hold, or what is closed was not open");
}

int __wrap_mdb_env_create(MDB_env **ret)
{
    int rc = __real_mdb_env_create(ret);
    env = rc == 0 ? *ret : NULL;
    return rc;
}

void __wrap_mdb_env_close(MDB_env *e)
{
    env = NULL;
    __real_mdb_env_close(e);
}

int __wrap_mdb_txn_begin(MDB_env *e, MDB_txn *parent, unsigned flags, MDB_txn **ret)
{
    int rc = __real_mdb_txn_begin(e, parent, flags, ret);
    if (rc == 0)
        *place_of(txns, TXNS_MAX, NULL) = *ret;
    return rc;
}

static void hold(void)
{
    struct buf b;
    free(held);
    held = NULL;
    held_len = 0;
    buf_init(&b, (size_t)1 << 30);
    if (file_read(AT_FDCWD, "queue/data.mdb", &b) == 0) {
        held = sim_alloc(b.len);
        held_len = b.len;
        memcpy(held, b.data, b.len);
    }
    buf_done(&b);
}

int __wrap_mdb_txn_commit(MDB_txn *t)
{
    *place_of(txns, TXNS_MAX, t) = NULL;
    if (sim.bug == BUG_DISK_LIES && fiber_here())
        hold();
    return __real_mdb_txn_commit(t);
}

void __wrap_mdb_txn_abort(MDB_txn *t)
{
    *place_of(txns, TXNS_MAX, t) = NULL;
    __real_mdb_txn_abort(t);
}

int __wrap_mdb_cursor_open(MDB_txn *t, MDB_dbi dbi, MDB_cursor **ret)
{
    int rc = __real_mdb_cursor_open(t, dbi, ret);
    if (rc == 0)
        *place_of(cursors, CURSORS_MAX, NULL) = *ret;
    return rc;
}

void __wrap_mdb_cursor_close(MDB_cursor *c)
{
    *place_of(cursors, CURSORS_MAX, c) = NULL;
    __real_mdb_cursor_close(c);
}

void disk_crash(void)
{
    for (size_t i = 0; i < CURSORS_MAX; i++)
        if (cursors[i] != NULL)
            __real_mdb_cursor_close(cursors[i]);
    for (size_t i = 0; i < TXNS_MAX; i++)
        if (txns[i] != NULL)
            __real_mdb_txn_abort(txns[i]);
    memset(cursors, 0, sizeof cursors);
    memset(txns, 0, sizeof txns);
    if (env != NULL)
        __real_mdb_env_close(env);
    env = NULL;
    if (held != NULL) {
        FILE *f = fopen("queue/data.mdb", "w");
        if (f == NULL || fwrite(held, 1, held_len, f) != held_len || fclose(f) != 0)
            sim_violation("the simulated disk cannot be put back");
    }
}

/* --- faults --------------------------------------------------------------------------------------------------------
 */

static const char *const names[] = {"begin", "put", "del", "commit", "after the commit"};

static int fault(enum store_fault at, int err)
{
    sim.totals.faults++;
    SIM_TRACE("store: %s fails with %s", names[at], err_name(err));
    return err;
}

/* A crash, a failure, or somebody else's turn, at every step of the store. */
int disk_fault(enum store_fault at, void *arg)
{
    (void)arg;
    bool rare = at == STORE_FAULT_PUT || at == STORE_FAULT_DEL; /* there are many of these for one of the others */
    uint32_t scale = rare ? 8 : 1;
    if (at == STORE_FAULT_BEGIN)
        model_txn_begin();
    if (at == STORE_FAULT_COMMITTED)
        model_committed();
    if (fiber_here() && !sim.calm) {
        if (sim.plan.crash_in > 0 && sim_one_in(scale * sim.plan.crash_in)) {
            sim.crash = names[at];
            fiber_yield();
        }
        if (sim.plan.io_in > 0 && sim_one_in(scale * sim.plan.io_in))
            return fault(at, ERR_IO);
        if (sim.plan.full_in > 0 && at != STORE_FAULT_COMMITTED && sim_one_in(scale * sim.plan.full_in))
            return fault(at, ERR_FULL);
    }
    if (fiber_here() && sim_one_in(rare ? 40 : 4))
        fiber_yield();
    return 0;
}

void disk_fatal(const struct err *e, void *arg)
{
    (void)arg;
    SIM_TRACE("store: %s", e->text);
    sim.crash = "the store gave up";
    if (fiber_here())
        fiber_yield();
}

/* --- what is written ------------------------------------------------------------------------------------------------
 */

int __real_store_put(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len, const void *val,
                     size_t val_len, unsigned flags);
int __real_store_del(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len);
int __wrap_store_put(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len, const void *val,
                     size_t val_len, unsigned flags);
int __wrap_store_del(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len);

int __wrap_store_put(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len, const void *val,
                     size_t val_len, unsigned flags)
{
    model_touch(tab->name, key, key_len);
    return __real_store_put(t, tab, key, key_len, val, val_len, flags);
}

int __wrap_store_del(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len)
{
    model_touch(tab->name, key, key_len);
    return __real_store_del(t, tab, key, key_len);
}

struct store_table *disk_table(const char *name)
{
    for (size_t i = 0; i < sim.store->n_tables; i++)
        if (strcmp(sim.store->tables[i].name, name) == 0)
            return &sim.store->tables[i];
    sim_violation("the store has no table %s", name);
}
