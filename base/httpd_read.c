#include "httpd_priv.h"

/* Tell the user how the body ended. Anything but WHOLE takes the request from him. */
void req_tell_body(struct httpd_req *req, int how)
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
    conn_enter(c);
    if (cb != NULL)
        cb(req, how, req->body_arg);
    conn_leave(c);
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
void conn_refuse_current(struct conn *c, int status, const char *reason)
{
    struct httpd *h = c->h;
    struct httpd_req *req = c->cur;
    c->closing = true;
    c->cur = NULL;
    if (req->phase == PH_HEAD) {
        req_push(c, req);
    } else if (req->out_state == OUT_DONE) {
        req->phase = PH_READ;
        conn_release_replies(c);
        return;
    }
    req->phase = PH_READ;
    conn_enter(c);
    if (req->accepted)
        req_tell_body(req, status);
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
    conn_leave(c);
}

static void on_head_read(struct conn *c)
{
    struct httpd_req *req = c->cur;
    req->phase = PH_UNDECIDED;
    req_push(c, req);
    conn_enter(c);
    c->h->on_head(req, c->h->arg);
    conn_leave(c);
}

static void on_piece_read(struct conn *c, struct slice piece)
{
    struct httpd_req *req = c->cur;
    req->body_seen += piece.len;
    if (req->phase == PH_SKIP)
        return;
    if (req->on_piece != NULL) {
        conn_enter(c);
        req->on_piece(req, piece.p, piece.len, req->body_arg);
        conn_leave(c);
    } else if (buf_append(&req->body, piece.p, piece.len) < 0) {
        conn_refuse_current(c, 503, "There is no memory for the body.");
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
        conn_release_replies(c);
        return;
    }
    req_room_give_back(req, req->body.len);
    if (req->accepted)
        req_tell_body(req, HTTPD_BODY_WHOLE);
}

bool conn_may_parse(const struct conn *c)
{
    if (c->fd < 0 || c->broken || c->closing || c->cut)
        return false;
    const struct httpd_req *req = c->cur;
    if (req == NULL)
        return c->n_reqs < c->h->lim.max_pipelined && !c->h->draining && evbuffer_get_length(c->out) < HTTPD_HIGH_WATER;
    if (req->phase == PH_UNDECIDED)
        return http1_bodyless(&req->rq);
    return req->phase != PH_WAITING && !req->paused;
}

static void conn_parse(struct conn *c, const char **at, const char *end)
{
    while (conn_may_parse(c)) {
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
            conn_refuse_current(c, c->parser.status, c->parser.reason);
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
void conn_parse_kept(struct conn *c)
{
    if (!conn_may_parse(c) || (c->in.len == 0 && c->cur == NULL))
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

void conn_take_input(struct conn *c, const char *p, size_t n)
{
    const char *at = p, *end = p + n;
    if (c->in.len == 0)
        conn_parse(c, &at, end);
    if (c->closing)
        discard(c, (size_t)(end - at));
    else if (at < end && c->fd >= 0 && buf_append(&c->in, at, (size_t)(end - at)) < 0)
        conn_break(c);
}
