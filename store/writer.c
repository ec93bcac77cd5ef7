/* The store thread: takes what waits, runs it in one transaction, commits, tells. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"

#include "priv.h"

/* How one try at a batch ended. In every case but COMMITTED nothing of it is stored. */
enum end {
    END_COMMITTED,
    END_CULPRIT, /* one op failed after it had written; it is marked left_out */
    END_FULL,    /* map or disk */
    END_SPLIT,   /* too much for one transaction */
    END_FAILED,  /* the batch as such: code in *ret_code */
    END_FATAL,
};

static enum end end_of(int code)
{
    return code == ERR_IO ? END_FATAL : code == ERR_FULL ? END_FULL : code == ERR_TOOBIG ? END_SPLIT : END_FAILED;
}

static int hooks_before_commit(struct store_txn *t)
{
    struct store *s = t->s;
    for (size_t i = 0; i < s->n_hooks; i++) {
        int r = s->hooks[i].before_commit == NULL ? 0 : s->hooks[i].before_commit(t, s->hooks[i].arg);
        if (t->broken < 0)
            return t->broken;
        if (r < 0)
            return r;
    }
    return 0;
}

static void hooks_begin(struct store *s)
{
    for (size_t i = 0; i < s->n_hooks; i++)
        if (s->hooks[i].begin != NULL)
            s->hooks[i].begin(s->hooks[i].arg);
}

static void hooks_end(struct store *s, bool committed)
{
    for (size_t i = 0; i < s->n_hooks; i++) {
        void (*cb)(void *) = committed ? s->hooks[i].committed : s->hooks[i].aborted;
        if (cb != NULL)
            cb(s->hooks[i].arg);
    }
}

static void hooks_wrote(struct store *s)
{
    for (size_t i = 0; i < s->n_hooks; i++)
        if (s->hooks[i].wrote != NULL)
            s->hooks[i].wrote(s->hooks[i].arg);
}

static void count_commit(struct store *s, int64_t took_us, size_t ops, bool wrote)
{
    hist_add(&s->commit_us, took_us);
    hist_add(&s->commit_ops, (int64_t)ops);
    pthread_mutex_lock(&s->mu);
    s->stats.commits++;
    s->stats.changes += wrote;
    s->stats.ops += ops;
    s->stats.last_commit_us = (uint64_t)took_us;
    pthread_mutex_unlock(&s->mu);
}

/* Ends t: before_commit hooks, commit, and the hooks that are told. 0 or ERR_x; *ret_known false: the transaction is on
 * disk although this failed. */
static int finish(struct store_txn *t, size_t ops, bool *ret_known)
{
    struct store *s = t->s;
    *ret_known = true;
    int r = hooks_before_commit(t);
    if (r < 0) {
        store_txn_abort(t);
        hooks_end(s, false);
        return r;
    }
    bool wrote = t->writes > 0;
    int64_t start_us = clock_mono_us();
    r = store_txn_commit(t);
    if (r == 0) {
        count_commit(s, clock_mono_us() - start_us, ops, wrote);
        r = store_fault_at(s, STORE_FAULT_COMMITTED);
        *ret_known = r == 0;
    }
    hooks_end(s, r == 0);
    if (r == 0 && wrote)
        hooks_wrote(s);
    return r;
}

/* Runs one op. Its own failure is in op->result; the return value says whether the transaction can go on. */
static enum end run_op(struct store_txn *t, struct store_op *op)
{
    /* Refused by itself, so not left out: should the batch be repeated, there may be room for it. */
    if ((op->flags & STORE_OP_NEW) && store_room_refuses(t->s, t->put_bytes + op->bytes)) {
        op->result = ERR_FULL;
        return END_COMMITTED;
    }
    uint64_t writes = t->writes;
    op->result = op->run(t, op->arg);
    BIDE_ASSERT(op->result <= 0, "an op returned %d", op->result);
    BIDE_ASSERT(t->cursors == 0, "an op left %u cursors open", t->cursors);
    if (t->broken < 0) {
        enum end end = end_of(t->broken);
        if (end != END_FAILED)
            return end;
        op->result = t->broken;
    } else if (op->result == 0 || t->writes == writes) {
        return END_COMMITTED;
    }
    op->left_out = true;
    return END_CULPRIT;
}

/* One transaction with the ops that are not left out. *n is cut when the transaction grows too big to take them all. */
static enum end attempt(struct store *s, struct store_op **ops, size_t *n, int *ret_code)
{
    struct store_txn t;
    size_t good = 0;
    *ret_code = store_txn_begin(s, &t);
    if (*ret_code < 0)
        return end_of(*ret_code) == END_FATAL ? END_FATAL : END_FAILED;
    hooks_begin(s);
    for (size_t i = 0; i < *n; i++) {
        if (ops[i]->left_out)
            continue;
        enum end end = run_op(&t, ops[i]);
        if (end != END_COMMITTED) {
            store_txn_abort(&t);
            hooks_end(s, false);
            return end;
        }
        good += ops[i]->result == 0;
        if (t.put_bytes >= STORE_BATCH_BYTES)
            *n = i + 1;
    }
    bool known;
    *ret_code = finish(&t, good, &known);
    if (*ret_code < 0)
        return known ? end_of(*ret_code) : END_FATAL;
    return END_COMMITTED;
}

static void fail_rest(struct store_op **ops, size_t from, size_t n, int code)
{
    for (size_t i = from; i < n; i++)
        if (!ops[i]->left_out)
            ops[i]->result = code;
}

/* The last resort: a transaction for each op, so that those that can be finished are. */
static enum end run_alone(struct store *s, struct store_op **ops, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t one = 1;
        int code = 0;
        if (ops[i]->left_out)
            continue;
        switch (attempt(s, &ops[i], &one, &code)) {
        case END_COMMITTED:
        case END_CULPRIT: /* its result is set */
            break;
        case END_FULL:
            ops[i]->result = ERR_FULL;
            break;
        case END_SPLIT:
            ops[i]->result = ERR_TOOBIG;
            break;
        case END_FAILED:
            ops[i]->result = code;
            break;
        case END_FATAL:
            fail_rest(ops, i, n, ERR_IO);
            return END_FATAL;
        }
    }
    return END_COMMITTED;
}

/* Old work goes before new: the ops that bring in more are given up. False when there is none. */
static bool shed_new(struct store_op **ops, size_t n)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (ops[i]->left_out || !(ops[i]->flags & STORE_OP_NEW))
            continue;
        ops[i]->result = ERR_FULL;
        ops[i]->left_out = true;
        any = true;
    }
    return any;
}

static size_t count_in(struct store_op **ops, size_t n)
{
    size_t in = 0;
    for (size_t i = 0; i < n; i++)
        in += !ops[i]->left_out;
    return in;
}

/* Gives every op its result. Returns END_FATAL when the store must not go on. */
static enum end run_batch(struct store *s, struct store_op **ops, size_t *n)
{
    int culprits = 0;
    while (count_in(ops, *n) > 0) {
        int code = 0;
        enum end end = attempt(s, ops, n, &code);
        switch (end) {
        case END_COMMITTED:
            return end;
        case END_CULPRIT:
            if (++culprits == STORE_CULPRITS_MAX)
                return run_alone(s, ops, *n);
            break;
        case END_FULL:
            if (!shed_new(ops, *n))
                return run_alone(s, ops, *n);
            break;
        case END_SPLIT:
            return run_alone(s, ops, *n);
        case END_FAILED:
        case END_FATAL:
            fail_rest(ops, 0, *n, end == END_FATAL ? ERR_IO : code);
            return end;
        }
    }
    return END_COMMITTED;
}

/* The ops belong to their owners again once done was called: nothing of them is touched afterwards. */
static void complete(struct store *s, struct store_op **ops, size_t n)
{
    size_t failed = 0;
    for (size_t i = 0; i < n; i++)
        failed += ops[i]->result < 0;
    if (failed > 0) {
        pthread_mutex_lock(&s->mu);
        s->stats.ops_failed += failed;
        pthread_mutex_unlock(&s->mu);
    }
    for (size_t i = 0; i < n; i++)
        if (ops[i]->done != NULL)
            ops[i]->done(ops[i]->result, ops[i]->arg);
}

/* All of the inbox, in the order of submission. Under mu. */
static struct store_op *inbox_empty(struct store *s)
{
    struct store_op *list = s->inbox_head;
    s->inbox_head = s->inbox_tail = NULL;
    s->inbox_urgent = 0;
    return list;
}

/* Up to batch_ops from the front of *list, which keeps what does not fit. */
static size_t gather(struct store *s, struct store_op *list)
{
    size_t n = 0;
    for (struct store_op *op = list; op != NULL && n < s->opts.batch_ops; op = op->next) {
        op->result = 0;
        op->left_out = false;
        s->batch[n++] = op;
    }
    return n;
}

static void work(struct store *s, struct store_op **list)
{
    size_t n = gather(s, *list);
    bool died = false;
    if (s->fatal)
        fail_rest(s->batch, 0, n, ERR_IO);
    else
        died = run_batch(s, s->batch, &n) == END_FATAL;
    *list = s->batch[n - 1]->next;
    s->fatal |= died;
    complete(s, s->batch, n);
    if (died) {
        struct err e;
        err_set(&e, ERR_IO, "%s: %s failed: %s", s->path, s->bad_step == NULL ? "a transaction" : s->bad_step,
                mdb_strerror(s->bad_step == NULL ? EIO : s->bad_rc));
        store_fatal(s, &e);
    }
}

/* Lets the thread wait until mono_us at most; false when that is past. */
static bool wait_until(struct store *s, int64_t mono_us)
{
    struct timespec at = {.tv_sec = (time_t)(mono_us / 1000000), .tv_nsec = (long)(mono_us % 1000000 * 1000)};
    return pthread_cond_timedwait(&s->wake, &s->mu, &at) != ETIMEDOUT;
}

/* The inbox, once there is something in it that should be committed; NULL when the thread is to end.
 *
 * Ops that are STORE_OP_LAZY wait for company, but no longer than lazy_us. After work the thread itself stays half
 * awake for as long, so that a stream of lazy ops does not wake it for each. */
static struct store_op *take_inbox(struct store *s)
{
    int64_t until = clock_mono_us() + s->opts.lazy_us;
    pthread_mutex_lock(&s->mu);
    while (s->inbox_urgent == 0 && !s->stopping) {
        if (until > 0) {
            s->wake_at = 1;
            if (!wait_until(s, until)) {
                if (s->inbox_head != NULL)
                    break;
                until = 0;
            }
        } else {
            s->wake_at = 0;
            pthread_cond_wait(&s->wake, &s->mu);
            if (s->inbox_head != NULL)
                until = clock_mono_us() + s->opts.lazy_us;
        }
    }
    s->wake_at = SIZE_MAX;
    struct store_op *list = inbox_empty(s);
    pthread_mutex_unlock(&s->mu);
    return list;
}

/* What came in meanwhile joins the end of *list, so that a transaction is as full as it can be. */
static void top_up(struct store *s, struct store_op **list)
{
    struct store_op **end = list;
    size_t n = 0;
    while (*end != NULL && n++ < s->opts.batch_ops)
        end = &(*end)->next;
    if (*end != NULL)
        return;
    pthread_mutex_lock(&s->mu);
    if (s->inbox_urgent > 0 || n > 0)
        *end = inbox_empty(s);
    pthread_mutex_unlock(&s->mu);
}

/* Of those that would be in the next batch, the ones somebody waits for. */
static size_t count_urgent(const struct store *s, const struct store_op *list)
{
    size_t n = 0, urgent = 0;
    for (; list != NULL && n++ < s->opts.batch_ops; list = list->next)
        urgent += (list->flags & STORE_OP_LAZY) == 0;
    return urgent;
}

/* Waits for company, if that pays: see gather.h. */
static void gather_more(struct store *s, struct store_op *list)
{
    size_t n = count_urgent(s, list), missing = n > 0 ? gather_missing(&s->gather, n) : 0;
    if (missing == 0)
        return;
    int64_t until = clock_mono_us() + gather_patience_us(&s->gather);
    while (list->next != NULL)
        list = list->next;
    pthread_mutex_lock(&s->mu);
    s->wake_at = missing;
    while (s->inbox_urgent < missing && !s->stopping && wait_until(s, until))
        ;
    s->wake_at = SIZE_MAX;
    size_t came = s->inbox_urgent;
    list->next = inbox_empty(s);
    pthread_mutex_unlock(&s->mu);
    gather_learn(&s->gather, missing, came);
}

static void *run(void *arg)
{
    struct store *s = arg;
    struct store_op *list;
    while ((list = take_inbox(s)) != NULL) {
        while (list != NULL) {
            gather_more(s, list);
            atomic_store_explicit(&s->batch_since_ms, clock_mono_ms(), memory_order_relaxed);
            int64_t began_us = clock_mono_us();
            size_t ops = count_urgent(s, list);
            work(s, &list);
            top_up(s, &list);
            gather_committed(&s->gather, ops, count_urgent(s, list), clock_mono_us() - began_us);
        }
        atomic_store_explicit(&s->batch_since_ms, 0, memory_order_relaxed);
    }
    return NULL;
}

int store_start(struct store *s, struct err *e)
{
    sigset_t all, old;
    BIDE_ASSERT(!s->started && !s->opts.read_only, "store_start: running already, or read-only");
    s->stopping = false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the threads that wait for them */
    int sys = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (sys != 0)
        return err_sys(e, ERR_NOMEM, sys, "%s: cannot start the store thread", s->path);
    (void)pthread_setname_np(s->thread, "store"); /* only for those who look at the process */
    s->started = true;
    return 0;
}

void store_stop(struct store *s)
{
    pthread_mutex_lock(&s->mu);
    s->stopping = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mu);
    if (s->started)
        pthread_join(s->thread, NULL);
    s->started = false;
    for (struct store_op *op = s->inbox_head, *next; op != NULL; op = next) {
        next = op->next;
        if (op->done != NULL)
            op->done(ERR_SHUTDOWN, op->arg);
    }
    s->inbox_head = s->inbox_tail = NULL;
}

int store_submit(struct store *s, struct store_op *op)
{
    BIDE_ASSERT(!s->opts.read_only, "an op for a read-only store");
    op->next = NULL;
    pthread_mutex_lock(&s->mu);
    if (s->stopping && !(s->started && pthread_equal(pthread_self(), s->thread))) {
        pthread_mutex_unlock(&s->mu);
        return ERR_SHUTDOWN;
    }
    if (s->inbox_tail == NULL)
        s->inbox_head = op;
    else
        s->inbox_tail->next = op;
    s->inbox_tail = op;
    s->inbox_urgent += (op->flags & STORE_OP_LAZY) == 0;
    bool wake = s->inbox_urgent >= s->wake_at;
    pthread_mutex_unlock(&s->mu);
    if (wake)
        pthread_cond_signal(&s->wake);
    return 0;
}

/* With the library's own words where the system has refused something. */
static int failed_now(struct store *s, const char *what, int r, struct err *e)
{
    bool known = r == ERR_IO && s->bad_step != NULL;
    return err_set(e, r, "%s: %s: %s", s->path, what, known ? mdb_strerror(s->bad_rc) : err_name(r));
}

int store_write_now(struct store *s, store_run_cb *fn, void *arg, struct err *e)
{
    struct store_txn t;
    BIDE_ASSERT(!s->started && !s->opts.read_only, "store_write_now with the store thread running, or read-only");
    int r = store_txn_begin(s, &t);
    if (r < 0)
        return failed_now(s, "cannot begin a transaction", r, e);
    hooks_begin(s);
    r = fn(&t, arg);
    if (t.broken < 0)
        r = t.broken;
    if (r < 0) {
        store_txn_abort(&t);
        hooks_end(s, false);
        return err_set(e, r, "%s: %s", s->path, err_name(r));
    }
    bool known;
    r = finish(&t, 1, &known);
    return r == 0 ? 0 : failed_now(s, "commit failed", r, e);
}

void store_histograms(struct store *s, struct hist_view *ret_commit_us, struct hist_view *ret_commit_ops)
{
    hist_read(&s->commit_us, ret_commit_us);
    hist_read(&s->commit_ops, ret_commit_ops);
}

int64_t store_busy_ms(struct store *s)
{
    int64_t since = atomic_load_explicit(&s->batch_since_ms, memory_order_relaxed);
    int64_t now = clock_mono_ms();
    return since > 0 && now > since ? now - since : 0;
}

int store_add_hooks(struct store *s, const struct store_hooks *h)
{
    BIDE_ASSERT(!s->started, "store_add_hooks after store_start");
    if (s->n_hooks == STORE_HOOKS_MAX)
        return ERR_FULL;
    s->hooks[s->n_hooks++] = *h;
    return 0;
}
