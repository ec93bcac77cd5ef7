#include "metrics.h"

#include "testutil.h"

static void test_table(void **state)
{
    (void)state;
    for (enum metric m = 0; m < METRICS; m++) {
        const struct metrics_row *r = metrics_row(m);
        assert_non_null(r->name);
        assert_true(strncmp(r->name, "bide_", 5) == 0 || strncmp(r->name, "process_", 8) == 0);
        assert_int_equal(strspn(r->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(r->name));
        size_t len = strlen(r->name);
        assert_int_equal(len > 6 && strcmp(r->name + len - 6, "_total") == 0, r->kind == METRICS_COUNTER);
        assert_null(strpbrk(r->help, "\n\\"));
        assert_int_equal(r->help[strlen(r->help) - 1], '.');
        for (enum metric k = 0; k < m; k++)
            assert_string_not_equal(metrics_row(k)->name, r->name);
    }
}

static void test_numbers(void **state)
{
    struct buf b;
    struct metrics_out o;
    (void)state;
    buf_init(&b, 4096);
    metrics_init(&o, &b);
    metrics_family(&o, METRIC_STORE_FULL);
    buf_clear(&b);
    metrics_uint(&o, NULL, 0, UINT64_MAX);
    metrics_scaled(&o, NULL, 0, 0, 1000);
    metrics_scaled(&o, NULL, 0, 1500, 1000);
    metrics_scaled(&o, NULL, 0, 1000000, 1000000);
    metrics_scaled(&o, NULL, 0, 1, 1000000);
    metrics_scaled(&o, NULL, 0, -1250, 1000);
    metrics_scaled(&o, NULL, 0, 100, 1);
    assert_int_equal(metrics_error(&o), 0);
    assert_string_equal(b.data, "bide_store_full 18446744073709551615\n"
                                "bide_store_full 0\n"
                                "bide_store_full 1.5\n"
                                "bide_store_full 1\n"
                                "bide_store_full 0.000001\n"
                                "bide_store_full -1.25\n"
                                "bide_store_full 100\n");
    buf_done(&b);
}

static void test_labels_are_escaped(void **state)
{
    struct buf b;
    struct metrics_out o;
    (void)state;
    const struct metrics_label l[] = {{"function", "a\"b\\c\nd"}, {"state", ""}};
    buf_init(&b, 4096);
    metrics_init(&o, &b);
    metrics_family(&o, METRIC_FUNCTION_EVENTS);
    metrics_uint(&o, l, 2, 7);
    assert_string_equal(b.data, "# HELP bide_function_events Events of a function by state.\n"
                                "# TYPE bide_function_events gauge\n"
                                "bide_function_events{function=\"a\\\"b\\\\c\\nd\",state=\"\"} 7\n");
    buf_done(&b);
}

static void test_histogram(void **state)
{
    static const struct hist_scale scale = {2, {2500, 1000000}};
    struct hist h;
    struct hist_view v;
    struct buf b;
    struct metrics_out o;
    (void)state;
    hist_init(&h, &scale);
    hist_add(&h, 2500);
    hist_add(&h, 2501);
    hist_add(&h, 7000000);
    hist_read(&h, &v);
    buf_init(&b, 4096);
    metrics_init(&o, &b);
    metrics_family(&o, METRIC_DURATION);
    buf_clear(&b);
    metrics_hist(&o, &(struct metrics_label){"function", "f"}, 1, &v, 1000000);
    metrics_hist(&o, NULL, 0, &v, 1000000);
    assert_string_equal(b.data, "bide_duration_seconds_bucket{function=\"f\",le=\"0.0025\"} 1\n"
                                "bide_duration_seconds_bucket{function=\"f\",le=\"1\"} 2\n"
                                "bide_duration_seconds_bucket{function=\"f\",le=\"+Inf\"} 3\n"
                                "bide_duration_seconds_sum{function=\"f\"} 7.005001\n"
                                "bide_duration_seconds_count{function=\"f\"} 3\n"
                                "bide_duration_seconds_bucket{le=\"0.0025\"} 1\n"
                                "bide_duration_seconds_bucket{le=\"1\"} 2\n"
                                "bide_duration_seconds_bucket{le=\"+Inf\"} 3\n"
                                "bide_duration_seconds_sum 7.005001\n"
                                "bide_duration_seconds_count 3\n");
    buf_done(&b);
}

static void test_errors_stick(void **state)
{
    struct buf b;
    struct metrics_out o;
    (void)state;
    buf_init(&b, 40);
    metrics_init(&o, &b);
    metrics_family(&o, METRIC_DURATION);
    metrics_uint(&o, NULL, 0, 1);
    assert_rc(metrics_error(&o), ERR_TOOBIG);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_labels_are_escaped),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_errors_stick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
