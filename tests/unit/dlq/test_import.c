/* Letters from elsewhere: in whole or not at all, once, with everything that is known of them. */
#include "dlq_test.h"

static struct queue_import a_letter(struct fix *f, const char *name, const void *payload, size_t len)
{
    static const struct attempt attempts[] = {{.started_at_ms = 5,
                                               .ended_at_ms = 9,
                                               .outcome = OUTCOME_TIMEOUT,
                                               .error_type = "Slow",
                                               .error_message = "too slow",
                                               .error = "{\"a\":1}",
                                               .error_len = 7,
                                               .exit_code = -1,
                                               .version = "$LATEST"},
                                              {.started_at_ms = 15, .ended_at_ms = 19, .exit_code = 3, .version = "7"}};
    struct queue_import l = {.ev = {.id = id_new(&f->ids, FIX_EPOCH),
                                    .state = EVENT_DEAD,
                                    .qualifier = "live",
                                    .condition = CONDITION_RETRIES_EXHAUSTED,
                                    .accepted_at_ms = 1000,
                                    .ended_at_ms = 2000,
                                    .attempts = 3,
                                    .disruptions = 1},
                             .attempts = attempts,
                             .n_attempts = 2,
                             .payload = payload,
                             .payload_len = len};
    (void)snprintf(l.ev.name, sizeof l.ev.name, "%s", name);
    return l;
}

struct waiting {
    struct wait w;
    struct dlq_import_result r;
};

static void on_import(int err, const struct dlq_import_result *r, void *arg)
{
    struct waiting *x = arg;
    x->r = *r;
    wait_tell(&x->w, err);
}

static int import(struct fix *f, const struct queue_import *l, size_t n, struct dlq_import_result *ret)
{
    struct waiting x;
    wait_init(&x.w);
    int rc = wait_end(&x.w, dlq_import(f->d, l, n, on_import, &x));
    *ret = x.r;
    return rc;
}

static void count_attempt(const struct attempt *a, void *arg)
{
    int *n = arg;
    assert_int_equal(a->outcome, *n == 0 ? OUTCOME_TIMEOUT : OUTCOME_SUCCESS);
    assert_int_equal(a->exit_code, *n == 0 ? -1 : 3);
    if (*n == 0)
        assert_memory_equal(a->error, "{\"a\":1}", 7);
    (*n)++;
}

static void as_it_was(void **state)
{
    (void)state;
    struct fix f;
    struct dlq_import_result r;
    int n = 0;
    char *big = calloc(1, 300000);
    fix_open(&f);
    (void)die(&f, "hello", "here", CONDITION_RETRIES_EXHAUSTED);
    struct queue_import l[] = {a_letter(&f, "hello", "a\0b", 3), a_letter(&f, "nobody", big, 300000),
                               a_letter(&f, "hello", "", 0)};
    l[2].ev.state = EVENT_REPLAYED;
    l[2].ev.replayed_as = id_new(&f.ids, FIX_EPOCH);
    assert_rc(import(&f, l, 3, &r), 0);
    assert_int_equal(r.imported, 3);
    assert_int_equal(r.next, 3);
    struct books b = books(&f);
    assert_int_equal(b.accepted, 4);
    assert_int_equal(b.dead, 3);
    assert_int_equal(b.replayed, 1);
    assert_int_equal(stats(&f).replayed, 1);
    assert_sound(&f);
    fix_reopen(&f);
    struct event ev = see(&f, &l[0].ev.id);
    assert_int_equal(ev.accepted_at_ms, 1000);
    assert_int_equal(ev.ended_at_ms, 2000);
    assert_int_equal(ev.attempts, 3);
    assert_int_equal(ev.disruptions, 1);
    assert_payload(&f, &ev, "a\0b", 3);
    assert_rc(queue_find(f.q, &l[0].ev.id, &ev, count_attempt, &n), 0);
    assert_int_equal(n, 2);
    ev = see(&f, &l[1].ev.id);
    assert_payload(&f, &ev, big, 300000);
    free(big);
    /* Twice does no harm, and a letter that was taken out can come in again. */
    assert_rc(import(&f, l, 3, &r), 0);
    assert_int_equal(r.known, 3);
    assert_int_equal(r.imported, 0);
    assert_rc(remove_one(&f, &l[0].ev.id), 0);
    assert_rc(import(&f, l, 1, &r), 0);
    assert_int_equal(r.imported, 1);
    /* Replay takes the function that has the name now. */
    struct id as;
    f.gone = "nobody";
    assert_rc(replay_one(&f, &l[1].ev.id, false, &as), ERR_NOTFOUND);
    assert_rc(replay_one(&f, &l[0].ev.id, false, &as), 0);
    assert_rc(replay_one(&f, &l[2].ev.id, false, &as), ERR_CONFLICT); /* it was, elsewhere */
    fix_close(&f);
}

/* The second of a pair has the first one's id. */
static void twins(void **state)
{
    (void)state;
    struct fix f;
    struct dlq_import_result r;
    fix_open(&f);
    struct queue_import l[] = {a_letter(&f, "hello", "x", 1), a_letter(&f, "hello", "y", 1)};
    l[1].ev.id = l[0].ev.id;
    assert_rc(import(&f, l, 2, &r), 0);
    assert_int_equal(r.imported, 1);
    assert_int_equal(r.known, 1);
    fix_close(&f);
}

static void no_room(void **state)
{
    (void)state;
    struct fix f;
    struct dlq_import_result r;
    fix_open(&f);
    f.opts.max_bytes = 3000;
    fix_reopen(&f);
    struct queue_import l[8];
    for (int i = 0; i < 8; i++)
        l[i] = a_letter(&f, "hello", "x", 1);
    assert_rc(import(&f, l, 8, &r), 0);
    assert_in_range(r.imported, 1, 7);
    assert_int_equal(r.next, r.imported);
    assert_int_equal(books(&f).dead, r.imported);
    fix_close(&f);
}

/* Retention counts from the import: what is old is not gone at once. */
static void kept_from_now(void **state)
{
    (void)state;
    struct fix f;
    struct dlq_import_result r;
    fix_open(&f);
    struct queue_import l = a_letter(&f, "hello", "x", 1);
    assert_rc(import(&f, &l, 1, &r), 0);
    assert_int_equal(retention(&f, 10), 0);
    (void)clock_advance(&f.clock, 999999);
    fix_reopen(&f);
    assert_int_equal(retention(&f, 10), 0);
    (void)clock_advance(&f.clock, 2);
    assert_int_equal(retention(&f, 10), 1);
    fix_close(&f);
}

/* The bytes of both versions of a letter's record, as they were first written. */
static void golden(void **state)
{
    (void)state;
    struct letter l = {.seq = 7, .bytes = 600, .error_type = "T", .error_message = "m"}, back;
    struct buf b;
    uint8_t key[8];
    buf_init(&b, LETTER_RECORD_MAX);
    store_put_u64(key, 3);
    for (int v = 1; v <= 2; v++) {
        l.kept_from_ms = v == 2 ? 1000 : 0;
        assert_rc(letter_encode(&b, &l), 0);
        static const uint8_t body1[] = {0x94, 0x07, 0xcd, 0x02, 0x58, 0xc4, 0x01, 'T', 0xc4, 0x01, 'm'};
        static const uint8_t body2[] = {0x95, 0x07, 0xcd, 0x02, 0x58, 0xc4, 0x01,
                                        'T',  0xc4, 0x01, 'm',  0xcd, 0x03, 0xe8};
        size_t len = v == 1 ? sizeof body1 : sizeof body2;
        assert_int_equal(b.len, 5 + len);
        assert_int_equal(b.data[0], v);
        assert_memory_equal(b.data + 5, v == 1 ? body1 : body2, len);
        assert_rc(letter_decode((struct slice){key, 8}, (struct slice){b.data, b.len}, &back), 0);
        assert_int_equal(back.kept_from_ms, l.kept_from_ms);
        assert_int_equal(back.seq, 7);
        assert_string_equal(back.error_message, "m");
    }
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_it_was),     cmocka_unit_test(twins),  cmocka_unit_test(no_room),
        cmocka_unit_test(kept_from_now), cmocka_unit_test(golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
