/* Times as people type them. */
#include "testutil.h"

#include "when.h"

static const int64_t now_ms = 1767409200000; /* 2026-01-03T03:00:00Z */

static void test_good(void **state)
{
    static const struct {
        const char *text;
        int64_t want_ms;
    } rows[] = {
        {"10m", 1767409200000 - 600000},
        {"200ms", 1767409200000 - 200},
        {"0", 1767409200000},
        {"9999999d", 0}, /* longer than there has been time */
        {"2026-01-03", 1767398400000},
        {"2026-01-03T03:00", 1767409200000},
        {"2026-01-03 03:00:00", 1767409200000},
        {"2026-01-03T03:00:00Z", 1767409200000},
        {"2026-01-03t03:00:00.5z", 1767409200500},
        {"2026-01-03T03:00:00.678901", 1767409200678},
        {"2026-01-03T04:00:00+01:00", 1767409200000},
        {"2026-01-02T22:30-0430", 1767409200000},
        {"2024-02-29", 1709164800000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t got = -1;
        assert_true(when_parse(rows[i].text, now_ms, &got));
        assert_true(got == rows[i].want_ms);
    }
}

static void test_bad(void **state)
{
    static const char *const bad[] = {"",
                                      "x",
                                      "yesterday",
                                      "-10m",
                                      "10",
                                      "10 m",
                                      "2026",
                                      "2026-1-3",
                                      "2026-13-01",
                                      "2026-02-29",
                                      "2026-02-30",
                                      "2026-01-03T",
                                      "2026-01-03T3:00",
                                      "2026-01-03T24:00",
                                      "2026-01-03T03:60",
                                      "2026-01-03T03:00:60",
                                      "2026-01-03T03:00:00.",
                                      "2026-01-03T03:00:00+1",
                                      "2026-01-03T03:00:00+01:00x",
                                      "2026-01-03T03:00:00 Z",
                                      "2026-01-03Z",
                                      "1969-12-31",
                                      "03:00"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t got;
        if (when_parse(bad[i], now_ms, &got))
            fail_msg("\"%s\" was taken for %lld", bad[i], (long long)got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
