#include "dlq_test.h"

static const struct dlq_filter all = {0};

static void test_empty(void **state)
{
    struct fix f;
    struct id id = id_random();
    struct seen *s = calloc(1, sizeof *s);
    (void)state;
    fix_open(&f);
    assert_int_equal(list_all(&f, &all, 10, s), 1);
    assert_int_equal(s->n, 0);
    assert_rc(dlq_find(f.d, &id, note_letter, s), ERR_NOTFOUND);
    struct dlq_stats st = stats(&f);
    assert_int_equal(st.letters + st.replayed + st.bytes, 0);
    assert_int_equal(st.max_bytes, 64u << 20);
    assert_false(st.full);
    free(s);
    fix_close(&f);
}

static void test_a_letter_tells_what_happened(void **state)
{
    struct fix f;
    struct seen *s = calloc(1, sizeof *s);
    (void)state;
    fix_open(&f);
    struct event ev = accept_event(&f, "orders", "{\"n\":1}", 7);
    (void)clock_advance(&f.clock, 5000);
    ev = fail_for_good(&f, &ev, CONDITION_RETRIES_EXHAUSTED, "last words");
    fix_reopen(&f); /* it is on disk */
    assert_rc(dlq_find(f.d, &ev.id, note_letter, s), 0);
    assert_int_equal(s->n, 1);
    const struct event *got = &s->ev[0];
    assert_int_equal(id_cmp(&got->id, &ev.id), 0);
    assert_int_equal(got->state, EVENT_DEAD);
    assert_int_equal(got->condition, CONDITION_RETRIES_EXHAUSTED);
    assert_int_equal(got->accepted_at_ms, FIX_EPOCH);
    assert_int_equal(got->ended_at_ms, FIX_EPOCH + 5000);
    assert_int_equal(got->attempts, 1);
    assert_int_equal(got->payload_len, 7);
    assert_string_equal(got->name, "orders");
    assert_string_equal(got->qualifier, "live");
    assert_string_equal(got->trace, "Root=1-2-3");
    assert_string_equal(s->type, "Boom");
    assert_string_equal(s->message, "it broke \xff\x01");
    assert_payload(&f, got, "{\"n\":1}", 7);
    assert_int_equal(books(&f).dead, 1);
    free(s);
    fix_close(&f);
}

static void test_a_letter_without_an_attempt(void **state)
{
    struct fix f;
    struct wait w;
    struct seen *s = calloc(1, sizeof *s);
    (void)state;
    fix_open(&f);
    struct event ev = accept_event(&f, "orders", "", 0);
    wait_init(&w);
    assert_rc(wait_end(&w, queue_expire(f.q, ev.seq, CONDITION_EVENT_AGE_EXCEEDED, on_event, &w)), 0);
    assert_rc(dlq_find(f.d, &ev.id, note_letter, s), 0);
    assert_int_equal(s->ev[0].condition, CONDITION_EVENT_AGE_EXCEEDED);
    assert_string_equal(s->type, "");
    assert_string_equal(s->message, "");
    free(s);
    fix_close(&f);
}

static void test_only_the_dead_are_letters(void **state)
{
    struct fix f;
    struct seen *s = calloc(1, sizeof *s);
    (void)state;
    fix_open(&f);
    struct event ev = accept_event(&f, "orders", "x", 1);
    assert_rc(dlq_find(f.d, &ev.id, note_letter, s), ERR_NOTFOUND);
    assert_int_equal(count_letters(&f, &all), 0);
    free(s);
    fix_close(&f);
}

static void test_pages_are_complete_and_in_order_of_death(void **state)
{
    enum { N = 25 };
    struct fix f;
    struct event first[N];
    struct seen *s = calloc(1, sizeof *s);
    (void)state;
    fix_open(&f);
    for (int i = 0; i < N; i++)
        first[i] = accept_event(&f, "orders", "x", 1);
    for (int i = N - 1; i >= 0; i--) /* they die the other way round */
        first[i] = fail_for_good(&f, &first[i], CONDITION_RETRIES_EXHAUSTED, NULL);
    for (uint32_t page = 1; page <= 30; page += 3) {
        int pages = list_all(&f, &all, page, s);
        assert_int_equal(s->n, N);
        assert_int_equal(pages, (N + (int)page - 1) / (int)page);
        for (int i = 0; i < N; i++)
            assert_int_equal(s->ev[i].seq, first[N - 1 - i].seq);
    }
    free(s);
    fix_close(&f);
}

static void test_filters(void **state)
{
    struct fix f;
    (void)state;
    fix_open(&f);
    for (int i = 0; i < 6; i++)
        (void)die(&f, i % 3 == 0 ? "alpha" : "beta", "x",
                  i % 2 == 0 ? CONDITION_RETRIES_EXHAUSTED : CONDITION_EVENT_AGE_EXCEEDED);
    struct event gone = die(&f, "alpha", "x", CONDITION_RETRIES_EXHAUSTED);
    assert_rc(replay_one(&f, &gone.id, false, NULL), 0);
    struct dlq_filter x = {.function = ""};
    assert_int_equal(count_letters(&f, &x), 6);
    x.replayed_too = true;
    assert_int_equal(count_letters(&f, &x), 7);
    x = (struct dlq_filter){.function = "alpha"};
    assert_int_equal(count_letters(&f, &x), 2);
    x.replayed_too = true;
    assert_int_equal(count_letters(&f, &x), 3);
    x = (struct dlq_filter){.function = "beta", .condition = CONDITION_RETRIES_EXHAUSTED};
    assert_int_equal(count_letters(&f, &x), 2);
    x = (struct dlq_filter){.condition = CONDITION_EVENT_AGE_EXCEEDED};
    assert_int_equal(count_letters(&f, &x), 3);
    x = (struct dlq_filter){.function = "alph"};
    assert_int_equal(count_letters(&f, &x), 0);
    x = (struct dlq_filter){.until = 4};
    assert_int_equal(count_letters(&f, &x), 3);
    fix_close(&f);
}

/* A call looks at a bounded number of letters, however few match: the page is short, and there is a cursor. */
static void test_looking_is_bounded(void **state)
{
    struct fix f;
    struct seen *s = calloc(1, sizeof *s);
    struct dlq_filter rare = {.function = "rare"};
    uint64_t cursor = 0;
    (void)state;
    fix_open(&f);
    for (int i = 0; i < LOOK_MAX + 1; i++)
        (void)die(&f, "common", "x", CONDITION_RETRIES_EXHAUSTED);
    (void)die(&f, "rare", "x", CONDITION_RETRIES_EXHAUSTED);
    assert_rc(dlq_list(f.d, &rare, 0, 10, note_letter, s, &cursor), 0);
    assert_int_equal(s->n, 0);
    assert_true(cursor != 0);
    assert_rc(dlq_list(f.d, &rare, cursor, 10, note_letter, s, &cursor), 0);
    assert_int_equal(s->n, 1);
    assert_true(cursor == 0);
    struct dlq_replay_result r;
    assert_rc(replay_chunk(&f, &rare, 0, 10, &r), 0);
    assert_int_equal(r.replayed, 0);
    assert_true(r.cursor != 0);
    assert_rc(replay_chunk(&f, &rare, r.cursor, 10, &r), 0);
    assert_int_equal(r.replayed, 1);
    assert_true(r.cursor == 0);
    free(s);
    fix_close(&f);
}

static void test_read_only(void **state)
{
    struct fix f;
    struct err e;
    struct seen *s = calloc(1, sizeof *s);
    (void)state;
    fix_open(&f);
    struct event ev = die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    fix_stop(&f);
    struct store_opts so = {.read_only = true};
    assert_ok(store_open(&f.store, tmpdir_path(&f.dir, "queue"), &so, &e), &e);
    assert_ok(queue_open_read_only(&f.q, f.store, &e), &e);
    assert_ok(dlq_open_read_only(&f.d, f.q, &e), &e);
    assert_rc(dlq_find(f.d, &ev.id, note_letter, s), 0);
    assert_int_equal(count_letters(&f, &all), 1);
    assert_int_equal(stats(&f).letters, 1);
    free(s);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_a_letter_tells_what_happened),
        cmocka_unit_test(test_a_letter_without_an_attempt),
        cmocka_unit_test(test_only_the_dead_are_letters),
        cmocka_unit_test(test_pages_are_complete_and_in_order_of_death),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_looking_is_bounded),
        cmocka_unit_test(test_read_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
