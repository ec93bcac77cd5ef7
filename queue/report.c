/* What /metrics tells of each function: depth and oldest event from one snapshot, and what was counted since the start.
 * The cost is that of the functions, whatever the backlog: the oldest event is the first of its order. */
#include "priv.h"

void tally_received(struct queue *q, uint64_t fid)
{
    struct counts *c = counts_of(q, fid);
    if (c != NULL)
        c->tally_now.received++;
}

void tally_dropped(struct queue *q, uint64_t fid, enum condition why)
{
    struct counts *c = counts_of(q, fid);
    if (c != NULL)
        c->tally_now.dropped[why]++;
}

/* When the first event of a function in ready or waiting was accepted; -1: there is none. */
static int64_t oldest(struct queue *q, struct store_txn *t, struct store_cursor *c, uint64_t fid)
{
    struct key from = key_pair(fid, 0);
    struct slice k, v;
    struct stored s;
    if (store_cursor_seek(c, from.b, from.len, &k, &v) < 0 || k.len != KEY_PAIR || store_get_u64(k.p) != fid)
        return -1;
    return row_load(q, t, store_get_u64((const uint8_t *)k.p + 8), &s) == 0 ? s.ev.accepted_at_ms : -1;
}

static int read_one(struct queue *q, struct store_txn *t, struct store_cursor *ready, struct store_cursor *waiting,
                    struct queue_report *r)
{
    struct key k = key_u64(r->fid);
    struct slice v;
    r->now = (struct queue_function_stats){0};
    int rc = store_get(t, q->stats, k.b, k.len, &v);
    if (rc == 0)
        rc = decode_stats(v.p, v.len, &r->now);
    r->oldest_queued_at_ms = r->now.queued > 0 ? oldest(q, t, ready, r->fid) : -1;
    r->oldest_waiting_at_ms = r->now.waiting > 0 ? oldest(q, t, waiting, r->fid) : -1;
    return rc == ERR_NOTFOUND ? 0 : rc;
}

static int read_snapshot(struct queue *q, struct store_txn *t, struct queue_report *r, size_t n, struct books *books)
{
    struct store_cursor *ready, *waiting;
    int rc = queue_books_in(q, t, books);
    if (rc == 0)
        rc = store_cursor_open(t, q->ready, &ready);
    if (rc < 0)
        return rc;
    rc = store_cursor_open(t, q->waiting, &waiting);
    if (rc == 0) {
        for (size_t i = 0; i < n && rc == 0; i++)
            rc = read_one(q, t, ready, waiting, &r[i]);
        store_cursor_close(waiting);
    }
    store_cursor_close(ready);
    return rc;
}

int queue_report(struct queue *q, struct queue_report *r, size_t n, struct books *ret_books)
{
    struct store_txn *t;
    int rc = store_read_begin(q->store, &t);
    if (rc < 0)
        return rc;
    rc = read_snapshot(q, t, r, n, ret_books);
    store_read_end(t);
    pthread_mutex_lock(&q->tally_mu);
    for (size_t i = 0; i < n; i++) {
        const struct counts *c = NULL;
        HASH_FIND(hh, q->counts, &r[i].fid, sizeof r[i].fid, c);
        r[i].tally = c != NULL ? c->tally : (struct queue_tally){0};
    }
    pthread_mutex_unlock(&q->tally_mu);
    return rc;
}
