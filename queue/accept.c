#include <stdlib.h>
#include <string.h>

#include "priv.h"

/* What an event's rows take of the store beside its payload, about. */
enum { ROWS_BYTES = 1024 };

/* One allocation: the struct, n events, n times what they are made of, then the strings and payloads of these. */
struct accept_op {
    struct store_op op;
    struct queue *q;
    size_t n;
    struct event *ev;
    struct queue_new *in;
    queue_event_cb *cb;
    void *arg;
};

_Static_assert(sizeof(struct accept_op) % _Alignof(struct event) == 0, "the events follow the struct");
_Static_assert(sizeof(struct event) % _Alignof(struct queue_new) == 0, "what they are made of follows them");

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
    int rc = 0;
    for (size_t i = 0; i < x->n && rc == 0; i++)
        rc = queue_accept_in(x->q, t, &x->in[i], &x->ev[i]);
    return rc;
}

static void accept_done(int err, void *arg)
{
    struct accept_op *x = arg;
    struct queue *q = x->q;
    x->cb(err, x->ev, x->arg);
    for (size_t i = 0; err == 0 && q->ready_cb != NULL && i < x->n; i++)
        q->ready_cb(&x->ev[i], x->in[i].payload, x->in[i].payload_len, q->ready_arg);
    free(x);
}

static const char *text(const char *s)
{
    return s != NULL ? s : "";
}

static int check(const struct queue_new *in)
{
    bool fits = strlen(in->name) <= QUEUE_NAME_MAX && strlen(text(in->qualifier)) <= QUEUE_QUALIFIER_MAX &&
                strlen(text(in->trace)) <= QUEUE_TRACE_MAX && in->payload_len <= UINT32_MAX / 2;
    return fits ? 0 : ERR_TOOBIG;
}

static void *append(char **at, const void *p, size_t n)
{
    char *to = *at;
    if (n > 0)
        memcpy(to, p, n);
    *at += n;
    return to;
}

static char *append_text(char **at, const char *s)
{
    return append(at, text(s), strlen(text(s)) + 1);
}

/* What a copy of it takes beside the struct. */
static size_t size_of(const struct queue_new *in)
{
    return strlen(in->name) + strlen(text(in->qualifier)) + strlen(text(in->trace)) + 3 + in->payload_len;
}

int queue_accept_many(struct queue *q, const struct queue_new *in, size_t n, queue_event_cb *cb, void *arg)
{
    size_t bytes = 0, payloads = 0;
    if (n == 0 || n > QUEUE_ACCEPT_MAX)
        return ERR_TOOBIG;
    for (size_t i = 0; i < n; i++) {
        if (check(&in[i]) < 0)
            return ERR_TOOBIG;
        bytes += size_of(&in[i]);
        payloads += in[i].payload_len;
    }
    struct accept_op *x = malloc(sizeof *x + n * (sizeof *x->ev + sizeof *x->in) + bytes);
    if (x == NULL)
        return ERR_NOMEM;
    memset(x, 0, sizeof *x);
    x->op = (struct store_op){
        .run = accept_run, .done = accept_done, .arg = x, .flags = STORE_OP_NEW, .bytes = payloads + n * ROWS_BYTES};
    x->q = q;
    x->n = n;
    x->ev = (struct event *)(x + 1);
    x->in = (struct queue_new *)(x->ev + n);
    char *at = (char *)(x->in + n);
    for (size_t i = 0; i < n; i++) {
        struct queue_new *to = &x->in[i];
        *to = in[i];
        to->name = append_text(&at, in[i].name);
        to->qualifier = append_text(&at, in[i].qualifier);
        to->trace = append_text(&at, in[i].trace);
        to->payload = append(&at, in[i].payload, in[i].payload_len);
    }
    x->cb = cb;
    x->arg = arg;
    int rc = store_submit(q->store, &x->op);
    if (rc < 0)
        free(x);
    return rc;
}

int queue_accept(struct queue *q, const struct queue_new *in, queue_event_cb *cb, void *arg)
{
    return queue_accept_many(q, in, 1, cb, arg);
}
