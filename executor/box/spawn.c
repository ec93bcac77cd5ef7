#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "child.h"
#include "mnt.h"
#include "ns.h"

enum { CORE_AT_MB = 1769, INIT_SIZE_MAX = 16 * 1024 * 1024, OWN_PROCESSES = 2, TRIAL_MB = 64 };

#ifndef MFD_EXEC
enum { MFD_EXEC = 0x10 };
#endif

/* --- what all boxes share
 * ---------------------------------------------------------------------------------------------- */

/* A copy that nobody can write to: the file on disk could be replaced, or written through /proc/1/exe by a box that got
 * too far, and would then run with the executor process's word for it. */
static int copy_init(int from, int *ret_fd, struct err *e)
{
    int fd = memfd_create("bide-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (fd < 0 && errno == EINVAL) /* a kernel before MFD_EXEC, where every memfd may be executed */
        fd = memfd_create("bide-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct buf b;
    buf_init(&b, INIT_SIZE_MAX);
    int rc = 0;
    if (fd < 0 || lseek(from, 0, SEEK_SET) < 0 || fd_read_all(from, &b) < 0 || fd_write_all(fd, b.data, b.len) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        rc = err_sys(e, ERR_IO, errno, "copy bide-init");
    else if (b.len == 0)
        rc = err_set(e, ERR_INVALID, "bide-init is empty");
    buf_done(&b);
    if (rc < 0)
        fd_close(&fd);
    *ret_fd = fd;
    return rc;
}

static void path_of(int fd, char out[PATH_MAX])
{
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = fd >= 0 ? readlink(link, out, PATH_MAX - 1) : -1;
    out[n > 0 ? n : 0] = '\0';
}

/* Groups are named after the data directory, which one daemon at a time holds: whatever carries the name is ours. */
static int open_limits(struct spawner *s, pid_t engine, struct err *e)
{
    struct stat st;
    if (fstat(s->c->code_fd, &st) < 0)
        return err_sys(e, ERR_INVALID, errno, "code folder");
    char name[CTL_STEP_LEN * 2];
    (void)snprintf(name, sizeof name, "bide-%llx-%llx", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    struct limiter_where w = {
        .self_cgroup = "/proc/self/cgroup", .mountinfo = "/proc/self/mountinfo", .self = getpid(), .engine = engine};
    return limiter_open(&s->limits, &w, name, s->c->max_workers, e);
}

int spawner_init(struct spawner *s, const struct box_config *c, pid_t engine, struct err *e)
{
    memset(s, 0, sizeof *s);
    s->c = c;
    s->init_fd = -1;
    s->as_root = geteuid() == 0;
    if (c->max_workers < 1 || c->max_workers > BOX_WORKERS_MAX || c->n_roles > BOX_ROLES_MAX)
        return err_set(e, ERR_INVALID, "%u workers, %zu roles", c->max_workers, c->n_roles);
    host_look(&s->host);
    path_of(c->code_fd, s->code_path);
    path_of(c->runtimes_fd, s->runtimes_path);
    int rc = copy_init(c->init_fd, &s->init_fd, e);
    if (rc == 0 && c->mode != BOX_OFF)
        rc = filter_build(&s->filter, e);
    if (rc == 0)
        rc = open_limits(s, engine, e);
    if (rc < 0)
        spawner_done(s);
    return rc;
}

void spawner_done(struct spawner *s)
{
    limiter_close(s->limits);
    s->limits = NULL;
    filter_done(&s->filter);
    fd_close(&s->init_fd);
}

uint64_t spawn_millicpus(uint32_t memory_mb, bool boost)
{
    uint64_t share = (uint64_t)memory_mb * 1000 / CORE_AT_MB;
    return boost && share < 1000 ? 1000 : share;
}

enum box_network spawn_network(const struct box_config *c, const char *role)
{
    const struct box_role *found = NULL;
    for (size_t i = 0; i < c->n_roles; i++)
        if (strcmp(c->roles[i].name, role) == 0)
            return c->roles[i].network;
        else if (strcmp(c->roles[i].name, "default") == 0)
            found = &c->roles[i];
    return found != NULL ? found->network : BOX_NETWORK_NONE;
}

/* --- one box
 * ------------------------------------------------------------------------------------------------------------ */

/* Everything the parent opens for one box, closed again by close_all. */
struct making {
    struct profile profile;
    struct profile_in in;
    struct child child;
    char code_path[PATH_MAX + 80], runtime_path[PATH_MAX + 80];
    char layer_path[PROTO_LAYERS_MAX][PATH_MAX + 80];
    struct manifest_paths read_only;
    int layer[PROTO_LAYERS_MAX];
    int code, runtime, ctl, log_fd;
};

/* Below dir and nowhere else, whatever the engine managed to put there. */
static int open_beneath(int dir, const char *name, int *ret_fd, struct err *e)
{
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    *ret_fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof how);
    return *ret_fd < 0 ? err_sys(e, ERR_IO, errno, "%s", name) : 0;
}

/* One of the runtime's folders on the host. Its path leads over no symlink, and nobody but root or we could change what
 * is in it. 0; ERR_NOTFOUND: it is not there. */
static int open_read_only(const char *path, int *ret_fd, struct err *e)
{
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    struct stat st;
    *ret_fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    if (*ret_fd < 0)
        return errno == ENOENT ? ERR_NOTFOUND : err_sys(e, ERR_IO, errno, "%s", path);
    if (fstat(*ret_fd, &st) < 0)
        return err_sys(e, ERR_IO, errno, "%s", path);
    if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return err_set(e, ERR_DENIED, "%s can be written to by others than its owner and root", path);
    return 0;
}

/* The manifest is read here and not by the engine: what a box sees of the host is not the engine's to say. */
static int open_read_only_all(struct spawner *s, struct making *m, const char *runtime_dir, struct err *e)
{
    struct manifest_paths *there = &m->read_only, all;
    int rc = manifest_read_only(s->c->runtimes_fd, runtime_dir, &all, e);
    there->n = 0;
    for (size_t i = 0; i < all.n && rc == 0; i++) {
        int fd;
        rc = open_read_only(all.path[i], &fd, e);
        if (rc == 0) {
            memcpy(there->path[there->n], all.path[i], sizeof all.path[i]);
            if (s->as_root && s->c->mode != BOX_OFF)
                rc = mnt_tree(fd, "", &m->child.tree[TREE_READ_ONLY + there->n], e);
            there->n++;
        } else if (rc == ERR_NOTFOUND) {
            rc = 0;
        }
        fd_close(&fd);
    }
    return rc;
}

static int open_layers(struct spawner *s, struct making *m, const struct proto_start *start, struct err *e)
{
    int rc = 0;
    if (start->n_layers > 0 && s->c->mode == BOX_OFF)
        return err_set(e, ERR_INVALID, "without a sandbox there is no /opt for layers");
    for (size_t i = 0; i < start->n_layers && rc == 0; i++) {
        rc = open_beneath(s->c->code_fd, start->layers[i], &m->layer[i], e);
        (void)snprintf(m->layer_path[i], sizeof m->layer_path[i], "%s/%s", s->code_path, start->layers[i]);
        m->in.layer_path[i] = m->layer_path[i];
    }
    m->in.n_layers = start->n_layers;
    if (rc < 0 || start->n_layers == 0 || !s->as_root)
        return rc;
    int *tree = &m->child.tree[TREE_LAYERS];
    return start->n_layers == 1 ? mnt_tree(m->layer[0], "", tree, e) : mnt_overlay(m->layer, start->n_layers, tree, e);
}

/* A merged /opt is read-only and has no place for another mount in it. */
static int check_read_only(const struct making *m, struct err *e)
{
    for (size_t i = 0; i < m->read_only.n; i++)
        if (m->in.n_layers > 0 && strncmp(m->read_only.path[i], "/opt/", 5) == 0)
            return err_set(e, ERR_INVALID, "%s of the runtime is where the function's layers are",
                           m->read_only.path[i]);
    return 0;
}

static int open_files(struct spawner *s, struct making *m, const struct proto_start *start, const char **step,
                      struct err *e)
{
    *step = "code";
    int rc = open_beneath(s->c->code_fd, start->code_sha256, &m->code, e);
    m->in.has_code = true;
    (void)snprintf(m->code_path, sizeof m->code_path, "%s/%s", s->code_path, start->code_sha256);
    if (rc == 0 && s->as_root && s->c->mode != BOX_OFF)
        rc = mnt_tree(m->code, "", &m->child.tree[TREE_CODE], e);
    if (rc == 0) {
        *step = "layers";
        rc = open_layers(s, m, start, e);
    }
    if (rc < 0 || start->runtime_dir[0] == '\0')
        return rc;
    *step = "runtime";
    if (s->c->runtimes_fd < 0)
        return err_set(e, ERR_NOTFOUND, "no runtimes are installed");
    rc = open_beneath(s->c->runtimes_fd, start->runtime_dir, &m->runtime, e);
    m->in.has_runtime = true;
    (void)snprintf(m->runtime_path, sizeof m->runtime_path, "%s/%s", s->runtimes_path, start->runtime_dir);
    if (rc == 0 && s->as_root && s->c->mode != BOX_OFF)
        rc = mnt_tree(m->runtime, "", &m->child.tree[TREE_RUNTIME], e);
    *step = rc == 0 ? "read_only" : *step;
    if (rc == 0)
        rc = open_read_only_all(s, m, start->runtime_dir, e);
    return rc == 0 ? check_read_only(m, e) : rc;
}

/* Functions open /dev/stderr and the like: a reopened pipe asks for the rights of its owner. */
static int open_channels(struct making *m, uid_t uid, gid_t gid, struct err *e)
{
    int pair[2], log_pipe[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_sys(e, ERR_IO, errno, "socketpair");
    m->ctl = pair[0];
    m->child.ctl = pair[1];
    if (pipe2(log_pipe, O_CLOEXEC) < 0)
        return err_sys(e, ERR_IO, errno, "pipe");
    m->log_fd = log_pipe[0];
    m->child.log = log_pipe[1];
    if (fd_set_nonblock(m->ctl) < 0 || fd_set_nonblock(m->log_fd) < 0)
        return err_sys(e, ERR_IO, errno, "pipe");
    if (geteuid() == 0 && fchown(m->child.log, uid, gid) < 0)
        return err_sys(e, ERR_IO, errno, "owner of the log pipe");
    return 0;
}

static void fill_child(struct spawner *s, uint32_t slot, struct making *m, const struct proto_start *start)
{
    static const char *const trial_argv[] = {"/", NULL};
    bool off = s->c->mode == BOX_OFF;
    struct child *c = &m->child;
    m->in.mode = s->c->mode;
    m->in.network = start != NULL ? spawn_network(s->c, start->role) : BOX_NETWORK_NONE;
    m->in.as_root = s->as_root;
    m->in.no_proc = s->no_proc;
    m->in.code_path = m->code_path;
    m->in.runtime_path = m->runtime_path;
    m->in.read_only = &m->read_only;
    m->in.host = &s->host;
    m->in.tmp_mb = start != NULL ? start->tmp_mb : TRIAL_MB;
    m->in.nproc = start != NULL ? start->nproc : PROTO_NPROC_MIN;
    profile_build(&m->profile, &m->in);
    c->profile = &m->profile;
    c->filter = off || s->no_seccomp ? NULL : &s->filter;
    c->init = s->init_fd;
    c->lock = s->c->workers_fd;
    c->code_dir = off ? m->code : -1;
    c->freezer = limiter_freezer_fd(s->limits, slot);
    c->job_flags = (off ? 0 : JOB_BOXED | JOB_LANDLOCK) | (c->freezer >= 0 ? JOB_FREEZER : 0);
    c->argv = start != NULL ? start->argv : trial_argv;
    c->n_argv = start != NULL ? start->n_argv : 1;
    c->env = start != NULL ? start->env : NULL;
    c->n_env = start != NULL ? start->n_env : 0;
    c->code_path = off ? m->code_path : NULL;
    c->runtime_path = off && m->in.has_runtime ? m->runtime_path : NULL;
}

/* As root each slot has a uid of its own; otherwise, and without fences, there is just one to be had. */
static int choose_ids(const struct spawner *s, uint32_t slot, uid_t *uid, gid_t *gid, struct err *e)
{
    struct stat st;
    *uid = geteuid();
    *gid = getegid();
    if (!s->as_root)
        return 0;
    if (s->c->mode != BOX_OFF) {
        *uid = *gid = (s->c->uid_base != 0 ? s->c->uid_base : (uint32_t)BOX_UID_BASE) + slot;
        return 0;
    }
    if (fstat(s->c->code_fd, &st) < 0)
        return err_sys(e, ERR_IO, errno, "code folder");
    *uid = st.st_uid;
    *gid = st.st_gid;
    return 0;
}

static int set_limits(struct spawner *s, uint32_t slot, const struct proto_start *start, struct err *e)
{
    struct limiter_set set = {.memory_bytes = 2ULL * TRIAL_MB << 20, .pids = PROTO_NPROC_MIN, .cpu_millicpus = 1000};
    if (start != NULL) {
        set.memory_bytes = ((uint64_t)start->memory_mb + start->tmp_mb) << 20;
        set.pids = start->nproc;
        set.cpu_millicpus = spawn_millicpus(start->memory_mb, true); /* for the set-up; the pool lowers it */
    }
    set.pids += OWN_PROCESSES;
    return limiter_prepare(s->limits, slot, &set, e);
}

/* The child joins its groups while its ids are mapped, and does nothing else before "go". */
static int let_go(struct making *m, const struct spawned *r, gid_t gid, const char **step, struct err *e)
{
    *step = "map";
    int rc = m->profile.clone_flags != 0 ? ns_map(r->pid, PROFILE_UID_INSIDE, r->uid, gid, e) : 0;
    struct ctl_msg go = {.kind = CTL_GO};
    if (rc == 0 && fd_send_msg(m->ctl, &go, sizeof go, NULL, 0) < 0)
        rc = err_sys(e, ERR_IO, errno, "control socket");
    return rc;
}

static int clone_and_go(struct spawner *s, uint32_t slot, struct making *m, struct spawned *r, gid_t gid,
                        const char **step, struct err *e)
{
    *step = "clone";
    r->pid = ns_clone(m->profile.clone_flags, limiter_clone_fd(s->limits, slot), &r->pidfd);
    if (r->pid == 0)
        child_main(&m->child);
    if (r->pid < 0)
        return err_sys(e, ERR_IO, errno, "clone3");
    int rc = let_go(m, r, gid, step, e);
    if (rc < 0) {
        (void)kill(r->pid, SIGKILL);
        (void)waitpid(r->pid, NULL, 0);
        fd_close(&r->pidfd);
    }
    return rc;
}

static void close_all(struct making *m, bool failed)
{
    fd_close(&m->code);
    fd_close(&m->runtime);
    for (size_t i = 0; i < PROTO_LAYERS_MAX; i++)
        fd_close(&m->layer[i]);
    for (size_t i = 0; i < TREE_FIRST_FREE; i++)
        fd_close(&m->child.tree[i]);
    fd_close(&m->child.ctl);
    fd_close(&m->child.log);
    fd_close(&m->child.freezer);
    for (size_t i = 0; i < LIMITER_JOIN_MAX; i++)
        fd_close(&m->child.join[i]);
    if (failed) {
        fd_close(&m->ctl);
        fd_close(&m->log_fd);
    }
}

int spawn(struct spawner *s, uint32_t slot, const struct proto_start *start, struct spawned *ret, const char **ret_step,
          struct err *e)
{
    static struct making making; /* big; the process has one thread */
    struct making *m = &making;
    gid_t gid;
    memset(m, 0, sizeof *m);
    m->code = m->runtime = m->ctl = m->log_fd = m->child.ctl = m->child.log = m->child.freezer = -1;
    for (size_t i = 0; i < PROFILE_TREES_MAX; i++)
        m->child.tree[i] = -1;
    for (size_t i = 0; i < PROTO_LAYERS_MAX; i++)
        m->layer[i] = -1;
    for (size_t i = 0; i < LIMITER_JOIN_MAX; i++)
        m->child.join[i] = -1;
    *ret = (struct spawned){.pid = -1, .pidfd = -1, .ctl = -1, .log_fd = -1};
    int rc = start != NULL ? open_files(s, m, start, ret_step, e) : 0;
    if (rc == 0) {
        *ret_step = "ids";
        rc = choose_ids(s, slot, &ret->uid, &gid, e);
        m->child.uid = ret->uid;
        m->child.gid = gid;
    }
    if (rc == 0) {
        *ret_step = "channels";
        rc = open_channels(m, ret->uid, gid, e);
    }
    if (rc == 0) {
        *ret_step = "limits";
        rc = set_limits(s, slot, start, e);
    }
    if (rc == 0)
        rc = limiter_join_fds(s->limits, slot, m->child.join, e);
    if (rc == 0) {
        fill_child(s, slot, m, start);
        rc = clone_and_go(s, slot, m, ret, gid, ret_step, e);
    }
    ret->ctl = rc == 0 ? m->ctl : -1;
    ret->log_fd = rc == 0 ? m->log_fd : -1;
    close_all(m, rc < 0);
    return rc;
}
