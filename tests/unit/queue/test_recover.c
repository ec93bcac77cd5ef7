/* What a restart finds, and does. */
#include "fixture.h"

static void running_goes_back_as_a_disruption(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event a = do_accept(&f, 1, "a"), b = do_accept(&f, 1, "b"), c = do_accept(&f, 1, "c");
    uint64_t late = do_start(&f, a.seq);
    do_done(&f, c.seq, 1, do_start(&f, c.seq));
    fix_reopen(&f);
    assert_int_equal(f.recovered, 1);
    struct event got = see(&f, &a.id);
    assert_int_equal(got.state, EVENT_QUEUED);
    assert_int_equal(got.disruptions, 1);
    assert_int_equal(got.lone_runs, 0);
    assert_int_equal(got.attempts, 0);
    assert_int_equal(see(&f, &b.id).disruptions, 0);
    assert_int_equal(see(&f, &c.id).state, EVENT_DONE);
    struct settle s = {.seq = a.seq, .fid = 1, .run = late, .verdict = VERDICT_DONE, .counts = true};
    assert_rc(try_settle(&f, &s, NULL), ERR_CONFLICT);
    fix_reopen(&f);
    assert_int_equal(f.recovered, 0); /* counted once, however often one restarts */
    assert_int_equal(see(&f, &a.id).disruptions, 1);
    fix_close(&f);
}

static void only_lone_runs_can_kill(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "x");
    for (int i = 0; i < 10; i++) {
        (void)do_start(&f, ev.seq);
        fix_reopen(&f);
    }
    assert_int_equal(see(&f, &ev.id).state, EVENT_QUEUED);
    assert_int_equal(see(&f, &ev.id).disruptions, 10);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(see(&f, &ev.id).lone_runs, i);
        assert_rc(try_start(&f, ev.seq, f.next_run++, true), 0);
        fix_reopen(&f);
    }
    assert_int_equal(see(&f, &ev.id).state, EVENT_DEAD);
    assert_int_equal(see(&f, &ev.id).condition, CONDITION_DISRUPTED);
    assert_int_equal(f.n_dead, 1);
    assert_int_equal(f.last_dead_attempts, 0);
    fix_close(&f);
}

/* As many puts as there is room for in one transaction. */
enum { ROOM = 57, MANY = 40 };
static unsigned n_puts;
static bool is_tight;

static int tight(enum store_fault at, void *arg)
{
    (void)arg;
    if (at == STORE_FAULT_BEGIN)
        n_puts = 0;
    return is_tight && at == STORE_FAULT_PUT && ++n_puts > ROOM ? ERR_FULL : 0;
}

static void a_start_makes_do_with_little_room(void **state)
{
    (void)state;
    struct fix f;
    struct event ran[MANY], waits[MANY];
    fix_open(&f);
    for (int i = 0; i < MANY; i++) {
        ran[i] = do_accept(&f, 1, "runs");
        waits[i] = do_accept(&f, 1, "waits");
        do_fail_and_wait(&f, waits[i].seq, 1, 60000);
    }
    for (int i = 0; i < MANY; i++)
        (void)do_start(&f, ran[i].seq);
    fix_stop(&f);
    clock_init_virtual(&f.clock, FIX_EPOCH - 1000000); /* set back meanwhile */
    f.fault = tight;
    is_tight = true;
    fix_start(&f);
    is_tight = false;
    assert_int_equal(f.recovered, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(see(&f, &ran[i].id).state, EVENT_QUEUED);
        assert_int_equal(see(&f, &ran[i].id).disruptions, 1);
        assert_int_equal(see(&f, &waits[i].id).due_at_ms, FIX_EPOCH - 1000000 + 60000);
    }
    fix_close(&f);
}

static int newer_format(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    struct key v = key_u64(QUEUE_FORMAT + 1);
    return store_put(t, f->q->meta, "format", 6, v.b, v.len, 0);
}

static void a_newer_format_is_refused(void **state)
{
    (void)state;
    struct fix f;
    struct err e = {0};
    struct queue *q = NULL;
    fix_open(&f);
    (void)do_accept(&f, 1, "x");
    assert_rc(try_txn(&f, newer_format, &f), 0);
    fix_stop(&f);
    struct store_opts so = {.max_bytes = 256u << 20, .unsafe_nosync = true};
    assert_ok(store_open(&f.store, tmpdir_path(&f.dir, "queue"), &so, &e), &e);
    assert_err(queue_open(&q, f.store, &f.opts, &e), ERR_VERSION, &e, "newer bided");
    store_close(f.store);
    id_gen_done(&f.ids);
    pthread_mutex_destroy(&f.mu);
    tmpdir_remove(&f.dir);
}

/* Several functions, each with a running event whose record is bad: each is charged to one that has it, and the books
 * hold. */
static int damage(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    for (uint64_t seq = 1; seq <= 2; seq++) {
        struct key k = key_u64(seq);
        int rc = store_put(t, f->q->event, k.b, k.len, "junk", 4, 0);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void bad_records_of_running_events(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event ev[3];
    for (uint64_t i = 0; i < 3; i++) {
        ev[i] = do_accept(&f, i + 1, "x");
        (void)do_start(&f, ev[i].seq);
    }
    assert_rc(try_txn(&f, damage, &f), 0);
    fix_reopen(&f);
    assert_int_equal(f.recovered, 3);
    for (int i = 0; i < 2; i++)
        assert_int_equal(see(&f, &ev[i].id).condition, CONDITION_CORRUPT);
    assert_int_equal(see(&f, &ev[2].id).state, EVENT_QUEUED);
    fix_close(&f);
}

static void a_reader_changes_nothing(void **state)
{
    (void)state;
    struct fix f;
    struct err e = {0};
    struct store *s;
    struct queue *q;
    struct store_txn *t;
    uint64_t n = 99;
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "x"), got;
    (void)do_start(&f, ev.seq);
    fix_stop(&f);
    struct store_opts so = {.max_bytes = 256u << 20, .read_only = true};
    assert_ok(store_open(&s, tmpdir_path(&f.dir, "queue"), &so, &e), &e);
    assert_ok(queue_open_read_only(&q, s, &e), &e);
    assert_rc(queue_find(q, &ev.id, &got, NULL, NULL), 0);
    assert_int_equal(got.state, EVENT_RUNNING);
    assert_rc(store_read_begin(s, &t), 0);
    assert_rc(queue_verify(q, t, report, &f, &n), 0);
    store_read_end(t);
    assert_int_equal(n, 0);
    queue_close(q);
    store_close(s);
    fix_start(&f);
    assert_int_equal(f.recovered, 1);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(running_goes_back_as_a_disruption), cmocka_unit_test(only_lone_runs_can_kill),
        cmocka_unit_test(a_start_makes_do_with_little_room), cmocka_unit_test(a_newer_format_is_refused),
        cmocka_unit_test(bad_records_of_running_events),     cmocka_unit_test(a_reader_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
