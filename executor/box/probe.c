/* What fences can be had here: found out by making a box, not by asking for versions. */
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdutil.h"
#include "probe.h"

enum { TRIAL_LIMIT_MS = 5000, LANDLOCK_VERSION = 1 };

static void fence(struct box_fences *f, const char *name, bool essential, bool have, const char *fmt, ...)
    BIDE_PRINTF(5, 6);

static void fence(struct box_fences *f, const char *name, bool essential, bool have, const char *fmt, ...)
{
    BIDE_ASSERT(f->n < BOX_FENCES_MAX, "%s", name);
    struct box_fence *x = &f->fence[f->n++];
    x->name = name;
    x->essential = essential;
    x->have = have;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(x->text, sizeof x->text, fmt, ap);
    va_end(ap);
    if (have)
        x->text[0] = '\0';
}

/* --- the trial
 * ------------------------------------------------------------------------------------------------------------- */

struct trial {
    char step[PROTO_STEP_MAX + 1]; /* that failed; "" = none */
    char text[CTL_TEXT_LEN];
    int sys;
    bool listener, up, ran;
};

static void trial_failed(struct trial *t, const char *step, int sys, const char *text)
{
    if (t->step[0] != '\0')
        return;
    (void)snprintf(t->step, sizeof t->step, "%s", step);
    (void)snprintf(t->text, sizeof t->text, "%s", text);
    t->sys = sys;
}

static void trial_take(struct trial *t, struct ctl_msg *m)
{
    m->step[sizeof m->step - 1] = m->text[sizeof m->text - 1] = '\0';
    if (m->kind == CTL_LISTENER)
        t->listener = true;
    else if (m->kind == CTL_UP)
        t->up = true;
    else if (m->kind == CTL_FAIL)
        trial_failed(t, m->step, m->sys, m->text[0] != '\0' ? m->text : strerror(m->sys));
    else if (m->kind == CTL_EXITED && m->sys == EACCES)
        t->ran = true; /* the exec is the last step, and a folder cannot be executed */
    else if (m->kind == CTL_EXITED)
        trial_failed(t, "seccomp", m->sys, strerror(m->sys));
}

/* Until the box has said how its program's start went, or has gone. */
static void trial_listen(struct trial *t, int ctl)
{
    int64_t end = clock_mono_ms() + TRIAL_LIMIT_MS;
    while (!t->ran && t->step[0] == '\0') {
        int64_t left = end - clock_mono_ms();
        struct pollfd p = {.fd = ctl, .events = POLLIN};
        struct ctl_msg m;
        int fds[FD_PASS_MAX];
        size_t len = 0, n_fds = 0;
        int rc;
        if (left <= 0) {
            trial_failed(t, "timeout", 0, "no answer");
        } else if (poll(&p, 1, (int)left) > 0 &&
                   (rc = fd_recv_msg(ctl, &m, sizeof m, &len, fds, &n_fds)) != ERR_AGAIN) {
            for (size_t i = 0; i < n_fds; i++)
                fd_close(&fds[i]);
            if (rc == 0 && len == sizeof m)
                trial_take(t, &m);
            else
                trial_failed(t, "setup", 0, "the box ended");
        }
    }
    if (t->ran && (!t->listener || !t->up))
        trial_failed(t, "listen", 0, "no listener");
}

static int try_box(struct spawner *s, struct trial *t)
{
    struct err e = {0};
    struct spawned box;
    const char *step = "";
    memset(t, 0, sizeof *t);
    if (spawn(s, 0, NULL, &box, &step, &e) < 0) {
        trial_failed(t, step, e.sys, e.text);
        return ERR_DENIED;
    }
    trial_listen(t, box.ctl);
    (void)syscall(SYS_pidfd_send_signal, box.pidfd, SIGKILL, NULL, 0);
    siginfo_t si;
    while (waitid(P_PIDFD, (id_t)box.pidfd, &si, WEXITED) < 0 && errno == EINTR)
        continue;
    fd_close(&box.pidfd);
    fd_close(&box.ctl);
    fd_close(&box.log_fd);
    limiter_reset(s->limits, 0);
    return t->step[0] == '\0' ? 0 : ERR_DENIED;
}

static const char *advice(const struct trial *t)
{
    if (strcmp(t->step, "clone") == 0 || strcmp(t->step, "map") == 0)
        return "allow user namespaces (sysctls user.max_user_namespaces, kernel.unprivileged_userns_clone, "
               "kernel.apparmor_restrict_unprivileged_userns), or run as root";
    if (strcmp(t->step, "proc") == 0)
        return "the host's own /proc is masked, as in a container: run with an unmasked one, or with sandbox = relaxed";
    if (strcmp(t->step, "seccomp") == 0)
        return "the kernel has no system call filters, or forbids them here: sandbox = relaxed goes without";
    return "see docs/operations.md, sandbox";
}

/* Relaxed gives up /proc or the filter, each only when a box cannot be made with it. */
static void trial_fences(struct spawner *s, struct box_fences *f)
{
    struct trial t;
    bool relaxed = s->c->mode == BOX_RELAXED;
    int rc = try_box(s, &t);
    if (rc < 0 && relaxed && strcmp(t.step, "proc") == 0) {
        fence(f, "proc", false, false, "boxes have no /proc: %s", t.text);
        s->no_proc = true;
        rc = try_box(s, &t);
    }
    if (rc < 0 && relaxed && strcmp(t.step, "seccomp") == 0) {
        fence(f, "seccomp", false, false, "system calls are not filtered: %s", t.text);
        s->no_seccomp = true;
        rc = try_box(s, &t);
    }
    fence(f, "box", true, rc == 0, "a box cannot be made here: %s: %.100s; %s", t.step, t.text, advice(&t));
    f->no_proc = s->no_proc;
    f->no_seccomp = s->no_seccomp;
}

/* --- the rest
 * ---------------------------------------------------------------------------------------------------------------- */

static void limit_fences(const struct spawner *s, struct box_fences *f)
{
    unsigned has = limiter_features(s->limits);
    const char *why = limiter_why_not(s->limits);
    fence(f, "memory limit", false, (has & LIMITER_MEMORY) != 0,
          "MemorySize is not enforced (%.220s): run as root, or under systemd with Delegate=yes", why);
    fence(f, "process limit", false, (has & LIMITER_PIDS) != 0 || s->c->mode != BOX_OFF,
          "the number of processes is not limited (%.220s)", why);
    fence(f, "cpu share", false, (has & LIMITER_CPU) != 0,
          "workers share the processors alike, whatever their MemorySize (%.220s)", why);
    fence(f, "freezing", false, (has & LIMITER_FREEZE) != 0,
          "idle workers are not frozen: what they left running goes on (%.220s)", why);
}

static void role_fences(const struct spawner *s, struct box_fences *f)
{
    size_t n = 0;
    const char *one = "";
    for (size_t i = 0; i < s->c->n_roles; i++)
        if (s->c->roles[i].network == BOX_NETWORK_HOST) {
            one = s->c->roles[i].name;
            n++;
        }
    fence(f, "network", false, n == 0,
          "workers of %zu role(s) (%s%s) use this host's network, its loopback included: network = host", n, one,
          n > 1 ? ", ..." : "");
}

/* A worker's uid must be nobody else's. */
static int check_uids(const struct box_config *c, struct err *e)
{
    uint64_t first = c->uid_base != 0 ? c->uid_base : (uint32_t)BOX_UID_BASE, last = first + c->max_workers - 1;
    if (last >= UINT32_MAX || first == 0)
        return err_set(e, ERR_INVALID, "uids %llu and up do not exist", (unsigned long long)first);
    FILE *f = fopen("/etc/passwd", "re");
    if (f == NULL)
        return 0;
    const struct passwd *p;
    int rc = 0;
    while (rc == 0 && (p = fgetpwent(f)) != NULL)
        if (p->pw_uid >= first && p->pw_uid <= last)
            rc = err_set(e, ERR_INVALID, "the uids of workers, %llu to %llu, include that of user %s",
                         (unsigned long long)first, (unsigned long long)last, p->pw_name);
    (void)fclose(f);
    return rc;
}

int probe_run(struct spawner *s, struct box_fences *ret, struct err *e)
{
    memset(ret, 0, sizeof *ret);
    ret->limits = limiter_name(s->limits);
    int rc = s->as_root && s->c->mode != BOX_OFF ? check_uids(s->c, e) : 0;
    if (rc < 0)
        return rc;
    if (s->c->mode == BOX_OFF) {
        fence(ret, "sandbox", false, false, "off: workers can see and change what %s can, each other included",
              s->as_root ? "the owner of the data directory" : "the user who started bided");
    } else {
        trial_fences(s, ret);
        fence(ret, "own uid", false, s->as_root,
              "all workers run with the uid that started bided: they are kept apart "
              "by namespaces alone; run as root for a uid each");
        long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION);
        fence(ret, "landlock", false, abi >= 1, "the kernel has no Landlock: one fence fewer around files");
        role_fences(s, ret);
    }
    limit_fences(s, ret);
    for (size_t i = 0; i < ret->n; i++)
        if (ret->fence[i].essential && !ret->fence[i].have)
            return err_set(e, ERR_DENIED, "%s", ret->fence[i].text);
    return 0;
}

int box_probe(const struct box_config *c, struct box_fences *ret, struct err *e)
{
    struct spawner s;
    int rc = spawner_init(&s, c, 0, e);
    if (rc < 0)
        return rc;
    rc = probe_run(&s, ret, e);
    spawner_done(&s);
    return rc;
}
