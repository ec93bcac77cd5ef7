#include "pool.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdutil.h"
#include "base/log.h"

/* --- epoll and messages ---------------------------------------------------------------------------------------------
 */

uint64_t pool_event(enum pool_source source, uint32_t index)
{
    return (uint64_t)source << 32 | index;
}

int pool_watch(int epoll, int fd, uint64_t event, struct err *e)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = event};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? err_sys(e, ERR_IO, errno, "epoll") : 0;
}

void pool_send(struct pool *p, const struct proto_msg *m, const int *fds, size_t n_fds)
{
    struct err e = {0};
    if (p->lost)
        return;
    buf_clear(&p->out);
    int rc = proto_encode(m, &p->out, &e);
    BIDE_ASSERT(rc != ERR_INVALID, "%s", e.text);
    if (rc == 0)
        rc = fd_send_msg(p->sock, p->out.data, p->out.len, fds, n_fds);
    if (rc < 0) {
        log_error("box", "the engine cannot be told %s: %s", proto_type_name(m->type),
                  rc == ERR_AGAIN ? "it does not read" : strerror(errno));
        p->lost = true;
    }
}

/* --- the life of a slot
 * ------------------------------------------------------------------------------------------------ */

static bool off_mode(const struct pool *p)
{
    return p->spawner->c->mode == BOX_OFF;
}

static uint32_t index_of(const struct pool *p, const struct slot *s)
{
    return (uint32_t)(s - p->slot);
}

static struct slot *find(struct pool *p, uint64_t worker)
{
    for (uint32_t i = 0; i < p->n_slots; i++)
        if (p->slot[i].state != SLOT_FREE && p->slot[i].worker == worker)
            return &p->slot[i];
    return NULL;
}

static uint64_t peak_kb(struct pool *p, const struct slot *s)
{
    struct limiter_stat st;
    limiter_stat(p->spawner->limits, index_of(p, s), &st);
    return st.peak_bytes / 1024;
}

static void clear_slot(struct slot *s)
{
    fd_close(&s->box.pidfd);
    fd_close(&s->box.ctl);
    fd_close(&s->box.log_fd);
    fd_close(&s->listener);
    memset(s, 0, sizeof *s);
    s->box.pid = s->box.pidfd = s->box.ctl = s->box.log_fd = s->listener = -1;
}

static void remember_failure(struct slot *s, const char *step, int sys, const char *text)
{
    if (s->failed.step[0] != '\0')
        return;
    (void)snprintf(s->failed.step, sizeof s->failed.step, "%s", step[0] != '\0' ? step : "unknown");
    (void)snprintf(s->failed.text, sizeof s->failed.text, "%s", text);
    s->failed.sys = sys;
}

static void kill_init(const struct slot *s)
{
    (void)syscall(SYS_pidfd_send_signal, s->box.pidfd, SIGKILL, NULL, 0);
}

/* Making, killing and resetting a box is our work, not the function's: it gets a whole core. So does the program until
 * READY when that was asked for. After that, what MemorySize buys. */
static void set_cpu(struct pool *p, struct slot *s, bool whole_core)
{
    struct err e = {0};
    if (limiter_cpu(p->spawner->limits, index_of(p, s), spawn_millicpus(s->memory_mb, whole_core), &e) < 0)
        log_warn("box", "worker %llu: %s", (unsigned long long)s->worker, e.text);
}

/* The death of init is the death of the box; a frozen one has to be thawed to die. Without a pid namespace init does
 * the killing itself, and is killed only when it takes too long. */
static void kill_box(struct pool *p, struct slot *s)
{
    if (s->state == SLOT_DYING)
        return;
    set_cpu(p, s, true);
    struct ctl_msg stop = {.kind = CTL_STOP};
    if (!off_mode(p) || s->state == SLOT_STARTING || fd_send_msg(s->box.ctl, &stop, sizeof stop, NULL, 0) < 0)
        kill_init(s);
    (void)limiter_freeze(p->spawner->limits, index_of(p, s), false, NULL);
    limiter_kill(p->spawner->limits, index_of(p, s));
    s->state = SLOT_DYING;
    s->since_ms = clock_mono_ms();
}

static void out_of_memory(struct pool *p, struct slot *s)
{
    s->oom = true;
    kill_box(p, s);
}

static void report_start_failed(struct pool *p, uint64_t worker, const struct proto_start_failed *why)
{
    log_warn("box", "worker %llu could not be started: step=%s %s", (unsigned long long)worker, why->step, why->text);
    struct proto_msg m = {.type = PROTO_START_FAILED, .worker = worker, .u.failed = *why};
    pool_send(p, &m, NULL, 0);
}

/* --- orders of the engine
 * ---------------------------------------------------------------------------------------------- */

static struct slot *free_slot(struct pool *p)
{
    for (uint32_t i = 0; i < p->n_slots; i++)
        if (p->slot[i].state == SLOT_FREE)
            return &p->slot[i];
    return NULL;
}

static void order_start(struct pool *p, const struct proto_msg *m)
{
    struct err e = {0};
    const char *step = "slot";
    struct proto_start_failed why = {0};
    struct slot *s = find(p, m->worker) == NULL ? free_slot(p) : NULL;
    int rc = s == NULL ? err_set(&e, ERR_FULL, "no slot is free, or the worker exists") : 0;
    if (rc == 0)
        rc = spawn(p->spawner, index_of(p, s), &m->u.start, &s->box, &step, &e);
    if (rc < 0) {
        (void)snprintf(why.step, sizeof why.step, "%s", step);
        (void)snprintf(why.text, sizeof why.text, "%.399s", e.text);
        why.sys = e.sys;
        report_start_failed(p, m->worker, &why);
        return;
    }
    p->n_busy++;
    s->state = SLOT_STARTING;
    s->worker = m->worker;
    s->memory_mb = m->u.start.memory_mb;
    s->cpu_boost = m->u.start.cpu_boost;
    s->since_ms = clock_mono_ms();
    if (pool_watch(p->epoll, s->box.ctl, pool_event(POOL_CTL, index_of(p, s)), &e) < 0 ||
        pool_watch(p->epoll, s->box.pidfd, pool_event(POOL_PIDFD, index_of(p, s)), &e) < 0) {
        remember_failure(s, "epoll", e.sys, e.text);
        kill_box(p, s);
    }
}

static void freeze(struct pool *p, struct slot *s, bool frozen)
{
    struct err e = {0};
    if (limiter_freeze(p->spawner->limits, index_of(p, s), frozen, &e) < 0)
        log_warn("box", "worker %llu: %s", (unsigned long long)s->worker, e.text);
    else
        s->frozen = frozen;
}

static void order_reset(struct pool *p, struct slot *s)
{
    struct ctl_msg reset = {.kind = CTL_RESET};
    set_cpu(p, s, true);
    s->resetting = true;
    freeze(p, s, false);
    if (fd_send_msg(s->box.ctl, &reset, sizeof reset, NULL, 0) < 0) {
        log_warn("box", "worker %llu cannot be reset: %s", (unsigned long long)s->worker, strerror(errno));
        kill_box(p, s);
    }
}

static void order_stop(struct pool *p, struct slot *s)
{
    if (s->state == SLOT_STARTING)
        remember_failure(s, "stop", 0, "stopped while it was being started");
    kill_box(p, s);
}

void pool_order(struct pool *p, const struct proto_msg *m)
{
    if (m->type == PROTO_START) {
        order_start(p, m);
        return;
    }
    struct slot *s = find(p, m->worker);
    if (s == NULL || (s->state != SLOT_RUNNING && m->type != PROTO_STOP))
        return; /* it crossed our DEAD, or has no meaning any more */
    if (m->type == PROTO_STOP)
        order_stop(p, s);
    else if (m->type == PROTO_RESET)
        order_reset(p, s);
    else if (m->type == PROTO_FREEZE && !s->resetting)
        freeze(p, s, true);
    else if (m->type == PROTO_THAW)
        freeze(p, s, false);
    else if (m->type == PROTO_READY && !s->resetting)
        set_cpu(p, s, false);
}

/* --- news from the box
 * --------------------------------------------------------------------------------------------------- */

static void box_up(struct pool *p, struct slot *s)
{
    if (s->state != SLOT_STARTING)
        return;
    if (s->listener < 0) {
        remember_failure(s, "listener", 0, "the box has no listener");
        kill_box(p, s);
        return;
    }
    int fds[PROTO_STARTED_FDS_MAX] = {s->listener, s->box.log_fd, limiter_peak_fd(p->spawner->limits, index_of(p, s))};
    struct proto_msg m = {.type = PROTO_STARTED, .worker = s->worker};
    m.u.started.uid = s->box.uid;
    m.u.started.has_peak = fds[PROTO_STARTED_PEAK] >= 0;
    s->state = SLOT_RUNNING;
    s->started = true;
    if (!s->cpu_boost)
        set_cpu(p, s, false);
    pool_send(p, &m, fds, m.u.started.has_peak ? 3 : 2);
    fd_close(&fds[PROTO_STARTED_PEAK]);
    /* Theirs alone from now on: the log must end when the box does, the port be closed when the engine closes it. */
    fd_close(&s->listener);
    fd_close(&s->box.log_fd);
}

static bool memory_ran_out(struct pool *p, const struct slot *s)
{
    struct limiter_stat st;
    limiter_stat(p->spawner->limits, index_of(p, s), &st);
    return st.oom_kills > 0 || st.anon_bytes > (uint64_t)s->memory_mb << 20;
}

static void program_exited(struct pool *p, struct slot *s, const struct ctl_msg *c)
{
    if (s->state != SLOT_RUNNING || s->resetting)
        return;
    struct proto_msg m = {.type = PROTO_EXITED, .worker = s->worker};
    struct proto_exited *x = &m.u.exited;
    x->exec_errno = c->sys;
    x->exit_code = c->sys == 0 && WIFEXITED(c->status) ? WEXITSTATUS(c->status) : -1;
    x->signal = c->sys == 0 && WIFSIGNALED(c->status) ? WTERMSIG(c->status) : 0;
    x->oom = memory_ran_out(p, s);
    x->peak_kb = peak_kb(p, s);
    pool_send(p, &m, NULL, 0);
    if (x->oom)
        out_of_memory(p, s);
}

static void reset_done(struct pool *p, struct slot *s)
{
    if (s->state != SLOT_RUNNING || !s->resetting)
        return;
    s->resetting = false;
    if (!s->cpu_boost)
        set_cpu(p, s, false);
    struct proto_msg m = {.type = PROTO_RESET_DONE, .worker = s->worker};
    pool_send(p, &m, NULL, 0);
}

static void on_ctl_msg(struct pool *p, struct slot *s, struct ctl_msg *c, int *fd)
{
    c->step[sizeof c->step - 1] = c->text[sizeof c->text - 1] = '\0';
    switch (c->kind) {
    case CTL_LISTENER:
        if (s->listener < 0) {
            s->listener = *fd;
            *fd = -1;
        }
        break;
    case CTL_FAIL:
        remember_failure(s, c->step, c->sys, c->text[0] != '\0' ? c->text : strerror(c->sys));
        break;
    case CTL_UP:
        box_up(p, s);
        break;
    case CTL_EXITED:
        program_exited(p, s, c);
        break;
    case CTL_RESET_DONE:
        reset_done(p, s);
        break;
    default:
        log_warn("box", "worker %llu: its init sent kind %u", (unsigned long long)s->worker, c->kind);
        kill_box(p, s);
    }
}

/* One message; false when there is none. */
static bool take_ctl_msg(struct pool *p, struct slot *s)
{
    struct ctl_msg c;
    int fds[FD_PASS_MAX];
    size_t len, n_fds;
    if (s->box.ctl < 0)
        return false;
    int rc = fd_recv_msg(s->box.ctl, &c, sizeof c, &len, fds, &n_fds);
    if (rc == ERR_AGAIN)
        return false;
    int fd = n_fds > 0 ? fds[0] : -1;
    for (size_t i = 1; i < n_fds; i++)
        fd_close(&fds[i]);
    bool whole = rc == 0 && len == sizeof c;
    if (whole)
        on_ctl_msg(p, s, &c, &fd);
    else /* end of file: the pidfd tells the rest. Closing also takes it out of the epoll set. */
        fd_close(&s->box.ctl);
    fd_close(&fd);
    return whole;
}

void pool_on_ctl(struct pool *p, uint32_t index)
{
    struct slot *s = &p->slot[index];
    if (s->state != SLOT_FREE)
        (void)take_ctl_msg(p, s);
}

/* Init is gone, and the kernel has seen to it that nothing of its pid namespace is left. What it said before it went
 * is still in the socket. */
void pool_on_exit(struct pool *p, uint32_t index)
{
    struct slot *s = &p->slot[index];
    siginfo_t si = {0};
    /* Looked at first and reaped afterwards: until then its pid is nobody else's. */
    if (s->state == SLOT_FREE || waitid(P_PIDFD, (id_t)s->box.pidfd, &si, WEXITED | WNOHANG | WNOWAIT) < 0 ||
        si.si_pid == 0)
        return;
    while (take_ctl_msg(p, s))
        continue;
    (void)waitid(P_PIDFD, (id_t)s->box.pidfd, &si, WEXITED | WNOHANG);
    int sig = si.si_code == CLD_EXITED ? 0 : si.si_status;
    if (s->started) {
        struct proto_msg m = {.type = PROTO_DEAD, .worker = s->worker};
        m.u.dead.oom = s->oom || memory_ran_out(p, s);
        m.u.dead.signal = sig;
        m.u.dead.peak_kb = peak_kb(p, s);
        pool_send(p, &m, NULL, 0);
    } else {
        char text[96];
        (void)snprintf(text, sizeof text, "the box ended during its set-up (%s %d)", sig != 0 ? "signal" : "status",
                       si.si_status);
        remember_failure(s, "setup", 0, text);
        report_start_failed(p, s->worker, &s->failed);
    }
    limiter_reset(p->spawner->limits, index);
    clear_slot(s);
    p->n_busy--;
}

/* --- the clock
 * ------------------------------------------------------------------------------------------------------------ */

bool pool_needs_tick(const struct pool *p)
{
    bool memory = (limiter_features(p->spawner->limits) & LIMITER_MEMORY) != 0;
    for (uint32_t i = 0, seen = 0; i < p->n_slots && seen < p->n_busy; i++) {
        const struct slot *s = &p->slot[i];
        seen += s->state != SLOT_FREE;
        if (s->state == SLOT_STARTING || s->state == SLOT_DYING || (memory && s->state == SLOT_RUNNING && !s->frozen))
            return true;
    }
    return false;
}

void pool_tick(struct pool *p)
{
    int64_t now = clock_mono_ms();
    for (uint32_t i = 0, seen = 0; i < p->n_slots && seen < p->n_busy; i++) {
        struct slot *s = &p->slot[i];
        seen += s->state != SLOT_FREE;
        if (s->state == SLOT_STARTING && now - s->since_ms > POOL_START_LIMIT_MS) {
            remember_failure(s, "timeout", 0, "the set-up of the box took too long");
            kill_box(p, s);
        } else if (s->state == SLOT_DYING && now - s->since_ms > POOL_STOP_LIMIT_MS) {
            kill_init(s);
        } else if (s->state == SLOT_RUNNING && !s->frozen && memory_ran_out(p, s)) {
            out_of_memory(p, s);
        }
    }
}

/* --- life
 * -------------------------------------------------------------------------------------------------------------------
 */

int pool_new(struct pool **ret, struct spawner *s, int sock, int epoll, struct err *e)
{
    uint32_t n = s->c->max_workers;
    struct pool *p = calloc(1, sizeof *p + n * sizeof p->slot[0]);
    if (p == NULL)
        return err_set(e, ERR_NOMEM, "%u slots", n);
    p->spawner = s;
    p->sock = sock;
    p->epoll = epoll;
    p->n_slots = n;
    buf_init(&p->out, PROTO_MSG_MAX);
    for (uint32_t i = 0; i < n; i++) {
        p->slot[i].box = (struct spawned){.pid = -1, .pidfd = -1, .ctl = -1, .log_fd = -1};
        p->slot[i].listener = -1;
    }
    *ret = p;
    return 0;
}

void pool_free(struct pool *p)
{
    if (p == NULL)
        return;
    p->lost = true; /* nobody is to be told any more */
    for (uint32_t i = 0; i < p->n_slots; i++)
        if (p->slot[i].state != SLOT_FREE)
            kill_box(p, &p->slot[i]);
    /* What is stuck in the kernel longer than this dies by its parent-death signal. */
    int64_t end = clock_mono_ms() + POOL_STOP_LIMIT_MS;
    while (p->n_busy > 0 && clock_mono_ms() < 2 * POOL_STOP_LIMIT_MS + end) {
        for (uint32_t i = 0; i < p->n_slots; i++) {
            if (p->slot[i].state != SLOT_FREE && clock_mono_ms() > end)
                kill_init(&p->slot[i]);
            if (p->slot[i].state != SLOT_FREE)
                pool_on_exit(p, i);
        }
        (void)usleep(1000);
    }
    buf_done(&p->out);
    free(p);
}
