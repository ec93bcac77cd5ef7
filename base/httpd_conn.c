#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "fdutil.h"
#include "httpd_priv.h"

enum { SWEEP_MS = 250 /* deadlines are kept this exactly */ };

void conn_kick(struct conn *c)
{
    struct httpd *h = c->h;
    if (c->kicked)
        return;
    c->kicked = true;
    TAILQ_INSERT_TAIL(&h->kicked, c, kick_link);
    if (h->n_kicked++ == 0)
        event_active(h->kick_ev, EV_TIMEOUT, 0);
}

void conn_break(struct conn *c)
{
    if (c->fd >= 0 && !c->broken) {
        c->broken = true;
        conn_kick(c);
    }
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
    conn_enter(c);
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
            req_tell_body(req, HTTPD_BODY_GONE);
            req_remove(req);
        } else if (req->on_close != NULL) {
            httpd_req_cb *cb = req->on_close;
            req->on_close = NULL;
            cb(req, req->close_arg);
        }
        goto again; /* the callback may have answered any of them */
    }
    conn_leave(c);
    conn_release_replies(c);
}

static void idle_leave(struct conn *c)
{
    if (c->is_idle) {
        TAILQ_REMOVE(&c->h->idle, c, idle_link);
        c->is_idle = false;
        c->idle_at_ms = 0;
    }
}

static void slow_leave(struct conn *c)
{
    if (c->is_slow)
        TAILQ_REMOVE(&c->h->slow, c, idle_link);
    c->is_slow = false;
}

void conn_gone(struct conn *c)
{
    idle_leave(c);
    slow_leave(c);
    if (c->fd >= 0) {
        event_free(c->rd);
        event_free(c->wr);
        if (c->reset) {
            struct linger hard = {.l_onoff = 1, .l_linger = 0};
            (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard); /* a plain close is the fallback */
        }
        fd_close(&c->fd);
        c->h->n_open--;
        httpd_reserve(c->h);
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
    httpd_accept_resume(h);
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
    bool slow = c->n_reqs == 0 && c->cur != NULL && c->cur->phase == PH_HEAD && c->fd >= 0 && !c->closing;
    bool unsent_out = evbuffer_get_length(c->out) > 0;
    clock_update(c, now);
    /* One link serves both lists: out of the one before into the other. */
    if (!idle)
        idle_leave(c);
    if (!slow)
        slow_leave(c);
    if (idle && !c->is_idle) {
        c->is_idle = true;
        c->idle_at_ms = now + h->lim.idle_ms;
        TAILQ_INSERT_TAIL(&h->idle, c, idle_link);
        httpd_accept_resume(h);
    }
    if (slow && !c->is_slow) {
        c->is_slow = true;
        TAILQ_INSERT_TAIL(&h->slow, c, idle_link);
        httpd_accept_resume(h);
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

void conn_settle(struct conn *c)
{
    if (c->busy > 0)
        return;
    if (c->broken) {
        if (c->fd < 0 && c->n_reqs == 0)
            conn_free(c);
        else
            conn_kick(c);
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
    if (c->in.len > 0 && conn_may_parse(c))
        conn_kick(c);
    watch(c);
    set_deadlines(c);
}

void conn_on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct conn *c = arg;
    struct httpd *h = c->h;
    ssize_t n = read(fd, h->rdbuf, HTTPD_READ_BYTES);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    conn_enter(c);
    if (n > 0) {
        idle_leave(c);
        conn_take_input(c, h->rdbuf, (size_t)n);
    } else if (n == 0) {
        c->eof = c->closing = true;
        tell_gone(c);
    } else {
        conn_break(c);
    }
    conn_leave(c);
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
            req_tell_body(req, HTTPD_BODY_GONE);
            req_remove(req);
            conn_release_replies(c);
        } else {
            req_tell_body(req, HTTPD_BODY_WHOLE);
        }
        goto again;
    }
}

static void conn_turn(struct conn *c)
{
    bool broken = c->broken, expired = c->expired;
    c->broken = c->expired = false;
    conn_enter(c);
    if (broken)
        conn_gone(c);
    else if (expired && clock_deadline(c) != 0 && clock_deadline(c) <= clock_mono_ms())
        conn_refuse_current(c, 408, "The request took too long to arrive.");
    pending_bodies(c);
    conn_parse_kept(c);
    conn_leave(c);
    conn_settle(c);
}

void httpd_on_kick(evutil_socket_t fd, short what, void *arg)
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

void httpd_on_sweep(void *arg)
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
            conn_kick(c);
        } else {
            next = earlier(next, earlier(hard, soft));
        }
    }
    sweep_need(h, next, now);
}
