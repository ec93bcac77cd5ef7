#include "priv.h"

#include <stdlib.h>
#include <string.h>

static const char books_key[] = "books", format_key[] = "format";

/* --- counters ----------------------------------------------------------------------------------------------------- */

struct counts *counts_of(struct queue *q, uint64_t fid)
{
    struct counts *c = NULL;
    HASH_FIND(hh, q->counts, &fid, sizeof fid, c);
    if (c != NULL)
        return c;
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->fid = fid;
    pthread_mutex_lock(&q->tally_mu);
    HASH_ADD(hh, q->counts, fid, sizeof c->fid, c);
    pthread_mutex_unlock(&q->tally_mu);
    return c;
}

static uint64_t *total_of(struct books *b, enum event_state s)
{
    switch (s) {
    case EVENT_QUEUED:
        return &b->queued;
    case EVENT_RUNNING:
        return &b->running;
    case EVENT_WAITING:
        return &b->waiting;
    case EVENT_DONE:
        return &b->done;
    case EVENT_DEAD:
        return &b->dead;
    case EVENT_CANCELLED:
        return &b->cancelled;
    case EVENT_REPLAYED:
        return &b->replayed;
    case EVENT_REMOVED:
        return &b->removed;
    case EVENT_NONE:
    case EVENT_STATES:
        break;
    }
    BIDE_ASSERT(false, "no book of state %d", (int)s);
    return NULL;
}

static uint64_t *share_of(struct counts *c, enum event_state s)
{
    switch (s) {
    case EVENT_QUEUED:
        return &c->now.queued;
    case EVENT_RUNNING:
        return &c->now.running;
    case EVENT_WAITING:
        return &c->now.waiting;
    case EVENT_DEAD:
        return &c->now.dead;
    case EVENT_NONE:
    case EVENT_DONE:
    case EVENT_CANCELLED:
    case EVENT_REPLAYED:
    case EVENT_REMOVED:
    case EVENT_STATES:
        break;
    }
    return NULL;
}

void counts_touch(struct queue *q, struct counts *c)
{
    if (c->dirty)
        return;
    c->dirty = true;
    TAILQ_INSERT_TAIL(&q->dirty_counts, c, link);
}

static bool counts_nothing(const struct counts *c)
{
    static const struct queue_function_stats none;
    return memcmp(&c->now, &none, sizeof none) == 0;
}

static int books_add(struct queue *q, uint64_t fid, enum event_state s, int64_t by)
{
    struct counts *c = counts_of(q, fid);
    if (c == NULL)
        return ERR_NOMEM;
    uint64_t *total = total_of(&q->now.books, s), *share = share_of(c, s);
    BIDE_ASSERT(by > 0 || *total > 0, "the book of %s would fall below nothing", event_state_name(s));
    *total += (uint64_t)by;
    q->dirty = true;
    if (share == NULL)
        return 0;
    *share += (uint64_t)by;
    counts_touch(q, c);
    return 0;
}

int counts_gone(struct queue *q, uint64_t fid)
{
    struct counts *c = counts_of(q, fid);
    if (c == NULL)
        return ERR_NOMEM;
    c->gone = true;
    counts_touch(q, c);
    q->dirty = true;
    return 0;
}

int books_enter(struct queue *q, uint64_t fid, enum event_state s)
{
    return books_add(q, fid, s, 1);
}

int books_leave(struct queue *q, uint64_t fid, enum event_state s)
{
    return books_add(q, fid, s, -1);
}

/* --- around each transaction -------------------------------------------------------------------------------------- */

static int save_counts(struct queue *q, struct store_txn *t)
{
    struct counts *c;
    TAILQ_FOREACH (c, &q->dirty_counts, link) {
        struct key k = key_u64(c->fid);
        int rc;
        if (counts_nothing(c)) {
            rc = store_del(t, q->stats, k.b, k.len); /* no row says the same, also of functions that are no more */
            rc = rc == ERR_NOTFOUND ? 0 : rc;
        } else {
            rc = codec_stats(&q->scratch, &c->now);
            if (rc == 0)
                rc = store_put(t, q->stats, k.b, k.len, q->scratch.data, q->scratch.len, 0);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The earliest due time is asked for at every turn of the dispatcher: one seek per commit answers it. */
static int note_next_due(struct queue *q, struct store_txn *t)
{
    struct store_cursor *c;
    struct slice k, v;
    int rc = store_cursor_open(t, q->due, &c);
    if (rc < 0)
        return rc;
    rc = store_cursor_seek(c, NULL, 0, &k, &v);
    store_cursor_close(c);
    q->pending_due_ms = rc == 0 && k.len == KEY_PAIR ? (int64_t)store_get_u64(k.p) : INT64_MAX;
    return rc == ERR_NOTFOUND ? 0 : rc;
}

static int before_commit(struct store_txn *t, void *arg)
{
    struct queue *q = arg;
    if (!q->dirty && !q->due_dirty)
        return 0;
    struct ledger *l = &q->now;
    if (!q->recapping)
        l->last_ms = clock_now_ms(q->opts.clock);
    int rc =
        codec_books(&q->scratch, &l->books, l->next_seq, l->next_finish, l->history_bytes, l->max_wait_ms, l->last_ms);
    if (rc == 0)
        rc = store_put(t, q->meta, books_key, sizeof books_key - 1, q->scratch.data, q->scratch.len, 0);
    if (rc == 0)
        rc = save_counts(q, t);
    if (rc == 0 && q->due_dirty)
        rc = note_next_due(q, t);
    return rc;
}

static void settle_ledger(struct queue *q, bool stored)
{
    struct counts *c;
    if (stored)
        q->saved = q->now;
    else
        q->now = q->saved;
    pthread_mutex_lock(&q->tally_mu);
    while ((c = TAILQ_FIRST(&q->dirty_counts)) != NULL) {
        TAILQ_REMOVE(&q->dirty_counts, c, link);
        c->dirty = false;
        if (stored) {
            c->saved = c->now;
            c->tally = c->tally_now;
            if (c->gone && counts_nothing(c)) {
                HASH_DEL(q->counts, c);
                free(c);
            }
        } else {
            c->now = c->saved;
            c->tally_now = c->tally;
        }
    }
    pthread_mutex_unlock(&q->tally_mu);
    q->dirty = false;
}

static void committed(void *arg)
{
    struct queue *q = arg;
    settle_ledger(q, true);
    if (q->due_dirty)
        atomic_store(&q->next_due_ms, q->pending_due_ms);
    q->due_dirty = false;
    atomic_store(&q->max_wait_ms, q->now.max_wait_ms);
}

static void aborted(void *arg)
{
    struct queue *q = arg;
    settle_ledger(q, false);
    q->due_dirty = false;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static int open_tables(struct queue *q, struct err *e)
{
    const struct {
        const char *name;
        struct store_table **tab;
    } tables[] = {
        {"event", &q->event},     {"payload", &q->payload}, {"ready", &q->ready},     {"due", &q->due},
        {"waiting", &q->waiting}, {"running", &q->running}, {"attempt", &q->attempt}, {"id", &q->ids},
        {"history", &q->history}, {"stats", &q->stats},     {"meta", &q->meta},
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0] && rc == 0; i++)
        rc = store_table(q->store, tables[i].name, tables[i].tab, e);
    return rc;
}

static int load_stats(struct queue *q, struct store_txn *t, struct err *e)
{
    struct store_cursor *cur;
    struct slice k, v;
    int rc = store_cursor_open(t, q->stats, &cur);
    if (rc < 0)
        return rc;
    for (rc = store_cursor_seek(cur, NULL, 0, &k, &v); rc == 0; rc = store_cursor_next(cur, &k, &v)) {
        struct counts *c = k.len == KEY_SEQ ? counts_of(q, store_get_u64(k.p)) : NULL;
        if (c == NULL || decode_stats(v.p, v.len, &c->now) < 0) {
            store_cursor_close(cur);
            return err_set(e, ERR_CORRUPT, "queue: a counter of a function cannot be read; `bide verify` tells more");
        }
        c->saved = c->now;
    }
    store_cursor_close(cur);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

static int load(struct queue *q, struct err *e)
{
    struct store_txn *t;
    struct slice v;
    int rc = store_read_begin(q->store, &t);
    if (rc < 0)
        return err_set(e, rc, "queue: cannot be read (%s)", err_name(rc));
    struct ledger *l = &q->now;
    l->next_seq = l->next_finish = 1;
    rc = store_get(t, q->meta, format_key, sizeof format_key - 1, &v);
    if (rc == 0 && v.len == 8 && store_get_u64(v.p) > QUEUE_FORMAT)
        rc = err_set(e, ERR_VERSION,
                     "queue: the data directory was written by a newer bided (format %llu, this one reads up to %d)",
                     (unsigned long long)store_get_u64(v.p), QUEUE_FORMAT);
    else if (rc == 0 || rc == ERR_NOTFOUND)
        rc = store_get(t, q->meta, books_key, sizeof books_key - 1, &v);
    if (rc == 0) {
        rc = decode_books(v.p, v.len, &l->books, &l->next_seq, &l->next_finish, &l->history_bytes, &l->max_wait_ms,
                          &l->last_ms);
        if (rc == ERR_VERSION)
            (void)err_set(e, rc, "queue: the books were written by a newer bided");
        else if (rc < 0)
            (void)err_set(e, rc, "queue: the books cannot be read (%s)", err_name(rc));
    } else if (rc == ERR_NOTFOUND) {
        rc = 0; /* new */
    }
    if (rc == 0)
        rc = load_stats(q, t, e);
    if (rc == 0)
        rc = note_next_due(q, t);
    store_read_end(t);
    q->saved = q->now;
    atomic_store(&q->next_due_ms, q->pending_due_ms);
    atomic_store(&q->max_wait_ms, l->max_wait_ms);
    return rc;
}

static int write_format(struct store_txn *t, void *arg)
{
    struct queue *q = arg;
    struct key v = key_u64(QUEUE_FORMAT);
    return store_put(t, q->meta, format_key, sizeof format_key - 1, v.b, v.len, 0);
}

void queue_set_history(struct queue *q, bool payload, int64_t retention_ms, uint64_t max_bytes)
{
    atomic_store(&q->history_payload, payload);
    atomic_store(&q->history_retention_ms, retention_ms);
    atomic_store(&q->history_max_bytes, max_bytes);
}

static int open_queue(struct queue **ret, struct store *s, const struct queue_opts *o, bool read_only, struct err *e)
{
    struct queue *q = calloc(1, sizeof *q);
    if (q == NULL)
        return err_set(e, ERR_NOMEM, "queue: out of memory");
    q->store = s;
    q->opts = *o;
    queue_set_history(q, o->history_payload, o->history_retention_ms, o->history_max_bytes);
    q->pending_due_ms = INT64_MAX;
    q->history_due_ms = INT64_MAX;
    TAILQ_INIT(&q->dirty_counts);
    TAILQ_INIT(&q->owed);
    pthread_mutex_init(&q->tally_mu, NULL);
    pthread_mutex_init(&q->owed_mu, NULL);
    buf_init(&q->scratch, ATTEMPT_RECORD_MAX);
    int rc = open_tables(q, e);
    if (rc == 0)
        rc = load(q, e);
    if (rc == 0 && !read_only) {
        struct store_hooks h = {.before_commit = before_commit, .committed = committed, .aborted = aborted, .arg = q};
        rc = store_add_hooks(s, &h);
        if (rc == 0)
            rc = store_write_now(s, write_format, q, e);
    }
    if (rc < 0) {
        queue_close(q);
        return rc;
    }
    *ret = q;
    return 0;
}

int queue_open(struct queue **ret, struct store *s, const struct queue_opts *o, struct err *e)
{
    return open_queue(ret, s, o, false, e);
}

int queue_open_read_only(struct queue **ret, struct store *s, struct err *e)
{
    static struct clock none;
    struct queue_opts o = {.clock = &none};
    return open_queue(ret, s, &o, true, e);
}

void queue_close(struct queue *q)
{
    if (q == NULL)
        return;
    struct counts *c, *next;
    HASH_ITER (hh, q->counts, c, next) {
        HASH_DEL(q->counts, c);
        free(c);
    }
    buf_done(&q->scratch);
    pthread_mutex_destroy(&q->tally_mu);
    pthread_mutex_destroy(&q->owed_mu);
    free(q);
}

struct store *queue_store(struct queue *q)
{
    return q->store;
}

void queue_on_ready(struct queue *q, queue_ready_cb *cb, void *arg)
{
    q->ready_cb = cb;
    q->ready_arg = arg;
}

void queue_on_cancelled(struct queue *q, queue_cancelled_cb *cb, void *arg)
{
    q->cancelled_cb = cb;
    q->cancelled_arg = arg;
}

void queue_announce(struct queue *q, const struct event *ev)
{
    if (q->ready_cb != NULL)
        q->ready_cb(ev, NULL, 0, q->ready_arg);
}

void queue_set_dead_writer(struct queue *q, queue_dead_cb *cb, void *arg)
{
    q->dead_cb = cb;
    q->dead_arg = arg;
}

/* --- ops ---------------------------------------------------------------------------------------------------------- */

void event_op_end(struct event_op *x, int err)
{
    if (err == 0 && x->cancelled && x->q->cancelled_cb != NULL)
        x->q->cancelled_cb(&x->ev.seq, 1, x->q->cancelled_arg);
    if (x->cb != NULL)
        x->cb(err, &x->ev, x->arg);
    if (err == 0 && x->becomes_ready && x->q->ready_cb != NULL)
        x->q->ready_cb(&x->ev, NULL, 0, x->q->ready_arg);
    free(x);
}

static void event_op_done(int err, void *arg)
{
    if (!owed_keep(arg, err))
        event_op_end(arg, err);
}

struct event_op *event_op_new(struct queue *q, store_run_cb *run, uint64_t seq, queue_event_cb *cb, void *arg)
{
    struct event_op *x = calloc(1, sizeof *x);
    if (x == NULL)
        return NULL;
    x->op = (struct store_op){.run = run, .done = event_op_done, .arg = x};
    x->q = q;
    x->seq = seq;
    x->cb = cb;
    x->arg = arg;
    return x;
}

int event_op_submit(struct event_op *x)
{
    int rc = store_submit(x->q->store, &x->op);
    if (rc < 0)
        free(x);
    return rc;
}

/* --- small numbers ------------------------------------------------------------------------------------------------ */

struct meta_op {
    struct store_op op;
    struct queue *q;
    char name[32];
    int64_t value;
    queue_done_cb *cb;
    void *arg;
};

static int meta_run(struct store_txn *t, void *arg)
{
    const struct meta_op *x = arg;
    struct key v = key_u64((uint64_t)x->value);
    return store_put(t, x->q->meta, x->name, strlen(x->name), v.b, v.len, 0);
}

static void meta_done(int err, void *arg)
{
    struct meta_op *x = arg;
    if (x->cb != NULL)
        x->cb(err, x->arg);
    free(x);
}

int queue_meta_put(struct queue *q, const char *name, int64_t value, queue_done_cb *cb, void *arg)
{
    struct meta_op *x = calloc(1, sizeof *x);
    if (x == NULL)
        return ERR_NOMEM;
    *x = (struct meta_op){
        .op = {.run = meta_run, .done = meta_done, .arg = x}, .q = q, .value = value, .cb = cb, .arg = arg};
    BIDE_ASSERT(strlen(name) < sizeof x->name, "meta name %s", name);
    memcpy(x->name, name, strlen(name) + 1);
    int rc = store_submit(q->store, &x->op);
    if (rc < 0)
        free(x);
    return rc;
}

int queue_meta_put_now(struct queue *q, const char *name, int64_t value, struct err *e)
{
    struct meta_op x = {.q = q, .value = value};
    BIDE_ASSERT(strlen(name) < sizeof x.name, "meta name %s", name);
    memcpy(x.name, name, strlen(name) + 1);
    return store_write_now(q->store, meta_run, &x, e);
}

int queue_meta_get(struct queue *q, const char *name, int64_t *ret)
{
    struct store_txn *t;
    struct slice v;
    int rc = store_read_begin(q->store, &t);
    if (rc < 0)
        return rc;
    rc = store_get(t, q->meta, name, strlen(name), &v);
    if (rc == 0 && v.len != 8)
        rc = ERR_CORRUPT;
    if (rc == 0)
        *ret = (int64_t)store_get_u64(v.p);
    store_read_end(t);
    return rc;
}
