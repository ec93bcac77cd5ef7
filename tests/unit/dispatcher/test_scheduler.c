/* One rule of the scheduler a test: the design, section 4. */
#include "rig.h"

/* A function's first worker starts at once, bound to its event; the event runs when the worker is ready. */
static void test_first_worker(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    rig_event(r, 1, 10);
    uint64_t w = rig_start(r, 1, 10);
    rig_quiet(r);
    rig_ready(r, w);
    rig_run(r, w, 10);
    assert_false(r->d.job.lone);
    assert_false(r->d.job.sync_start);
    rig_quiet(r);
}

/* In order of their sequence numbers, whatever the order they came in; a warm worker is used again. */
static void test_order(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    uint64_t w = rig_warm(r, 1, 1);
    rig_event(r, 1, 30);
    rig_event(r, 1, 20);
    rig_event(r, 1, 10);
    for (uint64_t seq = 10; seq <= 30; seq += 10) {
        rig_run(r, w, seq);
        rig_quiet(r);
        rig_done(r, w, seq);
    }
}

/* One more worker only while what is queued would otherwise wait longer than a start takes; time alone can decide it.
 */
static void test_one_more_worker(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    rig_event(r, 1, 1);
    uint64_t w = rig_start(r, 1, 1);
    r->mono += 100;
    rig_ready(r, w);
    rig_run(r, w, 1);
    rig_event(r, 1, 2);
    rig_quiet(r);
    int64_t now_ms, mono_ms;
    sched_wakeup(r->s, &now_ms, &mono_ms);
    assert_in_range(mono_ms - r->mono, 100, 102);
    r->mono = mono_ms - 2;
    rig_quiet(r);
    r->mono = mono_ms;
    (void)rig_start(r, 1, 2);
    rig_quiet(r);
}

/* Reserved concurrency is a ceiling for events; others are not held up by it. */
static void test_reserved(void **state)
{
    struct rig *r = *state;
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = 1});
    rig_plain(r, 2);
    uint64_t w = rig_warm(r, 1, 1);
    rig_event(r, 1, 2);
    rig_event(r, 1, 3);
    rig_run(r, w, 2);
    r->mono += 100000;
    rig_quiet(r);
    rig_event(r, 2, 4);
    (void)rig_start(r, 2, 4);
    rig_done(r, w, 2);
    rig_run(r, w, 3);
}

/* Limits may change: starts that were held back go on, an idle worker goes after the new time. */
static void test_other_limits(void **state)
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
    r->limits.worker_starts = 2;
    r->limits.worker_idle_ms = 50;
    sched_set_limits(r->s, &r->limits);
    (void)rig_start(r, 2, 2);
    rig_ready(r, w);
    rig_run(r, w, 1);
    rig_done(r, w, 1);
    rig_quiet(r);
    r->mono += 50;
    rig_stop(r, w, SCHED_STOP_IDLE);
}

/* Events tried at reserved concurrency 0 are given up; calls are refused. */
static void test_zero_reserved(void **state)
{
    struct rig *r = *state;
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = 0});
    rig_event(r, 1, 5);
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_EXPIRE);
    assert_int_equal(r->d.job.key, 5);
    assert_int_equal(r->d.expiry, SCHED_EXPIRE_ZERO_RESERVED);
    rig_quiet(r);
    assert_int_equal(sched_call_add(r->s, 1, 1, r->mono), SCHED_REFUSE_RESERVED);
}

/* A pause stops asynchronous starts only; age goes on. */
static void test_pause(void **state)
{
    struct rig *r = *state;
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = -1, .paused = true});
    rig_event(r, 1, 1);
    rig_quiet(r);
    assert_int_equal(sched_call_add(r->s, 1, 77, r->mono), SCHED_REFUSE_NONE);
    uint64_t w = rig_start(r, 1, 77);
    assert_true(r->d.job.sync);
    rig_ready(r, w);
    rig_run(r, w, 77);
    sched_job_done(r->s, w, true, r->mono);
    rig_quiet(r);
    rig_plain(r, 1);
    rig_run(r, w, 1);
}

/* Too old when looked at: at the moment its age reaches the limit, and there is a timer for it. */
static void test_age(void **state)
{
    struct rig *r = *state;
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = -1, .paused = true});
    rig_event(r, 1, 1);
    rig_quiet(r);
    int64_t now_ms, mono_ms;
    sched_wakeup(r->s, &now_ms, &mono_ms);
    assert_int_equal(now_ms, RIG_START + RIG_AGE_MS);
    r->now = now_ms - 1;
    rig_quiet(r);
    r->now = now_ms;
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_EXPIRE);
    assert_int_equal(r->d.expiry, SCHED_EXPIRE_AGE);
    sched_wakeup(r->s, &now_ms, &mono_ms);
    assert_int_equal(now_ms, INT64_MAX);
}

/* A call that fits no slot is refused with the reason. */
static void test_call_refused(void **state)
{
    struct rig *r = *state;
    r->limits.account = 2;
    rig_limits(r);
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = 1});
    rig_plain(r, 2);
    assert_int_equal(sched_call_add(r->s, 1, 1, r->mono), SCHED_REFUSE_NONE);
    assert_int_equal(sched_call_add(r->s, 1, 2, r->mono), SCHED_REFUSE_RESERVED);
    assert_int_equal(sched_call_add(r->s, 2, 3, r->mono), SCHED_REFUSE_NONE);
    assert_int_equal(sched_call_add(r->s, 2, 4, r->mono), SCHED_REFUSE_ACCOUNT);
    assert_int_equal(sched_call_add(r->s, 9, 5, r->mono), SCHED_REFUSE_FAILED);
    sched_call_gone(r->s, 3);
    assert_int_equal(sched_call_add(r->s, 2, 6, r->mono), SCHED_REFUSE_NONE);
}

/* Calls take a free worker before events. */
static void test_call_first(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    uint64_t w = rig_warm(r, 1, 1);
    rig_event(r, 1, 2);
    assert_int_equal(sched_call_add(r->s, 1, 50, r->mono), SCHED_REFUSE_NONE);
    rig_run(r, w, 50);
    assert_true(r->d.job.sync);
}

/* A call no memory can be found for is refused as when the account is full. */
static void test_call_without_memory(void **state)
{
    struct rig *r = *state;
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = -1, .memory_mb = 3000});
    rig_fn(r, (struct sched_function){.fid = 2, .reserved = -1, .memory_mb = 3000});
    assert_int_equal(sched_call_add(r->s, 1, 1, r->mono), SCHED_REFUSE_NONE);
    (void)rig_start(r, 1, 1);
    assert_int_equal(sched_call_add(r->s, 2, 2, r->mono), SCHED_REFUSE_NONE);
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_REFUSE);
    assert_int_equal(r->d.job.key, 2);
    assert_int_equal(r->d.refusal, SCHED_REFUSE_ACCOUNT);
}

/* Idle workers of other functions give way, and the start waits until they are gone. */
static void test_make_room(void **state)
{
    struct rig *r = *state;
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = -1, .memory_mb = 2000});
    rig_fn(r, (struct sched_function){.fid = 2, .reserved = -1, .memory_mb = 3000});
    uint64_t w = rig_warm(r, 1, 1);
    rig_event(r, 2, 2);
    rig_stop(r, w, SCHED_STOP_MAKE_ROOM);
    rig_quiet(r);
    sched_worker_gone(r->s, w, r->mono);
    (void)rig_start(r, 2, 2);
}

/* No more starts in progress than allowed. */
static void test_starts_limit(void **state)
{
    struct rig *r = *state;
    r->limits.worker_starts = 2;
    rig_limits(r);
    uint64_t w[2];
    for (uint64_t fid = 1; fid <= 3; fid++) {
        rig_plain(r, fid);
        rig_event(r, fid, fid);
    }
    w[0] = rig_start(r, 1, 1);
    w[1] = rig_start(r, 2, 2);
    rig_quiet(r);
    rig_ready(r, w[1]);
    rig_run(r, w[1], 2);
    (void)rig_start(r, 3, 3);
    rig_quiet(r);
    (void)w[0];
}

/* A worker is stopped after its idle time, which is real time. */
static void test_idle_stop(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    uint64_t w = rig_warm(r, 1, 1);
    int64_t now_ms, mono_ms;
    sched_wakeup(r->s, &now_ms, &mono_ms);
    assert_int_equal(mono_ms, r->mono + 300000);
    r->now += 10 * 300000;
    rig_quiet(r);
    r->mono = mono_ms;
    rig_stop(r, w, SCHED_STOP_IDLE);
    sched_worker_gone(r->s, w, r->mono);
    struct sched_stats st;
    sched_stats(r->s, &st);
    assert_int_equal(st.workers, 0);
    assert_int_equal(st.memory_mb, 0);
}

/* New code: idle workers are stopped at once, busy ones after their run, new ones start with the new code. */
static void test_new_code(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    uint64_t w = rig_warm(r, 1, 1);
    rig_event(r, 1, 2);
    rig_run(r, w, 2);
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = -1, .generation = 7});
    rig_done(r, w, 2);
    rig_stop(r, w, SCHED_STOP_OLD);
    rig_event(r, 1, 3);
    uint64_t w2 = rig_start(r, 1, 3);
    assert_int_equal(r->d.generation, 7);
    rig_ready(r, w2);
    rig_run(r, w2, 3);
    rig_done(r, w2, 3);
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = -1, .generation = 8});
    rig_stop(r, w2, SCHED_STOP_OLD);
}

/* A worker that cannot start is the function's fault state: it backs off, its events keep their places, others go on.
 */
static void test_start_failed(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    rig_plain(r, 2);
    rig_event(r, 1, 1);
    int64_t wait = 1000;
    for (int i = 0; i < 10; i++) {
        uint64_t w = rig_start(r, 1, 1);
        sched_worker_start_failed(r->s, w, r->mono);
        rig_quiet(r);
        assert_int_equal(sched_function_backoff(r->s, 1, r->mono), wait);
        int64_t now_ms, mono_ms;
        sched_wakeup(r->s, &now_ms, &mono_ms);
        assert_int_equal(mono_ms, r->mono + wait);
        r->mono = mono_ms;
        wait = 2 * wait < 300000 ? 2 * wait : 300000;
    }
    uint64_t w = rig_start(r, 1, 1);
    rig_ready(r, w);
    rig_run(r, w, 1);
    assert_int_equal(sched_function_backoff(r->s, 1, r->mono), 0);
}

/* The call bound to a worker that cannot start fails. */
static void test_start_failed_call(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    assert_int_equal(sched_call_add(r->s, 1, 9, r->mono), SCHED_REFUSE_NONE);
    uint64_t w = rig_start(r, 1, 9);
    sched_worker_start_failed(r->s, w, r->mono);
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_REFUSE);
    assert_int_equal(r->d.refusal, SCHED_REFUSE_FAILED);
    rig_quiet(r);
    struct sched_stats st;
    sched_stats(r->s, &st);
    assert_int_equal(st.running_sync, 0);
}

/* The function's own failure to initialise is the bound job's outcome. */
static void test_init_failed(void **state)
{
    struct rig *r = *state;
    struct sched_job job;
    rig_plain(r, 1);
    rig_event(r, 1, 1);
    uint64_t w = rig_start(r, 1, 1);
    assert_true(sched_worker_init_failed(r->s, w, &job));
    assert_int_equal(job.key, 1);
    rig_quiet(r);
    sched_event_settled(r->s, 1);
    sched_worker_gone(r->s, w, r->mono);
    rig_quiet(r);
    assert_int_equal(sched_function_backoff(r->s, 1, r->mono), 0);
}

/* An event with a disruption on record starts only once its start is on disk. */
static void test_sync_start(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    assert_true(rig_add(r, 1, 1, 1, false));
    uint64_t w = rig_start(r, 1, 1);
    rig_ready(r, w);
    rig_run(r, w, 1);
    assert_true(r->d.job.sync_start);
    assert_false(r->d.job.lone);
}

/* An event with three disruptions waits until nothing else is in flight, and nothing else starts beside it. */
static void test_lone(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    rig_plain(r, 2);
    uint64_t w1 = rig_warm(r, 1, 1), w2 = rig_warm(r, 2, 2);
    rig_event(r, 1, 3);
    rig_run(r, w1, 3);
    assert_true(rig_add(r, 2, 4, 3, false));
    rig_quiet(r);
    rig_done(r, w1, 3);
    rig_event(r, 1, 5);
    rig_run(r, w2, 4);
    assert_true(r->d.job.lone);
    assert_true(r->d.job.sync_start);
    rig_quiet(r);
    rig_done(r, w2, 4);
    rig_run(r, w1, 5);
}

/* Calls cannot keep a lone event waiting for ever. */
static void test_lone_patience(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    rig_plain(r, 2);
    assert_int_equal(sched_call_add(r->s, 1, 1, r->mono), SCHED_REFUSE_NONE);
    uint64_t w = rig_start(r, 1, 1);
    rig_ready(r, w);
    rig_run(r, w, 1);
    assert_true(rig_add(r, 2, 4, 3, false));
    rig_quiet(r);
    r->mono += SCHED_LONE_PATIENCE_MS;
    assert_int_equal(sched_call_add(r->s, 1, 2, r->mono), SCHED_REFUSE_NONE);
    r->mono++;
    assert_int_equal(sched_call_add(r->s, 1, 3, r->mono), SCHED_REFUSE_ACCOUNT);
}

/* A cancelled event leaves, whether ready or bound; what its worker was started for is taken by the next. */
static void test_forget(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    rig_event(r, 1, 1);
    rig_event(r, 1, 2);
    uint64_t w = rig_start(r, 1, 1);
    (void)sched_event_forget(r->s, 1);
    rig_quiet(r);
    rig_ready(r, w);
    rig_run(r, w, 2);
    rig_event(r, 1, 3);
    (void)sched_event_forget(r->s, 3);
    rig_done(r, w, 2);
    rig_quiet(r);
    struct sched_stats st;
    sched_stats(r->s, &st);
    assert_int_equal(st.window, 0);
    assert_int_equal(st.running_async, 0);
}

/* A deleted function: nothing of it starts, what runs ends, and its workers go. */
static void test_delete(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    uint64_t w = rig_warm(r, 1, 1);
    rig_event(r, 1, 2);
    rig_run(r, w, 2);
    rig_event(r, 1, 3);
    sched_function_del(r->s, 1);
    rig_quiet(r);
    assert_false(rig_add(r, 1, 4, 0, false));
    assert_int_equal(sched_call_add(r->s, 1, 1, r->mono), SCHED_REFUSE_FAILED);
    rig_done(r, w, 2);
    rig_stop(r, w, SCHED_STOP_OLD);
    sched_worker_gone(r->s, w, r->mono);
    rig_quiet(r);
}

/* The window is bounded; what did not fit is asked for when it runs low, and nothing is taken twice. */
static void test_refill(void **state)
{
    struct rig *r = *state;
    rig_fn(r, (struct sched_function){.fid = 1, .reserved = -1, .paused = true});
    for (uint64_t seq = 1; seq <= SCHED_WINDOW; seq++)
        rig_event(r, 1, seq);
    assert_false(rig_add(r, 1, SCHED_WINDOW + 1, 0, false));
    rig_quiet(r);
    for (uint64_t seq = 1; seq <= SCHED_WINDOW; seq++)
        (void)sched_event_forget(r->s, seq);
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_REFILL);
    assert_int_equal(r->d.fid, 1);
    assert_int_equal(r->d.after_seq, SCHED_WINDOW);
    rig_quiet(r);
    assert_false(rig_add(r, 1, SCHED_WINDOW + 2, 0, false));
    assert_true(rig_add(r, 1, SCHED_WINDOW + 1, 0, true));
    assert_false(rig_add(r, 1, SCHED_WINDOW + 1, 0, true));
    sched_refilled(r->s, 1, false);
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_REFILL);
    assert_int_equal(r->d.after_seq, SCHED_WINDOW + 1);
    assert_true(rig_add(r, 1, SCHED_WINDOW + 2, 0, true));
    sched_refilled(r->s, 1, false);
    rig_quiet(r);
}

/* Nothing starts any more while draining; workers are stopped as they come to rest. */
static void test_drain(void **state)
{
    struct rig *r = *state;
    rig_plain(r, 1);
    rig_plain(r, 2);
    uint64_t w1 = rig_warm(r, 1, 1), w2 = rig_warm(r, 2, 2);
    rig_event(r, 1, 3);
    rig_run(r, w1, 3);
    sched_drain(r->s);
    rig_stop(r, w2, SCHED_STOP_DRAIN);
    rig_event(r, 2, 4);
    rig_quiet(r);
    assert_int_equal(sched_call_add(r->s, 1, 1, r->mono), SCHED_REFUSE_FAILED);
    rig_done(r, w1, 3);
    rig_stop(r, w1, SCHED_STOP_DRAIN);
    rig_quiet(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_first_worker),
        RIG_TEST(test_order),
        RIG_TEST(test_one_more_worker),
        RIG_TEST(test_reserved),
        RIG_TEST(test_other_limits),
        RIG_TEST(test_zero_reserved),
        RIG_TEST(test_pause),
        RIG_TEST(test_age),
        RIG_TEST(test_call_refused),
        RIG_TEST(test_call_first),
        RIG_TEST(test_call_without_memory),
        RIG_TEST(test_make_room),
        RIG_TEST(test_starts_limit),
        RIG_TEST(test_idle_stop),
        RIG_TEST(test_new_code),
        RIG_TEST(test_start_failed),
        RIG_TEST(test_start_failed_call),
        RIG_TEST(test_init_failed),
        RIG_TEST(test_sync_start),
        RIG_TEST(test_lone),
        RIG_TEST(test_lone_patience),
        RIG_TEST(test_forget),
        RIG_TEST(test_delete),
        RIG_TEST(test_refill),
        RIG_TEST(test_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
