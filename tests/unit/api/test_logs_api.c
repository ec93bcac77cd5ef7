/* GET /bide/v1/functions/{}/logs. */
#include "fixture.h"

#define LOGS   "/bide/v1/functions/hello/logs"
#define STREAM "2026/01/02/[$LATEST]0123456789abcdef0123456789abcdef"
#define ID1    "01234567-89ab-7cde-8f01-23456789abcd"
#define ID2    "fedcba98-7654-7210-8edc-ba9876543210"

static int setup(void **state)
{
    fx_setup(state);
    make_function(*state, "hello");
    return 0;
}

static void say(struct logs_stream *s, const char *id, const char *text, size_t len)
{
    assert_true(logs_output(s, id, text, len));
}

static const json_t *line_at(const struct reply *r, size_t i)
{
    const json_t *line = json_array_get(json_object_get(r->json, "items"), i);
    if (line == NULL)
        fail_msg("no line %zu in %s", i, r->body);
    return line;
}

static const char *member(const json_t *line, const char *key)
{
    const char *s = json_string_value(json_object_get(line, key));
    return s != NULL ? s : "(null)";
}

static void test_lines(void **state)
{
    struct fx *x = *state;
    char target[400];
    struct logs_stream *s = logs_stream_open(x->logs, "hello", STREAM);
    int64_t before = clock_real_ms();
    say(s, "", "importing\n", 10);
    say(s, ID1, "a \"quoted\" line\\\n", 17);
    struct reply r = ask(x, "GET", LOGS, "", NULL);
    assert_int_equal(r.status, 200);
    assert_int_equal(json_array_size(json_object_get(r.json, "items")), 2);
    assert_true(json_is_false(json_object_get(r.json, "more")));
    assert_true(json_is_true(json_object_get(r.json, "on")));
    const json_t *line = line_at(&r, 0);
    assert_true(json_is_null(json_object_get(line, "request_id")));
    assert_string_equal(member(line, "message"), "importing");
    assert_string_equal(member(line, "stream"), STREAM);
    assert_true(json_integer_value(json_object_get(line, "time_ms")) >= before);
    assert_string_equal(member(line_at(&r, 1), "request_id"), ID1);
    assert_string_equal(member(line_at(&r, 1), "message"), "a \"quoted\" line\\");
    reply_done(&r);
    (void)snprintf(target, sizeof target, LOGS "?event=%s", ID1);
    r = ask(x, "GET", target, "", NULL);
    assert_int_equal(json_array_size(json_object_get(r.json, "items")), 1);
    (void)snprintf(target, sizeof target, LOGS "?cursor=%s", reply_str(&r, "cursor"));
    reply_done(&r);
    say(s, ID2, "later\n", 6);
    r = ask(x, "GET", target, "", NULL);
    assert_int_equal(json_array_size(json_object_get(r.json, "items")), 1);
    assert_string_equal(member(line_at(&r, 0), "message"), "later");
    reply_done(&r);
    r = ask(x, "GET", LOGS "?limit=1", "", NULL);
    assert_int_equal(json_array_size(json_object_get(r.json, "items")), 1);
    assert_true(json_is_true(json_object_get(r.json, "more")));
    reply_done(&r);
    r = ask(x, "GET", LOGS "?since=9000000000000", "", NULL);
    assert_int_equal(json_array_size(json_object_get(r.json, "items")), 0);
    reply_done(&r);
    logs_stream_close(s);
}

static void test_hostile_bytes(void **state)
{
    struct fx *x = *state;
    struct logs_stream *s = logs_stream_open(x->logs, "hello", STREAM);
    say(s, ID1, "nul \0 and \xff and \x1b[2J\n", 21);
    struct reply r = ask(x, "GET", LOGS, "", NULL);
    assert_int_equal(r.status, 200);
    if (strstr(r.body, "nul \\u0000 and \xef\xbf\xbd and \\u001b[2J\"") == NULL)
        fail_msg("%s", r.body);
    reply_done(&r);
    logs_stream_close(s);
}

static void test_refused(void **state)
{
    struct fx *x = *state;
    struct reply r = ask(x, "GET", LOGS, "", NULL); /* it is there and has not logged */
    assert_int_equal(r.status, 200);
    assert_int_equal(json_array_size(json_object_get(r.json, "items")), 0);
    assert_true(reply_str(&r, "cursor")[0] != '\0');
    reply_done(&r);
    expect_fault(ask(x, "GET", "/bide/v1/functions/nosuch/logs", "", NULL), 404, "ResourceNotFoundException",
                 "Function not found: nosuch, and it has no logs");
    expect_fault(ask(x, "GET", "/bide/v1/functions/a%2F..%2Fb/logs", "", NULL), 400, "ValidationException", "");
    static const char *const bad[][2] = {{"since=x", "since is not a time"},
                                         {"since=-1", "since is not a time"},
                                         {"limit=0", "limit must be a number"},
                                         {"limit=x", "limit must be a number"},
                                         {"cursor=x", "cursor is not one that was given out"},
                                         {"cursor=1.2.3.x", "cursor is not one that was given out"},
                                         {"event=x", "'x' is not an event id"},
                                         {"event=%00", "is not an event id"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char target[200];
        (void)snprintf(target, sizeof target, LOGS "?%s", bad[i][0]);
        expect_fault(ask(x, "GET", target, "", NULL), 400, "ValidationException", bad[i][1]);
    }
}

/* Logs outlive their function. */
static void test_deleted(void **state)
{
    struct fx *x = *state;
    struct logs_stream *s = logs_stream_open(x->logs, "hello", STREAM);
    say(s, ID1, "last words\n", 11);
    logs_stream_close(s);
    expect(ask(x, "DELETE", "/2015-03-31/functions/hello", "", NULL), 204);
    struct reply r = ask(x, "GET", LOGS, "", NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(member(line_at(&r, 0), "message"), "last words");
    reply_done(&r);
}

static void test_status(void **state)
{
    struct fx *x = *state;
    struct logs_stream *s = logs_stream_open(x->logs, "hello", STREAM);
    say(s, ID1, "x\n", 2);
    expect(ask(x, "GET", LOGS, "", NULL), 200); /* what was put is written now */
    struct reply r = ask(x, "GET", "/bide/v1/status", "", NULL);
    const json_t *logs = json_object_get(r.json, "logs");
    assert_true(json_is_true(json_object_get(logs, "on")));
    assert_true(json_is_false(json_object_get(logs, "stopped")));
    assert_true(json_is_null(json_object_get(logs, "why")));
    assert_int_equal(json_integer_value(json_object_get(logs, "streams")), 1);
    assert_true(json_integer_value(json_object_get(logs, "written_bytes")) > 0);
    reply_done(&r);
    logs_stream_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_hostile_bytes, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_deleted, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_status, setup, fx_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
