/* Replay: a dead letter's payload goes back as a new event, and the letter is marked, in one transaction. A crash
 * leaves both or neither, so that a bulk replay that is run again replays nothing twice. */
#include <stdlib.h>
#include <string.h>

#include "priv.h"

enum { PAYLOAD_MAX = 16 << 20 };

struct replay_op {
    struct store_op op;
    struct dlq *d;
    struct id id; /* of one letter */
    bool again;
    struct dlq_filter f; /* of a chunk; function points at name */
    char name[QUEUE_NAME_MAX + 1];
    uint64_t cursor;
    uint32_t max_n;
    dlq_resolve_cb *resolve;
    void *resolve_arg;
    dlq_replay_cb *cb;
    void *arg;
    struct dlq_replay_result r;
    struct event *made; /* told to the dispatcher after the commit */
    uint32_t n_made;
};

static void replay_done(int err, void *arg)
{
    struct replay_op *x = arg;
    if (err < 0)
        x->r = (struct dlq_replay_result){0}; /* what an undone try had counted */
    for (uint32_t i = 0; err == 0 && i < x->n_made; i++)
        queue_announce(x->d->queue, &x->made[i]);
    x->cb(err, &x->r, x->arg);
    free(x->made);
    free(x);
}

/* The part of a replay that writes nothing, so that a letter it fails for can be skipped: may it go, where to, what is
 * in it. ERR_NOTFOUND: no such function now; ERR_CONFLICT: replayed before; ERR_CORRUPT: it has lost its payload. */
static int look_up(struct replay_op *x, struct store_txn *t, const struct event *ev, uint64_t *ret_fid,
                   struct buf *payload)
{
    if (ev->state != EVENT_DEAD && !(ev->state == EVENT_REPLAYED && x->again))
        return ERR_CONFLICT;
    int rc = x->resolve(ev->name, ev->qualifier, ret_fid, x->resolve_arg);
    if (rc < 0)
        return rc;
    rc = queue_payload_in(x->d->queue, t, ev->seq, payload);
    return rc == ERR_NOTFOUND ? ERR_CORRUPT : rc;
}

/* The part that writes: the op fails when it fails. */
static int put_back(struct replay_op *x, struct store_txn *t, const struct event *ev, uint64_t fid,
                    const struct buf *payload)
{
    struct dlq *d = x->d;
    struct queue_new in = {.id = id_new(d->opts.ids, clock_now_ms(d->opts.clock)),
                           .fid = fid,
                           .name = ev->name,
                           .qualifier = ev->qualifier,
                           .trace = ev->trace,
                           .payload = payload->data,
                           .payload_len = payload->len,
                           .replay_of = ev->id};
    int rc = queue_accept_in(d->queue, t, &in, &x->made[x->n_made]);
    if (rc == 0)
        rc = queue_dead_replayed_in(d->queue, t, ev->seq, &in.id);
    if (rc < 0)
        return rc;
    d->now.replayed += ev->state == EVENT_DEAD;
    d->dirty = true;
    x->n_made++;
    x->r.replayed++;
    x->r.new_id = in.id;
    return 0;
}

static int one_run(struct store_txn *t, void *arg)
{
    struct replay_op *x = arg;
    struct event ev;
    struct letter l;
    struct buf payload;
    uint64_t fid = 0;
    x->n_made = 0;
    x->r = (struct dlq_replay_result){0};
    int rc = queue_find_in(x->d->queue, t, &x->id, &ev);
    if (rc == 0)
        rc = letter_of_seq(x->d, t, ev.seq, &l); /* an event that did not die is no letter */
    if (rc < 0)
        return rc;
    buf_init(&payload, PAYLOAD_MAX);
    rc = look_up(x, t, &ev, &fid, &payload);
    if (rc == 0)
        rc = put_back(x, t, &ev, fid, &payload);
    buf_done(&payload);
    return rc;
}

/* Why a letter stays behind while the others go on; anything else is the store's trouble and stops all. */
static bool is_letters_own(int rc)
{
    return rc == ERR_CONFLICT || rc == ERR_TOOBIG || is_unreadable(rc);
}

static int replay_from(struct replay_op *x, struct store_txn *t, struct store_cursor *c)
{
    struct slice k, v;
    struct letter l;
    struct event ev;
    struct buf payload;
    uint8_t from[8];
    uint32_t looked = 0;
    size_t bytes = 0;
    store_put_u64(from, x->cursor);
    buf_init(&payload, PAYLOAD_MAX);
    int rc = store_cursor_seek(c, from, sizeof from, &k, &v);
    for (; rc == 0; rc = store_cursor_next(c, &k, &v)) {
        uint64_t fid = 0, place = place_of(k);
        if (place >= x->r.until)
            break;
        if (x->n_made == x->max_n || bytes >= CHUNK_BYTES_MAX || looked++ == LOOK_MAX) {
            x->r.cursor = place;
            break;
        }
        buf_clear(&payload);
        int own = letter_read(x->d, t, k, v, &l, &ev);
        if (is_unreadable(own) || (own == 0 && !letter_matches(&x->f, &ev)))
            continue; /* what cannot be read is told by verify */
        if (own == 0)
            own = look_up(x, t, &ev, &fid, &payload);
        if (is_letters_own(own)) {
            x->r.skipped++;
            continue;
        }
        bytes += payload.len;
        rc = own < 0 ? own : put_back(x, t, &ev, fid, &payload);
        if (rc < 0) {
            buf_done(&payload);
            return rc;
        }
    }
    buf_done(&payload);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

static int chunk_run(struct store_txn *t, void *arg)
{
    struct replay_op *x = arg;
    struct store_cursor *c;
    x->n_made = 0;
    x->r = (struct dlq_replay_result){.until = x->f.until != 0 ? x->f.until : x->d->now.next_place};
    int rc = store_cursor_open(t, x->d->dead, &c);
    if (rc < 0)
        return rc;
    rc = replay_from(x, t, c);
    store_cursor_close(c);
    return rc;
}

static int submit(struct dlq *d, const struct replay_op *in)
{
    struct replay_op *x = malloc(sizeof *x);
    if (x == NULL)
        return ERR_NOMEM;
    *x = *in;
    x->op.arg = x;
    x->max_n = in->max_n < 1 ? 1 : in->max_n > CHUNK_MAX ? CHUNK_MAX : in->max_n;
    if (in->f.function != NULL)
        x->f.function = x->name;
    x->made = calloc(x->max_n, sizeof *x->made);
    int rc = x->made == NULL ? ERR_NOMEM : store_submit(d->store, &x->op);
    if (rc < 0) {
        free(x->made);
        free(x);
    }
    return rc;
}

int dlq_replay_one(struct dlq *d, const struct id *id, bool again, dlq_resolve_cb *resolve, void *resolve_arg,
                   dlq_replay_cb *cb, void *arg)
{
    struct replay_op x = {.op = {.run = one_run, .done = replay_done, .flags = STORE_OP_NEW},
                          .d = d,
                          .id = *id,
                          .again = again,
                          .resolve = resolve,
                          .resolve_arg = resolve_arg,
                          .cb = cb,
                          .arg = arg};
    return submit(d, &x);
}

int dlq_replay_chunk(struct dlq *d, const struct dlq_filter *f, uint64_t cursor, uint32_t max_n,
                     dlq_resolve_cb *resolve, void *resolve_arg, dlq_replay_cb *cb, void *arg)
{
    struct replay_op x = {.op = {.run = chunk_run, .done = replay_done, .flags = STORE_OP_NEW},
                          .d = d,
                          .again = f->replayed_too,
                          .f = *f,
                          .cursor = cursor,
                          .max_n = max_n,
                          .resolve = resolve,
                          .resolve_arg = resolve_arg,
                          .cb = cb,
                          .arg = arg};
    if (f->function != NULL && strlen(f->function) > QUEUE_NAME_MAX)
        return ERR_INVALID;
    if (f->function != NULL)
        memcpy(x.name, f->function, strlen(f->function) + 1);
    return submit(d, &x);
}
