/* bide-init: PID 1 of a box. Static and free of dependencies: it is executed from a sealed memfd with an empty
 * environment, so that nothing of the executor process's memory is left in the box and nothing in the box can overwrite
 * a program that the host will run again (CVE-2019-5736).
 *
 * It starts the program, reaps everybody, tells when the program ended, and on request kills everything but itself and
 * starts the program anew. The program is not PID 1 because signals with default action do not reach a PID 1 and nobody
 * would reap its orphans. It is also the one that holds workers.lock: the lock lives as long as anything of the box
 * does.
 *
 * Outside a pid namespace (sandbox = off) it is the subreaper of its tree instead and never uses kill(-1).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl.h"

struct job {
    uint32_t flags;
    struct sock_fprog filter;
    char *argv[JOB_STRINGS_MAX + 1];
    char *env[JOB_STRINGS_MAX + 1];
};

static struct job job;
static sigset_t no_signals;

static void tell(enum ctl_kind kind, int sys, int status, const char *step)
{
    struct ctl_msg m = {.kind = (uint32_t)kind, .sys = sys, .status = status};
    if (step != NULL)
        (void)snprintf(m.step, sizeof m.step, "%s", step);
    /* A lost executor process shows as end of file in the loop. */
    (void)send(INIT_FD_CTL, &m, sizeof m, MSG_NOSIGNAL);
}

static _Noreturn void give_up(const char *step)
{
    tell(CTL_FAIL, errno, 0, step);
    _exit(1);
}

/* --- the job ------------------------------------------------------------------------------------------------------ */

static char *take_strings(char *at, const char *end, uint32_t n, char **out)
{
    if (n > JOB_STRINGS_MAX)
        return NULL;
    for (uint32_t i = 0; i < n; i++) {
        char *nul = memchr(at, '\0', (size_t)(end - at));
        if (nul == NULL)
            return NULL;
        out[i] = at;
        at = nul + 1;
    }
    out[n] = NULL;
    return at;
}

static void read_job(void)
{
    struct stat st;
    if (fstat(INIT_FD_JOB, &st) < 0)
        give_up("job");
    size_t size = (size_t)st.st_size;
    char *base = mmap(NULL, size, PROT_READ, MAP_PRIVATE, INIT_FD_JOB, 0);
    if (base == MAP_FAILED)
        give_up("job");
    const struct job_head *h = (const struct job_head *)(const void *)base;
    errno = EBADMSG;
    if (size < sizeof *h || h->magic != JOB_MAGIC || h->n_insns > JOB_INSNS_MAX ||
        size != sizeof *h + h->n_insns * sizeof(struct sock_filter) + h->text_len || h->n_argv == 0)
        give_up("job");
    job.flags = h->flags;
    job.filter.len = (unsigned short)h->n_insns;
    job.filter.filter = (struct sock_filter *)(void *)(base + sizeof *h);
    char *text = base + sizeof *h + h->n_insns * sizeof(struct sock_filter);
    char *env = take_strings(text, base + size, h->n_argv, job.argv);
    if (env == NULL || take_strings(env, base + size, h->n_env, job.env) == NULL)
        give_up("job");
    (void)close(INIT_FD_JOB);
}

/* --- the last fences, put up by the program's own process -----------------------------------------------------------
 */

/* Landlock's numbers beyond what the oldest supported headers know. Writing is what it fences here: reading is already
 * limited to what is mounted, and a second rule set over /usr would only cost. */
struct ll_ruleset {
    uint64_t fs, net, scoped;
};
struct ll_beneath {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

enum {
    LL_WRITE_FILE = 1 << 1,
    LL_REMOVE_DIR = 1 << 4,
    LL_REMOVE_FILE = 1 << 5,
    LL_MAKE_CHAR = 1 << 6,
    LL_MAKE_DIR = 1 << 7,
    LL_MAKE_REG = 1 << 8,
    LL_MAKE_SOCK = 1 << 9,
    LL_MAKE_FIFO = 1 << 10,
    LL_MAKE_BLOCK = 1 << 11,
    LL_MAKE_SYM = 1 << 12,
    LL_REFER = 1 << 13,
    LL_TRUNCATE = 1 << 14,
    LL_RULE_BENEATH = 1,
    LL_VERSION = 1, /* flag of create_ruleset */
    LL_SCOPE_ABSTRACT_UNIX = 1 << 0,
    LL_SCOPE_SIGNAL = 1 << 1,
};

static void allow_beneath(int ruleset, const char *path, uint64_t access)
{
    struct ll_beneath b = {.allowed = access, .parent_fd = open(path, O_PATH | O_CLOEXEC)};
    if (b.parent_fd < 0)
        return;
    (void)syscall(SYS_landlock_add_rule, ruleset, LL_RULE_BENEATH, &b, 0);
    (void)close(b.parent_fd);
}

/* Best effort on top of namespaces: a kernel without it is no failure. */
static void add_landlock(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LL_VERSION);
    if (abi < 1)
        return;
    uint64_t dirs = LL_REMOVE_DIR | LL_REMOVE_FILE | LL_MAKE_DIR | LL_MAKE_REG | LL_MAKE_SOCK | LL_MAKE_FIFO |
                    LL_MAKE_SYM | LL_WRITE_FILE;
    if (abi >= 2)
        dirs |= LL_REFER;
    if (abi >= 3)
        dirs |= LL_TRUNCATE;
    struct ll_ruleset r = {.fs = dirs | LL_MAKE_CHAR | LL_MAKE_BLOCK};
    if (abi >= 6)
        r.scoped = LL_SCOPE_ABSTRACT_UNIX | LL_SCOPE_SIGNAL;
    size_t len = abi >= 6 ? sizeof r : abi >= 4 ? offsetof(struct ll_ruleset, scoped) : sizeof r.fs;
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &r, len, 0);
    if (ruleset < 0)
        return;
    allow_beneath(ruleset, "/tmp", dirs);
    uint64_t file = LL_WRITE_FILE | (abi >= 3 ? LL_TRUNCATE : 0);
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"};
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++)
        allow_beneath(ruleset, devices[i], file);
    (void)syscall(SYS_landlock_restrict_self, ruleset, 0);
    (void)close(ruleset);
}

/* Between fork and exec. An errno on the pipe says that it did not come to the exec, end of file that it did. */
static _Noreturn void be_program(int failed_fd)
{
    (void)setsid();
    for (int s = 1; s < NSIG; s++)
        if (s != SIGKILL && s != SIGSTOP)
            (void)signal(s, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, &no_signals, NULL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)umask(022);
    if ((job.flags & JOB_LANDLOCK) != 0)
        add_landlock();
    int rc = 0;
    if ((job.flags & JOB_FREEZER) != 0 && write(INIT_FD_FREEZER, "0", 1) != 1)
        rc = -1;
    if (rc == 0)
        rc = (int)syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
    if (rc == 0 && job.filter.len > 0)
        rc = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &job.filter);
    if (rc == 0)
        (void)execve(job.argv[0], job.argv, job.env);
    int sys = errno;
    (void)!write(failed_fd, &sys, sizeof sys);
    _exit(127);
}

/* The program's pid, or -1 with the reason in *ret_errno. Waits for the exec itself, so that the caller knows. */
static pid_t start_program(int *ret_errno)
{
    int failed[2];
    *ret_errno = 0;
    if (pipe2(failed, O_CLOEXEC) < 0)
        give_up("pipe");
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork");
    if (pid == 0)
        be_program(failed[1]);
    (void)close(failed[1]);
    ssize_t n;
    do
        n = read(failed[0], ret_errno, sizeof *ret_errno);
    while (n < 0 && errno == EINTR);
    (void)close(failed[0]);
    if (n == 0)
        return pid;
    (void)waitpid(pid, NULL, 0);
    return -1;
}

/* --- killing ------------------------------------------------------------------------------------------------------ */

/* Direct children only, but each round's orphans become direct children of the subreaper in the next. */
static void kill_children(void)
{
    char path[64], text[4096];
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        (void)close(fd);
    if (n <= 0)
        return;
    text[n] = '\0';
    if ((size_t)n == sizeof text - 1) /* cut: the last number may be half a number */
        *(strrchr(text, ' ') != NULL ? strrchr(text, ' ') : text) = '\0';
    for (char *at = text, *end; *at != '\0'; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at)
            break;
        if (pid > 1)
            (void)kill((pid_t)pid, SIGKILL);
    }
}

static void kill_everybody(void)
{
    bool boxed = (job.flags & JOB_BOXED) != 0 && getpid() == 1;
    for (;;) {
        if (boxed)
            (void)kill(-1, SIGKILL);
        else
            kill_children();
        pid_t pid = waitpid(-1, NULL, 0);
        if (pid < 0 && errno == ECHILD)
            return;
    }
}

/* --- the life ----------------------------------------------------------------------------------------------------- */

static pid_t start_and_tell(enum ctl_kind kind)
{
    int sys;
    pid_t pid = start_program(&sys);
    tell(kind, 0, 0, NULL);
    if (pid < 0)
        tell(CTL_EXITED, sys, 0, NULL);
    return pid;
}

static pid_t reap(pid_t program)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == program) {
            tell(CTL_EXITED, 0, status, NULL);
            program = -1;
        }
    return program;
}

static pid_t obey(pid_t program)
{
    struct ctl_msg m;
    ssize_t n = recv(INIT_FD_CTL, &m, sizeof m, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return program;
    if (n == (ssize_t)sizeof m && m.kind == CTL_RESET) {
        kill_everybody();
        return start_and_tell(CTL_RESET_DONE);
    }
    /* CTL_STOP, or the executor process is gone. */
    kill_everybody();
    _exit(0);
}

int main(void)
{
    /* After the exec, which sets it again: with the program's uid, an undumpable init's memory, environment and
     * descriptors cannot be looked at from inside the box. */
    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        give_up("dumpable");
    sigset_t all, chld;
    (void)sigfillset(&all);
    (void)sigemptyset(&no_signals);
    (void)sigemptyset(&chld);
    (void)sigaddset(&chld, SIGCHLD);
    if (sigprocmask(SIG_SETMASK, &all, NULL) < 0)
        give_up("signals");
    (void)signal(SIGCHLD, SIG_DFL);
    int child_fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    if (child_fd < 0)
        give_up("signalfd");
    read_job();
    if ((job.flags & JOB_BOXED) == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        give_up("subreaper");
    pid_t program = start_and_tell(CTL_UP);
    for (;;) {
        struct pollfd p[2] = {{.fd = INIT_FD_CTL, .events = POLLIN}, {.fd = child_fd, .events = POLLIN}};
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[1].revents != 0) {
            struct signalfd_siginfo si;
            (void)!read(child_fd, &si, sizeof si);
            program = reap(program);
        }
        if (p[0].revents != 0)
            program = obey(program);
    }
}
