/* No beat unless the watched loop answers and the store thread gets on. */
#include "watchdog.h"

#include "testutil.h"

struct fix {
    struct loop *own, *watched;
    struct watchdog w;
    int64_t busy_ms;
    int beats;
};

static int64_t busy_ms(void *arg)
{
    return ((struct fix *)arg)->busy_ms;
}

static void beat(void *arg)
{
    struct fix *f = arg;
    f->beats++;
    loop_stop(f->own);
}

/* All that was posted to the watched loop so far. */
static void let_turn(struct fix *f)
{
    loop_stop(f->watched);
    loop_run(f->watched);
}

static void open_fix(struct fix *f, int64_t interval_ms)
{
    struct err e = {0};
    *f = (struct fix){0};
    assert_ok(loop_new(&f->own, &e), &e);
    assert_ok(loop_new(&f->watched, &e), &e);
    struct watchdog_about about = {f->own, f->watched, busy_ms, beat, f};
    assert_rc(watchdog_start(&f->w, interval_ms, &about), 0);
}

static void close_fix(struct fix *f)
{
    watchdog_stop(&f->w);
    loop_free(f->own);
    loop_free(f->watched);
}

static void test_a_loop_that_hangs(void **state)
{
    struct fix f;
    (void)state;
    open_fix(&f, 3600000);
    assert_false(watchdog_look(&f.w)); /* it was asked and has not turned yet */
    assert_false(watchdog_look(&f.w));
    let_turn(&f);
    assert_true(watchdog_look(&f.w));
    assert_false(watchdog_look(&f.w)); /* each beat wants an answer of its own */
    let_turn(&f);
    assert_true(watchdog_look(&f.w));
    assert_int_equal(f.beats, 2);
    close_fix(&f);
}

static void test_a_store_that_hangs(void **state)
{
    struct fix f;
    (void)state;
    open_fix(&f, 3600000);
    f.busy_ms = 3600000;
    let_turn(&f);
    assert_false(watchdog_look(&f.w));
    let_turn(&f);
    f.busy_ms = 3599999;
    assert_true(watchdog_look(&f.w));
    assert_int_equal(f.beats, 1);
    close_fix(&f);
}

static void test_the_timer_looks(void **state)
{
    struct fix f;
    (void)state;
    open_fix(&f, 4);
    let_turn(&f);
    loop_run(f.own); /* until a beat */
    assert_int_equal(f.beats, 1);
    close_fix(&f);
}

static void test_nobody_wants_to_know(void **state)
{
    struct fix f;
    (void)state;
    open_fix(&f, 0);
    assert_null(f.w.timer);
    close_fix(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_loop_that_hangs),
        cmocka_unit_test(test_a_store_that_hangs),
        cmocka_unit_test(test_the_timer_looks),
        cmocka_unit_test(test_nobody_wants_to_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
