/* The inside of the HTTP server, shared by httpd*.c and by nobody else. Connections are plain events of the library
 * with its evbuffers for output: reading goes from one shared buffer straight into the parser, and a reply is sent at
 * once when nothing waits before it. Most requests so cost one read and one write, and no change to the set of watched
 * descriptors.
 *
 *   httpd.c         the server: made, drained, freed
 *   httpd_accept.c  listening sockets and new connections
 *   httpd_conn.c    a connection's next step, its deadlines, its end
 *   httpd_read.c    from bytes to requests
 *   httpd_req.c     a request as its user sees it; room for its body
 *   httpd_reply.c   replies and output
 *
 * Two rules keep callbacks safe. conn_settle decides what a connection does next and calls nobody outside; it may free
 * the connection, so it is the last thing any path does, and does nothing while c->busy says that a frame further down
 * the stack will do it. Everything that calls the user because of something the user did (more input to parse, a broken
 * connection) is left to httpd_on_kick, which runs from the loop.
 */
#ifndef BASE_HTTPD_PRIV_H
#define BASE_HTTPD_PRIV_H

#include <event2/buffer.h>
#include <event2/event.h>
#include <sys/queue.h>

#include "httpd.h"

enum {
    HTTPD_READ_BYTES = 64 * 1024,  /* one read, and so the most that waits unparsed on a connection */
    HTTPD_SKIP_BYTES = 64 * 1024,  /* so much of a refused body is skipped, so that the connection lives on */
    HTTPD_HIGH_WATER = 256 * 1024, /* unsent bytes at which httpd_reply_chunk says ERR_AGAIN and no request is begun */
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
    bool pending_end; /* on_body is due from httpd_on_kick */
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
    TAILQ_ENTRY(conn) idle_link; /* of httpd.idle or httpd.slow */
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
    bool is_slow;          /* in httpd.slow */
    bool kicked;           /* in httpd.kicked */
    bool eof;              /* the client ended its side */
    bool broken;           /* to be torn down by httpd_on_kick */
    bool expired;          /* the request took too long: httpd_on_kick refuses it */
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
    struct conn_list slow; /* in the middle of a head and with nothing else to do, longest first */
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

/* ---- httpd_accept.c ---- */

void httpd_accept_resume(struct httpd *h); /* when there is room again */
void httpd_reserve(struct httpd *h);       /* as soon as there may be a descriptor again */
void httpd_on_backoff_over(void *httpd);
bool httpd_make_room(struct httpd *h); /* false: none is idle */
void httpd_listener_free(struct httpd_listener *l);

/* ---- httpd_conn.c ---- */

/* The user may do anything to the connection in a callback but have it freed under us. */
static inline void conn_enter(struct conn *c)
{
    c->busy++;
    c->h->busy++;
}

static inline void conn_leave(struct conn *c)
{
    c->busy--;
    c->h->busy--;
}

void conn_kick(struct conn *c);   /* come back to it from the loop */
void conn_break(struct conn *c);  /* to be torn down from there */
void conn_gone(struct conn *c);   /* close it now; its unanswered requests live on */
void conn_settle(struct conn *c); /* see above; c may be freed */
void conn_on_readable(evutil_socket_t fd, short what, void *conn);
void httpd_on_kick(evutil_socket_t fd, short what, void *httpd); /* the kicked connections' turn */
void httpd_on_sweep(void *httpd);                                /* deadlines */

/* ---- httpd_read.c ---- */

bool conn_may_parse(const struct conn *c);
void conn_take_input(struct conn *c, const char *p, size_t n);
void conn_parse_kept(struct conn *c); /* what could not be parsed when it was read */
void conn_refuse_current(struct conn *c, int status, const char *reason); /* the request being read */
void req_tell_body(struct httpd_req *req, int how); /* anything but WHOLE takes the request from its user */

/* ---- httpd_req.c ---- */

struct httpd_req *req_new(struct conn *c); /* NULL: no memory */
void req_recycle(struct httpd *h, struct httpd_req *req);
void req_push(struct conn *c, struct httpd_req *req);
void req_remove(struct httpd_req *req);
void req_room_give_back(struct httpd_req *req, size_t keep); /* of httpd.inflight; lets those in that wait */

/* ---- httpd_reply.c ---- */

void conn_release_replies(struct conn *c); /* the oldest ones, as far as they go */
bool conn_flush(struct conn *c);           /* write what waits; false: the connection broke */
void conn_on_writable(evutil_socket_t fd, short what, void *conn);
void req_emit_text(struct httpd_req *req, const char *text, size_t len);

#endif
