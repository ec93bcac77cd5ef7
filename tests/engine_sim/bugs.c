#include "bugs.h"

#include <stdlib.h>
#include <string.h>

#include "queue/priv.h"
#include "sim.h"
#include "store/priv.h"

const char *const sim_bug_names[BUGS] = {
    [BUG_NONE] = "none",
    [BUG_ACK_EARLY] = "ack-before-commit",
    [BUG_LETTER_LATER] = "letter-in-a-second-transaction",
    [BUG_COUNT_TWICE] = "attempt-counted-twice",
    [BUG_COUNT_DISRUPTION] = "disruption-counted-as-attempt",
    [BUG_RESTART_WAITS] = "waits-begin-anew-at-a-start",
    [BUG_WAITS_FOLLOW_CLOCK] = "waits-follow-the-clock",
    [BUG_FORGET_RESERVED] = "reserved-forgotten-at-a-start",
    [BUG_FORGET_PAUSE] = "pause-forgotten-at-a-start",
    [BUG_PURGE_MISSES] = "purge-misses-what-waits",
    [BUG_REPLAY_KEEPS] = "replay-without-removal",
    [BUG_START_LOST] = "start-record-lost",
    [BUG_UNSYNCED_START] = "start-not-waited-for",
    [BUG_LOSE_QUEUED] = "start-loses-an-event",
    [BUG_FORGET_CANCEL] = "cancel-forgotten-at-a-start",
    [BUG_IGNORE_COMMIT] = "failed-commit-ignored",
    [BUG_DISK_LIES] = "last-commit-lost",
    [BUG_EARLY] = "due-too-early",
    [BUG_OTHER_PAYLOAD] = "another-events-payload",
};

/* --- the queue's face -----------------------------------------------------------------------------------------------
 */

int __real_queue_accept_many(struct queue *q, const struct queue_new *in, size_t n, queue_event_cb *cb, void *arg);
int __wrap_queue_accept_many(struct queue *q, const struct queue_new *in, size_t n, queue_event_cb *cb, void *arg);

static void nobody(int err, const struct event *ev, void *arg)
{
    (void)err;
    (void)ev;
    (void)arg;
}

int __wrap_queue_accept_many(struct queue *q, const struct queue_new *in, size_t n, queue_event_cb *cb, void *arg)
{
    if (sim.bug != BUG_ACK_EARLY)
        return __real_queue_accept_many(q, in, n, cb, arg);
    int rc = __real_queue_accept_many(q, in, n, nobody, NULL);
    if (rc == 0)
        cb(0, NULL, arg);
    return rc;
}

int __real_queue_start(struct queue *q, uint64_t seq, uint64_t run, bool lone, queue_event_cb *cb, void *arg);
int __wrap_queue_start(struct queue *q, uint64_t seq, uint64_t run, bool lone, queue_event_cb *cb, void *arg);

int __wrap_queue_start(struct queue *q, uint64_t seq, uint64_t run, bool lone, queue_event_cb *cb, void *arg)
{
    if (sim.bug == BUG_START_LOST && cb == NULL && sim_one_in(4))
        return 0;
    if (sim.bug == BUG_UNSYNCED_START && cb != NULL) {
        cb(0, NULL, arg);
        cb = NULL;
    }
    return __real_queue_start(q, seq, run, lone, cb, arg);
}

int __real_queue_promote_due(struct queue *q, int64_t now_ms, uint32_t max_n, queue_count_cb *cb, void *arg);
int __wrap_queue_promote_due(struct queue *q, int64_t now_ms, uint32_t max_n, queue_count_cb *cb, void *arg);

int __wrap_queue_promote_due(struct queue *q, int64_t now_ms, uint32_t max_n, queue_count_cb *cb, void *arg)
{
    return __real_queue_promote_due(q, now_ms + (sim.bug == BUG_EARLY ? 30000 : 0), max_n, cb, arg);
}

int __real_queue_cancel_chunk(struct queue *q, const struct queue_sweep *s, uint32_t max_n, queue_sweep_cb *cb,
                              void *arg);
int __wrap_queue_cancel_chunk(struct queue *q, const struct queue_sweep *s, uint32_t max_n, queue_sweep_cb *cb,
                              void *arg);

int __wrap_queue_cancel_chunk(struct queue *q, const struct queue_sweep *s, uint32_t max_n, queue_sweep_cb *cb,
                              void *arg)
{
    struct queue_sweep to = *s;
    to.waiting = to.waiting && sim.bug != BUG_PURGE_MISSES;
    return __real_queue_cancel_chunk(q, &to, max_n, cb, arg);
}

int __real_queue_dead_replayed_in(struct queue *q, struct store_txn *t, uint64_t seq, const struct id *as);
int __wrap_queue_dead_replayed_in(struct queue *q, struct store_txn *t, uint64_t seq, const struct id *as);

int __wrap_queue_dead_replayed_in(struct queue *q, struct store_txn *t, uint64_t seq, const struct id *as)
{
    return sim.bug == BUG_REPLAY_KEEPS ? 0 : __real_queue_dead_replayed_in(q, t, seq, as);
}

/* --- dead letters ----------------------------------------------------------------------------------------------------
 */

static queue_dead_cb *write_letter;
static void *write_arg;

struct later {
    struct store_op op;
    struct event ev;
};

static int letter_run(struct store_txn *t, void *arg)
{
    const struct later *x = arg;
    return write_letter(t, &x->ev, NULL, 0, write_arg);
}

static void letter_done(int err, void *arg)
{
    (void)err;
    free(arg);
}

static int letter_later(struct store_txn *t, const struct event *ev, const struct attempt *a, size_t n, void *arg)
{
    if (!fiber_here())
        return write_letter(t, ev, a, n, arg);
    struct later *x = malloc(sizeof *x);
    *x = (struct later){.op = {.run = letter_run, .done = letter_done, .arg = x}, .ev = *ev};
    return store_submit(sim.store, &x->op);
}

void __real_queue_set_dead_writer(struct queue *q, queue_dead_cb *cb, void *arg);
void __wrap_queue_set_dead_writer(struct queue *q, queue_dead_cb *cb, void *arg);

void __wrap_queue_set_dead_writer(struct queue *q, queue_dead_cb *cb, void *arg)
{
    write_letter = cb;
    write_arg = arg;
    __real_queue_set_dead_writer(q, sim.bug == BUG_LETTER_LATER ? letter_later : cb, arg);
}

/* --- rows ------------------------------------------------------------------------------------------------------------
 */

int __real_row_save(struct queue *q, struct store_txn *t, const struct stored *s, unsigned flags);
int __wrap_row_save(struct queue *q, struct store_txn *t, const struct stored *s, unsigned flags);

int __wrap_row_save(struct queue *q, struct store_txn *t, const struct stored *s, unsigned flags)
{
    struct stored to = *s;
    to.ev.attempts += sim.bug == BUG_COUNT_TWICE && s->ev.state == EVENT_WAITING && s->ev.attempts == 1;
    to.ev.attempts += sim.bug == BUG_COUNT_DISRUPTION && s->ev.state == EVENT_QUEUED && sim.recovering;
    return __real_row_save(q, t, &to, flags);
}

int __real_decode_running(const void *p, size_t n, struct running *ret);
int __wrap_decode_running(const void *p, size_t n, struct running *ret);

int __wrap_decode_running(const void *p, size_t n, struct running *ret)
{
    int rc = __real_decode_running(p, n, ret);
    if (rc == 0 && sim.bug == BUG_FORGET_CANCEL && sim.recovering)
        ret->cancel_asked = false;
    return rc;
}

/* --- a start ---------------------------------------------------------------------------------------------------------
 */

struct shift {
    int64_t by_ms; /* INT64_MIN: every wait from now */
};

static int shift_run(struct store_txn *t, void *arg)
{
    const struct shift *x = arg;
    struct queue *q = sim.queue;
    struct store_cursor *c;
    struct slice k, v;
    uint64_t seqs[256];
    uint32_t n = 0;
    int rc = store_cursor_open(t, q->due, &c);
    if (rc < 0)
        return rc;
    for (rc = store_cursor_seek(c, NULL, 0, &k, &v); rc == 0 && n < 256; rc = store_cursor_next(c, &k, &v))
        seqs[n++] = store_get_u64((const uint8_t *)k.p + 8);
    store_cursor_close(c);
    rc = 0;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        struct stored s;
        rc = row_load(q, t, seqs[i], &s);
        if (rc == 0)
            rc = row_wait_del(q, t, &s.ev);
        s.ev.due_at_ms = x->by_ms == INT64_MIN ? sim_wall_ms() + s.ev.wait_ms : s.ev.due_at_ms + x->by_ms;
        if (rc == 0)
            rc = row_save(q, t, &s, 0);
        if (rc == 0)
            rc = row_wait_put(q, t, &s.ev);
    }
    return rc;
}

static int lose_run(struct store_txn *t, void *arg)
{
    struct queue *q = arg;
    struct store_cursor *c;
    struct slice k, v;
    struct stored s;
    int rc = store_cursor_open(t, q->ready, &c);
    if (rc < 0)
        return rc;
    rc = store_cursor_seek(c, NULL, 0, &k, &v);
    uint64_t seq = rc == 0 ? store_get_u64((const uint8_t *)k.p + 8) : 0;
    store_cursor_close(c);
    if (rc < 0)
        return 0;
    rc = row_load(q, t, seq, &s);
    if (rc == 0)
        rc = row_ready_del(q, t, &s.ev);
    if (rc == 0)
        rc = row_erase(q, t, &s);
    return rc < 0 ? rc : books_leave(q, s.ev.fid, EVENT_QUEUED);
}

int __real_queue_recover(struct queue *q, uint64_t *ret_recovered, struct err *e);
int __wrap_queue_recover(struct queue *q, uint64_t *ret_recovered, struct err *e);

int __wrap_queue_recover(struct queue *q, uint64_t *ret_recovered, struct err *e)
{
    struct shift anew = {INT64_MIN};
    int rc = __real_queue_recover(q, ret_recovered, e);
    if (rc == 0 && sim.bug == BUG_RESTART_WAITS)
        rc = store_write_now(sim.store, shift_run, &anew, e);
    if (rc == 0 && sim.bug == BUG_LOSE_QUEUED)
        rc = store_write_now(sim.store, lose_run, q, e);
    return rc;
}

struct shift_op {
    struct shift x; /* first: it is what shift_run takes */
    struct store_op op;
};

static void shift_done(int err, void *arg)
{
    (void)err;
    free(arg);
}

void bugs_clock_stepped(int64_t by_ms)
{
    if (sim.bug != BUG_WAITS_FOLLOW_CLOCK)
        return;
    struct shift_op *x = malloc(sizeof *x);
    *x = (struct shift_op){.x = {by_ms}, .op = {.run = shift_run, .done = shift_done, .arg = x}};
    if (store_submit(sim.store, &x->op) < 0)
        free(x);
}

/* --- the store -------------------------------------------------------------------------------------------------------
 */

int __real_store_txn_commit(struct store_txn *t);
int __wrap_store_txn_commit(struct store_txn *t);

int __wrap_store_txn_commit(struct store_txn *t)
{
    int rc = __real_store_txn_commit(t);
    return sim.bug == BUG_IGNORE_COMMIT ? 0 : rc;
}
