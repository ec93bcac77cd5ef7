/* What an operator does to all events of a function, a bounded chunk at a time: cancel them, or try them now.
 *
 * A chunk begins with the ready ones, which leave their order as they go, and goes on with the waiting ones from where
 * the last chunk ended. One that became due in between is found among the ready ones by the next chunk, so that when
 * a chunk finds neither, there is none.
 */
#include <stdlib.h>

#include "priv.h"

struct sweep_op {
    struct store_op op;
    struct queue *q;
    bool retry;
    struct queue_sweep from, at;
    uint32_t max_n, looked;
    size_t bytes;
    uint64_t *seqs; /* cancelled, or asked to be; at most twice max_n */
    uint32_t n_seqs;
    struct event *ready; /* tried now: told after the commit */
    queue_sweep_cb *cb;
    void *arg;
};

static void sweep_free(struct sweep_op *x)
{
    free(x->seqs);
    free(x->ready);
    free(x);
}

static void sweep_done(int err, void *arg)
{
    struct sweep_op *x = arg;
    struct queue *q = x->q;
    if (err == 0 && x->n_seqs > 0 && q->cancelled_cb != NULL)
        q->cancelled_cb(x->seqs, x->n_seqs, q->cancelled_arg);
    for (uint64_t i = 0; err == 0 && x->retry && i < x->at.n && q->ready_cb != NULL; i++)
        q->ready_cb(&x->ready[i], NULL, 0, q->ready_arg);
    x->cb(err, err == 0 ? &x->at : &x->from, x->arg);
    sweep_free(x);
}

static bool is_full(const struct sweep_op *x)
{
    return x->at.n + x->at.corrupt >= x->max_n || x->bytes >= SWEEP_BYTES_MAX || x->looked >= LOOK_MAX;
}

/* One event, taken out of the place it has in state from. */
static int sweep_one(struct sweep_op *x, struct store_txn *t, const struct place *p, enum event_state from)
{
    struct queue *q = x->q;
    struct stored s;
    struct event place = {.seq = p->seq, .fid = x->at.fid, .due_at_ms = p->due_ms};
    int rc = from == EVENT_QUEUED ? row_ready_del(q, t, &place) : row_wait_del(q, t, &place);
    if (rc == 0)
        rc = books_leave(q, place.fid, from);
    if (rc < 0)
        return rc;
    rc = row_load(q, t, p->seq, &s);
    if (rc == ERR_CORRUPT || rc == ERR_VERSION || rc == ERR_NOTFOUND) {
        x->at.corrupt++;
        x->seqs[x->n_seqs++] = p->seq;
        return dead_corrupt(q, t, p->seq, place.fid, from);
    }
    if (rc < 0)
        return rc;
    x->bytes += s.ev.payload_len;
    if (x->retry) {
        rc = due_requeue(q, t, &s);
        x->ready[x->at.n] = s.ev;
    } else {
        x->seqs[x->n_seqs++] = p->seq;
        rc = cancel_finish(q, t, &s);
    }
    x->at.n += rc == 0;
    return rc;
}

static int sweep_ready(struct sweep_op *x, struct store_txn *t)
{
    struct place p;
    int rc;
    while ((rc = row_next_of(t, x->q->ready, x->at.fid, 0, &p)) == 0 && p.seq < x->at.until) {
        x->at.more = is_full(x);
        if (x->at.more)
            return 0;
        rc = sweep_one(x, t, &p, EVENT_QUEUED);
        if (rc < 0)
            return rc;
    }
    return rc == ERR_NOTFOUND ? 0 : rc;
}

/* Those that only wait for room among the dead letters have failed already, and are left to that. */
static int sweep_waiting(struct sweep_op *x, struct store_txn *t)
{
    struct place p;
    int rc;
    while ((rc = row_next_of(t, x->q->waiting, x->at.fid, x->at.after, &p)) == 0 && p.seq < x->at.until) {
        x->at.more = is_full(x);
        if (x->at.more)
            return 0;
        x->at.after = p.seq + 1;
        x->looked++;
        if (p.held)
            continue;
        rc = sweep_one(x, t, &p, EVENT_WAITING);
        if (rc < 0)
            return rc;
    }
    return rc == ERR_NOTFOUND ? 0 : rc;
}

/* All that run, of whatever function: there are at most as many as account.concurrency. */
static int sweep_running(struct sweep_op *x, struct store_txn *t)
{
    struct queue *q = x->q;
    struct store_cursor *c;
    struct slice k, v;
    struct key from = key_u64(0);
    int rc = store_cursor_open(t, q->running, &c);
    if (rc < 0)
        return rc;
    while ((rc = store_cursor_seek(c, from.b, from.len, &k, &v)) == 0) {
        struct running r;
        struct stored s;
        uint64_t seq = k.len == KEY_SEQ ? store_get_u64(k.p) : UINT64_MAX;
        if (seq >= x->at.until)
            break;
        from = key_u64(seq + 1);
        if (decode_running(v.p, v.len, &r) < 0 || r.cancel_asked || row_load(q, t, seq, &s) < 0 ||
            s.ev.fid != x->at.fid)
            continue; /* what cannot be read is a restart's business */
        if (x->at.flagged == x->max_n) {
            x->at.more = true;
            break;
        }
        rc = cancel_flag(q, t, seq);
        if (rc < 0)
            break;
        x->seqs[x->n_seqs++] = seq;
        x->at.flagged++;
    }
    store_cursor_close(c);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

static int sweep_run(struct store_txn *t, void *arg)
{
    struct sweep_op *x = arg;
    int rc = 0;
    x->at = x->from;
    x->at.n = x->at.flagged = x->at.corrupt = 0;
    x->at.more = false;
    x->n_seqs = x->looked = 0;
    x->bytes = 0;
    if (x->at.until == 0)
        x->at.until = x->q->now.next_seq;
    /* First: one that ends while the sweep goes on ends as cancelled, and is not missed. */
    if (x->at.running)
        rc = sweep_running(x, t);
    if (rc == 0 && x->at.queued)
        rc = sweep_ready(x, t);
    if (rc == 0 && x->at.waiting && !x->at.more)
        rc = sweep_waiting(x, t);
    return rc;
}

static int sweep(struct queue *q, const struct queue_sweep *s, bool retry, uint32_t max_n, queue_sweep_cb *cb,
                 void *arg)
{
    struct sweep_op *x = calloc(1, sizeof *x);
    if (x == NULL)
        return ERR_NOMEM;
    x->op = (struct store_op){.run = sweep_run, .done = sweep_done, .arg = x};
    x->q = q;
    x->retry = retry;
    x->from = *s;
    x->max_n = max_n < 1 ? 1 : max_n > SWEEP_MAX ? SWEEP_MAX : max_n;
    x->cb = cb;
    x->arg = arg;
    x->seqs = calloc(2 * x->max_n, sizeof *x->seqs);
    x->ready = retry ? calloc(x->max_n, sizeof *x->ready) : NULL;
    int rc = x->seqs == NULL || (retry && x->ready == NULL) ? ERR_NOMEM : store_submit(q->store, &x->op);
    if (rc < 0)
        sweep_free(x);
    return rc;
}

int queue_cancel_chunk(struct queue *q, const struct queue_sweep *s, uint32_t max_n, queue_sweep_cb *cb, void *arg)
{
    return sweep(q, s, false, max_n, cb, arg);
}

int queue_retry_chunk(struct queue *q, const struct queue_sweep *s, uint32_t max_n, queue_sweep_cb *cb, void *arg)
{
    struct queue_sweep only = *s;
    only.waiting = true;
    only.queued = only.running = false;
    return sweep(q, &only, true, max_n, cb, arg);
}
