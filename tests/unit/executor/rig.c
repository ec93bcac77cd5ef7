#include "rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fdutil.h"
#include "base/loop.h"

/* --- callbacks, on the loop's thread ------------------------------------------------------------------------------ */

static void push(struct rig *g, const struct rig_event *ev)
{
    pthread_mutex_lock(&g->mu);
    BIDE_ASSERT(g->tail - g->head < RIG_EVENTS, "too many events");
    g->ev[g->tail++ % RIG_EVENTS] = *ev;
    pthread_cond_broadcast(&g->cond);
    pthread_mutex_unlock(&g->mu);
}

static char *copy(const void *p, size_t n)
{
    char *c = calloc(1, n + 1);
    BIDE_ASSERT(c != NULL, "no memory");
    if (n > 0)
        memcpy(c, p, n);
    return c;
}

static struct executor_result keep(const struct executor_result *r)
{
    struct executor_result k = *r;
    k.body = copy(r->body, r->body_len);
    k.error_type = copy(r->error_type, strlen(r->error_type));
    k.error_message = copy(r->error_message, strlen(r->error_message));
    k.log_tail = copy(r->log_tail, r->log_tail_len);
    return k;
}

static void on_ready(uint64_t worker, void *arg)
{
    push(arg, &(struct rig_event){.kind = RIG_READY, .worker = worker});
}

static void on_start_failed(uint64_t worker, const char *why, void *arg)
{
    struct rig_event ev = {.kind = RIG_START_FAILED, .worker = worker};
    (void)snprintf(ev.why, sizeof ev.why, "%s", why);
    push(arg, &ev);
}

static void on_init_failed(uint64_t worker, const struct executor_result *r, void *arg)
{
    push(arg, &(struct rig_event){.kind = RIG_INIT_FAILED, .worker = worker, .r = keep(r)});
}

static void on_result(uint64_t worker, const struct executor_result *r, void *arg)
{
    push(arg, &(struct rig_event){.kind = RIG_RESULT, .worker = worker, .r = keep(r)});
}

static void on_gone(uint64_t worker, void *arg)
{
    push(arg, &(struct rig_event){.kind = RIG_GONE, .worker = worker});
}

static void on_lost(void *arg)
{
    push(arg, &(struct rig_event){.kind = RIG_LOST});
}

/* --- open, close -------------------------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
    close(fd);
}

static void *loop_main(void *arg)
{
    loop_run(((struct rig *)arg)->loop);
    return NULL;
}

static void make_runtimes(struct rig *g)
{
    char path[128];
    (void)snprintf(g->dir, sizeof g->dir, "/tmp/bide-test-executor.XXXXXX");
    assert_non_null(mkdtemp(g->dir));
    (void)snprintf(path, sizeof path, "%s/own", g->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    (void)snprintf(path, sizeof path, "%s/own/manifest", g->dir);
    write_file(path, "serves = own.*\nprogram = /var/task/bootstrap\nprogram = /opt/bootstrap\nversion = own:*\n"
                     "execution_env = no\nwrapper = no\n");
    (void)snprintf(path, sizeof path, "%s/sh", g->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    (void)snprintf(path, sizeof path, "%s/sh/manifest", g->dir);
    write_file(path, "serves = sh*\ninterpreter = /usr/bin/sh\narg = /var/runtime/bootstrap\n");
}

void rig_open(struct rig *g, int64_t freeze_after_ms, int64_t init_limit_ms, int64_t reset_limit_ms)
{
    static const struct executor_cbs cbs = {.on_ready = on_ready,
                                            .on_start_failed = on_start_failed,
                                            .on_init_failed = on_init_failed,
                                            .on_result = on_result,
                                            .on_gone = on_gone,
                                            .on_lost = on_lost};
    int pair[2];
    struct err e = {0};
    memset(g, 0, sizeof *g);
    make_runtimes(g);
    pthread_mutex_init(&g->mu, NULL);
    pthread_cond_init(&g->cond, NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    g->sock = pair[0];
    assert_int_equal(loop_new(&g->loop, &e), 0);
    g->runtimes_fd = open(g->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(g->runtimes_fd >= 0);
    struct executor_opts o = {.runtimes_fd = g->runtimes_fd,
                              .init_limit_ms = init_limit_ms > 0 ? init_limit_ms : 1000000,
                              .freeze_after_ms = freeze_after_ms > 0 ? freeze_after_ms : 1000000,
                              .reset_limit_ms = reset_limit_ms > 0 ? reset_limit_ms : 1000000};
    assert_int_equal(executor_new(&g->x, g->loop, pair[1], &o, &cbs, g, &e), 0);
    assert_int_equal(pthread_create(&g->thread, NULL, loop_main, g), 0);
}

void rig_close(struct rig *g)
{
    loop_stop(g->loop);
    pthread_join(g->thread, NULL);
    executor_free(g->x);
    fd_close(&g->runtimes_fd);
    loop_free(g->loop);
    fd_close(&g->sock);
    for (; g->head < g->tail; g->head++)
        rig_event_done(&g->ev[g->head % RIG_EVENTS]);
    pthread_cond_destroy(&g->cond);
    pthread_mutex_destroy(&g->mu);
    assert_int_equal(file_remove_tree(AT_FDCWD, g->dir), 0);
}

/* --- calls on the loop's thread ----------------------------------------------------------------------------------- */

struct call {
    struct rig *g;
    uint64_t id;
    const char *text; /* runtime or request id */
    const char *payload;
    int32_t timeout_ms;
    void (*fn)(struct call *c);
    size_t n;
    bool done;
};

static void run_call(void *arg)
{
    struct call *c = arg;
    c->fn(c);
    pthread_mutex_lock(&c->g->mu);
    c->done = true;
    pthread_cond_broadcast(&c->g->cond);
    pthread_mutex_unlock(&c->g->mu);
}

static void call(struct rig *g, struct call *c)
{
    c->g = g;
    assert_int_equal(loop_post(g->loop, run_call, c), 0);
    pthread_mutex_lock(&g->mu);
    while (!c->done)
        pthread_cond_wait(&g->cond, &g->mu);
    pthread_mutex_unlock(&g->mu);
}

static void do_start(struct call *c)
{
    static const char *const keys[] = {"GREETING", "TZ", "AWS_REGION"}, *const values[] = {"hello", "Mars/Base", "x"};
    char sha[65];
    memset(sha, 'a', 64);
    sha[64] = '\0';
    struct executor_spec s = {.function_name = "f",
                              .function_arn = "arn:aws:lambda:us-east-1:000000000000:function:f",
                              .version = "$LATEST",
                              .runtime = c->text,
                              .handler = "app.h",
                              .role_profile = "default",
                              .code_sha256 = sha,
                              .region = "us-east-1",
                              .access_key_id = "",
                              .secret_access_key = "",
                              .session_token = "",
                              .env_keys = keys,
                              .env_values = values,
                              .n_env = 3,
                              .memory_mb = 128,
                              .tmp_mb = 512,
                              .timeout_ms = c->timeout_ms};
    executor_start(c->g->x, c->id, &s);
}

void rig_start(struct rig *g, uint64_t id, const char *runtime, int32_t timeout_ms)
{
    call(g, &(struct call){.id = id, .text = runtime, .timeout_ms = timeout_ms, .fn = do_start});
}

static void do_invoke(struct call *c)
{
    struct executor_invocation in = {.token = ++c->g->next_token,
                                     .request_id = c->text,
                                     .invoked_arn = "arn:aws:lambda:us-east-1:000000000000:function:f:live",
                                     .trace = "Root=1-2-3",
                                     .client_context = "{\"custom\":1}",
                                     .payload = c->payload,
                                     .payload_len = strlen(c->payload),
                                     .want_log = true};
    executor_invoke(c->g->x, c->id, &in);
}

void rig_invoke(struct rig *g, uint64_t id, const char *request_id, const char *payload)
{
    call(g, &(struct call){.id = id, .text = request_id, .payload = payload, .fn = do_invoke});
}

static void do_stop(struct call *c)
{
    executor_stop(c->g->x, c->id);
}

void rig_stop(struct rig *g, uint64_t id)
{
    call(g, &(struct call){.id = id, .fn = do_stop});
}

static void do_workers(struct call *c)
{
    c->n = executor_workers(c->g->x);
}

size_t rig_workers(struct rig *g)
{
    struct call c = {.fn = do_workers};
    call(g, &c);
    return c.n;
}

/* --- the executor process ----------------------------------------------------------------------------------------- */

static void wait_for(int fd, short what)
{
    struct pollfd p = {.fd = fd, .events = what};
    assert_int_equal(poll(&p, 1, RIG_DEADLINE_MS), 1);
}

const struct proto_msg *rig_expect(struct rig *g, enum proto_type t, uint64_t id)
{
    int fds[FD_PASS_MAX];
    size_t len, n_fds;
    struct err e = {0};
    wait_for(g->sock, POLLIN);
    assert_int_equal(fd_recv_msg(g->sock, g->raw, sizeof g->raw, &len, fds, &n_fds), 0);
    assert_int_equal(proto_decode(&g->in, PROTO_FROM_ENGINE, g->raw, len, &e), 0);
    assert_string_equal(proto_type_name(g->in.msg.type), proto_type_name(t));
    assert_int_equal(g->in.msg.worker, id);
    return &g->in.msg;
}

static void send_with(struct rig *g, const struct proto_msg *m, const int *fds, size_t n_fds)
{
    struct buf b;
    struct err e = {0};
    buf_init(&b, PROTO_MSG_MAX);
    assert_int_equal(proto_encode(m, &b, &e), 0);
    assert_int_equal(fd_send_msg(g->sock, b.data, b.len, fds, n_fds), 0);
    buf_done(&b);
}

void rig_send(struct rig *g, const struct proto_msg *m)
{
    send_with(g, m, NULL, 0);
}

void rig_exited(struct rig *g, uint64_t id, int exec_errno, int code, int sig, bool oom)
{
    rig_send(g,
             &(struct proto_msg){.type = PROTO_EXITED,
                                 .worker = id,
                                 .u.exited = {.exec_errno = exec_errno, .exit_code = code, .signal = sig, .oom = oom}});
}

void rig_dead(struct rig *g, uint64_t id, bool oom)
{
    rig_send(g, &(struct proto_msg){.type = PROTO_DEAD, .worker = id, .u.dead = {.oom = oom, .signal = 9}});
}

void rig_reset_done(struct rig *g, uint64_t id)
{
    rig_send(g, &(struct proto_msg){.type = PROTO_RESET_DONE, .worker = id});
}

void rig_started(struct rig *g, struct rig_box *b, uint64_t id)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int log[2];
    *b = (struct rig_box){.id = id, .conn = -1};
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(l, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(l, 16), 0);
    assert_int_equal(getsockname(l, (struct sockaddr *)&a, &len), 0);
    b->port = ntohs(a.sin_port);
    assert_int_equal(pipe2(log, O_CLOEXEC | O_NONBLOCK), 0);
    b->log = log[1];
    char path[96];
    (void)snprintf(path, sizeof path, "%s/peak", g->dir);
    write_file(path, "37748736\n");
    int peak = open(path, O_RDONLY | O_CLOEXEC);
    int fds[] = {l, log[0], peak};
    send_with(g, &(struct proto_msg){.type = PROTO_STARTED, .worker = id, .u.started = {.uid = 1, .has_peak = true}},
              fds, 3);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

/* More descriptors than a message may have, which the kernel cuts as it does when the receiver can open no more. */
void rig_started_cut(struct rig *g, uint64_t id)
{
    enum { MANY = FD_PASS_MAX + 1 };
    int many[MANY];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof many)];
    } c = {0};
    struct buf b;
    struct err e = {0};
    struct proto_msg m = {.type = PROTO_STARTED, .worker = id, .u.started = {.uid = 1, .has_peak = true}};
    for (int i = 0; i < MANY; i++)
        many[i] = g->sock;
    buf_init(&b, PROTO_MSG_MAX);
    assert_int_equal(proto_encode(&m, &b, &e), 0);
    struct iovec iov = {.iov_base = b.data, .iov_len = b.len};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.space, .msg_controllen = sizeof c.space};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&h);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof many);
    memcpy(CMSG_DATA(rights), many, sizeof many);
    assert_int_equal(sendmsg(g->sock, &h, 0), b.len);
    buf_done(&b);
}

void rig_box_close(struct rig_box *b)
{
    fd_close(&b->log);
    fd_close(&b->conn);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

struct rig_event rig_event(struct rig *g, enum rig_kind kind, uint64_t worker)
{
    struct rig_event ev = {0};
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RIG_DEADLINE_MS / 1000;
    pthread_mutex_lock(&g->mu);
    int rc = 0;
    while (g->head == g->tail && rc == 0)
        rc = pthread_cond_timedwait(&g->cond, &g->mu, &until);
    if (g->head < g->tail)
        ev = g->ev[g->head++ % RIG_EVENTS];
    pthread_mutex_unlock(&g->mu);
    if (ev.kind != kind)
        print_error("event %d, wanted %d: %s\n", (int)ev.kind, (int)kind, ev.why);
    assert_int_equal(ev.kind, kind);
    assert_int_equal(ev.worker, worker);
    return ev;
}

void rig_event_done(struct rig_event *ev)
{
    free((void *)ev->r.body);
    free((void *)ev->r.error_type);
    free((void *)ev->r.error_message);
    free((void *)ev->r.log_tail);
}

/* --- the runtime -------------------------------------------------------------------------------------------------- */

void rig_disconnect(struct rig_box *b)
{
    fd_close(&b->conn);
}

static void connect_box(struct rig_box *b)
{
    if (b->conn >= 0)
        return;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)b->port)};
    b->conn = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(b->conn, (struct sockaddr *)&a, sizeof a), 0);
}

/* A refusal may cut the connection while we write: the reply is still to be read. */
void rig_write(struct rig_box *b, const char *text, size_t len)
{
    connect_box(b);
    while (len > 0) {
        ssize_t n = send(b->conn, text, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

void rig_next(struct rig_box *b)
{
    static const char rq[] = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n";
    rig_write(b, rq, sizeof rq - 1);
}

void rig_read(struct rig_box *b, struct rig_reply *ret)
{
    size_t n = 0;
    memset(ret, 0, sizeof *ret);
    buf_init(&ret->body, 8 << 20);
    while (n < 4 || memcmp(ret->head + n - 4, "\r\n\r\n", 4) != 0) {
        wait_for(b->conn, POLLIN);
        assert_true(n < sizeof ret->head - 1);
        assert_int_equal(read(b->conn, ret->head + n, 1), 1);
        n++;
    }
    ret->status = atoi(ret->head + 9);
    const char *cl = strcasestr(ret->head, "content-length:");
    size_t len = cl != NULL ? strtoul(cl + 15, NULL, 10) : 0;
    assert_int_equal(buf_reserve(&ret->body, len), 0);
    while (ret->body.len < len) {
        wait_for(b->conn, POLLIN);
        ssize_t got = read(b->conn, ret->body.data + ret->body.len, len - ret->body.len);
        assert_true(got > 0);
        ret->body.len += (size_t)got;
    }
    ret->body.data[ret->body.len] = '\0';
}

void rig_reply_done(struct rig_reply *r)
{
    buf_done(&r->body);
}

int rig_post(struct rig_box *b, const char *path, const char *headers, const void *body, size_t len,
             struct rig_reply *ret)
{
    char head[1024];
    struct rig_reply own;
    int n =
        snprintf(head, sizeof head, "POST /2018-06-01/runtime/%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n",
                 path, headers, len);
    rig_write(b, head, (size_t)n);
    rig_write(b, body, len);
    rig_read(b, ret != NULL ? ret : &own);
    if (ret != NULL)
        return ret->status;
    rig_reply_done(&own);
    return own.status;
}

void rig_work(struct rig_box *b, const char *request_id, const char *payload)
{
    char want[128];
    struct rig_reply r;
    rig_read(b, &r);
    assert_int_equal(r.status, 200);
    (void)snprintf(want, sizeof want, "Lambda-Runtime-Aws-Request-Id: %s\r\n", request_id);
    assert_non_null(strstr(r.head, want));
    assert_string_equal(r.body.data, payload);
    rig_reply_done(&r);
}

void rig_ready(struct rig *g, struct rig_box *b, uint64_t id, int32_t timeout_ms)
{
    rig_start(g, id, "own.x", timeout_ms);
    (void)rig_expect(g, PROTO_START, id);
    rig_started(g, b, id);
    rig_next(b);
    (void)rig_event(g, RIG_READY, id);
    (void)rig_expect(g, PROTO_READY, id);
}
