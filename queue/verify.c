/* The queue's half of `bide verify`: recount everything in one snapshot. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

struct check {
    struct queue *q;
    struct store_txn *t;
    queue_report_cb *report;
    void *arg;
    uint64_t findings;
    struct books found;
    uint64_t history_rows, history_bytes;
    struct tally *tally;
};

struct tally {
    UT_hash_handle hh;
    uint64_t fid;
    struct queue_function_stats st;
};

BIDE_PRINTF(2, 3) static void finding(struct check *c, const char *fmt, ...)
{
    char line[400];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    c->findings++;
    c->report(line, c->arg);
}

static struct queue_function_stats *tally_of(struct check *c, uint64_t fid)
{
    struct tally *y = NULL;
    HASH_FIND(hh, c->tally, &fid, sizeof fid, y);
    if (y == NULL) {
        y = calloc(1, sizeof *y);
        if (y == NULL)
            return NULL;
        y->fid = fid;
        HASH_ADD(hh, c->tally, fid, sizeof y->fid, y);
    }
    return &y->st;
}

static bool has(struct check *c, struct store_table *tab, struct key k)
{
    struct slice v;
    return store_get(c->t, tab, k.b, k.len, &v) == 0;
}

/* Which indexes name the event: exactly those of its state. */
static void check_places(struct check *c, const struct event *ev, bool running)
{
    bool ready = has(c, c->q->ready, key_pair(ev->fid, ev->seq));
    bool waiting = has(c, c->q->waiting, key_pair(ev->fid, ev->seq));
    bool due = has(c, c->q->due, key_pair(key_time(ev->due_at_ms), ev->seq));
    bool want_ready = ev->state == EVENT_QUEUED && !running, want_waiting = ev->state == EVENT_WAITING;
    if (ready != want_ready || waiting != want_waiting || due != want_waiting || (running && ev->state != EVENT_QUEUED))
        finding(c, "event %" PRIu64 " (%s%s): ready %d waiting %d due %d: not the places of its state", ev->seq,
                event_state_name(ev->state), running ? ", running" : "", ready, waiting, due);
}

static void check_payload(struct check *c, const struct stored *s)
{
    struct buf b;
    buf_init(&b, 16u << 20);
    int rc = row_payload(c->q, c->t, s, &b);
    if (rc < 0)
        finding(c, "event %" PRIu64 ": payload of %u bytes cannot be read (%s)", s->ev.seq, s->ev.payload_len,
                err_name(rc));
    buf_done(&b);
}

static void check_details(struct check *c, const struct stored *s)
{
    for (uint32_t i = 0; i < s->n_briefs; i++) {
        struct key k = key_part(s->ev.seq, i + 1);
        struct slice v;
        struct details d;
        int rc = store_get(c->t, c->q->attempt, k.b, k.len, &v);
        if ((rc == 0) != s->briefs[i].details || (rc == 0 && decode_details(v.p, v.len, &d) < 0))
            finding(c, "event %" PRIu64 ": the details of attempt %u cannot be read", s->ev.seq, i + 1);
    }
}

static void count(struct check *c, const struct event *ev, bool running)
{
    struct queue_function_stats *st = tally_of(c, ev->fid);
    struct books *b = &c->found;
    b->accepted++;
    b->queued += ev->state == EVENT_QUEUED && !running;
    b->running += running;
    b->waiting += ev->state == EVENT_WAITING;
    b->done += ev->state == EVENT_DONE;
    b->dead += ev->state == EVENT_DEAD;
    b->cancelled += ev->state == EVENT_CANCELLED;
    b->replayed += ev->state == EVENT_REPLAYED;
    if (st == NULL)
        return;
    st->queued += ev->state == EVENT_QUEUED && !running;
    st->running += running;
    st->waiting += ev->state == EVENT_WAITING;
    st->held += ev->state == EVENT_WAITING && ev->condition != CONDITION_NONE;
    st->dead += ev->state == EVENT_DEAD;
}

static void check_event(struct check *c, uint64_t seq, struct slice v)
{
    struct stored s;
    struct key k = key_u64(seq);
    struct slice id;
    int rc = decode_event(v.p, v.len, seq, &s);
    if (rc < 0) {
        finding(c, "event %" PRIu64 ": its record cannot be read (%s)", seq, err_name(rc));
        return;
    }
    bool running = has(c, c->q->running, k);
    check_places(c, &s.ev, running);
    check_payload(c, &s);
    check_details(c, &s);
    if (store_get(c->t, c->q->ids, s.ev.id.b, sizeof s.ev.id.b, &id) < 0 || id.len != KEY_SEQ ||
        store_get_u64(id.p) != seq)
        finding(c, "event %" PRIu64 ": its id does not lead to it", seq);
    count(c, &s.ev, running);
}

typedef void row_cb(struct check *c, struct slice k, struct slice v);

static void walk(struct check *c, struct store_table *tab, const char *name, size_t key_len, row_cb *cb)
{
    struct store_cursor *cur;
    struct slice k, v;
    int rc = store_cursor_open(c->t, tab, &cur);
    if (rc == 0) {
        for (rc = store_cursor_seek(cur, NULL, 0, &k, &v); rc == 0; rc = store_cursor_next(cur, &k, &v)) {
            if (key_len != 0 && k.len != key_len)
                finding(c, "table %s: a key of %zu bytes", name, k.len);
            else
                cb(c, k, v);
        }
        store_cursor_close(cur);
    }
    if (rc != ERR_NOTFOUND)
        finding(c, "table %s: cannot be walked (%s)", name, err_name(rc));
}

static void on_event(struct check *c, struct slice k, struct slice v)
{
    check_event(c, store_get_u64(k.p), v);
}

static void need_event(struct check *c, uint64_t seq, const char *table)
{
    if (!has(c, c->q->event, key_u64(seq)))
        finding(c, "table %s names event %" PRIu64 ", which there is not", table, seq);
}

static void on_ready_row(struct check *c, struct slice k, struct slice v)
{
    struct stored s;
    uint64_t seq = store_get_u64((const uint8_t *)k.p + 8);
    (void)v;
    if (row_load(c->q, c->t, seq, &s) == 0 && s.ev.fid != store_get_u64(k.p))
        finding(c, "table ready: event %" PRIu64 " stands under another function", seq);
    need_event(c, seq, "ready");
}

static void on_waiting_row(struct check *c, struct slice k, struct slice v)
{
    struct stored s;
    uint64_t seq = store_get_u64((const uint8_t *)k.p + 8);
    if (row_load(c->q, c->t, seq, &s) == 0 &&
        (s.ev.fid != store_get_u64(k.p) || v.len != WAITING_VALUE || store_get_u64(v.p) != key_time(s.ev.due_at_ms) ||
         row_waiting_held(v) != (s.ev.condition != CONDITION_NONE)))
        finding(c, "table waiting: event %" PRIu64 " waits for another time, or another function, than its own", seq);
    need_event(c, seq, "waiting");
}

static void on_due_row(struct check *c, struct slice k, struct slice v)
{
    struct stored s;
    uint64_t seq = store_get_u64((const uint8_t *)k.p + 8);
    if (row_load(c->q, c->t, seq, &s) == 0 &&
        (key_time(s.ev.due_at_ms) != store_get_u64(k.p) || v.len != KEY_SEQ || store_get_u64(v.p) != s.ev.fid))
        finding(c, "table due: event %" PRIu64 " stands at another time, or under another function, than its own", seq);
    need_event(c, seq, "due");
}

static void on_running_row(struct check *c, struct slice k, struct slice v)
{
    struct running r;
    if (decode_running(v.p, v.len, &r) < 0)
        finding(c, "table running: the row of event %" PRIu64 " cannot be read", store_get_u64(k.p));
    need_event(c, store_get_u64(k.p), "running");
}

static void on_payload_row(struct check *c, struct slice k, struct slice v)
{
    struct stored s;
    uint64_t seq = store_get_u64(k.p);
    uint32_t n = store_get_u32((const uint8_t *)k.p + 8);
    (void)v;
    need_event(c, seq, "payload");
    if (row_load(c->q, c->t, seq, &s) == 0 && (s.payload.p != NULL || n >= row_chunks(s.ev.payload_len)))
        finding(c, "table payload: chunk %u of event %" PRIu64 " belongs to no payload", n, seq);
}

static void on_attempt_row(struct check *c, struct slice k, struct slice v)
{
    struct stored s;
    uint64_t seq = store_get_u64(k.p);
    uint32_t n = store_get_u32((const uint8_t *)k.p + 8);
    (void)v;
    need_event(c, seq, "attempt");
    if (row_load(c->q, c->t, seq, &s) == 0 && (n == 0 || n > s.n_briefs))
        finding(c, "table attempt: event %" PRIu64 " has no attempt %u", seq, n);
}

static void on_id_row(struct check *c, struct slice k, struct slice v)
{
    (void)k;
    if (v.len != KEY_SEQ)
        finding(c, "table id: a value of %zu bytes", v.len);
    else
        need_event(c, store_get_u64(v.p), "id");
}

static void on_history_row(struct check *c, struct slice k, struct slice v)
{
    struct stored s;
    (void)k;
    if (v.len != 16) {
        finding(c, "table history: a value of %zu bytes", v.len);
        return;
    }
    uint64_t seq = store_get_u64(v.p);
    c->history_rows++;
    c->history_bytes += store_get_u64((const uint8_t *)v.p + 8);
    if (row_load(c->q, c->t, seq, &s) == 0 && s.ev.state != EVENT_DONE && s.ev.state != EVENT_CANCELLED)
        finding(c, "table history: event %" PRIu64 " is %s", seq, event_state_name(s.ev.state));
    need_event(c, seq, "history");
}

static void compare_books(struct check *c)
{
    struct books k = {0};
    uint64_t next_seq, next_finish, bytes = 0;
    int64_t wait, last;
    struct slice v;
    int rc = store_get(c->t, c->q->meta, "books", 5, &v);
    if (rc == 0)
        rc = decode_books(v.p, v.len, &k, &next_seq, &next_finish, &bytes, &wait, &last);
    if (rc < 0 && rc != ERR_NOTFOUND) { /* none yet: a queue that never held an event */
        finding(c, "the books cannot be read (%s)", err_name(rc));
        return;
    }
    if (bytes != c->history_bytes)
        finding(c, "books: history has %" PRIu64 " bytes, counted %" PRIu64, bytes, c->history_bytes);
    const struct {
        const char *name;
        uint64_t book, found;
    } rows[] = {
        {"queued", k.queued, c->found.queued},
        {"running", k.running, c->found.running},
        {"waiting", k.waiting, c->found.waiting},
        {"done", k.done, c->found.done},
        {"dead", k.dead, c->found.dead},
        {"cancelled", k.cancelled, c->found.cancelled},
        {"replayed", k.replayed, c->found.replayed},
        {"accepted", k.accepted, c->found.accepted + k.removed},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].book != rows[i].found)
            finding(c, "books: %s is %" PRIu64 ", counted %" PRIu64, rows[i].name, rows[i].book, rows[i].found);
    if (c->history_rows != c->found.done + c->found.cancelled)
        finding(c, "table history: %" PRIu64 " rows for %" PRIu64 " finished events", c->history_rows,
                c->found.done + c->found.cancelled);
    if (k.accepted != k.queued + k.running + k.waiting + k.done + k.dead + k.cancelled + k.removed + k.replayed)
        finding(c, "books: they do not balance");
}

static void on_stats_row(struct check *c, struct slice k, struct slice v)
{
    struct queue_function_stats st;
    uint64_t fid = store_get_u64(k.p);
    const struct queue_function_stats *found = tally_of(c, fid);
    if (decode_stats(v.p, v.len, &st) < 0)
        finding(c, "table stats: function %" PRIu64 " cannot be read", fid);
    else if (found != NULL && memcmp(&st, found, sizeof st) != 0)
        finding(c,
                "table stats: function %" PRIu64 " has queued %" PRIu64 " running %" PRIu64 " waiting %" PRIu64
                " dead %" PRIu64 ", counted %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
                fid, st.queued, st.running, st.waiting, st.dead, found->queued, found->running, found->waiting,
                found->dead);
}

/* Every function that has events has counters. */
static void check_stats(struct check *c)
{
    static const struct queue_function_stats none;
    for (const struct tally *y = c->tally; y != NULL; y = y->hh.next)
        if (memcmp(&y->st, &none, sizeof none) != 0 && !has(c, c->q->stats, key_u64(y->fid)))
            finding(c, "table stats: function %" PRIu64 " has events and no counters", y->fid);
}

int queue_verify(struct queue *q, struct store_txn *t, queue_report_cb *report, void *arg, uint64_t *ret_findings)
{
    struct check c = {.q = q, .t = t, .report = report, .arg = arg};
    walk(&c, q->event, "event", KEY_SEQ, on_event);
    walk(&c, q->ready, "ready", KEY_PAIR, on_ready_row);
    walk(&c, q->waiting, "waiting", KEY_PAIR, on_waiting_row);
    walk(&c, q->due, "due", KEY_PAIR, on_due_row);
    walk(&c, q->running, "running", KEY_SEQ, on_running_row);
    walk(&c, q->payload, "payload", KEY_PART, on_payload_row);
    walk(&c, q->attempt, "attempt", KEY_PART, on_attempt_row);
    walk(&c, q->ids, "id", sizeof(struct id), on_id_row);
    walk(&c, q->history, "history", KEY_SEQ, on_history_row);
    walk(&c, q->stats, "stats", KEY_SEQ, on_stats_row);
    check_stats(&c);
    compare_books(&c);
    struct tally *y, *next;
    HASH_ITER (hh, c.tally, y, next) {
        HASH_DEL(c.tally, y);
        free(y);
    }
    *ret_findings = c.findings;
    return 0;
}
