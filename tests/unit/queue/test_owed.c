/* Without room the moves of accepted events are kept, in order, until there is. */
#include <stdatomic.h>

#include "fixture.h"

static _Atomic bool no_room;
static _Atomic int refusal = ERR_FULL;
static _Atomic int told;

static int commit_fault(enum store_fault at, void *arg)
{
    (void)arg;
    return at == STORE_FAULT_COMMIT && no_room ? refusal : 0;
}

static void on_owed(void *arg)
{
    (void)arg;
    told++;
}

static void open_owing(struct fix *f)
{
    no_room = false;
    told = 0;
    fix_open(f);
    f->fault = commit_fault;
    fix_reopen(f);
    queue_on_owed(f->q, on_owed, NULL);
}

/* Every op submitted so far has been looked at by the store. */
static void looked_at(struct fix *f)
{
    assert_rc(try_accept(f, 99, "x", 1, NULL), no_room ? refusal : 0);
}

static enum event_state state_of(struct fix *f, uint64_t seq)
{
    struct event ev;
    struct store_txn *t;
    assert_rc(store_read_begin(f->store, &t), 0);
    assert_rc(queue_event_in(f->q, t, seq, &ev), 0);
    store_read_end(t);
    return ev.state;
}

struct ends {
    _Atomic int n, err;
};

static void on_end(int err, const struct event *ev, void *arg)
{
    struct ends *e = arg;
    (void)ev;
    e->err = err;
    e->n++;
}

static struct settle done_of(uint64_t seq, uint64_t fid, uint64_t run)
{
    return (struct settle){.seq = seq,
                           .fid = fid,
                           .run = run,
                           .verdict = VERDICT_DONE,
                           .counts = true,
                           .attempt = {.outcome = OUTCOME_SUCCESS, .exit_code = -1, .version = "$LATEST"}};
}

/* A start, the outcome of its run, an outcome of an older run and an expiry. */
static void kept_and_stored_in_order(void **state)
{
    struct fix f;
    struct ends ends = {0};
    (void)state;
    open_owing(&f);
    uint64_t fresh = do_accept(&f, 7, "a").seq, ran = do_accept(&f, 7, "b").seq, old = do_accept(&f, 7, "c").seq;
    uint64_t run = do_start(&f, ran);
    no_room = true;
    struct settle s = done_of(ran, 7, run), t = done_of(fresh, 7, 50);
    assert_rc(queue_settle(f.q, &s, on_end, &ends), 0);
    assert_rc(queue_start(f.q, fresh, 50, false, NULL, NULL), 0);
    assert_rc(queue_settle(f.q, &t, on_end, &ends), 0);
    assert_rc(queue_expire(f.q, old, CONDITION_EVENT_AGE_EXCEEDED, on_end, &ends), 0);
    looked_at(&f);
    assert_int_equal(queue_press(f.q), 4);
    looked_at(&f);
    assert_int_equal(queue_press(f.q), 4);
    looked_at(&f);
    assert_int_equal(ends.n, 0);
    assert_int_equal(told, 1);
    assert_int_equal(state_of(&f, ran), EVENT_RUNNING);
    assert_int_equal(state_of(&f, fresh), EVENT_QUEUED);
    no_room = false;
    for (int i = 0; queue_press(f.q) > 0; i++) {
        looked_at(&f);
        assert_true(i < 3); /* a start and the outcome that came with it may take a turn each */
    }
    assert_int_equal(ends.n, 3);
    assert_int_equal(ends.err, 0);
    assert_int_equal(state_of(&f, ran), EVENT_DONE);
    assert_int_equal(state_of(&f, fresh), EVENT_DONE);
    assert_int_equal(state_of(&f, old), EVENT_DEAD);
    fix_close(&f);
}

static void kept_without_memory(void **state)
{
    refusal = ERR_NOMEM;
    kept_and_stored_in_order(state);
    refusal = ERR_FULL;
}

/* An answer of a run that is over still changes nothing, and is not kept. */
static void late_answers_are_void(void **state)
{
    struct fix f;
    (void)state;
    open_owing(&f);
    uint64_t seq = do_accept(&f, 7, "a").seq;
    (void)do_start(&f, seq);
    struct settle s = done_of(seq, 7, 1000);
    assert_rc(try_settle(&f, &s, NULL), ERR_CONFLICT);
    assert_int_equal(queue_press(f.q), 0);
    fix_close(&f);
}

static void given_up_at_the_end(void **state)
{
    struct fix f;
    struct ends ends = {0};
    (void)state;
    open_owing(&f);
    uint64_t a = do_accept(&f, 7, "a").seq, b = do_accept(&f, 7, "b").seq;
    struct settle s = done_of(a, 7, do_start(&f, a)), t = done_of(b, 7, do_start(&f, b));
    no_room = true;
    assert_rc(queue_settle(f.q, &s, on_end, &ends), 0);
    looked_at(&f);
    queue_owed_give_up(f.q);
    assert_int_equal(ends.n, 1);
    assert_int_equal(ends.err, ERR_FULL);
    assert_rc(try_settle(&f, &t, NULL), ERR_FULL);
    no_room = false;
    fix_reopen(&f);
    assert_int_equal(f.recovered, 2);
    assert_int_equal(state_of(&f, a), EVENT_QUEUED);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_and_stored_in_order),
        cmocka_unit_test(kept_without_memory),
        cmocka_unit_test(late_answers_are_void),
        cmocka_unit_test(given_up_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
