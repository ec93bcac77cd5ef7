/* After a stop: what was running when the process ended was broken off by us, not by the function. */
#include <stdlib.h>

#include "priv.h"

enum { CHUNK = 1000 }; /* events put right in one transaction, or fewer when the store has no room for that many */

struct recovery {
    struct queue *q;
    uint32_t chunk;
    uint64_t n; /* of this transaction */
    bool more;
};

/* A transaction that found no room is repeated with fewer events: the pages it would have taken are taken, and given
 * back, by one after the other. False: that does not help. */
static bool smaller(uint32_t *chunk, int err)
{
    if (err != ERR_FULL || *chunk == 1)
        return false;
    *chunk = (*chunk + 3) / 4;
    return true;
}

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
        x->more = x->n == x->chunk;
        if (x->more)
            return 0;
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
    x->more = false;
    int rc = store_cursor_open(t, x->q->running, &c);
    if (rc < 0)
        return rc;
    rc = recover_readable(x, t, c);
    if (rc == 0 && !x->more)
        rc = recover_rest(x, t, c);
    store_cursor_close(c);
    return rc;
}

/* --- a clock that was set back -------------------------------------------------------------------------------------
 */

struct recap {
    struct queue *q;
    uint32_t chunk;
    int64_t now_ms;
    struct key below; /* len 0: from the end */
    bool over;
};

struct late {
    uint64_t seq, fid;
    int64_t due_ms;
};

/* The next chunk of the entries of due, from the latest down to now. */
static int find_late(struct recap *x, struct store_txn *t, struct late *late, uint32_t *ret_n)
{
    struct store_cursor *c;
    struct slice k, v;
    *ret_n = 0;
    int rc = store_cursor_open(t, x->q->due, &c);
    if (rc < 0)
        return rc;
    if (x->below.len != 0)
        rc = store_cursor_seek(c, x->below.b, x->below.len, &k, &v);
    rc = x->below.len != 0 && rc == 0 ? store_cursor_prev(c, &k, &v) : store_cursor_last(c, &k, &v);
    for (; rc == 0 && *ret_n < x->chunk; rc = store_cursor_prev(c, &k, &v)) {
        if (k.len != KEY_PAIR || v.len != KEY_SEQ) {
            rc = ERR_CORRUPT;
            break;
        }
        struct late l = {.due_ms = (int64_t)store_get_u64(k.p),
                         .seq = store_get_u64((const uint8_t *)k.p + 8),
                         .fid = store_get_u64(v.p)};
        if (l.due_ms <= x->now_ms) {
            rc = ERR_NOTFOUND;
            break;
        }
        late[(*ret_n)++] = l;
    }
    store_cursor_close(c);
    x->over = rc == ERR_NOTFOUND;
    return x->over ? 0 : rc;
}

static int recap_one(struct recap *x, struct store_txn *t, const struct late *l)
{
    struct queue *q = x->q;
    struct stored s;
    int rc = row_load(q, t, l->seq, &s);
    if (rc < 0)
        return rc == ERR_CORRUPT || rc == ERR_VERSION || rc == ERR_NOTFOUND ? 0 : rc; /* seen to when it is due */
    if (l->due_ms - x->now_ms <= s.ev.wait_ms)
        return 0;
    rc = row_wait_del(q, t, &s.ev);
    s.ev.due_at_ms = x->now_ms + s.ev.wait_ms;
    if (rc == 0)
        rc = row_save(q, t, &s, 0);
    return rc < 0 ? rc : row_wait_put(q, t, &s.ev);
}

static int recap_run(struct store_txn *t, void *arg)
{
    struct recap *x = arg;
    uint32_t n;
    struct late *late = calloc(x->chunk, sizeof *late);
    if (late == NULL)
        return ERR_NOMEM;
    int rc = find_late(x, t, late, &n);
    for (uint32_t i = 0; i < n && rc == 0; i++)
        rc = recap_one(x, t, &late[i]);
    if (n > 0)
        x->below = key_pair((uint64_t)late[n - 1].due_ms, late[n - 1].seq);
    free(late);
    return rc;
}

/* No wait is longer than it was meant to be. Costs nothing unless the clock stands before the last commit. */
static int recap(struct queue *q, struct err *e)
{
    struct recap x = {.q = q, .chunk = CHUNK, .now_ms = clock_now_ms(q->opts.clock)};
    int rc = 0;
    if (x.now_ms >= q->saved.last_ms)
        return 0;
    q->recapping = true;
    while (rc == 0 && !x.over) {
        struct recap before = x;
        rc = store_write_now(q->store, recap_run, &x, e);
        if (rc < 0)
            x = before;
        if (smaller(&x.chunk, rc))
            rc = 0;
    }
    q->recapping = false;
    return rc;
}

int queue_recover(struct queue *q, uint64_t *ret_recovered, struct err *e)
{
    struct recovery x = {.q = q, .chunk = CHUNK, .more = true};
    uint64_t n = 0;
    int rc = recap(q, e); /* first: any commit of ours moves the time of the last one */
    while (rc == 0 && x.more) {
        rc = store_write_now(q->store, recover_run, &x, e);
        n += rc == 0 ? x.n : 0;
        if (smaller(&x.chunk, rc)) {
            x.more = true;
            rc = 0;
        }
    }
    if (rc == 0)
        *ret_recovered = n;
    return rc;
}
