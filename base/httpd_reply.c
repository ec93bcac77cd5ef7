#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "clock.h"
#include "httpd_priv.h"

enum { LOW_WATER = 64 * 1024, FLUSH_PARTS = 16 };

/* ---- output ---- */

/* Bytes sent, 0 when the socket is full, -1 when it is broken. */
static ssize_t send_iov(int fd, struct iovec *iov, int n)
{
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)n};
    for (;;) {
        ssize_t sent = sendmsg(fd, &m, MSG_NOSIGNAL);
        if (sent >= 0)
            return sent;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        if (errno != EINTR)
            return -1;
    }
}

static void emit(struct httpd_req *req, struct iovec *iov, int n)
{
    struct conn *c = req->c;
    if (c->fd < 0 || c->broken || c->cut)
        return;
    bool front = TAILQ_FIRST(&c->reqs) == req;
    size_t skip = 0;
    /* Behind a pipelined request the replies are better gathered into one write. */
    if (front && c->n_reqs == 1 && evbuffer_get_length(c->out) == 0) {
        ssize_t sent = send_iov(c->fd, iov, n);
        if (sent < 0) {
            conn_break(c);
            return;
        }
        skip = (size_t)sent;
    }
    if (!front && req->out == NULL && (req->out = evbuffer_new()) == NULL) {
        conn_break(c);
        return;
    }
    struct evbuffer *to = front ? c->out : req->out;
    for (int i = 0; i < n; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        if (evbuffer_add(to, (char *)iov[i].iov_base + skip, iov[i].iov_len - skip) < 0) {
            conn_break(c);
            return;
        }
        skip = 0;
    }
}

void req_emit_text(struct httpd_req *req, const char *text, size_t len)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = len};
    emit(req, &iov, 1);
}

/* Write what waits. False: the connection broke. */
bool conn_flush(struct conn *c)
{
    while (evbuffer_get_length(c->out) > 0) {
        struct evbuffer_iovec part[FLUSH_PARTS];
        struct iovec iov[FLUSH_PARTS];
        int n = evbuffer_peek(c->out, -1, NULL, part, FLUSH_PARTS);
        if (n > FLUSH_PARTS)
            n = FLUSH_PARTS;
        for (int i = 0; i < n; i++)
            iov[i] = (struct iovec){.iov_base = part[i].iov_base, .iov_len = part[i].iov_len};
        ssize_t sent = send_iov(c->fd, iov, n);
        if (sent < 0)
            return false;
        if (sent == 0)
            return true;
        (void)evbuffer_drain(c->out, (size_t)sent);
        c->stall_at_ms = 0;
    }
    return true;
}

void conn_on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct conn *c = arg;
    c->writing = false;
    conn_enter(c);
    if (!conn_flush(c))
        conn_break(c);
    struct httpd_req *req = TAILQ_FIRST(&c->reqs);
    if (req != NULL && req->choked && !c->broken && evbuffer_get_length(c->out) <= LOW_WATER) {
        req->choked = false;
        if (req->on_writable != NULL && req->out_state == OUT_STREAM)
            req->on_writable(req, req->writable_arg);
    }
    conn_leave(c);
    conn_settle(c);
}

/* Hand the oldest replies to the connection, as far as they go. */
void conn_release_replies(struct conn *c)
{
    struct httpd_req *req;
    while ((req = TAILQ_FIRST(&c->reqs)) != NULL) {
        if (req->out != NULL && !c->cut && c->fd >= 0 && evbuffer_add_buffer(c->out, req->out) < 0)
            conn_break(c);
        if (req->out_state != OUT_DONE || req->phase != PH_READ)
            return;
        if (req->cut) {
            c->cut = true;
            c->reset = req->rq.minor == 0;
        }
        if (req->close_after)
            c->closing = true;
        req_remove(req);
    }
}

/* ---- replies ---- */

static void date_update(struct httpd *h)
{
    static const char *const day[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const month[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t sec = (time_t)(clock_real_ms() / 1000);
    if (sec == h->date_sec && h->date_len > 0)
        return;
    struct tm tm;
    (void)gmtime_r(&sec, &tm);
    struct buf b;
    buf_init(&b, sizeof h->date - 1);
    if (buf_printf(&b, "Date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n", day[tm.tm_wday], tm.tm_mday, month[tm.tm_mon],
                   tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec) == 0) {
        memcpy(h->date, b.data, b.len);
        h->date_len = b.len;
        h->date_sec = sec;
    }
    buf_done(&b);
}

static bool is_ours(const char *name)
{
    static const char *const ours[] = {"Content-Length", "Transfer-Encoding", "Connection", "Date"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcasecmp(name, ours[i]) == 0)
            return true;
    return false;
}

static int add_header(struct buf *b, const struct httpd_header *f)
{
    size_t name_len = strlen(f->name), value_len = strlen(f->value);
    if (!http1_name_ok(f->name, name_len) || is_ours(f->name))
        return 0;
    int rc = buf_reserve(b, name_len + value_len + 4);
    if (rc < 0)
        return rc;
    rc = buf_append(b, f->name, name_len) < 0 || buf_append(b, ": ", 2) < 0 ? ERR_NOMEM : 0;
    if (rc == 0 && http1_value_ok(f->value, value_len))
        rc = buf_append(b, f->value, value_len);
    else
        for (size_t i = 0; i < value_len && rc == 0; i++)
            rc = buf_putc(b, http1_value_ok(f->value + i, 1) ? f->value[i] : ' ');
    return rc < 0 ? rc : buf_append(b, "\r\n", 2);
}

static size_t put_decimal(char *out, uint64_t v)
{
    char tmp[20];
    size_t n = 0;
    do
        tmp[n++] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    for (size_t i = 0; i < n; i++)
        out[i] = tmp[n - 1 - i];
    return n;
}

/* The body may be skipped and the connection kept: it is short, and the client sends it for sure. */
static bool skippable(const struct httpd_req *req)
{
    const struct http1_request *rq = &req->rq;
    if (http1_bodyless(rq) || req->phase == PH_READ)
        return true;
    bool begun = req->phase == PH_BODY;
    if (rq->expect_continue && !begun)
        return false;
    if (rq->chunked)
        return !begun;
    return rq->content_length - req->body_seen <= HTTPD_SKIP_BYTES;
}

/* Say "close" in this reply? Never before the last request that will be answered. */
static bool closes(const struct httpd_req *req)
{
    const struct conn *c = req->c;
    if (TAILQ_NEXT(req, link) != NULL)
        return false;
    return !req->rq.keep_alive || c->closing || !skippable(req) ||
           (c->h->draining && (c->cur == NULL || c->cur == req));
}

static int build_head(struct httpd_req *req, int status, const struct httpd_header *h, size_t n_h, const size_t *len)
{
    struct httpd *d = req->c->h;
    struct buf *b = &d->reply_head;
    char line[64] = "HTTP/1.1 ";
    const char *text = http1_status_text(status);
    size_t n = 9 + put_decimal(line + 9, (uint64_t)status);
    line[n++] = ' ';
    buf_clear(b);
    date_update(d);
    int rc = buf_append(b, line, n);
    if (rc == 0)
        rc = buf_puts(b, text);
    if (rc == 0)
        rc = buf_append(b, "\r\n", 2);
    if (rc == 0)
        rc = buf_append(b, d->date, d->date_len);
    for (size_t i = 0; i < n_h && rc == 0; i++)
        rc = add_header(b, &h[i]);
    if (rc == 0 && len != NULL && status != 204 && status != 304) {
        memcpy(line, "Content-Length: ", 16);
        n = 16 + put_decimal(line + 16, *len);
        memcpy(line + n, "\r\n", 2);
        rc = buf_append(b, line, n + 2);
    }
    if (rc == 0 && req->chunked_out)
        rc = buf_puts(b, "Transfer-Encoding: chunked\r\n");
    if (rc == 0 && req->close_after)
        rc = buf_puts(b, "Connection: close\r\n");
    else if (rc == 0 && req->rq.minor == 0)
        rc = buf_puts(b, "Connection: keep-alive\r\n");
    return rc < 0 ? rc : buf_append(b, "\r\n", 2);
}

static void prepare(struct httpd_req *req, int status)
{
    BIDE_ASSERT(req->out_state == OUT_NONE, "a request is answered twice");
    BIDE_ASSERT(status >= 200 && status <= 599, "status %d", status);
    req->mute = req->rq.method == HTTP1_HEAD || status == 204 || status == 304;
    req->close_after = closes(req);
    if (req->c->h->refusing == req)
        req->c->h->refusing = NULL;
}

/* The reply is complete: whatever is unread of the request goes to waste, and the next one may come. */
static void reply_complete(struct httpd_req *req)
{
    struct conn *c = req->c;
    bool skip = skippable(req), bodyless = http1_bodyless(&req->rq);
    req->out_state = OUT_DONE;
    req->pending_end = false;
    if (req->phase == PH_WAITING)
        TAILQ_REMOVE(&c->h->waiting, req, waiting);
    req_room_give_back(req, 0);
    if (c->fd < 0) {
        req->phase = PH_READ;
        req_remove(req);
        conn_settle(c);
        return;
    }
    if (req->phase != PH_READ && skip) {
        if (req->rq.chunked)
            http1_body_max(&c->parser, HTTPD_SKIP_BYTES);
        if (!bodyless)
            req->phase = PH_SKIP;
    } else if (req->phase != PH_READ) {
        req->phase = PH_READ;
        c->cur = NULL;
        c->closing = true;
    }
    conn_release_replies(c);
    conn_settle(c);
}

void httpd_reply(struct httpd_req *req, int status, const struct httpd_header *h, size_t n_h, const void *body,
                 size_t len)
{
    prepare(req, status);
    if (build_head(req, status, h, n_h, &len) < 0) {
        /* Headers without end, or no memory for them: an honest 500 is all that is left. */
        len = 0;
        req->mute = true;
        if (build_head(req, 500, NULL, 0, &len) < 0)
            conn_break(req->c);
    }
    struct buf *b = &req->c->h->reply_head;
    struct iovec iov[2] = {{.iov_base = b->data, .iov_len = b->len},
                           {.iov_base = (void *)(uintptr_t)body, .iov_len = len}};
    emit(req, iov, req->mute || len == 0 ? 1 : 2);
    reply_complete(req);
}

void httpd_reply_start(struct httpd_req *req, int status, const struct httpd_header *h, size_t n_h)
{
    prepare(req, status);
    req->out_state = OUT_STREAM;
    /* HTTP/1.0 knows no chunks: there the end of the connection ends the body. */
    req->chunked_out = req->rq.minor == 1 && status != 204 && status != 304;
    if (req->rq.minor == 0 && !req->mute)
        req->close_after = true;
    if (build_head(req, status, h, n_h, NULL) < 0) {
        conn_break(req->c);
        return;
    }
    req_emit_text(req, req->c->h->reply_head.data, req->c->h->reply_head.len);
    conn_settle(req->c);
}

static size_t unsent(const struct httpd_req *req)
{
    if (TAILQ_FIRST(&req->c->reqs) == req)
        return evbuffer_get_length(req->c->out);
    return req->out != NULL ? evbuffer_get_length(req->out) : 0;
}

int httpd_reply_chunk(struct httpd_req *req, const void *p, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    struct conn *c = req->c;
    BIDE_ASSERT(req->out_state == OUT_STREAM, "a chunk outside a reply");
    if (c->fd < 0 || c->broken)
        return ERR_IO;
    if (len > 0 && !req->mute) {
        char size[18];
        int at = sizeof size;
        size[--at] = '\n';
        size[--at] = '\r';
        for (size_t v = len; v > 0; v /= 16)
            size[--at] = hex[v % 16];
        struct iovec iov[3] = {{.iov_base = size + at, .iov_len = sizeof size - (size_t)at},
                               {.iov_base = (void *)(uintptr_t)p, .iov_len = len},
                               {.iov_base = (void *)(uintptr_t) "\r\n", .iov_len = 2}};
        if (req->chunked_out)
            emit(req, iov, 3);
        else
            emit(req, iov + 1, 1);
    }
    req->choked = unsent(req) >= HTTPD_HIGH_WATER;
    bool gone = c->broken;
    bool choked = req->choked;
    conn_settle(c);
    return gone ? ERR_IO : choked ? ERR_AGAIN : 0;
}

void httpd_reply_end(struct httpd_req *req)
{
    BIDE_ASSERT(req->out_state == OUT_STREAM, "the end of a reply that was not begun");
    if (req->chunked_out && !req->mute)
        req_emit_text(req, "0\r\n\r\n", 5);
    reply_complete(req);
}

void httpd_reply_abort(struct httpd_req *req)
{
    struct conn *c = req->c;
    BIDE_ASSERT(req->out_state != OUT_DONE, "a reply is aborted after its end");
    req->cut = true;
    if (c->fd >= 0) {
        if (req->phase != PH_READ) {
            if (req->phase == PH_WAITING)
                TAILQ_REMOVE(&c->h->waiting, req, waiting);
            req->phase = PH_READ;
            c->cur = NULL;
        }
        c->closing = true;
    }
    reply_complete(req);
}
