#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIECE = 64 * 1024, FIRST_OUT = 16 * 1024, LAST_PIECES = 64 };

static int child_fd; /* readable when a child has ended */

static _Noreturn void give_up(const char *what)
{
    dprintf(STDERR_FILENO, "bootstrap: %s: %s\n", what, strerror(errno));
    _exit(1);
}

void run_init(void)
{
    sigset_t chld;
    (void)sigemptyset(&chld);
    (void)sigaddset(&chld, SIGCHLD);
    (void)signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &chld, NULL) < 0)
        give_up("signals");
    child_fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    /* Orphans of the program become ours, so that the daemonised ones are found too. */
    if (child_fd < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        give_up("signalfd");
}

/* --- the program's process ---------------------------------------------------------------------------------------- */

/* Descriptors: ours of the three pipes. -1 closed. */
struct pipes {
    int in, out, err;
};

static _Noreturn void be_program(const char *path, char *const *env, const int std[3], int failed_fd)
{
    sigset_t none;
    char *const argv[] = {(char *)path, NULL};
    (void)setpgid(0, 0);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(std[0], STDIN_FILENO) >= 0 && dup2(std[1], STDOUT_FILENO) >= 0 && dup2(std[2], STDERR_FILENO) >= 0)
        (void)execve(path, argv, env);
    int sys = errno;
    (void)!write(failed_fd, &sys, sizeof sys);
    _exit(127);
}

static void no_wait(int fd)
{
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        give_up("pipe");
}

/* The program's pid; its exec has succeeded, or r->exec_errno says why not and it is reaped. */
static pid_t start(struct run *r, const char *path, char *const *env, struct pipes *p)
{
    int in[2], out[2], err[2], failed[2];
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0 ||
        pipe2(failed, O_CLOEXEC) < 0)
        give_up("pipe");
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork");
    if (pid == 0)
        be_program(path, env, (const int[]){in[0], out[1], err[1]}, failed[1]);
    (void)setpgid(pid, pid);
    (void)close(in[0]);
    (void)close(out[1]);
    (void)close(err[1]);
    (void)close(failed[1]);
    *p = (struct pipes){.in = in[1], .out = out[0], .err = err[0]};
    no_wait(p->in);
    no_wait(p->out);
    no_wait(p->err);
    ssize_t n;
    do
        n = read(failed[0], &r->exec_errno, sizeof r->exec_errno);
    while (n < 0 && errno == EINTR);
    (void)close(failed[0]);
    return pid;
}

/* --- pumping ------------------------------------------------------------------------------------------------------ */

static void shut(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void feed(struct pipes *p, const char *event, size_t len, size_t *at)
{
    ssize_t n = write(p->in, event + *at, len - *at);
    if (n > 0)
        *at += (size_t)n;
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        *at = len; /* it does not want it */
    if (*at == len)
        shut(&p->in);
}

static void keep_out(struct run *r, size_t *cap, const char *p, size_t n)
{
    if (r->too_large || r->out_len + n > RUN_RESULT_MAX) {
        r->too_large = true;
        return;
    }
    if (r->out_len + n > *cap) {
        *cap = *cap == 0 ? FIRST_OUT : *cap;
        while (*cap < r->out_len + n)
            *cap *= 2;
        r->out = realloc(r->out, *cap);
        if (r->out == NULL)
            give_up("memory");
    }
    memcpy(r->out + r->out_len, p, n);
    r->out_len += n;
}

static void keep_err(struct run *r, const char *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t put = write(STDERR_FILENO, p + at, n - at);
        if (put < 0 && errno != EINTR)
            break; /* nobody reads the log any more */
        at += put > 0 ? (size_t)put : 0;
    }
    if (n > sizeof r->tail) {
        p += n - sizeof r->tail;
        n = sizeof r->tail;
    }
    size_t old = r->tail_len + n > sizeof r->tail ? sizeof r->tail - n : r->tail_len;
    memmove(r->tail, r->tail + r->tail_len - old, old);
    memcpy(r->tail + old, p, n);
    r->tail_len = old + n;
}

/* One piece; false when there is no more for now, or for ever (then *fd is closed). */
static bool pump(struct run *r, int *fd, bool is_out, size_t *cap)
{
    static char piece[PIECE];
    ssize_t n = *fd >= 0 ? read(*fd, piece, sizeof piece) : -1;
    if (n == 0)
        shut(fd);
    if (n <= 0)
        return false;
    if (is_out)
        keep_out(r, cap, piece, (size_t)n);
    else
        keep_err(r, piece, (size_t)n);
    return true;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static bool has_ended(pid_t pid)
{
    siginfo_t si = {0};
    return waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid == pid;
}

/* Our children, which the orphans of a round's dead join for the next. False: this cannot be known here. */
static bool kill_children(void)
{
    char path[64], text[4096];
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    shut(&fd);
    if (n < 0)
        return false;
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
    return true;
}

/* The program has ended and is not reaped yet: its number is still its group's. */
static void end_all(struct run *r, pid_t pid)
{
    struct signalfd_siginfo si;
    (void)kill(-pid, SIGKILL);
    (void)waitpid(pid, &r->status, 0);
    while (kill_children())
        if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD)
            break;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
    (void)!read(child_fd, &si, sizeof si);
}

void run_program(struct run *r, const char *path, char *const *env, const char *event, size_t len)
{
    struct pipes p;
    size_t at = 0, cap = 0;
    memset(r, 0, sizeof *r);
    pid_t pid = start(r, path, env, &p);
    if (len == 0)
        shut(&p.in);
    while (!has_ended(pid)) {
        struct pollfd f[] = {{.fd = child_fd, .events = POLLIN},
                             {.fd = p.in, .events = POLLOUT},
                             {.fd = p.out, .events = POLLIN},
                             {.fd = p.err, .events = POLLIN}};
        struct signalfd_siginfo si;
        if (poll(f, 4, -1) < 0)
            continue;
        if (f[0].revents != 0)
            (void)!read(child_fd, &si, sizeof si);
        if (f[1].revents != 0)
            feed(&p, event, len, &at);
        if (f[2].revents != 0)
            (void)pump(r, &p.out, true, &cap);
        if (f[3].revents != 0)
            (void)pump(r, &p.err, false, NULL);
    }
    end_all(r, pid);
    /* Nobody is left who could write: what is in the pipes is the rest. The bound is for a host that does not tell
     * whose children live on. */
    for (int i = 0; i < LAST_PIECES && pump(r, &p.out, true, &cap); i++)
        continue;
    for (int i = 0; i < LAST_PIECES && pump(r, &p.err, false, NULL); i++)
        continue;
    shut(&p.in);
    shut(&p.out);
    shut(&p.err);
}
