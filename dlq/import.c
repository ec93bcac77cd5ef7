/* Letters from elsewhere: each comes in whole or not at all, and one whose event is known already is left alone, so
 * that importing twice does no harm. */
#include <stdlib.h>

#include "priv.h"

struct import_op {
    struct store_op op;
    struct dlq *d;
    const struct queue_import *letters;
    size_t n;
    struct dlq_import_result r;
    dlq_import_cb *cb;
    void *arg;
};

static int import_one(struct dlq *d, struct store_txn *t, const struct queue_import *in)
{
    d->kept_from_ms = clock_now_ms(d->opts.clock);
    int rc = queue_import_in(d->queue, t, in);
    d->kept_from_ms = 0;
    if (rc == 0 && in->ev.state == EVENT_REPLAYED)
        d->now.replayed++;
    return rc;
}

static int import_run(struct store_txn *t, void *arg)
{
    struct import_op *x = arg;
    struct dlq *d = x->d;
    x->r = (struct dlq_import_result){.next = x->n};
    for (size_t i = 0; i < x->n; i++) {
        const struct queue_import *in = &x->letters[i];
        /* Asked before anything is written: what is in by then stays in. */
        if (d->now.bytes + letter_bytes(in->payload_len, in->attempts, in->n_attempts) > d->opts.max_bytes) {
            x->r.next = i;
            break;
        }
        int rc = import_one(d, t, in);
        if (rc < 0 && rc != ERR_EXISTS)
            return rc;
        x->r.known += rc == ERR_EXISTS;
        x->r.imported += rc == 0;
    }
    return 0;
}

static void import_done(int err, void *arg)
{
    struct import_op *x = arg;
    if (err < 0)
        x->r = (struct dlq_import_result){0};
    x->cb(err, &x->r, x->arg);
    free(x);
}

int dlq_import(struct dlq *d, const struct queue_import *letters, size_t n, dlq_import_cb *cb, void *arg)
{
    struct import_op *x = n > CHUNK_MAX ? NULL : calloc(1, sizeof *x);
    if (x == NULL)
        return n > CHUNK_MAX ? ERR_TOOBIG : ERR_NOMEM;
    *x = (struct import_op){.op = {.run = import_run, .done = import_done, .arg = x, .flags = STORE_OP_NEW},
                            .d = d,
                            .letters = letters,
                            .n = n,
                            .cb = cb,
                            .arg = arg};
    for (size_t i = 0; i < n; i++)
        x->op.bytes += letters[i].payload_len;
    int rc = store_submit(d->store, &x->op);
    if (rc < 0)
        free(x);
    return rc;
}
