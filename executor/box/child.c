#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "caps.h"
#include "ctl.h"
#include "mnt.h"
#include "net.h"
#include "ns.h"
#include "rlimit.h"

enum { JOB_TEXT_MAX = 512 * 1024, KEPT_MAX = PROFILE_TREES_MAX + LIMITER_JOIN_MAX + 8, FD_ASIDE = 64 };

static _Noreturn void give_up(struct child *c, const char *step, const struct err *e)
{
    struct ctl_msg m = {.kind = CTL_FAIL, .sys = e->sys};
    (void)snprintf(m.step, sizeof m.step, "%s", step);
    (void)snprintf(m.text, sizeof m.text, "%.255s", e->text);
    (void)send(c->ctl, &m, sizeof m, MSG_NOSIGNAL);
    _exit(1);
}

/* --- descriptors ----------------------------------------------------------------------------------------------------
 */

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* The executor process's sockets, other boxes' sockets above all, must not live on here: their end of file is how an
 * init learns that the executor process is gone. */
static void close_others(struct child *c)
{
    int keep[KEPT_MAX];
    size_t n = 0;
    const int own[] = {STDERR_FILENO, c->ctl, c->log, c->init, c->lock, c->freezer, c->code_dir};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (own[i] >= 0)
            keep[n++] = own[i];
    for (size_t i = 0; i < PROFILE_TREES_MAX; i++)
        if (c->tree[i] >= 0)
            keep[n++] = c->tree[i];
    for (size_t i = 0; i < LIMITER_JOIN_MAX; i++)
        if (c->join[i] >= 0)
            keep[n++] = c->join[i];
    qsort(keep, n, sizeof keep[0], by_number);
    unsigned from = 0;
    for (size_t i = 0; i < n; i++) {
        if ((unsigned)keep[i] > from)
            (void)close_range(from, (unsigned)keep[i] - 1, 0);
        from = (unsigned)keep[i] + 1;
    }
    (void)close_range(from, ~0U, 0);
}

/* Before anything else: whatever the set-up takes counts already. */
static int join_groups(struct child *c, struct err *e)
{
    for (size_t i = 0; i < LIMITER_JOIN_MAX; i++) {
        if (c->join[i] >= 0 && write(c->join[i], "0", 1) != 1)
            return err_sys(e, ERR_IO, errno, "join a cgroup");
        fd_close(&c->join[i]);
    }
    return 0;
}

static void wait_for_go(struct child *c)
{
    struct ctl_msg m;
    ssize_t n;
    do
        n = recv(c->ctl, &m, sizeof m, 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof m || m.kind != CTL_GO)
        _exit(1); /* the parent is gone, or has thought better of it */
}

/* The signal is set; had the parent died before, nobody would send it. */
static int parent_lives(struct child *c, struct err *e)
{
    struct pollfd p = {.fd = c->ctl, .events = POLLIN};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0 ? err_set(e, ERR_IO, "the parent is gone") : 0;
}

static int hand_over_listener(struct child *c, int64_t port, uint16_t *ret_port, struct err *e)
{
    int fd;
    int rc = net_listen((uint16_t)port, &fd, ret_port, e);
    if (rc < 0)
        return rc;
    struct ctl_msg m = {.kind = CTL_LISTENER};
    if (fd_send_msg(c->ctl, &m, sizeof m, &fd, 1) < 0)
        rc = err_sys(e, ERR_IO, errno, "hand over the listener");
    fd_close(&fd);
    return rc;
}

/* Never a terminal and never a file of the daemon's: TIOCSTI has nothing to type into.
 *
 * A function that wakes up does not push aside whoever runs on that CPU, which is mostly the engine that woke it: it
 * answers several workers in a row instead of being switched away after each. The share of the CPU is the same. */
static int new_session(struct child *c, struct err *e)
{
    if (setsid() < 0)
        return err_sys(e, ERR_IO, errno, "setsid");
    (void)sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0}); /* only speed is lost where it is forbidden */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return err_sys(e, ERR_IO, errno, "open /dev/null");
    /* Each in turn could be one of 0, 1, 2 already: out of the way first. */
    int in = fcntl(null, F_DUPFD_CLOEXEC, FD_ASIDE), out = fcntl(c->log, F_DUPFD_CLOEXEC, FD_ASIDE);
    if (in < 0 || out < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
        return err_sys(e, ERR_IO, errno, "standard descriptors");
    (void)close(in);
    (void)close(out);
    if (null > STDERR_FILENO)
        (void)close(null);
    return 0;
}

/* --- the operations
 * --------------------------------------------------------------------------------------------------- */

static int open_lower(struct child *c, const char *path, struct err *e)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, ERR_IO, errno, "%s", path);
    c->lower[c->n_lower++] = fd;
    return 0;
}

static int overlay(struct child *c, int tree, struct err *e)
{
    int rc = mnt_overlay(c->lower, c->n_lower, &c->tree[tree], e);
    while (c->n_lower > 0)
        fd_close(&c->lower[--c->n_lower]);
    return rc;
}

static int run_op(struct child *c, const struct op *o, uint16_t *port, struct err *e)
{
    int rc;
    switch (o->kind) {
    case OP_IDS:
        return o->n >= 0 ? ns_become((uint32_t)o->n, (uint32_t)o->n, e) : ns_become(c->uid, c->gid, e);
    case OP_PARENT_DEATH:
        rc = ns_parent_death(e);
        return rc == 0 ? parent_lives(c, e) : rc;
    case OP_SLAVE:
        return mnt_slave(e);
    case OP_GRAB:
        return mnt_tree(AT_FDCWD, o->src, &c->tree[o->n], e);
    case OP_LOWER:
        return open_lower(c, o->src, e);
    case OP_OVERLAY:
        return overlay(c, (int)o->n, e);
    case OP_ROOT:
        return mnt_root(o->src, e);
    case OP_DIR:
        return mnt_dir(o->dst, e);
    case OP_DIRS:
        return mnt_dirs(o->dst, e);
    case OP_LINK:
        return mnt_link(o->src, o->dst, e);
    case OP_FILE:
        return mnt_file(o->src, o->dst, e);
    case OP_PUT:
        rc = mnt_put(c->tree[o->n], o->dst, e);
        fd_close(&c->tree[o->n]);
        return rc;
    case OP_TMPFS:
        return mnt_tmpfs(o->dst, o->n, e);
    case OP_PROC:
        return mnt_proc(o->dst, e);
    case OP_NO_USERNS:
        return mnt_write(o->dst, "0", e);
    case OP_PROC_SYS:
        return mnt_read_only(o->dst, e);
    case OP_MASK:
        return mnt_mask(o->dst, e);
    case OP_HOSTNAME:
        return ns_hostname("box", e);
    case OP_LOOPBACK:
        return net_loopback_up(e);
    case OP_LISTEN:
        return hand_over_listener(c, o->n, port, e);
    case OP_PIVOT:
        return mnt_pivot(e);
    case OP_CHDIR:
        return mnt_chdir(o->src, e);
    case OP_CODE_CWD:
        return c->code_dir >= 0 && fchdir(c->code_dir) < 0 ? err_sys(e, ERR_IO, errno, "chdir to the code") : 0;
    case OP_ROOT_RO:
        return mnt_root_read_only(e);
    case OP_SESSION:
        return new_session(c, e);
    case OP_RLIMIT:
        return rlimit_set(o->m, o->n, e);
    case OP_CAPS:
        return caps_drop_all(e);
    case OP_NNP:
        return caps_no_new_privs(e);
    case OP_N_KINDS:
        break;
    }
    return err_set(e, ERR_INTERNAL, "operation %d", (int)o->kind);
}

/* --- the job
 * ---------------------------------------------------------------------------------------------------------- */

static bool ends_path(char c)
{
    return c == '/' || c == ':' || c == '\0';
}

int child_outside_paths(const char *text, const char *code_path, const char *runtime_path, struct buf *out)
{
    static const char task[] = "/var/task", runtime[] = "/var/runtime";
    int rc = 0;
    for (const char *at = text; *at != '\0' && rc == 0;) {
        bool begins = at == text || at[-1] == '=' || at[-1] == ':';
        if (begins && code_path != NULL && strncmp(at, task, sizeof task - 1) == 0 && ends_path(at[sizeof task - 1])) {
            rc = buf_puts(out, code_path);
            at += sizeof task - 1;
        } else if (begins && runtime_path != NULL && strncmp(at, runtime, sizeof runtime - 1) == 0 &&
                   ends_path(at[sizeof runtime - 1])) {
            rc = buf_puts(out, runtime_path);
            at += sizeof runtime - 1;
        } else {
            rc = buf_putc(out, *at++);
        }
    }
    return rc;
}

static int add_string(const struct child *c, const char *s, struct buf *text)
{
    int rc = child_outside_paths(s, c->code_path, c->runtime_path, text);
    return rc == 0 ? buf_putc(text, '\0') : rc;
}

static int add_strings(const struct child *c, const char *const *list, size_t n, struct buf *text)
{
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = add_string(c, list[i], text);
    return rc;
}

/* The memfd that init reads, at *ret_fd. Sealed: it is mapped, not copied, by a process that outlives the program. */
static int make_job(const struct child *c, uint16_t port, int *ret_fd, struct err *e)
{
    char api[64];
    struct buf text;
    buf_init(&text, JOB_TEXT_MAX);
    (void)snprintf(api, sizeof api, "AWS_LAMBDA_RUNTIME_API=127.0.0.1:%u", port);
    int rc = add_strings(c, c->argv, c->n_argv, &text);
    if (rc == 0)
        rc = add_strings(c, c->env, c->n_env, &text);
    if (rc == 0)
        rc = add_string(c, api, &text);
    if (rc < 0)
        return err_set(e, rc, "arguments and environment");
    size_t n_insns = c->filter != NULL ? c->filter->n : 0;
    struct job_head h = {.magic = JOB_MAGIC,
                         .flags = c->job_flags,
                         .n_insns = (uint32_t)n_insns,
                         .n_argv = (uint32_t)c->n_argv,
                         .n_env = (uint32_t)c->n_env + 1,
                         .text_len = (uint32_t)text.len};
    int fd = memfd_create("job", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || fd_write_all(fd, &h, sizeof h) < 0 ||
        (n_insns > 0 && fd_write_all(fd, c->filter->insn, n_insns * sizeof c->filter->insn[0]) < 0) ||
        fd_write_all(fd, text.data, text.len) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return err_sys(e, ERR_IO, errno, "job");
    *ret_fd = fd;
    return 0;
}

/* The exec wipes the executor process's memory and environment out of the box. */
static int exec_init(struct child *c, int job, struct err *e)
{
    const int from[] = {c->ctl, job, c->lock, c->freezer, c->init};
    const int to[] = {INIT_FD_CTL, INIT_FD_JOB, INIT_FD_LOCK, INIT_FD_FREEZER, INIT_FD_END};
    enum { N = sizeof to / sizeof to[0] };
    int aside[N];
    for (size_t i = 0; i < N; i++) {
        aside[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD_CLOEXEC, FD_ASIDE);
        if (from[i] >= 0 && aside[i] < 0)
            return err_sys(e, ERR_IO, errno, "descriptors of init");
    }
    c->ctl = aside[0];
    (void)close_range(INIT_FD_CTL, FD_ASIDE - 1, 0);
    for (size_t i = 0; i < N; i++)
        if (aside[i] >= 0 && dup2(aside[i], to[i]) < 0)
            return err_sys(e, ERR_IO, errno, "descriptors of init");
    if (fd_set_cloexec(INIT_FD_END) < 0)
        return err_sys(e, ERR_IO, errno, "descriptors of init");
    char name[] = "bide-init";
    char *const argv[] = {name, NULL}, *const env[] = {NULL};
    (void)syscall(SYS_execveat, INIT_FD_END, "", argv, env, AT_EMPTY_PATH);
    return err_sys(e, ERR_IO, errno, "exec bide-init");
}

_Noreturn void child_main(struct child *c)
{
    struct err e = {0};
    uint16_t port = 0;
    int job = -1;
    close_others(c);
    if (join_groups(c, &e) < 0)
        give_up(c, "limits", &e);
    wait_for_go(c);
    for (size_t i = 0; i < c->profile->n; i++) {
        const struct op *o = &c->profile->op[i];
        if (run_op(c, o, &port, &e) < 0)
            give_up(c, profile_op_name(o->kind), &e);
    }
    if (make_job(c, port, &job, &e) < 0)
        give_up(c, "job", &e);
    (void)exec_init(c, job, &e);
    give_up(c, "exec", &e);
}
