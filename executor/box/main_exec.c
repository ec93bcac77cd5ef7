/* The executor process's loop: the engine's socket, signals, the engine's pidfd, and two descriptors per box. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdutil.h"
#include "base/log.h"
#include "pool.h"
#include "probe.h"

enum { EVENTS_PER_TURN = 64, ENGINE_END_MS = 5000 };

struct main_exec {
    const struct box_config *c;
    struct spawner spawner;
    struct pool *pool;
    int sock, epoll, signals, engine_pidfd;
    pid_t engine;
    bool stop;        /* leave the loop */
    bool engine_gone; /* it is reaped, and status is its exit status */
    int status;
};

/* --- the engine
 * --------------------------------------------------------------------------------------------------------------- */

static void say_hello(struct main_exec *m, const struct box_fences *f)
{
    static const char *const modes[] = {[BOX_STRICT] = "strict", [BOX_RELAXED] = "relaxed", [BOX_OFF] = "off"};
    static char text[BOX_FENCES_MAX][BOX_FENCE_TEXT_MAX + 32];
    const char *list[BOX_FENCES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++)
        if (!f->fence[i].have) {
            (void)snprintf(text[n], sizeof text[n], "%s: %s", f->fence[i].name, f->fence[i].text);
            log_warn("box", "%s", text[n]);
            list[n] = text[n];
            n++;
        }
    struct proto_msg h = {.type = PROTO_HELLO,
                          .u.hello = {.version = PROTO_VERSION, .degraded = list, .n_degraded = n}};
    (void)snprintf(h.u.hello.limits, sizeof h.u.hello.limits, "%s", f->limits);
    (void)snprintf(h.u.hello.sandbox, sizeof h.u.hello.sandbox, "%s", modes[m->c->mode]);
    pool_send(m->pool, &h, NULL, 0);
}

/* Engine and executor process have one fate: an engine that sends nonsense is not one to go on with. */
static void on_engine_msg(struct main_exec *m)
{
    static char raw[PROTO_MSG_MAX + 1];
    static struct proto_in in;
    int fds[FD_PASS_MAX];
    size_t len = 0, n_fds = 0;
    struct err e = {0};
    int rc = fd_recv_msg(m->sock, raw, sizeof raw, &len, fds, &n_fds);
    for (size_t i = 0; i < n_fds; i++) /* it has none to give */
        fd_close(&fds[i]);
    if (rc == ERR_AGAIN)
        return;
    if (rc == 0 && len == 0) {
        m->stop = true;
        return;
    }
    rc = rc < 0 ? err_set(&e, rc, "its socket cannot be read") : proto_decode(&in, PROTO_FROM_ENGINE, raw, len, &e);
    if (rc < 0) {
        log_error("box", "the engine cannot be understood, ending: %s", e.text);
        m->stop = true;
        return;
    }
    pool_order(m->pool, &in.msg);
}

/* Not reaped yet is not gone. */
static void reap_engine(struct main_exec *m)
{
    int status;
    if (m->engine_gone || m->engine == 0 || waitpid(m->engine, &status, WNOHANG) != m->engine)
        return;
    m->engine_gone = m->stop = true;
    m->status = WIFEXITED(status) ? WEXITSTATUS(status) : BOX_EXIT_LOST;
    if (WIFSIGNALED(status))
        log_error("box", "the engine was killed by signal %d", WTERMSIG(status));
}

static void on_signal(struct main_exec *m)
{
    struct signalfd_siginfo si;
    if (read(m->signals, &si, sizeof si) != (ssize_t)sizeof si)
        return;
    if (si.ssi_signo == SIGHUP) {
        if (m->c->on_hangup != NULL)
            m->c->on_hangup(m->c->hangup_arg);
    } else if (m->engine > 0) {
        (void)kill(m->engine, (int)si.ssi_signo);
    } else {
        m->stop = true;
        m->status = 0;
    }
}

/* --- the loop
 * ------------------------------------------------------------------------------------------------------------------ */

static void on_event(struct main_exec *m, uint64_t event)
{
    uint32_t index = (uint32_t)event;
    switch ((enum pool_source)(event >> 32)) {
    case POOL_ENGINE_SOCK:
        on_engine_msg(m);
        break;
    case POOL_SIGNALS:
        on_signal(m);
        break;
    case POOL_ENGINE_PID:
        reap_engine(m);
        break;
    case POOL_CTL:
        pool_on_ctl(m->pool, index);
        break;
    case POOL_PIDFD:
        pool_on_exit(m->pool, index);
        break;
    }
}

static void loop(struct main_exec *m)
{
    int64_t next_tick = clock_mono_ms() + POOL_TICK_MS;
    while (!m->stop && !m->pool->lost) {
        struct epoll_event ev[EVENTS_PER_TURN];
        bool ticking = pool_needs_tick(m->pool);
        int64_t now = clock_mono_ms(), left = next_tick > now ? next_tick - now : 0;
        int n = epoll_wait(m->epoll, ev, EVENTS_PER_TURN, ticking ? (int)left : -1);
        for (int i = 0; i < n; i++)
            on_event(m, ev[i].data.u64);
        now = clock_mono_ms();
        if (now >= next_tick) {
            pool_tick(m->pool);
            next_tick = now + POOL_TICK_MS;
        }
    }
}

/* --- beginning and end
 * ----------------------------------------------------------------------------------------------------------- */

static int open_signals(struct main_exec *m, struct err *e)
{
    sigset_t s;
    (void)sigemptyset(&s);
    (void)sigaddset(&s, SIGTERM);
    (void)sigaddset(&s, SIGINT);
    (void)sigaddset(&s, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &s, NULL) < 0)
        return err_sys(e, ERR_IO, errno, "signal mask");
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL); /* ignored, the kernel would reap before we looked */
    m->signals = signalfd(-1, &s, SFD_CLOEXEC | SFD_NONBLOCK);
    return m->signals < 0 ? err_sys(e, ERR_IO, errno, "signalfd") : 0;
}

static int open_engine(struct main_exec *m, struct err *e)
{
    struct timeval limit = {.tv_sec = POOL_SEND_LIMIT_MS / 1000};
    int flags = fcntl(m->sock, F_GETFL);
    /* Sending may wait, within limits: an answer that is lost would leave the engine's books wrong. */
    if (flags < 0 || fcntl(m->sock, F_SETFL, flags & ~O_NONBLOCK) < 0 || fd_set_cloexec(m->sock) < 0 ||
        setsockopt(m->sock, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
        return err_sys(e, ERR_IO, errno, "engine's socket");
    int rc = pool_watch(m->epoll, m->sock, pool_event(POOL_ENGINE_SOCK, 0), e);
    if (rc == 0)
        rc = pool_watch(m->epoll, m->signals, pool_event(POOL_SIGNALS, 0), e);
    if (rc < 0 || m->engine == 0)
        return rc;
    m->engine_pidfd = (int)syscall(SYS_pidfd_open, m->engine, 0);
    if (m->engine_pidfd < 0)
        return err_sys(e, ERR_IO, errno, "pidfd of the engine");
    return pool_watch(m->epoll, m->engine_pidfd, pool_event(POOL_ENGINE_PID, 0), e);
}

static int open_all(struct main_exec *m, struct box_fences *f, struct err *e)
{
    /* root's groups are none of a worker's, and a box cannot give them back once its ids are mapped */
    if (geteuid() == 0 && setgroups(0, NULL) < 0)
        return err_sys(e, ERR_IO, errno, "drop groups");
    if (m->c->workers_fd >= 0 && flock(m->c->workers_fd, LOCK_SH | LOCK_NB) < 0)
        return err_sys(e, ERR_BUSY, errno, "workers.lock");
    int rc = open_signals(m, e);
    if (rc == 0)
        rc = spawner_init(&m->spawner, m->c, m->engine, e);
    if (rc == 0)
        rc = probe_run(&m->spawner, f, e);
    if (rc < 0)
        return rc;
    m->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (m->epoll < 0)
        return err_sys(e, ERR_IO, errno, "epoll");
    rc = pool_new(&m->pool, &m->spawner, m->sock, m->epoll, e);
    return rc == 0 ? open_engine(m, e) : rc;
}

/* The socket is closed by now; an engine that does not end by that is ended. */
static void end_engine(struct main_exec *m)
{
    if (m->engine == 0)
        return;
    int64_t end = clock_mono_ms() + ENGINE_END_MS;
    for (bool killed = false; !m->engine_gone;) {
        struct pollfd p = {.fd = m->engine_pidfd, .events = POLLIN};
        int64_t left = end - clock_mono_ms();
        (void)poll(&p, m->engine_pidfd >= 0 ? 1 : 0, left > 0 && m->engine_pidfd >= 0 ? (int)left : 10);
        if (clock_mono_ms() >= end && !killed) {
            (void)kill(m->engine, SIGKILL);
            killed = true;
        }
        reap_engine(m);
    }
}

int box_main(const struct box_config *c, int sock, pid_t engine)
{
    struct main_exec m = {.c = c,
                          .sock = sock,
                          .epoll = -1,
                          .signals = -1,
                          .engine_pidfd = -1,
                          .engine = engine,
                          .status = BOX_EXIT_LOST};
    struct box_fences fences;
    struct err e = {0};
    int rc = open_all(&m, &fences, &e);
    if (rc < 0) {
        log_error("box", "%s", e.text);
        m.status = BOX_EXIT_REFUSED;
    } else {
        say_hello(&m, &fences);
        loop(&m);
    }
    pool_free(m.pool);
    fd_close(&m.sock);
    if (rc == 0)
        end_engine(&m);
    else if (engine > 0)
        (void)kill(engine, SIGKILL);
    spawner_done(&m.spawner);
    fd_close(&m.engine_pidfd);
    fd_close(&m.signals);
    fd_close(&m.epoll);
    return m.status;
}
