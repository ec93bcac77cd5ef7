#include "rig.h"

#include "testutil.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdutil.h"
#include "base/log.h"

void rig_skip(struct rig *r, const char *reason)
{
    if (r != NULL)
        rig_close(r);
    test_cannot_run(reason);
}

void rig_need_root(void)
{
    if (geteuid() != 0)
        rig_skip(NULL, "needs root");
}

/* --- the data directory
 * ------------------------------------------------------------------------------------------------ */

static void copy_file(const char *from, const char *to, mode_t mode)
{
    struct buf b;
    buf_init(&b, 64 * 1024 * 1024);
    assert_int_equal(file_read(AT_FDCWD, from, &b), 0);
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, b.data, b.len), 0);
    assert_int_equal(fchmod(fd, mode), 0);
    fd_close(&fd);
    buf_done(&b);
}

static void write_text(const char *dir, const char *name, const char *text, mode_t mode)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
    fd_close(&fd);
}

static void make_dir(struct rig *r, bool as_user)
{
    char path[256], from[320];
    (void)snprintf(r->dir, sizeof r->dir, "/tmp/bide-rig-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    static const char *const dirs[] = {"code", ("code/" RIG_SHA), "runtimes", "runtimes/test"};
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", r->dir, dirs[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    (void)snprintf(path, sizeof path, "%s/code/" RIG_SHA "/bootstrap", r->dir);
    copy_file(RIG_PROBE, path, 0755);
    (void)snprintf(path, sizeof path, "%s/code/" RIG_SHA, r->dir);
    write_text(path, "plain", "not a program\n", 0644);
    write_text(path, "junk", "not a program\n", 0755);
    write_text(path, "script", "#!/bin/sh\necho script $1\nexit 3\n", 0755);
    (void)snprintf(path, sizeof path, "%s/runtimes/test", r->dir);
    write_text(path, "hello", "runtime file\n", 0644);
    write_text(r->dir, "workers.lock", "", 0600);
    write_text(r->dir, "secret", "of the host\n", 0644);
    if (as_user) {
        (void)snprintf(from, sizeof from, "chown -R %d:%d %s", RIG_USER, RIG_USER, r->dir);
        assert_int_equal(system(from), 0);
    }
}

static int open_in(const struct rig *r, const char *name, int flags)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", r->dir, name);
    int fd = open(path, flags | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* --- the executor process
 * ------------------------------------------------------------------------------------------------ */

static volatile sig_atomic_t engine_signal;

static void on_engine_signal(int sig)
{
    engine_signal = sig;
}

static pid_t fork_engine(void)
{
    sigset_t both, none;
    (void)sigemptyset(&none);
    (void)sigemptyset(&both);
    (void)sigaddset(&both, SIGTERM);
    (void)sigaddset(&both, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &both, NULL);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGTERM, on_engine_signal);
    (void)signal(SIGINT, on_engine_signal);
    while (engine_signal == 0)
        (void)sigsuspend(&none);
    if (engine_signal == SIGINT)
        (void)raise(SIGKILL);
    _exit(5);
}

uint32_t rig_uid_base(void)
{
    return BOX_UID_BASE + 0x1000000 + (uint32_t)(getpid() & 0xffff) * 16;
}

/* A change of the settings: the role default gets the host's network. */
static void on_hangup(void *arg)
{
    static const struct box_role role = {.name = "default", .network = BOX_NETWORK_HOST};
    struct box_config *c = arg;
    c->roles = &role;
    c->n_roles = 1;
}

static _Noreturn void be_executor(struct rig *r, const struct rig_opts *o, uint32_t uid_base, int sock)
{
    struct box_config c = {.mode = o->mode,
                           .code_fd = r->code_fd,
                           .runtimes_fd = r->runtimes_fd,
                           .init_fd = r->init_fd,
                           .workers_fd = r->workers_fd,
                           .roles = o->roles,
                           .n_roles = o->n_roles,
                           .uid_base = uid_base,
                           .max_workers = RIG_WORKERS - 1};
    c.on_hangup = on_hangup;
    c.hangup_arg = &c;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setpgid(0, 0);
    if (o->as_user && geteuid() == 0)
        if (setgroups(0, NULL) < 0 || setresgid(RIG_USER, RIG_USER, RIG_USER) < 0 ||
            setresuid(RIG_USER, RIG_USER, RIG_USER) < 0)
            _exit(99);
    /* A change of uid makes a process undumpable, and its /proc files root's: bided, started by a user, is dumpable. */
    (void)prctl(PR_SET_DUMPABLE, 1);
    log_setup(getenv("RIG_VERBOSE") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, STDERR_FILENO);
    /* A secret that must not show in any box. */
    (void)setenv("RIG_SECRET", "do-not-leak", 1);
    fd_close(&r->sock);
    exit(box_main(&c, sock, o->engine ? fork_engine() : 0));
}

void rig_open(struct rig *r, const struct rig_opts *o)
{
    memset(r, 0, sizeof *r);
    for (size_t i = 0; i < RIG_WORKERS; i++)
        r->w[i].listener = r->w[i].log = r->w[i].peak = -1;
    if (o->dir != NULL) {
        (void)snprintf(r->dir, sizeof r->dir, "%s", o->dir);
        r->keep_dir = true;
    } else {
        make_dir(r, o->as_user);
    }
    r->code_fd = open_in(r, "code", O_RDONLY | O_DIRECTORY);
    r->runtimes_fd = open_in(r, "runtimes", O_RDONLY | O_DIRECTORY);
    r->workers_fd = open_in(r, "workers.lock", O_RDWR);
    r->init_fd = open(RIG_INIT, O_RDONLY | O_CLOEXEC);
    assert_true(r->init_fd >= 0);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    r->sock = pair[0];
    uint32_t uid_base = rig_uid_base();
    r->pid = fork();
    assert_true(r->pid >= 0);
    if (r->pid == 0)
        be_executor(r, o, uid_base, pair[1]);
    (void)close(pair[1]);
    fd_close(&r->workers_fd); /* the lock must be held by the executor process and its boxes alone */
    (void)rig_wait(r, PROTO_HELLO, 0);
}

int rig_end(struct rig *r, int sig)
{
    int status = 0;
    if (r->pid <= 0)
        return 0;
    if (sig != 0)
        (void)kill(r->pid, sig);
    else
        fd_close(&r->sock);
    int64_t end = clock_mono_ms() + RIG_WAIT_MS;
    pid_t got;
    while ((got = waitpid(r->pid, &status, WNOHANG)) == 0 && clock_mono_ms() < end)
        (void)poll(NULL, 0, 2);
    if (got == 0) {
        (void)kill(r->pid, SIGKILL);
        fail_msg("the executor process does not end");
    }
    r->pid = 0;
    return status;
}

void rig_close(struct rig *r)
{
    int status = rig_end(r, SIGTERM);
    fd_close(&r->sock);
    fd_close(&r->code_fd);
    fd_close(&r->runtimes_fd);
    fd_close(&r->init_fd);
    for (size_t i = 0; i < RIG_WORKERS; i++) {
        fd_close(&r->w[i].listener);
        fd_close(&r->w[i].log);
        fd_close(&r->w[i].peak);
    }
    if (!r->keep_dir)
        assert_int_equal(file_remove_tree(AT_FDCWD, r->dir), 0);
    assert_int_equal(status, 0);
}

/* --- messages
 * -------------------------------------------------------------------------------------------------------------- */

struct proto_msg rig_start_msg(uint64_t worker, const char *const *argv)
{
    static const char *const env[] = {"LAMBDA_TASK_ROOT=/var/task", "PATH=/usr/bin:/bin:/opt/bin"};
    struct proto_msg m = {.type = PROTO_START, .worker = worker};
    struct proto_start *s = &m.u.start;
    memcpy(s->code_sha256, RIG_SHA, sizeof RIG_SHA);
    strcpy(s->runtime_dir, "test");
    strcpy(s->role, "any");
    s->memory_mb = 128;
    s->tmp_mb = 16;
    s->nproc = 64;
    s->argv = argv;
    while (argv[s->n_argv] != NULL)
        s->n_argv++;
    s->env = env;
    s->n_env = 2;
    return m;
}

void rig_send(struct rig *r, const struct proto_msg *m)
{
    struct buf b;
    struct err e = {0};
    buf_init(&b, PROTO_MSG_MAX);
    if (proto_encode(m, &b, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(fd_send_msg(r->sock, b.data, b.len, NULL, 0), 0);
    buf_done(&b);
}

void rig_order(struct rig *r, enum proto_type t, uint64_t worker)
{
    struct proto_msg m = {.type = t, .worker = worker};
    rig_send(r, &m);
}

static void keep_fds(struct rig *r, int *fds, size_t n)
{
    struct rig_worker *w = &r->w[r->in.msg.worker % RIG_WORKERS];
    if (r->in.msg.type != PROTO_STARTED) {
        assert_int_equal(n, 0);
        return;
    }
    assert_int_equal(n, r->in.msg.u.started.has_peak ? 3 : 2);
    fd_close(&w->listener);
    fd_close(&w->log);
    fd_close(&w->peak);
    w->listener = fds[PROTO_STARTED_LISTENER];
    w->log = fds[PROTO_STARTED_LOG];
    w->peak = n > 2 ? fds[PROTO_STARTED_PEAK] : -1;
    w->uid = r->in.msg.u.started.uid;
    w->text_len = 0;
}

const struct proto_msg *rig_next(struct rig *r)
{
    static char raw[PROTO_MSG_MAX];
    struct pollfd p = {.fd = r->sock, .events = POLLIN};
    int fds[FD_PASS_MAX];
    size_t len, n_fds;
    struct err e = {0};
    if (poll(&p, 1, RIG_WAIT_MS) != 1)
        fail_msg("no message of the executor process");
    assert_int_equal(fd_recv_msg(r->sock, raw, sizeof raw, &len, fds, &n_fds), 0);
    if (len == 0)
        fail_msg("the executor process is gone");
    if (proto_decode(&r->in, PROTO_FROM_EXECUTOR, raw, len, &e) < 0)
        fail_msg("%s", e.text);
    keep_fds(r, fds, n_fds);
    return &r->in.msg;
}

const struct proto_msg *rig_wait(struct rig *r, enum proto_type t, uint64_t worker)
{
    const struct proto_msg *m = rig_next(r);
    if (m->type == PROTO_START_FAILED && t != PROTO_START_FAILED)
        fail_msg("start failed: %s: %s", m->u.failed.step, m->u.failed.text);
    if (m->type != t || m->worker != worker)
        fail_msg("%s of %d, not %s of %d", proto_type_name(m->type), (int)m->worker, proto_type_name(t), (int)worker);
    return m;
}

void rig_start(struct rig *r, uint64_t worker, const char *const *argv)
{
    struct proto_msg m = rig_start_msg(worker, argv);
    rig_send(r, &m);
    (void)rig_wait(r, PROTO_STARTED, worker);
}

/* --- logs
 * -------------------------------------------------------------------------------------------------------------------
 */

const char *rig_log(struct rig *r, uint64_t worker)
{
    struct rig_worker *w = &r->w[worker];
    while (w->text_len < sizeof w->text - 1) {
        ssize_t n = read(w->log, w->text + w->text_len, sizeof w->text - 1 - w->text_len);
        if (n <= 0)
            break;
        w->text_len += (size_t)n;
    }
    w->text[w->text_len] = '\0';
    return w->text;
}

static const char *find_line(const char *text, const char *begin)
{
    size_t len = strlen(begin);
    for (const char *at = text; at != NULL && *at != '\0'; at = strchr(at, '\n'), at = at != NULL ? at + 1 : NULL)
        if (strncmp(at, begin, len) == 0)
            return at + len;
    return NULL;
}

void rig_wait_log(struct rig *r, uint64_t worker, const char *text)
{
    int64_t end = clock_mono_ms() + RIG_WAIT_MS;
    while (find_line(rig_log(r, worker), text) == NULL) {
        struct pollfd p = {.fd = r->w[worker].log, .events = POLLIN};
        if (clock_mono_ms() > end)
            fail_msg("worker %d never printed \"%s\", but: %s", (int)worker, text, r->w[worker].text);
        (void)poll(&p, 1, 100);
    }
}

void rig_forget_log(struct rig *r, uint64_t worker)
{
    (void)rig_log(r, worker);
    r->w[worker].text_len = 0;
}

const char *rig_result(struct rig *r, uint64_t worker, const char *name)
{
    static char out[256];
    char begin[80];
    (void)snprintf(begin, sizeof begin, "%s ", name);
    const char *at = find_line(rig_log(r, worker), begin);
    if (at == NULL)
        return NULL;
    (void)snprintf(out, sizeof out, "%.*s", (int)strcspn(at, "\n"), at);
    return out;
}

/* --- the host
 * ---------------------------------------------------------------------------------------------------------------- */

int rig_count_uid(uid_t uid)
{
    DIR *d = opendir("/proc");
    const struct dirent *de;
    int n = 0;
    assert_non_null(d);
    while ((de = readdir(d)) != NULL) {
        char path[300];
        if (!isdigit((unsigned char)de->d_name[0]))
            continue;
        /* Undumpable processes' folders are root's: the status knows the uid. */
        (void)snprintf(path, sizeof path, "/proc/%s/status", de->d_name);
        FILE *f = fopen(path, "re");
        char line[256];
        unsigned real = ~0U;
        while (f != NULL && fgets(line, sizeof line, f) != NULL)
            if (sscanf(line, "Uid: %u", &real) == 1)
                break;
        if (f != NULL)
            (void)fclose(f);
        n += real == uid;
    }
    (void)closedir(d);
    return n;
}

bool rig_lock_is_free(const struct rig *r)
{
    int fd = open_in(r, "workers.lock", O_RDWR);
    bool free_now = flock(fd, LOCK_EX | LOCK_NB) == 0;
    fd_close(&fd);
    return free_now;
}
