/* Tombstones: deleted functions whose events are not all dead letters yet. */
#include "priv.h"

#include <stdlib.h>
#include <string.h>

int registry_tombstones(struct registry *r, registry_tombstone_cb *cb, void *arg)
{
    struct store_txn *t;
    struct store_cursor *c = NULL;
    struct slice key, val;
    char name[FUNCTION_NAME_MAX + 1];
    int rc = store_read_begin(r->store, &t);
    if (rc < 0)
        return rc;
    rc = store_cursor_open(t, r->tombstones, &c);
    if (rc == 0) {
        for (rc = store_cursor_seek(c, NULL, 0, &key, &val); rc == 0; rc = store_cursor_next(c, &key, &val)) {
            if (key.len != 8 || val.len > FUNCTION_NAME_MAX)
                continue;
            memcpy(name, val.p, val.len);
            name[val.len] = '\0';
            cb(store_get_u64(key.p), name, arg);
        }
        store_cursor_close(c);
    }
    store_read_end(t);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

struct forget {
    struct store_op op;
    struct registry *r;
    uint64_t fid;
};

static int run_forget(struct store_txn *t, void *arg)
{
    struct forget *f = arg;
    uint8_t key[8];
    store_put_u64(key, f->fid);
    int rc = store_del(t, f->r->tombstones, key, sizeof(key));
    return rc == ERR_NOTFOUND ? 0 : rc;
}

static void on_forgotten(int err, void *arg)
{
    (void)err; /* a tombstone left over is looked at again at the next start */
    free(arg);
}

int registry_forget(struct registry *r, uint64_t fid)
{
    struct forget *f = calloc(1, sizeof(*f));
    if (!f)
        return ERR_NOMEM;
    f->r = r;
    f->fid = fid;
    f->op = (struct store_op){.run = run_forget, .done = on_forgotten, .arg = f};
    int rc = store_submit(r->store, &f->op);
    if (rc < 0)
        free(f);
    return rc;
}
