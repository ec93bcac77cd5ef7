#include "priv.h"

#include <stdlib.h>

/* A put or delete that failed for want of room has left the transaction in pieces: only an abort helps. */
static int written(struct store_txn *t, int mdb)
{
    int rc = store_error(mdb, NULL, "");
    if (rc == 0)
        t->writes++;
    else if (rc != ERR_NOTFOUND && rc != ERR_EXISTS && t->failed == 0)
        t->failed = rc;
    return rc;
}

int txn_begin(struct store *s, struct store_txn *t)
{
    *t = (struct store_txn){.store = s, .writing = true};
    int rc = store_fault_at(s, STORE_FAULT_BEGIN);
    if (rc == 0)
        rc = store_error(mdb_txn_begin(s->env, NULL, 0, &t->txn), NULL, "");
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < s->n_hooks; i++)
        if (s->hooks[i].begin != NULL)
            s->hooks[i].begin(s->hooks[i].arg);
    return 0;
}

void txn_abort(struct store_txn *t)
{
    const struct store *s = t->store;
    if (t->txn != NULL)
        mdb_txn_abort(t->txn);
    t->txn = NULL;
    for (size_t i = 0; i < s->n_hooks; i++)
        if (s->hooks[i].aborted != NULL)
            s->hooks[i].aborted(s->hooks[i].arg);
}

int txn_commit(struct store_txn *t)
{
    struct store *s = t->store;
    int rc = t->failed;
    for (size_t i = 0; i < s->n_hooks && rc == 0; i++)
        if (s->hooks[i].before_commit != NULL)
            rc = s->hooks[i].before_commit(t, s->hooks[i].arg);
    if (rc == 0)
        rc = t->failed;
    if (rc == 0)
        rc = store_fault_at(s, STORE_FAULT_COMMIT);
    if (rc < 0) {
        txn_abort(t);
        return rc;
    }
    rc = store_error(mdb_txn_commit(t->txn), NULL, "");
    t->txn = NULL;
    if (rc == 0)
        rc = store_fault_at(s, STORE_FAULT_COMMITTED);
    if (rc < 0) {
        txn_abort(t);
        return rc;
    }
    for (size_t i = 0; i < s->n_hooks; i++)
        if (s->hooks[i].committed != NULL)
            s->hooks[i].committed(s->hooks[i].arg);
    return 0;
}

int store_write_now(struct store *s, store_run_cb *fn, void *arg, struct err *e)
{
    struct store_txn t;
    BIDE_ASSERT(!s->started || s->stopped, "store_write_now while the writer runs");
    int rc = txn_begin(s, &t);
    if (rc == 0) {
        rc = fn(&t, arg);
        if (rc < 0)
            txn_abort(&t);
        else
            rc = txn_commit(&t);
    }
    if (rc < 0)
        (void)err_set(e, rc, "store: a change could not be stored (%s)", err_name(rc));
    return rc;
}

int store_read_begin(struct store *s, struct store_txn **ret)
{
    struct store_txn *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    t->store = s;
    int rc = store_error(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t->txn), NULL, "");
    if (rc < 0) {
        free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void store_read_end(struct store_txn *t)
{
    mdb_txn_abort(t->txn);
    free(t);
}

int store_get(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len, struct slice *ret)
{
    MDB_val k = {.mv_size = key_len, .mv_data = (void *)(uintptr_t)key}, v;
    int rc = store_error(mdb_get(t->txn, tab->dbi, &k, &v), NULL, "");
    if (rc == 0)
        *ret = (struct slice){.p = v.mv_data, .len = v.mv_size};
    return rc;
}

int store_put(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len, const void *val,
              size_t val_len, unsigned flags)
{
    BIDE_ASSERT(t->writing, "a put in a reading transaction");
    MDB_val k = {.mv_size = key_len, .mv_data = (void *)(uintptr_t)key};
    MDB_val v = {.mv_size = val_len, .mv_data = (void *)(uintptr_t)val};
    int rc = store_fault_at(t->store, STORE_FAULT_PUT);
    if (rc < 0) {
        t->failed = rc;
        return rc;
    }
    unsigned f =
        ((flags & STORE_PUT_NEW) != 0 ? MDB_NOOVERWRITE : 0) | ((flags & STORE_PUT_APPEND) != 0 ? MDB_APPEND : 0);
    return written(t, mdb_put(t->txn, tab->dbi, &k, &v, f));
}

int store_del(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len)
{
    BIDE_ASSERT(t->writing, "a delete in a reading transaction");
    MDB_val k = {.mv_size = key_len, .mv_data = (void *)(uintptr_t)key};
    int rc = store_fault_at(t->store, STORE_FAULT_DEL);
    if (rc < 0) {
        t->failed = rc;
        return rc;
    }
    return written(t, mdb_del(t->txn, tab->dbi, &k, NULL));
}

/* --- cursors ------------------------------------------------------------------------------------------------------ */

int store_cursor_open(struct store_txn *t, struct store_table *tab, struct store_cursor **ret)
{
    struct store_cursor *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->t = t;
    int rc = store_error(mdb_cursor_open(t->txn, tab->dbi, &c->cur), NULL, "");
    if (rc < 0) {
        free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void store_cursor_close(struct store_cursor *c)
{
    if (c == NULL)
        return;
    mdb_cursor_close(c->cur);
    free(c);
}

static int move(struct store_cursor *c, MDB_val *k, MDB_cursor_op op, struct slice *ret_key, struct slice *ret_val)
{
    MDB_val v;
    int rc = store_error(mdb_cursor_get(c->cur, k, &v, op), NULL, "");
    if (rc < 0)
        return rc;
    *ret_key = (struct slice){.p = k->mv_data, .len = k->mv_size};
    *ret_val = (struct slice){.p = v.mv_data, .len = v.mv_size};
    return 0;
}

int store_cursor_seek(struct store_cursor *c, const void *key, size_t key_len, struct slice *ret_key,
                      struct slice *ret_val)
{
    MDB_val k = {.mv_size = key_len, .mv_data = (void *)(uintptr_t)key};
    return move(c, &k, key_len == 0 ? MDB_FIRST : MDB_SET_RANGE, ret_key, ret_val);
}

int store_cursor_next(struct store_cursor *c, struct slice *ret_key, struct slice *ret_val)
{
    MDB_val k;
    return move(c, &k, MDB_NEXT, ret_key, ret_val);
}

int store_cursor_prev(struct store_cursor *c, struct slice *ret_key, struct slice *ret_val)
{
    MDB_val k;
    return move(c, &k, MDB_PREV, ret_key, ret_val);
}

int store_cursor_last(struct store_cursor *c, struct slice *ret_key, struct slice *ret_val)
{
    MDB_val k;
    return move(c, &k, MDB_LAST, ret_key, ret_val);
}

int store_cursor_del(struct store_cursor *c)
{
    int rc = store_fault_at(c->t->store, STORE_FAULT_DEL);
    if (rc < 0) {
        c->t->failed = rc;
        return rc;
    }
    return written(c->t, mdb_cursor_del(c->cur, 0));
}

uint64_t store_count(struct store_txn *t, struct store_table *tab)
{
    MDB_stat st;
    return mdb_stat(t->txn, tab->dbi, &st) == 0 ? st.ms_entries : 0;
}
