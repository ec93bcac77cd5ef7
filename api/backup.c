#include "backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdutil.h"

enum { PIECE = 64 * 1024, NICE = 10, POLL_MS = 1000 };

struct backup {
    struct backup_opts o;
    int rd, wr; /* of the pipe to the reader; wr is the thread's */
    pthread_t thread;
    int64_t began_ms, waited_ms; /* waited: for the reader */
    uint64_t files, bytes, sent;
    int rc;
    struct err e;
    char piece[PIECE];
};

/* The store's own copying, which writes raw bytes into a pipe of its own. */
struct copier {
    struct backup *b;
    int wr;
    int rc;
    struct err e;
};

/* --- writing at the reader's pace ----- */

/* The pipe is full: wait for its reader, who may not take for ever. */
static int wait_for_reader(struct backup *b)
{
    struct pollfd pfd = {.fd = b->wr, .events = POLLOUT};
    int64_t from_ms = clock_mono_ms();
    (void)poll(&pfd, 1, POLL_MS);
    b->waited_ms += clock_mono_ms() - from_ms;
    if (b->waited_ms <= BACKUP_STALL_MS + (int64_t)(b->sent * 1000 / BACKUP_PACE_BYTES_PER_S))
        return 0;
    return err_set(&b->e, ERR_BUSY, "given up: its reader takes less than %d KiB/s", BACKUP_PACE_BYTES_PER_S >> 10);
}

static int put(struct backup *b, const void *p, size_t len)
{
    const char *at = p;
    while (len > 0) {
        ssize_t n = write(b->wr, at, len);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
            b->sent += (uint64_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            int rc = wait_for_reader(b);
            if (rc < 0)
                return rc;
        } else if (n < 0 && errno != EINTR) {
            return err_sys(&b->e, ERR_IO, errno, "its reader has gone");
        }
    }
    return 0;
}

BIDE_PRINTF(2, 3) static int put_head(struct backup *b, const char *fmt, ...)
{
    char line[128];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    return put(b, line, (size_t)n);
}

static int put_file(struct backup *b, const char *folder, const char *name, const char *ending)
{
    b->files++;
    return put_head(b, "file %s%s%s\n", folder, name, ending);
}

static int put_data(struct backup *b, const void *p, size_t len)
{
    b->bytes += len;
    int rc = put_head(b, "data %zu\n", len);
    return rc == 0 ? put(b, p, len) : rc;
}

/* The disk is others' too: no more than BACKUP_RATE_BYTES_PER_S, on the average. */
static void keep_rate(const struct backup *b)
{
    int64_t due_ms = b->began_ms + (int64_t)(b->bytes * 1000 / BACKUP_RATE_BYTES_PER_S);
    int64_t wait_ms = due_ms - clock_mono_ms();
    if (wait_ms <= 0)
        return;
    struct timespec ts = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
    (void)nanosleep(&ts, NULL);
}

/* All that fd gives, as data of the file just begun. */
static int put_all(struct backup *b, int fd, const char *what)
{
    for (;;) {
        ssize_t n = read(fd, b->piece, sizeof(b->piece));
        if (n == 0)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        int rc = n < 0 ? err_sys(&b->e, ERR_IO, errno, "%s cannot be read", what) : put_data(b, b->piece, (size_t)n);
        if (rc < 0)
            return rc;
        keep_rate(b);
    }
}

/* --- what is in it ----- */

/* Others' work comes first. Of a thread, on Linux. */
static void step_back(void)
{
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
}

static void *copy_store(void *arg)
{
    struct copier *c = arg;
    /* Page by page, LMDB holds the writer's lock for a moment at the beginning: not with a low priority. */
    if (c->b->o.compact)
        step_back();
    c->rc = store_copy(c->b->o.store, c->wr, c->b->o.compact ? STORE_COPY_COMPACT : 0, &c->e);
    fd_close(&c->wr);
    return NULL;
}

static int put_store(struct backup *b)
{
    struct copier c = {.b = b};
    pthread_t thread;
    int p[2];
    int rc = put_file(b, "queue/", "data.mdb", "");
    if (rc < 0)
        return rc;
    if (pipe2(p, O_CLOEXEC) < 0)
        return err_sys(&b->e, ERR_IO, errno, "pipe");
    c.wr = p[1];
    int sys = pthread_create(&thread, NULL, copy_store, &c);
    if (sys != 0) {
        fd_close(&p[0]);
        fd_close(&p[1]);
        return err_sys(&b->e, ERR_IO, sys, "thread");
    }
    rc = put_all(b, p[0], "the store's copy");
    fd_close(&p[0]); /* a copier still writing is told so */
    pthread_join(thread, NULL);
    if (rc == 0 && c.rc < 0) {
        rc = c.rc;
        b->e = c.e;
    }
    return rc;
}

static int put_package(const char *sha256, int fd, int64_t zip_bytes, void *arg)
{
    struct backup *b = arg;
    (void)zip_bytes;
    int rc = put_file(b, "code/", sha256, ".zip");
    return rc == 0 ? put_all(b, fd, "a package") : rc;
}

static int put_credentials(struct backup *b)
{
    if (!b->o.credentials)
        return 0;
    int rc = put_file(b, "credentials", "", "");
    return rc == 0 ? put_data(b, b->o.credentials, strlen(b->o.credentials)) : rc;
}

static void *make(void *arg)
{
    struct backup *b = arg;
    step_back();
    registry_code_hold(b->o.registry);
    int rc = put_head(b, "bide-backup 1\n");
    if (rc == 0)
        rc = put_store(b);
    if (rc == 0) {
        rc = registry_code_each(b->o.registry, put_package, b);
        if (rc < 0 && b->e.code == 0)
            (void)err_sys(&b->e, rc, errno, "the packages cannot be read");
    }
    if (rc == 0)
        rc = put_credentials(b);
    if (rc == 0)
        rc = put_head(b, "end %" PRIu64 " %" PRIu64 "\n", b->files, b->bytes);
    registry_code_unhold(b->o.registry);
    b->rc = rc;
    fd_close(&b->wr);
    b->o.on_done(b->o.arg);
    return NULL;
}

/* --- its life ----- */

int backup_start(struct backup **ret, const struct backup_opts *o, struct err *e)
{
    struct backup *b = calloc(1, sizeof(*b));
    int p[2];
    sigset_t all, old;
    if (!b)
        return err_set(e, ERR_NOMEM, "backup: out of memory");
    b->o = *o;
    b->rd = b->wr = -1;
    b->began_ms = clock_mono_ms();
    int rc = pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0 ? err_sys(e, ERR_IO, errno, "backup: pipe") : 0;
    if (rc == 0) {
        b->rd = p[0];
        b->wr = p[1];
        sigfillset(&all); /* signals are the loops' business, and a broken pipe comes back as an error */
        pthread_sigmask(SIG_SETMASK, &all, &old);
        int sys = pthread_create(&b->thread, NULL, make, b);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        rc = sys != 0 ? err_sys(e, ERR_IO, sys, "backup: thread") : 0;
    }
    if (rc < 0) {
        fd_close(&b->rd);
        fd_close(&b->wr);
        free(b);
        return rc;
    }
    *ret = b;
    return 0;
}

int backup_fd(const struct backup *b)
{
    return b->rd;
}

void backup_stop(struct backup *b)
{
    fd_close(&b->rd);
}

int backup_result(const struct backup *b, struct err *e)
{
    if (b->rc < 0 && e)
        *e = b->e;
    return b->rc;
}

void backup_free(struct backup *b)
{
    if (!b)
        return;
    pthread_join(b->thread, NULL);
    fd_close(&b->rd);
    free(b);
}
