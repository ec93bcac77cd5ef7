#include <errno.h>
#include <stdlib.h>

#include "priv.h"

/* LMDB reports a write that came out short as EIO, and a disk that fills up in the middle of a write makes it short:
 * that is no reason to stop for ever. */
static int write_errcode(struct store *s, const char *step, int rc)
{
    if (rc == EIO && store_disk_exhausted(s))
        return ERR_FULL;
    int r = store_errcode(rc);
    if (r == ERR_IO) {
        s->bad_step = step;
        s->bad_rc = rc;
    }
    return r;
}

int store_txn_begin(struct store *s, struct store_txn *t)
{
    *t = (struct store_txn){.s = s, .write = true};
    int r = store_fault_at(s, STORE_FAULT_BEGIN);
    if (r < 0)
        return r;
    return write_errcode(s, "begin of a transaction", mdb_txn_begin(s->env, NULL, 0, &t->txn));
}

int store_txn_commit(struct store_txn *t)
{
    BIDE_ASSERT(t->cursors == 0 && t->broken == 0, "commit with %u cursors, broken %d", t->cursors, t->broken);
    int r = store_fault_at(t->s, STORE_FAULT_COMMIT);
    if (r < 0) {
        mdb_txn_abort(t->txn);
        t->txn = NULL;
        return r;
    }
    int rc = mdb_txn_commit(t->txn);
    t->txn = NULL;
    if (rc != 0)
        return write_errcode(t->s, "commit", rc);
    store_room_committed(t->s, t->put_bytes);
    return 0;
}

void store_txn_abort(struct store_txn *t)
{
    BIDE_ASSERT(t->cursors == 0, "abort with %u cursors open", t->cursors);
    mdb_txn_abort(t->txn);
    t->txn = NULL;
}

int store_txn_failed(struct store_txn *t, int rc)
{
    if (rc == MDB_NOTFOUND || rc == MDB_KEYEXIST || rc == MDB_BAD_VALSIZE)
        return store_errcode(rc);
    t->broken = write_errcode(t->s, "write", rc);
    return t->broken;
}

int store_get(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len, struct slice *ret)
{
    if (t->broken < 0)
        return t->broken;
    MDB_val k = {key_len, (void *)(uintptr_t)key};
    MDB_val v;
    int rc = mdb_get(t->txn, tab->dbi, &k, &v);
    if (rc != 0)
        return store_errcode(rc);
    *ret = (struct slice){v.mv_data, v.mv_size};
    return 0;
}

/* A fault counts as LMDB's own: the transaction is lost. */
static int write_allowed(struct store_txn *t, enum store_fault at)
{
    BIDE_ASSERT(t->write, "write inside a read transaction");
    if (t->broken == 0)
        t->broken = store_fault_at(t->s, at);
    return t->broken;
}

/* What a put may take of the file: a long value has whole pages, a short one shares a page that splits leave half full.
 */
static uint64_t page_cost(const struct store *s, size_t key_len, size_t val_len)
{
    uint64_t entry = key_len + val_len + 16;
    if (entry < s->page_len / 2)
        return 2 * entry;
    return (entry + s->page_len - 1) / s->page_len * s->page_len;
}

int store_put(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len, const void *val,
              size_t val_len, unsigned flags)
{
    int r = write_allowed(t, STORE_FAULT_PUT);
    if (r < 0)
        return r;
    if (key_len == 0 || key_len > STORE_KEY_MAX)
        return ERR_INVALID;
    MDB_val k = {key_len, (void *)(uintptr_t)key};
    MDB_val v = {val_len, (void *)(uintptr_t)val};
    unsigned mdb_flags = 0;
    if (flags & STORE_PUT_NEW)
        mdb_flags |= MDB_NOOVERWRITE;
    if (flags & STORE_PUT_APPEND)
        mdb_flags |= MDB_APPEND;
    int rc = mdb_put(t->txn, tab->dbi, &k, &v, mdb_flags);
    if (rc != 0)
        return store_txn_failed(t, rc);
    t->writes++;
    t->put_bytes += page_cost(t->s, key_len, val_len);
    return 0;
}

int store_del(struct store_txn *t, struct store_table *tab, const void *key, size_t key_len)
{
    int r = write_allowed(t, STORE_FAULT_DEL);
    if (r < 0)
        return r;
    MDB_val k = {key_len, (void *)(uintptr_t)key};
    int rc = mdb_del(t->txn, tab->dbi, &k, NULL);
    if (rc != 0)
        return store_txn_failed(t, rc);
    t->writes++;
    return 0;
}

uint64_t store_count(struct store_txn *t, struct store_table *tab)
{
    MDB_stat st;
    int rc = mdb_stat(t->txn, tab->dbi, &st);
    BIDE_ASSERT(rc == 0 || t->broken < 0, "mdb_stat(%s): %s", tab->name, mdb_strerror(rc));
    return rc == 0 ? st.ms_entries : 0;
}

int store_read_begin(struct store *s, struct store_txn **ret)
{
    struct store_txn *t = malloc(sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    *t = (struct store_txn){.s = s};
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t->txn);
    if (rc != 0) {
        free(t);
        return store_errcode(rc);
    }
    atomic_fetch_add(&s->readers, 1);
    *ret = t;
    return 0;
}

void store_read_end(struct store_txn *t)
{
    BIDE_ASSERT(!t->write && t->cursors == 0, "read transaction ends with %u cursors open", t->cursors);
    mdb_txn_abort(t->txn);
    atomic_fetch_sub(&t->s->readers, 1);
    free(t);
}

void store_put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
}

void store_put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 3; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
}

uint64_t store_get_u64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

uint32_t store_get_u32(const uint8_t *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 8 | p[i];
    return v;
}
