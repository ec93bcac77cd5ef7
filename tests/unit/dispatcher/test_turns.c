/* Whose turn it is: nobody is passed over for ever, whatever is waited for. */
#include "rig.h"

/* 100,000 events of one function delay another's first event by a turn (the run in progress and one more), not by
 * 100,000. */
static void test_flood(void **state)
{
    struct rig *r = *state;
    r->limits.account = 1;
    rig_limits(r);
    rig_plain(r, 1);
    rig_plain(r, 2);
    uint64_t w1 = rig_warm(r, 1, 1), w2 = rig_warm(r, 2, 2);
    for (uint64_t seq = 10; seq < 10 + SCHED_WINDOW; seq++)
        rig_event(r, 1, seq);
    for (uint64_t seq = 10 + SCHED_WINDOW; seq < 100010; seq++)
        assert_false(rig_add(r, 1, seq, 0, false));
    rig_run(r, w1, 10);
    rig_quiet(r);
    rig_event(r, 2, 200000);
    rig_quiet(r);
    rig_done(r, w1, 10);
    rig_run(r, w1, 11);
    rig_quiet(r);
    rig_done(r, w1, 11);
    rig_run(r, w2, 200000);
}

/* The slot a function gives back is not its own again while others wait for one. */
static void test_slot_goes_round(void **state)
{
    struct rig *r = *state;
    r->limits.account = 1;
    rig_limits(r);
    uint64_t w[4], seq = 100;
    for (uint64_t fid = 1; fid <= 3; fid++) {
        rig_plain(r, fid);
        w[fid] = rig_warm(r, fid, fid);
    }
    for (int i = 0; i < 30; i++, seq++)
        rig_event(r, 1 + seq % 3, seq);
    uint32_t runs[4] = {0};
    for (int i = 0; i < 15; i++) {
        assert_true(rig_next(r));
        assert_int_equal(r->d.kind, SCHED_RUN);
        runs[r->d.fid]++;
        uint64_t worker = r->d.worker, key = r->d.job.key;
        rig_quiet(r);
        rig_done(r, worker, key);
    }
    for (int fid = 1; fid <= 3; fid++)
        assert_in_range(runs[fid], 4, 6);
    (void)w;
}

/* Who waits for a slot and then cannot use it passes it on. */
static void test_slot_passed_on(void **state)
{
    struct rig *r = *state;
    r->limits.account = 1;
    rig_limits(r);
    uint64_t w[4];
    for (uint64_t fid = 1; fid <= 3; fid++) {
        rig_plain(r, fid);
        w[fid] = rig_warm(r, fid, fid);
    }
    rig_event(r, 1, 10);
    rig_run(r, w[1], 10);
    rig_event(r, 2, 20);
    rig_event(r, 3, 30);
    rig_quiet(r);
    rig_done(r, w[1], 10);
    rig_fn(r, (struct sched_function){.fid = 2, .reserved = -1, .paused = true});
    rig_run(r, w[3], 30);
}

/* Who waits for memory that is not there does not keep a smaller one from what is. */
static void test_start_passed_on(void **state)
{
    struct rig *r = *state;
    r->limits.worker_starts = 1;
    rig_limits(r);
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = -1, .memory_mb = 2048});
    rig_fn(r, (struct sched_function){.fid = 2, .reserved = -1, .memory_mb = 3000});
    rig_fn(r, (struct sched_function){.fid = 3, .reserved = -1, .memory_mb = 128});
    rig_event(r, 1, 1);
    rig_event(r, 2, 2);
    rig_event(r, 3, 3);
    uint64_t w = rig_start(r, 1, 1);
    rig_quiet(r);
    rig_ready(r, w);
    rig_run(r, w, 1);
    (void)rig_start(r, 3, 3);
}

/* An event that comes back to its old place finds it also when the window is full: its turn is next, and its age is
 * watched although nothing starts. */
static void test_old_event_and_full_window(void **state)
{
    struct rig *r = *state;
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = -1, .paused = true});
    rig_event(r, 1, 5);
    (void)sched_event_forget(r->s, 5); /* it waits */
    r->now += 1000;
    for (uint64_t seq = 1000; seq < 1000 + SCHED_WINDOW; seq++)
        rig_event(r, 1, seq);
    r->now -= 1000; /* accepted before all of them */
    rig_event(r, 1, 5);
    assert_int_equal(r->out, 1000 + SCHED_WINDOW - 1);
    assert_false(rig_add(r, 1, 2000, 0, false)); /* a younger one waits its turn on disk */
    assert_int_equal(r->out, 0);
    struct sched_stats st;
    sched_stats(r->s, &st);
    assert_int_equal(st.window, SCHED_WINDOW);
    r->now += RIG_AGE_MS;
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_EXPIRE);
    assert_int_equal(r->d.job.key, 5);
    rig_quiet(r);
    r->now += 1000;
    for (uint64_t seq = 1000; seq < 1000 + SCHED_WINDOW - 1; seq++) {
        assert_true(rig_next(r));
        assert_int_equal(r->d.kind, SCHED_EXPIRE);
    }
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_REFILL);
    assert_int_equal(r->d.after_seq, 1000 + SCHED_WINDOW - 2); /* from the one that made room */
}

/* What came in while the first worker started does not wait for the end of a long first run. */
static void test_behind_a_long_first_run(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    rig_event(r, 1, 1);
    uint64_t w = rig_start(r, 1, 1);
    rig_event(r, 1, 2);
    rig_quiet(r);
    r->mono += 20;
    rig_ready(r, w);
    rig_run(r, w, 1);
    rig_quiet(r);
    int64_t now, mono;
    sched_wakeup(r->s, &now, &mono);
    assert_in_range(mono, r->mono, r->mono + 100);
    r->mono = mono;
    (void)rig_start(r, 1, 2);
}

/* A worker that has ended one run and is not ready for the next is no reason for one more than the reservation allows.
 */
static void test_between_at_the_reservation(void **state)
{
    struct rig *r = *state;
    struct sched_function f = {.fid = 1, .reserved = 1};
    rig_fn(r, f);
    uint64_t w = rig_warm(r, 1, 1);
    for (uint64_t seq = 2; seq < 102; seq++)
        rig_event(r, 1, seq);
    rig_run(r, w, 2);
    rig_quiet(r);
    r->mono += 1000; /* a hundred of these are worth a start */
    sched_job_done(r->s, w, false, r->mono);
    sched_event_settled(r->s, 2);
    rig_quiet(r);
    rig_ready(r, w);
    rig_run(r, w, 3);
    rig_quiet(r);
    f.reserved = 2;
    rig_fn(r, f);
    (void)rig_start(r, 1, 4);
    rig_quiet(r);
}

/* A function without a worker gets the room of another's that has work without end, once that worker has earned its own
 * start. */
static void test_room_from_the_busy(void **state)
{
    struct rig *r = *state;
    r->limits.worker_memory_mb = 128;
    rig_limits(r);
    rig_plain(r, 1);
    rig_plain(r, 2);
    uint64_t w = rig_warm(r, 1, 1), seq = 10;
    for (; seq < 100; seq++)
        rig_event(r, 1, seq);
    rig_run(r, w, 10);
    rig_event(r, 2, 1000);
    for (seq = 10; seq < 100; seq++) {
        r->mono += 10;
        rig_done(r, w, seq);
        assert_true(rig_next(r));
        if (r->d.kind == SCHED_STOP_WORKER)
            break;
        assert_int_equal(r->d.job.key, seq + 1);
    }
    assert_in_range(seq, 11, 30);
    sched_worker_gone(r->s, w, r->mono);
    (void)rig_start(r, 2, 1000);
}

/* An older event that comes back before one that waits to run alone does not block it, nor the engine. */
static void test_lone_and_older(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    rig_plain(r, 2);
    uint64_t w1 = rig_warm(r, 1, 1), w2 = rig_warm(r, 2, 2);
    rig_event(r, 1, 3);
    rig_run(r, w1, 3);
    assert_true(rig_add(r, 2, 20, 3, false));
    rig_quiet(r);
    assert_true(rig_add(r, 2, 10, 0, false));
    rig_run(r, w2, 10);
    rig_done(r, w1, 3);
    rig_done(r, w2, 10);
    rig_run(r, w2, 20);
    assert_true(r->d.job.lone);
}

/* A lone event of a function that is paused, or whose workers cannot start, holds nobody up. */
static void test_lone_cannot_start(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    rig_plain(r, 2);
    uint64_t w1 = rig_warm(r, 1, 1);
    assert_true(rig_add(r, 2, 20, 3, false));
    uint64_t w2 = rig_start(r, 2, 20);
    rig_event(r, 1, 30);
    rig_quiet(r);
    sched_worker_start_failed(r->s, w2, r->mono);
    rig_run(r, w1, 30);
    rig_quiet(r);
}

/* A lone event whose worker does not fit takes the room of any that is idle, also of one with work waiting. */
static void test_lone_makes_room(void **state)
{
    struct rig *r = *state;
    r->limits.worker_memory_mb = 128;
    rig_limits(r);
    rig_plain(r, 1);
    rig_plain(r, 2);
    uint64_t w = rig_warm(r, 1, 1);
    rig_event(r, 1, 3);
    rig_run(r, w, 3);
    assert_true(rig_add(r, 2, 20, 3, false));
    rig_quiet(r);
    rig_event(r, 1, 30);
    rig_done(r, w, 3);
    rig_stop(r, w, SCHED_STOP_MAKE_ROOM);
    rig_quiet(r);
    sched_worker_gone(r->s, w, r->mono);
    (void)rig_start(r, 2, 20);
}

/* What waits for a worker when its function is paused, or gets new code, is decided anew. */
static void test_bound_and_changed(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    rig_event(r, 1, 1);
    uint64_t w = rig_start(r, 1, 1);
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = -1, .paused = true});
    rig_ready(r, w);
    rig_quiet(r);
    rig_plain(r, 1);
    rig_run(r, w, 1);
    rig_done(r, w, 1);
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = -1, .generation = 2});
    rig_stop(r, w, SCHED_STOP_OLD);
    rig_event(r, 1, 2);
    w = rig_start(r, 1, 2);
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = -1, .generation = 3});
    rig_ready(r, w);
    uint64_t w3 = rig_start(r, 1, 2);
    assert_int_equal(r->d.generation, 3);
    rig_stop(r, w, SCHED_STOP_OLD);
    rig_ready(r, w3);
    rig_run(r, w3, 2);
}

/* Deleting a function whose event waits for the hand-over to a ready worker leaves no worker without a job to run. */
static void test_delete_runnable(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    rig_event(r, 1, 1);
    uint64_t w = rig_start(r, 1, 1);
    rig_ready(r, w);
    sched_function_del(r->s, 1);
    rig_stop(r, w, SCHED_STOP_OLD);
    sched_worker_gone(r->s, w, r->mono);
    rig_quiet(r);
}

/* A refill moves the mark forward; an event that became ready in the meantime and did not fit is not left behind it. */
static void test_missed_by_refill(void **state)
{
    struct rig *r = *state;
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = -1, .paused = true});
    sched_backlog(r->s, 1);
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_REFILL);
    assert_false(rig_add(r, 1, 5, 0, false));
    assert_true(rig_add(r, 1, 9, 0, true));
    sched_refilled(r->s, 1, false);
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_REFILL);
    assert_in_range(r->d.after_seq, 0, 4);
}

/* An event cancelled while a refill that has read it is on its way does not come back. */
static void test_cancelled_on_its_way(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    sched_backlog(r->s, 1);
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_REFILL);
    (void)sched_event_forget(r->s, 7);
    assert_false(rig_add(r, 1, 7, 0, true));
    sched_refilled(r->s, 1, false);
    rig_quiet(r);
}

/* What could not be stored is not decided; calls are served, and all goes on afterwards. */
static void test_hold(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    uint64_t w = rig_warm(r, 1, 1);
    int64_t at_now, at_mono;
    sched_hold(r->s, true);
    rig_event(r, 1, 2);
    rig_quiet(r);
    r->now += RIG_AGE_MS + 1; /* too old by now */
    rig_quiet(r);
    sched_wakeup(r->s, &at_now, &at_mono);
    assert_int_equal(at_now, INT64_MAX); /* else the tick would spin */
    sched_hold(r->s, false);
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_EXPIRE);
    rig_event(r, 1, 3);
    rig_run(r, w, 3);
}

/* Nor does a function start that has been waiting for its turn to start a worker. */
static void test_drain_starts_nothing(void **state)
{
    struct rig *r = *state;
    r->limits.worker_starts = 1;
    rig_limits(r);
    rig_plain(r, 1);
    rig_plain(r, 2);
    rig_event(r, 1, 1);
    rig_event(r, 2, 2);
    uint64_t w = rig_start(r, 1, 1);
    rig_quiet(r);
    sched_drain(r->s);
    sched_worker_start_failed(r->s, w, r->mono);
    while (rig_next(r))
        assert_int_not_equal(r->d.kind, SCHED_START_WORKER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_flood),
        RIG_TEST(test_slot_goes_round),
        RIG_TEST(test_slot_passed_on),
        RIG_TEST(test_start_passed_on),
        RIG_TEST(test_behind_a_long_first_run),
        RIG_TEST(test_between_at_the_reservation),
        RIG_TEST(test_old_event_and_full_window),
        RIG_TEST(test_room_from_the_busy),
        RIG_TEST(test_lone_and_older),
        RIG_TEST(test_lone_cannot_start),
        RIG_TEST(test_lone_makes_room),
        RIG_TEST(test_bound_and_changed),
        RIG_TEST(test_delete_runnable),
        RIG_TEST(test_missed_by_refill),
        RIG_TEST(test_cancelled_on_its_way),
        RIG_TEST(test_hold),
        RIG_TEST(test_drain_starts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
