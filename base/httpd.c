#include <fcntl.h>
#include <stdlib.h>

#include "fdutil.h"
#include "httpd_priv.h"

enum { REPLY_HEAD_MAX = 256 * 1024 /* status line and headers of a reply */ };

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
    TAILQ_INIT(&h->slow);
    TAILQ_INIT(&h->kicked);
    TAILQ_INIT(&h->waiting);
    TAILQ_INIT(&h->spare);
    buf_init(&h->reply_head, REPLY_HEAD_MAX);
    h->spare_fd = -1;
    httpd_reserve(h);
    h->rdbuf = malloc(HTTPD_READ_BYTES);
    h->kick_ev = event_new(loop_event_base(l), -1, 0, httpd_on_kick, h);
    if (h->spare_fd < 0 || h->rdbuf == NULL || h->kick_ev == NULL ||
        loop_timer_new(l, httpd_on_sweep, h, &h->sweep) < 0 ||
        loop_timer_new(l, httpd_on_backoff_over, h, &h->backoff) < 0) {
        httpd_free(h);
        return err_set(e, ERR_NOMEM, "HTTP server: out of memory");
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
        httpd_listener_free(l);
    while ((c = TAILQ_FIRST(&h->conns)) != NULL) {
        conn_enter(c);
        conn_gone(c);
        while ((req = TAILQ_FIRST(&c->reqs)) != NULL)
            req_remove(req);
        conn_leave(c);
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
        httpd_listener_free(l);
    while ((c = TAILQ_FIRST(&h->idle)) != NULL) {
        conn_gone(c);
        conn_settle(c);
    }
    TAILQ_FOREACH (c, &h->conns, link)
        conn_kick(c);
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
