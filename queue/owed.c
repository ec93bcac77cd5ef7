/* Moves of accepted events that found no room, or no memory: kept, and tried again until there is. A start that waits
 * here and the outcome of its run stay in order: the outcome, finding the event queued still, is kept behind it. */
#include "priv.h"

void queue_on_owed(struct queue *q, queue_owed_cb *cb, void *arg)
{
    q->owed_cb = cb;
    q->owed_arg = arg;
}

static bool is_behind(const struct queue *q, const struct event_op *x)
{
    const struct event_op *o;
    TAILQ_FOREACH (o, &q->owed, owed_link)
        if (o != x && o->seq == x->seq)
            return true;
    return false;
}

bool owed_keep(struct event_op *x, int err)
{
    struct queue *q = x->q;
    if (!x->may_owe || q->owed_cb == NULL || (err == 0 && !x->is_owed))
        return false;
    pthread_mutex_lock(&q->owed_mu);
    bool passing = err == ERR_FULL || err == ERR_NOMEM;
    bool keep = !q->owed_given_up && (passing || (err == ERR_CONFLICT && is_behind(q, x)));
    bool first = keep && TAILQ_EMPTY(&q->owed);
    if (keep && !x->is_owed)
        TAILQ_INSERT_TAIL(&q->owed, x, owed_link);
    else if (!keep && x->is_owed)
        TAILQ_REMOVE(&q->owed, x, owed_link);
    x->is_owed = keep;
    x->pressed = false;
    pthread_mutex_unlock(&q->owed_mu);
    if (first)
        q->owed_cb(q->owed_arg);
    return keep;
}

size_t queue_press(struct queue *q)
{
    struct event_op *x;
    size_t n = 0;
    pthread_mutex_lock(&q->owed_mu);
    TAILQ_FOREACH (x, &q->owed, owed_link) {
        n++;
        /* Refused only when the store is closing: giving up ends it then. */
        if (!x->pressed)
            x->pressed = store_submit(q->store, &x->op) == 0;
    }
    pthread_mutex_unlock(&q->owed_mu);
    return n;
}

void queue_owed_give_up(struct queue *q)
{
    struct event_op *x, *next;
    TAILQ_HEAD(, event_op) over = TAILQ_HEAD_INITIALIZER(over);
    pthread_mutex_lock(&q->owed_mu);
    q->owed_given_up = true;
    TAILQ_FOREACH_SAFE (x, &q->owed, owed_link, next) {
        if (x->pressed)
            continue; /* its completion finds that it was given up */
        TAILQ_REMOVE(&q->owed, x, owed_link);
        TAILQ_INSERT_TAIL(&over, x, owed_link);
    }
    pthread_mutex_unlock(&q->owed_mu);
    TAILQ_FOREACH_SAFE (x, &over, owed_link, next)
        event_op_end(x, ERR_FULL);
}
