/* What an operator does to one event that is not over: cancel it, or try it now. */
#include "priv.h"

int cancel_flag(struct queue *q, struct store_txn *t, uint64_t seq)
{
    struct key k = key_u64(seq);
    struct slice v;
    struct running r;
    int rc = store_get(t, q->running, k.b, k.len, &v);
    if (rc == 0)
        rc = decode_running(v.p, v.len, &r);
    if (rc < 0)
        return rc;
    r.cancel_asked = true;
    rc = codec_running(&q->scratch, &r);
    return rc < 0 ? rc : store_put(t, q->running, k.b, k.len, q->scratch.data, q->scratch.len, 0);
}

int cancel_finish(struct queue *q, struct store_txn *t, struct stored *s)
{
    s->ev.due_at_ms = s->ev.wait_ms = 0;
    return run_finish(q, t, s, EVENT_CANCELLED);
}

static int load_by_id(struct event_op *x, struct store_txn *t, struct stored *s)
{
    struct slice v;
    int rc = store_get(t, x->q->ids, x->id.b, sizeof x->id.b, &v);
    if (rc == 0 && v.len != KEY_SEQ)
        rc = ERR_CORRUPT;
    if (rc == 0)
        rc = row_load_live(x->q, t, store_get_u64(v.p), s);
    if (rc == 0)
        x->ev = s->ev; /* what it is, also when that is why nothing is done */
    return rc;
}

static int cancel_run(struct store_txn *t, void *arg)
{
    struct event_op *x = arg;
    struct queue *q = x->q;
    struct stored s;
    x->cancelled = false;
    int rc = load_by_id(x, t, &s);
    if (rc < 0 || s.ev.state == EVENT_CANCELLED)
        return rc;
    if (s.ev.state == EVENT_RUNNING) {
        x->cancelled = x->ev.cancel_asked = true; /* asked before: told again, so that the worker is stopped for sure */
        return s.ev.cancel_asked ? 0 : cancel_flag(q, t, s.ev.seq);
    }
    if ((s.ev.state != EVENT_QUEUED && s.ev.state != EVENT_WAITING) || s.ev.condition != CONDITION_NONE)
        return ERR_CONFLICT;
    rc = s.ev.state == EVENT_QUEUED ? row_ready_del(q, t, &s.ev) : row_wait_del(q, t, &s.ev);
    if (rc == 0)
        rc = books_leave(q, s.ev.fid, s.ev.state);
    if (rc == 0)
        rc = cancel_finish(q, t, &s);
    x->ev = s.ev;
    x->cancelled = true;
    return rc;
}

static int retry_run(struct store_txn *t, void *arg)
{
    struct event_op *x = arg;
    struct queue *q = x->q;
    struct stored s;
    x->becomes_ready = false;
    int rc = load_by_id(x, t, &s);
    if (rc < 0)
        return rc;
    if (s.ev.state != EVENT_WAITING || s.ev.condition != CONDITION_NONE)
        return ERR_CONFLICT;
    rc = row_wait_del(q, t, &s.ev);
    if (rc == 0)
        rc = books_leave(q, s.ev.fid, EVENT_WAITING);
    if (rc == 0)
        rc = due_requeue(q, t, &s);
    x->ev = s.ev;
    x->becomes_ready = true;
    return rc;
}

static int submit(struct queue *q, store_run_cb *run, const struct id *id, queue_event_cb *cb, void *arg)
{
    struct event_op *x = event_op_new(q, run, 0, cb, arg);
    if (x == NULL)
        return ERR_NOMEM;
    x->id = *id;
    return event_op_submit(x);
}

int queue_cancel(struct queue *q, const struct id *id, queue_event_cb *cb, void *arg)
{
    return submit(q, cancel_run, id, cb, arg);
}

int queue_retry(struct queue *q, const struct id *id, queue_event_cb *cb, void *arg)
{
    return submit(q, retry_run, id, cb, arg);
}
