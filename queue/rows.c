/* Single rows and the indexes that must move with them. */
#include <string.h>

#include "priv.h"

int row_load(struct queue *q, struct store_txn *t, uint64_t seq, struct stored *ret)
{
    struct key k = key_u64(seq);
    struct slice v;
    int rc = store_get(t, q->event, k.b, k.len, &v);
    if (rc == 0)
        rc = decode_event(v.p, v.len, seq, ret);
    if (rc < 0 || ret->payload.p == NULL)
        return rc;
    if (ret->payload.len > sizeof ret->bytes)
        return ERR_CORRUPT;
    /* What points into the map dies at the transaction's next write, and most callers write. */
    memcpy(ret->bytes, ret->payload.p, ret->payload.len);
    ret->payload.p = ret->bytes;
    return 0;
}

int row_load_live(struct queue *q, struct store_txn *t, uint64_t seq, struct stored *ret)
{
    struct key k = key_u64(seq);
    struct slice v;
    struct running r;
    int rc = row_load(q, t, seq, ret);
    if (rc < 0 || ret->ev.state != EVENT_QUEUED || store_get(t, q->running, k.b, k.len, &v) < 0)
        return rc;
    rc = decode_running(v.p, v.len, &r);
    if (rc < 0)
        return rc;
    ret->ev.state = EVENT_RUNNING;
    ret->ev.started_at_ms = r.started_at_ms;
    ret->ev.run = r.run;
    ret->ev.lone = r.lone;
    ret->ev.cancel_asked = r.cancel_asked;
    return 0;
}

int row_save(struct queue *q, struct store_txn *t, const struct stored *s, unsigned flags)
{
    struct key k = key_u64(s->ev.seq);
    int rc = codec_event(&q->scratch, s);
    return rc < 0 ? rc : store_put(t, q->event, k.b, k.len, q->scratch.data, q->scratch.len, flags);
}

/* --- payload ------------------------------------------------------------------------------------------------------ */

uint32_t row_chunks(uint32_t len)
{
    return len <= PAYLOAD_INLINE_MAX ? 0 : (len + PAYLOAD_CHUNK - 1) / PAYLOAD_CHUNK;
}

int row_put_payload(struct queue *q, struct store_txn *t, uint64_t seq, const void *p, size_t len)
{
    const char *at = p;
    for (uint32_t n = 0; len > 0; n++) {
        size_t piece = len < PAYLOAD_CHUNK ? len : PAYLOAD_CHUNK;
        struct key k = key_part(seq, n);
        int rc = codec_chunk(&q->scratch, at, piece);
        if (rc == 0)
            rc = store_put(t, q->payload, k.b, k.len, q->scratch.data, q->scratch.len, STORE_PUT_APPEND);
        if (rc < 0)
            return rc;
        at += piece;
        len -= piece;
    }
    return 0;
}

int row_payload(struct queue *q, struct store_txn *t, const struct stored *s, struct buf *b)
{
    if (s->payload.p != NULL)
        return buf_append(b, s->payload.p, s->payload.len);
    uint32_t n = row_chunks(s->ev.payload_len);
    if (n == 0)
        return s->ev.payload_len == 0 ? 0 : ERR_NOTFOUND;
    size_t before = b->len;
    for (uint32_t i = 0; i < n; i++) {
        struct key k = key_part(s->ev.seq, i);
        struct slice v, piece;
        int rc = store_get(t, q->payload, k.b, k.len, &v);
        if (rc == 0)
            rc = decode_chunk(v.p, v.len, &piece);
        else if (rc == ERR_NOTFOUND)
            rc = ERR_CORRUPT; /* none at all is the only way to have none */
        if (rc == 0)
            rc = buf_append(b, piece.p, piece.len);
        if (rc < 0)
            return rc;
    }
    return b->len - before == s->ev.payload_len ? 0 : ERR_CORRUPT;
}

uint32_t row_chunk_len(struct slice v)
{
    struct slice piece;
    return decode_chunk(v.p, v.len, &piece) == 0 ? (uint32_t)piece.len : PAYLOAD_CHUNK;
}

int row_del_payload(struct queue *q, struct store_txn *t, const struct stored *s)
{
    for (uint32_t i = 0; i < row_chunks(s->ev.payload_len); i++) {
        struct key k = key_part(s->ev.seq, i);
        int rc = store_del(t, q->payload, k.b, k.len);
        if (rc < 0 && rc != ERR_NOTFOUND)
            return rc;
    }
    return 0;
}

/* --- places ------------------------------------------------------------------------------------------------------- */

int row_ready_put(struct queue *q, struct store_txn *t, const struct event *ev)
{
    struct key k = key_pair(ev->fid, ev->seq);
    return store_put(t, q->ready, k.b, k.len, "", 0, 0);
}

int row_ready_del(struct queue *q, struct store_txn *t, const struct event *ev)
{
    struct key k = key_pair(ev->fid, ev->seq);
    return store_del(t, q->ready, k.b, k.len);
}

/* The counter of those that wait for room only. */
static int count_held(struct queue *q, uint64_t fid, int64_t by)
{
    struct counts *c = counts_of(q, fid);
    if (c == NULL)
        return ERR_NOMEM;
    c->now.held += (uint64_t)by;
    counts_touch(q, c);
    return 0;
}

int row_wait_put(struct queue *q, struct store_txn *t, const struct event *ev)
{
    struct key due = key_pair(key_time(ev->due_at_ms), ev->seq), mine = key_pair(ev->fid, ev->seq);
    struct key fid = key_u64(ev->fid);
    uint8_t v[WAITING_VALUE] = {[KEY_SEQ] = ev->condition != CONDITION_NONE};
    store_put_u64(v, key_time(ev->due_at_ms));
    q->due_dirty = true;
    if (ev->wait_ms > q->now.max_wait_ms)
        q->now.max_wait_ms = ev->wait_ms;
    int rc = store_put(t, q->due, due.b, due.len, fid.b, fid.len, 0);
    if (rc == 0)
        rc = store_put(t, q->waiting, mine.b, mine.len, v, sizeof v, 0);
    return rc < 0 || v[KEY_SEQ] == 0 ? rc : count_held(q, ev->fid, 1);
}

int row_wait_del(struct queue *q, struct store_txn *t, const struct event *ev)
{
    struct key due = key_pair(key_time(ev->due_at_ms), ev->seq), mine = key_pair(ev->fid, ev->seq);
    struct slice v;
    int rc = store_get(t, q->waiting, mine.b, mine.len, &v);
    if (rc < 0)
        return rc;
    bool held = row_waiting_held(v);
    q->due_dirty = true;
    rc = store_del(t, q->due, due.b, due.len);
    if (rc == 0)
        rc = store_del(t, q->waiting, mine.b, mine.len);
    return rc < 0 || !held ? rc : count_held(q, ev->fid, -1);
}

bool row_waiting_held(struct slice v)
{
    return v.len == WAITING_VALUE && ((const uint8_t *)v.p)[KEY_SEQ] != 0;
}

int row_next_of(struct store_txn *t, struct store_table *tab, uint64_t fid, uint64_t from_seq, struct place *ret)
{
    struct store_cursor *c;
    struct slice k, v;
    struct key from = key_pair(fid, from_seq);
    int rc = store_cursor_open(t, tab, &c);
    if (rc < 0)
        return rc;
    rc = store_cursor_seek(c, from.b, from.len, &k, &v);
    store_cursor_close(c);
    if (rc < 0)
        return rc;
    if (k.len != KEY_PAIR || store_get_u64(k.p) != fid)
        return ERR_NOTFOUND;
    ret->seq = store_get_u64((const uint8_t *)k.p + 8);
    ret->due_ms = v.len == WAITING_VALUE ? (int64_t)store_get_u64(v.p) : 0;
    ret->held = row_waiting_held(v);
    return 0;
}

/* --- the end of an event ------------------------------------------------------------------------------------------ */

int row_erase(struct queue *q, struct store_txn *t, const struct stored *s)
{
    struct key k = key_u64(s->ev.seq);
    int rc = row_del_payload(q, t, s);
    for (uint32_t i = 0; i < s->n_briefs && rc == 0; i++) {
        struct key a = key_part(s->ev.seq, i + 1);
        if (s->briefs[i].details)
            rc = store_del(t, q->attempt, a.b, a.len);
        if (rc == ERR_NOTFOUND)
            rc = 0; /* `bide verify` names it; it must not keep the rest from going */
    }
    struct id id = s->ev.id; /* s may point into the map */
    if (rc == 0)
        rc = store_del(t, q->event, k.b, k.len);
    if (rc == 0 && !id_is_zero(&id))
        rc = store_del(t, q->ids, id.b, sizeof id.b);
    return rc;
}

/* What a finished event occupies, near enough for a ceiling: its record, the payload if it is kept, the details. */
static int size_of(struct queue *q, struct store_txn *t, const struct stored *s, uint64_t *ret)
{
    *ret = 256 + strlen(s->ev.trace) + (uint64_t)s->n_briefs * 32 + s->ev.payload_len;
    for (uint32_t i = 0; i < s->n_briefs; i++) {
        struct key k = key_part(s->ev.seq, i + 1);
        struct slice v = {0};
        int rc = s->briefs[i].details ? store_get(t, q->attempt, k.b, k.len, &v) : 0;
        if (rc < 0 && rc != ERR_NOTFOUND)
            return rc;
        *ret += rc == 0 ? v.len : 0;
    }
    return 0;
}

int row_finish(struct queue *q, struct store_txn *t, const struct stored *s)
{
    struct key k = key_u64(q->now.next_finish++);
    uint8_t v[16];
    uint64_t size;
    int rc = size_of(q, t, s, &size);
    if (rc < 0)
        return rc;
    store_put_u64(v, s->ev.seq);
    store_put_u64(v + 8, size);
    q->now.history_bytes += size;
    q->dirty = true;
    return store_put(t, q->history, k.b, k.len, v, sizeof v, STORE_PUT_APPEND);
}

/* --- attempts ----------------------------------------------------------------------------------------------------- */

static const char *text_of(struct slice s, char *out, size_t cap)
{
    if (s.p == NULL)
        return NULL;
    size_t n = s.len < cap ? s.len : cap - 1;
    memcpy(out, s.p, n);
    out[n] = '\0';
    return out;
}

int row_attempts(struct queue *q, struct store_txn *t, const struct stored *s, queue_attempt_cb *cb, void *arg)
{
    for (uint32_t i = 0; i < s->n_briefs; i++) {
        const struct brief *b = &s->briefs[i];
        struct attempt a = {.n = i + 1,
                            .started_at_ms = b->started_at_ms,
                            .ended_at_ms = b->ended_at_ms,
                            .outcome = b->outcome,
                            .exit_code = b->exit_code,
                            .signal = b->signal,
                            .peak_kb = b->peak_kb};
        char type[QUEUE_TYPE_MAX + 1], message[QUEUE_MESSAGE_MAX + 1];
        struct key k = key_part(s->ev.seq, i + 1);
        struct slice v;
        struct details d;
        memcpy(a.version, b->version, sizeof a.version);
        int rc = b->details ? store_get(t, q->attempt, k.b, k.len, &v) : ERR_NOTFOUND;
        if (rc == 0)
            rc = decode_details(v.p, v.len, &d);
        if (rc == 0) {
            a.error_type = text_of(d.error_type, type, sizeof type);
            a.error_message = text_of(d.error_message, message, sizeof message);
            a.error = d.error.p;
            a.error_len = d.error.len;
            a.log_tail = d.log_tail.p;
            a.log_tail_len = d.log_tail.len;
        } else if (rc != ERR_NOTFOUND && rc != ERR_CORRUPT) {
            return rc;
        }
        cb(&a, arg);
    }
    return 0;
}
