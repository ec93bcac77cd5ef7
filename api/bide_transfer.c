/* /bide/v1/dlq/export and import: dead letters as lines of JSON, a page at a time either way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "letter.h"
#include "route.h"

enum {
    EXPORT_LINES = 500,     /* of a page */
    EXPORT_BYTES = 4 << 20, /* a page ends after so much, but one letter always */
    EXPORT_LOOKS = 8,       /* calls of a listing that find nothing, before the page ends */
    EXPORT_TEXT_MAX =
        QUEUE_ATTEMPTS_MAX * (QUEUE_TYPE_MAX + QUEUE_MESSAGE_MAX + QUEUE_ERROR_MAX + QUEUE_LOG_TAIL_MAX + 4),
    IMPORT_LINES = 500,      /* of a request */
    IMPORT_FAULTS_MAX = 100, /* told of one request */
};

/* --- export ----- */

struct exported {
    struct queue_import l;
    struct attempt attempts[QUEUE_ATTEMPTS_MAX];
    size_t text_len;
    struct buf payload;
    char text[EXPORT_TEXT_MAX]; /* what the attempts point into */
};

static void take_event(const struct dead_letter *dl, void *arg)
{
    struct exported *x = arg;
    x->l.ev = dl->ev;
}

static const char *keep(struct exported *x, const char *p, size_t len)
{
    char *to = x->text + x->text_len;
    if (p == NULL || len >= EXPORT_TEXT_MAX - x->text_len)
        return NULL; /* the ceilings of an attempt's texts leave room for all of them */
    memcpy(to, p, len);
    to[len] = '\0';
    x->text_len += len + 1;
    return to;
}

static void take_attempt(const struct attempt *a, void *arg)
{
    struct exported *x = arg;
    if (x->l.n_attempts == QUEUE_ATTEMPTS_MAX)
        return;
    struct attempt *to = &x->attempts[x->l.n_attempts++];
    *to = *a;
    to->error_type = keep(x, a->error_type, a->error_type != NULL ? strlen(a->error_type) : 0);
    to->error_message = keep(x, a->error_message, a->error_message != NULL ? strlen(a->error_message) : 0);
    to->error = keep(x, a->error, a->error_len);
    to->log_tail = keep(x, a->log_tail, a->log_tail_len);
}

/* All of the letter whose event take_event got. ERR_NOTFOUND: it went meanwhile. */
static int load(struct queue *q, struct exported *x)
{
    struct id id = x->l.ev.id;
    uint64_t seq = x->l.ev.seq;
    x->l.n_attempts = 0;
    x->text_len = 0;
    buf_clear(&x->payload);
    int r = queue_payload(q, seq, &x->payload);
    if (r == 0)
        r = queue_find(q, &id, &x->l.ev, take_attempt, x);
    if (r < 0)
        return r;
    x->l.attempts = x->attempts;
    x->l.payload = x->payload.data;
    x->l.payload_len = x->payload.len;
    return 0;
}

static void end_line(struct json_out *o)
{
    o->comma = false;
    out_raw(o, NULL, "\n", 1);
    o->comma = false;
}

/* The last line of a page says where the next one starts, so that a page that was cut off is known by its want. */
static void put_trailer(struct json_out *o, uint64_t cursor, uint64_t lines, uint64_t unreadable)
{
    out_begin(o, NULL, '{');
    build_put_cursor(o, cursor);
    out_uint(o, "letters", lines);
    out_uint(o, "unreadable", unreadable);
    out_end(o, '}');
    end_line(o);
}

static int put_page(struct call *c, struct json_out *o, const struct dlq_filter *f, uint64_t cursor, struct exported *x)
{
    uint64_t lines = 0, unreadable = 0;
    uint32_t looks = 0;
    int r = 0;
    do {
        x->l.ev.seq = 0;
        r = dlq_list(c->api->d.dlq, f, cursor, 1, take_event, x, &cursor);
        if (r < 0)
            return r;
        if (x->l.ev.seq == 0) {
            looks++;
            continue;
        }
        r = load(c->api->d.queue, x);
        if (r == ERR_CORRUPT || r == ERR_VERSION || r == ERR_TOOBIG) {
            unreadable++;
        } else if (r == 0) {
            letter_out(o, &x->l);
            end_line(o);
            lines++;
        } else if (r != ERR_NOTFOUND) {
            return r;
        }
    } while (cursor != 0 && lines < EXPORT_LINES && o->b->len < EXPORT_BYTES && looks < EXPORT_LOOKS);
    put_trailer(o, cursor, lines, unreadable);
    return 0;
}

static void build_export(struct call *c, struct json_out *o, struct fault *f)
{
    char name[SEGMENT_MAX];
    uint32_t limit;
    uint64_t cursor;
    struct dlq_filter filter;
    if (build_page(c, &limit, &cursor, f) < 0 || bide_dlq_filter(c, &filter, name, sizeof(name), f) < 0)
        return;
    struct exported *x = calloc(1, sizeof(*x));
    if (!x) {
        (void)fault_set(f, FAULT_SERVICE, "out of memory");
        return;
    }
    buf_init(&x->payload, REPLY_MAX);
    int r = put_page(c, o, &filter, cursor, x);
    if (r < 0)
        (void)fault_set(f, FAULT_SERVICE, "dead letters: %s", err_name(r));
    buf_done(&x->payload);
    free(x);
}

void bide_dlq_export(struct call *c)
{
    build_answer_as(c, build_export, "application/x-ndjson", REPLY_MAX);
}

/* --- import ----- */

struct bad_line {
    uint64_t line;
    char why[200];
};

struct import {
    struct call *c;
    struct letter_in *in; /* those that are sound */
    struct queue_import *letters;
    uint64_t *lines; /* parallel: from 1 in the request */
    size_t n;
    struct bad_line faults[IMPORT_FAULTS_MAX];
    uint64_t n_faults;
    struct dlq_import_result r;
    int err;
};

static void import_free(void *arg)
{
    struct import *x = arg;
    for (size_t i = 0; i < x->n; i++)
        letter_in_done(&x->in[i]);
    free(x->in);
    free(x->letters);
    free(x->lines);
    free(x);
}

static void add_line(struct import *x, uint64_t number, const char *line, size_t len)
{
    struct err e = {0};
    struct bad_line *bad = x->n_faults < IMPORT_FAULTS_MAX ? &x->faults[x->n_faults] : NULL;
    int r = x->n == IMPORT_LINES ? err_set(&e, ERR_TOOBIG, "more than %d letters in one request", IMPORT_LINES)
                                 : letter_in_read(&x->in[x->n], line, len, &e);
    if (r < 0) {
        x->n_faults++;
        if (bad != NULL) {
            bad->line = number;
            (void)snprintf(bad->why, sizeof(bad->why), "%s", e.text);
        }
        return;
    }
    struct event *ev = &x->in[x->n].l.ev;
    const struct function *f = registry_get(x->c->api->d.registry, ev->name);
    if (f) {
        ev->fid = f->fid; /* counted among its dead letters */
        function_unref(f);
    }
    x->letters[x->n] = x->in[x->n].l;
    x->letters[x->n].attempts = x->in[x->n].attempts;
    x->lines[x->n++] = number;
}

/* On a worker: megabytes of JSON. */
static void read_lines(void *arg)
{
    struct import *x = arg;
    const char *p = x->c->body, *end = p + x->c->body_len;
    for (uint64_t number = 1; p < end; number++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((nl ? nl : end) - p);
        size_t blank = 0;
        while (blank < len && (p[blank] == ' ' || p[blank] == '\t' || p[blank] == '\r'))
            blank++;
        if (blank < len)
            add_line(x, number, p, len);
        p += len + (nl != NULL);
    }
}

static void import_answer(void *arg)
{
    struct call *c = arg;
    const struct import *x = c->state;
    struct buf b;
    struct json_out o;
    if (x->err < 0) {
        call_error(c, x->err, NULL);
        return;
    }
    call_json(&b, &o);
    out_begin(&o, NULL, '{');
    out_uint(&o, "imported", x->r.imported);
    out_uint(&o, "known", x->r.known);
    out_uint(&o, "n_faults", x->n_faults);
    out_begin(&o, "faults", '[');
    for (uint64_t i = 0; i < x->n_faults && i < IMPORT_FAULTS_MAX; i++) {
        out_begin(&o, NULL, '{');
        out_uint(&o, "line", x->faults[i].line);
        out_str(&o, "why", x->faults[i].why);
        out_end(&o, '}');
    }
    out_end(&o, ']');
    if (x->r.next < x->n)
        out_uint(&o, "full_at_line", x->lines[x->r.next]);
    else
        out_null(&o, "full_at_line");
    out_end(&o, '}');
    call_reply_json(c, 200, &o);
}

static void on_imported(int err, const struct dlq_import_result *r, void *arg)
{
    struct import *x = arg;
    x->err = err;
    x->r = *r;
    call_post(x->c, import_answer);
}

static void import_read(void *arg)
{
    struct import *x = arg;
    int r = x->n > 0 ? dlq_import(x->c->api->d.dlq, x->letters, x->n, on_imported, x) : 0;
    if (r < 0)
        call_error(x->c, r, NULL);
    else if (x->n == 0)
        import_answer(x->c);
}

void bide_dlq_import(struct call *c)
{
    struct import *x = calloc(1, sizeof(*x));
    if (x) {
        x->c = c;
        x->in = calloc(IMPORT_LINES, sizeof(*x->in));
        x->letters = calloc(IMPORT_LINES, sizeof(*x->letters));
        x->lines = calloc(IMPORT_LINES, sizeof(*x->lines));
        c->state = x;
        c->free_state = import_free;
    }
    if (!x || !x->in || !x->letters || !x->lines)
        call_error(c, ERR_NOMEM, NULL);
    else if (pool_submit(c->api->pool, POOL_WORK, read_lines, import_read, NULL, x) < 0)
        call_fault(c, FAULT_TOO_MANY, "Too many readers at a time; try again.");
}
