/* Invocations over HTTP, and /bide/v1. */
#include <sys/socket.h>

#include "call.h"
#include "fixture.h"

#define INVOKE     "/2015-03-31/functions/hello/invocations"
#define EVENT_TYPE "X-Amz-Invocation-Type: Event\r\n"

static int setup(void **state)
{
    fx_setup(state);
    make_function(*state, "hello");
    return 0;
}

static int setup_real_clock(void **state)
{
    fx_setup_real_clock(state);
    make_function(*state, "hello");
    return 0;
}

/* Accept an event; its id into id. */
static void accept_event(struct fx *x, const char *payload, char id[ID_TEXT_LEN + 1])
{
    struct reply r = ask(x, "POST", INVOKE, EVENT_TYPE, payload);
    if (r.status != 202)
        fail_msg("%d %s", r.status, r.body);
    assert_int_equal(r.len, 0);
    (void)snprintf(id, ID_TEXT_LEN + 1, "%s", reply_header(&r, "x-amzn-RequestId"));
    reply_done(&r);
}

static uint64_t seq_of(struct fx *x, const char *text)
{
    struct id id;
    struct event ev;
    assert_rc(id_parse(text, strlen(text), &id), 0);
    assert_rc(queue_find(x->queue, &id, &ev, NULL, NULL), 0);
    return ev.seq;
}

static struct reply get_event(struct fx *x, const char *id)
{
    char target[128];
    (void)snprintf(target, sizeof(target), "/bide/v1/events/%s", id);
    return ask(x, "GET", target, "", NULL);
}

static struct reply get_letter(struct fx *x, const char *id)
{
    char target[128];
    (void)snprintf(target, sizeof(target), "/bide/v1/dlq/%s", id);
    return ask(x, "GET", target, "", NULL);
}

static uint64_t accepted(struct fx *x)
{
    struct books b;
    assert_rc(queue_books(x->queue, &b), 0);
    return b.accepted;
}

/* --- asynchronous ----- */

static void test_event(void **state)
{
    struct fx *x = *state;
    static const char payload[] = "{ \"n\" : 1.50e1, \"a\":1 }";
    char id[ID_TEXT_LEN + 1];
    accept_event(x, payload, id);
    assert_int_equal(accepted(x), 1);
    struct reply r = get_event(x, id);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_str(&r, "id"), id);
    assert_string_equal(reply_str(&r, "function"), "hello");
    assert_string_equal(reply_str(&r, "state"), "queued");
    assert_int_equal(reply_int(&r, "accepted_at_ms"), 1700000000000);
    assert_int_equal(json_array_size(json_object_get(r.json, "attempts")), 0);
    assert_int_equal(reply_int(&r, "disruptions"), 0);
    /* The very bytes. */
    char spliced[128];
    (void)snprintf(spliced, sizeof(spliced), "\"payload\":%s", payload);
    assert_non_null(strstr(r.body, spliced));
    reply_done(&r);
    accept_event(x, "12345678901234567890123", id); /* no integer of ours holds it */
    r = get_event(x, id);
    assert_non_null(strstr(r.body, "\"payload\":12345678901234567890123}"));
    reply_done(&r);
    accept_event(x, "", id);
    r = get_event(x, id);
    assert_true(json_is_null(json_object_get(r.json, "payload")));
    reply_done(&r);
    assert_int_equal(accepted(x), 3);
}

static void test_event_refused(void **state)
{
    struct fx *x = *state;
    expect_fault(ask(x, "POST", INVOKE, EVENT_TYPE, "{"), 400, "InvalidRequestContentException",
                 "Could not parse request body into json: Could not parse payload into json: ");
    expect_fault(ask(x, "POST", INVOKE, EVENT_TYPE, "\"\xff\""), 400, "InvalidRequestContentException", "json");
    expect_fault(ask(x, "POST", "/2015-03-31/functions/nobody/invocations", EVENT_TYPE, "{}"), 404,
                 "ResourceNotFoundException",
                 "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody:$LATEST");
    expect_fault(ask(x, "POST", INVOKE "?Qualifier=prod", EVENT_TYPE, "{}"), 404, "ResourceNotFoundException",
                 "function:hello:prod");
    expect_fault(ask(x, "POST", INVOKE, "X-Amz-Invocation-Type: Later\r\n", "{}"), 400, "ValidationException",
                 "'invocationType' failed to satisfy constraint: Member must satisfy enum value set");
    assert_int_equal(accepted(x), 0);
}

/* A payload of n bytes: a string of a's. */
static char *big_payload(size_t n)
{
    char *p = malloc(n + 1);
    assert_non_null(p);
    memset(p, 'a', n);
    p[0] = p[n - 1] = '"';
    p[n] = '\0';
    return p;
}

static void test_event_sizes(void **state)
{
    struct fx *x = *state;
    char id[ID_TEXT_LEN + 1];
    char *p = big_payload(1048577);
    expect_fault(ask(x, "POST", INVOKE, EVENT_TYPE, p), 413, "RequestEntityTooLargeException",
                 "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)");
    p[1048575] = '"';
    p[1048576] = '\0';
    accept_event(x, p, id);
    /* The same without a length declared. */
    struct buf b;
    buf_init(&b, 4 << 20);
    assert_rc(buf_printf(&b, "POST " INVOKE " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" EVENT_TYPE
                             "Transfer-Encoding: chunked\r\n\r\n100001\r\n"),
              0);
    p[1048575] = 'a';
    assert_rc(buf_append(&b, p, 1048576), 0);
    assert_rc(buf_puts(&b, "\"\r\n0\r\n\r\n"), 0);
    expect_fault(ask_raw(x, false, b.data, b.len), 413, "RequestEntityTooLargeException",
                 "byte payload is too large for the Event invocation type (limit 1048576 bytes)");
    buf_done(&b);
    free(p);
    p = big_payload(6291457);
    expect_fault(ask(x, "POST", INVOKE, "", p), 413, "RequestEntityTooLargeException",
                 "Request must be smaller than 6291456 bytes for the InvokeFunction operation");
    free(p);
    assert_int_equal(accepted(x), 1);
}

static void test_dry_run(void **state)
{
    struct fx *x = *state;
    expect(ask(x, "POST", INVOKE, "X-Amz-Invocation-Type: DryRun\r\n", "{}"), 204);
    expect_fault(ask(x, "POST", INVOKE, "X-Amz-Invocation-Type: DryRun\r\n", "{"), 400,
                 "InvalidRequestContentException", "json");
    assert_int_equal(accepted(x), 0);
}

static bool has_twelve(void *arg)
{
    return accepted(arg) == 12;
}

/* Many on one connection before the first answer; then one that is signed. */
static void test_pipelined(void **state)
{
    struct fx *x = *state;
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 12; i++)
        assert_rc(buf_printf(&b, "POST " INVOKE " HTTP/1.1\r\nHost: h\r\n%s" EVENT_TYPE "Content-Length: 2\r\n\r\n{}",
                             i == 11 ? "Connection: close\r\n" : ""),
                  0);
    struct reply r = ask_raw(x, false, b.data, b.len);
    assert_int_equal(r.status, 202);
    reply_done(&r);
    wait_until(has_twelve, x, TEST_PATIENCE_MS);
    buf_done(&b);
    r = ask_tcp(x, "POST", INVOKE, "{}", FIXTURE_KEY_ID, FIXTURE_SECRET);
    assert_int_equal(r.status, 200);
    reply_done(&r);
}

/* --- synchronous ----- */

static void test_sync(void **state)
{
    struct fx *x = *state;
    struct dispatcher *d = &x->dispatcher;
    d->body = "{ \"ok\": true }";
    d->log = "START\nEND\n";
    struct reply r = ask(x, "POST", INVOKE "?Qualifier=$LATEST",
                         "X-Amz-Log-Type: Tail\r\nX-Amz-Client-Context: eyJjbGllbnQiOnt9fQ==\r\n", "{\"in\":1}");
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, d->body);
    assert_string_equal(reply_header(&r, "X-Amz-Executed-Version"), "$LATEST");
    assert_string_equal(reply_header(&r, "X-Amz-Log-Result"), "U1RBUlQKRU5ECg==");
    assert_null(reply_header(&r, "X-Amz-Function-Error"));
    assert_string_equal(d->payload, "{\"in\":1}");
    assert_string_equal(d->context, "{\"client\":{}}");
    assert_string_equal(d->qualifier, "$LATEST");
    char id[ID_TEXT_LEN + 1];
    id_format(&d->id, id);
    assert_string_equal(reply_header(&r, "x-amzn-RequestId"), id);
    reply_done(&r);
    d->end = INVOKE_FUNCTION_ERROR;
    d->body = "{\"errorMessage\":\"m\"}";
    r = ask(x, "POST", INVOKE, "", NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_header(&r, "X-Amz-Function-Error"), "Unhandled");
    assert_null(reply_header(&r, "X-Amz-Log-Result"));
    assert_string_equal(r.body, d->body);
    assert_int_equal(d->payload_len, 0);
    reply_done(&r);
    assert_int_equal(accepted(x), 0);
}

static void test_sync_refused(void **state)
{
    struct fx *x = *state;
    struct dispatcher *d = &x->dispatcher;
    d->end = INVOKE_THROTTLED_RESERVED;
    expect_fault(
        ask(x, "POST", INVOKE, "", "{}"), 429, "TooManyRequestsException",
        "{\"Reason\":\"ReservedFunctionConcurrentInvocationLimitExceeded\",\"Type\":\"User\",\"message\":\"Rate "
        "Exceeded.\"}");
    d->end = INVOKE_THROTTLED_ACCOUNT;
    struct reply r = ask(x, "POST", INVOKE, "", "{}");
    assert_non_null(reply_header(&r, "Retry-After"));
    expect_fault(r, 429, "TooManyRequestsException", "\"ConcurrentInvocationLimitExceeded\"");
    d->end = INVOKE_FAILED;
    d->why = "fork: no memory";
    expect_fault(ask(x, "POST", INVOKE, "", "{}"), 500, "ServiceException",
                 "{\"Type\":\"Service\",\"Message\":\"fork: no memory\"}");
    expect_fault(ask(x, "POST", INVOKE, "X-Amz-Client-Context: !\r\n", "{}"), 400, "InvalidRequestContentException",
                 "Client context must be a valid Base64-encoded JSON object.");
    expect_fault(ask(x, "POST", INVOKE, "X-Amz-Log-Type: All\r\n", "{}"), 400, "ValidationException", "'logType'");
}

static bool is_abandoned(void *arg)
{
    struct dispatcher *d = arg;
    return d->abandoned == 1;
}

/* --- no place on the pool ----- */

static struct {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool open;
    unsigned waiting;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};

static void wait_at_gate(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&gate.mu);
    gate.waiting++;
    while (!gate.open)
        pthread_cond_wait(&gate.cond, &gate.mu);
    pthread_mutex_unlock(&gate.mu);
}

static void nothing(void *arg)
{
    (void)arg;
}

static bool all_wait(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&gate.mu);
    bool all = gate.waiting == POOL_THREADS;
    pthread_mutex_unlock(&gate.mu);
    return all;
}

static void note(void *arg)
{
    *(_Atomic bool *)arg = true;
}

static bool is_noted(void *arg)
{
    return *(_Atomic bool *)arg;
}

/* Every place is taken, and stays so: also those of jobs that were under way before. */
static void fill_pool(struct fx *x)
{
    _Atomic bool turned = false;
    while (pool_submit(x->api->pool, POOL_WORK, wait_at_gate, nothing, nothing, NULL) == 0)
        continue;
    wait_until(all_wait, NULL, TEST_PATIENCE_MS);
    assert_rc(loop_post(x->loop, note, &turned), 0); /* behind the end of every earlier job */
    wait_until(is_noted, &turned, TEST_PATIENCE_MS);
    while (pool_submit(x->api->pool, POOL_WORK, wait_at_gate, nothing, nothing, NULL) == 0)
        continue;
}

/* What needs the pool is refused, with when to come again; what does not is served. */
static void test_pool_full(void **state)
{
    struct fx *x = *state;
    char *big = malloc(INLINE_BODY_MAX + 3);
    memset(big, 'x', INLINE_BODY_MAX + 2);
    big[0] = big[INLINE_BODY_MAX + 1] = '"';
    big[INLINE_BODY_MAX + 2] = '\0';
    fill_pool(x);
    struct reply r = ask(x, "POST", INVOKE, EVENT_TYPE, big);
    assert_non_null(reply_header(&r, "Retry-After"));
    expect_fault(r, 429, "TooManyRequestsException", "Too many large requests at a time");
    r = ask(x, "GET", "/bide/v1/events", "", NULL);
    assert_non_null(reply_header(&r, "Retry-After"));
    expect_fault(r, 429, "TooManyRequestsException", "Too many readers at a time");
    expect(ask(x, "POST", INVOKE, EVENT_TYPE, "{}"), 202);
    pthread_mutex_lock(&gate.mu);
    gate.open = true;
    pthread_cond_broadcast(&gate.cond);
    pthread_mutex_unlock(&gate.mu);
    int status;
    do {
        r = ask(x, "POST", INVOKE, EVENT_TYPE, big);
        status = r.status;
        reply_done(&r);
    } while (status == 429);
    assert_int_equal(status, 202);
    free(big);
}

static void test_client_gone(void **state)
{
    struct fx *x = *state;
    static const char request[] = "POST " INVOKE " HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}";
    fake_hold(&x->dispatcher, true);
    int fd = dial(x, false);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    close(fd);
    wait_until(is_abandoned, &x->dispatcher, TEST_PATIENCE_MS);
    fake_hold(&x->dispatcher, false);
    expect(ask(x, "POST", INVOKE, "", "{}"), 200);
}

/* --- /bide/v1 ----- */

static void test_status(void **state)
{
    struct fx *x = *state;
    char id[ID_TEXT_LEN + 1];
    accept_event(x, "{}", id);
    clock_advance(&x->clock, 2500);
    struct reply r = ask(x, "GET", "/bide/v1/status", "", NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_str(&r, "version"), "9.9.9");
    assert_string_equal(reply_str(&r, "clock"), "virtual");
    assert_int_equal(reply_int(&r, "now_ms"), 1700000002500);
    assert_int_equal(reply_int(&r, "functions"), 1);
    assert_int_equal(reply_int(&r, "workers"), 3);
    const json_t *ev = json_object_get(r.json, "events");
    assert_int_equal(json_integer_value(json_object_get(ev, "accepted")), 1);
    assert_int_equal(json_integer_value(json_object_get(ev, "queued")), 1);
    assert_int_equal(json_object_size(ev), 9);
    const json_t *store = json_object_get(r.json, "store");
    assert_true(json_is_false(json_object_get(store, "full")));
    assert_true(json_integer_value(json_object_get(store, "map_bytes")) > 0);
    assert_true(json_integer_value(json_object_get(store, "commit_p50_us")) > 0);
    const json_t *oldest = json_object_get(r.json, "oldest");
    assert_string_equal(json_string_value(json_object_get(oldest, "function")), "hello");
    assert_string_equal(json_string_value(json_object_get(oldest, "state")), "queued");
    assert_int_equal(json_integer_value(json_object_get(oldest, "age_ms")), 2500);
    assert_int_equal(json_integer_value(json_object_get(oldest, "max_age_ms")), 21600000);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(r.json, "dlq"), "held")), 0);
    const json_t *fault = json_array_get(json_object_get(r.json, "faults"), 0);
    assert_string_equal(json_string_value(json_object_get(fault, "why")), "fork: \"no\"");
    assert_string_equal(json_string_value(json_array_get(json_object_get(r.json, "degradations"), 0)), "no cgroups");
    reply_done(&r);
}

static void test_function_books(void **state)
{
    struct fx *x = *state;
    char id[ID_TEXT_LEN + 1];
    make_function(x, "other");
    accept_event(x, "{}", id);
    accept_event(x, "{}", id);
    struct reply r = ask(x, "GET", "/bide/v1/functions/hello/books", "", NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_str(&r, "function"), "hello");
    assert_true(json_is_false(json_object_get(r.json, "paused")));
    const json_t *ev = json_object_get(r.json, "events");
    assert_int_equal(json_integer_value(json_object_get(ev, "queued")), 2);
    assert_int_equal(json_integer_value(json_object_get(ev, "running")), 0);
    assert_int_equal(json_object_size(ev), 4);
    reply_done(&r);
    r = ask(x, "GET", "/bide/v1/functions/other/books", "", NULL);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(r.json, "events"), "queued")), 0);
    reply_done(&r);
    expect(ask(x, "GET", "/bide/v1/functions/nosuch/books", "", NULL), 404);
    expect(ask(x, "GET", "/bide/v1/functions/no!such/books", "", NULL), 400);
}

static void test_events(void **state)
{
    struct fx *x = *state;
    char id[ID_TEXT_LEN + 1], target[256];
    make_function(x, "other");
    for (int i = 0; i < 5; i++)
        accept_event(x, "{}", id);
    expect(ask(x, "POST", "/2015-03-31/functions/other/invocations", EVENT_TYPE, "{}"), 202);
    size_t seen = 0;
    (void)snprintf(target, sizeof(target), "/bide/v1/events?function=hello&state=queued&limit=2");
    for (int pages = 0; pages < 10; pages++) {
        struct reply r = ask(x, "GET", target, "", NULL);
        assert_int_equal(r.status, 200);
        size_t n = json_array_size(json_object_get(r.json, "items"));
        assert_true(n <= 2);
        seen += n;
        const char *cursor = json_string_value(json_object_get(r.json, "cursor"));
        if (cursor)
            (void)snprintf(target, sizeof(target), "/bide/v1/events?function=hello&state=queued&limit=2&cursor=%s",
                           cursor);
        reply_done(&r);
        if (!cursor)
            break;
    }
    assert_int_equal(seen, 5);
    struct reply r = ask(x, "GET", "/bide/v1/events?state=done", "", NULL);
    assert_int_equal(json_array_size(json_object_get(r.json, "items")), 0);
    reply_done(&r);
    expect_fault(ask(x, "GET", "/bide/v1/events?state=lost", "", NULL), 400, "ValidationException", "not a state");
    expect_fault(ask(x, "GET", "/bide/v1/events?cursor=x", "", NULL), 400, "ValidationException", "cursor");
    expect_fault(ask(x, "GET", "/bide/v1/events/x", "", NULL), 400, "ValidationException", "not an event id");
    expect_fault(ask(x, "GET", "/bide/v1/events/01900000-0000-7000-8000-000000000000", "", NULL), 404,
                 "ResourceNotFoundException", "Event not found");
}

static bool is_dead(void *arg)
{
    struct fx *x = arg;
    struct books b;
    assert_rc(queue_books(x->queue, &b), 0);
    return b.dead == 1;
}

/* An event that fails for good, with all there is to know about it. */
static void make_letter(struct fx *x, const char *payload, char id[ID_TEXT_LEN + 1])
{
    static const char error[] = "{ \"errorMessage\":\"boom\", \"stackTrace\":[\"a\",\"b\"] }";
    accept_event(x, payload, id);
    uint64_t seq = seq_of(x, id);
    struct settle s = {
        .seq = seq,
        .run = 5,
        .verdict = VERDICT_DEAD,
        .condition = CONDITION_RETRIES_EXHAUSTED,
        .counts = true,
        .attempt = {.started_at_ms = 1700000000000,
                    .ended_at_ms = 1700000000500,
                    .outcome = OUTCOME_EXITED,
                    .error_type = "Runtime.ExitError",
                    .error_message = "boom",
                    .error = error,
                    .error_len = sizeof(error) - 1,
                    .log_tail = "line\n\xff",
                    .log_tail_len = 6,
                    .exit_code = 3,
                    .peak_kb = 4096,
                    .version = "$LATEST"},
    };
    assert_rc(queue_start(x->queue, seq, 5, false, NULL, NULL), 0);
    assert_rc(queue_settle(x->queue, &s, NULL, NULL), 0);
    wait_until(is_dead, x, TEST_PATIENCE_MS);
}

static void test_dead_letter(void **state)
{
    struct fx *x = *state;
    char id[ID_TEXT_LEN + 1], doc[256], new_id[ID_TEXT_LEN + 1];
    make_letter(x, "[ 7 ]", id);
    struct reply r = ask(x, "GET", "/bide/v1/dlq?function=hello&condition=RetriesExhausted", "", NULL);
    const json_t *item = json_array_get(json_object_get(r.json, "items"), 0);
    assert_string_equal(json_string_value(json_object_get(item, "id")), id);
    assert_string_equal(json_string_value(json_object_get(item, "condition")), "RetriesExhausted");
    assert_string_equal(json_string_value(json_object_get(item, "error_type")), "Runtime.ExitError");
    assert_int_equal(json_integer_value(json_object_get(item, "attempt_count")), 1);
    assert_true(json_is_integer(json_object_get(item, "dead_at_ms")));
    assert_true(json_is_null(json_object_get(r.json, "cursor")));
    reply_done(&r);
    r = get_letter(x, id);
    const json_t *a = json_array_get(json_object_get(r.json, "attempts"), 0);
    assert_string_equal(json_string_value(json_object_get(a, "outcome")), "exited");
    assert_int_equal(json_integer_value(json_object_get(a, "exit_code")), 3);
    assert_true(json_is_null(json_object_get(a, "signal")));
    assert_int_equal(json_integer_value(json_object_get(a, "peak_kb")), 4096);
    assert_int_equal(json_array_size(json_object_get(json_object_get(a, "error"), "stackTrace")), 2);
    assert_string_equal(json_string_value(json_object_get(a, "log_tail")), "line\n\xef\xbf\xbd");
    assert_non_null(strstr(r.body, "\"payload\":[ 7 ]"));
    reply_done(&r);
    (void)snprintf(doc, sizeof(doc), "{\"id\":\"%s\"}", id);
    r = ask(x, "POST", "/bide/v1/dlq/replay", "", doc);
    assert_int_equal(r.status, 200);
    assert_int_equal(reply_int(&r, "replayed"), 1);
    (void)snprintf(new_id, sizeof(new_id), "%s", reply_str(&r, "new_id"));
    reply_done(&r);
    r = get_event(x, new_id);
    assert_string_equal(reply_str(&r, "replay_of"), id);
    assert_non_null(strstr(r.body, "\"payload\":[ 7 ]"));
    reply_done(&r);
    expect_fault(ask(x, "POST", "/bide/v1/dlq/replay", "", doc), 409, "ResourceConflictException", "replayed before");
    (void)snprintf(doc, sizeof(doc), "{\"id\":\"%s\",\"again\":true}", id);
    expect(ask(x, "POST", "/bide/v1/dlq/replay", "", doc), 200);
    r = ask(x, "GET", "/bide/v1/dlq", "", NULL);
    assert_int_equal(json_array_size(json_object_get(r.json, "items")), 0);
    reply_done(&r);
    r = ask(x, "GET", "/bide/v1/dlq?replayed=1", "", NULL);
    assert_int_equal(json_array_size(json_object_get(r.json, "items")), 1);
    reply_done(&r);
    expect_fault(get_letter(x, new_id), 404, "ResourceNotFoundException", "Dead letter not found");
}

static bool are_dead(void *arg)
{
    struct fx *x = arg;
    struct books b;
    assert_rc(queue_books(x->queue, &b), 0);
    return b.queued == 0;
}

static void test_bulk(void **state)
{
    struct fx *x = *state;
    char id[ID_TEXT_LEN + 1];
    enum { N = 600 }; /* more than two chunks */
    for (int i = 0; i < N; i++) {
        accept_event(x, "{}", id);
        assert_rc(queue_expire(x->queue, seq_of(x, id), CONDITION_EVENT_AGE_EXCEEDED, NULL, NULL), 0);
    }
    wait_until(are_dead, x, TEST_PATIENCE_MS);
    struct reply r = ask(x, "POST", "/bide/v1/dlq/replay", "", "{\"all\":true,\"condition\":\"RetriesExhausted\"}");
    assert_int_equal(reply_int(&r, "replayed"), 0);
    reply_done(&r);
    r = ask(x, "POST", "/bide/v1/dlq/replay", "", "{\"function\":\"hello\"}");
    assert_int_equal(reply_int(&r, "replayed"), N);
    reply_done(&r);
    struct books b;
    assert_rc(queue_books(x->queue, &b), 0);
    assert_int_equal(b.replayed, N);
    assert_int_equal(b.queued, N);
    r = ask(x, "POST", "/bide/v1/dlq/rm", "", "{\"all\":true}");
    assert_int_equal(reply_int(&r, "removed"), N);
    reply_done(&r);
    expect_fault(ask(x, "POST", "/bide/v1/dlq/rm", "", "{}"), 400, "ValidationException", "give one of");
    expect_fault(ask(x, "POST", "/bide/v1/dlq/rm", "", "{\"all\":true,\"condition\":\"Bad\"}"), 400,
                 "ValidationException", "not a condition");
    expect_fault(ask(x, "POST", "/bide/v1/dlq/rm", "", "{\"id\":\"01900000-0000-7000-8000-000000000000\"}"), 404,
                 "ResourceNotFoundException", "Dead letter not found");
    r = ask(x, "GET", "/bide/v1/verify", "", NULL);
    if (!json_is_true(json_object_get(r.json, "ok")))
        fail_msg("%s", r.body);
    reply_done(&r);
}

static void test_clock(void **state)
{
    struct fx *x = *state;
    struct reply r = ask(x, "POST", "/bide/v1/clock/advance", "", "{\"ms\":60000}");
    assert_int_equal(r.status, 200);
    assert_int_equal(reply_int(&r, "now_ms"), 1700000060000);
    reply_done(&r);
    int64_t stored = 0;
    assert_rc(queue_meta_get(x->queue, "clock_ms", &stored), 0);
    assert_int_equal(stored, 1700000060000);
    assert_int_equal(x->dispatcher.clock_moved, 1);
    expect_fault(ask(x, "POST", "/bide/v1/clock/advance", "", "{\"ms\":-1}"), 400, "ValidationException",
                 "number of milliseconds");
    expect_fault(ask(x, "POST", "/bide/v1/clock/advance", "", "{}"), 400, "ValidationException",
                 "number of milliseconds");
}

static void test_real_clock(void **state)
{
    struct fx *x = *state;
    expect_fault(ask(x, "POST", "/bide/v1/clock/advance", "", "{\"ms\":1}"), 409, "ResourceConflictException",
                 "The clock is real");
    struct reply r = ask(x, "GET", "/bide/v1/status", "", NULL);
    assert_string_equal(reply_str(&r, "clock"), "real");
    reply_done(&r);
}

struct drained {
    struct fx *x;
    _Atomic bool done;
};

static void on_drained(void *arg)
{
    struct drained *d = arg;
    d->done = true;
}

static void drain(void *arg)
{
    struct drained *d = arg;
    api_drain(d->x->api, on_drained, d);
}

static bool is_drained(void *arg)
{
    return ((struct drained *)arg)->done;
}

static void test_drain(void **state)
{
    struct fx *x = *state;
    struct drained d = {.x = x};
    expect(ask(x, "GET", "/health", "", NULL), 200);
    assert_rc(loop_post(x->loop, drain, &d), 0);
    wait_until(is_drained, &d, TEST_PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_event, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_event_refused, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_event_sizes, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_dry_run, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_pipelined, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_sync, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_sync_refused, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_pool_full, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_client_gone, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_status, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_function_books, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_events, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_dead_letter, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_bulk, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_clock, setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_real_clock, setup_real_clock, fx_teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, fx_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
