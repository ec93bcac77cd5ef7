#include "base/hist.h"

#include <pthread.h>

#include "testutil.h"

static const struct hist_scale scale = {3, {10, 100, 1000}};

static void test_bounds_are_inclusive(void **state)
{
    struct hist h;
    struct hist_view v;
    (void)state;
    hist_init(&h, &scale);
    const int64_t values[] = {-5, 0, 10, 11, 100, 101, 1000, 1001, INT64_MAX / 4};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        hist_add(&h, values[i]);
    hist_read(&h, &v);
    assert_int_equal(v.upto[0], 3);
    assert_int_equal(v.upto[1], 5);
    assert_int_equal(v.upto[2], 7);
    assert_int_equal(v.count, 9);
    assert_int_equal(v.sum, 10 + 11 + 100 + 101 + 1000 + 1001 + INT64_MAX / 4);
    assert_ptr_equal(v.scale, &scale);
}

static void test_quantile(void **state)
{
    struct hist h;
    struct hist_view v;
    (void)state;
    hist_init(&h, &scale);
    hist_read(&h, &v);
    assert_int_equal(hist_quantile(&v, 0.99), -1);
    for (int i = 0; i < 98; i++)
        hist_add(&h, 5);
    hist_add(&h, 50);
    hist_read(&h, &v);
    assert_int_equal(hist_quantile(&v, 0.5), 10);
    assert_int_equal(hist_quantile(&v, 0.99), 100);
    hist_add(&h, 5000);
    hist_add(&h, 5000);
    hist_read(&h, &v);
    assert_int_equal(hist_quantile(&v, 0.99), -1);
    assert_int_equal(hist_quantile(&v, 0.98), 100);
}

enum { THREADS = 4, EACH = 20000 };

static void *add_many(void *arg)
{
    for (int i = 0; i < EACH; i++)
        hist_add(arg, i % 2000);
    return NULL;
}

static void test_many_threads_lose_nothing(void **state)
{
    static struct hist h;
    struct hist_view v;
    pthread_t t[THREADS];
    (void)state;
    hist_init(&h, &scale);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, add_many, &h), 0);
    do { /* reading meanwhile: every view agrees with itself */
        hist_read(&h, &v);
        assert_true(v.upto[0] <= v.upto[1] && v.upto[1] <= v.upto[2] && v.upto[2] <= v.count);
    } while (v.count < THREADS * EACH);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    hist_read(&h, &v);
    assert_int_equal(v.count, THREADS * EACH);
    assert_int_equal(v.upto[0], THREADS * EACH / 2000 * 11);
    assert_int_equal(v.sum, (uint64_t)THREADS * (EACH / 2000) * (1999 * 2000 / 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds_are_inclusive),
        cmocka_unit_test(test_quantile),
        cmocka_unit_test(test_many_threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
