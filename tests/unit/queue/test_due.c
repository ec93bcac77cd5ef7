/* Waiting: order, bounds, the earliest time, and clocks that are set. */
#include "fixture.h"

static void in_order_and_in_chunks(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    const int64_t waits[] = {300, 100, 200, 100};
    for (uint64_t i = 0; i < 4; i++) {
        (void)do_accept(&f, 1, "x");
        do_fail_and_wait(&f, i + 1, 1, waits[i]);
    }
    int64_t due = 0;
    barrier(&f);
    size_t base = f.n_ready;
    assert_true(queue_next_due(f.q, &due));
    assert_int_equal(due, FIX_EPOCH + 100);
    assert_int_equal(do_promote(&f, 10), 0);
    (void)clock_advance(&f.clock, 200);
    assert_int_equal(do_promote(&f, 2), 2);
    assert_int_equal(do_promote(&f, 2), 1);
    barrier(&f);
    assert_int_equal(f.n_ready, base + 3);
    assert_int_equal(f.ready[base], 2);
    assert_int_equal(f.ready[base + 1], 4);
    assert_int_equal(f.ready[base + 2], 3);
    assert_true(queue_next_due(f.q, &due));
    assert_int_equal(due, FIX_EPOCH + 300);
    (void)clock_advance(&f.clock, 100);
    assert_int_equal(do_promote(&f, 10), 1);
    assert_false(queue_next_due(f.q, &due));
    fix_close(&f);
}

/* R6: the time is absolute; a restart begins no wait anew. */
static void a_restart_changes_no_due_time(void **state)
{
    (void)state;
    struct fix f;
    int64_t due = 0;
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "x");
    do_fail_and_wait(&f, ev.seq, 1, 60000);
    (void)clock_advance(&f.clock, 45000);
    fix_reopen(&f);
    assert_true(queue_next_due(f.q, &due));
    assert_int_equal(due, FIX_EPOCH + 60000);
    assert_int_equal(see(&f, &ev.id).due_at_ms, FIX_EPOCH + 60000);
    (void)clock_advance(&f.clock, 15000);
    assert_int_equal(do_promote(&f, 10), 1);
    fix_close(&f);
}

/* R7: a clock set back makes nobody wait longer than was meant, and lets nobody go earlier than that either. */
static void a_clock_set_back(void **state)
{
    (void)state;
    const int64_t year = INT64_C(365) * 86400000, steps[] = {30000, 3600000, year};
    for (size_t i = 0; i < 3; i++) {
        struct fix f;
        int64_t due = 0;
        fix_open(&f);
        struct event shorter = do_accept(&f, 1, "x"), longer = do_accept(&f, 1, "y");
        do_fail_and_wait(&f, shorter.seq, 1, 60000);
        do_fail_and_wait(&f, longer.seq, 1, 120000);
        int64_t now = FIX_EPOCH - steps[i];
        fix_stop(&f);
        clock_init_virtual(&f.clock, now);
        fix_start(&f);
        assert_int_equal(see(&f, &shorter.id).due_at_ms, now + 60000);
        assert_int_equal(see(&f, &longer.id).due_at_ms, now + 120000);
        assert_true(queue_next_due(f.q, &due));
        assert_int_equal(due, now + 60000);
        assert_sound(&f);
        assert_int_equal(do_promote(&f, 10), 0);
        (void)clock_advance(&f.clock, 60000);
        assert_int_equal(do_promote(&f, 10), 1);
        assert_int_equal(see(&f, &shorter.id).state, EVENT_QUEUED);
        assert_int_equal(see(&f, &longer.id).state, EVENT_WAITING);
        fix_close(&f);
    }
}

static void a_clock_set_forward_makes_all_due(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "x");
    do_fail_and_wait(&f, ev.seq, 1, 60000);
    fix_stop(&f);
    clock_init_virtual(&f.clock, FIX_EPOCH + INT64_C(100000000));
    fix_start(&f);
    assert_int_equal(do_promote(&f, 10), 1);
    fix_close(&f);
}

static uint64_t rows(struct fix *f)
{
    struct store_txn *t;
    assert_rc(store_read_begin(f->store, &t), 0);
    uint64_t n = store_count(t, f->q->stats);
    store_read_end(t);
    return n;
}

static int remove_dead(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    return queue_dead_removed_in(f->q, t, f->last_dead.seq);
}

/* Functions come and go for as long as a daemon runs: nothing of a deleted one stays, on disk or in memory, once the
 * last of its events is gone. One that only has nothing to do keeps what /metrics tells of it. */
static void a_deleted_function_leaves_no_counters(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    for (uint64_t fid = 1; fid <= 20; fid++) {
        struct event ev = do_accept(&f, fid, "x");
        do_done(&f, ev.seq, fid, do_start(&f, ev.seq));
    }
    assert_int_equal(rows(&f), 0);
    assert_int_equal(HASH_COUNT(f.q->counts), 20);
    for (uint64_t fid = 1; fid < 20; fid++)
        assert_int_equal(do_delete_function(&f, fid, 10), 0);
    assert_int_equal(HASH_COUNT(f.q->counts), 1);
    /* Function 20 goes with one event running and one queued. */
    struct event ev = do_accept(&f, 20, "x");
    uint64_t run = do_start(&f, ev.seq);
    (void)do_accept(&f, 20, "y");
    assert_int_equal(do_delete_function(&f, 20, 10), 1);
    assert_int_equal(rows(&f), 1);
    do_done(&f, ev.seq, 20, run);
    assert_int_equal(rows(&f), 1); /* its dead letter */
    assert_rc(try_txn(&f, remove_dead, &f), 0);
    assert_int_equal(rows(&f), 0);
    assert_int_equal(HASH_COUNT(f.q->counts), 0);
    fix_reopen(&f);
    assert_int_equal(HASH_COUNT(f.q->counts), 0);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order_and_in_chunks),
        cmocka_unit_test(a_restart_changes_no_due_time),
        cmocka_unit_test(a_clock_set_back),
        cmocka_unit_test(a_clock_set_forward_makes_all_due),
        cmocka_unit_test(a_deleted_function_leaves_no_counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
