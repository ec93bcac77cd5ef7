/* A scripted executor process and a raw runtime around a real engine side: the executor runs on a loop in a thread of
 * its own, the test plays the other end of the socket and every worker, in order, with blocking calls that give up
 * after a deadline.
 */
#ifndef TEST_EXECUTOR_RIG_H
#define TEST_EXECUTOR_RIG_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "executor/executor.h"
#include "executor_proto/proto.h"

enum { RIG_DEADLINE_MS = 20000, RIG_EVENTS = 64 };

enum rig_kind { RIG_NONE, RIG_READY, RIG_START_FAILED, RIG_INIT_FAILED, RIG_RESULT, RIG_GONE, RIG_LOST };

struct rig_event {
    enum rig_kind kind;
    uint64_t worker;
    struct executor_result r; /* with its own copies */
    char why[400];
};

struct rig {
    char dir[64];
    int runtimes_fd;
    struct loop *loop;
    struct executor *x;
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    struct rig_event ev[RIG_EVENTS];
    size_t head, tail;
    int sock; /* the executor process's end */
    struct proto_in in;
    char raw[PROTO_MSG_MAX];
    uint64_t next_token;
};

/* What a worker is on the test's side. */
struct rig_box {
    uint64_t id;
    int port;
    int log;  /* write end */
    int conn; /* of the runtime; -1 none */
};

/* The limits of freeze, init and reset are far away unless given (0 = far), so that no test races them. */
void rig_open(struct rig *g, int64_t freeze_after_ms, int64_t init_limit_ms, int64_t reset_limit_ms);
void rig_close(struct rig *g);

/* Called on the loop's thread; returns when done. */
void rig_start(struct rig *g, uint64_t id, const char *runtime, int32_t timeout_ms);
void rig_invoke(struct rig *g, uint64_t id, const char *request_id, const char *payload); /* tokens count from 1 */
void rig_stop(struct rig *g, uint64_t id);
size_t rig_workers(struct rig *g);

/* The next message to the executor process must be this one. Valid until the next call. */
const struct proto_msg *rig_expect(struct rig *g, enum proto_type t, uint64_t id);
void rig_send(struct rig *g, const struct proto_msg *m);
void rig_exited(struct rig *g, uint64_t id, int exec_errno, int code, int sig, bool oom);
void rig_dead(struct rig *g, uint64_t id, bool oom);
void rig_reset_done(struct rig *g, uint64_t id);

/* STARTED with a listener, a log pipe and a peak file. The first two are the box's to close. */
void rig_started(struct rig *g, struct rig_box *b, uint64_t id);
void rig_started_cut(struct rig *g, uint64_t id); /* its descriptors do not arrive */
void rig_box_close(struct rig_box *b);

/* The next callback must be this one. */
struct rig_event rig_event(struct rig *g, enum rig_kind kind, uint64_t worker);
void rig_event_done(struct rig_event *ev);

/* Start, STARTED, first next, on_ready: a worker that waits for work. */
void rig_ready(struct rig *g, struct rig_box *b, uint64_t id, int32_t timeout_ms);

/* The runtime: one connection, made when needed. */
struct rig_reply {
    int status;
    char head[4096];
    struct buf body;
};
void rig_write(struct rig_box *b, const char *text, size_t len);
void rig_next(struct rig_box *b);                        /* only sent */
void rig_read(struct rig_box *b, struct rig_reply *ret); /* body: rig_reply_done */
void rig_reply_done(struct rig_reply *r);
/* POST to /2018-06-01/runtime/PATH; the status. */
int rig_post(struct rig_box *b, const char *path, const char *headers, const void *body, size_t len,
             struct rig_reply *ret);
void rig_disconnect(struct rig_box *b);

/* next, and the event it brings must be this one. */
void rig_work(struct rig_box *b, const char *request_id, const char *payload);

#endif
