/* The writer thread and group commit: everything waiting goes into one transaction, one sync, then every completion. */
#include "priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

/* A batch is a list of ops in order of submission; result 1 means "not decided yet". */
enum { PENDING = 1 };

static void fatal(struct store *s, int code, const char *what)
{
    struct err e;
    (void)err_set(&e, code, "store: %s failed (%s); nothing more is acknowledged, recovery is by a restart", what,
                  err_name(code));
    if (s->opts.on_fatal != NULL) {
        s->opts.on_fatal(&e, s->opts.arg);
        return;
    }
    (void)fprintf(stderr, "bided: %s\n", e.text);
    _exit(STORE_EXIT_FATAL);
}

static void complete(struct store *s, struct store_op *batch)
{
    for (struct store_op *op = batch, *next; op != NULL; op = next) {
        next = op->next; /* done may free it */
        atomic_fetch_add(op->result == 0 ? &s->ops : &s->ops_failed, 1);
        if (op->done != NULL)
            op->done(op->result, op->arg);
    }
}

static void decide_pending(struct store_op *batch, int result)
{
    for (struct store_op *op = batch; op != NULL; op = op->next)
        if (op->result == PENDING)
            op->result = result;
}

/* Run every undecided op in t. 0, or the code of the op that spoilt the transaction (its result is set then). */
static int run_ops(struct store_txn *t, struct store_op *batch)
{
    for (struct store_op *op = batch; op != NULL; op = op->next) {
        if (op->result != PENDING)
            continue;
        uint64_t before = t->writes;
        int rc = op->run(t, op->arg);
        if (t->failed != 0)
            return t->failed; /* whose fault it was cannot be told: the room was used up by all */
        if (rc < 0) {
            op->result = rc;
            if (t->writes != before)
                return rc;
        }
    }
    return 0;
}

static bool drop_new_work(struct store_op *batch)
{
    bool any = false;
    for (struct store_op *op = batch; op != NULL; op = op->next)
        if (op->result == PENDING && (op->flags & STORE_OP_NEW) != 0) {
            op->result = ERR_FULL;
            any = true;
        }
    return any;
}

static int commit_timed(struct store *s, struct store_txn *t)
{
    int64_t from = clock_mono_us();
    int rc = txn_commit(t);
    atomic_store(&s->last_commit_us, (uint64_t)(clock_mono_us() - from));
    if (rc == 0)
        atomic_fetch_add(&s->commits, 1);
    return rc;
}

/* One try at the undecided ops of a batch. 0: all decided and stored. */
static int try_batch(struct store *s, struct store_op *batch, bool *ret_io)
{
    struct store_txn t;
    int rc = txn_begin(s, &t);
    *ret_io = rc == ERR_IO || rc == ERR_CORRUPT;
    if (rc < 0)
        return rc;
    rc = run_ops(&t, batch);
    if (rc < 0) {
        txn_abort(&t);
        *ret_io = t.failed == ERR_IO || t.failed == ERR_CORRUPT;
        return rc;
    }
    rc = commit_timed(s, &t);
    *ret_io = rc == ERR_IO || rc == ERR_CORRUPT;
    if (rc == 0)
        decide_pending(batch, 0);
    return rc;
}

static bool any_pending(const struct store_op *batch)
{
    for (; batch != NULL; batch = batch->next)
        if (batch->result == PENDING)
            return true;
    return false;
}

/* The last resort on a full map: each op by itself, so that the small ones that free room get through. */
static bool one_by_one(struct store *s, struct store_op *batch)
{
    bool io = false;
    for (struct store_op *op = batch; op != NULL && !io; op = op->next) {
        if (op->result != PENDING)
            continue;
        struct store_op *rest = op->next;
        op->next = NULL;
        int rc = try_batch(s, op, &io);
        op->next = rest;
        if (op->result == PENDING)
            op->result = rc;
    }
    return io;
}

static void run_batch(struct store *s, struct store_op *batch)
{
    bool io = false;
    int rc = 0;
    for (struct store_op *op = batch; op != NULL; op = op->next)
        op->result = PENDING;
    reserve_check(s, false);
    if (atomic_load(&s->full))
        (void)drop_new_work(batch);
    /* Each round decides at least one op, so there are at most as many rounds as ops. */
    while (any_pending(batch) && !io) {
        rc = try_batch(s, batch, &io);
        if (rc == 0 || io)
            break;
        if (rc == ERR_FULL || rc == ERR_NOMEM) {
            reserve_check(s, true);
            if (!drop_new_work(batch)) {
                io = one_by_one(s, batch);
                break;
            }
        } else if (any_pending(batch) && rc != 0) {
            bool culprit = false;
            for (const struct store_op *op = batch; op != NULL && !culprit; op = op->next)
                culprit = op->result == rc;
            if (!culprit) {
                decide_pending(batch, rc); /* a hook's or the commit's own failure: nobody's op in particular */
                break;
            }
        }
    }
    decide_pending(batch, rc < 0 ? rc : ERR_IO);
    complete(s, batch);
    if (io)
        fatal(s, ERR_IO, "writing or syncing");
}

/* Up to batch_ops from the inbox, in order; NULL when the thread is to end. */
static struct store_op *next_batch(struct store *s)
{
    pthread_mutex_lock(&s->mu);
    while (s->head == NULL && !s->stopping) {
        s->sleeping = true;
        pthread_cond_wait(&s->wake, &s->mu);
        s->sleeping = false;
    }
    struct store_op *batch = s->head, *last = batch;
    for (size_t n = 1; last != NULL && last->next != NULL && n < s->opts.batch_ops; n++)
        last = last->next;
    if (last != NULL) {
        s->head = last->next;
        if (s->head == NULL)
            s->tail = NULL;
        last->next = NULL;
    }
    pthread_mutex_unlock(&s->mu);
    return batch;
}

static void *writer_main(void *arg)
{
    struct store *s = arg;
    struct store_op *batch;
    while ((batch = next_batch(s)) != NULL)
        run_batch(s, batch);
    return NULL;
}

int store_start(struct store *s, struct err *e)
{
    BIDE_ASSERT(!s->started && !s->opts.read_only, "store started twice, or read-only");
    int rc = pthread_create(&s->thread, NULL, writer_main, s);
    if (rc != 0)
        return err_sys(e, ERR_IO, rc, "store: writer thread");
    s->started = true;
    return 0;
}

void store_stop(struct store *s)
{
    if (!s->started || s->stopped)
        return;
    pthread_mutex_lock(&s->mu);
    s->stopping = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mu);
    (void)pthread_join(s->thread, NULL);
    s->stopped = true;
}

int store_submit(struct store *s, struct store_op *op)
{
    op->next = NULL;
    pthread_mutex_lock(&s->mu);
    /* While stopping, the thread's own completions may still submit: what they follow up on is finished too. */
    bool closed = s->stopping && !(s->started && pthread_equal(pthread_self(), s->thread));
    if (!closed) {
        if (s->tail != NULL)
            s->tail->next = op;
        else
            s->head = op;
        s->tail = op;
        if (s->sleeping)
            pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->mu);
    return closed ? ERR_SHUTDOWN : 0;
}
