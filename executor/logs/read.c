/* Reading: all files of a function as one list of lines in the order of their time.
 *
 * The files are walked block by block, always the one that is furthest behind, so that when the reading has looked at
 * enough bytes everything before one point in time is known. What is found is kept in order, no more than the answer
 * may hold; a file whose next line lies behind a full answer is not read on. A file is open only while a block is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "base/num.h"
#include "priv.h"

enum {
    BLOCK = 64 * 1024, /* holds more than the longest line */
    PROBE = 20 * 1024, /* the same, when only a time is looked for */
    SLACK_MS = 2000,   /* the kernel's clock for files is a coarser one */
};

/* A place in the order of all lines. No base: behind everything of that millisecond. */
struct place {
    int64_t time_ms;
    char base[NAME_BASE_MAX];
    uint32_t segment;
    uint64_t off;
};

struct source {
    struct segment file;
    int64_t off;       /* of the first line that is not looked at */
    int64_t behind_ms; /* no line from there on is older */
};

struct found {
    struct place at;
    char request_id[LINE_REQUEST_MAX];
    size_t len;
    char text[];
};

struct reader {
    struct logs *l;
    const struct logs_query *q;
    struct place after;
    int64_t from_ms, bound_ms; /* lines of these times, both included */
    int64_t slack_ms;          /* by which a file's own time may lag behind its lines' */
    struct source *src;        /* a heap: the one furthest behind first */
    size_t n_src;
    struct found **v; /* in order */
    size_t n;
    uint64_t bytes;
    bool cut; /* there are lines behind the last one of v */
    uint64_t looked;
    char block[BLOCK];
};

static int compare(const struct place *a, const struct place *b)
{
    if (a->time_ms != b->time_ms)
        return a->time_ms < b->time_ms ? -1 : 1;
    if (a->base[0] == '\0' || b->base[0] == '\0')
        return (a->base[0] == '\0') - (b->base[0] == '\0');
    int c = strcmp(a->base, b->base);
    if (c != 0)
        return c;
    if (a->segment != b->segment)
        return a->segment < b->segment ? -1 : 1;
    return a->off < b->off ? -1 : a->off > b->off;
}

/* --- cursors: "TIME" or "TIME.OFFSET.SEGMENT.BASE" ---------------------------------------------------------------- */

static void put_cursor(const struct place *p, char out[LOGS_CURSOR_MAX])
{
    if (p->base[0] == '\0')
        (void)snprintf(out, LOGS_CURSOR_MAX, "%" PRId64, p->time_ms);
    else
        (void)snprintf(out, LOGS_CURSOR_MAX, "%" PRId64 ".%" PRIu64 ".%u.%s", p->time_ms, p->off, (unsigned)p->segment,
                       p->base);
}

static bool next_number(const char **p, uint64_t *ret)
{
    size_t n = strcspn(*p, ".");
    bool ok = num_parse_u64(*p, n, ret) == 0;
    *p += n + ((*p)[n] == '.');
    return ok;
}

static bool parse_cursor(const char *text, struct place *ret)
{
    uint64_t time, segment;
    const char *p = text;
    *ret = (struct place){0};
    if (!next_number(&p, &time) || time > INT64_MAX / 2)
        return false;
    ret->time_ms = (int64_t)time;
    if (*p == '\0')
        return text[strlen(text) - 1] != '.';
    if (!next_number(&p, &ret->off) || !next_number(&p, &segment) || segment < 1 || segment > NAME_SEGMENT_MAX ||
        !name_base_ok(p, strlen(p)))
        return false;
    ret->segment = (uint32_t)segment;
    memcpy(ret->base, p, strlen(p) + 1);
    return true;
}

/* --- sources ------------------------------------------------------------------------------------------------------ */

/* Bytes at off of the file into out; how many, 0 at its end or when it is gone. */
static size_t read_at(struct reader *r, const struct source *s, int64_t off, char *out, size_t cap)
{
    char file[NAME_FILE_MAX], path[80 + NAME_FILE_MAX];
    name_file(s->file.base, s->file.n, file);
    (void)snprintf(path, sizeof path, "%s/%s", r->q->function, file);
    int fd = logs_open_beneath(r->l->dir_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0)
        return 0;
    size_t n = 0;
    while (n < cap) {
        ssize_t got = pread(fd, out + n, cap - n, (off_t)off + (off_t)n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    r->looked += n;
    return n;
}

/* The time of the first line that begins behind off, and where it begins. */
static bool time_behind(struct reader *r, const struct source *s, int64_t off, int64_t *ret_ms, int64_t *ret_off)
{
    size_t n = read_at(r, s, off, r->block, PROBE);
    const char *p = r->block, *end = r->block + n;
    while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        p++;
        if (line_parse_time(p, (size_t)(end - p), ret_ms)) {
            *ret_off = off + (p - r->block);
            return true;
        }
    }
    return false;
}

/* Skip what is older than from_ms by halves: a stream's times never fall. */
static void seek(struct reader *r, struct source *s)
{
    int64_t lo = 0, hi = (int64_t)s->file.size, time, at;
    while (hi - lo > BLOCK) {
        int64_t mid = lo + (hi - lo) / 2;
        if (time_behind(r, s, mid, &time, &at) && at < hi && time < r->from_ms)
            lo = at;
        else
            hi = mid;
    }
    s->off = lo;
}

static int by_time(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    return x->behind_ms < y->behind_ms ? -1 : x->behind_ms > y->behind_ms;
}

static void sift_down(struct reader *r)
{
    for (size_t i = 0;;) {
        size_t k = 2 * i + 1;
        if (k >= r->n_src)
            return;
        if (k + 1 < r->n_src && by_time(&r->src[k + 1], &r->src[k]) < 0)
            k++;
        if (by_time(&r->src[k], &r->src[i]) >= 0)
            return;
        struct source t = r->src[i];
        r->src[i] = r->src[k];
        r->src[k] = t;
        i = k;
    }
}

/* A stream's lines are not older than the day in its name. */
static int64_t first_day_ms(const char *base)
{
    char stamp[LINE_STAMP_LEN + 1];
    int64_t ms;
    (void)snprintf(stamp, sizeof stamp, "%.10sT00:00:00.000Z", base);
    return line_parse_time(stamp, LINE_STAMP_LEN, &ms) ? ms - SLACK_MS : 0;
}

static int open_sources(struct reader *r)
{
    struct segments v;
    int rc = segments_list(r->l->dir_fd, r->q->function, &v);
    if (rc == 0) {
        r->src = calloc(v.n + 1, sizeof *r->src);
        if (r->src == NULL)
            rc = ERR_NOMEM;
    }
    for (size_t i = 0; rc == 0 && i < v.n; i++) {
        int64_t day_ms = first_day_ms(v.v[i].base);
        if (v.v[i].size > 0 && v.v[i].mtime_ms + r->slack_ms >= r->from_ms)
            r->src[r->n_src++] =
                (struct source){.file = v.v[i], .off = -1, .behind_ms = day_ms > r->from_ms ? day_ms : r->from_ms};
    }
    if (r->n_src > 0)
        qsort(r->src, r->n_src, sizeof *r->src, by_time); /* what is in order is a heap */
    free(v.v);
    return rc;
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

static bool is_full(const struct reader *r)
{
    return r->n >= r->q->limit || r->bytes >= LOGS_READ_BYTES;
}

static void drop_last(struct reader *r)
{
    struct found *f = r->v[--r->n];
    r->bytes -= f->len;
    free(f);
}

static int keep(struct reader *r, const struct place *at, const struct line *line)
{
    if ((r->cut || is_full(r)) && compare(at, &r->v[r->n - 1]->at) > 0) {
        r->cut = true;
        return 0;
    }
    struct found *f = malloc(sizeof *f + line->len);
    if (f == NULL)
        return ERR_NOMEM;
    f->at = *at;
    memcpy(f->request_id, line->request_id, sizeof f->request_id);
    f->len = line->len;
    memcpy(f->text, line->text, line->len);
    size_t i = r->n;
    while (i > 0 && compare(&r->v[i - 1]->at, at) > 0)
        i--;
    memmove(&r->v[i + 1], &r->v[i], (r->n - i) * sizeof *r->v);
    r->v[i] = f;
    r->n++;
    r->bytes += f->len;
    while (r->n > r->q->limit || (r->n > 1 && r->bytes - r->v[r->n - 1]->len >= LOGS_READ_BYTES)) {
        drop_last(r);
        r->cut = true;
    }
    return 0;
}

static int take_line(struct reader *r, struct source *s, const char *p, size_t len, int64_t off, bool *ret_over)
{
    struct line line;
    if (!line_parse(p, len, &line))
        return 0; /* a torn line, or nothing of ours */
    *ret_over = line.time_ms > r->bound_ms;
    if (*ret_over)
        return 0;
    if (line.time_ms > s->behind_ms)
        s->behind_ms = line.time_ms;
    if (line.time_ms < r->from_ms || (r->q->request_id[0] != '\0' && strcmp(r->q->request_id, line.request_id) != 0))
        return 0;
    struct place at = {.time_ms = line.time_ms, .segment = s->file.n, .off = (uint64_t)off};
    memcpy(at.base, s->file.base, sizeof at.base);
    return compare(&at, &r->after) > 0 ? keep(r, &at, &line) : 0;
}

/* The next block of a source; *ret_end: there is nothing more in it. */
static int take_block(struct reader *r, struct source *s, bool *ret_end)
{
    if (s->off < 0)
        seek(r, s);
    size_t n = read_at(r, s, s->off, r->block, BLOCK);
    const char *p = r->block, *end = r->block + n;
    int rc = 0;
    bool over = false;
    while (rc == 0 && !over) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        if (nl == NULL)
            break;
        rc = take_line(r, s, p, (size_t)(nl - p), s->off + (p - r->block), &over);
        p = nl + 1;
    }
    *ret_end = over || n < BLOCK;
    s->off += p == r->block ? (int64_t)n : p - r->block; /* no line is as long as a block: none of ours */
    return rc;
}

/* Walk until the answer is full, everything is read, or enough is. The last: ret_known_ms is the time up to which all
 * is known. */
static int walk(struct reader *r, int64_t *ret_known_ms)
{
    *ret_known_ms = r->bound_ms;
    while (r->n_src > 0) {
        struct source *s = &r->src[0];
        bool end = false;
        if (r->cut && s->behind_ms > r->v[r->n - 1]->at.time_ms)
            return 0;
        if (r->looked >= LOGS_SCAN_BYTES && s->behind_ms > r->from_ms) {
            *ret_known_ms = s->behind_ms - 1;
            return 0;
        }
        int rc = take_block(r, s, &end);
        if (rc < 0)
            return rc;
        if (end)
            *s = r->src[--r->n_src];
        sift_down(r);
    }
    return 0;
}

/* --- the face ----------------------------------------------------------------------------------------------------- */

static void hand_out(struct reader *r, logs_line_cb *cb, void *arg)
{
    char stream[LOGS_STREAM_NAME_MAX + 8];
    for (size_t i = 0; i < r->n; i++) {
        const struct found *f = r->v[i];
        name_stream(f->at.base, stream, sizeof stream);
        cb(&(struct logs_line){.time_ms = f->at.time_ms,
                               .stream = stream,
                               .request_id = f->request_id,
                               .text = f->text,
                               .len = f->len},
           arg);
    }
}

static int begin(struct reader *r, struct err *e)
{
    const struct logs_query *q = r->q;
    if (q->cursor[0] != '\0' && !parse_cursor(q->cursor, &r->after))
        return err_set(e, ERR_INVALID, "cursor is not one that was given out");
    r->from_ms = r->after.time_ms + (q->cursor[0] != '\0' && r->after.base[0] == '\0');
    if (r->from_ms < q->since_ms)
        r->from_ms = q->since_ms;
    r->bound_ms = logs_settle(r->l);
    r->slack_ms = SLACK_MS + r->bound_ms - r->l->io.real_ms(r->l->io.arg);
    if (r->slack_ms < SLACK_MS)
        r->slack_ms = SLACK_MS;
    if (!name_function_ok(q->function))
        return ERR_NOTFOUND;
    r->v = calloc(LOGS_READ_MAX + 2, sizeof *r->v);
    return r->v != NULL ? 0 : ERR_NOMEM;
}

int logs_read(struct logs *l, const struct logs_query *q, logs_line_cb *cb, void *arg, char next[LOGS_CURSOR_MAX],
              bool *ret_more, struct err *e)
{
    struct reader *r = calloc(1, sizeof *r);
    int64_t known_ms = 0;
    if (r == NULL)
        return err_set(e, ERR_NOMEM, "out of memory");
    BIDE_ASSERT(q->limit >= 1 && q->limit <= LOGS_READ_MAX, "limit %u", (unsigned)q->limit);
    r->l = l;
    r->q = q;
    *ret_more = false;
    next[0] = '\0';
    int rc = begin(r, e);
    if (rc == 0)
        rc = open_sources(r);
    if (rc == 0)
        rc = walk(r, &known_ms);
    if (rc == 0) {
        while (r->n > 0 && r->v[r->n - 1]->at.time_ms > known_ms)
            drop_last(r);
        struct place last = {.time_ms = known_ms};
        if (r->cut && r->n > 0)
            last = r->v[r->n - 1]->at;
        if (compare(&last, &r->after) < 0)
            last = r->after;
        put_cursor(&last, next);
        *ret_more = r->cut || known_ms < r->bound_ms;
        hand_out(r, cb, arg);
    } else if (rc == ERR_NOTFOUND) {
        put_cursor(&(struct place){.time_ms = r->bound_ms}, next);
        (void)err_set(e, rc, "%s has no logs", q->function);
    } else if (rc != ERR_INVALID) {
        (void)err_sys(e, rc, errno, "the logs of %s cannot be read", q->function);
    }
    while (r->n > 0)
        drop_last(r);
    free(r->v);
    free(r->src);
    free(r);
    return rc;
}
