/* Who may take a slot. Lambda: section 6. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "concurrency.h"

static struct concurrency all;
static struct concurrency_share a, b;

static int setup(void **state)
{
    (void)state;
    all = (struct concurrency){.account = 10};
    a = b = (struct concurrency_share){.reserved = -1};
    return 0;
}

static void take(struct concurrency_share *f, int n)
{
    for (; n > 0; n--) {
        assert_int_equal(concurrency_check(&all, f), CONCURRENCY_FREE);
        concurrency_take(&all, f);
    }
}

/* Without reservations all share the account's. */
static void test_pool(void **state)
{
    (void)state;
    take(&a, 6);
    take(&b, 4);
    assert_int_equal(concurrency_check(&all, &a), CONCURRENCY_ACCOUNT_FULL);
    concurrency_give(&all, &b);
    assert_int_equal(concurrency_check(&all, &a), CONCURRENCY_FREE);
}

/* A reservation is a ceiling for its function ... */
static void test_ceiling(void **state)
{
    (void)state;
    concurrency_set_reserved(&all, &a, 3);
    take(&a, 3);
    assert_int_equal(concurrency_check(&all, &a), CONCURRENCY_RESERVED_FULL);
    concurrency_give(&all, &a);
    assert_int_equal(concurrency_check(&all, &a), CONCURRENCY_FREE);
}

/* ... and a floor: nobody else gets its slots. */
static void test_floor(void **state)
{
    (void)state;
    concurrency_set_reserved(&all, &a, 3);
    take(&b, 7);
    assert_int_equal(concurrency_check(&all, &b), CONCURRENCY_ACCOUNT_FULL);
    take(&a, 3);
}

/* Zero stops the function. */
static void test_zero(void **state)
{
    (void)state;
    concurrency_set_reserved(&all, &a, 0);
    assert_int_equal(concurrency_check(&all, &a), CONCURRENCY_RESERVED_FULL);
    take(&b, 10);
}

/* Slots taken move with a reservation that is made, changed or removed. */
static void test_change_while_busy(void **state)
{
    (void)state;
    take(&a, 4);
    concurrency_set_reserved(&all, &a, 5);
    take(&b, 5);
    assert_int_equal(concurrency_check(&all, &b), CONCURRENCY_ACCOUNT_FULL);
    concurrency_set_reserved(&all, &a, 2);
    assert_int_equal(concurrency_check(&all, &a), CONCURRENCY_RESERVED_FULL);
    concurrency_set_reserved(&all, &a, -1);
    take(&a, 1);
    assert_int_equal(concurrency_check(&all, &a), CONCURRENCY_ACCOUNT_FULL);
    for (int i = 0; i < 5; i++) {
        concurrency_give(&all, &a);
        concurrency_give(&all, &b);
    }
    assert_int_equal(all.pool_busy, 0);
    assert_int_equal(all.reserved_sum, 0);
}

/* A reservation made while the pool is busy does not lift the sum over the account's. */
static void test_never_over_account(void **state)
{
    (void)state;
    take(&b, 10);
    concurrency_set_reserved(&all, &a, 4);
    assert_int_equal(concurrency_check(&all, &a), CONCURRENCY_ACCOUNT_FULL);
    concurrency_give(&all, &b);
    take(&a, 1);
    assert_int_equal(concurrency_check(&all, &a), CONCURRENCY_ACCOUNT_FULL);
    assert_int_equal(concurrency_check(&all, &b), CONCURRENCY_ACCOUNT_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pool, setup),
        cmocka_unit_test_setup(test_ceiling, setup),
        cmocka_unit_test_setup(test_floor, setup),
        cmocka_unit_test_setup(test_zero, setup),
        cmocka_unit_test_setup(test_change_while_busy, setup),
        cmocka_unit_test_setup(test_never_over_account, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
