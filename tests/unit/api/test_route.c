/* The table of routes. */
#include "route.h"
#include "testutil.h"

static const struct route *find(enum http1_method m, const char *path, char *arg)
{
    int err;
    const struct route *r = route_find(m, (struct slice){path, strlen(path)}, arg, &err);
    assert_true(!r || err == 0);
    return r;
}

static void test_found(void **state)
{
    (void)state;
    static const struct {
        enum http1_method method;
        const char *path, *operation, *arg;
    } rows[] = {
        {HTTP1_POST, "/2015-03-31/functions", "CreateFunction", ""},
        {HTTP1_POST, "/2015-03-31/functions/", "CreateFunction", ""},
        {HTTP1_GET, "/2015-03-31/functions/", "ListFunctions", ""},
        {HTTP1_GET, "/2015-03-31/functions/hello", "GetFunction", "hello"},
        {HTTP1_GET, "/2015-03-31/functions/arn%3Aaws%3Al:$x/configuration", "GetFunctionConfiguration", "arn:aws:l:$x"},
        {HTTP1_POST, "/2015-03-31/functions/h/invocations", "Invoke", "h"},
        {HTTP1_DELETE, "/2015-03-31/functions/h", "DeleteFunction", "h"},
        {HTTP1_PUT, "/2017-10-31/functions/h/concurrency", "PutFunctionConcurrency", "h"},
        {HTTP1_GET, "/2019-09-30/functions/h/concurrency", "GetFunctionConcurrency", "h"},
        {HTTP1_GET, "/2019-09-25/functions/h/event-invoke-config/list", "ListFunctionEventInvokeConfigs", "h"},
        {HTTP1_POST, "/bide/v1/functions/h/events", "AcceptEvents", "h"},
        {HTTP1_GET, "/bide/v1/dlq/0190-x", "GetDeadLetter", "0190-x"},
        {HTTP1_POST, "/bide/v1/dlq/replay", "ReplayDeadLetters", ""},
        {HTTP1_HEAD, "/health", "Health", ""},
    };
    char arg[SEGMENT_MAX + 1];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct route *r = find(rows[i].method, rows[i].path, arg);
        if (!r)
            fail_msg("%s was not found", rows[i].path);
        assert_string_equal(r->operation, rows[i].operation);
        assert_string_equal(arg, rows[i].arg);
    }
}

static void test_not_found(void **state)
{
    (void)state;
    static const struct {
        enum http1_method method;
        const char *path;
    } rows[] = {
        {HTTP1_GET, "/"},
        {HTTP1_GET, "/2015-03-31/functionsx"},
        {HTTP1_GET, "/2015-03-31/function"},
        {HTTP1_PATCH, "/2015-03-31/functions/h"},
        {HTTP1_GET, "/2015-03-31/functions/h/invocations"},
        {HTTP1_POST, "/2015-03-31/functions//invocations"},
        {HTTP1_POST, "/2015-03-31/functions/a/b/invocations"},
        {HTTP1_GET, "/bide/v1/events/x/y"},
        {HTTP1_OPTIONS, "*"},
    };
    char arg[SEGMENT_MAX + 1];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (find(rows[i].method, rows[i].path, arg))
            fail_msg("%s was found", rows[i].path);
}

static void test_long_argument(void **state)
{
    (void)state;
    char path[2 * SEGMENT_MAX] = "/2015-03-31/functions/", arg[SEGMENT_MAX + 1];
    int err;
    memset(path + strlen(path), 'a', SEGMENT_MAX + 1);
    assert_non_null(route_find(HTTP1_GET, (struct slice){path, strlen(path)}, arg, &err));
    assert_int_equal(err, ERR_TOOBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_long_argument),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
