/* Opening, closing, the writing thread and what others ask of it. */
#include "logs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdutil.h"
#include "priv.h"

enum { SETTLE_MS = 1000 };

/* --- the world ---------------------------------------------------------------------------------------------------- */

static int64_t real_ms(void *arg)
{
    (void)arg;
    return clock_real_ms();
}

static int64_t mono_ms(void *arg)
{
    (void)arg;
    return clock_mono_ms();
}

static uint64_t disk_free(int fd, void *arg)
{
    struct statvfs v;
    (void)arg;
    if (fstatvfs(fd, &v) < 0)
        return UINT64_MAX; /* unknown is not full: a write will tell */
    return (uint64_t)v.f_bavail * v.f_frsize;
}

static ssize_t plain_write(int fd, const void *p, size_t n, void *arg)
{
    (void)arg;
    return write(fd, p, n);
}

int logs_open_beneath(int dir_fd, const char *path, uint64_t flags, uint64_t mode)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    return (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof how);
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

static int64_t sweep_due_ms(struct logs *l)
{
    return l->swept_ms + (l->wrote || l->disk_short ? SWEEP_MS : SWEEP_IDLE_MS) - l->io.mono_ms(l->io.arg);
}

static bool has_work(const struct logs *l)
{
    return l->fill.len > 0 || !TAILQ_EMPTY(&l->closing);
}

static void wait_ms(struct logs *l, int64_t ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(&l->work, &l->mu, &until);
}

/* Until there is something to do; then a moment more, for others to come along. */
static void wait_for_work(struct logs *l)
{
    while (!has_work(l) && !l->stop && !l->sweep_asked && !l->urgent) {
        int64_t due = sweep_due_ms(l);
        if (due <= 0)
            return;
        wait_ms(l, due);
    }
    int64_t until = clock_mono_ms() + GATHER_MS, now;
    while (has_work(l) && !l->urgent && !l->stop && l->cost < QUEUE_URGENT && (now = clock_mono_ms()) < until)
        wait_ms(l, until - now);
}

static void take_opts(struct logs *l)
{
    l->w = l->o;
    if (l->w.function_max_bytes > l->w.max_bytes)
        l->w.function_max_bytes = l->w.max_bytes;
    l->segment_bytes = l->w.function_max_bytes / 8;
    if (l->segment_bytes > SEGMENT_BYTES_MAX)
        l->segment_bytes = SEGMENT_BYTES_MAX;
    if (l->segment_bytes < SEGMENT_BYTES_MIN)
        l->segment_bytes = SEGMENT_BYTES_MIN;
}

static void one_round(struct logs *l)
{
    struct stream_list closing = TAILQ_HEAD_INITIALIZER(closing);
    struct buf empty = l->taken;
    l->taken = l->fill;
    l->fill = empty;
    l->cost = 0;
    uint64_t round = l->round++;
    int64_t stamp = l->stamp_ms;
    TAILQ_CONCAT(&closing, &l->closing, close_link);
    l->urgent = false;
    pthread_mutex_unlock(&l->mu);
    write_round(l, &closing);
    if (l->taken.cap > QUEUE_URGENT)
        buf_reset(&l->taken);
    else
        buf_clear(&l->taken);
    pthread_mutex_lock(&l->mu);
    l->done_round = round;
    l->done_ms = stamp;
    pthread_cond_broadcast(&l->done);
}

static void *thread_main(void *arg)
{
    struct logs *l = arg;
    sigset_t all;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&l->mu);
    for (;;) {
        take_opts(l);
        if ((l->sweep_asked || sweep_due_ms(l) <= 0) && !l->stop) {
            l->sweep_asked = false;
            l->sweeping = true;
            pthread_mutex_unlock(&l->mu);
            sweep_all(l);
            pthread_mutex_lock(&l->mu);
            l->sweeping = false;
            l->sweeps++;
            pthread_cond_broadcast(&l->done);
        }
        wait_for_work(l);
        take_opts(l);
        if (has_work(l) || l->urgent)
            one_round(l);
        else if (l->stop)
            break;
    }
    pthread_mutex_unlock(&l->mu);
    return NULL;
}

/* --- open, close -------------------------------------------------------------------------------------------------- */

int logs_open_with(struct logs **ret, int dir_fd, const struct logs_opts *o, const struct logs_io *io, struct err *e)
{
    struct logs *l = calloc(1, sizeof *l);
    pthread_condattr_t attr;
    if (l == NULL) {
        fd_close(&dir_fd);
        return err_set(e, ERR_NOMEM, "logs: out of memory");
    }
    l->o = *o;
    l->io = *io;
    l->dir_fd = dir_fd;
    l->stats.on = o->on;
    l->round = 1;
    buf_init(&l->fill, 2 * QUEUE_COST_MAX);
    buf_init(&l->taken, 2 * QUEUE_COST_MAX);
    TAILQ_INIT(&l->closing);
    TAILQ_INIT(&l->dirty);
    TAILQ_INIT(&l->open);
    l->swept_ms = INT64_MIN / 2; /* the first thing it does */
    l->disk_looked_ms = INT64_MIN / 2;
    pthread_mutex_init(&l->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->work, &attr);
    pthread_cond_init(&l->done, &attr);
    pthread_condattr_destroy(&attr);
    int err = pthread_create(&l->thread, NULL, thread_main, l);
    if (err != 0) {
        fd_close(&l->dir_fd);
        free(l);
        return err_sys(e, ERR_IO, err, "logs: no thread");
    }
    *ret = l;
    return 0;
}

int logs_open(struct logs **ret, int dir_fd, const struct logs_opts *o, struct err *e)
{
    static const struct logs_io world = {
        .real_ms = real_ms, .mono_ms = mono_ms, .disk_free = disk_free, .write = plain_write};
    return logs_open_with(ret, dir_fd, o, &world, e);
}

void logs_close(struct logs *l)
{
    if (l == NULL)
        return;
    pthread_mutex_lock(&l->mu);
    BIDE_ASSERT(l->stats.streams == 0, "%llu log streams are open", (unsigned long long)l->stats.streams);
    l->stop = true;
    logs_wake(l);
    pthread_mutex_unlock(&l->mu);
    (void)pthread_join(l->thread, NULL);
    struct logs_fn *f, *next;
    HASH_ITER (hh, l->fns, f, next) {
        HASH_DEL(l->fns, f);
        free(f);
    }
    buf_done(&l->fill);
    buf_done(&l->taken);
    fd_close(&l->dir_fd);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->done);
    pthread_mutex_destroy(&l->mu);
    free(l);
}

/* --- what others ask ---------------------------------------------------------------------------------------------- */

void logs_stats(struct logs *l, struct logs_stats *ret)
{
    pthread_mutex_lock(&l->mu);
    *ret = l->stats;
    pthread_mutex_unlock(&l->mu);
}

void logs_set(struct logs *l, const struct logs_opts *o)
{
    pthread_mutex_lock(&l->mu);
    l->o = *o;
    l->stats.on = o->on;
    l->sweep_asked = true; /* what is kept may be less now */
    logs_wake(l);
    pthread_mutex_unlock(&l->mu);
}

void logs_sweep_now(struct logs *l)
{
    pthread_mutex_lock(&l->mu);
    uint64_t want = l->sweeps + (l->sweeping ? 2 : 1); /* one under way may be past what it is asked for */
    l->sweep_asked = true;
    logs_wake(l);
    while (l->sweeps < want)
        pthread_cond_wait(&l->done, &l->mu);
    pthread_mutex_unlock(&l->mu);
}

/* A line put after this is stamped later than what is returned: that millisecond is closed. */
int64_t logs_settle(struct logs *l)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += SETTLE_MS / 1000;
    pthread_mutex_lock(&l->mu);
    int64_t now = l->io.real_ms(l->io.arg), bound = now > l->stamp_ms ? now : l->stamp_ms;
    l->floor_ms = bound + 1;
    uint64_t round = l->round;
    int rc = 0;
    if (has_work(l) || l->done_round + 1 < round) {
        l->urgent = true;
        logs_wake(l);
        while (rc == 0 && l->done_round < round)
            rc = pthread_cond_timedwait(&l->done, &l->mu, &until);
    }
    if (rc != 0)
        bound = l->done_ms - 1; /* the disk hangs: what is there is there */
    pthread_mutex_unlock(&l->mu);
    return bound;
}
