/* The whole API behind its Unix socket, over the real store, registry, queue and dead-letter store, with a scripted
 * dispatcher: routes, segments, query parameters, headers, documents, dead letters as JSON Lines. The input is a
 * request: method and target, headers up to an empty line, and the rest is the body; the framing is put round it here,
 * since fuzz_http1 has that. Every request is answered, by a status that is not a failure of ours, with a request id
 * and, when it says JSON, in valid JSON. Every so often the data is thrown away; before that it is counted, and must
 * add up.
 */
#include <strings.h>
#include <sys/socket.h>

#include "fixture.h"
#include "fuzz.h"
#include "json_in.h"

enum { REPLY_BYTES_MAX = 64 << 20, RENEW_EVERY = 2000, HEADERS_MAX = 16 };

static struct fx *fx;

/* --- one request, one answer -------------------------------------------------------------------------------------- */

static bool is_clean(struct slice s)
{
    const uint8_t *p = s.p;
    for (size_t i = 0; i < s.len; i++)
        if (p[i] < 0x20 || p[i] == 0x7f)
            return false;
    return true;
}

static bool is_framing(struct slice line)
{
    static const char *const names[] = {"Host:", "Connection:", "Content-Length:", "Transfer-Encoding:", "Expect:"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (line.len >= strlen(names[i]) && strncasecmp(line.p, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

/* False: no request that the framing can be put round. */
static bool make_request(struct buf *b, const uint8_t *data, size_t size)
{
    struct feed f = {data, size};
    struct slice line = feed_until(&f, '\n');
    bool ok = is_clean(line) && buf_append(b, line.p, line.len) == 0 &&
              buf_puts(b, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n") == 0;
    for (size_t i = 0; ok && i < HEADERS_MAX && (line = feed_until(&f, '\n')).len > 0; i++) {
        ok = is_clean(line) && !is_framing(line);
        ok = ok && buf_append(b, line.p, line.len) == 0 && buf_puts(b, "\r\n") == 0;
    }
    return ok && buf_printf(b, "Content-Length: %zu\r\n\r\n", f.left) == 0 && buf_append(b, f.p, f.left) == 0;
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR)
            continue; /* libFuzzer's clock */
        if (k <= 0)
            return; /* refused early: the answer says why */
        p += k;
        n -= (size_t)k;
    }
}

static void exchange(const struct buf *request, struct buf *reply)
{
    char chunk[65536];
    ssize_t k;
    int fd = dial(fx, false);
    send_all(fd, request->data, request->len);
    while ((k = recv(fd, chunk, sizeof chunk, 0)) > 0 || (k < 0 && errno == EINTR))
        BIDE_ASSERT(k < 0 || buf_append(reply, chunk, (size_t)k) == 0, "an answer without end");
    BIDE_ASSERT(k == 0 || errno == ECONNRESET, "no answer: %s", strerror(errno));
    (void)close(fd);
}

static bool has(const char *head, size_t len, const char *text)
{
    return memmem(head, len, text, strlen(text)) != NULL;
}

static void check_reply(const struct buf *request, const struct buf *reply)
{
    int status = 0;
    struct err e = {0};
    const char *end = memmem(reply->data, reply->len, "\r\n\r\n", 4);
    BIDE_ASSERT(end != NULL && sscanf(reply->data, "HTTP/1.1 %d ", &status) == 1, "no answer to %.300s: %.300s",
                request->data, reply->data);
    size_t head = (size_t)(end - reply->data) + 2, body = reply->len - head - 2;
    BIDE_ASSERT(status >= 200 && status < 600 && status != 500, "to %.300s: %.600s", request->data, reply->data);
    BIDE_ASSERT(has(reply->data, head, "\r\nx-amzn-RequestId: "), "no id: %.300s", reply->data);
    if (body > 0 && has(reply->data, head, "\r\nContent-Type: application/json\r\n"))
        BIDE_ASSERT(json_check_payload(end + 4, body, &e) == 0, "%s in the answer to %.300s: %.2000s", e.text,
                    request->data, reply->data);
}

static void ask_for(const uint8_t *data, size_t size)
{
    struct buf request, reply;
    buf_init(&request, size + 4096);
    buf_init(&reply, REPLY_BYTES_MAX);
    if (make_request(&request, data, size)) {
        exchange(&request, &reply);
        check_reply(&request, &reply);
    }
    buf_done(&request);
    buf_done(&reply);
}

/* --- what stands behind it ---------------------------------------------------------------------------------------- */

static void on_finding(const char *line, void *arg)
{
    (void)arg;
    (void)fprintf(stderr, "%s\n", line);
}

static void check_books(void)
{
    struct store_txn *t = NULL;
    uint64_t findings = 0;
    BIDE_ASSERT(store_read_begin(fx->store, &t) == 0, "no transaction");
    BIDE_ASSERT(queue_verify(fx->queue, t, on_finding, NULL, &findings) == 0 && findings == 0, "%llu findings",
                (unsigned long long)findings);
    store_read_end(t);
}

static void leave(void)
{
    void *state = fx;
    if (fx == NULL)
        return;
    check_books();
    (void)fx_teardown(&state);
    fx = NULL;
}

/* A function, an event of it, and a dead letter. */
static void enter(void)
{
    static const char event[] =
        "POST /2015-03-31/functions/orders/invocations\nX-Amz-Invocation-Type: Event\n\n{\"order\":1}";
    static const char letter[] =
        "POST /bide/v1/dlq/import\n\n{\"bide_dead_letter\":1,\"id\":\"01a208bd-3cbb-7600-93fa-4d284ce187b7\","
        "\"function\":\"orders\",\"condition\":\"RetriesExhausted\",\"accepted_at_ms\":1700000000000,"
        "\"dead_at_ms\":1700000001000,\"attempts\":[{\"outcome\":\"function_error\",\"error_type\":\"KeyError\"}],"
        "\"payload\":{\"order\":2}}\n";
    void *state = NULL;
    (void)fx_setup(&state);
    fx = state;
    make_function(fx, "orders");
    ask_for((const uint8_t *)event, sizeof event - 1);
    ask_for((const uint8_t *)letter, sizeof letter - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned n;
    if (n % RENEW_EVERY == 0) {
        leave();
        enter();
    }
    if (n++ == 0)
        (void)atexit(leave); /* not before the libraries registered theirs, which are to run after it */
    ask_for(data, size);
    return 0;
}
