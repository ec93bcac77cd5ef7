/* Waits and verdicts. Lambda: section 5.1; rows 5 to 10 of the table of an event's life. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/backoff.h"

static const struct backoff_policy lambda = {
    .first_wait_ms = 60000, .multiplier = 2.0, .max_wait_ms = 300000, .max_disruptions = 5};

static enum backoff_verdict settle(struct backoff_facts f, int64_t now_ms, int64_t *ret_wait_ms)
{
    return backoff_settle(&lambda, &f, now_ms, 0.0, ret_wait_ms);
}

/* One minute, two minutes, then doubling up to the ceiling. */
static void test_retry_wait(void **state)
{
    (void)state;
    static const int64_t want[] = {60000, 120000, 240000, 300000, 300000};
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(backoff_retry_wait(&lambda, i + 1, 0.0), want[i]);
    assert_int_equal(backoff_retry_wait(&lambda, UINT32_MAX, 0.0), 300000);
}

/* Jitter shortens by its share at most and never lengthens. */
static void test_jitter(void **state)
{
    (void)state;
    struct backoff_policy p = lambda;
    p.jitter = 0.5;
    assert_int_equal(backoff_retry_wait(&p, 1, 0.0), 60000);
    assert_int_equal(backoff_retry_wait(&p, 1, 0.5), 45000);
    assert_in_range(backoff_retry_wait(&p, 1, 0.999999), 30000, 30001);
}

/* 1 s, 2 s, 4 s ... 256 s, 300 s, 300 s. */
static void test_requeue_wait(void **state)
{
    (void)state;
    int64_t want = 1000;
    for (uint32_t n = 1; n <= 12; n++, want *= 2)
        assert_int_equal(backoff_requeue_wait(1000, 300000, n), want < 300000 ? want : 300000);
    assert_int_equal(backoff_requeue_wait(1000, 300000, UINT32_MAX), 300000);
}

/* Rows 5 to 7: two retries by default, none when the maximum is 0. */
static void test_attempts(void **state)
{
    (void)state;
    int64_t wait;
    struct backoff_facts f = {.end = BACKOFF_FUNCTION_ERROR,
                              .attempts = 1,
                              .max_attempts = 3,
                              .accepted_at_ms = 1000,
                              .max_age_ms = 21600000};
    assert_int_equal(settle(f, 2000, &wait), BACKOFF_WAIT);
    assert_int_equal(wait, 60000);
    f.attempts = 2;
    assert_int_equal(settle(f, 70000, &wait), BACKOFF_WAIT);
    assert_int_equal(wait, 120000);
    f.attempts = 3;
    assert_int_equal(settle(f, 200000, &wait), BACKOFF_EXHAUSTED);
    assert_int_equal(wait, 0);
    f.attempts = 1;
    f.max_attempts = 1;
    assert_int_equal(settle(f, 2000, &wait), BACKOFF_EXHAUSTED);
    f.end = BACKOFF_SUCCESS;
    assert_int_equal(settle(f, 2000, &wait), BACKOFF_DONE);
}

/* Row 8: with age 60 s a failing event runs once, with age 90 s twice, and is given up without waiting. */
static void test_look_ahead(void **state)
{
    (void)state;
    int64_t wait;
    struct backoff_facts f = {.end = BACKOFF_FUNCTION_ERROR, .attempts = 1, .max_attempts = 3, .max_age_ms = 60000};
    assert_int_equal(settle(f, 1, &wait), BACKOFF_TOO_OLD);
    f.max_age_ms = 90000;
    assert_int_equal(settle(f, 1, &wait), BACKOFF_WAIT);
    f.attempts = 2;
    assert_int_equal(settle(f, 60002, &wait), BACKOFF_TOO_OLD);
}

/* A clock set back makes nothing younger than new. */
static void test_clock_set_back(void **state)
{
    (void)state;
    int64_t wait;
    struct backoff_facts f = {.end = BACKOFF_FUNCTION_ERROR,
                              .attempts = 1,
                              .max_attempts = 3,
                              .accepted_at_ms = 1000000,
                              .max_age_ms = 59999};
    assert_int_equal(settle(f, 5, &wait), BACKOFF_TOO_OLD);
}

/* Rows 9 and 10: a disruption never counts as an attempt; lone runs have a cap of their own. */
static void test_disruptions(void **state)
{
    (void)state;
    int64_t wait;
    struct backoff_facts f = {.end = BACKOFF_DISRUPTION, .attempts = 2, .max_attempts = 3, .max_age_ms = 60000};
    for (f.lone_runs = 0; f.lone_runs < 5; f.lone_runs++)
        assert_int_equal(settle(f, 100000000, &wait), BACKOFF_REQUEUE);
    assert_int_equal(settle(f, 0, &wait), BACKOFF_DISRUPTED);
}

/* A deleted function's running events settle and are not retried. */
static void test_deleted(void **state)
{
    (void)state;
    int64_t wait;
    struct backoff_facts f = {
        .end = BACKOFF_FUNCTION_ERROR, .attempts = 1, .max_attempts = 3, .max_age_ms = 21600000, .deleted = true};
    assert_int_equal(settle(f, 0, &wait), BACKOFF_DELETED);
    f.attempts = 3;
    assert_int_equal(settle(f, 0, &wait), BACKOFF_EXHAUSTED);
    f.end = BACKOFF_DISRUPTION;
    assert_int_equal(settle(f, 0, &wait), BACKOFF_DELETED);
    f.end = BACKOFF_SUCCESS;
    assert_int_equal(settle(f, 0, &wait), BACKOFF_DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_wait),  cmocka_unit_test(test_jitter),     cmocka_unit_test(test_requeue_wait),
        cmocka_unit_test(test_attempts),    cmocka_unit_test(test_look_ahead), cmocka_unit_test(test_clock_set_back),
        cmocka_unit_test(test_disruptions), cmocka_unit_test(test_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
