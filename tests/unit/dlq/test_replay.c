#include "dlq_test.h"

static const struct dlq_filter all = {0};

static void test_one_letter(void **state)
{
    struct fix f;
    struct id new_id;
    (void)state;
    fix_open(&f);
    struct event old = die(&f, "orders", "{\"n\":1}", CONDITION_RETRIES_EXHAUSTED);
    f.n_ready = 0;
    assert_rc(replay_one(&f, &old.id, false, &new_id), 0);
    assert_int_equal(f.n_ready, 1); /* the dispatcher was told */
    fix_reopen(&f);
    old = see(&f, &old.id);
    struct event new = see(&f, &new_id);
    assert_int_equal(old.state, EVENT_REPLAYED);
    assert_int_equal(id_cmp(&old.replayed_as, &new_id), 0);
    assert_int_equal(id_cmp(&new.replay_of, &old.id), 0);
    assert_int_equal(new.state, EVENT_QUEUED);
    assert_int_equal(new.fid, 8); /* of the function that has the name now */
    assert_int_equal(new.attempts, 0);
    assert_string_equal(new.name, "orders");
    assert_string_equal(new.qualifier, "live");
    assert_string_equal(new.trace, "Root=1-2-3");
    assert_payload(&f, &new, "{\"n\":1}", 7);
    assert_payload(&f, &old, "{\"n\":1}", 7); /* still readable */
    struct books b = books(&f);
    assert_int_equal(b.accepted, 2);
    assert_int_equal(b.dead, 0);
    assert_int_equal(b.replayed, 1);
    assert_int_equal(b.queued, 1);
    assert_int_equal(stats(&f).letters, 1);
    assert_int_equal(stats(&f).replayed, 1);
    fix_close(&f);
}

static void test_twice_is_refused_unless_asked_for(void **state)
{
    struct fix f;
    struct id first, second;
    (void)state;
    fix_open(&f);
    struct event old = die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    assert_rc(replay_one(&f, &old.id, false, &first), 0);
    assert_rc(replay_one(&f, &old.id, false, NULL), ERR_CONFLICT);
    assert_int_equal(books(&f).queued, 1);
    assert_rc(replay_one(&f, &old.id, true, &second), 0);
    assert_true(id_cmp(&first, &second) != 0);
    old = see(&f, &old.id);
    assert_int_equal(id_cmp(&old.replayed_as, &second), 0);
    assert_int_equal(books(&f).queued, 2);
    assert_int_equal(stats(&f).replayed, 1); /* one letter, however often */
    fix_close(&f);
}

static void test_unknown_and_living(void **state)
{
    struct fix f;
    struct id nobody = id_random();
    (void)state;
    fix_open(&f);
    struct event alive = accept_event(&f, "orders", "x", 1);
    assert_rc(replay_one(&f, &nobody, false, NULL), ERR_NOTFOUND);
    assert_rc(replay_one(&f, &alive.id, false, NULL), ERR_NOTFOUND);
    assert_int_equal(books(&f).accepted, 1);
    fix_close(&f);
}

static void test_function_gone(void **state)
{
    struct fix f;
    struct dlq_replay_result r;
    (void)state;
    fix_open(&f);
    f.gone = "orders";
    struct event old = die(&f, "orders", "x", CONDITION_FUNCTION_DELETED);
    (void)die(&f, "others", "x", CONDITION_RETRIES_EXHAUSTED);
    assert_rc(replay_one(&f, &old.id, false, NULL), ERR_NOTFOUND);
    assert_rc(replay_chunk(&f, &all, 0, 10, &r), 0);
    assert_int_equal(r.replayed, 1);
    assert_int_equal(r.skipped, 1);
    assert_true(r.cursor == 0);
    old = see(&f, &old.id);
    assert_int_equal(old.state, EVENT_DEAD);
    f.gone = NULL; /* it was created again */
    assert_rc(replay_one(&f, &old.id, false, NULL), 0);
    fix_close(&f);
}

static void test_payloads_of_every_size(void **state)
{
    static const size_t sizes[] = {0, 1, 1500, 2000, 2049, 4096, 100000, 1 << 20};
    struct fix f;
    char *p = malloc(1 << 20);
    (void)state;
    fix_open(&f);
    for (size_t i = 0; i < 1 << 20; i++)
        p[i] = (char)(i * 31 + i / 4096);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct id new_id;
        struct event ev = accept_event(&f, "orders", p, sizes[i]);
        ev = fail_for_good(&f, &ev, CONDITION_RETRIES_EXHAUSTED, NULL);
        assert_rc(replay_one(&f, &ev.id, false, &new_id), 0);
        struct event new = see(&f, &new_id);
        assert_payload(&f, &new, p, sizes[i]);
    }
    free(p);
    fix_close(&f);
}

static int drop_chunk(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    struct store_cursor *c;
    struct slice k, v;
    assert_rc(store_cursor_open(t, f->payload, &c), 0);
    assert_rc(store_cursor_last(c, &k, &v), 0);
    assert_rc(store_cursor_del(c), 0);
    store_cursor_close(c);
    return 0;
}

/* A letter that has lost its payload, wholly or in part, never comes back as an event with another one. */
static void test_lost_payload_is_not_replayed(void **state)
{
    struct fix f;
    struct dlq_replay_result r;
    static char p[50000];
    (void)state;
    fix_open(&f);
    struct event ev = accept_event(&f, "orders", p, sizeof p);
    ev = fail_for_good(&f, &ev, CONDITION_RETRIES_EXHAUSTED, NULL);
    in_txn(&f, drop_chunk, &f);
    struct event sound = die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    assert_rc(replay_one(&f, &ev.id, false, NULL), ERR_CORRUPT);
    assert_rc(replay_chunk(&f, &all, 0, 10, &r), 0); /* the others go on */
    assert_int_equal(r.replayed, 1);
    assert_int_equal(r.skipped, 1);
    ev = see(&f, &ev.id);
    assert_int_equal(ev.state, EVENT_DEAD);
    sound = see(&f, &sound.id);
    assert_int_equal(sound.state, EVENT_REPLAYED);
    assert_int_equal(books(&f).queued, 1);
    assert_rc(remove_one(&f, &ev.id), 0);
    fix_close(&f);
}

/* --- in bulk ------------------------------------------------------------------------------------------------------ */

static void kill_many(struct fix *f, int n)
{
    for (int i = 0; i < n; i++)
        (void)die(f, i % 2 == 0 ? "even" : "odd", "x", CONDITION_RETRIES_EXHAUSTED);
}

static void test_chunks_go_through_all(void **state)
{
    struct fix f;
    struct dlq_replay_result r;
    struct dlq_filter x = {.function = "even"};
    uint64_t cursor = 0, total = 0;
    int calls = 0;
    (void)state;
    fix_open(&f);
    kill_many(&f, 50);
    do {
        assert_rc(replay_chunk(&f, &x, cursor, 7, &r), 0);
        assert_true(r.replayed <= 7);
        total += r.replayed;
        cursor = r.cursor;
        x.until = r.until;
        calls++;
    } while (cursor != 0);
    assert_int_equal(total, 25);
    assert_int_equal(calls, 4);
    assert_int_equal(books(&f).queued, 25);
    assert_int_equal(books(&f).dead, 25);
    x = (struct dlq_filter){.function = "even"};
    assert_rc(replay_chunk(&f, &x, 0, 100, &r), 0); /* there is nothing left of them */
    assert_int_equal(r.replayed, 0);
    x.replayed_too = true; /* unless on purpose */
    assert_rc(replay_chunk(&f, &x, 0, 100, &r), 0);
    assert_int_equal(r.replayed, 25);
    fix_close(&f);
}

/* What dies again while the redrive goes on must not be replayed by it for ever. */
static void test_what_dies_meanwhile_is_left_alone(void **state)
{
    struct fix f;
    struct dlq_replay_result r;
    struct dlq_filter x = {0};
    uint64_t cursor = 0, total = 0;
    (void)state;
    fix_open(&f);
    kill_many(&f, 10);
    do {
        assert_rc(replay_chunk(&f, &x, cursor, 3, &r), 0);
        total += r.replayed;
        cursor = r.cursor;
        x.until = r.until;
        kill_many(&f, 3);
        assert_true(total <= 10);
    } while (cursor != 0);
    assert_int_equal(total, 10);
    assert_int_equal(books(&f).dead, 12);
    fix_close(&f);
}

static void test_a_crash_between_chunks_replays_none_twice(void **state)
{
    struct fix f;
    struct dlq_replay_result r;
    uint64_t total = 0;
    (void)state;
    fix_open(&f);
    kill_many(&f, 20);
    for (int i = 0; i < 6; i++) {
        assert_rc(replay_chunk(&f, &all, 0, 6, &r), 0); /* the cursor was lost with the process */
        total += r.replayed;
        fix_reopen(&f);
    }
    assert_int_equal(total, 20);
    struct books b = books(&f);
    assert_int_equal(b.accepted, 40);
    assert_int_equal(b.queued, 20);
    assert_int_equal(b.replayed, 20);
    fix_close(&f);
}

static void test_chunks_are_bounded(void **state)
{
    struct fix f;
    struct dlq_replay_result r;
    static char p[1 << 20];
    (void)state;
    fix_open(&f);
    for (int i = 0; i < 12; i++) {
        struct event ev = accept_event(&f, "orders", p, sizeof p);
        (void)fail_for_good(&f, &ev, CONDITION_RETRIES_EXHAUSTED, NULL);
    }
    assert_rc(replay_chunk(&f, &all, 0, UINT32_MAX, &r), 0);
    assert_int_equal(r.replayed, CHUNK_BYTES_MAX >> 20);
    assert_true(r.cursor != 0);
    assert_rc(replay_chunk(&f, &all, r.cursor, 0, &r), 0); /* nought would never end */
    assert_int_equal(r.replayed, 1);
    struct wait w;
    char name[QUEUE_NAME_MAX + 2];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    struct dlq_filter x = {.function = name};
    wait_init(&w);
    assert_rc(dlq_replay_chunk(f.d, &x, 0, 1, resolve, &f, on_replay, &w), ERR_INVALID);
    fix_close(&f);
}

/* --- every step made to fail -------------------------------------------------------------------------------------- */

static int countdown, fault_code;
static enum store_fault fault_at;

static int fault(enum store_fault at, void *arg)
{
    (void)arg;
    if (countdown == 0 || --countdown > 0)
        return 0;
    fault_at = at;
    return fault_code;
}

static void fail_each_step(int code)
{
    bool failed = true;
    for (int n = 1; failed; n++) {
        struct fix f;
        struct dlq_replay_result r;
        fix_open(&f);
        kill_many(&f, 4);
        f.fault = fault;
        countdown = 0;
        fix_reopen(&f);
        fault_code = code;
        countdown = n;
        int rc = replay_chunk(&f, &all, 0, 10, &r);
        failed = countdown == 0;
        countdown = 0;
        assert_int_equal(r.replayed, rc == 0 ? 4 : 0);
        if (code == ERR_IO || fault_at == STORE_FAULT_COMMITTED)
            fix_reopen(&f); /* the store has stopped for good; else it goes on with what it has in memory */
        struct books b = books(&f);
        assert_true(b.replayed == b.queued); /* a mark and its new event, or neither */
        assert_true(b.replayed == 0 || b.replayed == 4);
        if (rc == 0)
            assert_int_equal(b.replayed, 4);
        if (b.replayed == 0) { /* and nothing stands in the way of the next try */
            assert_rc(replay_chunk(&f, &all, 0, 10, &r), 0);
            assert_int_equal(r.replayed, 4);
        }
        fix_close(&f);
        assert_true(n < 500);
    }
}

static void test_no_memory_anywhere(void **state)
{
    (void)state;
    fail_each_step(ERR_NOMEM);
}

static void test_full_anywhere(void **state)
{
    (void)state;
    fail_each_step(ERR_FULL);
}

static void test_input_output_anywhere(void **state)
{
    (void)state;
    fail_each_step(ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_letter),
        cmocka_unit_test(test_twice_is_refused_unless_asked_for),
        cmocka_unit_test(test_unknown_and_living),
        cmocka_unit_test(test_function_gone),
        cmocka_unit_test(test_payloads_of_every_size),
        cmocka_unit_test(test_lost_payload_is_not_replayed),
        cmocka_unit_test(test_chunks_go_through_all),
        cmocka_unit_test(test_what_dies_meanwhile_is_left_alone),
        cmocka_unit_test(test_a_crash_between_chunks_replays_none_twice),
        cmocka_unit_test(test_chunks_are_bounded),
        cmocka_unit_test(test_no_memory_anywhere),
        cmocka_unit_test(test_full_anywhere),
        cmocka_unit_test(test_input_output_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
