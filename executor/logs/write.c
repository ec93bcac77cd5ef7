/* The writer: records become lines, lines of a round become one write per stream. All of it on the writing thread. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdutil.h"
#include "priv.h"

/* --- what an operator is told ------------------------------------------------------------------------------------- */

BIDE_PRINTF(3, 4) static void set_state(struct logs *l, bool stopped, const char *fmt, ...)
{
    va_list ap;
    pthread_mutex_lock(&l->mu);
    bool changed = l->stats.stopped != stopped;
    l->stats.stopped = stopped;
    va_start(ap, fmt);
    (void)vsnprintf(l->stats.why, sizeof l->stats.why, fmt, ap);
    va_end(ap);
    pthread_mutex_unlock(&l->mu);
    if (changed && l->w.on_stopped != NULL)
        l->w.on_stopped(l->w.arg);
}

static void count(struct logs *l, uint64_t written, uint64_t lost)
{
    pthread_mutex_lock(&l->mu);
    l->stats.written_bytes += written;
    l->stats.lost_bytes += lost;
    l->stats.bytes = l->total;
    pthread_mutex_unlock(&l->mu);
}

/* The queue's reserve must never be what a log line takes: logs stop long before the queue would refuse. */
bool write_disk_has_room(struct logs *l)
{
    int64_t now = l->io.mono_ms(l->io.arg);
    if (now - l->disk_looked_ms < DISK_LOOK_MS && l->since_look < DISK_LOOK_BYTES)
        return !l->disk_short;
    l->disk_looked_ms = now;
    l->since_look = 0;
    uint64_t keep = 2 * l->w.reserve_bytes, room = l->io.disk_free(l->dir_fd, l->io.arg);
    bool is_short = room < keep + (l->disk_short ? keep / 8 : 0);
    if (is_short != l->disk_short && is_short)
        set_state(l, true, "less than twice queue.reserve_bytes is free on the disk");
    else if (is_short != l->disk_short)
        set_state(l, false, "%s", "");
    l->disk_short = is_short;
    return !is_short;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void close_file(struct logs *l, struct logs_stream *s)
{
    if (s->fd < 0)
        return;
    TAILQ_REMOVE(&l->open, s, open_link);
    l->n_open--;
    fd_close(&s->fd);
}

static int open_path(struct logs *l, const char *path, const char *function)
{
    const uint64_t flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK;
    int fd = logs_open_beneath(l->dir_fd, path, flags, 0600);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (mkdirat(l->dir_fd, function, 0700) < 0 && errno != EEXIST)
        return -1;
    return logs_open_beneath(l->dir_fd, path, flags, 0600);
}

/* Errors leave errno. */
static int open_file(struct logs *l, struct logs_stream *s)
{
    char file[NAME_FILE_MAX], path[sizeof s->fn->name + NAME_FILE_MAX];
    struct stat st;
    if (l->n_open >= OPEN_FILES_MAX)
        close_file(l, TAILQ_FIRST(&l->open));
    name_file(s->base, s->segment, file);
    (void)snprintf(path, sizeof path, "%s/%s", s->fn->name, file);
    s->fd = open_path(l, path, s->fn->name);
    if (s->fd < 0)
        return ERR_IO;
    TAILQ_INSERT_TAIL(&l->open, s, open_link);
    l->n_open++;
    if (fstat(s->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close_file(l, s);
        errno = EINVAL;
        return ERR_IO;
    }
    s->size = (uint64_t)st.st_size;
    return 0;
}

/* The file that the next lines go to. */
static int prepare_file(struct logs *l, struct logs_stream *s)
{
    int64_t now = l->io.mono_ms(l->io.arg);
    bool begins = s->segment == 0;
    if (!begins && (s->size >= l->segment_bytes || now - s->began_at_ms >= SEGMENT_AGE_MS)) {
        close_file(l, s);
        begins = true;
    }
    if (begins) {
        s->segment++;
        s->began_at_ms = now;
        s->size = 0;
    }
    if (s->fd < 0)
        return open_file(l, s);
    TAILQ_REMOVE(&l->open, s, open_link);
    TAILQ_INSERT_TAIL(&l->open, s, open_link);
    return 0;
}

static int write_all(struct logs *l, struct logs_stream *s)
{
    for (size_t at = 0; at < s->out.len;) {
        ssize_t n = l->io.write(s->fd, s->out.data + at, s->out.len - at, l->io.arg);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int err = n < 0 ? errno : EIO;
            if (at > 0 && ftruncate(s->fd, (off_t)s->size) < 0)
                close_file(l, s); /* a torn line stays; its file is not gone on with */
            errno = err;
            return ERR_IO;
        }
        at += (size_t)n;
    }
    return 0;
}

static void flush(struct logs *l, struct logs_stream *s)
{
    size_t n = s->out.len;
    if (n == 0)
        return;
    if (!write_disk_has_room(l)) {
        count(l, 0, n);
    } else if (prepare_file(l, s) < 0 || write_all(l, s) < 0) {
        int err = errno;
        count(l, 0, n);
        set_state(l, true, "%s cannot be written below logs/%s: %s", s->base, s->fn->name, strerror(err));
        l->failing = true;
    } else {
        if (l->failing)
            set_state(l, false, "%s", "");
        l->failing = false;
        s->size += n;
        s->fn->bytes += n;
        l->total += n;
        l->since_look += n;
        l->wrote = true;
        count(l, n, 0);
    }
    buf_reset(&s->out);
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

static void put_line(struct logs *l, struct logs_stream *s, const char *owner, const char *text, size_t len)
{
    if (line_put(&s->out, l->stamp, owner, text, len) < 0)
        count(l, 0, len);
}

static void put_part(struct logs *l, struct logs_stream *s)
{
    if (s->part.len == 0)
        return;
    put_line(l, s, s->part_owner, s->part.data, s->part.len);
    buf_reset(&s->part);
}

/* The beginning of a line waits for its end, and gets the end's time: what is read up to a time stays complete. */
static void keep_part(struct logs *l, struct logs_stream *s, const char *owner, const char *p, size_t n)
{
    while (n > 0) {
        size_t fits = LOGS_LINE_MAX - s->part.len;
        if (fits > n)
            fits = n;
        (void)snprintf(s->part_owner, sizeof s->part_owner, "%s", owner);
        if (buf_append(&s->part, p, fits) < 0) {
            count(l, 0, n);
            return;
        }
        if (s->part.len == LOGS_LINE_MAX)
            put_part(l, s);
        p += fits;
        n -= fits;
    }
}

static void put_text(struct logs *l, struct logs_stream *s, const char *owner, const char *p, size_t n)
{
    for (const char *nl; (nl = memchr(p, '\n', n)) != NULL;) {
        size_t len = (size_t)(nl - p);
        bool whole = s->part.len == 0 && len <= LOGS_LINE_MAX;
        if (whole) {
            put_line(l, s, owner, p, len);
        } else {
            keep_part(l, s, owner, p, len);
            put_part(l, s);
        }
        n -= len + 1;
        p = nl + 1;
    }
    keep_part(l, s, owner, p, n);
}

static void put_dropped(struct logs *l, struct logs_stream *s, const char *owner, uint64_t over_rate, uint64_t no_room)
{
    char text[160];
    int n = 0;
    if (over_rate > 0) {
        n = snprintf(text, sizeof text, "[bide] %" PRIu64 " bytes of output dropped here: more than logs.rate",
                     over_rate);
        put_line(l, s, owner, text, (size_t)n);
    }
    if (no_room > 0) {
        n = snprintf(text, sizeof text, "[bide] %" PRIu64 " bytes of output dropped here: the disk did not keep up",
                     no_room);
        put_line(l, s, owner, text, (size_t)n);
    }
}

static void set_stamp(struct logs *l, int64_t ms)
{
    char text[CLOCK_ISO_LEN];
    if (ms == l->now_stamp_ms)
        return;
    clock_format_iso(ms, text);
    memcpy(l->stamp, text, LINE_STAMP_LEN);
    l->now_stamp_ms = ms;
}

static void take_record(struct logs *l, const struct record *r, const char *p)
{
    struct logs_stream *s = r->s;
    if (!s->dirty)
        TAILQ_INSERT_TAIL(&l->dirty, s, dirty_link);
    s->dirty = true;
    set_stamp(l, r->stamp_ms);
    bool dropped = r->over_rate > 0 || r->no_room > 0;
    if (r->platform || dropped || strcmp(s->part_owner, r->request_id) != 0)
        put_part(l, s);
    put_dropped(l, s, r->request_id, r->over_rate, r->no_room);
    put_text(l, s, r->request_id, p, r->len);
}

static void end_stream(struct logs *l, struct logs_stream *s)
{
    set_stamp(l, s->closed_ms);
    put_part(l, s);
    put_dropped(l, s, "", s->over_rate, s->no_room);
    flush(l, s);
    close_file(l, s);
    buf_done(&s->out);
    buf_done(&s->part);
    pthread_mutex_lock(&l->mu);
    logs_release_fn(l, s->fn);
    pthread_mutex_unlock(&l->mu);
    free(s);
}

void write_round(struct logs *l, struct stream_list *closing)
{
    struct logs_stream *s;
    struct record r;
    for (size_t at = 0; at < l->taken.len; at += sizeof r + r.len) {
        memcpy(&r, l->taken.data + at, sizeof r);
        take_record(l, &r, l->taken.data + at + sizeof r);
    }
    while ((s = TAILQ_FIRST(&l->dirty)) != NULL) {
        TAILQ_REMOVE(&l->dirty, s, dirty_link);
        s->dirty = false;
        flush(l, s);
        sweep_function(l, s->fn);
    }
    while ((s = TAILQ_FIRST(closing)) != NULL) {
        TAILQ_REMOVE(closing, s, close_link);
        end_stream(l, s);
    }
    if (l->total > l->w.max_bytes)
        sweep_all(l);
}

/* A file that goes away under an open stream: the stream begins its next one. */
void write_forget(struct logs *l, const char *function, const char *base, uint32_t segment)
{
    struct logs_stream *s, *next;
    TAILQ_FOREACH_SAFE (s, &l->open, open_link, next) {
        if (s->segment != segment || strcmp(s->base, base) != 0 || strcmp(s->fn->name, function) != 0)
            continue;
        close_file(l, s);
        s->size = l->segment_bytes;
    }
}
