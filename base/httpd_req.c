#include <stdlib.h>
#include <string.h>

#include "httpd_priv.h"

enum { BODY_KEEP = 16 * 1024 /* a larger buffer is given back after the request */, SPARE_REQS = 64 };

/* ---- requests ---- */

struct httpd_req *req_new(struct conn *c)
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

void req_recycle(struct httpd *h, struct httpd_req *req)
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

void req_push(struct conn *c, struct httpd_req *req)
{
    TAILQ_INSERT_TAIL(&c->reqs, req, link);
    c->n_reqs++;
}

void req_remove(struct httpd_req *req)
{
    struct conn *c = req->c;
    if (req->phase == PH_WAITING)
        TAILQ_REMOVE(&c->h->waiting, req, waiting);
    req->phase = PH_READ;
    req_room_give_back(req, 0);
    if (c->cur == req)
        c->cur = NULL;
    TAILQ_REMOVE(&c->reqs, req, link);
    c->n_reqs--;
    req_recycle(c->h, req);
}

/* ---- room for bodies ---- */

static void begin_body(struct httpd_req *req)
{
    req->phase = PH_BODY;
    http1_body_max(&req->c->parser, req->max);
    if (req->rq.expect_continue && req->rq.content_length <= req->max)
        req_emit_text(req, "HTTP/1.1 100 Continue\r\n\r\n", 25);
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

void req_room_give_back(struct httpd_req *req, size_t keep)
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
        conn_kick(w->c);
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
        conn_kick(req->c);
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
        conn_kick(req->c);
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
    conn_kick(req->c);
}

struct slice httpd_req_body(const struct httpd_req *req)
{
    return (struct slice){.p = req->body.data, .len = req->body.len};
}

char *httpd_req_take_body(struct httpd_req *req, size_t *ret_len)
{
    char *p = buf_take(&req->body, ret_len);
    if (p != NULL)
        req_room_give_back(req, 0);
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
