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

static void moments(void **state)
{
    (void)state;
    const int64_t now = 1800000000000, day = 1767312000000; /* 2026-01-02 */
    const struct {
        const char *text;
        int64_t ms; /* -1: none */
    } rows[] = {
        {"2h", now - 7200000},
        {"0", now},
        {"90s", now - 90000},
        {"99999d", 0},
        {"2026-01-02", day},
        {"2026-01-02T03:04:05", day + 11045000},
        {"2026-01-02 03:04:05.678", day + 11045678},
        {"2026-01-02T03:04:05.6Z", day + 11045600},
        {"2026-01-02T03:04:05Z", day + 11045000},
        {"1767312000123", day + 123},
        {"2024-02-29", 1709164800000},
        {"2026-02-29", -1},
        {"2026-13-01", -1},
        {"2026-1-2", -1},
        {"2026-01-02T25:00:00", -1},
        {"2026-01-02T03:04", -1},
        {"2026-01-02T03:04:05.", -1},
        {"2026-01-02T03:04:05.6789", -1},
        {"2026-01-02T03:04:05+01:00", -1},
        {"2026-01-02x03:04:05", -1},
        {" 2026-01-02", -1},
        {"1960-01-02", -1},
        {"-5", -1},
        {"yesterday", -1},
        {"", -1},
        {"2", 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t got = -1;
        int rc = clock_parse_when(rows[i].text, strlen(rows[i].text), now, &got);
        if (rc != (rows[i].ms < 0 ? ERR_INVALID : 0) || (rc == 0 && got != rows[i].ms))
            fail_msg("%s: %d, %lld", rows[i].text, rc, (long long)got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_real_clock_is_the_system_clock),
        cmocka_unit_test(a_virtual_clock_stands_still),
        cmocka_unit_test(advances_of_threads_add_up),
        cmocka_unit_test(monotonic_time_grows),
        cmocka_unit_test(texts),
        cmocka_unit_test(moments),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
