#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fdutil.h"
#include "httpd_priv.h"

enum { ACCEPT_BATCH = 32, BACKOFF_MS = 100 };

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

static bool is_full(const struct httpd *h)
{
    return h->n_open >= h->lim.max_conns && TAILQ_EMPTY(&h->idle) && TAILQ_EMPTY(&h->slow);
}

void httpd_accept_resume(struct httpd *h)
{
    struct httpd_listener *l;
    if (!h->paused || h->backing_off || is_full(h))
        return;
    TAILQ_FOREACH (l, &h->listeners, link) {
        if (l->watch == NULL && loop_watch(h->loop, l->fd, LOOP_READ, on_acceptable, l, &l->watch) < 0) {
            accept_back_off(h);
            return;
        }
    }
    h->paused = false;
}

/* Hold a descriptor for when there are none. */
void httpd_reserve(struct httpd *h)
{
    if (h->spare_fd < 0)
        h->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void httpd_on_backoff_over(void *arg)
{
    struct httpd *h = arg;
    h->backing_off = false;
    httpd_reserve(h);
    httpd_accept_resume(h);
}

/* A connection goes that has no whole request, so that nobody is told: the one that has been idle, or sending its head,
 * for longest. A client that has only just come is the last to go. */
bool httpd_make_room(struct httpd *h)
{
    struct conn *slow = TAILQ_FIRST(&h->slow), *c = TAILQ_FIRST(&h->idle);
    if (c == NULL || (slow != NULL && slow->clock_since_ms < c->idle_at_ms - h->lim.idle_ms))
        c = slow;
    if (c == NULL)
        return false;
    conn_gone(c);
    conn_settle(c);
    return true;
}

static void conn_new(struct httpd_listener *l, int fd, const struct sockaddr_storage *sa);

static int accept_one(int listener, struct sockaddr_storage *sa)
{
    socklen_t len = sizeof *sa;
    *sa = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    return accept4(listener, (struct sockaddr *)sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* No descriptors left. An idle or slow connection makes room. A server without a connection serves one on the
 * descriptor it holds in reserve: a worker's runtime that is sent away ends, and that would count against its function.
 * Otherwise one client is sent away at once instead of all being left to wait, and the rest wait in the backlog until
 * the timer. */
static void accept_starved(struct httpd_listener *l)
{
    struct httpd *h = l->h;
    struct sockaddr_storage sa;
    struct pollfd pending = {.fd = l->fd, .events = POLLIN};
    /* The system looks for a free descriptor before it looks for a connection. */
    if (poll(&pending, 1, 0) == 0 || httpd_make_room(h))
        return;
    if (h->spare_fd >= 0) {
        fd_close(&h->spare_fd);
        int fd = accept_one(l->fd, &sa);
        if (fd >= 0 && h->n_open == 0)
            conn_new(l, fd, &sa);
        else
            fd_close(&fd);
        httpd_reserve(h);
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
    buf_init(&c->in, HTTPD_READ_BYTES);
    c->out = evbuffer_new();
    c->rd = event_new(loop_event_base(h->loop), fd, EV_READ | EV_PERSIST, conn_on_readable, c);
    c->wr = event_new(loop_event_base(h->loop), fd, EV_WRITE, conn_on_writable, c);
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
        if (is_full(h)) {
            accept_pause(h);
            return;
        }
        struct sockaddr_storage sa;
        int got = accept_one(fd, &sa);
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
            (void)httpd_make_room(h);
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

void httpd_listener_free(struct httpd_listener *l)
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
        conn_enter(c);
        conn_gone(c);
        conn_leave(c);
        conn_settle(c);
        goto again; /* callbacks may have freed any of them */
    }
    httpd_listener_free(l);
}
