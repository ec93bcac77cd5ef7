/* The operator's hand over HTTP: pause, resume, purge, cancel, retry, and the listing that shows them. */
#include "fixture.h"

#define INVOKE     "/2015-03-31/functions/hello/invocations"
#define EVENT_TYPE "X-Amz-Invocation-Type: Event\r\n"

static int setup(void **state)
{
    fx_setup(state);
    make_function(*state, "hello");
    return 0;
}

static void accept_event(struct fx *x, char id[ID_TEXT_LEN + 1])
{
    struct reply r = ask(x, "POST", INVOKE, EVENT_TYPE, "{}");
    assert_int_equal(r.status, 202);
    (void)snprintf(id, ID_TEXT_LEN + 1, "%s", reply_header(&r, "x-amzn-RequestId"));
    reply_done(&r);
}

static struct event find(struct fx *x, const char *text)
{
    struct id id;
    struct event ev;
    assert_rc(id_parse(text, strlen(text), &id), 0);
    assert_rc(queue_find(x->queue, &id, &ev, NULL, NULL), 0);
    return ev;
}

static struct reply act(struct fx *x, const char *verb, const char *id)
{
    char target[64], body[128];
    (void)snprintf(target, sizeof(target), "/bide/v1/events/%s", verb);
    (void)snprintf(body, sizeof(body), "{\"id\":\"%s\"}", id);
    return ask(x, "POST", target, "", body);
}

static void expect_state(struct reply r, const char *state)
{
    if (r.status != 200)
        fail_msg("%d %s", r.status, r.body);
    assert_string_equal(reply_str(&r, "state"), state);
    reply_done(&r);
}

/* Started, and settled with this verdict, as a dispatcher would. */
static void run(struct fx *x, const char *text, enum verdict v, bool settle)
{
    struct event ev = find(x, text);
    static uint64_t next_run = 1;
    struct settle s = {.seq = ev.seq,
                       .fid = ev.fid,
                       .run = next_run++,
                       .verdict = v,
                       .condition = v == VERDICT_DEAD ? CONDITION_RETRIES_EXHAUSTED : CONDITION_NONE,
                       .wait_ms = 60000,
                       .due_at_ms = 1700000060000,
                       .counts = true,
                       .attempt = {.outcome = OUTCOME_FUNCTION_ERROR, .exit_code = -1, .version = "$LATEST"}};
    assert_rc(queue_start(x->queue, ev.seq, s.run, false, NULL, NULL), 0);
    if (settle)
        assert_rc(queue_settle(x->queue, &s, NULL, NULL), 0);
    /* Ops are done in order: one that waits for its answer comes behind them. */
    expect(ask(x, "POST", "/bide/v1/clock/advance", "", "{\"ms\":0}"), 200);
}

static void test_pause(void **state)
{
    struct fx *x = *state;
    for (int i = 0; i < 2; i++) {
        struct reply r = ask(x, "POST", "/bide/v1/functions/hello/pause", "", NULL);
        assert_int_equal(r.status, 200);
        assert_string_equal(r.body, "{\"function\":\"hello\",\"paused\":true}");
        reply_done(&r);
    }
    struct reply r = ask(x, "GET", "/bide/v1/status", "", NULL);
    assert_int_equal(reply_int(&r, "functions_paused"), 1);
    assert_string_equal(json_string_value(json_array_get(json_object_get(r.json, "paused"), 0)), "hello");
    reply_done(&r);
    r = ask(x, "POST", "/bide/v1/functions/arn:aws:lambda:us-east-1:000000000000:function:hello/resume", "", NULL);
    assert_string_equal(r.body, "{\"function\":\"hello\",\"paused\":false}");
    reply_done(&r);
    expect_fault(ask(x, "POST", "/bide/v1/functions/nobody/pause", "", NULL), 404, "ResourceNotFoundException",
                 "Function not found");
    expect_fault(ask(x, "POST", "/bide/v1/functions/a%20b/pause", "", NULL), 400, "ValidationException", "constraint");
    expect_fault(ask(x, "POST", "/bide/v1/functions/hello:live/resume", "", NULL), 404, "ResourceNotFoundException",
                 "");
}

static void test_listing(void **state)
{
    struct fx *x = *state;
    char id[ID_TEXT_LEN + 1];
    make_function(x, "alpha");
    make_function(x, "beta");
    accept_event(x, id);
    struct reply r = ask(x, "GET", "/bide/v1/functions?limit=2", "", NULL);
    assert_int_equal(r.status, 200);
    const json_t *items = json_object_get(r.json, "items");
    assert_int_equal(json_array_size(items), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(items, 0), "FunctionName")), "alpha");
    assert_string_equal(reply_str(&r, "cursor"), "beta");
    reply_done(&r);
    r = ask(x, "GET", "/bide/v1/functions?limit=2&cursor=beta", "", NULL);
    items = json_object_get(r.json, "items");
    assert_int_equal(json_array_size(items), 1);
    const json_t *hello = json_array_get(items, 0), *ev = json_object_get(hello, "Events");
    assert_string_equal(json_string_value(json_object_get(hello, "FunctionName")), "hello");
    assert_true(json_is_false(json_object_get(hello, "Paused")));
    assert_int_equal(json_integer_value(json_object_get(ev, "queued")), 1);
    assert_true(json_is_null(json_object_get(r.json, "cursor")));
    reply_done(&r);
    expect_fault(ask(x, "GET", "/bide/v1/functions?limit=0", "", NULL), 400, "ValidationException", "limit");
    r = ask(x, "GET", "/2015-03-31/functions", "", NULL); /* Lambda's own stays as Lambda's */
    assert_null(strstr(r.body, "Paused"));
    reply_done(&r);
}

static void test_cancel_and_retry(void **state)
{
    struct fx *x = *state;
    char id[ID_TEXT_LEN + 1];
    accept_event(x, id);
    expect_fault(act(x, "retry", id), 409, "ResourceConflictException", "is queued already");
    expect_state(act(x, "cancel", id), "cancelled");
    expect_state(act(x, "cancel", id), "cancelled");
    expect_fault(act(x, "retry", id), 409, "ResourceConflictException", "was cancelled");
    accept_event(x, id);
    run(x, id, VERDICT_WAIT, true);
    expect_state(act(x, "retry", id), "queued");
    run(x, id, VERDICT_DEAD, true);
    expect_fault(act(x, "retry", id), 409, "ResourceConflictException",
                 "is dead (RetriesExhausted): `bide dlq replay`");
    expect_fault(act(x, "cancel", id), 409, "ResourceConflictException", "`bide dlq rm`");
    expect(ask(x, "POST", "/bide/v1/dlq/replay", "", "{\"all\":true}"), 200);
    expect_fault(act(x, "retry", id), 409, "ResourceConflictException", "was replayed as 0");
    accept_event(x, id);
    run(x, id, VERDICT_DONE, false);
    struct reply r = act(x, "cancel", id);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_str(&r, "state"), "running");
    assert_true(json_is_true(json_object_get(r.json, "cancel_asked")));
    reply_done(&r);
    expect_fault(act(x, "retry", id), 409, "ResourceConflictException", "is being cancelled");
    accept_event(x, id);
    run(x, id, VERDICT_DONE, true);
    expect_fault(act(x, "cancel", id), 409, "ResourceConflictException", "is done already");
    expect_fault(act(x, "cancel", "01a208bd-3cbb-7600-93fa-4d284ce187b7"), 404, "ResourceNotFoundException",
                 "synchronous calls are not events");
}

static void test_wrong_selections(void **state)
{
    struct fx *x = *state;
    static const char *const bad[][2] = {
        {"{}", "give \"id\" or \"function\""},
        {"{\"id\":\"x\"}", "'x' is not an event id"},
        {"{\"id\":\"01a208bd-3cbb-7600-93fa-4d284ce187b7\",\"function\":\"hello\"}", "give \"id\" or"},
        {"{\"id\":\"01a208bd-3cbb-7600-93fa-4d284ce187b7\",\"state\":\"queued\"}", "\"state\" belongs"},
        {"{\"function\":\"hello\",\"state\":\"done\"}", "'done' is not a state to cancel in"},
        {"{\"function\":\"nobody\"}", "Function not found: nobody"},
        {"{\"function\":7}", "function"},
        {"[]", "json"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct reply r = ask(x, "POST", "/bide/v1/events/cancel", "", bad[i][0]);
        if (r.status < 400 || r.status > 404 || r.body == NULL)
            fail_msg("%s: %d", bad[i][0], r.status);
        char want[80];
        size_t n = 0;
        for (const char *p = bad[i][1]; *p; p++) { /* as it looks inside JSON */
            if (*p == '"')
                want[n++] = '\\';
            want[n++] = *p;
        }
        want[n] = '\0';
        if (strstr(r.body, want) == NULL)
            fail_msg("%s: %s", bad[i][0], r.body);
        reply_done(&r);
    }
    expect_fault(ask(x, "POST", "/bide/v1/events/retry", "", "{\"function\":\"hello\",\"state\":\"waiting\"}"), 400,
                 "ValidationException", "belongs to the cancelling");
}

/* More than one transaction's worth; what runs and what another function has stays. */
static void test_purge(void **state)
{
    struct fx *x = *state;
    char id[ID_TEXT_LEN + 1], first[ID_TEXT_LEN + 1];
    accept_event(x, first);
    run(x, first, VERDICT_DONE, false);
    for (int i = 0; i < 1203; i++)
        accept_event(x, id);
    run(x, id, VERDICT_WAIT, true);
    struct reply r = ask(x, "POST", "/bide/v1/functions/hello/purge", "", NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "{\"function\":\"hello\",\"cancelled\":1203,\"cancelling\":0,\"corrupt\":0}");
    reply_done(&r);
    struct books b;
    assert_rc(queue_books(x->queue, &b), 0);
    assert_int_equal(b.cancelled, 1203);
    assert_int_equal(b.running, 1);
    r = ask(x, "POST", "/bide/v1/events/cancel", "", "{\"function\":\"hello\",\"state\":\"running\"}");
    assert_int_equal(reply_int(&r, "cancelling"), 1);
    reply_done(&r);
    accept_event(x, id);
    run(x, id, VERDICT_WAIT, true);
    r = ask(x, "POST", "/bide/v1/events/retry", "", "{\"function\":\"hello\"}");
    assert_int_equal(reply_int(&r, "retried"), 1);
    reply_done(&r);
}

/* A page of lines with its trailer; what it holds is known when it comes back. */
static void test_export_import(void **state)
{
    struct fx *x = *state;
    char id[ID_TEXT_LEN + 1];
    struct reply r = ask(x, "GET", "/bide/v1/dlq/export", "", NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "{\"cursor\":null,\"letters\":0,\"unreadable\":0}\n");
    assert_string_equal(reply_header(&r, "Content-Type"), "application/x-ndjson");
    reply_done(&r);
    for (int i = 0; i < 3; i++) {
        accept_event(x, id);
        run(x, id, VERDICT_DEAD, true);
    }
    r = ask(x, "GET", "/bide/v1/dlq/export?function=hello", "", NULL);
    char *trailer = strstr(r.body, "{\"cursor\":null,\"letters\":3,");
    assert_non_null(trailer);
    *trailer = '\0';
    struct reply in = ask(x, "POST", "/bide/v1/dlq/import", "", r.body);
    assert_int_equal(reply_int(&in, "known"), 3);
    assert_int_equal(reply_int(&in, "imported") + reply_int(&in, "n_faults"), 0);
    reply_done(&in);
    expect(ask(x, "POST", "/bide/v1/dlq/rm", "", "{\"all\":true}"), 200);
    in = ask(x, "POST", "/bide/v1/dlq/import", "", r.body);
    assert_int_equal(reply_int(&in, "imported"), 3);
    reply_done(&in);
    reply_done(&r);
    struct queue_function_stats st;
    const struct function *f = registry_get(x->registry, "hello");
    assert_rc(queue_function_stats(x->queue, f->fid, &st), 0);
    function_unref(f);
    assert_int_equal(st.dead, 3); /* counted for the function that has the name */
    in = ask(x, "POST", "/bide/v1/dlq/import", "", "\n{}\nx\n");
    assert_int_equal(reply_int(&in, "n_faults"), 2);
    const json_t *second = json_array_get(json_object_get(in.json, "faults"), 1);
    assert_int_equal(json_integer_value(json_object_get(second, "line")), 3);
    reply_done(&in);
    in = ask(x, "POST", "/bide/v1/dlq/import", "", "");
    assert_int_equal(reply_int(&in, "imported"), 0);
    reply_done(&in);
    char *big = calloc(1, (17 << 20) + 1);
    memset(big, '\n', 17 << 20);
    expect_fault(ask(x, "POST", "/bide/v1/dlq/import", "", big), 413, "RequestEntityTooLargeException", "");
    free(big);
    expect_fault(ask(x, "GET", "/bide/v1/dlq/export?condition=Bored", "", NULL), 400, "ValidationException", "Bored");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pause, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_listing, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_cancel_and_retry, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_wrong_selections, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_purge, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_export_import, setup, fx_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
