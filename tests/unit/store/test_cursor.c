/* Cursors against a model: a sorted set of small integers. */
#include "store_test.h"

enum { KEYS = 600 };

struct world {
    struct fixture *f;
    bool has[KEYS];
    uint64_t seed;
};

static int key_of(struct slice s)
{
    assert_int_equal(s.len, 8);
    return (int)store_get_u64(s.p);
}

static int above(const struct world *w, int at) /* first key >= at, or -1 */
{
    for (; at < KEYS; at++)
        if (w->has[at])
            return at;
    return -1;
}

static int below(const struct world *w, int at) /* last key <= at, or -1 */
{
    for (; at >= 0; at--)
        if (w->has[at])
            return at;
    return -1;
}

static void put(struct store_txn *t, struct world *w, int n)
{
    uint8_t key[8];
    char val[200];
    memset(val, n, sizeof val);
    store_put_u64(key, (uint64_t)n);
    assert_rc(store_put(t, w->f->tab, key, sizeof key, val, sizeof val, 0), 0);
    w->has[n] = true;
}

static void expect(int r, struct slice k, struct slice v, int want)
{
    if (want < 0) {
        assert_rc(r, ERR_NOTFOUND);
        return;
    }
    assert_rc(r, 0);
    assert_int_equal(key_of(k), want);
    assert_int_equal(v.len, 200);
    assert_int_equal(*(const unsigned char *)v.p, want & 0xff);
}

static int fill(struct store_txn *t, void *arg)
{
    struct world *w = arg;
    for (int i = 0; i < KEYS; i++)
        put(t, w, i);
    return 0;
}

static int walk_both_ways(struct store_txn *t, void *arg)
{
    struct world *w = arg;
    struct store_cursor *c;
    struct slice k, v;
    uint8_t key[8];
    assert_rc(store_cursor_open(t, w->f->tab, &c), 0);
    int r = store_cursor_seek(c, NULL, 0, &k, &v);
    for (int i = 0; i < KEYS; i++, r = store_cursor_next(c, &k, &v))
        expect(r, k, v, i);
    assert_rc(r, ERR_NOTFOUND);
    r = store_cursor_last(c, &k, &v);
    for (int i = KEYS - 1; i >= 0; i--, r = store_cursor_prev(c, &k, &v))
        expect(r, k, v, i);
    assert_rc(r, ERR_NOTFOUND);
    store_put_u64(key, KEYS);
    assert_rc(store_cursor_seek(c, key, sizeof key, &k, &v), ERR_NOTFOUND);
    store_cursor_close(c);
    return 0;
}

/* Delete in one walk, every n-th or all: what the walk sees must be everything. */
static int delete_walking(struct store_txn *t, void *arg)
{
    struct world *w = arg;
    struct store_cursor *c;
    struct slice k, v;
    for (int every = 3; every >= 1; every--) {
        int seen = 0, want = above(w, 0);
        assert_rc(store_cursor_open(t, w->f->tab, &c), 0);
        int r = store_cursor_seek(c, NULL, 0, &k, &v);
        while (want >= 0) {
            expect(r, k, v, want);
            if (seen++ % every == 0) {
                assert_rc(store_cursor_del(c), 0);
                w->has[want] = false;
            }
            want = above(w, want + 1);
            r = store_cursor_next(c, &k, &v);
        }
        assert_rc(r, ERR_NOTFOUND);
        store_cursor_close(c);
    }
    assert_int_equal(store_count(t, w->f->tab), 0);
    return 0;
}

/* Any mixture of moves, deletes and puts elsewhere. at: where the cursor stands; gone: its entry was deleted. */
static int wander(struct store_txn *t, void *arg)
{
    struct world *w = arg;
    struct store_cursor *c;
    struct slice k = {NULL, 0}, v = {NULL, 0};
    uint8_t key[8];
    int at = -1;
    bool gone = false;
    assert_rc(store_cursor_open(t, w->f->tab, &c), 0);
    for (int i = 0; i < 20000; i++) {
        int to, r;
        uint64_t dice = test_rand(&w->seed) % 8;
        if (at < 0 || dice == 0) {
            int want = (int)(test_rand(&w->seed) % KEYS);
            store_put_u64(key, (uint64_t)want);
            to = above(w, want);
            r = store_cursor_seek(c, key, sizeof key, &k, &v);
        } else if (dice <= 2) {
            to = above(w, at + 1);
            r = store_cursor_next(c, &k, &v);
        } else if (dice <= 4) {
            to = below(w, at - 1);
            r = store_cursor_prev(c, &k, &v);
        } else if (dice <= 6 && !gone) {
            assert_rc(store_cursor_del(c), 0);
            w->has[at] = false;
            gone = true;
            continue;
        } else {
            int n = (int)(test_rand(&w->seed) % KEYS);
            if (n != at)
                put(t, w, n);
            continue;
        }
        expect(r, k, v, to);
        /* After the end, next and prev of LMDB differ by where the end was met; the walk starts anew. */
        at = to;
        gone = false;
    }
    store_cursor_close(c);
    return 0;
}

static void run(store_run_cb *a, store_run_cb *b)
{
    struct fixture f;
    struct err e;
    struct world w = {.f = &f, .seed = 20240117};
    fixture_init(&f, 8 << 20);
    assert_ok(store_write_now(f.s, a, &w, &e), &e);
    assert_ok(store_write_now(f.s, b, &w, &e), &e);
    fixture_done(&f);
}

static void test_walk(void **state)
{
    (void)state;
    run(fill, walk_both_ways);
}

static void test_delete_walking(void **state)
{
    (void)state;
    run(fill, delete_walking);
}

static void test_wander(void **state)
{
    (void)state;
    run(fill, wander);
}

static int empty_table(struct store_txn *t, void *arg)
{
    struct world *w = arg;
    struct store_cursor *c;
    struct slice k, v;
    assert_rc(store_cursor_open(t, w->f->tab, &c), 0);
    assert_rc(store_cursor_seek(c, NULL, 0, &k, &v), ERR_NOTFOUND);
    assert_rc(store_cursor_last(c, &k, &v), ERR_NOTFOUND);
    store_cursor_close(c);
    return 0;
}

static int delete_first_then_back(struct store_txn *t, void *arg)
{
    struct world *w = arg;
    struct store_cursor *c;
    struct slice k, v;
    assert_rc(store_cursor_open(t, w->f->tab, &c), 0);
    assert_rc(store_cursor_seek(c, NULL, 0, &k, &v), 0);
    assert_rc(store_cursor_del(c), 0);
    assert_rc(store_cursor_prev(c, &k, &v), ERR_NOTFOUND);
    expect(store_cursor_next(c, &k, &v), k, v, 1);
    assert_rc(store_cursor_last(c, &k, &v), 0);
    assert_rc(store_cursor_del(c), 0);
    assert_rc(store_cursor_next(c, &k, &v), ERR_NOTFOUND);
    expect(store_cursor_prev(c, &k, &v), k, v, KEYS - 2);
    store_cursor_close(c);
    return 0;
}

static void test_ends(void **state)
{
    (void)state;
    run(empty_table, fill);
    run(fill, delete_first_then_back);
}

static void test_reading_while_writing(void **state)
{
    struct fixture f;
    struct store_txn *t;
    struct err e;
    struct world w = {.f = &f, .seed = 7};
    (void)state;
    fixture_init(&f, 8 << 20);
    assert_ok(store_write_now(f.s, fill, &w, &e), &e);
    assert_rc(store_read_begin(f.s, &t), 0);
    struct world changed = w;
    assert_ok(store_write_now(f.s, wander, &changed, &e), &e);
    walk_both_ways(t, &w);
    store_read_end(t);
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk), cmocka_unit_test(test_delete_walking),        cmocka_unit_test(test_wander),
        cmocka_unit_test(test_ends), cmocka_unit_test(test_reading_while_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
