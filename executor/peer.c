#include "peer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "base/log.h"

static void lost(struct peer *p, const char *why)
{
    if (p->lost)
        return;
    p->lost = true;
    log_error("executor", "the executor process is lost: %s", why);
    loop_unwatch(p->readable);
    loop_unwatch(p->writable);
    p->readable = p->writable = NULL;
    p->on_lost(p->arg);
}

static void take_message(struct peer *p, size_t len, int *fds, size_t n_fds)
{
    struct err e = {0};
    if (proto_decode(p->in, PROTO_FROM_EXECUTOR, p->raw, len, &e) < 0)
        lost(p, e.text);
    else
        p->on_msg(&p->in->msg, fds, n_fds, p->arg);
    for (size_t i = 0; i < n_fds; i++)
        fd_close(&fds[i]);
}

static void on_readable(int fd, int what, void *arg)
{
    struct peer *p = arg;
    (void)what;
    for (int i = 0; i < PEER_TURN && !p->lost; i++) {
        int fds[FD_PASS_MAX];
        size_t len = 0, n_fds = 0;
        int rc = fd_recv_msg(fd, p->raw, PROTO_MSG_MAX, &len, fds, &n_fds);
        if (rc == ERR_AGAIN)
            return;
        /* A message whose descriptors found no room here is one worker's bad luck, not the end of both processes. */
        if (rc < 0 && !(rc == ERR_TOOBIG && len > 0))
            lost(p, err_name(rc));
        else if (len == 0)
            lost(p, "it closed the socket");
        else
            take_message(p, len, fds, n_fds);
    }
}

/* Send what waits, oldest first. False: the socket is full again. */
static bool flush_waiting(struct peer *p)
{
    size_t at = 0;
    int rc = 0;
    while (rc == 0 && at < p->out.len) {
        uint32_t len;
        memcpy(&len, p->out.data + at, sizeof len);
        rc = fd_send_msg(p->sock, p->out.data + at + sizeof len, len, NULL, 0);
        if (rc == 0)
            at += sizeof len + len;
    }
    buf_consume(&p->out, at);
    if (rc < 0 && rc != ERR_AGAIN)
        lost(p, err_name(rc));
    return rc == 0;
}

static void on_writable(int fd, int what, void *arg)
{
    struct peer *p = arg;
    (void)fd;
    (void)what;
    if (flush_waiting(p) && !p->lost) {
        loop_unwatch(p->writable);
        p->writable = NULL;
        buf_reset(&p->out);
    }
}

static void lost_in_send(void *arg)
{
    lost(arg, "it takes no more messages");
}

/* The caller is in the middle of something: the news comes from the loop. */
static void lose_later(struct peer *p)
{
    if (loop_post(p->loop, lost_in_send, p) < 0)
        lost_in_send(p);
}

static void wait_turn(struct peer *p, const struct buf *msg)
{
    uint32_t len = (uint32_t)msg->len;
    int rc = buf_reserve(&p->out, sizeof len + len); /* both or neither */
    if (rc == 0)
        rc = buf_append(&p->out, &len, sizeof len);
    if (rc == 0)
        rc = buf_append(&p->out, msg->data, len);
    if (rc == 0 && p->writable == NULL)
        rc = loop_watch(p->loop, p->sock, LOOP_WRITE, on_writable, p, &p->writable);
    if (rc < 0)
        lose_later(p);
}

int peer_send(struct peer *p, const struct proto_msg *m, struct err *e)
{
    if (p->lost)
        return 0;
    buf_clear(&p->one);
    int rc = proto_encode(m, &p->one, e);
    if (rc < 0)
        return rc;
    rc = p->out.len > 0 ? ERR_AGAIN : fd_send_msg(p->sock, p->one.data, p->one.len, NULL, 0);
    if (rc == ERR_AGAIN)
        wait_turn(p, &p->one);
    else if (rc < 0)
        lose_later(p);
    return 0;
}

void peer_order(struct peer *p, enum proto_type t, uint64_t worker)
{
    struct err e = {0};
    int rc = peer_send(p, &(struct proto_msg){.type = t, .worker = worker}, &e);
    if (rc == ERR_NOMEM)
        lose_later(p);
    else
        BIDE_ASSERT(rc == 0, "%s of worker %llu: %s", proto_type_name(t), (unsigned long long)worker, e.text);
}

int peer_open(struct peer *p, struct loop *l, int sock, peer_msg_cb *on_msg, loop_cb *on_lost, void *arg, struct err *e)
{
    *p = (struct peer){.loop = l, .sock = sock, .on_msg = on_msg, .on_lost = on_lost, .arg = arg};
    buf_init(&p->out, PEER_QUEUE_MAX);
    buf_init(&p->one, PROTO_MSG_MAX);
    p->in = malloc(sizeof *p->in);
    p->raw = malloc(PROTO_MSG_MAX);
    int rc = p->in != NULL && p->raw != NULL ? 0 : ERR_NOMEM;
    if (rc == 0)
        rc = fd_set_nonblock(sock);
    if (rc == 0)
        rc = loop_watch(l, sock, LOOP_READ, on_readable, p, &p->readable);
    if (rc < 0) {
        peer_close(p);
        return err_set(e, rc, "the socket to the executor process: %s", err_name(rc));
    }
    return 0;
}

void peer_close(struct peer *p)
{
    loop_unwatch(p->readable);
    loop_unwatch(p->writable);
    p->readable = p->writable = NULL;
    buf_done(&p->out);
    buf_done(&p->one);
    free(p->in);
    free(p->raw);
    p->in = NULL;
    p->raw = NULL;
    fd_close(&p->sock);
}
