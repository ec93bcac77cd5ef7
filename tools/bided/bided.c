/* bided: the daemon. Reads the settings, opens what needs privileges, then becomes two processes: this one, which goes
 * on as the executor process, and the engine, its unprivileged child.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "base/log.h"
#include "base/settings.h"
#include "check.h"
#include "datadir.h"
#include "engine.h"
#include "executor_box/box.h"
#include "identity.h"
#include "listen.h"
#include "options.h"
#include "reload.h"

#ifndef BIDE_VERSION
#error "the build gives BIDE_VERSION"
#endif

enum { SMALLEST_WORKER_MB = 128 };

/* Everything opened before the two processes part. */
struct opened {
    struct settings *settings;
    struct identity who;
    struct datadir dir;
    struct listen_set listen;
    struct api_key key;
    struct box_config box;
    struct box_role roles[BOX_ROLES_MAX];
    struct reload reload; /* this process's end */
};

static int die(const struct err *e, int code)
{
    (void)fprintf(stderr, "bided: %s\n", e->text[0] != '\0' ? e->text : err_name(code));
    return EXIT_FAILURE;
}

/* --- the executor process's part ---------------------------------------------------------------------------------- */

static int check_roles(const struct settings *s, struct err *e)
{
    const struct setting_role *r;
    size_t n = settings_roles(s, &r);
    if (n > BOX_ROLES_MAX)
        return err_set(e, ERR_INVALID, "more than %d roles", BOX_ROLES_MAX);
    for (size_t i = 0; i < n; i++)
        if (strcmp(r[i].network, "outbound") == 0)
            return err_set(
                e, ERR_INVALID,
                "role \"%s\": network = outbound cannot be given to workers by this version; use none, or host if the "
                "function may see the host's network",
                r[i].name);
    return 0;
}

/* Of settings that check_roles let pass. */
static void take_roles(struct opened *p, const struct settings *s)
{
    const struct setting_role *r;
    size_t n = settings_roles(s, &r);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(p->roles[i].name, sizeof p->roles[i].name, "%s", r[i].name);
        p->roles[i].network = strcmp(r[i].network, "host") == 0 ? BOX_NETWORK_HOST : BOX_NETWORK_NONE;
    }
    p->box.roles = p->roles;
    p->box.n_roles = n;
}

/* SIGHUP, between two turns of the executor process. Roles are this process's, everything else is the engine's: both
 * are changed, or neither. The engine's next request comes after this turn. */
static void on_hangup(void *arg)
{
    struct opened *p = arg;
    struct settings *fresh = NULL;
    struct err e = {0};
    int text = -1;
    int rc = reload_read(&p->reload, &fresh, &text, &e);
    if (rc == 0)
        rc = check_roles(fresh, &e);
    if (rc == 0) {
        rc = reload_send(&p->reload, text, &e);
        text = -1;
    }
    if (rc == 0) {
        settings_log(fresh);
        take_roles(p, fresh);
    }
    fd_close(&text);
    settings_free(fresh);
    if (rc < 0)
        log_error("bided", "SIGHUP: nothing is changed: %s", e.text);
}

/* bided stands in PREFIX/bin; what it needs is found from there, so that an installation can be moved. */
static int find_parts(struct opened *p, struct err *e)
{
    char exe[PATH_MAX], init[PATH_MAX], runtimes[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n < 0)
        return err_sys(e, ERR_IO, errno, "/proc/self/exe");
    exe[n] = '\0';
    const char *bin = dirname(exe);
    if (snprintf(runtimes, sizeof runtimes, "%s/../libexec/bide/runtimes", bin) >= (int)sizeof runtimes ||
        snprintf(init, sizeof init, "%s/../libexec/bide/bide-init", bin) >= (int)sizeof init)
        return err_set(e, ERR_INVALID, "the path of bided is too long");
    p->box.init_fd = open(init, O_RDONLY | O_CLOEXEC);
    if (p->box.init_fd < 0)
        return err_sys(e, ERR_IO, errno, "%s (bided is not installed whole)", init);
    p->box.runtimes_fd = open(runtimes, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->box.runtimes_fd < 0)
        return err_sys(e, ERR_IO, errno, "%s (bided is not installed whole)", runtimes);
    return 0;
}

static int configure_box(struct opened *p, struct err *e)
{
    const char *mode = settings_str(p->settings, SET_SANDBOX);
    int64_t workers = (settings_int(p->settings, SET_WORKER_MEMORY) >> 20) / SMALLEST_WORKER_MB;
    p->box.mode = strcmp(mode, "off") == 0 ? BOX_OFF : strcmp(mode, "relaxed") == 0 ? BOX_RELAXED : BOX_STRICT;
    p->box.code_fd = p->dir.code_fd;
    p->box.workers_fd = p->dir.workers_fd;
    p->box.max_workers = (uint32_t)(workers < 1 ? 1 : workers > BOX_WORKERS_MAX ? BOX_WORKERS_MAX : workers);
    int rc = check_roles(p->settings, e);
    if (rc < 0)
        return rc;
    take_roles(p, p->settings);
    return find_parts(p, e);
}

static int probe_box(const struct opened *p, struct err *e)
{
    struct box_fences *f = calloc(1, sizeof *f);
    if (f == NULL)
        return err_set(e, ERR_NOMEM, "out of memory");
    int rc = box_probe(&p->box, f, e);
    free(f);
    return rc;
}

/* Without a sandbox, who can send code can do what the daemon can. */
static int refuse_open_door(const struct opened *p, bool loopback_only, struct err *e)
{
    if (p->box.mode != BOX_OFF || loopback_only)
        return 0;
    return err_set(e, ERR_INVALID,
                   "sandbox = off is refused when listening on other than loopback: functions would run with no fence "
                   "at all for whoever can reach %s",
                   settings_str(p->settings, SET_LISTEN));
}

/* --- the two processes -------------------------------------------------------------------------------------------- */

static _Noreturn void become_engine(struct opened *p, int sock, int reload_sock, pid_t parent)
{
    struct err e = {0};
    p->reload.sock = reload_sock;
    struct engine_opts eo = {.settings = p->settings,
                             .reload = p->reload,
                             .listen = &p->listen,
                             .executor_sock = sock,
                             .dir_fd = p->dir.fd,
                             .code_fd = p->dir.code_fd,
                             .key = p->key,
                             .unix_uids = {0, (uint32_t)p->who.uid, (uint32_t)getuid()},
                             .n_unix_uids = 3,
                             .runtimes_fd = p->box.runtimes_fd,
                             .version = BIDE_VERSION};
    fd_close(&p->box.init_fd);
    fd_close(&p->dir.workers_fd);
    if (fchdir(p->dir.fd) < 0) {
        (void)err_sys(&e, ERR_IO, errno, "data directory");
        exit(die(&e, ERR_IO));
    }
    int rc = identity_assume(&p->who, &e);
    if (rc < 0)
        exit(die(&e, rc));
    /* A change of identity clears the parent-death signal: it is asked for after it, and the parent looked for after
     * that. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(EXIT_LOST_PEER);
    int status = engine_main(&eo);
    settings_free(p->settings);
    exit(status);
}

/* A stop that comes while the two processes begin waits until both look for it: the engine would die of it, which looks
 * like a crash to the other. Before the fork nothing has begun, and the process just ends. */
static void hold_stop(void)
{
    sigset_t s;
    (void)sigemptyset(&s);
    (void)sigaddset(&s, SIGTERM);
    (void)sigaddset(&s, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &s, NULL);
}

static int run(struct opened *p, struct err *e)
{
    int sv[2], reload[2];
    pid_t parent = getpid();
    hold_stop();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, reload) < 0)
        return die(e, err_sys(e, ERR_IO, errno, "socketpair"));
    (void)fflush(NULL);
    pid_t engine = fork();
    if (engine < 0)
        return die(e, err_sys(e, ERR_IO, errno, "fork"));
    if (engine == 0) {
        close(sv[0]);
        close(reload[0]);
        become_engine(p, sv[1], reload[1], parent);
    }
    close(sv[1]);
    close(reload[1]);
    p->reload.sock = reload[0];
    p->box.on_hangup = on_hangup;
    p->box.hangup_arg = p;
    listen_close(&p->listen);
    explicit_bzero(&p->key, sizeof p->key);
    return box_main(&p->box, sv[0], engine);
}

static int open_all(struct opened *p, const struct options *o, struct err *e)
{
    int rc = settings_load(&p->settings, o->config, o->sets, o->n_sets, e);
    if (rc < 0)
        return rc;
    settings_log(p->settings);
    rc = identity_find(&p->who, settings_str(p->settings, SET_USER), e);
    if (rc == 0)
        rc = datadir_open(&p->dir, o->data, p->who.uid, p->who.gid, e);
    if (rc == 0)
        rc = configure_box(p, e);
    if (rc == 0)
        rc = probe_box(p, e);
    if (rc == 0)
        rc = datadir_credentials(&p->dir, &p->key, e);
    if (rc == 0)
        rc = listen_open(&p->listen, settings_str(p->settings, SET_LISTEN), e);
    if (rc == 0)
        rc = refuse_open_door(p, p->listen.loopback_only, e);
    if (rc == 0)
        rc = listen_open_unix(&p->listen, p->dir.fd, "bide.sock", p->who.uid, p->who.gid, e);
    return rc;
}

/* --check: the same questions, in their order, each answered whatever became of those before it. */
static int check(struct opened *p, const struct options *o)
{
    struct check c = {0};
    struct err e = {0};
    bool loopback_only = true;
    int rc = settings_load(&p->settings, o->config, o->sets, o->n_sets, &e);
    check_result(&c, "settings", rc, &e);
    if (rc < 0)
        return check_end(&c);
    check_line(&c, CHECK_OK, "settings", "%s, %zu on the command line", o->config != NULL ? o->config : "no file",
               o->n_sets);
    rc = identity_find(&p->who, settings_str(p->settings, SET_USER), &e);
    check_result(&c, "user", rc, &e);
    if (rc == 0)
        check_line(&c, CHECK_OK, "user", "the engine runs as uid %u", (unsigned)p->who.uid);
    check_datadir(&c, o->data, &p->who, p->settings);
    check_listen(&c, o->data, settings_str(p->settings, SET_LISTEN), &loopback_only);
    rc = configure_box(p, &e);
    check_result(&c, "installation and roles", rc, &e);
    if (rc == 0) {
        check_result(&c, "sandbox", refuse_open_door(p, loopback_only, &e), &e);
        check_sandbox(&c, &p->box);
        check_runtimes(&c, p->box.runtimes_fd);
    }
    return check_end(&c);
}

/* From the beginning: one that comes before box_main looks for it waits, instead of ending the process. */
static void hold_hangup(void)
{
    sigset_t s;
    (void)sigemptyset(&s);
    (void)sigaddset(&s, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &s, NULL);
}

/* Descriptors are the ceiling of connections and workers: as many as may be had. ERR_INVALID: not enough for the two
 * processes and a first worker. */
static int raise_descriptors(struct err *e)
{
    enum { FEWEST = 128 };
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return err_sys(e, ERR_IO, errno, "limit on open files");
    if (r.rlim_max < FEWEST)
        return err_set(e, ERR_INVALID,
                       "at most %llu files may be open (ulimit -n): %d are needed, more for many workers",
                       (unsigned long long)r.rlim_max, FEWEST);
    r.rlim_cur = r.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &r);
    return 0;
}

/* Memory in use does not grow over months, so what the processes hold must not either. By default malloc gives every
 * thread a heap of its own and keeps ever larger buffers in them once one of that size was freed: with payloads of all
 * sizes coming and going, holes were most of what a long-running engine held, and there were more of them every hour.
 */
static void hold_no_holes(void)
{
    enum { ARENAS = 2, MAPPED_FROM = 128 << 10, KEPT_AT_TOP = 128 << 10 };
    (void)mallopt(M_ARENA_MAX, ARENAS);
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_FROM); /* fixed by being set */
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_AT_TOP);
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct opened p = {.box = {.code_fd = -1, .runtimes_fd = -1, .init_fd = -1, .workers_fd = -1}, .dir = {.fd = -1}};
    struct err e = {0};
    int status;
    if (options_parse(argc, argv, BIDE_VERSION, &o, &status) < 0)
        return status;
    hold_no_holes();
    (void)umask(0077);
    (void)signal(SIGPIPE, SIG_IGN);
    int rc = raise_descriptors(&e);
    if (rc < 0)
        return die(&e, rc);
    if (o.check) {
        status = check(&p, &o);
        settings_free(p.settings);
        return status;
    }
    hold_hangup();
    rc = open_all(&p, &o, &e);
    if (rc < 0) {
        settings_free(p.settings);
        return die(&e, rc);
    }
    p.reload = (struct reload){.config = o.config, .sets = o.sets, .n_sets = o.n_sets, .sock = -1};
    if (p.box.mode == BOX_OFF)
        log_warn("bided", "sandbox = off: functions run with no fence at all");
    status = run(&p, &e);
    settings_free(p.settings);
    return status;
}
