/* Reading in short snapshots, any thread. */
#include <stdlib.h>
#include <string.h>

#include "priv.h"

int queue_fetch_ready(struct queue *q, uint64_t fid, uint64_t after_seq, uint32_t max_n, size_t max_bytes,
                      queue_ready_cb *cb, void *arg, bool *ret_more)
{
    struct store_txn *t;
    struct store_cursor *c;
    struct slice k, v;
    struct key from = key_pair(fid, after_seq + 1);
    uint32_t n = 0;
    size_t bytes = 0;
    *ret_more = false;
    int rc = store_read_begin(q->store, &t);
    if (rc < 0)
        return rc;
    rc = store_cursor_open(t, q->ready, &c);
    if (rc < 0) {
        store_read_end(t);
        return rc;
    }
    for (rc = store_cursor_seek(c, from.b, from.len, &k, &v); rc == 0; rc = store_cursor_next(c, &k, &v)) {
        if (k.len != KEY_PAIR || store_get_u64(k.p) != fid)
            break;
        if (n == max_n || (n > 0 && bytes >= max_bytes)) {
            *ret_more = true;
            break;
        }
        uint64_t seq = store_get_u64((const uint8_t *)k.p + 8);
        struct stored s;
        int got = row_load(q, t, seq, &s);
        if (got == ERR_NOMEM) { /* passed by, it would be forgotten until the next start */
            rc = got;
            break;
        }
        if (got < 0) {
            dead_report_corrupt(q, seq, fid);
            continue;
        }
        cb(&s.ev, s.payload.p, s.payload.len, arg);
        bytes += s.payload.len;
        n++;
    }
    store_cursor_close(c);
    store_read_end(t);
    return rc == 0 || rc == ERR_NOTFOUND ? 0 : rc;
}

int queue_payload_in(struct queue *q, struct store_txn *t, uint64_t seq, struct buf *b)
{
    struct stored s;
    int rc = row_load(q, t, seq, &s);
    if (rc == 0 && s.payload.p == NULL && s.ev.payload_len == 0)
        return ERR_NOTFOUND; /* history keeps none */
    return rc < 0 ? rc : row_payload(q, t, &s, b);
}

int queue_payload(struct queue *q, uint64_t seq, struct buf *b)
{
    struct store_txn *t;
    int rc = store_read_begin(q->store, &t);
    if (rc < 0)
        return rc;
    rc = queue_payload_in(q, t, seq, b);
    store_read_end(t);
    return rc;
}

int queue_event_in(struct queue *q, struct store_txn *t, uint64_t seq, struct event *ret)
{
    struct stored s;
    int rc = row_load_live(q, t, seq, &s);
    if (rc == 0)
        *ret = s.ev;
    return rc;
}

int queue_attempts_in(struct queue *q, struct store_txn *t, uint64_t seq, queue_attempt_cb *cb, void *arg)
{
    struct stored s;
    int rc = row_load(q, t, seq, &s);
    return rc < 0 ? rc : row_attempts(q, t, &s, cb, arg);
}

int queue_find_in(struct queue *q, struct store_txn *t, const struct id *id, struct event *ret)
{
    struct slice v;
    int rc = store_get(t, q->ids, id->b, sizeof id->b, &v);
    if (rc == 0 && v.len != KEY_SEQ)
        rc = ERR_CORRUPT;
    return rc < 0 ? rc : queue_event_in(q, t, store_get_u64(v.p), ret);
}

int queue_find(struct queue *q, const struct id *id, struct event *ret, queue_attempt_cb *cb, void *arg)
{
    struct store_txn *t;
    int rc = store_read_begin(q->store, &t);
    if (rc < 0)
        return rc;
    rc = queue_find_in(q, t, id, ret);
    if (rc == 0 && cb != NULL)
        rc = queue_attempts_in(q, t, ret->seq, cb, arg);
    store_read_end(t);
    return rc;
}

int queue_functions(struct queue *q, queue_function_cb *cb, void *arg)
{
    struct store_txn *t;
    struct store_cursor *c;
    struct slice k, v;
    int rc = store_read_begin(q->store, &t);
    if (rc < 0)
        return rc;
    rc = store_cursor_open(t, q->stats, &c);
    if (rc == 0) {
        for (rc = store_cursor_seek(c, NULL, 0, &k, &v); rc == 0; rc = store_cursor_next(c, &k, &v)) {
            struct queue_function_stats st;
            rc = k.len == KEY_SEQ ? decode_stats(v.p, v.len, &st) : ERR_CORRUPT;
            if (rc < 0)
                break;
            if (st.queued > 0 || st.waiting > 0)
                cb(store_get_u64(k.p), st.queued, st.waiting, arg);
        }
        store_cursor_close(c);
    }
    store_read_end(t);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

int queue_function_stats(struct queue *q, uint64_t fid, struct queue_function_stats *ret)
{
    struct store_txn *t;
    struct slice v;
    struct key k = key_u64(fid);
    *ret = (struct queue_function_stats){0};
    int rc = store_read_begin(q->store, &t);
    if (rc < 0)
        return rc;
    rc = store_get(t, q->stats, k.b, k.len, &v);
    if (rc == 0)
        rc = decode_stats(v.p, v.len, ret);
    store_read_end(t);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

int queue_books_in(struct queue *q, struct store_txn *t, struct books *ret)
{
    struct slice v;
    uint64_t next_seq, next_finish, bytes;
    int64_t wait, last;
    *ret = (struct books){0};
    int rc = store_get(t, q->meta, "books", 5, &v);
    if (rc == 0)
        rc = decode_books(v.p, v.len, ret, &next_seq, &next_finish, &bytes, &wait, &last);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

int queue_books(struct queue *q, struct books *ret)
{
    struct store_txn *t;
    int rc = store_read_begin(q->store, &t);
    if (rc < 0)
        return rc;
    rc = queue_books_in(q, t, ret);
    store_read_end(t);
    return rc;
}

/* The last attempt's row says it, and is only read when it is asked for. */
static bool failed_with(struct queue *q, struct store_txn *t, const struct stored *s, const char *type)
{
    struct key k = key_part(s->ev.seq, s->n_briefs);
    struct slice v;
    struct details d;
    return s->n_briefs > 0 && s->briefs[s->n_briefs - 1].details && store_get(t, q->attempt, k.b, k.len, &v) == 0 &&
           decode_details(v.p, v.len, &d) == 0 && d.error_type.p != NULL && d.error_type.len == strlen(type) &&
           memcmp(d.error_type.p, type, d.error_type.len) == 0;
}

static bool matches(struct queue *q, struct store_txn *t, const struct queue_filter *f, const struct stored *s)
{
    const struct event *ev = &s->ev;
    return (f->name == NULL || f->name[0] == '\0' || strcmp(f->name, ev->name) == 0) &&
           (f->state == EVENT_NONE || f->state == ev->state) && ev->accepted_at_ms >= f->since_ms &&
           (f->until_ms == 0 || ev->accepted_at_ms < f->until_ms) &&
           (f->error_type == NULL || f->error_type[0] == '\0' || failed_with(q, t, s, f->error_type));
}

int queue_list(struct queue *q, const struct queue_filter *f, uint64_t cursor, uint32_t max_n, queue_list_cb *cb,
               void *arg, uint64_t *ret_cursor)
{
    struct store_txn *t;
    struct store_cursor *c;
    struct slice k, v;
    uint32_t shown = 0, looked = 0;
    *ret_cursor = 0;
    int rc = store_read_begin(q->store, &t);
    if (rc < 0)
        return rc;
    rc = store_cursor_open(t, q->event, &c);
    if (rc < 0) {
        store_read_end(t);
        return rc;
    }
    if (cursor == 0) {
        rc = store_cursor_last(c, &k, &v);
    } else {
        struct key at = key_u64(cursor);
        rc = store_cursor_seek(c, at.b, at.len, &k, &v); /* at or above: one step back is below */
        rc = rc == 0 ? store_cursor_prev(c, &k, &v) : rc == ERR_NOTFOUND ? store_cursor_last(c, &k, &v) : rc;
    }
    for (; rc == 0; rc = store_cursor_prev(c, &k, &v)) {
        struct stored s;
        uint64_t seq = store_get_u64(k.p);
        if (row_load_live(q, t, seq, &s) == 0 && matches(q, t, f, &s)) {
            cb(&s.ev, arg);
            shown++;
        }
        looked++;
        if (shown == max_n || looked == LOOK_MAX) {
            *ret_cursor = seq;
            break;
        }
    }
    store_cursor_close(c);
    store_read_end(t);
    return rc == ERR_NOTFOUND ? 0 : rc;
}
