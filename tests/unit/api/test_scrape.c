/* GET /metrics: who may ask, and that what is shown is what happened. */
#include "auth.h"
#include "fixture.h"

#define INVOKE     "/2015-03-31/functions/hello/invocations"
#define EVENT_TYPE "X-Amz-Invocation-Type: Event\r\n"

/* The value on the line that begins with this name and labels; fails the test without one. */
static double value(const struct reply *r, const char *series)
{
    size_t len = strlen(series);
    for (const char *p = r->body; p != NULL; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (strncmp(p, series, len) == 0 && p[len] == ' ')
            return strtod(p + len, NULL);
    }
    fail_msg("no series %s in %s", series, r->body);
    return 0;
}

static void expect_sample(const struct reply *r, const char *series, double want)
{
    double got = value(r, series);
    if (got != want)
        fail_msg("%s is %f, not %f", series, got, want);
}

static void test_who_may_ask(void **state)
{
    struct fx *x = *state;
    static const struct {
        struct httpd_peer peer;
        bool local;
    } rows[] = {
        {{.is_unix = true, .uid = 12345}, true},   {{.loopback = true, .addr = "127.0.0.1"}, true},
        {{.loopback = true, .addr = "::1"}, true}, {{.addr = "192.0.2.7"}, false},
        {{.addr = "2001:db8::7"}, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(auth_peer_is_local(&rows[i].peer), rows[i].local);
    static const char plain[] = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    static const char status[] = "GET /bide/v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    struct reply r = ask_raw(x, true, plain, sizeof(plain) - 1);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_header(&r, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    reply_done(&r);
    /* Nobody is trusted on this socket, and still it is on this host. */
    expect(ask_raw(x, false, plain, sizeof(plain) - 1), 200);
    expect_fault(ask_raw(x, false, status, sizeof(status) - 1), 403, "MissingAuthenticationTokenException", "");
    /* A proxy speaks for somebody else, who has to sign. */
    static const char *const proxied[] = {"X-Forwarded-For: 192.0.2.7", "forwarded: for=192.0.2.7", "Via: 1.1 proxy",
                                          "X-Real-IP: 127.0.0.1"};
    for (size_t i = 0; i < sizeof(proxied) / sizeof(proxied[0]); i++) {
        char text[200];
        int n = snprintf(text, sizeof(text), "GET /metrics HTTP/1.1\r\nHost: x\r\n%s\r\nConnection: close\r\n\r\n",
                         proxied[i]);
        expect_fault(ask_raw(x, true, text, (size_t)n), 403, "MissingAuthenticationTokenException", "");
    }
    expect(ask_tcp(x, "GET", "/metrics", "", FIXTURE_KEY_ID, FIXTURE_SECRET), 200);
    expect_fault(ask(x, "POST", "/metrics", "", "{}"), 404, "UnknownOperationException", "");
}

static void test_what_happened(void **state)
{
    struct fx *x = *state;
    make_function(x, "hello");
    make_function(x, "other");
    for (int i = 0; i < 3; i++)
        expect(ask(x, "POST", INVOKE, EVENT_TYPE, "{}"), 202);
    clock_advance(&x->clock, 1500);
    expect(ask(x, "POST", INVOKE, EVENT_TYPE, "{}"), 202);
    expect(ask(x, "POST", INVOKE, EVENT_TYPE, "{"), 400);
    expect(ask(x, "POST", "/2015-03-31/functions/nosuch/invocations", "", "{}"), 404);
    expect(ask_tcp(x, "GET", "/bide/v1/status", "", "", ""), 403);
    struct reply r = ask(x, "GET", "/metrics", "", NULL);
    assert_int_equal(r.status, 200);
    expect_sample(&r, "bide_build_info{version=\"9.9.9\"}", 1);
    expect_sample(&r, "bide_functions", 2);
    expect_sample(&r, "bide_functions_left_out", 0);
    expect_sample(&r, "bide_events{state=\"queued\"}", 4);
    expect_sample(&r, "bide_events_accepted_total", 4);
    expect_sample(&r, "bide_function_events{function=\"hello\",state=\"queued\"}", 4);
    expect_sample(&r, "bide_function_events{function=\"other\",state=\"queued\"}", 0);
    expect_sample(&r, "bide_function_oldest_event_age_seconds{function=\"hello\",state=\"queued\"}", 1.5);
    expect_sample(&r, "bide_function_oldest_event_age_seconds{function=\"other\",state=\"queued\"}", 0);
    expect_sample(&r, "bide_async_events_received_total{function=\"hello\"}", 4);
    expect_sample(&r, "bide_async_events_received_total{function=\"other\"}", 0);
    expect_sample(&r, "bide_accept_seconds_count", 4);
    expect_sample(&r, "bide_http_refusals_total{reason=\"invalid\"}", 1);
    expect_sample(&r, "bide_http_refusals_total{reason=\"not_found\"}", 1);
    expect_sample(&r, "bide_http_refusals_total{reason=\"signature\"}", 1);
    expect_sample(&r, "bide_http_answers_total{code=\"4xx\"}", 3);
    /* From the scripted dispatcher. */
    expect_sample(&r, "bide_errors_total{function=\"hello\",outcome=\"timeout\"}", 3);
    expect_sample(&r, "bide_throttles_total{function=\"other\",reason=\"reserved\"}", 4);
    expect_sample(&r, "bide_duration_seconds_bucket{function=\"other\",le=\"0.0015\"}", 3);
    expect_sample(&r, "bide_workers{state=\"other\"}", 1);
    expect_sample(&r, "bide_degradations", 1);
    expect_sample(&r, "bide_log_stopped", 0);
    assert_true(value(&r, "bide_store_commit_seconds_count") >= 6);
    assert_true(value(&r, "process_open_fds{process=\"engine\"}") > 3);
    reply_done(&r);
}

/* A function that is gone takes its series along. */
static void test_deleted(void **state)
{
    struct fx *x = *state;
    make_function(x, "hello");
    struct reply r = ask(x, "GET", "/metrics", "", NULL);
    assert_non_null(strstr(r.body, "function=\"hello\""));
    reply_done(&r);
    expect(ask(x, "DELETE", "/2015-03-31/functions/hello", "", NULL), 204);
    r = ask(x, "GET", "/metrics", "", NULL);
    assert_null(strstr(r.body, "function=\"hello\""));
    expect_sample(&r, "bide_functions", 0);
    reply_done(&r);
}

/* More functions than have series: the first by name have them, the others are counted. */
static void test_too_many_functions(void **state)
{
    enum { CEILING = 1000, OVER = 3 };
    struct fx *x = *state;
    for (int i = CEILING + OVER; i > 0; i--) {
        char name[16];
        (void)snprintf(name, sizeof(name), "f%04d", i);
        make_function(x, name);
    }
    struct reply r = ask(x, "GET", "/metrics", "", NULL);
    assert_int_equal(r.status, 200);
    expect_sample(&r, "bide_functions", CEILING + OVER);
    expect_sample(&r, "bide_functions_left_out", OVER);
    expect_sample(&r, "bide_function_events{function=\"f0001\",state=\"queued\"}", 0);
    expect_sample(&r, "bide_function_events{function=\"f1000\",state=\"queued\"}", 0);
    assert_null(strstr(r.body, "f1001"));
    reply_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_who_may_ask, fx_setup_distrust, fx_teardown),
        cmocka_unit_test_setup_teardown(test_what_happened, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_deleted, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_too_many_functions, fx_setup, fx_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
