/* Streaming HTTP/1.1 server on a struct loop: the one HTTP face, for the API (TCP and Unix) and for the Runtime API of
 * the workers (listening sockets handed in). Parsing is http1.h's, so is the list of what is refused.
 *
 *   httpd_limits_default(&lim);
 *   httpd_new(loop, &lim, on_head, refuse, arg, &h, &err);
 *   httpd_listen_fd(h, fd, tag, &listener);
 *
 *   on_head(req, arg)                      // request line and headers have been read, nothing of the body
 *       -> httpd_reply(req, 403, ...)      // refuse early: before the body, before any "100 Continue"
 *       -> httpd_req_collect(req, max, on_body, x)       // the whole body, then on_body once
 *       -> httpd_req_stream(req, max, on_piece, on_body, x)  // piece by piece, then on_body once
 *       -> neither: decide later; the body stays unread meanwhile
 *
 * A request is answered exactly once, at once or hours later, from any callback of the same loop. It is valid from
 * on_head until httpd_reply, httpd_reply_end or httpd_reply_abort returns, or until on_body is called with other than
 * HTTPD_BODY_WHOLE. That its client has gone does not end it: answer it all the same, the bytes are dropped.
 *
 * Pipelined requests are handed over as they come, up to a limit, and may be answered in any order; the replies leave
 * in the order of the requests.
 *
 * Everything belongs to the loop's thread. Callbacks may call anything here but httpd_free. Sockets are written with
 * MSG_NOSIGNAL: the process need not ignore SIGPIPE.
 */
#ifndef BASE_HTTPD_H
#define BASE_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "err.h"
#include "http1.h"
#include "loop.h"

struct httpd;
struct httpd_listener;
struct httpd_req;

struct httpd_limits {
    size_t max_conns;      /* 1024; at the cap the one longest idle or in its head makes room, else accepting pauses */
    size_t max_head_bytes; /* 16 KiB; request line and headers. Over it: 414 or 431 */
    size_t max_pipelined;  /* 16; requests of one connection not yet answered. At the cap it is not read from */
    size_t max_inflight_bytes; /* 256 MiB; collected bodies, reserved before they are read. Without room a request waits
                                * unread for its turn; one larger than all of it is let in alone */
    size_t max_linger_bytes;   /* 16 MiB; read and thrown away after a refusal, so that the client can read it */
    int64_t request_ms;        /* 30 s; to send head and body, then 408. Time the server takes is not counted */
    int64_t body_bytes_per_s;  /* 16 KiB; every so many bytes of body buy one second more */
    int64_t idle_ms;           /* 75 s; between requests, then the connection is closed */
    int64_t write_stall_ms;    /* 30 s; without a byte of reply taken by the client, then it is closed */
    int64_t linger_ms;         /* 5 s; waited for the client to close after the last reply */
};

void httpd_limits_default(struct httpd_limits *lim);

/* Request line and headers are in. See the opening comment for what may follow. */
typedef void httpd_head_cb(struct httpd_req *req, void *arg);

/* The server itself refuses a request (400 405 408 411 413 414 417 431 501 503 505): write the reply. Must call
 * httpd_reply once, before it returns, with this status; the connection is closed after it. req may have no head
 * (method GET, no headers) when it could not be read. reason is one sentence, static. */
typedef void httpd_refuse_cb(struct httpd_req *req, int status, const char *reason, void *arg);

/* Bytes of the body; borrowed for the call. */
typedef void httpd_piece_cb(struct httpd_req *req, const void *p, size_t len, void *arg);

/* The body is over. how:
 *   HTTPD_BODY_WHOLE  all of it was read; answer the request when it suits
 *   HTTPD_BODY_GONE   the client went away in the middle of it
 *   otherwise         the status with which the server refuses the rest (400, 408, 413, 431, 503)
 * In the last two cases drop what was kept for it: the request must not be touched after the callback returns, nor
 * answered in it. Called once for each collect or stream, never from within these, and not at all once the reply is
 * complete. */
enum { HTTPD_BODY_WHOLE = 0, HTTPD_BODY_GONE = -1 };
typedef void httpd_body_cb(struct httpd_req *req, int how, void *arg);

typedef void httpd_req_cb(struct httpd_req *req, void *arg);
typedef void httpd_cb(void *arg);

/* refuse may be NULL: then refusals are {"message":"..."} as application/json. ERR_NOMEM, ERR_IO. */
int httpd_new(struct loop *l, const struct httpd_limits *lim, httpd_head_cb *on_head, httpd_refuse_cb *refuse,
              void *arg, struct httpd **ret, struct err *e) BIDE_MUST_USE;

/* Close everything now. Requests whose body is being read get HTTPD_BODY_GONE, the others their on_close, before this
 * returns; afterwards no request of this server may be touched, answered or not. Not from a callback. NULL is fine. */
void httpd_free(struct httpd *h);

/* Accept on a listening TCP or Unix socket, which becomes the server's (also on failure). tag comes back as
 * httpd_req_tag. *ret may be NULL. */
int httpd_listen_fd(struct httpd *h, int fd, void *tag, struct httpd_listener **ret, struct err *e) BIDE_MUST_USE;

/* Close the socket and every connection accepted from it; their requests learn it as from a client that went away,
 * before this returns. For a gentle end use httpd_drain. */
void httpd_listener_close(struct httpd_listener *l);

/* Close all listening sockets (the listeners are freed) and idle connections, let the requests in hand be read and
 * answered, then call on_gone once, from the loop, when no connection is left. */
void httpd_drain(struct httpd *h, httpd_cb *on_gone, void *arg);

size_t httpd_n_conns(const struct httpd *h);
size_t httpd_inflight_bytes(const struct httpd *h);

/* ---- the request ---- */

/* Method, target, headers; trailers once the body is whole. Valid as long as the request is. */
const struct http1_request *httpd_req_head(const struct httpd_req *req);

/* The first header of that name (any case) as a C string, NULL without. */
const char *httpd_req_header(const struct httpd_req *req, const char *name);

void *httpd_req_tag(const struct httpd_req *req); /* of the listener */

/* The caller's own pointer, NULL at on_head. */
void httpd_req_set_data(struct httpd_req *req, void *data);
void *httpd_req_data(const struct httpd_req *req);

enum { HTTPD_ADDR_MAX = 64 };

struct httpd_peer {
    bool is_unix;
    bool loopback;             /* TCP from 127.0.0.0/8 or ::1 */
    uid_t uid;                 /* Unix sockets: who connected, by the kernel's word; else (uid_t)-1 */
    pid_t pid;                 /* Unix sockets, as above; else -1 */
    char addr[HTTPD_ADDR_MAX]; /* "127.0.0.1", "::1", "unix" */
};
void httpd_req_peer(const struct httpd_req *req, struct httpd_peer *ret);

/* Accept the body, once, when the reply is not yet begun. A body over max bytes is refused with 413, at once when its
 * length is declared. An empty body comes to on_body too. */
void httpd_req_collect(struct httpd_req *req, uint64_t max, httpd_body_cb *on_body, void *arg);
void httpd_req_stream(struct httpd_req *req, uint64_t max, httpd_piece_cb *on_piece, httpd_body_cb *on_body, void *arg);

/* Streamed bodies: stop and go on with calling on_piece. While stopped the client is not read from. */
void httpd_req_pause(struct httpd_req *req);
void httpd_req_resume(struct httpd_req *req);

/* The collected body, whole once on_body was told so; borrowed until the reply or the take. */
struct slice httpd_req_body(const struct httpd_req *req);

/* The same, malloc'ed and NUL-terminated, now the caller's (free()), and no longer counted as in flight: what outlives
 * the moment should be taken, so that slow requests do not keep others from being read. NULL without memory. */
char *httpd_req_take_body(struct httpd_req *req, size_t *ret_len);

/* cb is called once when the client has gone (it closed or half-closed the connection, or the connection broke) before
 * the reply was complete, so that a long wait can be given up. Not called when on_body already said so. The request
 * stays valid and must still be answered (httpd_reply_abort is the short way). NULL takes it back. A client that
 * stopped reading, or sent far ahead, is noticed late. */
void httpd_req_on_close(struct httpd_req *req, httpd_req_cb *cb, void *arg);
bool httpd_req_gone(const struct httpd_req *req);

/* ---- the reply ---- */

/* Borrowed for the call. Content-Length, Transfer-Encoding, Connection and Date are the server's: given here they are
 * left out, as is a name that is not a token; control bytes in a value become spaces. */
struct httpd_header {
    const char *name;
    const char *value;
};

/* The whole reply; body is copied. HEAD, 204 and 304 send none of it. status 200 to 599. */
void httpd_reply(struct httpd_req *req, int status, const struct httpd_header *h, size_t n_h, const void *body,
                 size_t len);

/* A reply of unknown length: start, chunks, end. httpd_reply_chunk gives 0; ERR_AGAIN: taken, but enough for now, wait
 * for on_writable; ERR_IO: the client has gone and the bytes are dropped (end or abort are still due). */
void httpd_reply_start(struct httpd_req *req, int status, const struct httpd_header *h, size_t n_h);
int httpd_reply_chunk(struct httpd_req *req, const void *p, size_t len);
void httpd_reply_end(struct httpd_req *req);

/* Called after each ERR_AGAIN when the client has caught up. */
void httpd_req_on_writable(struct httpd_req *req, httpd_req_cb *cb, void *arg);

/* Give up: the connection is cut where it is, so that the client cannot take what it has for a whole reply. */
void httpd_reply_abort(struct httpd_req *req);

#endif
