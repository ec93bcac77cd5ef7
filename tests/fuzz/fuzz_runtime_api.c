/* A worker's whole conversation: what a runtime sends on its connections, what it writes to its log, what the executor
 * process reports, and what the dispatcher asks, in any order. The input is a byte that says which time limits are
 * near, and a list of steps: what, how many bytes, the bytes. Both other sides are played here, on one thread, over the
 * real engine's side.
 *
 * Every invocation handed over has exactly one result, whatever happens; a worker is ready, gone, or failed to start
 * only when it can be; answers on a connection are whole HTTP replies as far as they go; and a message that the
 * executor process could not have sent ends the engine's trust, and nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "base/jscan.h"
#include "base/log.h"
#include "base/loop.h"
#include "executor/executor.h"
#include "executor_proto/proto.h"
#include "fuzz.h"

enum step {
    STEP_SEND,       /* bytes on the first connection */
    STEP_SEND_OTHER, /* on the second */
    STEP_CLOSE,      /* the first connection */
    STEP_CLOSE_OTHER,
    STEP_NEXT,     /* GET .../next on the first connection */
    STEP_RESPONSE, /* POST of the bytes as the response */
    STEP_ERROR,    /* as an error; the bytes up to a newline are its type */
    STEP_INIT_ERROR,
    STEP_INVOKE, /* of the dispatcher, when the worker is ready; the bytes are the payload */
    STEP_STOP,
    STEP_LOG,     /* bytes into the log pipe */
    STEP_STARTED, /* of the executor process, with new sockets */
    STEP_EXITED,  /* three bytes: exit status, signal, errno of the program that could not be executed */
    STEP_OUT_OF_MEMORY,
    STEP_DEAD,
    STEP_RESET_DONE,
    STEP_DATAGRAM, /* the bytes as they are */
    STEP_WAIT,     /* until what is near is past */
    STEPS,
};

/* Limits that are a moment away, not a quarter of an hour. */
enum { NEAR_RUN = 1, NEAR_INIT = 2, NEAR_FREEZE = 4, NEAR_RESET = 8 };

enum {
    NEAR_MS = 1,
    FAR_MS = 900000,
    WAITS_MAX = 4,
    STEPS_MAX = 48,
    WORKER = 7,
    TURNS = 3,
    CONNS = 2,
    PATIENCE_MS = 20000
};

#define REQUEST_ID "01a208bd-3cbb-7600-93fa-4d284ce187b7"

struct world {
    struct loop *loop;
    struct executor *x;
    int sock; /* the executor process's end */
    struct sockaddr_un address;
    socklen_t address_len;
    int log; /* write end */
    int conn[CONNS];
    struct buf heard[CONNS];
    uint64_t token, results; /* invocations handed over; the results they had */
    bool ready, gone, lost;
    unsigned waits;
    uint8_t near; /* bits NEAR_x */
};

static int64_t limit_ms(const struct world *w, uint8_t which)
{
    return (w->near & which) != 0 ? NEAR_MS : FAR_MS;
}

/* --- what the engine says ----------------------------------------------------------------------------------------- */

static void on_ready(uint64_t worker, void *arg)
{
    struct world *w = arg;
    BIDE_ASSERT(worker == WORKER && !w->gone && w->results == w->token, "ready in the middle of an invocation");
    w->ready = true;
}

static void on_start_failed(uint64_t worker, const char *why, void *arg)
{
    struct world *w = arg;
    BIDE_ASSERT(worker == WORKER && !w->gone && w->token == w->results && why[0] != '\0', "start failed");
    w->gone = true;
    w->ready = false;
}

static void check_result(const struct executor_result *r)
{
    BIDE_ASSERT(r->body != NULL && r->error_type != NULL && r->error_message != NULL, "a result without its parts");
    BIDE_ASSERT(r->log_tail_len <= EXECUTOR_LOG_TAIL && r->body_len <= EXECUTOR_RESPONSE_MAX,
                "a result over its ceilings");
    BIDE_ASSERT(!r->platform_made || jscan_plain(r->body, r->body_len, 1), "the platform's own: %.300s",
                (const char *)r->body);
    BIDE_ASSERT(r->end >= EXECUTOR_OK && r->end <= EXECUTOR_DISRUPTED, "end %d", (int)r->end);
}

static void on_init_failed(uint64_t worker, const struct executor_result *r, void *arg)
{
    struct world *w = arg;
    struct buf b;
    BIDE_ASSERT(worker == WORKER && !w->gone && r->token == 0 && w->token == w->results, "init failed");
    check_result(r);
    buf_init(&b, EXECUTOR_RESPONSE_MAX + 4096);
    BIDE_ASSERT(executor_init_body(r, REQUEST_ID, &b) == 0, "no body for the client");
    buf_done(&b);
    w->ready = false;
}

static void on_result(uint64_t worker, const struct executor_result *r, void *arg)
{
    struct world *w = arg;
    BIDE_ASSERT(worker == WORKER && r->token == w->token && w->results + 1 == w->token,
                "a result of %llu after %llu of %llu", (unsigned long long)r->token, (unsigned long long)w->results,
                (unsigned long long)w->token);
    check_result(r);
    w->results++;
    w->ready = r->usable_now;
}

static void on_gone(uint64_t worker, void *arg)
{
    struct world *w = arg;
    BIDE_ASSERT(worker == WORKER && !w->gone && w->results == w->token, "gone with an invocation in hand");
    w->gone = true;
    w->ready = false;
}

static void on_lost(void *arg)
{
    struct world *w = arg;
    w->lost = true;
}

/* --- both sides take turns ---------------------------------------------------------------------------------------- */

static void hear(struct world *w, int i)
{
    char chunk[4096];
    ssize_t n;
    while (w->conn[i] >= 0 && (n = recv(w->conn[i], chunk, sizeof chunk, MSG_DONTWAIT)) > 0)
        BIDE_ASSERT(buf_append(&w->heard[i], chunk, (size_t)n) == 0, "too much is said");
}

static void turn(struct world *w)
{
    static char raw[PROTO_MSG_MAX];
    for (int i = 0; i < TURNS; i++) {
        loop_stop(w->loop);
        loop_run(w->loop);
        for (int k = 0; k < CONNS; k++)
            hear(w, k);
        while (recv(w->sock, raw, sizeof raw, MSG_DONTWAIT) > 0)
            continue; /* what is asked of the executor process: the input says what becomes of it */
    }
}

/* Replies: "HTTP/1.1 ddd", headers, Content-Length bytes, and again. */
static void check_heard(const struct buf *b)
{
    const char *p = b->data, *end = p + b->len;
    while (p < end) {
        size_t have = (size_t)(end - p);
        static const char start[] = "HTTP/1.1 ";
        size_t n = have < sizeof start - 1 ? have : sizeof start - 1;
        BIDE_ASSERT(memcmp(p, start, n) == 0, "said:\n%.400s", p);
        const char *body = memmem(p, have, "\r\n\r\n", 4);
        const char *length = body != NULL ? strcasestr(p, "\r\nContent-Length: ") : NULL;
        if (body == NULL)
            return; /* cut where the connection was */
        p = body + 4;
        if (length != NULL && length < body) {
            size_t len = strtoul(length + 18, NULL, 10);
            p = len < (size_t)(end - p) ? p + len : end;
        }
    }
}

/* --- the runtime -------------------------------------------------------------------------------------------------- */

static void hang_up(struct world *w, int i)
{
    hear(w, i);
    fd_close(&w->conn[i]);
    check_heard(&w->heard[i]);
    buf_clear(&w->heard[i]);
}

static void say(struct world *w, int i, const void *p, size_t n)
{
    if (w->conn[i] < 0 && w->address_len > 0) {
        w->conn[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(w->conn[i], (struct sockaddr *)&w->address, w->address_len) < 0)
            fd_close(&w->conn[i]);
    }
    if (w->conn[i] >= 0 && send(w->conn[i], p, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
        hang_up(w, i);
}

static void post(struct world *w, const char *path, struct slice type, const void *body, size_t len)
{
    struct buf b;
    buf_init(&b, len + 4096);
    int rc = buf_printf(&b, "POST /2018-06-01/runtime/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n", path, len);
    if (rc == 0 && type.len > 0 && memchr(type.p, '\r', type.len) == NULL && type.len < 1024) {
        rc = buf_puts(&b, "Lambda-Runtime-Function-Error-Type: ");
        rc = rc == 0 ? buf_append(&b, type.p, type.len) : rc;
        rc = rc == 0 ? buf_puts(&b, "\r\n") : rc;
    }
    rc = rc == 0 ? buf_puts(&b, "\r\n") : rc;
    rc = rc == 0 ? buf_append(&b, body, len) : rc;
    BIDE_ASSERT(rc == 0, "no room");
    say(w, 0, b.data, b.len);
    buf_done(&b);
}

/* --- the executor process ----------------------------------------------------------------------------------------- */

static void report_with(struct world *w, const struct proto_msg *m, const int *fds, size_t n_fds)
{
    struct buf b;
    struct err e = {0};
    buf_init(&b, PROTO_MSG_MAX);
    BIDE_ASSERT(proto_encode(m, &b, &e) == 0, "%s", e.text);
    (void)!fd_send_msg(w->sock, b.data, b.len, fds, n_fds); /* nobody listens once it is lost */
    buf_done(&b);
}

static void report(struct world *w, const struct proto_msg *m)
{
    report_with(w, m, NULL, 0);
}

/* A listening socket without a name in the file system. */
static void started(struct world *w)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int pair[2], l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    w->address_len = sizeof w->address;
    BIDE_ASSERT(l >= 0 && bind(l, (struct sockaddr *)&a, sizeof a.sun_family) == 0 && listen(l, 8) == 0 &&
                    getsockname(l, (struct sockaddr *)&w->address, &w->address_len) == 0 &&
                    pipe2(pair, O_CLOEXEC | O_NONBLOCK) == 0,
                "sockets: %s", strerror(errno));
    fd_close(&w->log);
    w->log = pair[1];
    report_with(w, &(struct proto_msg){.type = PROTO_STARTED, .worker = WORKER, .u.started = {.uid = 1}},
                (int[]){l, pair[0]}, 2);
    (void)close(l);
    (void)close(pair[0]);
}

static void exited(struct world *w, struct feed *f, bool oom)
{
    uint8_t code = feed_byte(f), sig = feed_byte(f) % 65, sys = feed_byte(f);
    report(w, &(struct proto_msg){
                  .type = PROTO_EXITED,
                  .worker = WORKER,
                  .u.exited = {.exec_errno = sys, .exit_code = sig > 0 ? -1 : code, .signal = sig, .oom = oom}});
}

/* --- the dispatcher ----------------------------------------------------------------------------------------------- */

static void start(struct world *w)
{
    static const char sha[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const struct executor_spec s = {.function_name = "f",
                                    .function_arn = "arn:aws:lambda:us-east-1:000000000000:function:f",
                                    .version = "$LATEST",
                                    .runtime = "own.x",
                                    .handler = "app.h",
                                    .role_profile = "default",
                                    .code_sha256 = sha,
                                    .region = "us-east-1",
                                    .access_key_id = "",
                                    .secret_access_key = "",
                                    .session_token = "",
                                    .memory_mb = 128,
                                    .tmp_mb = 512,
                                    .timeout_ms = (int32_t)limit_ms(w, NEAR_RUN)};
    executor_start(w->x, WORKER, &s);
}

static void invoke(struct world *w, const void *payload, size_t len)
{
    if (!w->ready || w->lost)
        return;
    const struct executor_invocation in = {.token = ++w->token,
                                           .request_id = REQUEST_ID,
                                           .invoked_arn = "arn:aws:lambda:us-east-1:000000000000:function:f",
                                           .trace = "",
                                           .payload = payload,
                                           .payload_len = len,
                                           .want_log = len % 2 != 0};
    w->ready = false;
    executor_invoke(w->x, WORKER, &in);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

static void step(struct world *w, enum step what, struct slice s)
{
    struct feed f = {s.p, s.len};
    static const char next[] = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n";
    switch (what) {
    case STEP_SEND:
    case STEP_SEND_OTHER:
        say(w, what == STEP_SEND_OTHER, s.p, s.len);
        break;
    case STEP_CLOSE:
    case STEP_CLOSE_OTHER:
        hang_up(w, what == STEP_CLOSE_OTHER);
        break;
    case STEP_NEXT:
        say(w, 0, next, sizeof next - 1);
        break;
    case STEP_RESPONSE:
        post(w, "invocation/" REQUEST_ID "/response", (struct slice){0}, s.p, s.len);
        break;
    case STEP_ERROR:
    case STEP_INIT_ERROR: {
        struct slice type = feed_until(&f, '\n');
        post(w, what == STEP_ERROR ? "invocation/" REQUEST_ID "/error" : "init/error", type, f.p, f.left);
        break;
    }
    case STEP_INVOKE:
        invoke(w, s.p, s.len);
        break;
    case STEP_STOP:
        executor_stop(w->x, WORKER);
        break;
    case STEP_LOG:
        if (w->log >= 0)
            (void)!write(w->log, s.p, s.len);
        break;
    case STEP_STARTED:
        started(w);
        break;
    case STEP_EXITED:
    case STEP_OUT_OF_MEMORY:
        exited(w, &f, what == STEP_OUT_OF_MEMORY);
        break;
    case STEP_DEAD:
        report(w, &(struct proto_msg){.type = PROTO_DEAD, .worker = WORKER, .u.dead = {.signal = feed_byte(&f) % 65}});
        break;
    case STEP_RESET_DONE:
        report(w, &(struct proto_msg){.type = PROTO_RESET_DONE, .worker = WORKER});
        break;
    case STEP_DATAGRAM:
        if (s.len > 0) /* none at all is the end of the socket */
            (void)!send(w->sock, s.p, s.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    case STEP_WAIT:
        if (w->waits++ < WAITS_MAX)
            (void)usleep(1000 * (NEAR_MS + 1));
        break;
    case STEPS:
        break;
    }
}

/* --- the world ---------------------------------------------------------------------------------------------------- */

static char folder[128];

static void remove_runtimes(void)
{
    (void)!file_remove_tree(AT_FDCWD, folder);
}

static int runtimes(void)
{
    static int fd = -1;
    static const char manifest[] = "serves = own.*\nprogram = /var/task/bootstrap\nversion = own:*\n";
    const char *base = getenv("TMPDIR");
    if (fd >= 0)
        return fd;
    (void)snprintf(folder, sizeof folder, "%s/bide-fuzz-XXXXXX", base != NULL ? base : "/tmp");
    BIDE_ASSERT(mkdtemp(folder) != NULL, "%s", folder);
    (void)atexit(remove_runtimes);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    BIDE_ASSERT(fd >= 0 && mkdirat(fd, "own", 0755) == 0, "%s", folder);
    int file = openat(fd, "own/manifest", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    BIDE_ASSERT(file >= 0 && fd_write_all(file, manifest, sizeof manifest - 1) == 0 && close(file) == 0, "%s", folder);
    loop_global_init();
    (void)signal(SIGPIPE, SIG_IGN); /* of the log pipe, whose reader goes with the worker */
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, open("/dev/null", O_WRONLY | O_CLOEXEC));
    return fd;
}

static void enter(struct world *w, uint8_t near)
{
    *w = (struct world){.sock = -1, .log = -1, .conn = {-1, -1}, .near = near};
    static const struct executor_cbs cbs = {.on_ready = on_ready,
                                            .on_start_failed = on_start_failed,
                                            .on_init_failed = on_init_failed,
                                            .on_result = on_result,
                                            .on_gone = on_gone,
                                            .on_lost = on_lost};
    const struct executor_opts o = {.runtimes_fd = runtimes(),
                                    .init_limit_ms = limit_ms(w, NEAR_INIT),
                                    .freeze_after_ms = limit_ms(w, NEAR_FREEZE),
                                    .reset_limit_ms = limit_ms(w, NEAR_RESET)};
    struct err e = {0};
    int pair[2];
    for (int i = 0; i < CONNS; i++)
        buf_init(&w->heard[i], 8 << 20);
    BIDE_ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "sockets: %s", strerror(errno));
    w->sock = pair[0];
    BIDE_ASSERT(loop_new(&w->loop, &e) == 0 && executor_new(&w->x, w->loop, pair[1], &o, &cbs, w, &e) == 0, "%s",
                e.text);
}

/* The worker is killed; then nothing may be owed any more. */
static void leave(struct world *w)
{
    for (int i = 0; i < CONNS; i++)
        hang_up(w, i);
    executor_stop(w->x, WORKER);
    report(w, &(struct proto_msg){.type = PROTO_DEAD, .worker = WORKER, .u.dead = {.signal = 9}});
    for (int ms = 0; ms < PATIENCE_MS && !w->lost && w->results < w->token; ms++) {
        turn(w);
        if (ms > 0)
            (void)usleep(1000);
    }
    BIDE_ASSERT(w->lost || w->results == w->token, "an invocation has no result");
    executor_free(w->x);
    loop_free(w->loop);
    fd_close(&w->sock);
    fd_close(&w->log);
    for (int i = 0; i < CONNS; i++)
        buf_done(&w->heard[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w;
    struct feed f = {data, size};
    enter(&w, feed_byte(&f));
    start(&w);
    turn(&w);
    started(&w);
    turn(&w);
    for (int i = 0; i < STEPS_MAX && f.left > 0 && !w.lost; i++) {
        enum step what = (enum step)(feed_byte(&f) % STEPS);
        size_t n = (size_t)feed_byte(&f) * 4;
        struct slice s = {f.p, n < f.left ? n : f.left};
        f.p += s.len;
        f.left -= s.len;
        step(&w, what, s);
        turn(&w);
    }
    leave(&w);
    return 0;
}
