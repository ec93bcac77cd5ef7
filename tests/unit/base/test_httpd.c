/* The HTTP server over real sockets: the server runs on a thread of its own, the tests are its blocking clients. */
#include "testutil.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "http_rows.h"
#include "httpd.h"

enum { HELD_MAX = 32, MIB = 1 << 20, DOWN_BYTES = 16 * MIB, PIECE = 64 * 1024 };

struct server {
    struct tmpdir dir;
    struct loop *loop;
    struct httpd *h;
    struct httpd_listener *listener[2];
    pthread_t thread;
    int port;
    /* touched on the loop's thread, read by the test */
    atomic_int n_heads, n_closed, n_refused, n_held, n_gone_bodies, last_how, n_again, n_pieces, drained;
    atomic_size_t sent;
    struct httpd_req *held[HELD_MAX];
    struct httpd_req *down;
};

/* ---- the server's side ---- */

static void reply_text(struct httpd_req *req, int status, const char *text)
{
    static const struct httpd_header h[] = {{"Content-Type", "text/plain"}, {"Content-Length", "999"}};
    httpd_reply(req, status, h, 2, text, strlen(text));
}

static void on_closed(struct httpd_req *req, void *arg)
{
    struct server *s = arg;
    BIDE_ASSERT(httpd_req_gone(req), "told of a client that is there");
    s->n_closed++;
}

static bool is_whole(struct server *s, int how)
{
    s->last_how = how;
    if (how != HTTPD_BODY_WHOLE)
        s->n_gone_bodies++;
    return how == HTTPD_BODY_WHOLE;
}

static void echo_body(struct httpd_req *req, int how, void *arg)
{
    if (!is_whole(arg, how))
        return;
    struct slice b = httpd_req_body(req);
    httpd_reply(req, 200, NULL, 0, b.p, b.len);
}

static void hold_body(struct httpd_req *req, int how, void *arg)
{
    struct server *s = arg;
    if (!is_whole(s, how))
        return;
    httpd_req_on_close(req, on_closed, s);
    s->held[s->n_held] = req;
    s->n_held++;
}

static void count_piece(struct httpd_req *req, const void *p, size_t len, void *arg)
{
    struct server *s = arg;
    BIDE_ASSERT(p != NULL && len > 0, "an empty piece");
    s->sent += len;
    if (httpd_req_data(req) != NULL && s->n_pieces == 0)
        httpd_req_pause(req);
    s->n_pieces++;
}

static void count_body(struct httpd_req *req, int how, void *arg)
{
    struct server *s = arg;
    char text[128];
    if (!is_whole(s, how))
        return;
    const struct http1_request *rq = httpd_req_head(req);
    const struct http1_field *sum = http1_find(rq->trailers, rq->n_trailers, "x-sum");
    (void)snprintf(text, sizeof text, "bytes=%zu sum=%s header=%s", (size_t)s->sent, sum != NULL ? sum->value : "none",
                   httpd_req_header(req, "X-Sum") != NULL ? "yes" : "no");
    reply_text(req, 200, text);
}

/* Send until told to wait. */
static void push_down(struct httpd_req *req, void *arg)
{
    static char piece[PIECE];
    struct server *s = arg;
    while (s->sent < DOWN_BYTES) {
        int rc = httpd_reply_chunk(req, piece, sizeof piece);
        s->sent += sizeof piece;
        if (rc == ERR_AGAIN) {
            s->n_again++;
            return;
        }
        BIDE_ASSERT(rc == 0, "chunk: %s", err_name(rc));
    }
    httpd_reply_end(req);
}

static void down_closed(struct httpd_req *req, void *arg)
{
    on_closed(req, arg);
    BIDE_ASSERT(httpd_reply_chunk(req, "x", 1) == ERR_IO, "a chunk to nobody");
    httpd_reply_abort(req);
}

static void reply_peer(struct httpd_req *req)
{
    struct httpd_peer p;
    char text[256];
    httpd_req_peer(req, &p);
    (void)snprintf(text, sizeof text, "unix=%d loopback=%d uid=%ld addr=%s tag=%s", p.is_unix, p.loopback,
                   p.uid == (uid_t)-1 ? -1L : (long)p.uid, p.addr, (const char *)httpd_req_tag(req));
    reply_text(req, 200, text);
}

static void reply_odd_headers(struct httpd_req *req)
{
    static const struct httpd_header h[] = {
        {"X-Good", "a\tb"}, {"X-Bad", "a\r\nX-Injected: 1"}, {"X Bad Name", "1"}, {"connection", "upgrade"}};
    httpd_reply(req, 200, h, 4, "x", 1);
}

static void on_head(struct httpd_req *req, void *arg)
{
    struct server *s = arg;
    const char *t = httpd_req_head(req)->target.p;
    s->n_heads++;
    if (strcmp(t, "/now") == 0) {
        reply_text(req, 200, "hello");
    } else if (strcmp(t, "/echo") == 0) {
        httpd_req_collect(req, 100, echo_body, s);
    } else if (strncmp(t, "/hold", 5) == 0) {
        httpd_req_collect(req, 1000, hold_body, s);
    } else if (strcmp(t, "/later") == 0) {
        httpd_req_on_close(req, on_closed, s);
        s->held[s->n_held] = req;
        s->n_held++;
    } else if (strcmp(t, "/stream") == 0) {
        httpd_req_stream(req, MIB, count_piece, count_body, s);
    } else if (strcmp(t, "/paused") == 0) {
        httpd_req_set_data(req, s);
        s->held[0] = req;
        httpd_req_stream(req, MIB, count_piece, count_body, s);
    } else if (strcmp(t, "/early") == 0) {
        reply_text(req, 403, "no");
    } else if (strcmp(t, "/big") == 0) {
        static char big[PIECE];
        httpd_reply(req, 200, NULL, 0, big, sizeof big);
    } else if (strcmp(t, "/none") == 0) {
        httpd_reply(req, 204, NULL, 0, "x", 1);
    } else if (strcmp(t, "/odd") == 0) {
        reply_odd_headers(req);
    } else if (strcmp(t, "/who") == 0) {
        reply_peer(req);
    } else if (strcmp(t, "/down") == 0) {
        httpd_req_on_writable(req, push_down, s);
        httpd_req_on_close(req, down_closed, s);
        httpd_reply_start(req, 200, NULL, 0);
        push_down(req, s);
    } else if (strcmp(t, "/parts") == 0 || strcmp(t, "/cut") == 0) {
        httpd_reply_start(req, 200, NULL, 0);
        BIDE_ASSERT(httpd_reply_chunk(req, "one,", 4) == 0 && httpd_reply_chunk(req, "", 0) == 0, "chunk");
        BIDE_ASSERT(httpd_reply_chunk(req, "two", 3) == 0, "chunk");
        if (t[1] == 'p')
            httpd_reply_end(req);
        else
            httpd_reply_abort(req);
    } else {
        httpd_req_collect(req, MIB, echo_body, s);
    }
}

static void refuse(struct httpd_req *req, int status, const char *reason, void *arg)
{
    static const struct httpd_header h[] = {{"X-Refused", "yes"}};
    struct server *s = arg;
    s->n_refused++;
    httpd_reply(req, status, h, 1, reason, strlen(reason));
}

/* ---- harness ---- */

static void *serve(void *arg)
{
    struct server *s = arg;
    loop_run(s->loop);
    return NULL;
}

static int listen_tcp(int *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static struct sockaddr_un unix_address(const struct server *s)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s/s", s->dir.path);
    return a;
}

static void start(struct server *s, const struct httpd_limits *lim, httpd_refuse_cb *refuse_cb)
{
    struct err e = {.code = 0};
    memset(s, 0, sizeof *s);
    tmpdir_make(&s->dir);
    assert_int_equal(loop_new(&s->loop, &e), 0);
    assert_int_equal(httpd_new(s->loop, lim, on_head, refuse_cb, s, &s->h, &e), 0);
    assert_int_equal(httpd_listen_fd(s->h, listen_tcp(&s->port), (void *)(uintptr_t) "tcp", &s->listener[0], &e), 0);
    struct sockaddr_un a = unix_address(s);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(httpd_listen_fd(s->h, fd, (void *)(uintptr_t) "unix", &s->listener[1], &e), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void start_plain(struct server *s)
{
    struct httpd_limits lim;
    httpd_limits_default(&lim);
    start(s, &lim, NULL);
}

static void stop(struct server *s)
{
    loop_stop(s->loop);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    httpd_free(s->h);
    loop_free(s->loop);
    tmpdir_remove(&s->dir);
}

struct call {
    void (*fn)(struct server *s, int i);
    struct server *s;
    int i;
    sem_t done;
};

static void run_call(void *arg)
{
    struct call *c = arg;
    c->fn(c->s, c->i);
    sem_post(&c->done);
}

/* fn(s, i) on the loop's thread; returns when it has run. */
static void on_loop(struct server *s, void (*fn)(struct server *s, int i), int i)
{
    struct call c = {.fn = fn, .s = s, .i = i};
    assert_int_equal(sem_init(&c.done, 0, 0), 0);
    assert_int_equal(loop_post(s->loop, run_call, &c), 0);
    while (sem_wait(&c.done) < 0)
        assert_int_equal(errno, EINTR);
    sem_destroy(&c.done);
}

static void answer(struct server *s, int i)
{
    char text[32];
    (void)snprintf(text, sizeof text, "held %d", i);
    reply_text(s->held[i], 200, text);
}

static void patience(int fd)
{
    struct timeval tv = {.tv_sec = TEST_PATIENCE_MS / 1000};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv), 0);
}

static int tcp_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    patience(fd);
    return fd;
}

static int connect_to(const struct server *s, int fd)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)s->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return connect(fd, (struct sockaddr *)&a, sizeof a);
}

static int client(const struct server *s)
{
    int fd = tcp_socket();
    assert_int_equal(connect_to(s, fd), 0);
    return fd;
}

static int client_unix(const struct server *s)
{
    struct sockaddr_un a = unix_address(s);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    patience(fd);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void put(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            fail_msg("send: %s", strerror(errno));
        p += sent;
        n -= (size_t)sent;
    }
}

static void puts_(int fd, const char *text)
{
    put(fd, text, strlen(text));
}

static void get(int fd, const char *target)
{
    char text[256];
    (void)snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
    puts_(fd, text);
}

/* The status line and headers of the next reply, its status. Reads byte by byte so as to leave the rest alone. */
static int read_head(int fd, char *head, size_t cap)
{
    size_t n = 0;
    while (n + 1 < cap) {
        ssize_t got = recv(fd, head + n, 1, 0);
        if (got <= 0)
            fail_msg("no reply: %s after \"%.*s\"", got < 0 ? strerror(errno) : "end of file", (int)n, head);
        head[++n] = '\0';
        if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0)
            break;
    }
    assert_memory_equal(head, "HTTP/1.1 ", 9);
    return atoi(head + 9);
}

static void read_bytes(int fd, char *p, size_t n)
{
    while (n > 0) {
        ssize_t got = recv(fd, p, n, 0);
        if (got <= 0)
            fail_msg("reply cut short: %s", got < 0 ? strerror(errno) : "end of file");
        p += got;
        n -= (size_t)got;
    }
}

struct reply {
    int status;
    char head[2048];
    char body[4096];
};

/* A reply with a Content-Length; mute: it answers a HEAD. */
static void read_reply_(int fd, struct reply *r, bool mute)
{
    r->status = read_head(fd, r->head, sizeof r->head);
    const char *cl = strstr(r->head, "Content-Length: ");
    size_t n = cl != NULL && !mute ? (size_t)atoi(cl + 16) : 0;
    assert_true(cl != NULL || r->status == 100 || r->status == 204);
    assert_true(r->status == 100 || strstr(r->head, "\r\nDate: ") != NULL);
    assert_true(n < sizeof r->body);
    read_bytes(fd, r->body, n);
    r->body[n] = '\0';
}

static void expect_reply(int fd, int status, const char *body)
{
    struct reply r;
    read_reply_(fd, &r, false);
    if (r.status != status || (body != NULL && strcmp(r.body, body) != 0))
        fail_msg("got %d \"%s\", expected %d \"%s\"", r.status, r.body, status, body != NULL ? body : "(any)");
}

static void expect_end(int fd)
{
    char c;
    ssize_t got = recv(fd, &c, 1, 0);
    if (got > 0 || (got < 0 && errno != ECONNRESET))
        fail_msg("expected the end, got %s", got > 0 ? "a byte" : strerror(errno));
}

struct want {
    atomic_int *v;
    int n;
};

static bool reached(void *arg)
{
    const struct want *w = arg;
    return *w->v >= w->n;
}

static void await(atomic_int *v, int n)
{
    struct want w = {.v = v, .n = n};
    wait_until(reached, &w, TEST_PATIENCE_MS);
}

/* ---- tests ---- */

static void test_wire_rows(void **state)
{
    (void)state;
    struct server s;
    start_plain(&s);
    for (size_t i = 0; i < N_HTTP_ROWS; i++) {
        const struct http_row *row = &http_rows[i];
        struct reply r;
        int fd = client(&s);
        put(fd, row->bytes, row->len);
        read_reply_(fd, &r, memcmp(row->bytes, "HEAD", 4) == 0);
        if (r.status != row->status)
            fail_msg("%s: got %d, expected %d", row->name, r.status, row->status);
        if (r.status != 200) {
            assert_non_null(strstr(r.head, "\r\nConnection: close\r\n"));
            assert_non_null(strstr(r.head, "\r\nContent-Type: application/json\r\n"));
            assert_memory_equal(r.body, "{\"message\":\"", 12);
            expect_end(fd);
        }
        close(fd);
    }
    stop(&s);
}

static void test_keep_alive_and_close(void **state)
{
    (void)state;
    struct server s;
    struct reply r;
    start_plain(&s);
    int fd = client(&s);
    for (int i = 0; i < 100; i++) {
        get(fd, "/now");
        expect_reply(fd, 200, "hello");
    }
    puts_(fd, "GET /now HTTP/1.1\r\nHost: h\r\nConnection: x, close\r\n\r\nGET /now HTTP/1.1\r\nHost: h\r\n\r\n");
    read_reply_(fd, &r, false);
    assert_non_null(strstr(r.head, "\r\nConnection: close\r\n"));
    expect_end(fd); /* what follows the close is not read */
    assert_int_equal(s.n_heads, 101);
    close(fd);
    fd = client(&s);
    puts_(fd, "GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    read_reply_(fd, &r, false);
    assert_non_null(strstr(r.head, "\r\nConnection: keep-alive\r\n"));
    puts_(fd, "GET /now HTTP/1.0\r\n\r\n");
    read_reply_(fd, &r, false);
    assert_non_null(strstr(r.head, "\r\nConnection: close\r\n"));
    expect_end(fd);
    close(fd);
    stop(&s);
}

static void test_reply_forms(void **state)
{
    (void)state;
    struct server s;
    struct reply r;
    start_plain(&s);
    int fd = client(&s);
    puts_(fd, "HEAD /now HTTP/1.1\r\nHost: h\r\n\r\n");
    read_reply_(fd, &r, true);
    assert_non_null(strstr(r.head, "\r\nContent-Length: 5\r\n"));
    assert_null(strstr(r.head, "999"));
    get(fd, "/none");
    read_reply_(fd, &r, false);
    assert_int_equal(r.status, 204);
    assert_null(strstr(r.head, "Content-Length"));
    get(fd, "/odd");
    read_reply_(fd, &r, false);
    assert_non_null(strstr(r.head, "\r\nX-Good: a\tb\r\n"));
    assert_non_null(strstr(r.head, "\r\nX-Bad: a  X-Injected: 1\r\n"));
    assert_null(strstr(r.head, "Bad Name"));
    assert_null(strstr(r.head, "onnection"));
    static const char parts[] = "4\r\none,\r\n3\r\ntwo\r\n0\r\n\r\n";
    char body[sizeof parts];
    get(fd, "/parts");
    assert_int_equal(read_head(fd, r.head, sizeof r.head), 200);
    assert_non_null(strstr(r.head, "\r\nTransfer-Encoding: chunked\r\n"));
    read_bytes(fd, body, sizeof parts - 1);
    assert_memory_equal(body, parts, sizeof parts - 1);
    puts_(fd, "HEAD /parts HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(read_head(fd, r.head, sizeof r.head), 200);
    get(fd, "/now"); /* nothing of a body may stand in between */
    expect_reply(fd, 200, "hello");
    close(fd);
    fd = client(&s);
    puts_(fd, "GET /parts HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_int_equal(read_head(fd, r.head, sizeof r.head), 200);
    assert_null(strstr(r.head, "chunked"));
    read_bytes(fd, body, 7);
    assert_memory_equal(body, "one,two", 7);
    expect_end(fd);
    close(fd);
    stop(&s);
}

static void test_abort_is_seen(void **state)
{
    (void)state;
    struct server s;
    struct reply r;
    char body[17];
    start_plain(&s);
    int fd = client(&s);
    get(fd, "/cut");
    assert_int_equal(read_head(fd, r.head, sizeof r.head), 200);
    read_bytes(fd, body, sizeof body); /* 4 CRLF one, CRLF 3 CRLF two CRLF, and no last chunk */
    expect_end(fd);
    close(fd);
    /* HTTP/1.0 has no last chunk to miss: there it takes a reset. */
    fd = client(&s);
    puts_(fd, "GET /cut HTTP/1.0\r\n\r\n");
    ssize_t got;
    while ((got = recv(fd, body, sizeof body, 0)) > 0)
        ;
    assert_int_equal(got, -1);
    assert_int_equal(errno, ECONNRESET);
    close(fd);
    stop(&s);
}

static void test_bodies(void **state)
{
    (void)state;
    struct server s;
    start_plain(&s);
    int fd = client(&s);
    puts_(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
    await(&s.n_heads, 1);
    puts_(fd, "cde");
    expect_reply(fd, 200, "abcde");
    puts_(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    expect_reply(fd, 200, "abc");
    puts_(fd, "POST /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_reply(fd, 200, "");
    puts_(fd, "POST /stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
              "3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n");
    expect_reply(fd, 200, "bytes=7 sum=7 header=no");
    close(fd);
    stop(&s);
}

static void resume_held(struct server *s, int i)
{
    httpd_req_resume(s->held[i]);
}

static void test_streaming_pauses(void **state)
{
    (void)state;
    struct server s;
    static char body[MIB];
    start_plain(&s);
    int fd = client(&s);
    puts_(fd, "POST /paused HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n");
    put(fd, body, 1000);
    await(&s.n_pieces, 1);
    size_t first = s.sent;
    put(fd, body, 1000); /* more arrives, and stays unread */
    int other = client(&s);
    get(other, "/now");
    expect_reply(other, 200, "hello");
    assert_int_equal(s.sent, first);
    on_loop(&s, resume_held, 0);
    put(fd, body, sizeof body - 2000);
    expect_reply(fd, 200, "bytes=1048576 sum=none header=no");
    close(fd);
    close(other);
    stop(&s);
}

static void collect_held(struct server *s, int i)
{
    httpd_req_collect(s->held[i], 100, echo_body, s);
}

static void test_deciding_later(void **state)
{
    (void)state;
    struct server s;
    start_plain(&s);
    int fd = client(&s);
    puts_(fd, "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    await(&s.n_held, 1);
    on_loop(&s, collect_held, 0);
    expect_reply(fd, 200, "abc");
    get(fd, "/later"); /* nothing left to read when it is decided */
    await(&s.n_held, 2);
    on_loop(&s, collect_held, 1);
    expect_reply(fd, 200, "");
    puts_(fd, "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    await(&s.n_held, 3);
    on_loop(&s, answer, 2); /* answered without ever accepting the body */
    expect_reply(fd, 200, "held 2");
    get(fd, "/now");
    expect_reply(fd, 200, "hello");
    puts_(fd, "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
    await(&s.n_held, 4);
    close(fd);
    await(&s.n_closed, 1);
    on_loop(&s, collect_held, 3); /* too late: the client is gone */
    await(&s.n_gone_bodies, 1);
    assert_int_equal(s.last_how, HTTPD_BODY_GONE);
    stop(&s);
}

static void test_expect(void **state)
{
    (void)state;
    struct server s;
    start_plain(&s);
    int fd = client(&s);
    puts_(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    expect_reply(fd, 100, "");
    puts_(fd, "abc");
    expect_reply(fd, 200, "abc");
    /* Over the limit: the refusal comes instead of the 100. */
    puts_(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n");
    expect_reply(fd, 413, NULL);
    expect_end(fd);
    close(fd);
    /* An early refusal too; whether the body follows is not known, so the connection ends. */
    fd = client(&s);
    puts_(fd, "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    expect_reply(fd, 403, "no");
    expect_end(fd);
    close(fd);
    stop(&s);
}

static void test_early_refusal(void **state)
{
    (void)state;
    struct server s;
    static char body[4 * MIB];
    start_plain(&s);
    int fd = client(&s);
    puts_(fd, "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n");
    expect_reply(fd, 403, "no"); /* before the body was sent */
    puts_(fd, "0123456789");
    get(fd, "/now"); /* a short body is skipped, the connection lives */
    expect_reply(fd, 200, "hello");
    puts_(fd, "POST /early HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    expect_reply(fd, 403, "no");
    get(fd, "/now");
    expect_reply(fd, 200, "hello");
    puts_(fd, "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 4194304\r\n\r\n");
    put(fd, body, sizeof body); /* a client that sends everything before it looks for a reply */
    expect_reply(fd, 403, "no");
    expect_end(fd);
    close(fd);
    stop(&s);
}

static void test_too_large(void **state)
{
    (void)state;
    struct server s;
    struct httpd_limits lim;
    static char body[4 * MIB];
    httpd_limits_default(&lim);
    start(&s, &lim, refuse);
    int fd = client(&s);
    puts_(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4194304\r\n\r\n");
    put(fd, body, sizeof body);
    expect_reply(fd, 413, "The body is too large.");
    expect_end(fd);
    close(fd);
    assert_int_equal(s.last_how, 413);
    fd = client(&s);
    puts_(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n400000\r\n");
    put(fd, body, sizeof body);
    puts_(fd, "\r\n0\r\n\r\n");
    struct reply r;
    read_reply_(fd, &r, false);
    assert_int_equal(r.status, 413);
    assert_non_null(strstr(r.head, "\r\nX-Refused: yes\r\n"));
    expect_end(fd);
    close(fd);
    assert_int_equal(s.n_refused, 2);
    assert_int_equal(s.n_gone_bodies, 2);
    memset(body, 'a', 20000);
    fd = client(&s);
    puts_(fd, "GET /");
    put(fd, body, 20000);
    expect_reply(fd, 414, NULL);
    close(fd);
    fd = client(&s);
    puts_(fd, "GET / HTTP/1.1\r\nX: ");
    put(fd, body, 20000);
    expect_reply(fd, 431, NULL);
    close(fd);
    stop(&s);
}

static void test_lingering_is_bounded(void **state)
{
    (void)state;
    struct server s;
    struct httpd_limits lim;
    static char body[MIB];
    httpd_limits_default(&lim);
    lim.max_linger_bytes = 1000;
    start(&s, &lim, NULL);
    int fd = client(&s);
    puts_(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n");
    while (send(fd, body, sizeof body, MSG_NOSIGNAL) > 0)
        ;
    assert_true(errno == EPIPE || errno == ECONNRESET);
    close(fd);
    stop(&s);
}

static void test_pipelining_in_order(void **state)
{
    (void)state;
    struct server s;
    start_plain(&s);
    int fd = client(&s);
    puts_(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\nPOST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
              "GET /parts HTTP/1.1\r\nHost: h\r\n\r\nGET /hold HTTP/1.1\r\nHost: h\r\n\r\nGET /n HTTP/1.0\r\n\r\n");
    await(&s.n_held, 3);
    await(&s.n_heads, 5);
    on_loop(&s, answer, 2);
    on_loop(&s, answer, 1);
    char c;
    assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
    on_loop(&s, answer, 0);
    expect_reply(fd, 200, "held 0");
    expect_reply(fd, 200, "held 1");
    char head[1024], parts[24];
    assert_int_equal(read_head(fd, head, sizeof head), 200);
    read_bytes(fd, parts, 22);
    assert_memory_equal(parts, "4\r\none,\r\n3\r\ntwo\r\n0\r\n\r\n", 22);
    expect_reply(fd, 200, "held 2");
    expect_reply(fd, 200, "");
    expect_end(fd);
    close(fd);
    stop(&s);
}

static void test_pipelining_is_bounded(void **state)
{
    (void)state;
    struct server s;
    struct httpd_limits lim;
    httpd_limits_default(&lim);
    lim.max_pipelined = 2;
    start(&s, &lim, NULL);
    int fd = client(&s), other = client(&s);
    for (int i = 0; i < 5; i++)
        get(fd, "/hold");
    await(&s.n_held, 2);
    get(other, "/now"); /* a turn of the loop later it still holds */
    expect_reply(other, 200, "hello");
    assert_int_equal(s.n_held, 2);
    for (int i = 0; i < 5; i++) {
        await(&s.n_held, i + 1);
        on_loop(&s, answer, i);
    }
    for (int i = 0; i < 5; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "held %d", i);
        expect_reply(fd, 200, text);
    }
    close(fd);
    close(other);
    stop(&s);
}

static void test_unread_replies_are_bounded(void **state)
{
    (void)state;
    struct server s;
    struct reply r;
    static char body[PIECE];
    enum { N = 1000 }; /* four times what the sockets can hold */
    start_plain(&s);
    int fd = client(&s), other = client(&s);
    for (int i = 0; i < N; i++)
        get(fd, "/big");
    await(&s.n_heads, 2);
    get(other, "/now");
    expect_reply(other, 200, "hello");
    assert_true(s.n_heads < N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(read_head(fd, r.head, sizeof r.head), 200);
        read_bytes(fd, body, sizeof body);
    }
    close(fd);
    close(other);
    stop(&s);
}

static void test_deadlines(void **state)
{
    (void)state;
    struct server s;
    struct httpd_limits lim;
    httpd_limits_default(&lim);
    lim.request_ms = 100;
    start(&s, &lim, refuse);
    int slow_head = client(&s), slow_body = client(&s), slow_rest = client(&s), computing = client(&s);
    get(computing, "/hold");
    puts_(slow_head, "GET /now HTTP/1.1\r\nHo");
    puts_(slow_body, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab");
    puts_(slow_rest, "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab");
    expect_reply(slow_rest, 403, "no"); /* answered already: no 408 behind it */
    expect_end(slow_rest);
    expect_reply(slow_head, 408, NULL);
    expect_end(slow_head);
    expect_reply(slow_body, 408, NULL);
    expect_end(slow_body);
    assert_int_equal(s.last_how, 408);
    on_loop(&s, answer, 0); /* our own time is not counted */
    expect_reply(computing, 200, "held 0");
    close(slow_head);
    close(slow_body);
    close(slow_rest);
    close(computing);
    stop(&s);
}

static void test_idle_is_closed(void **state)
{
    (void)state;
    struct server s;
    struct httpd_limits lim;
    httpd_limits_default(&lim);
    lim.idle_ms = 50;
    start(&s, &lim, refuse);
    int silent = client(&s);
    expect_end(silent);
    assert_int_equal(s.n_refused, 0);
    close(silent);
    stop(&s);
}

static void test_connection_ceiling(void **state)
{
    (void)state;
    struct server s;
    struct httpd_limits lim;
    httpd_limits_default(&lim);
    lim.max_conns = 2;
    start(&s, &lim, NULL);
    int a = client(&s), b = client(&s);
    get(a, "/hold");
    get(b, "/hold");
    await(&s.n_held, 2);
    int c = client(&s); /* in the backlog: both places are busy */
    get(c, "/now");
    on_loop(&s, answer, 0);
    expect_reply(a, 200, NULL);
    expect_reply(c, 200, "hello"); /* in the place of the one that became idle */
    expect_end(a);
    on_loop(&s, answer, 1);
    expect_reply(b, 200, NULL);
    int d = client(&s); /* c has been idle longest */
    get(d, "/now");
    expect_reply(d, 200, "hello");
    expect_end(c);
    get(b, "/now");
    expect_reply(b, 200, "hello");
    close(a);
    close(b);
    close(c);
    close(d);
    stop(&s);
}

/* Whoever sends a head byte by byte does not keep others out. */
static void test_slow_heads_make_room(void **state)
{
    (void)state;
    struct server s;
    struct httpd_limits lim;
    httpd_limits_default(&lim);
    lim.max_conns = 3;
    start(&s, &lim, NULL);
    int a = client(&s), b = client(&s);
    puts_(a, "GET /now HTTP/1.1\r\n");
    puts_(b, "GET /now HTTP/1.1\r\n");
    int busy = client(&s);
    get(busy, "/hold");
    await(&s.n_held, 1);
    int c = client(&s);
    get(c, "/now");
    expect_reply(c, 200, "hello"); /* in the place of the one that was slow for longest */
    expect_end(a);
    puts_(b, "Host: h\r\n\r\n");
    expect_reply(b, 200, "hello");
    puts_(c, "GET /now HTT");
    int d = client(&s);
    get(d, "/now");
    expect_reply(d, 200, "hello"); /* b has been idle for longer than c is slow */
    expect_end(b);
    puts_(c, "P/1.1\r\nHost: h\r\n\r\n");
    expect_reply(c, 200, "hello");
    on_loop(&s, answer, 0);
    expect_reply(busy, 200, NULL);
    close(a);
    close(b);
    close(c);
    close(d);
    close(busy);
    stop(&s);
}

static void note_inflight(struct server *s, int i)
{
    (void)i;
    s->sent = httpd_inflight_bytes(s->h);
}

static void test_inflight_ceiling(void **state)
{
    (void)state;
    struct server s;
    struct httpd_limits lim;
    static char body[1000];
    httpd_limits_default(&lim);
    lim.max_inflight_bytes = 900;
    start(&s, &lim, NULL);
    int a = client(&s), b = client(&s), c = client(&s);
    puts_(a, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n");
    await(&s.n_heads, 1);
    puts_(b, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n");
    put(b, body, 500);
    await(&s.n_heads, 2);
    puts_(c, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n");
    await(&s.n_heads, 3);
    on_loop(&s, note_inflight, 0);
    assert_int_equal(s.sent, 500);
    assert_int_equal(s.n_held, 0);
    get(b, "/now"); /* behind its own body: not read either */
    put(a, body, 500);
    await(&s.n_held, 1);
    on_loop(&s, answer, 0);
    expect_reply(a, 200, "held 0");
    await(&s.n_held, 2);
    on_loop(&s, answer, 1);
    expect_reply(b, 200, "held 1");
    expect_reply(b, 200, "hello");
    expect_reply(c, 100, ""); /* larger than all the room: let in alone */
    put(c, body, 1000);
    await(&s.n_held, 3);
    on_loop(&s, answer, 2);
    expect_reply(c, 200, "held 2");
    on_loop(&s, note_inflight, 0);
    assert_int_equal(s.sent, 0);
    close(a);
    close(b);
    close(c);
    stop(&s);
}

static void take_body(struct server *s, int i)
{
    size_t len = 0;
    char *p = httpd_req_take_body(s->held[i], &len);
    BIDE_ASSERT(p != NULL && len == 3 && strcmp(p, "abc") == 0, "took %zu bytes", len);
    free(p);
    note_inflight(s, 0);
}

static void test_taking_the_body(void **state)
{
    (void)state;
    struct server s;
    start_plain(&s);
    int fd = client(&s);
    puts_(fd, "POST /hold HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    await(&s.n_held, 1);
    on_loop(&s, note_inflight, 0);
    assert_int_equal(s.sent, 3); /* not the 1000 reserved while its length was unknown */
    on_loop(&s, take_body, 0);
    assert_int_equal(s.sent, 0);
    on_loop(&s, answer, 0);
    expect_reply(fd, 200, "held 0");
    close(fd);
    stop(&s);
}

static void test_client_gone(void **state)
{
    (void)state;
    struct server s;
    start_plain(&s);
    int fd = client(&s);
    get(fd, "/hold");
    get(fd, "/hold");
    await(&s.n_held, 2);
    close(fd);
    await(&s.n_closed, 2);
    on_loop(&s, answer, 1);
    on_loop(&s, answer, 0);
    fd = client(&s);
    puts_(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab");
    await(&s.n_heads, 3);
    close(fd);
    await(&s.n_gone_bodies, 1);
    assert_int_equal(s.last_how, HTTPD_BODY_GONE);
    /* Half-closed: told the same, but a reply still arrives. */
    fd = client(&s);
    get(fd, "/hold");
    await(&s.n_held, 3);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    await(&s.n_closed, 3);
    on_loop(&s, answer, 2);
    expect_reply(fd, 200, "held 2");
    expect_end(fd);
    close(fd);
    stop(&s);
}

static void test_download_backpressure(void **state)
{
    (void)state;
    struct server s;
    struct reply r;
    static char piece[PIECE + 32];
    start_plain(&s);
    int fd = client(&s);
    get(fd, "/down");
    await(&s.n_again, 1);
    assert_true(s.sent < DOWN_BYTES);
    assert_int_equal(read_head(fd, r.head, sizeof r.head), 200);
    size_t chunk = PIECE + strlen("10000\r\n\r\n");
    for (size_t i = 0; i < DOWN_BYTES / PIECE; i++) {
        read_bytes(fd, piece, chunk);
        assert_memory_equal(piece, "10000\r\n", 7);
    }
    read_bytes(fd, piece, 5);
    assert_memory_equal(piece, "0\r\n\r\n", 5);
    get(fd, "/now");
    expect_reply(fd, 200, "hello");
    close(fd);
    stop(&s);
}

static void test_write_stall(void **state)
{
    (void)state;
    struct server s;
    struct httpd_limits lim;
    httpd_limits_default(&lim);
    lim.write_stall_ms = 50;
    start(&s, &lim, NULL);
    int fd = client(&s);
    get(fd, "/down"); /* and never read */
    await(&s.n_closed, 1);
    close(fd);
    stop(&s);
}

static void test_peers_and_tags(void **state)
{
    (void)state;
    struct server s;
    char text[128];
    start_plain(&s);
    int fd = client(&s), un = client_unix(&s);
    get(fd, "/who");
    expect_reply(fd, 200, "unix=0 loopback=1 uid=-1 addr=127.0.0.1 tag=tcp");
    get(un, "/who");
    (void)snprintf(text, sizeof text, "unix=1 loopback=0 uid=%ld addr=unix tag=unix", (long)getuid());
    expect_reply(un, 200, text);
    close(fd);
    close(un);
    stop(&s);
}

static void close_listener(struct server *s, int i)
{
    httpd_listener_close(s->listener[i]);
}

static void test_listener_close(void **state)
{
    (void)state;
    struct server s;
    start_plain(&s);
    int fd = client(&s), un = client_unix(&s);
    get(un, "/hold");
    await(&s.n_held, 1);
    get(fd, "/now");
    expect_reply(fd, 200, "hello");
    on_loop(&s, close_listener, 1);
    assert_int_equal(s.n_closed, 1);
    expect_end(un);
    on_loop(&s, answer, 0); /* to nobody */
    get(fd, "/now");
    expect_reply(fd, 200, "hello");
    close(fd);
    close(un);
    stop(&s);
}

static void all_gone(void *arg)
{
    struct server *s = arg;
    s->drained++;
}

static void drain(struct server *s, int i)
{
    (void)i;
    httpd_drain(s->h, all_gone, s);
}

static void test_drain(void **state)
{
    (void)state;
    struct server s;
    struct reply r;
    start_plain(&s);
    int idle = client(&s), busy = client(&s), reading = client(&s);
    get(idle, "/now");
    expect_reply(idle, 200, "hello");
    get(busy, "/hold");
    puts_(reading, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na");
    await(&s.n_heads, 3);
    on_loop(&s, drain, 0);
    expect_end(idle);
    int late = tcp_socket();
    assert_int_equal(connect_to(&s, late), -1);
    assert_int_equal(errno, ECONNREFUSED);
    puts_(reading, "bc"); /* a request begun is still read and answered */
    read_reply_(reading, &r, false);
    assert_string_equal(r.body, "abc");
    assert_non_null(strstr(r.head, "\r\nConnection: close\r\n"));
    expect_end(reading);
    close(reading);
    assert_int_equal(s.drained, 0);
    on_loop(&s, answer, 0);
    expect_reply(busy, 200, "held 0");
    expect_end(busy);
    close(busy);
    await(&s.drained, 1);
    close(idle);
    close(late);
    stop(&s);
}

static void test_drain_of_nothing(void **state)
{
    (void)state;
    struct server s;
    start_plain(&s);
    on_loop(&s, drain, 0);
    await(&s.drained, 1);
    stop(&s);
}

/* Free with requests in every state: nothing leaks, each hears of it. */
static void test_free_in_the_middle(void **state)
{
    (void)state;
    struct server s;
    start_plain(&s);
    int a = client(&s), b = client(&s), c = client(&s), d = client(&s);
    get(a, "/hold");
    get(a, "/hold");
    puts_(b, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab");
    puts_(c, "GET /no");
    puts_(d, "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
    await(&s.n_heads, 4);
    stop(&s);
    assert_int_equal(s.n_closed, 3);
    assert_int_equal(s.n_gone_bodies, 1);
    close(a);
    close(b);
    close(c);
    close(d);
}

/* Take every descriptor below the limit. */
static size_t use_up(int *fds, size_t cap)
{
    size_t n = 0;
    while (n < cap && (fds[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        n++;
    assert_int_equal(errno, EMFILE);
    return n;
}

static void test_no_descriptors(void **state)
{
    (void)state;
    struct server s;
    struct rlimit old, low;
    int fds[256];
    start_plain(&s);
    int held = client(&s), idle = client(&s), next = tcp_socket(), unlucky = tcp_socket(), last = tcp_socket();
    get(held, "/hold");
    await(&s.n_held, 1);
    get(idle, "/now");
    expect_reply(idle, 200, "hello");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = 128;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    size_t n = use_up(fds, sizeof fds / sizeof *fds);
    /* The idle connection makes room. */
    assert_int_equal(connect_to(&s, next), 0);
    get(next, "/hold");
    await(&s.n_held, 2);
    expect_end(idle);
    /* Nothing can make room: the client is sent away, and the server goes on with what it has. */
    assert_int_equal(connect_to(&s, unlucky), 0);
    expect_end(unlucky);
    on_loop(&s, answer, 0);
    expect_reply(held, 200, "held 0");
    while (n > 0)
        close(fds[--n]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(connect_to(&s, last), 0);
    get(last, "/now");
    expect_reply(last, 200, "hello");
    close(held);
    close(idle);
    close(next);
    close(unlucky);
    close(last);
    stop(&s);
}

/* A worker's server has one client, its runtime: it is served whatever else took all descriptors, and again after it.
 */
static void test_no_descriptors_for_the_first(void **state)
{
    (void)state;
    struct server s;
    struct rlimit old, low;
    int fds[256];
    start_plain(&s);
    int first = tcp_socket(), second = tcp_socket();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = 128;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    size_t n = use_up(fds, sizeof fds / sizeof *fds);
    assert_int_equal(connect_to(&s, first), 0);
    get(first, "/now");
    expect_reply(first, 200, "hello");
    /* Idle, it makes room for the next. */
    assert_int_equal(connect_to(&s, second), 0);
    get(second, "/now");
    expect_reply(second, 200, "hello");
    expect_end(first);
    while (n > 0)
        close(fds[--n]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    close(first);
    close(second);
    stop(&s);
}

static void test_not_a_listening_socket(void **state)
{
    (void)state;
    struct server s;
    struct err e = {.code = 0};
    start_plain(&s);
    loop_stop(s.loop);
    assert_int_equal(pthread_join(s.thread, NULL), 0);
    assert_err(httpd_listen_fd(s.h, tcp_socket(), NULL, NULL, &e), ERR_INVALID, &e, "not a listening socket");
    httpd_free(s.h);
    loop_free(s.loop);
    tmpdir_remove(&s.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_rows),
        cmocka_unit_test(test_keep_alive_and_close),
        cmocka_unit_test(test_reply_forms),
        cmocka_unit_test(test_abort_is_seen),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_streaming_pauses),
        cmocka_unit_test(test_deciding_later),
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_early_refusal),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_lingering_is_bounded),
        cmocka_unit_test(test_pipelining_in_order),
        cmocka_unit_test(test_pipelining_is_bounded),
        cmocka_unit_test(test_unread_replies_are_bounded),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_idle_is_closed),
        cmocka_unit_test(test_connection_ceiling),
        cmocka_unit_test(test_slow_heads_make_room),
        cmocka_unit_test(test_inflight_ceiling),
        cmocka_unit_test(test_taking_the_body),
        cmocka_unit_test(test_client_gone),
        cmocka_unit_test(test_download_backpressure),
        cmocka_unit_test(test_write_stall),
        cmocka_unit_test(test_peers_and_tags),
        cmocka_unit_test(test_listener_close),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_of_nothing),
        cmocka_unit_test(test_free_in_the_middle),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_no_descriptors_for_the_first),
        cmocka_unit_test(test_not_a_listening_socket),
    };
    loop_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
