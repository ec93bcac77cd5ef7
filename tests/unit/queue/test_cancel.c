/* Cancelling and trying now: one event, and all of a function's in chunks. */
#include "fixture.h"

static int cancel(struct fix *f, const struct event *ev, struct event *ret)
{
    struct wait w;
    wait_init(&w);
    int rc = wait_end(&w, queue_cancel(f->q, &ev->id, wait_found, &w));
    if (ret != NULL)
        *ret = w.ev;
    return rc;
}

static int retry(struct fix *f, const struct event *ev, struct event *ret)
{
    struct wait w;
    wait_init(&w);
    int rc = wait_end(&w, queue_retry(f->q, &ev->id, wait_found, &w));
    if (ret != NULL)
        *ret = w.ev;
    return rc;
}

static size_t told(struct fix *f)
{
    barrier(f);
    return f->n_cancelled;
}

static void what_waits(void **state)
{
    (void)state;
    struct fix f;
    struct event found;
    fix_open(&f);
    struct event queued = do_accept(&f, 1, "{}"), waiting = do_accept(&f, 1, "{}");
    do_fail_and_wait(&f, waiting.seq, 1, 60000);
    assert_rc(cancel(&f, &queued, &found), 0);
    assert_int_equal(found.state, EVENT_CANCELLED);
    assert_int_equal(told(&f), 1);
    assert_rc(cancel(&f, &waiting, NULL), 0);
    assert_int_equal(told(&f), 2);
    assert_rc(cancel(&f, &queued, &found), 0); /* again: fine, and nobody is told */
    assert_int_equal(found.state, EVENT_CANCELLED);
    assert_int_equal(told(&f), 2);
    struct event now = see(&f, &waiting.id);
    assert_int_equal(now.state, EVENT_CANCELLED);
    assert_int_equal(now.attempts, 1);
    assert_int_equal(now.due_at_ms, 0);
    int64_t due;
    assert_false(queue_next_due(f.q, &due));
    assert_rc(try_start(&f, queued.seq, 1, false), ERR_CONFLICT);
    assert_int_equal(see_books(&f).cancelled, 2);
    fix_close(&f);
}

static void what_runs(void **state)
{
    (void)state;
    struct fix f;
    struct event found;
    fix_open(&f);
    struct event ev[4];
    uint64_t run[4];
    for (int i = 0; i < 4; i++) {
        ev[i] = do_accept(&f, 1, "{}");
        run[i] = do_start(&f, ev[i].seq);
        assert_rc(cancel(&f, &ev[i], &found), 0);
        assert_int_equal(found.state, EVENT_RUNNING);
        assert_true(found.cancel_asked);
        assert_true(see(&f, &ev[i].id).cancel_asked);
    }
    assert_rc(cancel(&f, &ev[0], &found), 0);
    assert_int_equal(told(&f), 5); /* told again, so that the worker is stopped for sure */
    const enum verdict verdicts[] = {VERDICT_DONE, VERDICT_WAIT, VERDICT_DEAD, VERDICT_REQUEUE};
    for (int i = 0; i < 4; i++) {
        struct settle s = a_failure(ev[i].seq, 1, run[i], verdicts[i]);
        s.counts = verdicts[i] != VERDICT_REQUEUE;
        s.due_at_ms = FIX_EPOCH + 1000;
        s.wait_ms = 1000;
        assert_rc(try_settle(&f, &s, &found), 0);
        assert_int_equal(found.state, EVENT_CANCELLED);
        assert_int_equal(found.attempts, s.counts);
        assert_rc(try_settle(&f, &s, NULL), ERR_CONFLICT); /* a late answer */
    }
    struct books b = see_books(&f);
    assert_int_equal(b.cancelled, 4);
    assert_int_equal(b.running + b.dead + b.waiting + b.queued, 0);
    fix_close(&f);
}

/* The flag survives: a restart ends the event, and it is not run again. */
static void a_crash_after_the_flag(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "{}"), other = do_accept(&f, 1, "{}");
    (void)do_start(&f, ev.seq);
    (void)do_start(&f, other.seq);
    assert_rc(cancel(&f, &ev, NULL), 0);
    assert_int_equal(findings(&f, true), 0);
    fix_reopen(&f);
    assert_int_equal(f.recovered, 2);
    struct event now = see(&f, &ev.id);
    assert_int_equal(now.state, EVENT_CANCELLED);
    assert_int_equal(now.disruptions, 0);
    assert_int_equal(see(&f, &other.id).state, EVENT_QUEUED);
    assert_rc(cancel(&f, &ev, NULL), 0);
    fix_close(&f);
}

static void what_is_over(void **state)
{
    (void)state;
    struct fix f;
    struct event found;
    struct id nobody = {.b = {1}};
    fix_open(&f);
    struct event done = do_accept(&f, 1, "{}"), dead = do_accept(&f, 1, "{}"), held = do_accept(&f, 1, "{}");
    do_done(&f, done.seq, 1, do_start(&f, done.seq));
    do_die(&f, dead.seq, 1);
    f.dead_full = true;
    do_die(&f, held.seq, 1);
    f.dead_full = false;
    assert_rc(cancel(&f, &done, &found), ERR_CONFLICT);
    assert_int_equal(found.state, EVENT_DONE);
    assert_rc(cancel(&f, &dead, &found), ERR_CONFLICT);
    assert_int_equal(found.state, EVENT_DEAD);
    assert_rc(cancel(&f, &held, &found), ERR_CONFLICT);
    assert_int_equal(found.state, EVENT_WAITING);
    assert_int_equal(found.condition, CONDITION_RETRIES_EXHAUSTED);
    assert_rc(retry(&f, &held, &found), ERR_CONFLICT);
    assert_rc(retry(&f, &dead, &found), ERR_CONFLICT);
    done.id = nobody;
    assert_rc(cancel(&f, &done, NULL), ERR_NOTFOUND);
    assert_rc(retry(&f, &done, NULL), ERR_NOTFOUND);
    assert_int_equal(told(&f), 0);
    fix_close(&f);
}

static void a_retry(void **state)
{
    (void)state;
    struct fix f;
    struct event found;
    int64_t due;
    fix_open(&f);
    struct event ev = do_accept(&f, 1, "{}");
    assert_rc(retry(&f, &ev, &found), ERR_CONFLICT);
    assert_int_equal(found.state, EVENT_QUEUED);
    do_fail_and_wait(&f, ev.seq, 1, 60000);
    barrier(&f);
    size_t before = f.n_ready;
    assert_rc(retry(&f, &ev, &found), 0);
    barrier(&f);
    assert_int_equal(found.state, EVENT_QUEUED);
    assert_int_equal(f.n_ready, before + 1);
    assert_false(queue_next_due(f.q, &due));
    (void)do_start(&f, ev.seq);
    assert_rc(retry(&f, &ev, &found), ERR_CONFLICT);
    assert_int_equal(found.state, EVENT_RUNNING);
    fix_close(&f);
}

/* --- all of a function -------------------------------------------------------------------------------------------- */

struct swept {
    struct wait w;
    struct queue_sweep at;
};

static void on_sweep(int err, const struct queue_sweep *at, void *arg)
{
    struct swept *x = arg;
    x->at = *at;
    wait_tell(&x->w, err);
}

static struct queue_sweep sweep(struct fix *f, struct queue_sweep s, bool again, uint32_t max_n)
{
    struct swept x;
    wait_init(&x.w);
    assert_rc(wait_end(&x.w, again ? queue_retry_chunk(f->q, &s, max_n, on_sweep, &x)
                                   : queue_cancel_chunk(f->q, &s, max_n, on_sweep, &x)),
              0);
    return x.at;
}

static void a_purge(void **state)
{
    (void)state;
    struct fix f;
    struct event ev[12];
    fix_open(&f);
    for (int i = 0; i < 12; i++)
        ev[i] = do_accept(&f, i == 11 ? 2 : 1, i == 3 ? "a longer one" : "{}");
    for (int i = 0; i < 4; i++)
        do_fail_and_wait(&f, ev[i].seq, 1, 1000 + i);
    (void)do_start(&f, ev[4].seq);
    do_die(&f, ev[5].seq, 1);
    f.dead_full = true;
    do_die(&f, ev[6].seq, 1);
    f.dead_full = false;
    struct queue_sweep s = {.fid = 1, .queued = true, .waiting = true};
    uint64_t n = 0;
    int chunks = 0;
    do {
        s = sweep(&f, s, false, 3);
        n += s.n;
        assert_in_range(s.n, 0, 3);
        assert_int_equal(findings(&f, true), 0);
        if (chunks++ == 1) { /* what becomes due and what comes in meanwhile */
            (void)clock_advance(&f.clock, 1002);
            (void)do_promote(&f, 100);
            (void)do_accept(&f, 1, "{}");
        }
    } while (s.more);
    assert_int_equal(n, 8);
    assert_int_equal(told(&f), 8);
    assert_int_equal(s.flagged + s.corrupt, 0);
    struct books b = see_books(&f);
    assert_int_equal(b.cancelled, 8);
    assert_int_equal(b.queued, 2); /* the other function's, and the young one */
    assert_int_equal(b.running, 1);
    assert_int_equal(b.dead, 1);
    assert_int_equal(b.waiting, 1); /* for room among the dead letters */
    assert_int_equal(see(&f, &ev[6].id).condition, CONDITION_RETRIES_EXHAUSTED);
    assert_int_equal(see(&f, &ev[11].id).state, EVENT_QUEUED);
    fix_close(&f);
}

static void all_of_all_states(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    struct event ev[4];
    for (int i = 0; i < 4; i++)
        ev[i] = do_accept(&f, i == 3 ? 2 : 1, "{}");
    do_fail_and_wait(&f, ev[0].seq, 1, 1000);
    uint64_t run = do_start(&f, ev[1].seq);
    (void)do_start(&f, ev[3].seq);
    struct queue_sweep s = sweep(&f, (struct queue_sweep){.fid = 1, .running = true, .waiting = true}, false, 10);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.flagged, 1);
    assert_false(s.more);
    assert_int_equal(see(&f, &ev[2].id).state, EVENT_QUEUED);
    s = sweep(&f, (struct queue_sweep){.fid = 1, .running = true}, false, 10);
    assert_int_equal(s.flagged, 0); /* asked already */
    do_done(&f, ev[1].seq, 1, run);
    assert_int_equal(see(&f, &ev[1].id).state, EVENT_CANCELLED);
    assert_false(see(&f, &ev[3].id).cancel_asked);
    fix_close(&f);
}

static void retries_in_chunks(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    for (int i = 0; i < 7; i++)
        do_fail_and_wait(&f, do_accept(&f, 1, "{}").seq, 1, 60000);
    barrier(&f);
    size_t before = f.n_ready;
    struct queue_sweep s = {.fid = 1};
    int n = 0;
    do {
        s = sweep(&f, s, true, 2);
        n += (int)s.n;
    } while (s.more);
    barrier(&f);
    assert_int_equal(n, 7);
    assert_int_equal(f.n_ready, before + 7);
    assert_int_equal(see_books(&f).queued, 7);
    fix_close(&f);
}

static int spoil(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    struct key k = key_u64(2);
    return store_put(t, f->q->event, k.b, k.len, "junk", 4, 0);
}

/* One that cannot be read does not hold up the others, and is not lost without a trace. */
static void a_bad_record(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    for (int i = 0; i < 3; i++)
        (void)do_accept(&f, 1, "{}");
    assert_rc(try_txn(&f, spoil, &f), 0);
    struct queue_sweep s = sweep(&f, (struct queue_sweep){.fid = 1, .queued = true, .waiting = true}, false, 10);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.corrupt, 1);
    assert_int_equal(told(&f), 3);
    assert_int_equal(f.last_dead.condition, CONDITION_CORRUPT);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits),
        cmocka_unit_test(what_runs),
        cmocka_unit_test(a_crash_after_the_flag),
        cmocka_unit_test(what_is_over),
        cmocka_unit_test(a_retry),
        cmocka_unit_test(a_purge),
        cmocka_unit_test(all_of_all_states),
        cmocka_unit_test(retries_in_chunks),
        cmocka_unit_test(a_bad_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
