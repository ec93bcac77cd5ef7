/* What /metrics is told: depths and the oldest event of each function, and what was counted at the commits. */
#include "fixture.h"

static struct queue_report look(struct fix *f, uint64_t fid)
{
    struct queue_report r[2] = {{.fid = fid}, {.fid = 999}};
    struct books b;
    barrier(f);
    assert_rc(queue_report(f->q, r, 2, &b), 0);
    struct books again = see_books(f);
    assert_memory_equal(&b, &again, sizeof b);
    assert_int_equal(r[1].now.queued, 0);
    assert_int_equal(r[1].oldest_queued_at_ms, -1);
    assert_int_equal(r[1].tally.received, 0);
    return r[0];
}

static void the_oldest_of_each_order(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event first = do_accept(&f, 7, "a");
    clock_advance(&f.clock, 1000);
    struct event second = do_accept(&f, 7, "b");
    (void)do_accept(&f, 8, "c");
    struct queue_report r = look(&f, 7);
    assert_int_equal(r.now.queued, 2);
    assert_int_equal(r.oldest_queued_at_ms, FIX_EPOCH);
    assert_int_equal(r.oldest_waiting_at_ms, -1);
    assert_int_equal(look(&f, 8).oldest_queued_at_ms, FIX_EPOCH + 1000);
    do_fail_and_wait(&f, first.seq, 7, 60000);
    r = look(&f, 7);
    assert_int_equal(r.now.queued, 1);
    assert_int_equal(r.now.waiting, 1);
    assert_int_equal(r.oldest_queued_at_ms, FIX_EPOCH + 1000);
    assert_int_equal(r.oldest_waiting_at_ms, FIX_EPOCH);
    uint64_t run = do_start(&f, second.seq);
    r = look(&f, 7);
    assert_int_equal(r.now.running, 1);
    assert_int_equal(r.oldest_queued_at_ms, -1); /* a running one is not waited for */
    do_done(&f, second.seq, 7, run);
    clock_advance(&f.clock, 60000);
    assert_int_equal(do_promote(&f, 10), 1);
    assert_int_equal(look(&f, 7).oldest_queued_at_ms, FIX_EPOCH); /* accepted, not due again */
    fix_close(&f);
}

static void counted_at_the_commit(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    for (int i = 0; i < 3; i++)
        do_die(&f, do_accept(&f, 7, "x").seq, 7);
    assert_rc(try_expire(&f, do_accept(&f, 7, "x").seq, CONDITION_EVENT_AGE_EXCEEDED), 0);
    (void)do_accept(&f, 7, "x");
    assert_int_equal(do_delete_function(&f, 7, 10), 1);
    struct queue_tally t = look(&f, 7).tally;
    assert_int_equal(t.received, 5);
    assert_int_equal(t.dropped[CONDITION_RETRIES_EXHAUSTED], 3);
    assert_int_equal(t.dropped[CONDITION_EVENT_AGE_EXCEEDED], 1);
    assert_int_equal(t.dropped[CONDITION_FUNCTION_DELETED], 1);
    assert_int_equal(t.dropped[CONDITION_DISRUPTED], 0);
    fix_reopen(&f);
    t = look(&f, 7).tally; /* since the start */
    assert_int_equal(t.received, 0);
    assert_int_equal(t.dropped[CONDITION_RETRIES_EXHAUSTED], 0);
    fix_close(&f);
}

/* An event that finds no room among the dead letters is not dropped until it does. */
static void held_is_not_dropped(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    f.dead_full = true;
    do_die(&f, do_accept(&f, 7, "x").seq, 7);
    struct queue_report r = look(&f, 7);
    assert_int_equal(r.now.held, 1);
    assert_int_equal(r.now.waiting, 1);
    assert_int_equal(r.tally.dropped[CONDITION_RETRIES_EXHAUSTED], 0);
    f.dead_full = false;
    clock_advance(&f.clock, DEAD_PENDING_MS);
    (void)do_promote(&f, 10);
    r = look(&f, 7);
    assert_int_equal(r.now.held, 0);
    assert_int_equal(r.now.dead, 1);
    assert_int_equal(r.tally.dropped[CONDITION_RETRIES_EXHAUSTED], 1);
    fix_close(&f);
}

static int fail_commits;

static int commit_fault(enum store_fault at, void *arg)
{
    (void)arg;
    return at == STORE_FAULT_COMMIT && fail_commits > 0 && fail_commits-- > 0 ? ERR_FULL : 0;
}

static void what_was_taken_back_is_not_counted(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    f.fault = commit_fault;
    fix_reopen(&f);
    (void)do_accept(&f, 7, "x");
    barrier(&f);
    fail_commits = 1;
    assert_rc(try_accept(&f, 7, "x", 1, NULL), ERR_FULL);
    fail_commits = 0;
    (void)do_accept(&f, 7, "x");
    assert_int_equal(look(&f, 7).tally.received, 2);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_of_each_order),
        cmocka_unit_test(counted_at_the_commit),
        cmocka_unit_test(held_is_not_dropped),
        cmocka_unit_test(what_was_taken_back_is_not_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
