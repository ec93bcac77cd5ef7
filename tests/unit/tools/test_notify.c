/* Who is meant by WATCHDOG_PID: the process that was started, whose child the engine is, or the engine itself. */
#include "notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "testutil.h"

static int64_t asked(const char *usec, const char *pid)
{
    if (usec != NULL)
        assert_int_equal(setenv("WATCHDOG_USEC", usec, 1), 0);
    else
        assert_int_equal(unsetenv("WATCHDOG_USEC"), 0);
    if (pid != NULL)
        assert_int_equal(setenv("WATCHDOG_PID", pid, 1), 0);
    else
        assert_int_equal(unsetenv("WATCHDOG_PID"), 0);
    return notify_watchdog_ms();
}

static void test_watchdog_ms(void **state)
{
    char own[24], parent[24], other[24];
    (void)state;
    (void)snprintf(own, sizeof own, "%ld", (long)getpid());
    (void)snprintf(parent, sizeof parent, "%ld", (long)getppid());
    (void)snprintf(other, sizeof other, "%ld", (long)getpid() + 1);
    assert_int_equal(asked(NULL, NULL), 0);
    assert_int_equal(asked(NULL, own), 0);
    assert_int_equal(asked("30000000", NULL), 30000);
    assert_int_equal(asked("30000000", own), 30000);
    assert_int_equal(asked("30000000", parent), 30000);
    assert_int_equal(asked("30000000", other), 0);
    assert_int_equal(asked("30000000", "x"), 0);
    assert_int_equal(asked("0", NULL), 0);
    assert_int_equal(asked("", NULL), 0);
    assert_int_equal(asked("30s", NULL), 0);
    assert_int_equal(asked("99999999999999999999999", NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_watchdog_ms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
