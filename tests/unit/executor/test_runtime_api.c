/* The Runtime API as a runtime, well or ill behaved, sees it (Lambda: section 9). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

static struct rig g;
static struct rig_box b;

#define ID1           "11111111-1111-7111-8111-111111111111"
#define ID2           "22222222-2222-7222-8222-222222222222"
#define RESPONSE(id_) "invocation/" id_ "/response"

/* A busy worker 1 with ID1 in hand. */
static int setup(void **state)
{
    (void)state;
    rig_open(&g, 0, 0, 0);
    rig_ready(&g, &b, 1, 60000);
    rig_invoke(&g, 1, ID1, "{}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_box_close(&b);
    rig_close(&g);
    return 0;
}

static void ends(enum executor_end end, const char *body)
{
    struct rig_event ev = rig_event(&g, RIG_RESULT, 1);
    assert_int_equal(ev.r.end, end);
    if (body != NULL)
        assert_string_equal(ev.r.body, body);
    rig_event_done(&ev);
}

/* The latest reply must be this status with an error object of this type. */
static void refused(struct rig_reply *r, int status, const char *type)
{
    char want[80];
    (void)snprintf(want, sizeof want, "\"errorType\":\"%s\"}", type);
    assert_int_equal(r->status, status);
    assert_non_null(strstr(r->body.data, want));
    rig_reply_done(r);
}

static void next_has_exact_headers(void **state)
{
    (void)state;
    struct rig_reply r;
    rig_read(&b, &r);
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.head, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(r.head, "\r\nLambda-Runtime-Aws-Request-Id: " ID1 "\r\n"));
    assert_non_null(strstr(r.head, "\r\nLambda-Runtime-Invoked-Function-Arn: "
                                   "arn:aws:lambda:us-east-1:000000000000:function:f:live\r\n"));
    assert_non_null(strstr(r.head, "\r\nLambda-Runtime-Trace-Id: Root=1-2-3\r\n"));
    assert_non_null(strstr(r.head, "\r\nLambda-Runtime-Client-Context: {\"custom\":1}\r\n"));
    const char *d = strstr(r.head, "\r\nLambda-Runtime-Deadline-Ms: ");
    assert_non_null(d);
    int64_t left = strtoll(d + 30, NULL, 10) - clock_real_ms();
    assert_true(left > 0 && left <= 60000);
    rig_reply_done(&r);
}

static void a_wrong_id_is_refused(void **state)
{
    (void)state;
    struct rig_reply r;
    rig_work(&b, ID1, "{}");
    static const char *const paths[] = {RESPONSE(ID2), "invocation/" ID2 "/error", "invocation/" ID1 "x/response",
                                        "invocation/..%2f/response"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        (void)rig_post(&b, paths[i], "", "1", 1, &r);
        assert_string_equal(r.body.data,
                            "{\"errorMessage\":\"Invalid request ID\",\"errorType\":\"InvalidRequestID\"}");
        refused(&r, 400, "InvalidRequestID");
    }
    assert_int_equal(rig_post(&b, RESPONSE(ID1), "", "1", 1, NULL), 202);
    ends(EXECUTOR_OK, "1");
}

static void the_first_answer_stands(void **state)
{
    (void)state;
    struct rig_reply r;
    rig_work(&b, ID1, "{}");
    assert_int_equal(rig_post(&b, RESPONSE(ID1), "", "first", 5, NULL), 202);
    (void)rig_post(&b, RESPONSE(ID1), "", "second", 6, &r);
    refused(&r, 403, "InvalidStateTransition");
    (void)rig_post(&b, "invocation/" ID1 "/error", "", "{}", 2, &r);
    refused(&r, 403, "InvalidStateTransition");
    ends(EXECUTOR_OK, "first");
    rig_next(&b);
    (void)rig_event(&g, RIG_READY, 1);
}

static void a_second_next_while_busy_is_refused(void **state)
{
    (void)state;
    struct rig_reply r;
    rig_work(&b, ID1, "{}");
    rig_next(&b);
    rig_read(&b, &r);
    assert_non_null(strstr(r.body.data, "State transition from Running to Ready failed for runtime."));
    refused(&r, 403, "InvalidStateTransition");
    (void)rig_post(&b, "init/error", "", "{}", 2, &r);
    refused(&r, 403, "InvalidStateTransition");
    assert_int_equal(rig_post(&b, RESPONSE(ID1), "", "1", 1, NULL), 202);
    ends(EXECUTOR_OK, "1");
}

static void a_response_of_the_limit_is_taken_and_above_it_not(void **state)
{
    (void)state;
    struct rig_reply r;
    char *big = calloc(1, 7 << 20);
    assert_non_null(big);
    memset(big, 'x', 7 << 20);
    rig_work(&b, ID1, "{}");
    assert_int_equal(rig_post(&b, RESPONSE(ID1), "", big, EXECUTOR_RESPONSE_MAX, NULL), 202);
    struct rig_event ev = rig_event(&g, RIG_RESULT, 1);
    assert_int_equal(ev.r.end, EXECUTOR_OK);
    assert_int_equal(ev.r.body_len, EXECUTOR_RESPONSE_MAX);
    assert_memory_equal(ev.r.body, big, ev.r.body_len);
    rig_event_done(&ev);
    rig_next(&b);
    (void)rig_event(&g, RIG_READY, 1);
    rig_invoke(&g, 1, ID2, "{}");
    rig_work(&b, ID2, "{}");
    (void)rig_post(&b, RESPONSE(ID2), "", big, 7 << 20, &r);
    assert_non_null(strstr(r.body.data, "Exceeded maximum allowed payload size (6291556 bytes)."));
    refused(&r, 413, "RequestEntityTooLarge");
    ends(EXECUTOR_FN_ERROR, "{\"errorMessage\":\"Response payload size exceeded maximum allowed payload size (6291556 "
                            "bytes).\",\"errorType\":\"Function.ResponseSizeTooLarge\"}");
    rig_disconnect(&b);
    rig_next(&b); /* the worker survives it */
    (void)rig_event(&g, RIG_READY, 1);
    free(big);
}

static void a_streamed_response_is_collected(void **state)
{
    (void)state;
    struct rig_reply r;
    static const char whole[] = "POST /2018-06-01/runtime/" RESPONSE(
        ID1) " HTTP/1.1\r\nHost: x\r\n"
             "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n"
             "4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n";
    rig_work(&b, ID1, "{}");
    (void)rig_post(&b, RESPONSE(ID1), "Lambda-Runtime-Function-Response-Mode: sideways\r\n", "1", 1, &r);
    refused(&r, 400, "InvalidFunctionResponseMode");
    rig_disconnect(&b); /* refused before the body was read */
    rig_write(&b, whole, sizeof whole - 1);
    rig_read(&b, &r);
    assert_int_equal(r.status, 202);
    rig_reply_done(&r);
    ends(EXECUTOR_OK, "abcdef");
}

static void a_stream_that_fails_midway_is_an_error(void **state)
{
    (void)state;
    struct rig_reply r;
    static const char rq[] = "POST /2018-06-01/runtime/" RESPONSE(
        ID1) " HTTP/1.1\r\nHost: x\r\n"
             "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
             "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
             "4\r\nabcd\r\n0\r\nLambda-Runtime-Function-Error-Type: Mid.Way\r\n"
             "Lambda-Runtime-Function-Error-Body: eyJlcnJvck1lc3NhZ2UiOiJtIn0=\r\n\r\n";
    rig_work(&b, ID1, "{}");
    rig_write(&b, rq, sizeof rq - 1);
    rig_read(&b, &r);
    assert_int_equal(r.status, 202);
    rig_reply_done(&r);
    struct rig_event ev = rig_event(&g, RIG_RESULT, 1);
    assert_int_equal(ev.r.end, EXECUTOR_FN_ERROR);
    assert_string_equal(ev.r.body, "{\"errorMessage\":\"m\"}");
    assert_string_equal(ev.r.error_type, "Mid.Way");
    assert_string_equal(ev.r.error_message, "m");
    rig_event_done(&ev);
}

static void garbage_and_unknown_calls_hurt_nobody(void **state)
{
    (void)state;
    struct rig_reply r;
    static const char *const rows[] = {
        "\x16\x03\x01\x02\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET /2018-06-01/runtime/invocation/next HTTP/9.9\r\nHost: x\r\n\r\n",
        "GET /2018-06-01/runtime/invocation HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        "POST /2018-06-01/runtime/invocation//response HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        "DELETE /ping HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    rig_work(&b, ID1, "{}");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig_disconnect(&b);
        rig_write(&b, rows[i], strlen(rows[i]));
        rig_read(&b, &r);
        assert_true(r.status >= 400 && r.status < 600);
        rig_reply_done(&r);
    }
    rig_disconnect(&b);
    static const char ping[] = "GET /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n";
    rig_write(&b, ping, sizeof ping - 1);
    rig_read(&b, &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body.data, "pong");
    rig_reply_done(&r);
    assert_int_equal(rig_post(&b, RESPONSE(ID1), "", "1", 1, NULL), 202);
    ends(EXECUTOR_OK, "1");
}

/* Half an answer, then the connection is gone: not an answer. */
static void half_an_answer_is_none(void **state)
{
    (void)state;
    static const char half[] =
        "POST /2018-06-01/runtime/" RESPONSE(ID1) " HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf";
    rig_work(&b, ID1, "{}");
    rig_write(&b, half, sizeof half - 1);
    rig_disconnect(&b);
    int status;
    do { /* until the cut has been noticed, another answer is being received */
        status = rig_post(&b, RESPONSE(ID1), "", "whole", 5, NULL);
        rig_disconnect(&b);
    } while (status == 403);
    assert_int_equal(status, 202);
    ends(EXECUTOR_OK, "whole");
}

/* A second answer cannot be begun beside one that never ends: it would take room that others need. */
static void one_answer_at_a_time(void **state)
{
    (void)state;
    struct rig_box other = b;
    static const char half[] = "POST /2018-06-01/runtime/" RESPONSE(ID1) " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                                                                         "Expect: 100-continue\r\n\r\n";
    struct rig_reply r;
    rig_work(&b, ID1, "{}");
    rig_write(&b, half, sizeof half - 1);
    rig_read(&b, &r); /* 100: it is being received */
    assert_int_equal(r.status, 100);
    rig_reply_done(&r);
    other.conn = -1;
    (void)rig_post(&other, RESPONSE(ID1), "", "1", 1, &r);
    refused(&r, 403, "InvalidStateTransition");
    rig_disconnect(&other);
    rig_write(&b, "whole", 5);
    rig_read(&b, &r);
    assert_int_equal(r.status, 202);
    rig_reply_done(&r);
    ends(EXECUTOR_OK, "whole");
}

/* A request for work whose client has gone is forgotten: the next one gets the event. */
static void a_lost_poll_loses_no_event(void **state)
{
    (void)state;
    struct rig_reply r;
    rig_work(&b, ID1, "{}");
    assert_int_equal(rig_post(&b, RESPONSE(ID1), "", "1", 1, NULL), 202);
    ends(EXECUTOR_OK, "1");
    rig_next(&b);
    (void)rig_event(&g, RIG_READY, 1);
    struct rig_box second = b;
    second.conn = -1;
    rig_next(&second); /* one is held already */
    rig_read(&second, &r);
    refused(&r, 403, "InvalidStateTransition");
    rig_disconnect(&second);
    rig_disconnect(&b);
    rig_invoke(&g, 1, ID2, "{\"kept\":1}");
    rig_next(&b);
    rig_read(&b, &r);
    /* The event went out on the lost connection if its end was not yet noticed; then the runtime is busy with it. */
    if (r.status == 403)
        refused(&r, 403, "InvalidStateTransition");
    else
        assert_string_equal(r.body.data, "{\"kept\":1}");
    if (r.status == 200)
        rig_reply_done(&r);
    assert_int_equal(rig_post(&b, RESPONSE(ID2), "", "2", 1, NULL), 202);
    ends(EXECUTOR_OK, "2");
}

/* The event is big and the runtime reads none of it: others are served, the time limit ends it. */
static void a_runtime_that_never_reads_blocks_nobody(void **state)
{
    (void)state;
    struct rig_box b2;
    char *big = calloc(1, (6 << 20) + 1);
    assert_non_null(big);
    memset(big, ' ', 6 << 20);
    rig_ready(&g, &b2, 2, 1000);
    rig_invoke(&g, 2, ID2, big);
    rig_work(&b, ID1, "{}");
    assert_int_equal(rig_post(&b, RESPONSE(ID1), "", "1", 1, NULL), 202);
    ends(EXECUTOR_OK, "1");
    struct rig_event ev = rig_event(&g, RIG_RESULT, 2);
    assert_int_equal(ev.r.end, EXECUTOR_TIMEOUT);
    rig_event_done(&ev);
    rig_box_close(&b2);
    free(big);
}

#define ROW(f_) cmocka_unit_test_setup_teardown(f_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(next_has_exact_headers),
        ROW(a_wrong_id_is_refused),
        ROW(the_first_answer_stands),
        ROW(a_second_next_while_busy_is_refused),
        ROW(a_response_of_the_limit_is_taken_and_above_it_not),
        ROW(a_streamed_response_is_collected),
        ROW(a_stream_that_fails_midway_is_an_error),
        ROW(garbage_and_unknown_calls_hurt_nobody),
        ROW(half_an_answer_is_none),
        ROW(one_answer_at_a_time),
        ROW(a_lost_poll_loses_no_event),
        ROW(a_runtime_that_never_reads_blocks_nobody),
    };
    loop_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
