/* After a stop: what was running when the process ended was broken off by us, not by the function. */
#include "priv.h"

struct recovery {
    struct queue *q;
    uint64_t n;
};

static int recover_one(struct queue *q, struct store_txn *t, uint64_t seq, const struct running *r)
{
    struct stored s;
    int rc = row_load(q, t, seq, &s);
    if (rc < 0)
        return rc;
    s.ev.state = EVENT_RUNNING;
    rc = books_leave(q, s.ev.fid, EVENT_RUNNING);
    if (rc < 0)
        return rc;
    if (r->cancel_asked)
        return run_finish(q, t, &s, EVENT_CANCELLED);
    s.ev.disruptions++;
    s.ev.lone_runs += r->lone;
    if (s.ev.lone_runs >= q->opts.max_disruptions)
        return dead_enter(q, t, &s, CONDITION_DISRUPTED);
    event_move(&s.ev, EVENT_QUEUED);
    rc = row_save(q, t, &s, 0);
    if (rc == 0)
        rc = row_ready_put(q, t, &s.ev);
    return rc < 0 ? rc : books_enter(q, s.ev.fid, EVENT_QUEUED);
}

/* Running events whose records have gone bad come last, when the good ones have left the counters: what still counts as
 * running then is theirs, function by function. */
static uint64_t left_running(const struct queue *q)
{
    for (const struct counts *c = q->counts; c != NULL; c = c->hh.next)
        if (c->now.running > 0)
            return c->fid;
    return 0;
}

static int recover_readable(struct recovery *x, struct store_txn *t, struct store_cursor *c)
{
    struct queue *q = x->q;
    struct slice k, v;
    struct key from = key_u64(0);
    int rc;
    while ((rc = store_cursor_seek(c, from.b, from.len, &k, &v)) == 0) {
        struct running r = {0};
        struct stored s;
        if (k.len != KEY_SEQ)
            return ERR_CORRUPT;
        uint64_t seq = store_get_u64(k.p);
        if (decode_running(v.p, v.len, &r) < 0)
            r = (struct running){0}; /* a bad row still says that it ran */
        from = key_u64(seq + 1);
        rc = row_load(q, t, seq, &s);
        if (rc == ERR_CORRUPT || rc == ERR_VERSION || rc == ERR_NOTFOUND)
            continue;
        if (rc == 0)
            rc = store_cursor_del(c);
        if (rc == 0)
            rc = recover_one(q, t, seq, &r);
        if (rc < 0)
            return rc;
        x->n++;
    }
    return rc == ERR_NOTFOUND ? 0 : rc;
}

static int recover_rest(struct recovery *x, struct store_txn *t, struct store_cursor *c)
{
    struct queue *q = x->q;
    struct slice k, v;
    int rc;
    while ((rc = store_cursor_seek(c, NULL, 0, &k, &v)) == 0) {
        uint64_t seq = store_get_u64(k.p), fid = left_running(q);
        rc = store_cursor_del(c);
        if (rc == 0)
            rc = books_leave(q, fid, EVENT_RUNNING);
        if (rc == 0)
            rc = dead_corrupt(q, t, seq, fid, EVENT_RUNNING);
        if (rc < 0)
            return rc;
        x->n++;
    }
    return rc == ERR_NOTFOUND ? 0 : rc;
}

static int recover_run(struct store_txn *t, void *arg)
{
    struct recovery *x = arg;
    struct store_cursor *c;
    x->n = 0;
    int rc = store_cursor_open(t, x->q->running, &c);
    if (rc < 0)
        return rc;
    rc = recover_readable(x, t, c);
    if (rc == 0)
        rc = recover_rest(x, t, c);
    store_cursor_close(c);
    return rc;
}

int queue_recover(struct queue *q, uint64_t *ret_recovered, struct err *e)
{
    struct recovery x = {.q = q};
    int rc = store_write_now(q->store, recover_run, &x, e);
    if (rc == 0)
        *ret_recovered = x.n;
    return rc;
}
