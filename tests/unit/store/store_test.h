/* A store in a folder of its own, ops that put or delete one key, and a way to wait for them. */
#ifndef TESTS_STORE_TEST_H
#define TESTS_STORE_TEST_H

#include "testutil.h"

#include <pthread.h>
#include <stdatomic.h>

#include "store/store.h"

struct fixture {
    struct tmpdir dir;
    struct store_opts opts;
    struct store *s;
    struct store_table *tab;
};

static TEST_UNUSED void fixture_open(struct fixture *f)
{
    struct err e;
    assert_ok(store_open(&f->s, tmpdir_path(&f->dir, "queue"), &f->opts, &e), &e);
    assert_ok(store_table(f->s, "t", &f->tab, &e), &e);
}

static TEST_UNUSED void fixture_start(struct fixture *f)
{
    struct err e;
    assert_ok(store_start(f->s, &e), &e);
}

static TEST_UNUSED void fixture_init(struct fixture *f, uint64_t max_bytes)
{
    memset(f, 0, sizeof *f);
    f->opts.max_bytes = max_bytes;
    tmpdir_make(&f->dir);
    fixture_open(f);
}

static TEST_UNUSED void fixture_close(struct fixture *f)
{
    store_stop(f->s);
    store_close(f->s);
    f->s = NULL;
}

static TEST_UNUSED void fixture_done(struct fixture *f)
{
    if (f->s != NULL)
        fixture_close(f);
    tmpdir_remove(&f->dir);
}

enum { STEP_PUT, STEP_DEL, STEP_FAIL_FIRST /* fails, having written nothing */, STEP_FAIL_LATE /* puts, then fails */ };

/* One key, one value. */
struct step {
    struct store_op op;
    struct fixture *f;
    int kind;
    int fail_with; /* STEP_FAIL_x */
    uint64_t key;
    unsigned put_flags;
    size_t val_len;
    _Atomic int runs;
    _Atomic int dones;
    int result; /* valid once dones is 1 */
    int place;  /* in the order of completions */
};

static atomic_int step_places;

static TEST_UNUSED int step_run(struct store_txn *t, void *arg)
{
    static const char zeros[8192];
    struct step *x = arg;
    uint8_t key[8];
    atomic_fetch_add(&x->runs, 1);
    store_put_u64(key, x->key);
    if (x->kind == STEP_DEL)
        return store_del(t, x->f->tab, key, sizeof key);
    if (x->kind == STEP_FAIL_FIRST)
        return x->fail_with;
    int r = store_put(t, x->f->tab, key, sizeof key, zeros, x->val_len, x->put_flags);
    return r < 0 || x->kind == STEP_PUT ? r : x->fail_with;
}

static TEST_UNUSED void step_done(int err, void *arg)
{
    struct step *x = arg;
    x->result = err;
    x->place = atomic_fetch_add(&step_places, 1);
    atomic_fetch_add(&x->dones, 1);
}

static TEST_UNUSED void step_init(struct step *x, struct fixture *f, int kind, uint64_t key)
{
    memset(x, 0, sizeof *x);
    x->op = (struct store_op){.run = step_run, .done = step_done, .arg = x};
    x->f = f;
    x->kind = kind;
    x->key = key;
    x->val_len = 100;
    x->fail_with = ERR_CONFLICT;
}

static TEST_UNUSED void step_submit(struct step *x)
{
    assert_rc(store_submit(x->f->s, &x->op), 0);
}

static TEST_UNUSED bool step_is_done(void *arg)
{
    struct step *x = arg;
    return atomic_load(&x->dones) == 1;
}

static TEST_UNUSED int step_wait(struct step *x)
{
    wait_until(step_is_done, x, TEST_PATIENCE_MS);
    return x->result;
}

static TEST_UNUSED int step_do(struct fixture *f, int kind, uint64_t key, unsigned op_flags, size_t val_len)
{
    struct step x;
    step_init(&x, f, kind, key);
    x.op.flags = op_flags;
    x.val_len = val_len;
    step_submit(&x);
    return step_wait(&x);
}

static TEST_UNUSED bool fixture_has(struct fixture *f, uint64_t key)
{
    struct store_txn *t;
    struct slice v;
    uint8_t k[8];
    store_put_u64(k, key);
    assert_rc(store_read_begin(f->s, &t), 0);
    int r = store_get(t, f->tab, k, sizeof k, &v);
    store_read_end(t);
    if (r != 0 && r != ERR_NOTFOUND)
        assert_rc(r, 0);
    return r == 0;
}

static TEST_UNUSED uint64_t fixture_count(struct fixture *f)
{
    struct store_txn *t;
    assert_rc(store_read_begin(f->s, &t), 0);
    uint64_t n = store_count(t, f->tab);
    store_read_end(t);
    return n;
}

#endif
