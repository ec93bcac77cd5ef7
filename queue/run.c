/* Running: start, settle, expire. */
#include <stdlib.h>
#include <string.h>

#include "priv.h"

/* --- start -------------------------------------------------------------------------------------------------------- */

static int start_run(struct store_txn *t, void *arg)
{
    struct event_op *x = arg;
    struct queue *q = x->q;
    struct stored s;
    int rc = row_load_live(q, t, x->seq, &s);
    if (rc < 0)
        return rc;
    if (s.ev.state != EVENT_QUEUED)
        return ERR_CONFLICT;
    event_move(&s.ev, EVENT_RUNNING);
    struct running r = {.run = x->run, .started_at_ms = clock_now_ms(q->opts.clock), .lone = x->lone};
    struct key k = key_u64(x->seq);
    s.ev.started_at_ms = r.started_at_ms;
    s.ev.run = r.run;
    s.ev.lone = r.lone;
    x->ev = s.ev;
    rc = row_ready_del(q, t, &s.ev);
    if (rc == 0)
        rc = codec_running(&q->scratch, &r);
    if (rc == 0)
        rc = store_put(t, q->running, k.b, k.len, q->scratch.data, q->scratch.len, STORE_PUT_NEW);
    if (rc == 0)
        rc = books_leave(q, s.ev.fid, EVENT_QUEUED);
    return rc < 0 ? rc : books_enter(q, s.ev.fid, EVENT_RUNNING);
}

int queue_start(struct queue *q, uint64_t seq, uint64_t run, bool lone, queue_event_cb *cb, void *arg)
{
    struct event_op *x = event_op_new(q, start_run, seq, cb, arg);
    if (x == NULL)
        return ERR_NOMEM;
    x->run = run;
    x->lone = lone;
    x->may_owe = true;
    if (cb == NULL)
        x->op.flags = STORE_OP_LAZY; /* its outcome may be near, and then both are one commit */
    return event_op_submit(x);
}

/* --- settle ------------------------------------------------------------------------------------------------------- */

struct settle_op {
    struct event_op base; /* first: event_op's completion is used */
    struct settle s;
};

static struct attempt *attempt_copy(struct attempt *to, const struct attempt *a, char *at)
{
    *to = *a;
    const char **text[] = {&to->error_type, &to->error_message};
    for (size_t i = 0; i < 2; i++)
        if (*text[i] != NULL) {
            size_t n = strlen(*text[i]) + 1;
            memcpy(at, *text[i], n);
            *text[i] = at;
            at += n;
        }
    if (a->error != NULL && a->error_len > 0) {
        memcpy(at, a->error, a->error_len);
        to->error = at;
        at += a->error_len;
    }
    if (a->log_tail != NULL && a->log_tail_len > 0) {
        memcpy(at, a->log_tail, a->log_tail_len);
        to->log_tail = at;
    }
    return to;
}

static size_t attempt_bytes(const struct attempt *a)
{
    return (a->error_type != NULL ? strlen(a->error_type) + 1 : 0) +
           (a->error_message != NULL ? strlen(a->error_message) + 1 : 0) + a->error_len + a->log_tail_len;
}

int attempt_keep(struct queue *q, struct store_txn *t, struct stored *s, const struct attempt *a)
{
    s->ev.attempts++;
    if (s->n_briefs == QUEUE_ATTEMPTS_MAX)
        return 0; /* counted, but there is no room to tell of it */
    struct brief *b = &s->briefs[s->n_briefs++];
    *b = (struct brief){.started_at_ms = a->started_at_ms,
                        .ended_at_ms = a->ended_at_ms,
                        .outcome = a->outcome,
                        .exit_code = a->exit_code,
                        .signal = a->signal,
                        .peak_kb = a->peak_kb};
    memcpy(b->version, a->version, sizeof b->version);
    b->details = a->error_type != NULL || a->error_message != NULL || a->error != NULL || a->log_tail != NULL;
    if (!b->details)
        return 0;
    struct key k = key_part(s->ev.seq, s->n_briefs);
    int rc = codec_attempt(&q->scratch, a);
    return rc < 0 ? rc : store_put(t, q->attempt, k.b, k.len, q->scratch.data, q->scratch.len, 0);
}

int run_finish(struct queue *q, struct store_txn *t, struct stored *s, enum event_state state)
{
    event_move(&s->ev, state);
    s->ev.ended_at_ms = clock_now_ms(q->opts.clock);
    int rc = 0;
    if (!atomic_load(&q->history_payload)) {
        rc = row_del_payload(q, t, s);
        s->payload = (struct slice){0};
        s->ev.payload_len = 0;
    }
    if (rc == 0)
        rc = row_save(q, t, s, 0);
    if (rc == 0)
        rc = row_finish(q, t, s);
    return rc < 0 ? rc : books_enter(q, s->ev.fid, state);
}

static int requeue(struct queue *q, struct store_txn *t, struct stored *s)
{
    s->ev.disruptions++;
    s->ev.lone_runs += s->ev.lone;
    event_move(&s->ev, EVENT_QUEUED);
    int rc = row_save(q, t, s, 0);
    if (rc == 0)
        rc = row_ready_put(q, t, &s->ev);
    return rc < 0 ? rc : books_enter(q, s->ev.fid, EVENT_QUEUED);
}

static int apply(struct queue *q, struct store_txn *t, struct stored *s, const struct settle *in)
{
    int rc;
    if (s->ev.cancel_asked)
        return run_finish(q, t, s, EVENT_CANCELLED);
    switch (in->verdict) {
    case VERDICT_DONE:
        return run_finish(q, t, s, EVENT_DONE);
    case VERDICT_CANCELLED:
        return run_finish(q, t, s, EVENT_CANCELLED);
    case VERDICT_REQUEUE:
        return requeue(q, t, s);
    case VERDICT_DEAD:
        if (!in->counts) {
            s->ev.disruptions++;
            s->ev.lone_runs += s->ev.lone;
        }
        return dead_enter(q, t, s, in->condition);
    case VERDICT_WAIT:
        event_move(&s->ev, EVENT_WAITING);
        s->ev.due_at_ms = in->due_at_ms;
        s->ev.wait_ms = in->wait_ms;
        rc = row_wait_put(q, t, &s->ev);
        if (rc == 0)
            rc = row_save(q, t, s, 0);
        return rc < 0 ? rc : books_enter(q, s->ev.fid, EVENT_WAITING);
    }
    return ERR_INVALID;
}

static int settle_run(struct store_txn *t, void *arg)
{
    struct settle_op *x = arg;
    struct queue *q = x->base.q;
    struct key k = key_u64(x->s.seq);
    struct slice v;
    struct running r;
    struct stored s;
    int rc = store_get(t, q->running, k.b, k.len, &v);
    if (rc == ERR_NOTFOUND)
        return ERR_CONFLICT;
    if (rc == 0)
        rc = decode_running(v.p, v.len, &r);
    if (rc < 0)
        return rc;
    if (r.run != x->s.run)
        return ERR_CONFLICT; /* a late answer: another run is in progress */
    rc = row_load_live(q, t, x->s.seq, &s);
    if (rc == ERR_CORRUPT || rc == ERR_VERSION) {
        /* The run is over, but what it was a run of cannot be read any more. */
        s.ev.fid = x->base.ev.fid;
        rc = store_del(t, q->running, k.b, k.len);
        if (rc == 0)
            rc = books_leave(q, s.ev.fid, EVENT_RUNNING);
        return rc < 0 ? rc : dead_corrupt(q, t, x->s.seq, s.ev.fid, EVENT_RUNNING);
    }
    if (rc < 0)
        return rc;
    rc = store_del(t, q->running, k.b, k.len);
    if (rc == 0)
        rc = books_leave(q, s.ev.fid, EVENT_RUNNING);
    if (rc == 0 && x->s.counts)
        rc = attempt_keep(q, t, &s, &x->s.attempt);
    if (rc == 0)
        rc = apply(q, t, &s, &x->s);
    x->base.ev = s.ev;
    x->base.becomes_ready = rc == 0 && s.ev.state == EVENT_QUEUED;
    return rc;
}

int queue_settle(struct queue *q, const struct settle *s, queue_event_cb *cb, void *arg)
{
    struct settle_op *x = malloc(sizeof *x + (s->counts ? attempt_bytes(&s->attempt) : 0));
    struct event_op *base = event_op_new(q, settle_run, s->seq, cb, arg);
    if (x == NULL || base == NULL) {
        free(x);
        free(base);
        return ERR_NOMEM;
    }
    x->base = *base;
    free(base);
    x->base.op.arg = x;
    x->base.ev.fid = s->fid;
    x->base.may_owe = true;
    x->s = *s;
    if (s->counts)
        (void)attempt_copy(&x->s.attempt, &s->attempt, (char *)(x + 1));
    return event_op_submit(&x->base);
}

/* --- expire ------------------------------------------------------------------------------------------------------- */

static int expire_run(struct store_txn *t, void *arg)
{
    struct event_op *x = arg;
    struct queue *q = x->q;
    struct stored s;
    int rc = row_load_live(q, t, x->seq, &s);
    if (rc < 0)
        return rc;
    if (s.ev.state != EVENT_QUEUED && s.ev.state != EVENT_WAITING)
        return ERR_CONFLICT;
    rc = s.ev.state == EVENT_QUEUED ? row_ready_del(q, t, &s.ev) : row_wait_del(q, t, &s.ev);
    if (rc == 0)
        rc = books_leave(q, s.ev.fid, s.ev.state);
    if (rc == 0)
        rc = dead_enter(q, t, &s, x->condition);
    x->ev = s.ev;
    return rc;
}

int queue_expire(struct queue *q, uint64_t seq, enum condition c, queue_event_cb *cb, void *arg)
{
    struct event_op *x = event_op_new(q, expire_run, seq, cb, arg);
    if (x == NULL)
        return ERR_NOMEM;
    x->condition = c;
    x->may_owe = true;
    return event_op_submit(x);
}
