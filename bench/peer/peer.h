/* What the closed loop of load.c knows of a peer's protocol. One struct conn is one client: a producer, which sends its
 * request again once the last one was answered, or a consumer, which takes a job, does nothing, and says that it is
 * done.
 *
 * One thread. Whatever goes wrong ends the program: a figure of a run that had failures is no figure.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

struct conn {
    int fd;
    bool producer;
    struct buf in;       /* received and not taken yet */
    struct buf out;      /* to be sent */
    bool waits_for_room; /* to send the rest of out */
    int64_t from_us;     /* producer: when its request was sent */
    size_t left;         /* producer: jobs of that request not answered yet */
    uint64_t tag;        /* AMQP: of the last message before the request, or of the one delivered last */
    struct buf seen;     /* AMQP producer: which of the request's messages are confirmed, a byte each */
    bool busy;           /* consumer: has a job, which waits for an answer to its being done */
};

struct protocol {
    const char *name;
    /* On a connection just made, while it still blocks: log in; a consumer asks for its first job. `first` is the
     * first of all: it makes the queue, empty. NULL: nothing to do. */
    void (*open)(struct conn *c, bool first);
    /* Bytes that give n jobs of this payload to the queue, and are answered with n jobs' answers. */
    void (*produce)(struct buf *request, const char *payload, size_t payload_len, size_t n);
    /* Take the answers that are whole in c->in, and let a consumer put into c->out what comes next. The number of jobs
     * that were answered (producer) or are done (consumer). */
    size_t (*read)(struct conn *c);
    /* On a connection of its own, which blocks: how many jobs wait in the queue now. */
    size_t (*count)(struct conn *c);
};

extern const struct protocol beanstalkd, redis, redis_values, amqp;

_Noreturn void die(const char *format, ...) BIDE_PRINTF(1, 2);

/* --- for protocols */

void put(struct buf *b, const void *p, size_t n);
void put_text(struct buf *b, const char *format, ...) BIDE_PRINTF(2, 3);

/* A whole line ended by CR LF at the start of c->in: its length without these, or -1 when it is not there yet. */
ssize_t line_len(const struct conn *c);

/* Send c->out whole, and receive something more; while the connection blocks. */
void ask(struct conn *c);
void receive_some(struct conn *c);

#endif
