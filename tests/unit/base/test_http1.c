/* The HTTP parser: each wire row, and that no cut of the input changes what it says. */
#include "http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http_rows.h"

enum { HEAD_MAX = 1024, MAX_TEXT = 1 << 20 };

struct run {
    struct http1 p;
    struct http1_request rq;
    char store[HEAD_MAX + HTTP1_TRAILER_BYTES];
    struct buf text; /* everything the parser said; body pieces joined */
    bool in_body;
    uint64_t body_max;
    int n_ended;
    int status;
};

static void say(struct buf *b, const char *what, const void *p, size_t len)
{
    assert_int_equal(buf_puts(b, what), 0);
    assert_int_equal(buf_append(b, p, len), 0);
    assert_int_equal(buf_putc(b, '|'), 0);
}

static void say_fields(struct buf *b, const struct http1_field *f, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(strlen(f[i].name), f[i].name_len);
        assert_int_equal(strlen(f[i].value), f[i].value_len);
        say(b, " ", f[i].name, f[i].name_len);
        say(b, "=", f[i].value, f[i].value_len);
    }
}

static void run_init(struct run *r, uint64_t body_max)
{
    memset(r, 0, sizeof *r);
    r->body_max = body_max;
    buf_init(&r->text, MAX_TEXT);
    http1_begin(&r->p, &r->rq, r->store, sizeof r->store);
}

static void say_head(struct run *r)
{
    const struct http1_request *rq = &r->rq;
    say(&r->text, "HEAD ", http1_method_name(rq->method), strlen(http1_method_name(rq->method)));
    say(&r->text, "target ", rq->target.p, rq->target.len);
    say(&r->text, "path ", rq->path.p, rq->path.len);
    say(&r->text, "query ", rq->query.p, rq->query.len);
    say(&r->text, "host ", rq->host.p, rq->host.len);
    assert_int_equal(buf_printf(&r->text, "1.%u keep=%d expect=%d chunked=%d length=%d,%llu", rq->minor, rq->keep_alive,
                                rq->expect_continue, rq->chunked, rq->has_length,
                                (unsigned long long)rq->content_length),
                     0);
    say_fields(&r->text, rq->headers, rq->n_headers);
    http1_body_max(&r->p, r->body_max);
}

static void feed(struct run *r, const char *in, size_t len)
{
    size_t used = 0;
    struct slice piece = {.p = NULL, .len = 0};
    enum http1_event ev;
    /* An exact copy on the heap lets the sanitizer see a read past the end. */
    char *copy = malloc(len > 0 ? len : 1), *at = copy;
    assert_non_null(copy);
    memcpy(copy, in, len);
    while (r->status == 0 && (ev = http1_next(&r->p, at, len, &used, &piece)) != HTTP1_EV_MORE) {
        assert_true(used <= len);
        at += used;
        len -= used;
        if (r->in_body && ev != HTTP1_EV_BODY)
            assert_int_equal(buf_putc(&r->text, '\n'), 0);
        r->in_body = ev == HTTP1_EV_BODY;
        if (ev == HTTP1_EV_HEAD) {
            say_head(r);
        } else if (ev == HTTP1_EV_BODY) {
            assert_true(piece.len > 0);
            assert_int_equal(buf_append(&r->text, piece.p, piece.len), 0);
        } else if (ev == HTTP1_EV_END) {
            assert_int_equal(buf_puts(&r->text, "END"), 0);
            say_fields(&r->text, r->rq.trailers, r->rq.n_trailers);
            r->n_ended++;
            http1_begin(&r->p, &r->rq, r->store, sizeof r->store);
        } else {
            r->status = r->p.status;
            assert_non_null(r->p.reason);
            assert_int_equal(buf_printf(&r->text, "ERROR %d %s", r->p.status, r->p.reason), 0);
        }
    }
    free(copy);
}

/* Parses in whole, cut in two at every place, and byte by byte; all must say the same. The whole run is left in r. */
static void check_splits(struct run *r, const char *name, const char *in, size_t len, uint64_t body_max)
{
    struct run *s = malloc(sizeof *s);
    assert_non_null(s);
    run_init(r, body_max);
    feed(r, in, len);
    for (size_t cut = 0; cut <= len; cut++) {
        run_init(s, body_max);
        if (cut < len) {
            feed(s, in, cut);
            feed(s, in + cut, len - cut);
        } else {
            for (size_t i = 0; i < len; i++)
                feed(s, in + i, 1);
        }
        if (s->text.len != r->text.len || memcmp(s->text.data, r->text.data, r->text.len) != 0)
            fail_msg("%s: cut at %zu says\n%s\ninstead of\n%s", name, cut, s->text.data, r->text.data);
        assert_int_equal(http1_midway(&s->p), http1_midway(&r->p));
        buf_done(&s->text);
    }
    free(s);
}

static void test_wire_rows(void **state)
{
    (void)state;
    struct run *r = malloc(sizeof *r);
    assert_non_null(r);
    for (size_t i = 0; i < N_HTTP_ROWS; i++) {
        const struct http_row *row = &http_rows[i];
        check_splits(r, row->name, row->bytes, row->len, UINT64_MAX);
        if (row->status == 200 ? r->n_ended != 1 || r->status != 0 : r->status != row->status || r->n_ended != 0)
            fail_msg("%s: got %d after %d requests, expected %d\n%s", row->name, r->status, r->n_ended, row->status,
                     r->text.data);
        buf_done(&r->text);
    }
    free(r);
}

static void expect_text(const char *in, uint64_t body_max, const char *text)
{
    struct run *r = malloc(sizeof *r);
    assert_non_null(r);
    check_splits(r, in, in, strlen(in), body_max);
    assert_string_equal(r->text.data, text);
    buf_done(&r->text);
    free(r);
}

static void test_what_is_read(void **state)
{
    (void)state;
    expect_text("POST /a/b?c=d?e HTTP/1.1\r\nhost:  h:1 \t\r\nX-Y: a  b \r\nx-y:\r\nContent-Length: 4\r\n\r\nbody"
                "GET /2? HTTP/1.0\r\n\r\n",
                100,
                "HEAD POST|target /a/b?c=d?e|path /a/b|query c=d?e|host h:1|1.1 keep=1 expect=0 chunked=0 length=1,4"
                " host|=h:1| X-Y|=a  b| x-y|=| Content-Length|=4|body\nEND"
                "HEAD GET|target /2?|path /2|query |host |1.0 keep=0 expect=0 chunked=0 length=0,0END");
    expect_text(
        "PUT http://o.example?q HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        "3\r\nabc\r\n02\r\nde\r\n0\r\nSum: 5\r\nHost: x\r\n\r\n",
        5,
        "HEAD PUT|target http://o.example?q|path /|query q|host o.example|1.1 keep=1 expect=1 chunked=1 length=0,0"
        " Host|=h| Transfer-Encoding|=chunked| Expect|=100-continue|abcde\nEND Sum|=5| Host|=x|");
}

static void test_connection_tokens(void **state)
{
    static const struct {
        const char *line;
        const char *value;
        bool keep;
    } rows[] = {
        {"GET / HTTP/1.1", "close", false},
        {"GET / HTTP/1.1", "x, close", false},
        {"GET / HTTP/1.1", "Close\t,x", false},
        {"GET / HTTP/1.1", ",,close", false},
        {"GET / HTTP/1.1", "closed", true},
        {"GET / HTTP/1.1", "keep-alive", true},
        {"GET / HTTP/1.1", "", true},
        {"GET / HTTP/1.1", "keep-alive, close", false},
        {"GET / HTTP/1.0", "x", false},
        {"GET / HTTP/1.0", "Keep-Alive", true},
        {"GET / HTTP/1.0", "keep-alive,close", false},
        {"GET / HTTP/1.1", "x\r\nConnection: close", false},
    };
    (void)state;
    struct run *r = malloc(sizeof *r);
    assert_non_null(r);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b;
        buf_init(&b, 1000);
        assert_int_equal(buf_printf(&b, "%s\r\nHost: h\r\nConnection: %s\r\n\r\n", rows[i].line, rows[i].value), 0);
        check_splits(r, rows[i].value, b.data, b.len, 0);
        assert_int_equal(r->n_ended, 1);
        assert_non_null(strstr(r->text.data, rows[i].keep ? "keep=1" : "keep=0"));
        buf_done(&r->text);
        buf_done(&b);
    }
    free(r);
}

/* text, n times fill, tail. */
static void check_filled(const char *text, const char *fill, size_t n, const char *tail, uint64_t body_max, int status)
{
    struct run *r = malloc(sizeof *r);
    struct buf b;
    assert_non_null(r);
    buf_init(&b, MAX_TEXT);
    assert_int_equal(buf_puts(&b, text), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buf_puts(&b, fill), 0);
    assert_int_equal(buf_puts(&b, tail), 0);
    if (b.len <= 16 * 1024) {
        check_splits(r, text, b.data, b.len, body_max);
    } else {
        run_init(r, body_max);
        feed(r, b.data, b.len);
    }
    if (status == 200 ? r->n_ended != 1 || r->status != 0 : r->status != status)
        fail_msg("%s %zu * %s: %d after %d requests, expected %d", text, n, fill, r->status, r->n_ended, status);
    buf_done(&r->text);
    buf_done(&b);
    free(r);
}

static void test_head_ceilings(void **state)
{
    (void)state;
    const char *tail = " HTTP/1.1\r\nHost: h\r\n\r\n";
    size_t room = HEAD_MAX - strlen("GET /") - strlen(tail);
    check_filled("GET /", "a", room, tail, 0, 200);
    check_filled("GET /", "a", room + 1, tail, 0, 431);
    check_filled("GET /", "a", HEAD_MAX, tail, 0, 414);
    check_filled("GET /", "a", HEAD_MAX, "", 0, 414);
    check_filled("G", "E", HEAD_MAX, "", 0, 400);
    check_filled("GET / HTTP/1.1", " ", HEAD_MAX, "", 0, 400);
    const char *head = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
    check_filled(head, "a", HEAD_MAX - strlen(head) - 4, "\r\n\r\n", 0, 200);
    check_filled(head, "a", HEAD_MAX - strlen(head) - 3, "\r\n\r\n", 0, 431);
    check_filled("GET / HTTP/1.1\r\nHost: h\r\n", "a:\r\n", HTTP1_HEADERS_MAX - 1, "\r\n", 0, 200);
    check_filled("GET / HTTP/1.1\r\nHost: h\r\n", "a:\r\n", HTTP1_HEADERS_MAX, "\r\n", 0, 431);
    check_filled("", "\n", 20000, "", 0, 400);
}

static void test_body_ceilings(void **state)
{
    (void)state;
    const char *cl = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n";
    check_filled(cl, "a", 4, "", 4, 200);
    check_filled(cl, "", 0, "", 3, 413);
    const char *te = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    check_filled(te, "1\r\na\r\n", 4, "0\r\n\r\n", 4, 200);
    check_filled(te, "1\r\na\r\n", 4, "0\r\n\r\n", 3, 413);
    check_filled(te, "", 0, "ffffffff\r\n", 1000, 413);
    /* Framing may cost as much as the body and 64 KiB; leading zeros make it cost more. */
    check_filled(te, "00000001\r\na\r\n", 5400, "0\r\n\r\n", 10000, 200);
    check_filled(te, "00000001\r\na\r\n", 9000, "0\r\n\r\n", 10000, 413);
    check_filled(te, "1\r\na\r\n", 9000, "0\r\n\r\n", 10000, 200);
}

static void test_trailer_ceilings(void **state)
{
    (void)state;
    const char *te = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX:";
    check_filled(te, "a", HTTP1_TRAILER_BYTES - 6, "\r\n\r\n", 0, 200);
    check_filled(te, "a", HTTP1_TRAILER_BYTES - 5, "\r\n\r\n", 0, 431);
}

static void test_midway(void **state)
{
    (void)state;
    struct run *r = malloc(sizeof *r);
    assert_non_null(r);
    run_init(r, 10);
    assert_false(http1_midway(&r->p));
    feed(r, "\r\n", 2);
    assert_false(http1_midway(&r->p));
    feed(r, "P", 1);
    assert_true(http1_midway(&r->p));
    static const char rest[] = "OST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n";
    feed(r, rest, sizeof rest - 1);
    assert_true(http1_midway(&r->p));
    feed(r, "x", 1);
    assert_int_equal(r->n_ended, 1);
    assert_false(http1_midway(&r->p));
    buf_done(&r->text);
    free(r);
}

static void test_names_and_values(void **state)
{
    (void)state;
    assert_true(http1_name_ok("X-a.b!", 6));
    assert_false(http1_name_ok("", 0));
    assert_false(http1_name_ok("a b", 3));
    assert_false(http1_name_ok("a:", 2));
    assert_true(http1_value_ok("a b\tc\xff", 6));
    assert_false(http1_value_ok("a\r", 2));
    assert_false(http1_value_ok("a\nb", 3));
    assert_string_equal(http1_status_text(413), "Content Too Large");
    assert_string_equal(http1_status_text(299), "Unknown");
    struct http1_field f[2] = {{.name = "A", .name_len = 1, .value = "1", .value_len = 1},
                               {.name = "bB", .name_len = 2, .value = "2", .value_len = 1}};
    assert_ptr_equal(http1_find(f, 2, "Bb"), &f[1]);
    assert_null(http1_find(f, 2, "b"));
    assert_null(http1_find(f, 1, "bB"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_rows),
        cmocka_unit_test(test_what_is_read),
        cmocka_unit_test(test_connection_tokens),
        cmocka_unit_test(test_head_ceilings),
        cmocka_unit_test(test_body_ceilings),
        cmocka_unit_test(test_trailer_ceilings),
        cmocka_unit_test(test_midway),
        cmocka_unit_test(test_names_and_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
