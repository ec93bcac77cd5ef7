/* The two domains of time and their texts. */
#include <pthread.h>

#include "testutil.h"

#include "base/clock.h"

static void a_real_clock_is_the_system_clock(void **state)
{
    (void)state;
    struct clock c;
    clock_init_real(&c);
    int64_t before = clock_real_ms();
    int64_t now = clock_now_ms(&c);
    assert_in_range(now, before, clock_real_ms());
    assert_true(before > 1577836800000); /* after 2020 */
}

static void a_virtual_clock_stands_still(void **state)
{
    (void)state;
    struct clock c;
    clock_init_virtual(&c, 1000);
    int64_t start = clock_mono_ms();
    while (clock_mono_ms() < start + 2)
        assert_int_equal(clock_now_ms(&c), 1000);
    assert_int_equal(clock_advance(&c, 500), 1500);
    assert_int_equal(clock_advance(&c, 0), 1500);
    assert_int_equal(clock_now_ms(&c), 1500);
}

static void *advance_many(void *arg)
{
    for (int i = 0; i < 10000; i++)
        (void)clock_advance(arg, 3);
    return NULL;
}

static void advances_of_threads_add_up(void **state)
{
    (void)state;
    struct clock c;
    pthread_t t[4];
    clock_init_virtual(&c, 7);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, advance_many, &c), 0);
    for (int i = 0; i < 4; i++)
        (void)pthread_join(t[i], NULL);
    assert_int_equal(clock_now_ms(&c), 7 + 4 * 10000 * 3);
}

static void monotonic_time_grows(void **state)
{
    (void)state;
    int64_t us = clock_mono_us(), ms = clock_mono_ms();
    assert_true(ms >= us / 1000);
    for (int i = 0; i < 1000; i++) {
        int64_t next = clock_mono_us();
        assert_true(next >= us);
        us = next;
    }
}

static void texts(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *day;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000"},
        {1767323045678, "2026-01-02T03:04:05.678"},
        {951782400001, "2000-02-29T00:00:00.001"},
        {4107542400000, "2100-03-01T00:00:00.000"},
        {-1, "1969-12-31T23:59:59.999"},
        {-1000, "1969-12-31T23:59:59.000"},
        {253402300799999, "9999-12-31T23:59:59.999"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char got[CLOCK_ISO_LEN], want[64];
        clock_format_iso(rows[i].ms, got);
        (void)snprintf(want, sizeof want, "%sZ", rows[i].day);
        assert_string_equal(got, want);
        clock_format_lambda(rows[i].ms, got);
        (void)snprintf(want, sizeof want, "%s+0000", rows[i].day);
        assert_string_equal(got, want);
    }
    char got[CLOCK_ISO_LEN];
    clock_format_iso(INT64_MAX, got); /* no such year: still terminated, nothing overrun */
    assert_true(strlen(got) < sizeof got);
    clock_format_iso(INT64_MIN, got);
    assert_true(strlen(got) < sizeof got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_real_clock_is_the_system_clock),
        cmocka_unit_test(a_virtual_clock_stands_still),
        cmocka_unit_test(advances_of_threads_add_up),
        cmocka_unit_test(monotonic_time_grows),
        cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
