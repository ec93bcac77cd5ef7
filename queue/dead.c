/* Into the dead-letter store, in the transaction that takes the event out of the queue. */
#include "priv.h"

#include <stdlib.h>
#include <string.h>

struct gathered {
    struct attempt a[QUEUE_ATTEMPTS_MAX];
    char text[QUEUE_ATTEMPTS_MAX][QUEUE_TYPE_MAX + QUEUE_MESSAGE_MAX + 2];
    size_t n;
};

static void gather(const struct attempt *a, void *arg)
{
    struct gathered *g = arg;
    if (g->n == QUEUE_ATTEMPTS_MAX)
        return;
    struct attempt *to = &g->a[g->n];
    char *text = g->text[g->n];
    *to = *a;
    to->error_type = to->error_message = NULL;
    if (a->error_type != NULL) {
        to->error_type = text;
        memcpy(text, a->error_type, strlen(a->error_type) + 1);
        text += strlen(text) + 1;
    }
    if (a->error_message != NULL) {
        to->error_message = text;
        memcpy(text, a->error_message, strlen(a->error_message) + 1);
    }
    to->error = to->log_tail = NULL; /* these point into the map; a listing needs their lengths only */

    g->n++;
}

int dead_enter(struct queue *q, struct store_txn *t, struct stored *s, enum condition c)
{
    struct gathered *g = calloc(1, sizeof *g);
    if (g == NULL)
        return ERR_NOMEM;
    struct event dead = s->ev;
    event_move(&dead, EVENT_DEAD);
    dead.condition = c;
    dead.ended_at_ms = clock_now_ms(q->opts.clock);
    int rc = row_attempts(q, t, s, gather, g);
    if (rc == 0)
        rc = q->dead_cb != NULL ? q->dead_cb(t, &dead, g->a, g->n, q->dead_arg) : 0;
    free(g);
    if (rc == ERR_FULL) {
        /* Nothing is ever dropped for want of room: it waits, with its condition, and is tried again. */
        event_move(&s->ev, EVENT_WAITING);
        s->ev.condition = c;
        s->ev.wait_ms = DEAD_PENDING_MS;
        s->ev.due_at_ms = clock_now_ms(q->opts.clock) + DEAD_PENDING_MS;
        rc = row_wait_put(q, t, &s->ev);
    } else if (rc == 0) {
        s->ev = dead;
        s->ev.due_at_ms = s->ev.wait_ms = 0;
    }
    if (rc == 0)
        rc = row_save(q, t, s, 0);
    if (rc == 0)
        rc = books_enter(q, s->ev.fid, s->ev.state);
    if (rc == 0 && s->ev.state == EVENT_DEAD)
        tally_dropped(q, s->ev.fid, c);
    return rc;
}

/* --- records that cannot be read ---------------------------------------------------------------------------------- */

/* The id of seq, by looking through all: it stands nowhere else once the record is gone. Rare enough. */
static bool find_id(struct queue *q, struct store_txn *t, uint64_t seq, struct id *ret)
{
    struct store_cursor *c;
    struct slice k, v;
    bool found = false;
    if (store_cursor_open(t, q->ids, &c) < 0)
        return false;
    for (int rc = store_cursor_seek(c, NULL, 0, &k, &v); rc == 0 && !found; rc = store_cursor_next(c, &k, &v)) {
        found = v.len == KEY_SEQ && store_get_u64(v.p) == seq && k.len == sizeof ret->b;
        if (found)
            memcpy(ret->b, k.p, sizeof ret->b);
    }
    store_cursor_close(c);
    return found;
}

/* The payload's chunks and the attempts' details are rows of their own: what the lost record said of them is found
 * again from their keys, so that they stay readable and go when the letter goes. */
static int adopt_rows(struct queue *q, struct store_txn *t, struct stored *s)
{
    uint32_t chunks = 0, len = 0;
    struct slice v;
    int rc;
    for (;; chunks++) {
        struct key k = key_part(s->ev.seq, chunks);
        rc = store_get(t, q->payload, k.b, k.len, &v);
        if (rc < 0)
            break;
        len += row_chunk_len(v);
    }
    if (chunks > 0) {
        s->payload = (struct slice){0};
        s->ev.payload_len = len;
    }
    while (rc == ERR_NOTFOUND && s->n_briefs < QUEUE_ATTEMPTS_MAX) {
        struct key k = key_part(s->ev.seq, s->n_briefs + 1);
        rc = store_get(t, q->attempt, k.b, k.len, &v);
        if (rc < 0)
            break;
        s->briefs[s->n_briefs++] = (struct brief){.outcome = OUTCOME_FUNCTION_ERROR, .exit_code = -1, .details = true};
        s->ev.attempts++;
        rc = ERR_NOTFOUND;
    }
    return rc == ERR_NOTFOUND ? 0 : rc;
}

int dead_salvage(struct queue *q, struct store_txn *t, uint64_t seq, uint64_t fid, struct stored *ret)
{
    struct key k = key_u64(seq);
    struct slice v;
    memset(ret, 0, sizeof *ret);
    ret->ev.seq = seq;
    ret->ev.fid = fid;
    (void)find_id(q, t, seq, &ret->ev.id); /* none: zero */
    int rc = store_get(t, q->event, k.b, k.len, &v);
    if (rc < 0 && rc != ERR_NOTFOUND)
        return rc;
    size_t n = rc < 0 ? 0 : v.len < PAYLOAD_INLINE_MAX ? v.len : PAYLOAD_INLINE_MAX;
    if (n > 0)
        memcpy(ret->bytes, v.p, n);
    ret->payload = (struct slice){.p = ret->bytes, .len = n};
    ret->ev.payload_len = (uint32_t)n;
    return adopt_rows(q, t, ret);
}

int dead_corrupt(struct queue *q, struct store_txn *t, uint64_t seq, uint64_t fid, enum event_state from)
{
    struct stored s;
    struct key k = key_u64(seq);
    int rc = dead_salvage(q, t, seq, fid, &s);
    if (rc == 0 && id_is_zero(&s.ev.id)) {
        s.ev.id = id_random();
        rc = store_put(t, q->ids, s.ev.id.b, sizeof s.ev.id.b, k.b, k.len, STORE_PUT_NEW);
    }
    s.ev.state = from;
    return rc < 0 ? rc : dead_enter(q, t, &s, CONDITION_CORRUPT);
}

struct corrupt_op {
    struct store_op op;
    struct queue *q;
    uint64_t seq, fid;
};

static int corrupt_run(struct store_txn *t, void *arg)
{
    const struct corrupt_op *x = arg;
    struct stored s;
    struct event place = {.seq = x->seq, .fid = x->fid};
    int rc = row_load(x->q, t, x->seq, &s);
    if (rc != ERR_CORRUPT && rc != ERR_VERSION && rc != ERR_NOTFOUND)
        return rc; /* readable after all, or the store is in trouble */
    rc = row_ready_del(x->q, t, &place);
    if (rc < 0)
        return rc; /* somebody else has dealt with it */
    rc = books_leave(x->q, x->fid, EVENT_QUEUED);
    return rc < 0 ? rc : dead_corrupt(x->q, t, x->seq, x->fid, EVENT_QUEUED);
}

static void corrupt_done(int err, void *arg)
{
    (void)err;
    free(arg);
}

void dead_report_corrupt(struct queue *q, uint64_t seq, uint64_t fid)
{
    struct corrupt_op *x = calloc(1, sizeof *x);
    if (x == NULL)
        return; /* found again by the next look */
    *x =
        (struct corrupt_op){.op = {.run = corrupt_run, .done = corrupt_done, .arg = x}, .q = q, .seq = seq, .fid = fid};
    if (store_submit(q->store, &x->op) < 0)
        free(x);
}
