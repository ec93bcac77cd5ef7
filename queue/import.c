/* Dead letters from elsewhere come in: accepted and dead in one move. */
#include <stdlib.h>
#include <string.h>

#include "priv.h"

static int put_attempts(struct queue *q, struct store_txn *t, struct stored *s, const struct queue_import *in)
{
    int rc = 0;
    for (size_t i = 0; i < in->n_attempts && rc == 0; i++)
        rc = attempt_keep(q, t, s, &in->attempts[i]);
    s->ev.attempts = in->ev.attempts; /* there may have been more than are told of */
    return rc;
}

static int put_event(struct queue *q, struct store_txn *t, struct stored *s, const struct queue_import *in)
{
    struct key k = key_u64(s->ev.seq);
    int rc = put_attempts(q, t, s, in);
    if (rc == 0 && in->payload_len <= PAYLOAD_INLINE_MAX)
        s->payload = (struct slice){.p = in->payload, .len = in->payload_len};
    else if (rc == 0)
        rc = row_put_payload(q, t, s->ev.seq, in->payload, in->payload_len);
    if (rc == 0)
        rc = row_save(q, t, s, STORE_PUT_APPEND);
    return rc < 0 ? rc : store_put(t, q->ids, s->ev.id.b, sizeof s->ev.id.b, k.b, k.len, STORE_PUT_NEW);
}

int queue_import_in(struct queue *q, struct store_txn *t, const struct queue_import *in)
{
    struct slice known;
    int rc = store_get(t, q->ids, in->ev.id.b, sizeof in->ev.id.b, &known);
    if (rc != ERR_NOTFOUND)
        return rc == 0 ? ERR_EXISTS : rc;
    struct stored *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->ev = in->ev;
    s->ev.seq = q->now.next_seq;
    s->ev.payload_len = (uint32_t)in->payload_len;
    s->ev.due_at_ms = s->ev.wait_ms = 0;
    s->ev.attempts = 0;
    s->ev.state = EVENT_NONE;
    event_move(&s->ev, in->ev.state);
    rc = q->dead_cb != NULL ? q->dead_cb(t, &s->ev, in->attempts, in->n_attempts, q->dead_arg) : 0;
    if (rc == 0)
        rc = put_event(q, t, s, in);
    if (rc == 0)
        rc = books_enter(q, s->ev.fid, s->ev.state);
    free(s);
    if (rc < 0)
        return rc;
    q->now.books.accepted++;
    q->now.next_seq++;
    return 0;
}
