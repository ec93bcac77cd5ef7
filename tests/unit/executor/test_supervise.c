#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "supervise.h"

static void no_cell_is_empty(void **state)
{
    (void)state;
    for (int s = 0; s < SUP_N_STATES; s++)
        for (int ev = 0; ev < SUP_N_EVENTS; ev++) {
            enum sup_action a = supervise_action((enum sup_state)s, (enum sup_event)ev);
            if (a < SUP_NOTHING || a > SUP_LOST_TRACK)
                fail_msg("%s, %s: no action", supervise_state_name((enum sup_state)s),
                         supervise_event_name((enum sup_event)ev));
        }
}

static void names_are_distinct(void **state)
{
    (void)state;
    for (int i = 0; i < SUP_N_STATES; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(supervise_state_name((enum sup_state)i), supervise_state_name((enum sup_state)j));
    for (int i = 0; i < SUP_N_EVENTS; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(supervise_event_name((enum sup_event)i), supervise_event_name((enum sup_event)j));
}

/* Whatever the state: a stop stops, and the end of the box is the end (or the start of another). */
static void a_stop_and_a_death_always_count(void **state)
{
    (void)state;
    for (int i = 0; i < SUP_N_STATES; i++) {
        enum sup_state s = (enum sup_state)i;
        enum sup_action stop = supervise_action(s, SUP_EV_STOP), dead = supervise_action(s, SUP_EV_DEAD);
        assert_true(stop == SUP_STOP || stop == SUP_DISRUPT_AND_STOP || stop == SUP_STOP_ASKED);
        assert_true(dead == SUP_GONE || dead == SUP_INIT_DEAD || dead == SUP_START_FAILED);
    }
}

/* An answer is taken in one state only: a second one, or one after the time limit, never is. */
static void answers_count_while_busy_only(void **state)
{
    (void)state;
    for (int i = 0; i < SUP_N_STATES; i++) {
        enum sup_state s = (enum sup_state)i;
        assert_int_equal(supervise_action(s, SUP_EV_RESPONSE) == SUP_ANSWER, s == SUP_BUSY);
        assert_int_equal(supervise_action(s, SUP_EV_ERROR) == SUP_ANSWER_ERROR, s == SUP_BUSY);
        assert_int_equal(supervise_action(s, SUP_EV_DEADLINE) == SUP_TIME_OUT, s == SUP_BUSY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_cell_is_empty),
        cmocka_unit_test(names_are_distinct),
        cmocka_unit_test(a_stop_and_a_death_always_count),
        cmocka_unit_test(answers_count_while_busy_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
