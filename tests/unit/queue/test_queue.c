/* The life of an event: every row of the table, against a real store. */
#include "fixture.h"

static void accepted_is_stored_and_told(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event ev = do_accept(&f, 3, "hello"), got;
    barrier(&f);
    assert_int_equal(ev.seq, 1);
    assert_int_equal(ev.state, EVENT_QUEUED);
    assert_int_equal(ev.accepted_at_ms, FIX_EPOCH);
    assert_int_equal(f.n_ready, 1);
    assert_true(f.last_had_payload);
    assert_int_equal(f.last_payload_len, 5);
    assert_memory_equal(f.last_payload, "hello", 5);
    got = see(&f, &ev.id);
    assert_string_equal(got.name, "f3");
    assert_string_equal(got.qualifier, "live");
    assert_int_equal(got.payload_len, 5);
    fix_reopen(&f);
    got = see(&f, &ev.id);
    assert_int_equal(got.state, EVENT_QUEUED);
    assert_int_equal(do_accept(&f, 3, "x").seq, 2);
    fix_close(&f);
}

/* Lengths on both sides of every border: inline, one chunk, several, a last piece of one byte. */
static void payloads_come_back_verbatim(void **state)
{
    (void)state;
    const size_t lens[] = {0,
                           1,
                           PAYLOAD_INLINE_MAX,
                           PAYLOAD_INLINE_MAX + 1,
                           PAYLOAD_CHUNK,
                           PAYLOAD_CHUNK + 1,
                           3 * PAYLOAD_CHUNK,
                           3 * PAYLOAD_CHUNK + 1,
                           1 << 20};
    struct fix f;
    fix_open(&f);
    char *p = malloc(1 << 20);
    assert_non_null(p);
    uint64_t seed = 1;
    for (size_t i = 0; i < 1 << 20; i++)
        p[i] = (char)test_rand(&seed);
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct event ev;
        struct buf b;
        buf_init(&b, 2 << 20);
        assert_rc(try_accept(&f, 1, p, lens[i], &ev), 0);
        assert_rc(queue_payload(f.q, ev.seq, &b), 0);
        assert_int_equal(b.len, lens[i]);
        assert_memory_equal(b.data, p, lens[i]);
        buf_done(&b);
    }
    free(p);
    fix_close(&f);
}

static void names_over_their_limit_are_refused(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    char name[QUEUE_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    struct queue_new in = {.id = id_new(&f.ids, FIX_EPOCH), .fid = 1, .name = name};
    assert_rc(queue_accept(f.q, &in, wait_event, NULL), ERR_TOOBIG);
    assert_int_equal(see_books(&f).accepted, 0);
    fix_close(&f);
}

static void an_id_is_accepted_once(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "a");
    struct queue_new in = {.id = ev.id, .fid = 1, .name = "f1", .payload = "b", .payload_len = 1};
    struct wait w;
    wait_init(&w);
    assert_rc(wait_end(&w, queue_accept(f.q, &in, wait_event, &w)), ERR_EXISTS);
    assert_int_equal(see_books(&f).accepted, 1);
    fix_close(&f);
}

static void many_are_accepted_in_order_or_not_at_all(void **state)
{
    (void)state;
    enum { N = 5 };
    struct fix f;
    struct queue_new in[N];
    struct wait w;
    fix_open(&f);
    for (size_t i = 0; i < N; i++)
        in[i] = (struct queue_new){
            .id = id_new(&f.ids, FIX_EPOCH), .fid = 1, .name = "f1", .payload = &"abcde"[i], .payload_len = 1};
    struct id last = in[N - 1].id;
    in[N - 1].id = in[0].id; /* the last one fails, after the others were written */
    wait_init(&w);
    assert_rc(wait_end(&w, queue_accept_many(f.q, in, N, wait_event, &w)), ERR_EXISTS);
    barrier(&f);
    assert_int_equal(see_books(&f).accepted, 0);
    assert_int_equal(f.n_ready, 0);
    assert_sound(&f);
    in[N - 1].id = last;
    wait_init(&w);
    assert_rc(wait_end(&w, queue_accept_many(f.q, in, N, wait_event, &w)), 0);
    barrier(&f);
    assert_int_equal(f.n_ready, N);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(see(&f, &in[i].id).seq, i + 1);
        assert_int_equal(f.ready[i], i + 1);
    }
    assert_memory_equal(f.last_payload, "e", 1);
    assert_rc(queue_accept_many(f.q, in, 0, wait_event, NULL), ERR_TOOBIG);
    fix_close(&f);
}

/* A thousand small events are no small op: the reserve is for those that are in already. */
static void many_do_not_take_the_reserve(void **state)
{
    (void)state;
    static struct queue_new in[QUEUE_ACCEPT_MAX];
    struct fix f;
    struct wait w;
    fix_open(&f);
    f.reserve_bytes = 511u << 19; /* half a megabyte short of the map */
    fix_reopen(&f);
    for (size_t i = 0; i < QUEUE_ACCEPT_MAX; i++)
        in[i] = (struct queue_new){
            .id = id_new(&f.ids, FIX_EPOCH), .fid = 1, .name = "f1", .payload = "1", .payload_len = 1};
    wait_init(&w);
    assert_rc(wait_end(&w, queue_accept_many(f.q, in, QUEUE_ACCEPT_MAX, wait_event, &w)), ERR_FULL);
    wait_init(&w);
    assert_rc(wait_end(&w, queue_accept_many(f.q, in, QUEUE_ACCEPT_MAX / 4, wait_event, &w)), 0);
    assert_int_equal(see_books(&f).accepted, QUEUE_ACCEPT_MAX / 4);
    fix_close(&f);
}

static void success(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "x"), got;
    struct buf b;
    buf_init(&b, 100);
    uint64_t run = do_start(&f, ev.seq);
    got = see(&f, &ev.id);
    assert_int_equal(got.state, EVENT_RUNNING);
    assert_int_equal(got.run, run);
    assert_int_equal(got.started_at_ms, FIX_EPOCH);
    (void)clock_advance(&f.clock, 10);
    do_done(&f, ev.seq, 1, run);
    got = see(&f, &ev.id);
    assert_int_equal(got.state, EVENT_DONE);
    assert_int_equal(got.attempts, 1);
    assert_int_equal(got.ended_at_ms, FIX_EPOCH + 10);
    assert_rc(queue_payload(f.q, ev.seq, &b), ERR_NOTFOUND);
    assert_int_equal(see_books(&f).done, 1);
    buf_done(&b);
    fix_close(&f);
}

static void history_keeps_payloads_when_asked(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    f.opts.history_payload = true;
    fix_reopen(&f);
    char big[5000];
    struct event ev;
    struct buf b;
    buf_init(&b, 10000);
    memset(big, 'b', sizeof big);
    assert_rc(try_accept(&f, 1, big, sizeof big, &ev), 0);
    do_done(&f, ev.seq, 1, do_start(&f, ev.seq));
    assert_rc(queue_payload(f.q, ev.seq, &b), 0);
    assert_int_equal(b.len, sizeof big);
    assert_memory_equal(b.data, big, sizeof big);
    buf_done(&b);
    fix_close(&f);
}

static void an_attempt(const struct attempt *a, void *arg)
{
    struct attempt *to = arg;
    assert_string_equal(a->error_type, "Boom");
    assert_string_equal(a->error_message, "it broke");
    assert_int_equal(a->n, to->n + 1);
    *to = *a;
    to->error_type = to->error_message = to->error = to->log_tail = NULL;
}

static void retries_then_death(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "x"), got;
    do_fail_and_wait(&f, ev.seq, 1, 60000);
    got = see(&f, &ev.id);
    assert_int_equal(got.state, EVENT_WAITING);
    assert_int_equal(got.wait_ms, 60000);
    assert_int_equal(got.due_at_ms, FIX_EPOCH + 60000);
    assert_int_equal(do_promote(&f, 10), 0);
    (void)clock_advance(&f.clock, 60000);
    assert_int_equal(do_promote(&f, 10), 1);
    got = see(&f, &ev.id);
    assert_int_equal(got.state, EVENT_QUEUED);
    assert_int_equal(got.due_at_ms, 0);
    do_die(&f, ev.seq, 1);
    got = see(&f, &ev.id);
    assert_int_equal(got.state, EVENT_DEAD);
    assert_int_equal(got.condition, CONDITION_RETRIES_EXHAUSTED);
    assert_int_equal(got.attempts, 2);
    assert_int_equal(f.n_dead, 1);
    assert_int_equal(f.last_dead.seq, ev.seq);
    assert_int_equal(f.last_dead_attempts, 2);
    assert_string_equal(f.last_dead_type, "Boom");
    struct attempt last = {0};
    assert_rc(queue_find(f.q, &ev.id, &got, an_attempt, &last), 0);
    assert_int_equal(last.n, 2);
    fix_close(&f);
}

static void late_answers_change_nothing(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "x");
    uint64_t old = do_start(&f, ev.seq);
    struct settle s = {.seq = ev.seq, .fid = 1, .run = old, .verdict = VERDICT_REQUEUE};
    assert_rc(try_settle(&f, &s, NULL), 0);
    uint64_t run = do_start(&f, ev.seq);
    struct books before = see_books(&f);
    s.verdict = VERDICT_DONE;
    s.counts = true;
    assert_rc(try_settle(&f, &s, NULL), ERR_CONFLICT);
    assert_int_equal(see(&f, &ev.id).state, EVENT_RUNNING);
    struct books after = see_books(&f);
    assert_memory_equal(&before, &after, sizeof before);
    do_done(&f, ev.seq, 1, run);
    assert_rc(try_settle(&f, &s, NULL), ERR_CONFLICT);
    assert_int_equal(see(&f, &ev.id).attempts, 1);
    fix_close(&f);
}

static void disruptions_are_not_attempts(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "x"), got;
    for (uint32_t i = 1; i <= 4; i++) {
        uint64_t run = f.next_run++;
        assert_rc(try_start(&f, ev.seq, run, i == 4), 0);
        struct settle s = {.seq = ev.seq, .fid = 1, .run = run, .verdict = VERDICT_REQUEUE};
        assert_rc(try_settle(&f, &s, &got), 0);
        barrier(&f);
        assert_int_equal(got.state, EVENT_QUEUED);
        assert_int_equal(got.disruptions, i);
        assert_int_equal(got.lone_runs, i == 4);
        assert_int_equal(got.attempts, 0);
        assert_int_equal(f.n_ready, 1 + i);
    }
    assert_false(see(&f, &ev.id).lone);
    fix_close(&f);
}

static void a_start_needs_a_queued_event(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "x");
    assert_rc(try_start(&f, 99, 1, false), ERR_NOTFOUND);
    uint64_t run = do_start(&f, ev.seq);
    assert_rc(try_start(&f, ev.seq, run + 1, false), ERR_CONFLICT);
    do_done(&f, ev.seq, 1, run);
    assert_rc(try_start(&f, ev.seq, run + 2, false), ERR_CONFLICT);
    fix_close(&f);
}

static void expiry(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event a = do_accept(&f, 1, "a"), b = do_accept(&f, 1, "b"), c = do_accept(&f, 1, "c");
    assert_rc(try_expire(&f, a.seq, CONDITION_EVENT_AGE_EXCEEDED), 0);
    do_fail_and_wait(&f, b.seq, 1, 60000);
    assert_rc(try_expire(&f, b.seq, CONDITION_ZERO_RESERVED_CONCURRENCY), 0);
    uint64_t run = do_start(&f, c.seq);
    assert_rc(try_expire(&f, c.seq, CONDITION_EVENT_AGE_EXCEEDED), ERR_CONFLICT);
    assert_rc(try_expire(&f, 99, CONDITION_EVENT_AGE_EXCEEDED), ERR_NOTFOUND);
    assert_int_equal(see(&f, &a.id).condition, CONDITION_EVENT_AGE_EXCEEDED);
    assert_int_equal(see(&f, &b.id).condition, CONDITION_ZERO_RESERVED_CONCURRENCY);
    do_done(&f, c.seq, 1, run);
    fix_close(&f);
}

struct cancel {
    struct fix *f;
    uint64_t seq;
};

static int ask_cancel(struct store_txn *t, void *arg)
{
    const struct cancel *x = arg;
    struct queue *q = x->f->q;
    struct key k = key_u64(x->seq);
    struct slice v;
    struct running r;
    int rc = store_get(t, q->running, k.b, k.len, &v);
    if (rc == 0)
        rc = decode_running(v.p, v.len, &r);
    r.cancel_asked = true;
    if (rc == 0)
        rc = codec_running(&q->scratch, &r);
    return rc < 0 ? rc : store_put(t, q->running, k.b, k.len, q->scratch.data, q->scratch.len, 0);
}

/* Rows 15 and 5 to 9: whatever the verdict, and also when it is a restart that ends the run. */
static void a_cancelled_run_ends_as_cancelled(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    const enum verdict verdicts[] = {VERDICT_DONE, VERDICT_WAIT, VERDICT_DEAD, VERDICT_REQUEUE, VERDICT_CANCELLED};
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        struct event ev = do_accept(&f, 1, "x"), got;
        struct settle s = a_failure(ev.seq, 1, do_start(&f, ev.seq), verdicts[i]);
        s.counts = verdicts[i] != VERDICT_REQUEUE;
        struct cancel x = {&f, ev.seq};
        assert_rc(try_txn(&f, ask_cancel, &x), 0);
        assert_true(see(&f, &ev.id).cancel_asked);
        assert_rc(try_settle(&f, &s, &got), 0);
        assert_int_equal(see(&f, &ev.id).state, EVENT_CANCELLED);
    }
    struct event ev = do_accept(&f, 1, "x");
    (void)do_start(&f, ev.seq);
    struct cancel x = {&f, ev.seq};
    assert_rc(try_txn(&f, ask_cancel, &x), 0);
    fix_reopen(&f);
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(see(&f, &ev.id).state, EVENT_CANCELLED);
    assert_rc(queue_payload(f.q, ev.seq, &b), ERR_NOTFOUND); /* as for any other end: history keeps none */
    buf_done(&b);
    assert_int_equal(f.n_dead, 0);
    assert_int_equal(see_books(&f).cancelled, 6);
    fix_close(&f);
}

static void a_full_dead_letter_store_drops_nothing(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event a = do_accept(&f, 1, "a"), b = do_accept(&f, 1, "b"), got;
    f.dead_full = true;
    do_die(&f, a.seq, 1);
    assert_rc(try_expire(&f, b.seq, CONDITION_EVENT_AGE_EXCEEDED), 0);
    got = see(&f, &a.id);
    assert_int_equal(got.state, EVENT_WAITING);
    assert_int_equal(got.condition, CONDITION_RETRIES_EXHAUSTED);
    assert_int_equal(got.attempts, 1);
    assert_int_equal(got.due_at_ms, FIX_EPOCH + DEAD_PENDING_MS);
    struct queue_function_stats st;
    assert_rc(queue_function_stats(f.q, 1, &st), 0);
    assert_int_equal(st.held, 2);
    assert_sound(&f);
    (void)clock_advance(&f.clock, DEAD_PENDING_MS);
    size_t told = f.n_ready;
    assert_int_equal(do_promote(&f, 10), 2);
    assert_int_equal(see(&f, &a.id).state, EVENT_WAITING);
    fix_reopen(&f);
    f.dead_full = false;
    (void)clock_advance(&f.clock, DEAD_PENDING_MS);
    assert_int_equal(do_promote(&f, 10), 2);
    barrier(&f);
    assert_int_equal(told, 2);
    assert_int_equal(f.n_ready, 0); /* it never runs again */
    assert_int_equal(see(&f, &a.id).condition, CONDITION_RETRIES_EXHAUSTED);
    assert_int_equal(see(&f, &b.id).condition, CONDITION_EVENT_AGE_EXCEEDED);
    assert_int_equal(see_books(&f).dead, 2);
    assert_rc(queue_function_stats(f.q, 1, &st), 0);
    assert_int_equal(st.held, 0);
    fix_close(&f);
}

static void a_deleted_function_in_chunks(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event mine[6], other = do_accept(&f, 2, "o");
    for (int i = 0; i < 6; i++)
        mine[i] = do_accept(&f, 1, "m");
    do_fail_and_wait(&f, mine[0].seq, 1, 120000);
    do_fail_and_wait(&f, mine[1].seq, 1, 60000);
    uint64_t run = do_start(&f, mine[2].seq);
    assert_int_equal(do_delete_function(&f, 1, 2), 2);
    assert_int_equal(do_delete_function(&f, 1, 10), 3); /* one queued, and the waiting ones */
    assert_int_equal(do_delete_function(&f, 1, 10), 0);
    assert_int_equal(see_books(&f).dead, 5);
    for (int i = 0; i < 6; i++)
        if (i != 2)
            assert_int_equal(see(&f, &mine[i].id).condition, CONDITION_FUNCTION_DELETED);
    assert_int_equal(see(&f, &mine[2].id).state, EVENT_RUNNING);
    assert_int_equal(see(&f, &other.id).state, EVENT_QUEUED);
    do_done(&f, mine[2].seq, 1, run);
    fix_close(&f);
}

/* No room for its letters: a chunk ends, and nothing is lost or taken twice. */
static void a_deleted_function_and_no_room(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    for (int i = 0; i < 5; i++)
        (void)do_accept(&f, 1, "m");
    f.dead_full = true;
    assert_int_equal(do_delete_function(&f, 1, 100), 5);
    assert_int_equal(do_delete_function(&f, 1, 100), 0);
    assert_int_equal(see_books(&f).waiting, 5);
    f.dead_full = false;
    (void)clock_advance(&f.clock, DEAD_PENDING_MS);
    assert_int_equal(do_promote(&f, 100), 5);
    assert_int_equal(see_books(&f).dead, 5);
    assert_int_equal(f.last_dead.condition, CONDITION_FUNCTION_DELETED);
    fix_close(&f);
}

struct leave {
    struct queue *q;
    uint64_t seq;
    struct id as;
};

static int replay(struct store_txn *t, void *arg)
{
    const struct leave *x = arg;
    return queue_dead_replayed_in(x->q, t, x->seq, &x->as);
}

static int remove_dead(struct store_txn *t, void *arg)
{
    const struct leave *x = arg;
    return queue_dead_removed_in(x->q, t, x->seq);
}

static void the_dead_leave(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event a = do_accept(&f, 1, "a"), b = do_accept(&f, 1, "b"), c = do_accept(&f, 1, "c"), got;
    do_die(&f, a.seq, 1);
    do_die(&f, b.seq, 1);
    struct leave x = {.q = f.q, .seq = c.seq, .as = id_new(&f.ids, FIX_EPOCH)};
    assert_rc(try_txn(&f, replay, &x), ERR_CONFLICT);
    assert_rc(try_txn(&f, remove_dead, &x), ERR_CONFLICT);
    x.seq = 99;
    assert_rc(try_txn(&f, replay, &x), ERR_NOTFOUND);
    x.seq = a.seq;
    assert_rc(try_txn(&f, replay, &x), 0);
    got = see(&f, &a.id);
    assert_int_equal(got.state, EVENT_REPLAYED);
    assert_int_equal(got.condition, CONDITION_RETRIES_EXHAUSTED);
    assert_int_equal(id_cmp(&got.replayed_as, &x.as), 0);
    assert_rc(try_txn(&f, replay, &x), 0);
    assert_int_equal(see_books(&f).replayed, 1);
    x.seq = b.seq;
    assert_rc(try_txn(&f, remove_dead, &x), 0);
    assert_rc(queue_find(f.q, &b.id, &got, NULL, NULL), ERR_NOTFOUND);
    assert_int_equal(see_books(&f).removed, 1);
    assert_int_equal(see_books(&f).dead, 0);
    fix_close(&f);
}

static void small_numbers_are_kept(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    int64_t v = 0;
    struct wait w;
    assert_rc(queue_meta_get(f.q, "clock_ms", &v), ERR_NOTFOUND);
    wait_init(&w);
    assert_rc(wait_end(&w, queue_meta_put(f.q, "clock_ms", -5, wait_done, &w)), 0);
    fix_reopen(&f);
    assert_rc(queue_meta_get(f.q, "clock_ms", &v), 0);
    assert_int_equal(v, -5);
    fix_close(&f);
}

static void a_name_seen(const struct event *ev, void *arg)
{
    uint64_t *sum = arg;
    *sum = *sum * 10 + ev->seq;
}

static void listing(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    for (int i = 0; i < 6; i++)
        (void)do_accept(&f, 1 + (uint64_t)i % 2, "x");
    do_done(&f, 3, 1, do_start(&f, 3));
    uint64_t seen = 0, cursor = 0;
    struct queue_filter all = {0}, f2 = {.name = "f2"}, done = {.state = EVENT_DONE};
    assert_rc(queue_list(f.q, &all, 0, 4, a_name_seen, &seen, &cursor), 0);
    assert_int_equal(seen, 6543);
    assert_rc(queue_list(f.q, &all, cursor, 4, a_name_seen, &seen, &cursor), 0);
    assert_int_equal(seen, 654321);
    assert_int_equal(cursor, 0);
    seen = 0;
    assert_rc(queue_list(f.q, &f2, 0, 10, a_name_seen, &seen, &cursor), 0);
    assert_int_equal(seen, 642);
    seen = 0;
    assert_rc(queue_list(f.q, &done, 0, 10, a_name_seen, &seen, &cursor), 0);
    assert_int_equal(seen, 3);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_is_stored_and_told),
        cmocka_unit_test(payloads_come_back_verbatim),
        cmocka_unit_test(names_over_their_limit_are_refused),
        cmocka_unit_test(an_id_is_accepted_once),
        cmocka_unit_test(many_are_accepted_in_order_or_not_at_all),
        cmocka_unit_test(many_do_not_take_the_reserve),
        cmocka_unit_test(success),
        cmocka_unit_test(history_keeps_payloads_when_asked),
        cmocka_unit_test(retries_then_death),
        cmocka_unit_test(late_answers_change_nothing),
        cmocka_unit_test(disruptions_are_not_attempts),
        cmocka_unit_test(a_start_needs_a_queued_event),
        cmocka_unit_test(expiry),
        cmocka_unit_test(a_cancelled_run_ends_as_cancelled),
        cmocka_unit_test(a_full_dead_letter_store_drops_nothing),
        cmocka_unit_test(a_deleted_function_in_chunks),
        cmocka_unit_test(a_deleted_function_and_no_room),
        cmocka_unit_test(the_dead_leave),
        cmocka_unit_test(small_numbers_are_kept),
        cmocka_unit_test(listing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
