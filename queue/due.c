/* Chunks of work over many events: what is due, what belongs to a deleted function, what history has outlived. */
#include <stdlib.h>

#include "priv.h"

struct chunk_op {
    struct store_op op;
    struct queue *q;
    queue_count_cb *cb;
    void *arg;
    int64_t now_ms;
    uint64_t fid;
    uint32_t max_n;
    uint32_t n;
    struct event *ready; /* promoted: told after the commit */
    uint32_t n_ready;
    bool evicts;
    int64_t history_due_ms; /* evicts: of the oldest record that stays */
};

static void chunk_done(int err, void *arg)
{
    struct chunk_op *x = arg;
    struct queue *q = x->q;
    for (uint32_t i = 0; err == 0 && i < x->n_ready && q->ready_cb != NULL; i++)
        q->ready_cb(&x->ready[i], NULL, 0, q->ready_arg);
    if (err == 0 && x->evicts)
        atomic_store(&q->history_due_ms, x->history_due_ms);
    if (x->cb != NULL)
        x->cb(err, err == 0 ? x->n : 0, x->arg);
    free(x->ready);
    free(x);
}

static struct chunk_op *chunk_new(struct queue *q, store_run_cb *run, uint32_t max_n, queue_count_cb *cb, void *arg)
{
    struct chunk_op *x = calloc(1, sizeof *x);
    if (x == NULL)
        return NULL;
    x->op = (struct store_op){.run = run, .done = chunk_done, .arg = x};
    x->q = q;
    x->max_n = max_n;
    x->cb = cb;
    x->arg = arg;
    return x;
}

static int chunk_submit(struct chunk_op *x)
{
    int rc = store_submit(x->q->store, &x->op);
    if (rc < 0) {
        free(x->ready);
        free(x);
    }
    return rc;
}

/* --- due ---------------------------------------------------------------------------------------------------------- */

int due_requeue(struct queue *q, struct store_txn *t, struct stored *s)
{
    event_move(&s->ev, EVENT_QUEUED);
    s->ev.due_at_ms = s->ev.wait_ms = 0;
    int rc = row_save(q, t, s, 0);
    if (rc == 0)
        rc = row_ready_put(q, t, &s->ev);
    return rc < 0 ? rc : books_enter(q, s->ev.fid, EVENT_QUEUED);
}

/* waiting -> queued, or dead when it only waited for room in the dead-letter store. */
static int promote_one(struct chunk_op *x, struct store_txn *t, uint64_t seq, uint64_t fid, int64_t due_ms)
{
    struct queue *q = x->q;
    struct stored s;
    struct event place = {.seq = seq, .fid = fid, .due_at_ms = due_ms};
    int rc = row_wait_del(q, t, &place);
    if (rc == 0)
        rc = books_leave(q, fid, EVENT_WAITING);
    if (rc < 0)
        return rc;
    rc = row_load(q, t, seq, &s);
    if (rc == ERR_CORRUPT || rc == ERR_VERSION || rc == ERR_NOTFOUND)
        return dead_corrupt(q, t, seq, fid, EVENT_WAITING);
    if (rc < 0)
        return rc;
    if (s.ev.condition != CONDITION_NONE)
        return dead_enter(q, t, &s, s.ev.condition);
    rc = due_requeue(q, t, &s);
    if (rc == 0)
        x->ready[x->n_ready++] = s.ev;
    return rc;
}

/* The first due entry, if it is due. A due time further ahead than any wait that was ever given means that the clock
 * was set back: it is due no later than its own wait from now. */
static int first_due(struct queue *q, struct store_txn *t, uint64_t *ret_seq, uint64_t *ret_fid, int64_t *ret_due)
{
    struct store_cursor *c;
    struct slice k, v;
    int rc = store_cursor_open(t, q->due, &c);
    if (rc < 0)
        return rc;
    rc = store_cursor_seek(c, NULL, 0, &k, &v);
    store_cursor_close(c);
    if (rc < 0)
        return rc;
    if (k.len != KEY_PAIR || v.len != KEY_SEQ)
        return ERR_CORRUPT;
    *ret_due = (int64_t)store_get_u64(k.p);
    *ret_seq = store_get_u64((const uint8_t *)k.p + 8);
    *ret_fid = store_get_u64(v.p);
    return 0;
}

static int promote_run(struct store_txn *t, void *arg)
{
    struct chunk_op *x = arg;
    struct queue *q = x->q;
    uint64_t seq, fid;
    int64_t due;
    int rc = 0;
    x->n = x->n_ready = 0;
    while (x->n < x->max_n && (rc = first_due(q, t, &seq, &fid, &due)) == 0) {
        if (due > x->now_ms && due <= x->now_ms + q->now.max_wait_ms)
            break;
        rc = promote_one(x, t, seq, fid, due);
        if (rc < 0)
            break;
        x->n++;
    }
    return rc == ERR_NOTFOUND ? 0 : rc;
}

int queue_promote_due(struct queue *q, int64_t now_ms, uint32_t max_n, queue_count_cb *cb, void *arg)
{
    struct chunk_op *x = chunk_new(q, promote_run, max_n, cb, arg);
    if (x == NULL || (x->ready = calloc(max_n, sizeof *x->ready)) == NULL) {
        free(x);
        return ERR_NOMEM;
    }
    x->now_ms = now_ms;
    return chunk_submit(x);
}

bool queue_next_due(struct queue *q, int64_t *ret_due_at_ms)
{
    int64_t due = atomic_load(&q->next_due_ms);
    if (due == INT64_MAX)
        return false;
    int64_t now = clock_now_ms(q->opts.clock);
    *ret_due_at_ms = due > now + atomic_load(&q->max_wait_ms) ? now : due;
    return true;
}

/* --- a deleted function's ----------------------------------------------------------------------------------------- */

static int kill_one(struct queue *q, struct store_txn *t, const struct event *place, enum event_state from)
{
    struct stored s;
    int rc = from == EVENT_QUEUED ? row_ready_del(q, t, place) : row_wait_del(q, t, place);
    if (rc == 0)
        rc = books_leave(q, place->fid, from);
    if (rc < 0)
        return rc;
    rc = row_load(q, t, place->seq, &s);
    if (rc == ERR_CORRUPT || rc == ERR_VERSION || rc == ERR_NOTFOUND)
        return dead_corrupt(q, t, place->seq, place->fid, from);
    if (rc < 0)
        return rc;
    return dead_enter(q, t, &s, CONDITION_FUNCTION_DELETED);
}

/* The next waiting event that is not yet dead but for room in the dead-letter store. */
static int first_alive(struct queue *q, struct store_txn *t, struct event *place, uint64_t *from_seq)
{
    struct place p;
    int rc;
    while ((rc = row_next_of(t, q->waiting, place->fid, *from_seq, &p)) == 0) {
        *from_seq = p.seq + 1;
        if (p.held)
            continue;
        place->seq = p.seq;
        place->due_at_ms = p.due_ms;
        return 0;
    }
    return rc;
}

static int deleted_run(struct store_txn *t, void *arg)
{
    struct chunk_op *x = arg;
    struct queue *q = x->q;
    uint64_t from_seq = 0;
    int rc = counts_gone(q, x->fid);
    x->n = 0;
    while (rc == 0 && x->n < x->max_n) {
        struct event place = {.fid = x->fid};
        enum event_state from = EVENT_QUEUED;
        struct place p = {0};
        rc = row_next_of(t, q->ready, x->fid, 0, &p);
        place.seq = p.seq;
        if (rc == ERR_NOTFOUND) {
            from = EVENT_WAITING;
            rc = first_alive(q, t, &place, &from_seq);
        }
        if (rc < 0)
            break;
        rc = kill_one(q, t, &place, from);
        if (rc < 0)
            break;
        x->n++;
    }
    return rc == ERR_NOTFOUND ? 0 : rc;
}

int queue_function_deleted(struct queue *q, uint64_t fid, uint32_t max_n, queue_count_cb *cb, void *arg)
{
    struct chunk_op *x = chunk_new(q, deleted_run, max_n, cb, arg);
    if (x == NULL)
        return ERR_NOMEM;
    x->fid = fid;
    return chunk_submit(x);
}

/* --- history ------------------------------------------------------------------------------------------------------ */

static int evict_one(struct queue *q, struct store_txn *t, struct store_cursor *c, uint64_t seq, uint64_t size)
{
    struct stored s;
    int rc = store_cursor_del(c);
    if (rc < 0)
        return rc;
    q->now.history_bytes -= size < q->now.history_bytes ? size : q->now.history_bytes;
    q->dirty = true;
    rc = row_load(q, t, seq, &s);
    if (rc == ERR_NOTFOUND)
        return 0;
    if (rc == ERR_CORRUPT || rc == ERR_VERSION) {
        rc = dead_salvage(q, t, seq, 0, &s); /* function 0: neither state counts by function */
        s.ev.state = q->now.books.done > 0 ? EVENT_DONE : EVENT_CANCELLED;
    }
    if (rc == 0)
        rc = row_erase(q, t, &s);
    if (rc == 0)
        rc = books_leave(q, s.ev.fid, s.ev.state);
    return rc < 0 ? rc : books_enter(q, s.ev.fid, EVENT_REMOVED);
}

/* If not, *ret_due_ms is when it will have. */
static bool outlived(struct queue *q, struct store_txn *t, uint64_t seq, int64_t now_ms, int64_t *ret_due_ms)
{
    struct stored s;
    if (q->now.history_bytes > atomic_load(&q->history_max_bytes) || row_load(q, t, seq, &s) < 0)
        return true;
    *ret_due_ms = s.ev.ended_at_ms + atomic_load(&q->history_retention_ms) + 1;
    return *ret_due_ms <= now_ms;
}

static int evict_run(struct store_txn *t, void *arg)
{
    struct chunk_op *x = arg;
    struct queue *q = x->q;
    struct store_cursor *c;
    struct slice k, v;
    struct store_stats st;
    x->n = 0;
    x->history_due_ms = INT64_MAX;
    store_stats(q->store, &st); /* once: it may walk the free list */
    int rc = store_cursor_open(t, q->history, &c);
    if (rc < 0)
        return rc;
    rc = store_cursor_seek(c, NULL, 0, &k, &v);
    while (rc == 0 && x->n < x->max_n) {
        if (v.len != 16) {
            rc = ERR_CORRUPT;
            break;
        }
        uint64_t seq = store_get_u64(v.p), size = store_get_u64((const uint8_t *)v.p + 8);
        /* In a full store, history makes room before new events are refused for long. */
        int64_t due_ms = INT64_MAX;
        if (!st.full && !outlived(q, t, seq, x->now_ms, &due_ms)) {
            x->history_due_ms = due_ms;
            break;
        }
        rc = evict_one(q, t, c, seq, size);
        if (rc < 0)
            break;
        x->n++;
        rc = store_cursor_seek(c, NULL, 0, &k, &v);
    }
    store_cursor_close(c);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

int queue_evict_history(struct queue *q, uint32_t max_n, queue_count_cb *cb, void *arg)
{
    struct chunk_op *x = chunk_new(q, evict_run, max_n, cb, arg);
    if (x == NULL)
        return ERR_NOMEM;
    x->now_ms = clock_now_ms(q->opts.clock);
    x->evicts = true;
    return chunk_submit(x);
}

int64_t queue_history_due(const struct queue *q)
{
    return atomic_load(&q->history_due_ms);
}
