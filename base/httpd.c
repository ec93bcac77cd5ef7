/* Connections are plain events of the library with its evbuffers for output: reading goes from one shared buffer
 * straight into the parser, and a reply is sent at once when nothing waits before it. Most requests so cost one read
 * and one write, and no change to the set of watched descriptors.
 *
 * This is one long file because it is the only one that may name the library beside loop.c, and because the
 * parts below share struct conn and nothing else. In order: requests, output, replies, room for bodies, reading, the
 * end of a connection, its next step (conn_settle), time, accepting, the public rest.
 *
 * Two rules keep callbacks safe. conn_settle decides what a connection does next and calls nobody outside; it may free
 * the connection, so it is the last thing any path does, and does nothing while c->busy says that a frame further down
 * the stack will do it. Everything that calls the user because of something the user did (more input to parse, a broken
 * connection) is left to on_kick, which runs from the loop.
 */
#include "httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "fdutil.h"

enum {
    READ_BYTES = 64 * 1024,      /* one read, and so the most that waits unparsed on a connection */
    REPLY_HEAD_MAX = 256 * 1024, /* status line and headers of a reply */
    SKIP_BYTES = 64 * 1024,      /* the rest of a refused body is skipped up to here, so that the connection lives on */
    HIGH_WATER = 256 * 1024,     /* unsent bytes at which httpd_reply_chunk says ERR_AGAIN and no request is begun */
    LOW_WATER = 64 * 1024,
    BODY_KEEP = 16 * 1024, /* a larger buffer is given back after the request */
    SPARE_REQS = 64,
    ACCEPT_BATCH = 32,
    BACKOFF_MS = 100,
    SWEEP_MS = 250, /* deadlines are kept this exactly */
    FLUSH_PARTS = 16,
};

/* How far the request itself has been read. */
enum phase {
    PH_HEAD,
    PH_UNDECIDED, /* given to on_head; the body is neither accepted nor refused */
    PH_WAITING,   /* accepted, no room for it yet */
    PH_BODY,
    PH_SKIP, /* answered; the rest of the body is thrown away */
    PH_READ, /* nothing more of it will be read */
};

enum out_state { OUT_NONE, OUT_STREAM, OUT_DONE };

struct httpd_req {
    TAILQ_ENTRY(httpd_req) link;    /* conn.reqs, or httpd.spare */
    TAILQ_ENTRY(httpd_req) waiting; /* httpd.waiting while PH_WAITING */
    struct buf body;
    struct conn *c;
    enum phase phase;
    enum out_state out_state;
    bool accepted; /* collect or stream was called */
    bool paused;
    bool pending_end; /* on_body is due from on_kick */
    bool truncated;   /* the client went before the body was read */
    bool told_gone;
    bool choked;      /* httpd_reply_chunk said ERR_AGAIN */
    bool chunked_out; /* the reply is sent in chunks */
    bool mute;        /* the reply has no body on the wire */
    bool close_after;
    bool cut; /* the reply was given up */
    uint64_t body_seen;
    size_t reserved; /* of httpd.inflight */
    uint64_t max;
    httpd_piece_cb *on_piece;
    httpd_body_cb *on_body;
    void *body_arg;
    httpd_req_cb *on_close;
    void *close_arg;
    httpd_req_cb *on_writable;
    void *writable_arg;
    void *data;
    struct evbuffer *out; /* output held back while an earlier request is unanswered */
    struct http1_request rq;
    char store[];
};
TAILQ_HEAD(req_list, httpd_req);

struct conn {
    TAILQ_ENTRY(conn) link;
    TAILQ_ENTRY(conn) idle_link;
    TAILQ_ENTRY(conn) kick_link;
    struct httpd *h;
    struct httpd_listener *listener; /* NULL once it is closed */
    void *tag;
    int fd; /* -1 once the connection is gone; the struct lives on for its unanswered requests */
    struct event *rd, *wr;
    struct http1 parser;
    struct httpd_req *cur; /* the request being read; in reqs once its head is whole */
    struct req_list reqs;  /* unanswered or unsent, oldest first */
    size_t n_reqs;
    struct buf in; /* read, but it could not be parsed yet */
    struct evbuffer *out;
    unsigned busy;
    bool reading, writing; /* rd, wr are added */
    bool is_idle;          /* in httpd.idle */
    bool kicked;           /* in httpd.kicked */
    bool eof;              /* the client ended its side */
    bool broken;           /* to be torn down by on_kick */
    bool expired;          /* the request took too long: on_kick refuses it */
    bool closing;          /* no request is read any more; what still comes is thrown away */
    bool lingering;        /* our side is shut */
    bool cut;              /* close as soon as out is empty */
    bool reset;            /* ... with a reset, because closing would look like the end of the reply */
    size_t discarded;
    int64_t clock_since_ms; /* the request's clock runs since then; 0: it stands */
    int64_t clock_left_ms;
    int64_t idle_at_ms, stall_at_ms, linger_at_ms; /* 0: not set */
    struct httpd_peer peer;
};
TAILQ_HEAD(conn_list, conn);

struct httpd_listener {
    TAILQ_ENTRY(httpd_listener) link;
    struct httpd *h;
    int fd;
    struct loop_watch *watch; /* NULL while accepting pauses */
    void *tag;
};

struct httpd {
    struct loop *loop;
    struct httpd_limits lim;
    httpd_head_cb *on_head;
    httpd_refuse_cb *refuse;
    void *arg;
    TAILQ_HEAD(, httpd_listener) listeners;
    struct conn_list conns;
    size_t n_open;         /* connections with a descriptor */
    struct conn_list idle; /* longest idle first */
    struct conn_list kicked;
    size_t n_kicked;
    struct event *kick_ev;
    struct req_list waiting; /* for room, oldest first */
    size_t inflight;
    struct req_list spare;
    size_t n_spare;
    struct loop_timer *sweep;
    int64_t sweep_at_ms; /* 0: not armed */
    struct loop_timer *backoff;
    bool paused, backing_off;         /* accepting */
    const struct httpd_req *refusing; /* until the refuse callback answers it */
    int spare_fd;
    unsigned busy;
    bool draining;
    httpd_cb *on_gone;
    void *on_gone_arg;
    int64_t date_sec;
    char date[40]; /* the whole line */
    size_t date_len;
    struct buf reply_head;
    char *rdbuf;
};

static void conn_settle(struct conn *c);
static void conn_parse(struct conn *c, const char **at, const char *end);
static void room_give_back(struct httpd_req *req, size_t keep);

static void kick(struct conn *c)
{
    struct httpd *h = c->h;
    if (c->kicked)
        return;
    c->kicked = true;
    TAILQ_INSERT_TAIL(&h->kicked, c, kick_link);
    if (h->n_kicked++ == 0)
        event_active(h->kick_ev, EV_TIMEOUT, 0);
}

static void conn_break(struct conn *c)
{
    if (c->fd >= 0 && !c->broken) {
        c->broken = true;
        kick(c);
    }
}

/* The user may do anything to the connection in a callback but have it freed under us. */
static void enter(struct conn *c)
{
    c->busy++;
    c->h->busy++;
}

static void leave(struct conn *c)
{
    c->busy--;
    c->h->busy--;
}

/* ---- requests ---- */

static struct httpd_req *req_new(struct conn *c)
{
    struct httpd *h = c->h;
    struct httpd_req *req = TAILQ_FIRST(&h->spare);
    size_t store_len = h->lim.max_head_bytes + HTTP1_TRAILER_BYTES;
    if (req != NULL) {
        TAILQ_REMOVE(&h->spare, req, link);
        h->n_spare--;
        struct buf body = req->body;
        memset(req, 0, offsetof(struct httpd_req, rq));
        req->body = body;
    } else {
        req = malloc(sizeof *req + store_len);
        if (req == NULL)
            return NULL;
        memset(req, 0, offsetof(struct httpd_req, rq));
        buf_init(&req->body, 0);
    }
    req->c = c;
    http1_begin(&c->parser, &req->rq, req->store, store_len);
    return req;
}

static void req_recycle(struct httpd *h, struct httpd_req *req)
{
    if (req->out != NULL)
        evbuffer_free(req->out);
    if (req->body.cap > BODY_KEEP)
        buf_reset(&req->body);
    else
        buf_clear(&req->body);
    if (h->n_spare < SPARE_REQS) {
        TAILQ_INSERT_HEAD(&h->spare, req, link);
        h->n_spare++;
        return;
    }
    buf_done(&req->body);
    free(req);
}

static void req_push(struct conn *c, struct httpd_req *req)
{
    TAILQ_INSERT_TAIL(&c->reqs, req, link);
    c->n_reqs++;
}

static void req_remove(struct httpd_req *req)
{
    struct conn *c = req->c;
    if (req->phase == PH_WAITING)
        TAILQ_REMOVE(&c->h->waiting, req, waiting);
    req->phase = PH_READ;
    room_give_back(req, 0);
    if (c->cur == req)
        c->cur = NULL;
    TAILQ_REMOVE(&c->reqs, req, link);
    c->n_reqs--;
    req_recycle(c->h, req);
}

/* Hand the oldest replies to the connection, as far as they go. */
static void release_replies(struct conn *c)
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

static void emit_text(struct httpd_req *req, const char *text, size_t len)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = len};
    emit(req, &iov, 1);
}

/* Write what waits. False: the connection broke. */
static bool conn_flush(struct conn *c)
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

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct conn *c = arg;
    c->writing = false;
    enter(c);
    if (!conn_flush(c))
        conn_break(c);
    struct httpd_req *req = TAILQ_FIRST(&c->reqs);
    if (req != NULL && req->choked && !c->broken && evbuffer_get_length(c->out) <= LOW_WATER) {
        req->choked = false;
        if (req->on_writable != NULL && req->out_state == OUT_STREAM)
            req->on_writable(req, req->writable_arg);
    }
    leave(c);
    conn_settle(c);
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
    return rq->content_length - req->body_seen <= SKIP_BYTES;
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
    room_give_back(req, 0);
    if (c->fd < 0) {
        req->phase = PH_READ;
        req_remove(req);
        conn_settle(c);
        return;
    }
    if (req->phase != PH_READ && skip) {
        if (req->rq.chunked)
            http1_body_max(&c->parser, SKIP_BYTES);
        if (!bodyless)
            req->phase = PH_SKIP;
    } else if (req->phase != PH_READ) {
        req->phase = PH_READ;
        c->cur = NULL;
        c->closing = true;
    }
    release_replies(c);
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
    emit_text(req, req->c->h->reply_head.data, req->c->h->reply_head.len);
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
    req->choked = unsent(req) >= HIGH_WATER;
    bool gone = c->broken;
    bool choked = req->choked;
    conn_settle(c);
    return gone ? ERR_IO : choked ? ERR_AGAIN : 0;
}

void httpd_reply_end(struct httpd_req *req)
{
    BIDE_ASSERT(req->out_state == OUT_STREAM, "the end of a reply that was not begun");
    if (req->chunked_out && !req->mute)
        emit_text(req, "0\r\n\r\n", 5);
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

/* ---- room for bodies ---- */

static void begin_body(struct httpd_req *req)
{
    req->phase = PH_BODY;
    http1_body_max(&req->c->parser, req->max);
    if (req->rq.expect_continue && req->rq.content_length <= req->max)
        emit_text(req, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

static bool room_take(struct httpd_req *req)
{
    struct httpd *h = req->c->h;
    uint64_t need = req->rq.chunked ? req->max : req->rq.content_length;
    size_t limit = h->lim.max_inflight_bytes;
    size_t n = need > limit ? limit : (size_t)need;
    if (h->inflight > 0 && n > limit - h->inflight)
        return false;
    h->inflight += n;
    req->reserved = n;
    return true;
}

static void room_give_back(struct httpd_req *req, size_t keep)
{
    struct httpd *h = req->c->h;
    if (req->reserved <= keep)
        return;
    h->inflight -= req->reserved - keep;
    req->reserved = keep;
    struct httpd_req *w;
    while ((w = TAILQ_FIRST(&h->waiting)) != NULL && room_take(w)) {
        TAILQ_REMOVE(&h->waiting, w, waiting);
        begin_body(w);
        kick(w->c);
    }
}

static void accept_body(struct httpd_req *req, uint64_t max, httpd_piece_cb *on_piece, httpd_body_cb *on_body,
                        void *arg)
{
    struct httpd *h = req->c->h;
    BIDE_ASSERT(!req->accepted && req->out_state == OUT_NONE, "a body is accepted twice, or after the reply");
    req->accepted = true;
    req->max = max;
    req->on_piece = on_piece;
    req->on_body = on_body;
    req->body_arg = arg;
    if (req->phase == PH_READ) {
        req->pending_end = true;
        kick(req->c);
        return;
    }
    bool needs_none = http1_bodyless(&req->rq) || on_piece != NULL || req->rq.content_length > max;
    if (needs_none || (TAILQ_EMPTY(&h->waiting) && room_take(req))) {
        begin_body(req);
    } else {
        req->phase = PH_WAITING;
        TAILQ_INSERT_TAIL(&h->waiting, req, waiting);
    }
    if (req->c->busy == 0)
        kick(req->c);
}

void httpd_req_collect(struct httpd_req *req, uint64_t max, httpd_body_cb *on_body, void *arg)
{
    req->body.max = max < SIZE_MAX / 4 ? (size_t)max : SIZE_MAX / 4;
    accept_body(req, max, NULL, on_body, arg);
}

void httpd_req_stream(struct httpd_req *req, uint64_t max, httpd_piece_cb *on_piece, httpd_body_cb *on_body, void *arg)
{
    accept_body(req, max, on_piece, on_body, arg);
}

/* ---- reading ---- */

/* Tell the user how the body ended. Anything but WHOLE takes the request from him. */
static void tell_body(struct httpd_req *req, int how)
{
    struct conn *c = req->c;
    httpd_body_cb *cb = req->on_body;
    req->pending_end = false;
    req->on_body = NULL;
    req->on_piece = NULL;
    if (how != HTTPD_BODY_WHOLE) {
        req->on_close = NULL;
        req->on_writable = NULL;
        req->told_gone = true;
    }
    enter(c);
    if (cb != NULL)
        cb(req, how, req->body_arg);
    leave(c);
}

static void refuse_by_default(struct httpd_req *req, int status, const char *reason)
{
    static const struct httpd_header h[] = {{"Content-Type", "application/json"},
                                            {"Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}};
    struct buf b;
    buf_init(&b, 1024);
    int rc = buf_printf(&b, "{\"message\":\"%s\"}", reason);
    httpd_reply(req, status, h, status == 405 ? 2 : 1, b.data, rc < 0 ? 0 : b.len);
    buf_done(&b);
}

/* The request being read is no good, or too slow. */
static void refuse_current(struct conn *c, int status, const char *reason)
{
    struct httpd *h = c->h;
    struct httpd_req *req = c->cur;
    c->closing = true;
    c->cur = NULL;
    if (req->phase == PH_HEAD) {
        req_push(c, req);
    } else if (req->out_state == OUT_DONE) {
        req->phase = PH_READ;
        release_replies(c);
        return;
    }
    req->phase = PH_READ;
    enter(c);
    if (req->accepted)
        tell_body(req, status);
    req->data = NULL;
    if (req->out_state == OUT_STREAM) {
        httpd_reply_abort(req);
    } else if (h->refuse != NULL) {
        h->refusing = req;
        h->refuse(req, status, reason, h->arg);
        BIDE_ASSERT(h->refusing == NULL, "a refusal was not answered");
    } else {
        refuse_by_default(req, status, reason);
    }
    leave(c);
}

static void on_head_read(struct conn *c)
{
    struct httpd_req *req = c->cur;
    req->phase = PH_UNDECIDED;
    req_push(c, req);
    enter(c);
    c->h->on_head(req, c->h->arg);
    leave(c);
}

static void on_piece_read(struct conn *c, struct slice piece)
{
    struct httpd_req *req = c->cur;
    req->body_seen += piece.len;
    if (req->phase == PH_SKIP)
        return;
    if (req->on_piece != NULL) {
        enter(c);
        req->on_piece(req, piece.p, piece.len, req->body_arg);
        leave(c);
    } else if (buf_append(&req->body, piece.p, piece.len) < 0) {
        refuse_current(c, 503, "There is no memory for the body.");
    }
}

static void on_request_read(struct conn *c)
{
    struct httpd_req *req = c->cur;
    c->cur = NULL;
    req->phase = PH_READ;
    c->clock_since_ms = 0;
    if (!req->rq.keep_alive)
        c->closing = true;
    if (req->out_state == OUT_DONE) {
        release_replies(c);
        return;
    }
    room_give_back(req, req->body.len);
    if (req->accepted)
        tell_body(req, HTTPD_BODY_WHOLE);
}

static bool may_parse(const struct conn *c)
{
    if (c->fd < 0 || c->broken || c->closing || c->cut)
        return false;
    const struct httpd_req *req = c->cur;
    if (req == NULL)
        return c->n_reqs < c->h->lim.max_pipelined && !c->h->draining && evbuffer_get_length(c->out) < HIGH_WATER;
    if (req->phase == PH_UNDECIDED)
        return http1_bodyless(&req->rq);
    return req->phase != PH_WAITING && !req->paused;
}

static void conn_parse(struct conn *c, const char **at, const char *end)
{
    while (may_parse(c)) {
        if (c->cur == NULL) {
            if (*at == end)
                return;
            c->cur = req_new(c);
            if (c->cur == NULL) {
                conn_break(c);
                return;
            }
            c->clock_since_ms = 0;
            c->clock_left_ms = c->h->lim.request_ms;
        }
        size_t used = 0;
        struct slice piece = {.p = NULL, .len = 0};
        enum http1_event ev = http1_next(&c->parser, *at, (size_t)(end - *at), &used, &piece);
        *at += used;
        switch (ev) {
        case HTTP1_EV_MORE:
            if (!http1_midway(&c->parser)) { /* no more than an empty line */
                req_recycle(c->h, c->cur);
                c->cur = NULL;
            }
            return;
        case HTTP1_EV_HEAD:
            on_head_read(c);
            break;
        case HTTP1_EV_BODY:
            on_piece_read(c, piece);
            break;
        case HTTP1_EV_END:
            on_request_read(c);
            break;
        case HTTP1_EV_ERROR:
            refuse_current(c, c->parser.status, c->parser.reason);
            break;
        }
    }
}

static void discard(struct conn *c, size_t n)
{
    c->discarded += n;
    if (c->lingering && c->discarded > c->h->lim.max_linger_bytes)
        conn_break(c);
}

/* Parse what was kept back. */
static void parse_kept(struct conn *c)
{
    if (!may_parse(c) || (c->in.len == 0 && c->cur == NULL))
        return;
    const char *at = c->in.data, *end = c->in.data + c->in.len;
    conn_parse(c, &at, end);
    if (c->closing) {
        discard(c, (size_t)(end - at));
        at = end;
    }
    if (at == end)
        buf_reset(&c->in);
    else
        buf_consume(&c->in, (size_t)(at - c->in.data));
}

static void take_input(struct conn *c, const char *p, size_t n)
{
    const char *at = p, *end = p + n;
    if (c->in.len == 0)
        conn_parse(c, &at, end);
    if (c->closing)
        discard(c, (size_t)(end - at));
    else if (at < end && c->fd >= 0 && buf_append(&c->in, at, (size_t)(end - at)) < 0)
        conn_break(c);
}

/* ---- the end of a connection ---- */

/* The client is not there any more, or will send no more: every request learns it once. */
static void tell_gone(struct conn *c)
{
    struct httpd_req *req;
    if (c->cur != NULL && c->cur->phase == PH_HEAD) {
        req_recycle(c->h, c->cur);
        c->cur = NULL;
    }
    enter(c);
again:
    TAILQ_FOREACH (req, &c->reqs, link) {
        if (req->told_gone)
            continue;
        req->told_gone = true;
        bool unread = req->phase != PH_READ && (req->accepted || !http1_bodyless(&req->rq));
        if (req->phase == PH_WAITING)
            TAILQ_REMOVE(&c->h->waiting, req, waiting);
        req->phase = PH_READ;
        req->truncated = unread;
        if (c->cur == req)
            c->cur = NULL;
        if (req->out_state == OUT_DONE)
            continue;
        if (unread && req->accepted) {
            tell_body(req, HTTPD_BODY_GONE);
            req_remove(req);
        } else if (req->on_close != NULL) {
            httpd_req_cb *cb = req->on_close;
            req->on_close = NULL;
            cb(req, req->close_arg);
        }
        goto again; /* the callback may have answered any of them */
    }
    leave(c);
    release_replies(c);
}

static void idle_leave(struct conn *c)
{
    if (c->is_idle) {
        TAILQ_REMOVE(&c->h->idle, c, idle_link);
        c->is_idle = false;
        c->idle_at_ms = 0;
    }
}

static void conn_gone(struct conn *c)
{
    idle_leave(c);
    if (c->fd >= 0) {
        event_free(c->rd);
        event_free(c->wr);
        if (c->reset) {
            struct linger hard = {.l_onoff = 1, .l_linger = 0};
            (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard); /* a plain close is the fallback */
        }
        fd_close(&c->fd);
        c->h->n_open--;
        (void)evbuffer_drain(c->out, evbuffer_get_length(c->out));
    }
    c->clock_since_ms = c->stall_at_ms = c->linger_at_ms = 0;
    tell_gone(c);
    /* Replies already complete have nobody to go to. */
    struct httpd_req *req, *next;
    for (req = TAILQ_FIRST(&c->reqs); req != NULL; req = next) {
        next = TAILQ_NEXT(req, link);
        if (req->out_state == OUT_DONE)
            req_remove(req);
    }
}

static void accept_resume(struct httpd *h);

static void conn_free(struct conn *c)
{
    struct httpd *h = c->h;
    if (c->kicked) {
        TAILQ_REMOVE(&h->kicked, c, kick_link);
        h->n_kicked--;
    }
    TAILQ_REMOVE(&h->conns, c, link);
    evbuffer_free(c->out);
    buf_done(&c->in);
    free(c);
    if (h->draining && TAILQ_EMPTY(&h->conns))
        event_active(h->kick_ev, EV_TIMEOUT, 0);
    accept_resume(h);
}

/* ---- the next step of a connection ---- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static int64_t clock_deadline(const struct conn *c)
{
    if (c->clock_since_ms == 0)
        return 0;
    uint64_t bought_s = c->cur != NULL ? c->cur->body_seen / (uint64_t)c->h->lim.body_bytes_per_s : 0;
    return c->clock_since_ms + c->clock_left_ms + (int64_t)bought_s * 1000;
}

/* The clock of the request runs while it is the client that we wait for. */
static void clock_update(struct conn *c, int64_t now)
{
    const struct httpd_req *cur = c->cur;
    bool runs =
        cur != NULL && (cur->phase == PH_HEAD || cur->phase == PH_BODY || cur->phase == PH_SKIP) && !cur->paused;
    if (runs && c->clock_since_ms == 0) {
        c->clock_since_ms = now;
    } else if (!runs && c->clock_since_ms != 0) {
        c->clock_left_ms -= now - c->clock_since_ms;
        c->clock_since_ms = 0;
    }
}

static void sweep_need(struct httpd *h, int64_t at, int64_t now)
{
    if (at == 0 || (h->sweep_at_ms != 0 && h->sweep_at_ms <= at + SWEEP_MS))
        return;
    h->sweep_at_ms = at < now + SWEEP_MS ? now + SWEEP_MS : at;
    loop_timer_arm(h->sweep, h->sweep_at_ms - now);
}

static void set_deadlines(struct conn *c)
{
    int64_t now = clock_mono_ms();
    struct httpd *h = c->h;
    bool idle = c->n_reqs == 0 && c->cur == NULL && c->in.len == 0 && !c->closing;
    bool unsent_out = evbuffer_get_length(c->out) > 0;
    clock_update(c, now);
    if (!idle) {
        idle_leave(c);
    } else if (!c->is_idle) {
        c->is_idle = true;
        c->idle_at_ms = now + h->lim.idle_ms;
        TAILQ_INSERT_TAIL(&h->idle, c, idle_link);
        accept_resume(h);
    }
    if (!unsent_out)
        c->stall_at_ms = 0;
    else if (c->stall_at_ms == 0)
        c->stall_at_ms = now + h->lim.write_stall_ms;
    if (c->lingering && c->linger_at_ms == 0)
        c->linger_at_ms = now + h->lim.linger_ms;
    int64_t at = earlier(earlier(c->idle_at_ms, c->stall_at_ms), earlier(c->linger_at_ms, clock_deadline(c)));
    sweep_need(h, at, now);
}

static bool wants_read(const struct conn *c)
{
    if (c->eof || c->cut)
        return false;
    if (c->closing)
        return c->discarded <= c->h->lim.max_linger_bytes;
    return c->in.len == 0;
}

static void watch(struct conn *c)
{
    bool want = wants_read(c);
    if (want != c->reading) {
        if ((want ? event_add(c->rd, NULL) : event_del(c->rd)) < 0)
            conn_break(c);
        c->reading = want;
    }
    if (evbuffer_get_length(c->out) > 0 && !c->writing) {
        if (event_add(c->wr, NULL) < 0)
            conn_break(c);
        c->writing = true;
    }
}

static void conn_settle(struct conn *c)
{
    if (c->busy > 0)
        return;
    if (c->broken) {
        if (c->fd < 0 && c->n_reqs == 0)
            conn_free(c);
        else
            kick(c);
        return;
    }
    if (c->fd < 0) {
        if (c->n_reqs == 0)
            conn_free(c);
        return;
    }
    bool quiet = c->n_reqs == 0 && evbuffer_get_length(c->out) == 0;
    bool last = c->closing || c->eof || (c->h->draining && c->cur == NULL);
    if ((c->cut && evbuffer_get_length(c->out) == 0) || (quiet && c->eof)) {
        conn_break(c);
        return;
    }
    if (quiet && last && !c->lingering) {
        /* Closing now, with bytes of the client unread, would reset the connection under its feet. */
        c->closing = c->lingering = true;
        c->discarded += c->in.len;
        buf_reset(&c->in);
        if (shutdown(c->fd, SHUT_WR) < 0) {
            conn_break(c);
            return;
        }
    }
    if (c->in.len > 0 && may_parse(c))
        kick(c);
    watch(c);
    set_deadlines(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct conn *c = arg;
    struct httpd *h = c->h;
    ssize_t n = read(fd, h->rdbuf, READ_BYTES);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    enter(c);
    if (n > 0) {
        idle_leave(c);
        take_input(c, h->rdbuf, (size_t)n);
    } else if (n == 0) {
        c->eof = c->closing = true;
        tell_gone(c);
    } else {
        conn_break(c);
    }
    leave(c);
    conn_settle(c);
}

static void pending_bodies(struct conn *c)
{
    struct httpd_req *req;
again:
    TAILQ_FOREACH (req, &c->reqs, link) {
        if (!req->pending_end)
            continue;
        if (req->truncated) {
            tell_body(req, HTTPD_BODY_GONE);
            req_remove(req);
            release_replies(c);
        } else {
            tell_body(req, HTTPD_BODY_WHOLE);
        }
        goto again;
    }
}

static void conn_turn(struct conn *c)
{
    bool broken = c->broken, expired = c->expired;
    c->broken = c->expired = false;
    enter(c);
    if (broken)
        conn_gone(c);
    else if (expired && clock_deadline(c) != 0 && clock_deadline(c) <= clock_mono_ms())
        refuse_current(c, 408, "The request took too long to arrive.");
    pending_bodies(c);
    parse_kept(c);
    leave(c);
    conn_settle(c);
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct httpd *h = arg;
    for (size_t n = h->n_kicked; n > 0 && h->n_kicked > 0; n--) {
        struct conn *c = TAILQ_FIRST(&h->kicked);
        TAILQ_REMOVE(&h->kicked, c, kick_link);
        h->n_kicked--;
        c->kicked = false;
        conn_turn(c);
    }
    if (h->n_kicked > 0)
        event_active(h->kick_ev, EV_TIMEOUT, 0);
    if (h->draining && TAILQ_EMPTY(&h->conns) && h->on_gone != NULL) {
        httpd_cb *cb = h->on_gone;
        h->on_gone = NULL;
        cb(h->on_gone_arg);
    }
}

/* ---- time ---- */

static void on_sweep(void *arg)
{
    struct httpd *h = arg;
    struct conn *c;
    int64_t now = clock_mono_ms(), next = 0;
    h->sweep_at_ms = 0;
    TAILQ_FOREACH (c, &h->conns, link) {
        int64_t hard = earlier(earlier(c->idle_at_ms, c->stall_at_ms), c->linger_at_ms), soft = clock_deadline(c);
        if (hard != 0 && hard <= now) {
            conn_break(c);
        } else if (soft != 0 && soft <= now) {
            c->expired = true;
            kick(c);
        } else {
            next = earlier(next, earlier(hard, soft));
        }
    }
    sweep_need(h, next, now);
}

/* ---- accepting ---- */

static void on_acceptable(int fd, int what, void *arg);

static void accept_pause(struct httpd *h)
{
    struct httpd_listener *l;
    h->paused = true;
    TAILQ_FOREACH (l, &h->listeners, link) {
        loop_unwatch(l->watch);
        l->watch = NULL;
    }
}

static void accept_back_off(struct httpd *h)
{
    accept_pause(h);
    h->backing_off = true;
    loop_timer_arm(h->backoff, BACKOFF_MS);
}

static void accept_resume(struct httpd *h)
{
    struct httpd_listener *l;
    if (!h->paused || h->backing_off || (h->n_open >= h->lim.max_conns && TAILQ_EMPTY(&h->idle)))
        return;
    TAILQ_FOREACH (l, &h->listeners, link) {
        if (l->watch == NULL && loop_watch(h->loop, l->fd, LOOP_READ, on_acceptable, l, &l->watch) < 0) {
            accept_back_off(h);
            return;
        }
    }
    h->paused = false;
}

static void on_backoff_over(void *arg)
{
    struct httpd *h = arg;
    h->backing_off = false;
    if (h->spare_fd < 0)
        h->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    accept_resume(h);
}

/* The longest idle connection goes; it has no request, so nobody is told. */
static bool evict_idle(struct httpd *h)
{
    struct conn *c = TAILQ_FIRST(&h->idle);
    if (c == NULL)
        return false;
    conn_gone(c);
    conn_settle(c);
    return true;
}

/* No descriptors left. An idle connection makes room; otherwise one client is sent away at once instead of all being
 * left to wait, and the rest wait in the backlog until the timer. */
static void accept_starved(struct httpd_listener *l)
{
    struct httpd *h = l->h;
    struct pollfd pending = {.fd = l->fd, .events = POLLIN};
    /* The system looks for a free descriptor before it looks for a connection. */
    if (poll(&pending, 1, 0) == 0 || evict_idle(h))
        return;
    if (h->spare_fd >= 0) {
        fd_close(&h->spare_fd);
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            fd_close(&fd);
        h->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    accept_back_off(h);
}

static void peer_of(struct conn *c, const struct sockaddr_storage *sa)
{
    struct httpd_peer *p = &c->peer;
    *p = (struct httpd_peer){.uid = (uid_t)-1, .pid = -1};
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
        p->loopback = (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
        (void)inet_ntop(AF_INET, &v4->sin_addr, p->addr, sizeof p->addr);
    } else if (sa->ss_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)sa)->sin6_addr;
        bool mapped = IN6_IS_ADDR_V4MAPPED(v6);
        p->loopback = IN6_IS_ADDR_LOOPBACK(v6) || (mapped && v6->s6_addr[12] == 127);
        (void)inet_ntop(mapped ? AF_INET : AF_INET6, mapped ? (const void *)&v6->s6_addr[12] : v6, p->addr,
                        sizeof p->addr);
    } else {
        struct ucred cred;
        socklen_t len = sizeof cred;
        p->is_unix = true;
        memcpy(p->addr, "unix", sizeof "unix");
        if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0) {
            p->uid = cred.uid;
            p->pid = cred.pid;
        }
    }
}

/* fd is the connection's, or closed when there is no memory. */
static void conn_new(struct httpd_listener *l, int fd, const struct sockaddr_storage *sa)
{
    struct httpd *h = l->h;
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        goto no_memory;
    c->h = h;
    c->listener = l;
    c->tag = l->tag;
    c->fd = fd;
    TAILQ_INIT(&c->reqs);
    buf_init(&c->in, READ_BYTES);
    c->out = evbuffer_new();
    c->rd = event_new(loop_event_base(h->loop), fd, EV_READ | EV_PERSIST, on_readable, c);
    c->wr = event_new(loop_event_base(h->loop), fd, EV_WRITE, on_writable, c);
    if (c->out == NULL || c->rd == NULL || c->wr == NULL)
        goto no_memory;
    peer_of(c, sa);
    if (!c->peer.is_unix) {
        int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* only speed is lost without it */
    }
    TAILQ_INSERT_TAIL(&h->conns, c, link);
    h->n_open++;
    conn_settle(c);
    return;
no_memory:
    if (c != NULL) {
        if (c->rd != NULL)
            event_free(c->rd);
        if (c->wr != NULL)
            event_free(c->wr);
        if (c->out != NULL)
            evbuffer_free(c->out);
        free(c);
    }
    close(fd);
}

static void on_acceptable(int fd, int what, void *arg)
{
    (void)what;
    struct httpd_listener *l = arg;
    struct httpd *h = l->h;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        if (h->n_open >= h->lim.max_conns && TAILQ_EMPTY(&h->idle)) {
            accept_pause(h);
            return;
        }
        struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
        socklen_t len = sizeof sa;
        int got = accept4(fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (got < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EPROTO))
            continue;
        if (got < 0 && (errno == EMFILE || errno == ENFILE)) {
            accept_starved(l);
            return;
        }
        if (got < 0) {
            accept_back_off(h);
            return;
        }
        if (h->n_open >= h->lim.max_conns)
            (void)evict_idle(h);
        conn_new(l, got, &sa);
    }
}

int httpd_listen_fd(struct httpd *h, int fd, void *tag, struct httpd_listener **ret, struct err *e)
{
    int listening = 0;
    socklen_t len = sizeof listening;
    struct httpd_listener *l = calloc(1, sizeof *l);
    int rc = 0;
    if (l == NULL) {
        rc = err_set(e, ERR_NOMEM, "listen: out of memory");
        goto fail;
    }
    *l = (struct httpd_listener){.h = h, .fd = fd, .tag = tag};
    if (fd_set_cloexec(fd) < 0 || fd_set_nonblock(fd) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0) {
        rc = err_sys(e, ERR_IO, errno, "listen: descriptor %d", fd);
        goto fail;
    }
    if (listening == 0) {
        rc = err_set(e, ERR_INVALID, "listen: descriptor %d is not a listening socket", fd);
        goto fail;
    }
    if (!h->paused && loop_watch(h->loop, fd, LOOP_READ, on_acceptable, l, &l->watch) < 0) {
        rc = err_set(e, ERR_NOMEM, "listen: cannot watch descriptor %d", fd);
        goto fail;
    }
    TAILQ_INSERT_TAIL(&h->listeners, l, link);
    if (ret != NULL)
        *ret = l;
    return 0;
fail:
    free(l);
    close(fd);
    return rc;
}

static void listener_free(struct httpd_listener *l)
{
    struct conn *c;
    TAILQ_FOREACH (c, &l->h->conns, link) {
        if (c->listener == l)
            c->listener = NULL;
    }
    TAILQ_REMOVE(&l->h->listeners, l, link);
    loop_unwatch(l->watch);
    close(l->fd);
    free(l);
}

void httpd_listener_close(struct httpd_listener *l)
{
    struct httpd *h = l->h;
    struct conn *c;
again:
    TAILQ_FOREACH (c, &h->conns, link) {
        if (c->listener != l)
            continue;
        c->listener = NULL;
        enter(c);
        conn_gone(c);
        leave(c);
        conn_settle(c);
        goto again; /* callbacks may have freed any of them */
    }
    listener_free(l);
}

/* ---- the server ---- */

void httpd_limits_default(struct httpd_limits *lim)
{
    *lim = (struct httpd_limits){
        .max_conns = 1024,
        .max_head_bytes = 16 * 1024,
        .max_pipelined = 16,
        .max_inflight_bytes = (size_t)256 << 20,
        .max_linger_bytes = (size_t)16 << 20,
        .request_ms = 30 * 1000,
        .body_bytes_per_s = 16 * 1024,
        .idle_ms = 75 * 1000,
        .write_stall_ms = 30 * 1000,
        .linger_ms = 5 * 1000,
    };
}

int httpd_new(struct loop *l, const struct httpd_limits *lim, httpd_head_cb *on_head, httpd_refuse_cb *refuse,
              void *arg, struct httpd **ret, struct err *e)
{
    BIDE_ASSERT(lim->max_conns > 0 && lim->max_pipelined > 0 && lim->max_head_bytes >= 256 && lim->body_bytes_per_s > 0,
                "limits of an HTTP server must not be zero");
    struct httpd *h = calloc(1, sizeof *h);
    if (h == NULL)
        return err_set(e, ERR_NOMEM, "HTTP server: out of memory");
    h->loop = l;
    h->lim = *lim;
    h->on_head = on_head;
    h->refuse = refuse;
    h->arg = arg;
    TAILQ_INIT(&h->listeners);
    TAILQ_INIT(&h->conns);
    TAILQ_INIT(&h->idle);
    TAILQ_INIT(&h->kicked);
    TAILQ_INIT(&h->waiting);
    TAILQ_INIT(&h->spare);
    buf_init(&h->reply_head, REPLY_HEAD_MAX);
    h->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    h->rdbuf = malloc(READ_BYTES);
    h->kick_ev = event_new(loop_event_base(l), -1, 0, on_kick, h);
    if (h->spare_fd < 0 || h->rdbuf == NULL || h->kick_ev == NULL || loop_timer_new(l, on_sweep, h, &h->sweep) < 0 ||
        loop_timer_new(l, on_backoff_over, h, &h->backoff) < 0) {
        httpd_free(h);
        return err_set(e, ERR_NOMEM, "HTTP server: cannot be made");
    }
    *ret = h;
    return 0;
}

void httpd_free(struct httpd *h)
{
    if (h == NULL)
        return;
    BIDE_ASSERT(h->busy == 0, "an HTTP server is freed by one of its callbacks");
    struct httpd_listener *l;
    struct conn *c;
    struct httpd_req *req;
    h->draining = true;
    while ((l = TAILQ_FIRST(&h->listeners)) != NULL)
        listener_free(l);
    while ((c = TAILQ_FIRST(&h->conns)) != NULL) {
        enter(c);
        conn_gone(c);
        while ((req = TAILQ_FIRST(&c->reqs)) != NULL)
            req_remove(req);
        leave(c);
        c->broken = false;
        conn_settle(c);
    }
    while ((req = TAILQ_FIRST(&h->spare)) != NULL) {
        TAILQ_REMOVE(&h->spare, req, link);
        buf_done(&req->body);
        free(req);
    }
    if (h->kick_ev != NULL)
        event_free(h->kick_ev);
    loop_timer_free(h->sweep);
    loop_timer_free(h->backoff);
    fd_close(&h->spare_fd);
    buf_done(&h->reply_head);
    free(h->rdbuf);
    free(h);
}

void httpd_drain(struct httpd *h, httpd_cb *on_gone, void *arg)
{
    struct httpd_listener *l;
    struct conn *c;
    h->draining = true;
    h->on_gone = on_gone;
    h->on_gone_arg = arg;
    while ((l = TAILQ_FIRST(&h->listeners)) != NULL)
        listener_free(l);
    while (evict_idle(h))
        ;
    TAILQ_FOREACH (c, &h->conns, link)
        kick(c);
    if (TAILQ_EMPTY(&h->conns))
        event_active(h->kick_ev, EV_TIMEOUT, 0);
}

size_t httpd_n_conns(const struct httpd *h)
{
    return h->n_open;
}

size_t httpd_inflight_bytes(const struct httpd *h)
{
    return h->inflight;
}

/* ---- a request, as its user sees it ---- */

const struct http1_request *httpd_req_head(const struct httpd_req *req)
{
    return &req->rq;
}

const char *httpd_req_header(const struct httpd_req *req, const char *name)
{
    const struct http1_field *f = http1_find(req->rq.headers, req->rq.n_headers, name);
    return f != NULL ? f->value : NULL;
}

void *httpd_req_tag(const struct httpd_req *req)
{
    return req->c->tag;
}

void httpd_req_set_data(struct httpd_req *req, void *data)
{
    req->data = data;
}

void *httpd_req_data(const struct httpd_req *req)
{
    return req->data;
}

void httpd_req_peer(const struct httpd_req *req, struct httpd_peer *ret)
{
    *ret = req->c->peer;
}

void httpd_req_pause(struct httpd_req *req)
{
    req->paused = true;
    conn_settle(req->c);
}

void httpd_req_resume(struct httpd_req *req)
{
    req->paused = false;
    kick(req->c);
}

struct slice httpd_req_body(const struct httpd_req *req)
{
    return (struct slice){.p = req->body.data, .len = req->body.len};
}

char *httpd_req_take_body(struct httpd_req *req, size_t *ret_len)
{
    char *p = buf_take(&req->body, ret_len);
    if (p != NULL)
        room_give_back(req, 0);
    return p;
}

void httpd_req_on_close(struct httpd_req *req, httpd_req_cb *cb, void *arg)
{
    req->on_close = cb;
    req->close_arg = arg;
}

bool httpd_req_gone(const struct httpd_req *req)
{
    return req->c->fd < 0 || req->c->eof || req->c->broken;
}

void httpd_req_on_writable(struct httpd_req *req, httpd_req_cb *cb, void *arg)
{
    req->on_writable = cb;
    req->writable_arg = arg;
}
