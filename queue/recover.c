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
        return rc; /* the caller knows no function to charge a corrupt one to */
    s.ev.state = EVENT_RUNNING;
    rc = books_leave(q, s.ev.fid, EVENT_RUNNING);
    if (rc < 0)
        return rc;
    if (r->cancel_asked) {
        event_move(&s.ev, EVENT_CANCELLED);
        s.ev.ended_at_ms = clock_now_ms(q->opts.clock);
        rc = row_save(q, t, &s, 0);
        if (rc == 0)
            rc = row_finish(q, t, &s.ev);
        return rc < 0 ? rc : books_enter(q, s.ev.fid, EVENT_CANCELLED);
    }
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

/* A running event whose record is gone bad: which function it counts for is told by the counters, when only one has
 * anything running, and otherwise by none. */
static uint64_t guess_fid(const struct queue *q)
{
    uint64_t fid = 0;
    for (const struct counts *c = q->counts; c != NULL; c = c->hh.next)
        if (c->now.running > 0)
            fid = c->fid;
    return fid;
}

static int recover_run(struct store_txn *t, void *arg)
{
    struct recovery *x = arg;
    struct queue *q = x->q;
    struct store_cursor *c;
    struct slice k, v;
    x->n = 0;
    int rc = store_cursor_open(t, q->running, &c);
    if (rc < 0)
        return rc;
    while ((rc = store_cursor_seek(c, NULL, 0, &k, &v)) == 0) {
        struct running r = {0};
        if (k.len != KEY_SEQ) {
            rc = ERR_CORRUPT;
            break;
        }
        uint64_t seq = store_get_u64(k.p);
        if (decode_running(v.p, v.len, &r) < 0)
            r = (struct running){0}; /* a bad row still says that it ran */
        rc = store_cursor_del(c);
        if (rc == 0)
            rc = recover_one(q, t, seq, &r);
        if (rc == ERR_CORRUPT || rc == ERR_VERSION || rc == ERR_NOTFOUND) {
            uint64_t fid = guess_fid(q);
            rc = books_leave(q, fid, EVENT_RUNNING);
            if (rc == 0)
                rc = dead_corrupt(q, t, seq, fid, EVENT_RUNNING);
        }
        if (rc < 0)
            break;
        x->n++;
    }
    store_cursor_close(c);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

int queue_recover(struct queue *q, uint64_t *ret_recovered, struct err *e)
{
    struct recovery x = {.q = q};
    int rc = store_write_now(q->store, recover_run, &x, e);
    if (rc == 0)
        *ret_recovered = x.n;
    return rc;
}
