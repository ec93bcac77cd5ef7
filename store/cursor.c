#include <stdlib.h>
#include <string.h>

#include "priv.h"

struct store_cursor {
    struct store_txn *t;
    MDB_cursor *c;
    /* The entry deleted last, while the cursor has not moved on. Where LMDB's own cursor stands after a delete has
     * changed between its versions and with other writes to the table; looking its successor up is always right. */
    bool deleted;
    size_t key_len;
    uint8_t key[STORE_KEY_MAX];
};

int store_cursor_open(struct store_txn *t, struct store_table *tab, struct store_cursor **ret)
{
    *ret = NULL;
    if (t->broken < 0)
        return t->broken;
    struct store_cursor *c = malloc(sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->t = t;
    c->deleted = false;
    int rc = mdb_cursor_open(t->txn, tab->dbi, &c->c);
    if (rc != 0) {
        free(c);
        return store_errcode(rc);
    }
    t->cursors++;
    *ret = c;
    return 0;
}

void store_cursor_close(struct store_cursor *c)
{
    if (c == NULL)
        return;
    c->t->cursors--;
    mdb_cursor_close(c->c);
    free(c);
}

static int get(struct store_cursor *c, MDB_val *k, MDB_cursor_op op, struct slice *ret_key, struct slice *ret_val)
{
    MDB_val v = {0, NULL};
    if (c->t->broken < 0)
        return c->t->broken;
    int rc = mdb_cursor_get(c->c, k, &v, op);
    if (rc != 0)
        return store_errcode(rc);
    c->deleted = false;
    *ret_key = (struct slice){k->mv_data, k->mv_size};
    *ret_val = (struct slice){v.mv_data, v.mv_size};
    return 0;
}

int store_cursor_seek(struct store_cursor *c, const void *key, size_t key_len, struct slice *ret_key,
                      struct slice *ret_val)
{
    MDB_val k = {key_len, (void *)(uintptr_t)key};
    return get(c, &k, key_len == 0 ? MDB_FIRST : MDB_SET_RANGE, ret_key, ret_val);
}

int store_cursor_next(struct store_cursor *c, struct slice *ret_key, struct slice *ret_val)
{
    if (c->deleted)
        return store_cursor_seek(c, c->key, c->key_len, ret_key, ret_val);
    MDB_val k = {0, NULL};
    return get(c, &k, MDB_NEXT, ret_key, ret_val);
}

int store_cursor_prev(struct store_cursor *c, struct slice *ret_key, struct slice *ret_val)
{
    MDB_val k = {0, NULL};
    if (!c->deleted)
        return get(c, &k, MDB_PREV, ret_key, ret_val);
    int r = store_cursor_seek(c, c->key, c->key_len, ret_key, ret_val);
    if (r == ERR_NOTFOUND)
        return store_cursor_last(c, ret_key, ret_val);
    if (r == 0)
        r = get(c, &k, MDB_PREV, ret_key, ret_val);
    c->deleted = r == ERR_NOTFOUND; /* nothing before: the cursor stays where the entry was */
    return r;
}

int store_cursor_last(struct store_cursor *c, struct slice *ret_key, struct slice *ret_val)
{
    MDB_val k = {0, NULL};
    return get(c, &k, MDB_LAST, ret_key, ret_val);
}

int store_cursor_del(struct store_cursor *c)
{
    struct store_txn *t = c->t;
    MDB_val k, v;
    BIDE_ASSERT(t->write, "delete inside a read transaction");
    BIDE_ASSERT(!c->deleted, "the entry is deleted already");
    if (t->broken == 0)
        t->broken = store_fault_at(t->s, STORE_FAULT_DEL);
    if (t->broken < 0)
        return t->broken;
    int rc = mdb_cursor_get(c->c, &k, &v, MDB_GET_CURRENT);
    if (rc != 0)
        return store_errcode(rc);
    memcpy(c->key, k.mv_data, k.mv_size);
    c->key_len = k.mv_size;
    rc = mdb_cursor_del(c->c, 0);
    if (rc != 0)
        return store_txn_failed(t, rc);
    c->deleted = true;
    t->writes++;
    return 0;
}
