/* The ready order: its windows, a function's own, and what happens to a record that cannot be read. */
#include "fixture.h"

struct window {
    uint64_t seqs[64];
    size_t n;
    size_t n_payloads;
};

static void collect(const struct event *ev, const void *payload, size_t len, void *arg)
{
    struct window *w = arg;
    (void)len;
    assert_true(w->n < 64);
    w->seqs[w->n++] = ev->seq;
    w->n_payloads += payload != NULL;
}

static struct window fetch(struct fix *f, uint64_t fid, uint64_t after, uint32_t max_n, size_t max_bytes, bool *more)
{
    struct window w = {.n = 0};
    assert_rc(queue_fetch_ready(f->q, fid, after, max_n, max_bytes, collect, &w, more), 0);
    return w;
}

static void windows(void **state)
{
    (void)state;
    struct fix f;
    bool more;
    fix_open(&f);
    for (int i = 0; i < 10; i++)
        (void)do_accept(&f, 1 + (uint64_t)i % 2, "0123456789"); /* odd seqs are function 1's */
    struct window w = fetch(&f, 1, 0, 3, 1000, &more);
    assert_int_equal(w.n, 3);
    assert_int_equal(w.seqs[0], 1);
    assert_int_equal(w.seqs[2], 5);
    assert_int_equal(w.n_payloads, 3);
    assert_true(more);
    w = fetch(&f, 1, 5, 3, 1000, &more);
    assert_int_equal(w.n, 2);
    assert_int_equal(w.seqs[0], 7);
    assert_false(more);
    w = fetch(&f, 1, 0, 5, 1000, &more);
    assert_int_equal(w.n, 5);
    assert_false(more); /* exactly all */
    w = fetch(&f, 1, 0, 10, 15, &more);
    assert_int_equal(w.n, 2);
    assert_true(more);
    w = fetch(&f, 1, 0, 10, 0, &more);
    assert_int_equal(w.n, 1); /* at least one, whatever its size */
    w = fetch(&f, 9, 0, 10, 1000, &more);
    assert_int_equal(w.n, 0);
    assert_false(more);
    fix_close(&f);
}

static void a_long_payload_is_not_handed_along(void **state)
{
    (void)state;
    struct fix f;
    bool more;
    char big[PAYLOAD_INLINE_MAX + 1];
    fix_open(&f);
    memset(big, 'x', sizeof big);
    assert_rc(try_accept(&f, 1, big, sizeof big, NULL), 0);
    struct window w = fetch(&f, 1, 0, 10, 100, &more);
    assert_int_equal(w.n, 1);
    assert_int_equal(w.n_payloads, 0);
    fix_close(&f);
}

static void a_requeued_event_keeps_its_place(void **state)
{
    (void)state;
    struct fix f;
    bool more;
    fix_open(&f);
    for (int i = 0; i < 3; i++)
        (void)do_accept(&f, 1, "x");
    uint64_t run = do_start(&f, 1);
    assert_int_equal(fetch(&f, 1, 0, 10, 100, &more).seqs[0], 2);
    struct settle s = {.seq = 1, .fid = 1, .run = run, .verdict = VERDICT_REQUEUE};
    assert_rc(try_settle(&f, &s, NULL), 0);
    assert_int_equal(fetch(&f, 1, 0, 10, 100, &more).seqs[0], 1);
    (void)do_start(&f, 1);
    fix_reopen(&f);
    assert_int_equal(fetch(&f, 1, 0, 10, 100, &more).seqs[0], 1);
    do_fail_and_wait(&f, 1, 1, 5);
    (void)clock_advance(&f.clock, 5);
    assert_int_equal(do_promote(&f, 10), 1);
    assert_int_equal(fetch(&f, 1, 0, 10, 100, &more).seqs[0], 1);
    fix_close(&f);
}

struct damage {
    struct store_table *tab;
    struct key k;
};

static int flip(struct store_txn *t, void *arg)
{
    const struct damage *d = arg;
    struct slice v;
    char copy[4096];
    int rc = store_get(t, d->tab, d->k.b, d->k.len, &v);
    if (rc < 0)
        return rc;
    assert_true(v.len <= sizeof copy && v.len > 0);
    memcpy(copy, v.p, v.len);
    copy[v.len - 1] = (char)(copy[v.len - 1] ^ 1);
    return store_put(t, d->tab, d->k.b, d->k.len, copy, v.len, 0);
}

static void damage_event(struct fix *f, uint64_t seq)
{
    struct damage d = {f->q->event, key_u64(seq)};
    assert_rc(try_txn(f, flip, &d), 0);
}

static void assert_corrupt_letter(struct fix *f, const struct id *id)
{
    struct event got = see(f, id);
    struct buf b;
    buf_init(&b, 10000);
    assert_int_equal(got.state, EVENT_DEAD);
    assert_int_equal(got.condition, CONDITION_CORRUPT);
    assert_rc(queue_payload(f->q, got.seq, &b), 0);
    assert_non_null(memmem(b.data, b.len, "find me", 7)); /* the raw record is what can still be read */
    buf_done(&b);
    assert_sound(f);
}

static void a_bad_record_costs_itself_only(void **state)
{
    (void)state;
    struct fix f;
    bool more;
    fix_open(&f);
    struct event ev[3];
    for (int i = 0; i < 3; i++)
        ev[i] = do_accept(&f, 1, "find me!");
    damage_event(&f, 2);
    struct window w = fetch(&f, 1, 0, 10, 1000, &more);
    assert_int_equal(w.n, 2);
    assert_int_equal(w.seqs[1], 3);
    barrier(&f);
    assert_corrupt_letter(&f, &ev[1].id);
    assert_int_equal(f.n_dead, 1);
    fix_close(&f);
}

static void a_record_gone_bad_while_it_ran_or_waited(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event a = do_accept(&f, 1, "find me!"), b = do_accept(&f, 1, "find me!"), c = do_accept(&f, 1, "find me!");
    uint64_t run = do_start(&f, a.seq);
    damage_event(&f, a.seq);
    struct settle s = a_failure(a.seq, 1, run, VERDICT_WAIT);
    s.wait_ms = 10;
    s.due_at_ms = FIX_EPOCH + 10;
    assert_rc(try_settle(&f, &s, NULL), 0);
    assert_corrupt_letter(&f, &a.id);
    do_fail_and_wait(&f, b.seq, 1, 10);
    damage_event(&f, b.seq);
    (void)clock_advance(&f.clock, 10);
    assert_int_equal(do_promote(&f, 10), 1);
    assert_corrupt_letter(&f, &b.id);
    (void)do_start(&f, c.seq);
    damage_event(&f, c.seq);
    fix_reopen(&f);
    assert_corrupt_letter(&f, &c.id);
    fix_close(&f);
}

struct leave {
    struct queue *q;
    uint64_t seq;
};

static int remove_dead(struct store_txn *t, void *arg)
{
    const struct leave *x = arg;
    return queue_dead_removed_in(x->q, t, x->seq);
}

/* What the damaged record pointed to goes with it: no chunk and no attempt is left behind. */
static void a_corrupt_letter_leaves_nothing_behind(void **state)
{
    (void)state;
    struct fix f;
    bool more;
    char big[5000];
    struct event ev;
    fix_open(&f);
    memset(big, 'x', sizeof big);
    assert_rc(try_accept(&f, 1, big, sizeof big, &ev), 0);
    do_fail_and_wait(&f, ev.seq, 1, 10);
    (void)clock_advance(&f.clock, 10);
    assert_int_equal(do_promote(&f, 1), 1);
    damage_event(&f, ev.seq);
    (void)fetch(&f, 1, 0, 10, 1000, &more);
    barrier(&f);
    struct leave x = {f.q, ev.seq};
    assert_rc(try_txn(&f, remove_dead, &x), 0);
    struct store_txn *t;
    assert_rc(store_read_begin(f.store, &t), 0);
    assert_int_equal(store_count(t, f.q->payload), 0);
    assert_int_equal(store_count(t, f.q->attempt), 0);
    assert_int_equal(store_count(t, f.q->event), 0);
    assert_int_equal(store_count(t, f.q->ids), 0);
    store_read_end(t);
    fix_close(&f);
}

/* Which functions have what, from the counters: never a walk. */
static void a_function(uint64_t fid, uint64_t queued, uint64_t waiting, void *arg)
{
    uint64_t *sum = arg;
    *sum += fid * 100 + queued * 10 + waiting;
}

static void functions(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    (void)do_accept(&f, 1, "x");
    (void)do_accept(&f, 1, "x");
    (void)do_accept(&f, 7, "x");
    do_fail_and_wait(&f, 1, 1, 100);
    do_done(&f, 3, 7, do_start(&f, 3));
    uint64_t sum = 0;
    assert_rc(queue_functions(f.q, a_function, &sum), 0);
    assert_int_equal(sum, 111);
    struct queue_function_stats st;
    assert_rc(queue_function_stats(f.q, 1, &st), 0);
    assert_int_equal(st.queued, 1);
    assert_int_equal(st.waiting, 1);
    assert_rc(queue_function_stats(f.q, 99, &st), 0);
    assert_int_equal(st.queued + st.running + st.waiting + st.dead, 0);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows),
        cmocka_unit_test(a_long_payload_is_not_handed_along),
        cmocka_unit_test(a_requeued_event_keeps_its_place),
        cmocka_unit_test(a_bad_record_costs_itself_only),
        cmocka_unit_test(a_record_gone_bad_while_it_ran_or_waited),
        cmocka_unit_test(a_corrupt_letter_leaves_nothing_behind),
        cmocka_unit_test(functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
