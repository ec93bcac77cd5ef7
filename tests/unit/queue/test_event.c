/* The transition table, every state against every state. The expectation is written out by hand as rows, so that it
 * does not repeat the sets it checks. */
#include "testutil.h"

#include <signal.h>
#include <sys/wait.h>

#include "event.h"

static const struct {
    enum event_state from, to;
} rows[] = {
    {EVENT_NONE, EVENT_QUEUED},       /* accept */
    {EVENT_NONE, EVENT_DEAD},         /* import */
    {EVENT_NONE, EVENT_REPLAYED},     /* import */
    {EVENT_QUEUED, EVENT_RUNNING},    /* start */
    {EVENT_QUEUED, EVENT_DEAD},       /* expired, no concurrency, function deleted */
    {EVENT_QUEUED, EVENT_CANCELLED},  /* operator */
    {EVENT_QUEUED, EVENT_WAITING},    /* dead but for room in the dead-letter store */
    {EVENT_RUNNING, EVENT_DONE},      /* success */
    {EVENT_RUNNING, EVENT_WAITING},   /* retry wait */
    {EVENT_RUNNING, EVENT_DEAD},      /* no retries left, too old, disrupted */
    {EVENT_RUNNING, EVENT_QUEUED},    /* disruption, restart */
    {EVENT_RUNNING, EVENT_CANCELLED}, /* flagged, then any outcome */
    {EVENT_WAITING, EVENT_QUEUED},    /* due */
    {EVENT_WAITING, EVENT_DEAD},      /* expired, function deleted, room at last */
    {EVENT_WAITING, EVENT_CANCELLED}, /* operator */
    {EVENT_WAITING, EVENT_WAITING},   /* still no room */
    {EVENT_DONE, EVENT_REMOVED},      /* retention */
    {EVENT_DEAD, EVENT_REPLAYED},     /* replay */
    {EVENT_DEAD, EVENT_REMOVED},      /* operator, retention */
    {EVENT_CANCELLED, EVENT_REMOVED}, /* retention */
    {EVENT_REPLAYED, EVENT_REMOVED},  /* its letter goes */
    {EVENT_REPLAYED, EVENT_REPLAYED}, /* once more, on purpose */
};

static bool expected(enum event_state from, enum event_state to)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].from == from && rows[i].to == to)
            return true;
    return false;
}

static void every_pair(void **state)
{
    (void)state;
    for (int from = 0; from < EVENT_STATES; from++)
        for (int to = 0; to < EVENT_STATES; to++) {
            bool want = expected((enum event_state)from, (enum event_state)to);
            if (event_may_move((enum event_state)from, (enum event_state)to) != want)
                fail_msg("%s -> %s: wanted %s", event_state_name((enum event_state)from),
                         event_state_name((enum event_state)to), want ? "allowed" : "refused");
        }
}

/* Runs the move in a child, since a forbidden one ends the process. */
static bool survives(enum event_state from, enum event_state to)
{
    struct event ev = {.seq = 1, .state = from};
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(STDERR_FILENO);
        event_move(&ev, to);
        _exit(ev.state == to ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status)) {
        assert_int_equal(WEXITSTATUS(status), 0);
        return true;
    }
    assert_int_equal(WTERMSIG(status), SIGABRT);
    return false;
}

static void a_forbidden_move_ends_the_process(void **state)
{
    (void)state;
    for (int from = 0; from < EVENT_STATES; from++)
        for (int to = 0; to < EVENT_STATES; to++)
            assert_int_equal(survives((enum event_state)from, (enum event_state)to),
                             expected((enum event_state)from, (enum event_state)to));
}

static void out_of_range_is_refused(void **state)
{
    (void)state;
    assert_false(event_may_move(EVENT_STATES, EVENT_QUEUED));
    assert_false(event_may_move(EVENT_QUEUED, EVENT_STATES));
}

/* The names are the outward contract's. */
static void names(void **state)
{
    (void)state;
    static const char *const states[] = {"none", "queued",    "running",  "waiting", "done",
                                         "dead", "cancelled", "replayed", "removed"};
    for (int i = 0; i < EVENT_STATES; i++)
        assert_string_equal(event_state_name((enum event_state)i), states[i]);
    assert_string_equal(event_state_name(EVENT_STATES), "unknown");
    assert_string_equal(condition_name(CONDITION_RETRIES_EXHAUSTED), "RetriesExhausted");
    assert_string_equal(condition_name(CONDITION_EVENT_AGE_EXCEEDED), "EventAgeExceeded");
    assert_string_equal(condition_name(CONDITION_ZERO_RESERVED_CONCURRENCY), "ZeroReservedConcurrency");
    assert_string_equal(condition_name(CONDITION_DISRUPTED), "Disrupted");
    assert_string_equal(condition_name(CONDITION_FUNCTION_DELETED), "FunctionDeleted");
    assert_string_equal(condition_name(CONDITION_CORRUPT), "Corrupt");
    static const char *const outcomes[] = {"success",       "function_error", "timeout",
                                           "out_of_memory", "exited",         "init_error"};
    for (int i = 0; i < OUTCOMES; i++)
        assert_string_equal(outcome_name((enum outcome)i), outcomes[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair),
        cmocka_unit_test(a_forbidden_move_ends_the_process),
        cmocka_unit_test(out_of_range_is_refused),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
