/* Retention: all that outlived it goes in one round, in transactions of bounded size. */
#include "dlq_test.h"

#include "keeping.h"

enum { EVENTS = 3 * KEEPING_CHUNK + 7 };

static void settle_done(struct fix *f, const struct event *ev)
{
    struct wait w;
    uint64_t run = f->next_run++;
    wait_init(&w);
    assert_rc(wait_end(&w, queue_start(f->q, ev->seq, run, false, on_event, &w)), 0);
    struct settle s = {.seq = ev->seq, .fid = ev->fid, .run = run, .verdict = VERDICT_DONE, .counts = true};
    wait_init(&w);
    assert_rc(wait_end(&w, queue_settle(f->q, &s, on_event, &w)), 0);
}

static uint64_t commits(struct fix *f)
{
    struct store_stats st;
    store_stats(f->store, &st);
    return st.commits;
}

static bool is_over(void *arg)
{
    const struct keeping *k = arg;
    return !atomic_load(&k->busy);
}

static void run_round(struct keeping *k)
{
    keeping_round(k);
    wait_until(is_over, k, TEST_PATIENCE_MS);
}

static void history_goes_whole(void **state)
{
    (void)state;
    struct fix f;
    struct keeping k;
    fix_open(&f);
    keeping_init(&k, f.q, f.d);
    for (int i = 0; i < EVENTS; i++) {
        struct event ev = accept_event(&f, "hello", "x", 1);
        settle_done(&f, &ev);
    }
    uint64_t before = commits(&f);
    run_round(&k);
    assert_int_equal(books(&f).removed, 0);
    assert_int_equal(commits(&f) - before, 1);
    (void)clock_advance(&f.clock, 1000001); /* the fixture's history.retention */
    before = commits(&f);
    run_round(&k);
    assert_int_equal(books(&f).removed, EVENTS);
    assert_int_equal(books(&f).done, 0);
    assert_int_equal(commits(&f) - before, 4);
    fix_close(&f);
}

static void letters_go_whole(void **state)
{
    (void)state;
    struct fix f;
    struct keeping k;
    fix_open(&f);
    keeping_init(&k, f.q, f.d);
    for (int i = 0; i < EVENTS; i++)
        (void)die(&f, "hello", "x", CONDITION_RETRIES_EXHAUSTED);
    (void)clock_advance(&f.clock, f.opts.retention_ms + 1);
    uint64_t before = commits(&f);
    run_round(&k);
    assert_int_equal(books(&f).removed, EVENTS);
    assert_int_equal(commits(&f) - before, 4);
    fix_close(&f);
}

/* A stop must not wait for a long history: the transaction that is under way is the last. */
static void stop_ends_a_round(void **state)
{
    (void)state;
    struct fix f;
    struct keeping k;
    fix_open(&f);
    keeping_init(&k, f.q, f.d);
    for (int i = 0; i < EVENTS; i++)
        (void)die(&f, "hello", "x", CONDITION_RETRIES_EXHAUSTED);
    (void)clock_advance(&f.clock, f.opts.retention_ms + 1);
    store_stop(f.store);
    keeping_stop(&k);
    keeping_round(&k);
    assert_false(atomic_load(&k.busy));
    atomic_store(&k.stop, false);
    keeping_round(&k); /* refused by the store, which is said and left to the next round */
    assert_false(atomic_load(&k.busy));
    struct err e = {0};
    assert_ok(store_start(f.store, &e), &e);
    keeping_round(&k);
    keeping_stop(&k);
    wait_until(is_over, &k, TEST_PATIENCE_MS);
    assert_true(books(&f).removed <= EVENTS);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(history_goes_whole),
        cmocka_unit_test(letters_go_whole),
        cmocka_unit_test(stop_ends_a_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
