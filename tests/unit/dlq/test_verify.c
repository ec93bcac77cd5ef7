/* Every kind of damage, made on purpose: verify must tell of it, and what is sound must go on. */
#include "dlq_test.h"

static const struct dlq_filter all = {0};

static uint8_t *place_key(uint64_t place)
{
    static uint8_t key[8];
    store_put_u64(key, place);
    return key;
}

/* One byte of the body of letter 2 turned. */
static int spoil_letter(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    struct slice v;
    char copy[LETTER_RECORD_MAX];
    assert_rc(store_get(t, f->d->dead, place_key(2), 8, &v), 0);
    memcpy(copy, v.p, v.len);
    copy[v.len - 3] ^= 1;
    return store_put(t, f->d->dead, place_key(2), 8, copy, v.len, 0);
}

static int drop_letter(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    return store_del(t, f->d->dead, place_key(2), 8);
}

static int drop_way(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    struct store_cursor *c;
    struct slice k, v;
    assert_rc(store_cursor_open(t, f->d->deadseq, &c), 0);
    assert_rc(store_cursor_last(c, &k, &v), 0);
    assert_rc(store_cursor_del(c), 0);
    store_cursor_close(c);
    return 0;
}

static int cross_ways(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    struct store_cursor *c;
    struct slice k, v;
    uint8_t key[8];
    assert_rc(store_cursor_open(t, f->d->deadseq, &c), 0);
    assert_rc(store_cursor_seek(c, NULL, 0, &k, &v), 0);
    memcpy(key, k.p, sizeof key);
    store_cursor_close(c);
    return store_put(t, f->d->deadseq, key, sizeof key, place_key(3), 8, 0);
}

/* A letter of an event that is alive. */
static int bury_alive(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    struct slice v;
    struct letter l;
    struct buf b;
    assert_rc(store_get(t, f->d->dead, place_key(1), 8, &v), 0);
    assert_rc(letter_decode((struct slice){place_key(1), 8}, v, &l), 0);
    l.seq = 4; /* accepted by the test below */
    buf_init(&b, LETTER_RECORD_MAX);
    assert_rc(letter_encode(&b, &l), 0);
    assert_rc(store_put(t, f->d->dead, place_key(1), 8, b.data, b.len, 0), 0);
    buf_done(&b);
    return 0;
}

static int write_totals(struct store_txn *t, struct fix *f, const struct totals *n)
{
    struct buf b;
    buf_init(&b, 200);
    assert_rc(totals_encode(&b, n), 0);
    int rc = store_put(t, f->d->meta, "totals", 6, b.data, b.len, 0);
    buf_done(&b);
    return rc;
}

static int wrong_totals(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    struct totals n;
    assert_rc(dlq_totals_in(f->d, t, &n), 0);
    n.bytes++;
    return write_totals(t, f, &n);
}

static int wrong_place(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    struct totals n;
    assert_rc(dlq_totals_in(f->d, t, &n), 0);
    n.next_place = 2;
    return write_totals(t, f, &n);
}

static int drop_totals(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    return store_put(t, f->d->meta, "totals", 6, "rubbish", 7, 0);
}

static void expect_finding(store_run_cb *damage, const char *part)
{
    struct fix f;
    struct findings x = {0};
    fix_open(&f);
    for (int i = 0; i < 3; i++)
        (void)die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    (void)accept_event(&f, "orders", "x", 1);
    assert_sound(&f);
    in_txn(&f, damage, &f);
    find_dlq(&f, &x);
    if (x.n == 0 || strstr(x.text, part) == NULL)
        fail_msg("%" PRIu64 " findings, none says \"%s\":\n%s", x.n, part, x.text);
    fix_discard(&f);
}

static void test_damage_is_found(void **state)
{
    (void)state;
    expect_finding(spoil_letter, "dead letter 2: cannot be read (ERR_CORRUPT)");
    expect_finding(drop_letter, "2 letters and 3 ways to them");
    expect_finding(drop_way, "does not lead to it");
    expect_finding(cross_ways, "does not lead to it");
    expect_finding(bury_alive, "is queued");
    expect_finding(wrong_totals, "the totals say");
    expect_finding(wrong_place, "has passed");
    expect_finding(drop_totals, "the totals cannot be read");
    expect_finding(drop_letter, "books: dead 3");
}

/* A letter that cannot be read costs itself only. */
static void test_the_others_go_on(void **state)
{
    struct fix f;
    struct dlq_replay_result r;
    uint64_t cursor;
    (void)state;
    fix_open(&f);
    for (int i = 0; i < 3; i++)
        (void)die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    in_txn(&f, spoil_letter, &f);
    assert_int_equal(count_letters(&f, &all), 2);
    assert_rc(replay_chunk(&f, &all, 0, 10, &r), 0);
    assert_int_equal(r.replayed, 2);
    struct dlq_filter replayed = {.replayed_too = true};
    assert_int_equal(remove_chunk(&f, &replayed, 0, 10, &cursor), 2);
    fix_discard(&f);
}

static void test_unreadable_totals_are_refused_at_the_door(void **state)
{
    struct fix f;
    struct err e;
    struct queue_opts qo = {.clock = &f.clock};
    struct store_opts so = {.max_bytes = 256u << 20};
    (void)state;
    fix_open(&f);
    (void)die(&f, "orders", "x", CONDITION_RETRIES_EXHAUSTED);
    in_txn(&f, drop_totals, &f);
    fix_stop(&f);
    assert_ok(store_open(&f.store, tmpdir_path(&f.dir, "queue"), &so, &e), &e);
    assert_ok(queue_open(&f.q, f.store, &qo, &e), &e);
    assert_err(dlq_open(&f.d, f.q, &f.opts, &e), ERR_CORRUPT, &e, "totals");
    f.d = NULL;
    fix_discard(&f);
}

static void test_records_round_trip(void **state)
{
    struct letter a, b;
    struct buf buf;
    (void)state;
    memset(&a, 0, sizeof a);
    a.place = 77;
    a.seq = UINT64_MAX;
    a.bytes = 123456789;
    memset(a.error_type, 't', QUEUE_TYPE_MAX);
    memset(a.error_message, '\xff', QUEUE_MESSAGE_MAX);
    buf_init(&buf, LETTER_RECORD_MAX);
    assert_rc(letter_encode(&buf, &a), 0);
    struct slice v = {buf.data, buf.len};
    assert_rc(letter_decode((struct slice){place_key(77), 8}, v, &b), 0);
    assert_int_equal(b.place, 77);
    assert_true(b.seq == UINT64_MAX);
    assert_int_equal(b.bytes, 123456789);
    assert_string_equal(b.error_type, a.error_type);
    assert_string_equal(b.error_message, a.error_message);
    for (size_t n = 0; n < buf.len; n++) /* cut anywhere, it is no letter */
        assert_rc(letter_decode((struct slice){place_key(77), 8}, (struct slice){buf.data, n}, &b), ERR_CORRUPT);
    assert_rc(letter_decode((struct slice){place_key(77), 7}, v, &b), ERR_CORRUPT);
    buf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damage_is_found),
        cmocka_unit_test(test_the_others_go_on),
        cmocka_unit_test(test_unreadable_totals_are_refused_at_the_door),
        cmocka_unit_test(test_records_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
