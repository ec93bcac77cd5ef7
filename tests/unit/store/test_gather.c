/* The policy alone, and what it does to a closed loop of clients played by hand. */
#include "testutil.h"

#include "gather.h"

static void test_one_client_is_never_waited_for(void **state)
{
    (void)state;
    struct gather g = {0};
    for (int i = 0; i < 100; i++) {
        assert_int_equal(gather_missing(&g, 1), 0);
        gather_committed(&g, 1, 0, 400);
    }
}

static void test_those_of_the_last_commit_are_waited_for(void **state)
{
    (void)state;
    struct gather g = {0};
    gather_committed(&g, 8, 8, 400); /* two halves, as it is without a wait */
    assert_int_equal(gather_missing(&g, 8), 8);
    gather_learn(&g, 8, 8);
    gather_committed(&g, 16, 0, 400);
    assert_int_equal(gather_missing(&g, 1), 15);
    gather_learn(&g, 15, 15);
    assert_int_equal(gather_missing(&g, 16), 0);
    assert_int_equal(gather_missing(&g, 20), 0);
}

/* Waits for what does not come grow rare: of a thousand batches only a few. */
static void test_waits_in_vain_grow_rare(void **state)
{
    (void)state;
    struct gather g = {0};
    int waits = 0;
    for (int i = 0; i < 1000; i++) {
        gather_committed(&g, 4, 4, 400);
        size_t missing = gather_missing(&g, 4);
        if (missing > 0) {
            waits++;
            gather_learn(&g, missing, 2); /* arrivals at random: half of them, in half the time */
        }
    }
    assert_in_range(waits, 6, 6 + 1000 / GATHER_SKIP_MAX + 1);
    gather_committed(&g, 4, 4, 400); /* they behave again: one good try is enough */
    while (gather_missing(&g, 4) == 0)
        ;
    gather_learn(&g, 4, 3);
    for (int i = 0; i < 10; i++)
        assert_int_equal(gather_missing(&g, 4), 4);
}

static void test_a_crowd_is_not_waited_for(void **state)
{
    (void)state;
    struct gather g = {0};
    gather_committed(&g, GATHER_CROWD / 2, GATHER_CROWD / 2, 400);
    assert_int_equal(gather_missing(&g, GATHER_CROWD / 2), GATHER_CROWD / 2);
    gather_committed(&g, GATHER_CROWD, 1, 400);
    assert_int_equal(gather_missing(&g, 1), 0);
}

static void test_patience_follows_the_disk(void **state)
{
    (void)state;
    struct gather g = {0};
    gather_committed(&g, 1, 0, 400);
    assert_int_equal(gather_patience_us(&g), 200);
    for (int i = 0; i < 100; i++)
        gather_committed(&g, 1, 0, 1000);
    assert_in_range(gather_patience_us(&g), 480, 500);
    for (int i = 0; i < 100; i++)
        gather_committed(&g, 1, 0, 50000);
    assert_int_equal(gather_patience_us(&g), GATHER_PATIENCE_MAX_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_client_is_never_waited_for),
        cmocka_unit_test(test_those_of_the_last_commit_are_waited_for),
        cmocka_unit_test(test_waits_in_vain_grow_rare),
        cmocka_unit_test(test_a_crowd_is_not_waited_for),
        cmocka_unit_test(test_patience_follows_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
