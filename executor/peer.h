/* The engine's end of the socket to the executor process: sends and receives proto.h's messages on a loop.
 *
 *   peer_open(&p, loop, sock, on_msg, on_lost, arg);
 *   peer_send(&p, &msg);
 *   peer_close(&p);
 *
 * A message that does not fit into the socket now waits its turn, up to PEER_QUEUE_MAX bytes. A broken, overfull or
 * nonsensical socket is a lost executor process: on_lost once, and nothing after it. On the loop's thread.
 */
#ifndef EXECUTOR_PEER_H
#define EXECUTOR_PEER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "proto.h"

enum { PEER_QUEUE_MAX = 16 * 1024 * 1024, PEER_TURN = 32 };

/* fds: the descriptors that came along; one that is taken is set to -1, the others are closed afterwards. */
typedef void peer_msg_cb(const struct proto_msg *m, int *fds, size_t n_fds, void *arg);

struct peer {
    struct loop *loop;
    int sock;
    struct loop_watch *readable;
    struct loop_watch *writable; /* only while something waits */
    struct buf out;              /* waiting datagrams, each behind its length as uint32_t */
    struct buf one;              /* the datagram being made */
    struct proto_in *in;
    char *raw; /* PROTO_MSG_MAX bytes */
    peer_msg_cb *on_msg;
    loop_cb *on_lost;
    void *arg;
    bool lost;
};

/* Takes sock, also on failure. ERR_NOMEM, ERR_IO. */
int peer_open(struct peer *p, struct loop *l, int sock, peer_msg_cb *on_msg, loop_cb *on_lost, void *arg,
              struct err *e) BIDE_MUST_USE;
void peer_close(struct peer *p);

/* 0: sent, waiting, or the peer is lost (then nothing matters any more). ERR_INVALID, ERR_TOOBIG, ERR_NOMEM: the
 * message cannot be made; e says which field. Never calls on_lost before it returns. */
int peer_send(struct peer *p, const struct proto_msg *m, struct err *e) BIDE_MUST_USE;

/* The small messages that have nothing but a worker. */
void peer_order(struct peer *p, enum proto_type t, uint64_t worker);

#endif
