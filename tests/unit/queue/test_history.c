/* History: by age, by size, and what stays counted. */
#include "fixture.h"

static void finish_n(struct fix *f, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        struct event ev = do_accept(f, 1, "x");
        do_done(f, ev.seq, 1, do_start(f, ev.seq));
    }
}

static void by_age(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    finish_n(&f, 3);
    (void)clock_advance(&f.clock, 500000);
    finish_n(&f, 2);
    assert_int_equal(do_evict(&f, 10), 0);
    (void)clock_advance(&f.clock, 500001);
    assert_int_equal(do_evict(&f, 2), 2);
    assert_int_equal(do_evict(&f, 10), 1);
    assert_int_equal(do_evict(&f, 10), 0);
    assert_int_equal(see_books(&f).done, 2);
    assert_int_equal(see_books(&f).removed, 3);
    fix_reopen(&f);
    assert_int_equal(see_books(&f).removed, 3);
    fix_close(&f);
}

/* The order is that of the end, not of the beginning: a slow event outlives quick ones that came after it. */
static void the_slow_one_goes_last(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event slow = do_accept(&f, 1, "x");
    uint64_t run = do_start(&f, slow.seq);
    finish_n(&f, 2);
    (void)clock_advance(&f.clock, 900000);
    do_done(&f, slow.seq, 1, run);
    (void)clock_advance(&f.clock, 200000);
    assert_int_equal(do_evict(&f, 10), 2);
    assert_int_equal(see(&f, &slow.id).state, EVENT_DONE);
    fix_close(&f);
}

static void by_size(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    finish_n(&f, 5);
    f.opts.history_max_bytes = 600;
    fix_reopen(&f);
    uint64_t n = do_evict(&f, 10);
    assert_true(n >= 1);
    assert_true(f.q->saved.history_bytes <= 600);
    assert_int_equal(see_books(&f).removed, n);
    queue_set_history(f.q, false, f.opts.history_retention_ms, 0); /* without a restart */
    assert_int_equal(do_evict(&f, 10), 5 - n);
    assert_int_equal(f.q->saved.history_bytes, 0);
    fix_close(&f);
}

/* The bytes of a failure's details count: they are what a ceiling on history is for. */
static void details_count(void **state)
{
    (void)state;
    struct fix f;
    char *error = malloc(QUEUE_ERROR_MAX);
    assert_non_null(error);
    memset(error, 'e', QUEUE_ERROR_MAX);
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "x");
    struct settle s = a_failure(ev.seq, 1, do_start(&f, ev.seq), VERDICT_CANCELLED);
    s.attempt.error = error;
    s.attempt.error_len = QUEUE_ERROR_MAX;
    assert_rc(try_settle(&f, &s, NULL), 0);
    assert_true(f.q->saved.history_bytes >= QUEUE_ERROR_MAX);
    f.opts.history_max_bytes = QUEUE_ERROR_MAX / 2;
    fix_reopen(&f);
    assert_int_equal(do_evict(&f, 10), 1);
    assert_int_equal(f.q->saved.history_bytes, 0);
    struct store_txn *t;
    assert_rc(store_read_begin(f.store, &t), 0);
    assert_int_equal(store_count(t, f.q->attempt), 0);
    store_read_end(t);
    free(error);
    fix_close(&f);
}

static int junk(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    struct key k = key_u64(1);
    return store_put(t, f->q->event, k.b, k.len, "junk", 4, 0);
}

/* A finished event whose record is gone bad is evicted like any other; the rest of history is not held up by it. */
static void a_bad_record_goes(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "x");
    struct settle s = a_failure(ev.seq, 1, do_start(&f, ev.seq), VERDICT_CANCELLED);
    assert_rc(try_settle(&f, &s, NULL), 0);
    assert_rc(try_txn(&f, junk, &f), 0);
    assert_int_equal(do_evict(&f, 10), 1);
    assert_int_equal(see_books(&f).cancelled, 0);
    assert_int_equal(see_books(&f).removed, 1);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_age),        cmocka_unit_test(the_slow_one_goes_last), cmocka_unit_test(by_size),
        cmocka_unit_test(details_count), cmocka_unit_test(a_bad_record_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
