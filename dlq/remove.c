/* Leaving the store for good: by an operator, or by age. */
#include <stdlib.h>
#include <string.h>

#include "priv.h"

struct rm_op {
    struct store_op op;
    struct dlq *d;
    struct id id;
    struct dlq_filter f;
    char name[QUEUE_NAME_MAX + 1];
    bool by_age;
    int64_t now_ms, due_ms; /* by_age: due_ms is the first one's that stays */
    uint64_t cursor, next;
    uint32_t max_n;
    uint64_t n;
    dlq_rm_cb *cb;
    void *arg;
};

static void rm_done(int err, void *arg)
{
    struct rm_op *x = arg;
    if (err == 0 && x->by_age)
        atomic_store(&x->d->retention_due_ms, x->due_ms);
    x->cb(err, err == 0 ? x->n : 0, err == 0 ? x->next : 0, x->arg);
    free(x);
}

/* Totals that damage has made wrong stop at nothing; verify tells of them. */
static void take_off(uint64_t *total, uint64_t n)
{
    *total -= n < *total ? n : *total;
}

/* Never ERR_NOTFOUND, which a caller could take for the end of a walk with half a letter removed. */
static int remove_letter(struct dlq *d, struct store_txn *t, const struct letter *l, const struct event *ev)
{
    uint8_t place[8], seq[8];
    store_put_u64(place, l->place);
    store_put_u64(seq, l->seq);
    int rc = store_del(t, d->dead, place, sizeof place);
    if (rc == 0) {
        rc = store_del(t, d->deadseq, seq, sizeof seq);
        if (rc == ERR_NOTFOUND)
            rc = 0; /* damage that removing the letter repairs */
    }
    if (rc == 0)
        rc = queue_dead_removed_in(d->queue, t, l->seq);
    if (rc < 0)
        return rc == ERR_NOTFOUND ? ERR_CORRUPT : rc;
    take_off(&d->now.letters, 1);
    take_off(&d->now.replayed, ev->state == EVENT_REPLAYED);
    take_off(&d->now.bytes, l->bytes);
    d->dirty = true;
    return 0;
}

static int one_run(struct store_txn *t, void *arg)
{
    struct rm_op *x = arg;
    struct event ev;
    struct letter l;
    x->n = 1;
    int rc = queue_find_in(x->d->queue, t, &x->id, &ev);
    if (rc == 0)
        rc = letter_of_seq(x->d, t, ev.seq, &l);
    return rc < 0 ? rc : remove_letter(x->d, t, &l, &ev);
}

/* Retention counts from here. */
static int64_t kept_from(const struct letter *l, const struct event *ev)
{
    return l->kept_from_ms > ev->ended_at_ms ? l->kept_from_ms : ev->ended_at_ms;
}

static bool goes(struct rm_op *x, const struct letter *l, const struct event *ev)
{
    if (!x->by_age)
        return letter_matches(&x->f, ev);
    int64_t due_ms = kept_from(l, ev) + atomic_load(&x->d->retention_ms) + 1;
    if (due_ms > x->now_ms && due_ms < x->due_ms)
        x->due_ms = due_ms;
    return due_ms <= x->now_ms;
}

static int chunk_run(struct store_txn *t, void *arg)
{
    struct rm_op *x = arg;
    struct dlq *d = x->d;
    uint64_t from = x->cursor;
    uint32_t looked = 0;
    int rc = 0;
    x->n = x->next = 0;
    x->due_ms = INT64_MAX;
    while (rc == 0) {
        struct store_cursor *c;
        struct slice k, v;
        struct letter l;
        struct event ev;
        uint8_t key[8];
        store_put_u64(key, from);
        rc = store_cursor_open(t, d->dead, &c);
        if (rc < 0)
            return rc;
        rc = store_cursor_seek(c, key, sizeof key, &k, &v);
        store_cursor_close(c);
        if (rc < 0)
            break;
        from = place_of(k);
        if (x->f.until != 0 && from >= x->f.until)
            break;
        if (x->n == x->max_n || looked++ == LOOK_MAX) {
            x->next = from;
            break;
        }
        from++;
        rc = letter_read(d, t, k, v, &l, &ev);
        if (is_unreadable(rc)) {
            rc = 0;
            continue;
        }
        if (rc < 0)
            break;
        if (goes(x, &l, &ev)) {
            rc = remove_letter(d, t, &l, &ev);
            x->n += rc == 0;
        } else if (x->by_age && kept_from(&l, &ev) <= x->now_ms) {
            break; /* oldest first: the rest is younger. One that died in the future, when the clock was wrong, is not
                    * asked: it would keep all behind it */
        }
    }
    return rc == ERR_NOTFOUND ? 0 : rc;
}

static int submit(struct dlq *d, const struct rm_op *in)
{
    struct rm_op *x = malloc(sizeof *x);
    if (x == NULL)
        return ERR_NOMEM;
    *x = *in;
    x->op.arg = x;
    x->max_n = in->max_n < 1 ? 1 : in->max_n > CHUNK_MAX ? CHUNK_MAX : in->max_n;
    if (in->f.function != NULL)
        x->f.function = x->name;
    int rc = store_submit(d->store, &x->op);
    if (rc < 0)
        free(x);
    return rc;
}

int dlq_remove_one(struct dlq *d, const struct id *id, dlq_rm_cb *cb, void *arg)
{
    struct rm_op x = {.op = {.run = one_run, .done = rm_done}, .d = d, .id = *id, .cb = cb, .arg = arg};
    return submit(d, &x);
}

int dlq_remove_chunk(struct dlq *d, const struct dlq_filter *f, uint64_t cursor, uint32_t max_n, dlq_rm_cb *cb,
                     void *arg)
{
    struct rm_op x = {.op = {.run = chunk_run, .done = rm_done},
                      .d = d,
                      .f = *f,
                      .cursor = cursor,
                      .max_n = max_n,
                      .cb = cb,
                      .arg = arg};
    if (f->function != NULL && strlen(f->function) > QUEUE_NAME_MAX)
        return ERR_INVALID;
    if (f->function != NULL)
        memcpy(x.name, f->function, strlen(f->function) + 1);
    return submit(d, &x);
}

int dlq_retention(struct dlq *d, uint32_t max_n, dlq_rm_cb *cb, void *arg)
{
    struct rm_op x = {.op = {.run = chunk_run, .done = rm_done},
                      .d = d,
                      .by_age = true,
                      .now_ms = clock_now_ms(d->opts.clock),
                      .max_n = max_n,
                      .cb = cb,
                      .arg = arg};
    return submit(d, &x);
}

int64_t dlq_retention_due(const struct dlq *d)
{
    return atomic_load(&d->retention_due_ms);
}
