/* Numbers, durations and sizes: whole input or nothing. */
#include "testutil.h"

#include "base/num.h"

static void unsigned_numbers(void **state)
{
    (void)state;
    uint64_t v = 99;
    assert_rc(num_parse_u64("0", 1, &v), 0);
    assert_int_equal(v, 0);
    assert_rc(num_parse_u64("007", 3, &v), 0);
    assert_int_equal(v, 7);
    assert_rc(num_parse_u64("18446744073709551615", 20, &v), 0);
    assert_true(v == UINT64_MAX);
    assert_rc(num_parse_u64("12345", 3, &v), 0); /* len rules, not a NUL */
    assert_int_equal(v, 123);
    static const char *const bad[] = {"",
                                      " 1",
                                      "1 ",
                                      "+1",
                                      "-1",
                                      "1.0",
                                      "1e3",
                                      "0x1",
                                      "1\n",
                                      "1_0",
                                      "a",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "100000000000000000000000"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (num_parse_u64(bad[i], strlen(bad[i]), &v) != ERR_INVALID)
            fail_msg("\"%s\" was taken", bad[i]);
    assert_rc(num_parse_u64("1\0002", 3, &v), ERR_INVALID);
    assert_int_equal(v, 123);
}

static void signed_numbers(void **state)
{
    (void)state;
    int64_t v = 99;
    assert_rc(num_parse_i64("-9223372036854775808", 20, &v), 0);
    assert_true(v == INT64_MIN);
    assert_rc(num_parse_i64("9223372036854775807", 19, &v), 0);
    assert_true(v == INT64_MAX);
    assert_rc(num_parse_i64("-0", 2, &v), 0);
    assert_int_equal(v, 0);
    assert_rc(num_parse_i64("-17", 3, &v), 0);
    assert_int_equal(v, -17);
    static const char *const bad[] = {"", "-", "--1", "+1", "- 1", "9223372036854775808", "-9223372036854775809", "1-"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (num_parse_i64(bad[i], strlen(bad[i]), &v) != ERR_INVALID)
            fail_msg("\"%s\" was taken", bad[i]);
    assert_int_equal(v, -17);
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"0", 0},       {"0ms", 0},       {"200ms", 200},    {"5s", 5000},
        {"2m", 120000}, {"6h", 21600000}, {"7d", 604800000}, {"9223372036854775807ms", INT64_MAX},
    };
    int64_t v;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_rc(num_parse_duration_ms(rows[i].text, strlen(rows[i].text), &v), 0);
        assert_true(v == rows[i].ms);
    }
    static const char *const bad[] = {"",
                                      "5",
                                      "00",
                                      "s",
                                      "5 s",
                                      "5S",
                                      "5sec",
                                      "1h30m",
                                      "-5s",
                                      "1.5s",
                                      "5s ",
                                      "5w",
                                      "9223372036854775808ms",
                                      "106751991168d"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (num_parse_duration_ms(bad[i], strlen(bad[i]), &v) != ERR_INVALID)
            fail_msg("\"%s\" was taken", bad[i]);
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } rows[] = {
        {"0", 0},
        {"4096", 4096},
        {"64KiB", 65536},
        {"1MiB", 1048576},
        {"4GiB", 4294967296u},
        {"1TiB", 1099511627776u},
        {"18446744073709551615", UINT64_MAX},
    };
    uint64_t v;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_rc(num_parse_size(rows[i].text, strlen(rows[i].text), &v), 0);
        assert_true(v == rows[i].bytes);
    }
    static const char *const bad[] = {"", "KiB", "1KB", "1K", "1kib", "1 MiB", "1.5GiB", "-1", "16777216TiB", "1MiBs"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (num_parse_size(bad[i], strlen(bad[i]), &v) != ERR_INVALID)
            fail_msg("\"%s\" was taken", bad[i]);
}

static void texts_are_short_and_exact(void **state)
{
    (void)state;
    char out[24];
    static const struct {
        int64_t ms;
        const char *want;
    } times[] = {{0, "0ms"}, {200, "200ms"}, {60000, "1m"}, {61000, "61s"}, {604800000, "7d"}, {3600000, "1h"}};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        num_format_duration_ms(times[i].ms, out, sizeof out);
        assert_string_equal(out, times[i].want);
    }
    num_format_size(64ULL << 30, out, sizeof out);
    assert_string_equal(out, "64GiB");
    num_format_size(1025, out, sizeof out);
    assert_string_equal(out, "1025");
    num_format_size(0, out, sizeof out);
    assert_string_equal(out, "0");
}

static void what_is_formatted_can_be_parsed(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int i = 0; i < 10000; i++) {
        char out[24];
        int64_t ms, back_ms;
        uint64_t bytes, back;
        ms = (int64_t)(test_rand(&seed) >> 1 >> test_rand(&seed) % 63);
        num_format_duration_ms(ms, out, sizeof out);
        assert_rc(num_parse_duration_ms(out, strlen(out), &back_ms), 0);
        assert_true(back_ms == ms);
        bytes = test_rand(&seed) >> test_rand(&seed) % 64 << 10;
        num_format_size(bytes, out, sizeof out);
        assert_rc(num_parse_size(out, strlen(out), &back), 0);
        assert_true(back == bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsigned_numbers),
        cmocka_unit_test(signed_numbers),
        cmocka_unit_test(durations),
        cmocka_unit_test(sizes),
        cmocka_unit_test(texts_are_short_and_exact),
        cmocka_unit_test(what_is_formatted_can_be_parsed),
    };
    return cmocka_run_group_tests_name("num", tests, NULL, NULL);
}
