#include "dlq_test.h"

static void test_one(void **state)
{
    struct fix f;
    struct event nobody;
    (void)state;
    fix_open(&f);
    struct event ev = die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    struct event alive = accept_event(&f, "orders", "x", 1);
    assert_rc(remove_one(&f, &alive.id), ERR_NOTFOUND);
    assert_rc(remove_one(&f, &ev.id), 0);
    assert_rc(remove_one(&f, &ev.id), ERR_NOTFOUND);
    assert_rc(queue_find(f.q, &ev.id, &nobody, NULL, NULL), ERR_NOTFOUND);
    fix_reopen(&f);
    struct books b = books(&f);
    assert_int_equal(b.accepted, 2);
    assert_int_equal(b.removed, 1);
    assert_int_equal(b.dead, 0);
    assert_int_equal(stats(&f).letters, 0);
    assert_int_equal(stats(&f).bytes, 0);
    fix_close(&f);
}

static void test_a_replayed_one(void **state)
{
    struct fix f;
    struct id new_id;
    (void)state;
    fix_open(&f);
    struct event ev = die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    assert_rc(replay_one(&f, &ev.id, false, &new_id), 0);
    assert_rc(remove_one(&f, &ev.id), 0);
    struct dlq_stats st = stats(&f);
    assert_int_equal(st.letters + st.replayed + st.bytes, 0);
    assert_int_equal(books(&f).replayed, 0);
    assert_int_equal(see(&f, &new_id).state, EVENT_QUEUED); /* what it became goes on */
    fix_close(&f);
}

static void test_by_filter_in_chunks(void **state)
{
    struct fix f;
    struct dlq_filter x = {.function = "even"};
    uint64_t cursor = 0, total = 0;
    (void)state;
    fix_open(&f);
    for (int i = 0; i < 30; i++)
        (void)die(&f, i % 2 == 0 ? "even" : "odd", "x", CONDITION_RETRIES_EXHAUSTED);
    do {
        uint64_t n = remove_chunk(&f, &x, cursor, 4, &cursor);
        assert_true(n <= 4);
        total += n;
    } while (cursor != 0);
    assert_int_equal(total, 15);
    assert_int_equal(stats(&f).letters, 15);
    assert_int_equal(count_letters(&f, &x), 0);
    x = (struct dlq_filter){.until = 21}; /* letters 1 to 20 */
    assert_int_equal(remove_chunk(&f, &x, 0, 1000, &cursor), 10);
    x = (struct dlq_filter){0};
    assert_int_equal(remove_chunk(&f, &x, 0, 1000, &cursor), 5);
    assert_true(cursor == 0);
    assert_int_equal(books(&f).removed, 30);
    fix_close(&f);
}

static void test_retention(void **state)
{
    struct fix f;
    (void)state;
    fix_open(&f); /* 1000 s */
    struct event first = die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    assert_rc(replay_one(&f, &first.id, false, NULL), 0);
    (void)die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    (void)clock_advance(&f.clock, 600000);
    (void)die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    (void)clock_advance(&f.clock, 400000);
    assert_int_equal(retention(&f, 10), 0); /* not older than, only as old as */
    (void)clock_advance(&f.clock, 1);
    assert_int_equal(see(&f, &first.id).state, EVENT_REPLAYED); /* readable till now */
    assert_int_equal(retention(&f, 1), 1);
    assert_int_equal(retention(&f, 10), 1);
    assert_int_equal(retention(&f, 10), 0);
    assert_int_equal(stats(&f).letters, 1);
    (void)clock_advance(&f.clock, 600000);
    assert_int_equal(retention(&f, 10), 1);
    assert_int_equal(stats(&f).bytes, 0);
    assert_int_equal(books(&f).removed, 3);
    fix_close(&f);
}

/* A letter written while the clock was a year ahead must not keep all behind it. */
static void test_retention_after_a_wrong_clock(void **state)
{
    struct fix f;
    (void)state;
    fix_open(&f);
    clock_init_virtual(&f.clock, FIX_EPOCH + INT64_C(365) * 86400000);
    (void)die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    clock_init_virtual(&f.clock, FIX_EPOCH);
    (void)die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    (void)clock_advance(&f.clock, 1000001);
    assert_int_equal(retention(&f, 10), 1);
    assert_int_equal(stats(&f).letters, 1);
    fix_close(&f);
}

/* --- the ceiling -------------------------------------------------------------------------------------------------- */

static void test_bytes_are_counted(void **state)
{
    struct fix f;
    static char p[100000];
    (void)state;
    fix_open(&f);
    struct event ev = accept_event(&f, "orders", p, sizeof p);
    ev = fail_for_good(&f, &ev, CONDITION_RETRIES_EXHAUSTED, NULL);
    uint64_t one = stats(&f).bytes;
    assert_in_range(one, sizeof p, sizeof p + 2000);
    (void)die(&f, "orders", "", CONDITION_RETRIES_EXHAUSTED);
    assert_in_range(stats(&f).bytes - one, 1, 2000);
    assert_rc(remove_one(&f, &ev.id), 0);
    assert_true(stats(&f).bytes < 2000);
    fix_close(&f);
}

/* A full store loses nothing: the event waits for room with its condition, and dies when there is some. */
static void test_full_store_keeps_the_event_waiting(void **state)
{
    struct fix f;
    static char p[60000];
    (void)state;
    fix_open(&f);
    f.opts.max_bytes = 100000;
    fix_reopen(&f);
    struct event first = accept_event(&f, "orders", p, sizeof p);
    first = fail_for_good(&f, &first, CONDITION_RETRIES_EXHAUSTED, NULL);
    assert_int_equal(first.state, EVENT_DEAD);
    assert_true(stats(&f).full);
    struct event second = accept_event(&f, "orders", p, sizeof p);
    second = fail_for_good(&f, &second, CONDITION_RETRIES_EXHAUSTED, NULL);
    assert_int_equal(second.state, EVENT_WAITING);
    assert_int_equal(stats(&f).letters, 1);
    assert_sound(&f);
    (void)clock_advance(&f.clock, 3600000);
    (void)promote(&f);
    assert_int_equal(see(&f, &second.id).state, EVENT_WAITING); /* still no room */
    fix_reopen(&f);
    assert_rc(remove_one(&f, &first.id), 0);
    (void)clock_advance(&f.clock, 3600000);
    (void)promote(&f);
    second = see(&f, &second.id);
    assert_int_equal(second.state, EVENT_DEAD);
    assert_int_equal(second.condition, CONDITION_RETRIES_EXHAUSTED);
    assert_int_equal(second.attempts, 1);
    assert_payload(&f, &second, p, sizeof p);
    fix_close(&f);
}

/* --- damage ------------------------------------------------------------------------------------------------------- */

static int drop_way(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    struct store_cursor *c;
    struct slice k, v;
    assert_rc(store_cursor_open(t, f->d->deadseq, &c), 0);
    assert_rc(store_cursor_seek(c, NULL, 0, &k, &v), 0);
    assert_rc(store_cursor_del(c), 0);
    store_cursor_close(c);
    return 0;
}

/* A letter that its event does not lead to any more still leaves whole, and with it the damage. */
static void test_a_letter_without_its_way(void **state)
{
    struct fix f;
    struct dlq_filter all = {0};
    uint64_t cursor;
    (void)state;
    fix_open(&f);
    (void)die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    (void)die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    in_txn(&f, drop_way, &f);
    assert_int_equal(remove_chunk(&f, &all, 0, 10, &cursor), 2);
    assert_int_equal(stats(&f).letters, 0);
    assert_int_equal(books(&f).removed, 2);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_a_replayed_one),
        cmocka_unit_test(test_by_filter_in_chunks),
        cmocka_unit_test(test_retention),
        cmocka_unit_test(test_retention_after_a_wrong_clock),
        cmocka_unit_test(test_bytes_are_counted),
        cmocka_unit_test(test_full_store_keeps_the_event_waiting),
        cmocka_unit_test(test_a_letter_without_its_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
