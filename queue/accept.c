#include <stdlib.h>
#include <string.h>

#include "priv.h"

struct accept_op {
    struct store_op op;
    struct queue *q;
    struct queue_new in; /* strings and payload point behind the struct */
    queue_event_cb *cb;
    void *arg;
    struct event ev;
};

int queue_accept_in(struct queue *q, struct store_txn *t, const struct queue_new *in, struct event *ret)
{
    struct stored s;
    memset(&s, 0, sizeof s);
    struct event *ev = &s.ev;
    ev->seq = q->now.next_seq;
    ev->id = in->id;
    ev->fid = in->fid;
    ev->accepted_at_ms = clock_now_ms(q->opts.clock);
    ev->payload_len = (uint32_t)in->payload_len;
    ev->replay_of = in->replay_of;
    memcpy(ev->name, in->name, strlen(in->name) + 1);
    if (in->qualifier != NULL)
        memcpy(ev->qualifier, in->qualifier, strlen(in->qualifier) + 1);
    if (in->trace != NULL)
        memcpy(ev->trace, in->trace, strlen(in->trace) + 1);
    event_move(ev, EVENT_QUEUED);
    struct key k = key_u64(ev->seq);
    int rc = 0;
    if (in->payload_len <= PAYLOAD_INLINE_MAX)
        s.payload = (struct slice){.p = in->payload, .len = in->payload_len};
    else
        rc = row_put_payload(q, t, ev->seq, in->payload, in->payload_len);
    if (rc == 0)
        rc = row_save(q, t, &s, STORE_PUT_APPEND);
    if (rc == 0)
        rc = row_ready_put(q, t, ev);
    if (rc == 0)
        rc = store_put(t, q->ids, ev->id.b, sizeof ev->id.b, k.b, k.len, STORE_PUT_NEW);
    if (rc == 0)
        rc = books_enter(q, ev->fid, EVENT_QUEUED);
    if (rc < 0)
        return rc;
    tally_received(q, ev->fid);
    q->now.books.accepted++;
    q->now.next_seq++;
    *ret = *ev;
    return 0;
}

static int accept_run(struct store_txn *t, void *arg)
{
    struct accept_op *x = arg;
    return queue_accept_in(x->q, t, &x->in, &x->ev);
}

static void accept_done(int err, void *arg)
{
    struct accept_op *x = arg;
    struct queue *q = x->q;
    x->cb(err, &x->ev, x->arg);
    if (err == 0 && q->ready_cb != NULL)
        q->ready_cb(&x->ev, x->in.payload, x->in.payload_len, q->ready_arg);
    free(x);
}

static int check(const char *text, size_t max)
{
    return text == NULL || strlen(text) <= max ? 0 : ERR_TOOBIG;
}

static char *append(char **at, const void *p, size_t n)
{
    char *to = *at;
    memcpy(to, p, n);
    *at += n;
    return to;
}

int queue_accept(struct queue *q, const struct queue_new *in, queue_event_cb *cb, void *arg)
{
    if (check(in->name, QUEUE_NAME_MAX) < 0 || check(in->qualifier, QUEUE_QUALIFIER_MAX) < 0 ||
        check(in->trace, QUEUE_TRACE_MAX) < 0 || in->payload_len > UINT32_MAX / 2)
        return ERR_TOOBIG;
    const char *qualifier = in->qualifier != NULL ? in->qualifier : "", *trace = in->trace != NULL ? in->trace : "";
    size_t name_len = strlen(in->name) + 1, qualifier_len = strlen(qualifier) + 1, trace_len = strlen(trace) + 1;
    struct accept_op *x = malloc(sizeof *x + name_len + qualifier_len + trace_len + in->payload_len);
    if (x == NULL)
        return ERR_NOMEM;
    memset(x, 0, sizeof *x);
    char *at = (char *)(x + 1);
    x->op = (struct store_op){
        .run = accept_run, .done = accept_done, .arg = x, .flags = STORE_OP_NEW, .bytes = in->payload_len};
    x->q = q;
    x->in = *in;
    x->in.name = append(&at, in->name, name_len);
    x->in.qualifier = append(&at, qualifier, qualifier_len);
    x->in.trace = append(&at, trace, trace_len);
    x->in.payload = append(&at, in->payload_len > 0 ? in->payload : "", in->payload_len);
    x->cb = cb;
    x->arg = arg;
    int rc = store_submit(q->store, &x->op);
    if (rc < 0)
        free(x);
    return rc;
}
