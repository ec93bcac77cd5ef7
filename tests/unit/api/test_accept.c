/* Many events in one request. */
#include "call.h"
#include "event_lines.h"
#include "fixture.h"

#define EVENTS "/bide/v1/functions/hello/events"

static int setup(void **state)
{
    fx_setup(state);
    make_function(*state, "hello");
    return 0;
}

static uint64_t accepted(struct fx *x)
{
    struct books b;
    assert_rc(queue_books(x->queue, &b), 0);
    return b.accepted;
}

static struct event find(struct fx *x, const char *text)
{
    struct id id;
    struct event ev;
    assert_rc(id_parse(text, strlen(text), &id), 0);
    assert_rc(queue_find(x->queue, &id, &ev, NULL, NULL), 0);
    return ev;
}

static struct buf payload_of(struct fx *x, const char *id)
{
    struct buf b;
    buf_init(&b, 8 << 20);
    assert_rc(queue_payload(x->queue, find(x, id).seq, &b), 0);
    return b;
}

static void expect_payload(struct fx *x, const char *id, const char *want)
{
    struct buf b = payload_of(x, id);
    assert_string_equal(b.data, want);
    buf_done(&b);
}

/* The i-th id of an answer. */
static const char *nth(const struct reply *r, size_t i)
{
    const char *id = json_string_value(json_array_get(json_object_get(r->json, "ids"), i));
    if (id == NULL)
        fail_msg("there is no id %zu in %.200s", i, r->body);
    return id;
}

static struct reply accept_lines(struct fx *x, const char *lines, size_t n)
{
    struct reply r = ask(x, "POST", EVENTS, "", lines);
    if (r.status != 202)
        fail_msg("%d %s", r.status, r.body);
    assert_int_equal(json_array_size(json_object_get(r.json, "ids")), n);
    return r;
}

/* The named line i of a refusal. */
static void expect_line(const struct reply *r, size_t i, int64_t line, const char *part)
{
    const json_t *e = json_array_get(json_object_get(r->json, "Errors"), i);
    const char *message = json_string_value(json_object_get(e, "Message"));
    if (json_integer_value(json_object_get(e, "Line")) != line || message == NULL || strstr(message, part) == NULL)
        fail_msg("error %zu is not line %d saying \"%s\": %.400s", i, (int)line, part, r->body);
}

/* n lines "i\n", from 0. */
static char *numbers(size_t n)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < n; i++)
        assert_rc(buf_printf(&b, "%zu\n", i), 0);
    return buf_take(&b, NULL);
}

/* A string of n bytes with its quotes. */
static char *text_of(size_t n)
{
    char *p = malloc(n + 1);
    assert_non_null(p);
    memset(p, 'a', n);
    p[0] = p[n - 1] = '"';
    p[n] = '\0';
    return p;
}

/* --- what is accepted ----- */

static void in_order_and_as_they_came(void **state)
{
    struct fx *x = *state;
    struct reply r = accept_lines(x, "{ \"n\" : 1.50e1 }\r\n\n \t \r\n\"\\u00fc \xc3\xbc\"\n  [ ] \nnull", 4);
    assert_string_equal(reply_header(&r, "Content-Type"), "application/json");
    expect_payload(x, nth(&r, 0), "{ \"n\" : 1.50e1 }");
    expect_payload(x, nth(&r, 1), "\"\\u00fc \xc3\xbc\"");
    expect_payload(x, nth(&r, 2), "  [ ] ");
    expect_payload(x, nth(&r, 3), "null");
    for (size_t i = 1; i < 4; i++) {
        assert_true(strcmp(nth(&r, i - 1), nth(&r, i)) < 0);
        assert_int_equal(find(x, nth(&r, i)).seq, find(x, nth(&r, i - 1)).seq + 1);
    }
    assert_int_equal(accepted(x), 4);
    reply_done(&r);
    r = accept_lines(x, "1", 1);
    assert_string_equal(find(x, nth(&r, 0)).name, "hello");
    assert_int_equal(find(x, nth(&r, 0)).state, EVENT_QUEUED);
    reply_done(&r);
}

static void a_trace_for_all_of_a_request(void **state)
{
    struct fx *x = *state;
    struct reply r = ask(x, "POST", EVENTS, "X-Amzn-Trace-Id: Root=1-2-3\r\n", "1\n2\n");
    assert_int_equal(r.status, 202);
    assert_string_equal(find(x, nth(&r, 0)).trace, "Root=1-2-3");
    assert_string_equal(find(x, nth(&r, 1)).trace, "Root=1-2-3");
    reply_done(&r);
    r = ask(x, "POST", EVENTS "?Qualifier=$LATEST", "", "1\n2\n");
    assert_int_equal(r.status, 202);
    assert_memory_equal(find(x, nth(&r, 0)).trace, "Root=1-", 7);
    assert_string_equal(find(x, nth(&r, 0)).trace, find(x, nth(&r, 1)).trace);
    assert_string_equal(find(x, nth(&r, 1)).qualifier, "$LATEST");
    reply_done(&r);
}

static void signed_as_all_else(void **state)
{
    struct fx *x = *state;
    expect(ask_tcp(x, "POST", EVENTS, "1\n2\n", FIXTURE_KEY_ID, FIXTURE_SECRET), 202);
    expect_fault(ask_tcp(x, "POST", EVENTS, "1\n2\n", "", ""), 403, "MissingAuthenticationTokenException", "");
    expect_fault(ask_tcp(x, "POST", EVENTS, "1\n2\n", FIXTURE_KEY_ID, "wrong"), 403, "InvalidSignatureException", "");
    assert_int_equal(accepted(x), 2);
}

static void a_thousand_and_not_one_more(void **state)
{
    struct fx *x = *state;
    char *lines = numbers(1001);
    expect_fault(ask(x, "POST", EVENTS, "", lines), 413, "RequestEntityTooLargeException",
                 "More than 1000 events in one request");
    assert_int_equal(accepted(x), 0);
    *strstr(lines, "1000\n") = '\0';
    struct reply r = accept_lines(x, lines, 1000);
    free(lines);
    expect_payload(x, nth(&r, 0), "0");
    expect_payload(x, nth(&r, 999), "999");
    assert_int_equal(accepted(x), 1000);
    reply_done(&r);
}

static void blank_lines_do_not_count(void **state)
{
    struct fx *x = *state;
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 2000; i++)
        assert_rc(buf_puts(&b, "\n"), 0);
    assert_rc(buf_puts(&b, "7\n{"), 0);
    struct reply r = ask(x, "POST", EVENTS, "", b.data);
    expect_line(&r, 0, 2002, "");
    reply_done(&r);
    b.data[b.len - 1] = '8';
    r = accept_lines(x, b.data, 2);
    reply_done(&r);
    buf_done(&b);
}

/* --- what is not ----- */

static void a_bad_line_and_nothing_is_accepted(void **state)
{
    struct fx *x = *state;
    static const struct {
        const char *lines;
        int line;
    } rows[] = {{"{\n2\n3\n", 1}, {"1\r\n{oops\r\n3", 2},   {"1\n2\n\"\xff\"\n", 3},    {"1\n\n\n2 3\n", 4},
                {"1\n'x'", 2},    {"1\n\"\\ud800\"\n2", 2}, {"1\n\"a\rb\"\n", 2},       {"1\n1e999\n", 2},
                {"1\n-\n", 2},    {"1\n{\"a\":1,}\n", 2},   {"\xef\xbb\xbf{}\n{}\n", 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reply r = ask(x, "POST", EVENTS, "", rows[i].lines);
        char part[64];
        (void)snprintf(part, sizeof part, "Nothing was accepted. Line %d: ", rows[i].line);
        assert_non_null(strstr(reply_str(&r, "message"), part));
        assert_int_equal(reply_int(&r, "ErrorCount"), 1);
        assert_int_equal(json_array_size(json_object_get(r.json, "Errors")), 1);
        expect_line(&r, 0, rows[i].line, "at column ");
        assert_string_equal(reply_str(&r, "Type"), "User");
        expect_fault(r, 400, "InvalidRequestContentException", "");
    }
    assert_int_equal(accepted(x), 0);
}

static void bad_lines_are_named_up_to_a_hundred(void **state)
{
    struct fx *x = *state;
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 1; i <= 300; i++)
        assert_rc(buf_printf(&b, i % 2 ? "%d\n" : "{%d\n", i), 0);
    struct reply r = ask(x, "POST", EVENTS, "", b.data);
    buf_done(&b);
    assert_int_equal(r.status, 400);
    assert_non_null(strstr(reply_str(&r, "message"), "(and 149 more such lines)"));
    assert_int_equal(reply_int(&r, "ErrorCount"), 150);
    assert_int_equal(json_array_size(json_object_get(r.json, "Errors")), LINE_FAULTS_MAX);
    expect_line(&r, 0, 2, "");
    expect_line(&r, 99, 200, "");
    reply_done(&r);
    assert_int_equal(accepted(x), 0);
}

static void there_must_be_an_event(void **state)
{
    struct fx *x = *state;
    static const char *const rows[] = {"", "\n", " \r\n\t\n\r\n"};
    for (size_t i = 0; i < 3; i++)
        expect_fault(ask(x, "POST", EVENTS, "", rows[i]), 400, "InvalidRequestContentException", "There is no event");
}

static void an_events_own_limit(void **state)
{
    struct fx *x = *state;
    struct buf b;
    char *p = text_of(1048577);
    buf_init(&b, 4 << 20);
    assert_rc(buf_printf(&b, "1\n%s\r\n2\n", p), 0);
    struct reply r = ask(x, "POST", EVENTS, "", b.data);
    assert_int_equal(r.status, 400);
    expect_line(&r, 0, 2, "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)");
    reply_done(&r);
    assert_int_equal(accepted(x), 0);
    p[1048575] = '"';
    p[1048576] = '\0';
    buf_clear(&b);
    assert_rc(buf_printf(&b, "1\n%s\r\n2\n", p), 0);
    r = accept_lines(x, b.data, 3);
    expect_payload(x, nth(&r, 1), p);
    reply_done(&r);
    buf_done(&b);
    free(p);
}

/* Six strings that fill the request to its last byte, then one byte more. */
static void the_requests_limit(void **state)
{
    struct fx *x = *state;
    char *p = malloc(EVENTS_BODY_MAX + 2);
    assert_non_null(p);
    memset(p, 'a', EVENTS_BODY_MAX);
    for (size_t at = 0; at < EVENTS_BODY_MAX; at += 1 << 20) {
        p[at] = p[at + (1 << 20) - 2] = '"';
        p[at + (1 << 20) - 1] = '\n';
    }
    memcpy(p + EVENTS_BODY_MAX, "\n", 2);
    expect_fault(ask(x, "POST", EVENTS, "", p), 413, "RequestEntityTooLargeException",
                 "Request must be smaller than 6291456 bytes for the AcceptEvents operation");
    assert_int_equal(accepted(x), 0);
    p[EVENTS_BODY_MAX] = '\0';
    struct reply r = accept_lines(x, p, 6);
    assert_int_equal(find(x, nth(&r, 5)).payload_len, (1 << 20) - 1);
    reply_done(&r);
    free(p);
}

/* Bad lines in a body that a worker reads. */
static void a_long_body(void **state)
{
    struct fx *x = *state;
    struct buf b;
    char *p = text_of(INLINE_BODY_MAX);
    buf_init(&b, 1 << 20);
    assert_rc(buf_printf(&b, "%s\n{\n", p), 0);
    struct reply r = ask(x, "POST", EVENTS, "", b.data);
    assert_int_equal(r.status, 400);
    expect_line(&r, 0, 2, "");
    reply_done(&r);
    b.data[b.len - 2] = '1';
    r = accept_lines(x, b.data, 2);
    expect_payload(x, nth(&r, 0), p);
    reply_done(&r);
    buf_done(&b);
    free(p);
}

static void names_are_checked_as_for_invoke(void **state)
{
    struct fx *x = *state;
    expect_fault(ask(x, "POST", "/bide/v1/functions/nobody/events", "", "{"), 404, "ResourceNotFoundException",
                 "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody:$LATEST");
    expect_fault(ask(x, "POST", EVENTS "?Qualifier=prod", "", "1"), 404, "ResourceNotFoundException", "hello:prod");
    expect_fault(ask(x, "POST", "/bide/v1/functions/a%20b/events", "", "1"), 400, "ValidationException",
                 "'functionName' failed to satisfy constraint");
    expect_fault(
        ask(x, "POST", "/bide/v1/functions/arn:aws:lambda:eu-west-1:000000000000:function:hello/events", "", "1"), 404,
        "ResourceNotFoundException", "are not reachable in this region");
    expect(ask(x, "POST", "/bide/v1/functions/arn:aws:lambda:us-east-1:000000000000:function:hello/events", "", "1"),
           202);
    assert_int_equal(accepted(x), 1);
}

static void a_full_store_takes_none(void **state)
{
    struct fx *x = *state;
    atomic_store(&x->store_full, true);
    struct reply r = ask(x, "POST", EVENTS, "", "1\n2\n3\n");
    assert_string_equal(reply_header(&r, "Retry-After"), "10");
    expect_fault(r, 500, "ServiceException", "no room left");
    atomic_store(&x->store_full, false);
    assert_int_equal(accepted(x), 0);
    r = accept_lines(x, "1\n2\n3\n", 3);
    reply_done(&r);
    assert_int_equal(accepted(x), 3);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, fx_teardown)
    const struct CMUnitTest tests[] = {
        T(in_order_and_as_they_came),
        T(a_trace_for_all_of_a_request),
        T(signed_as_all_else),
        T(a_thousand_and_not_one_more),
        T(blank_lines_do_not_count),
        T(a_bad_line_and_nothing_is_accepted),
        T(bad_lines_are_named_up_to_a_hundred),
        T(there_must_be_an_event),
        T(an_events_own_limit),
        T(the_requests_limit),
        T(a_long_body),
        T(names_are_checked_as_for_invoke),
        T(a_full_store_takes_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
