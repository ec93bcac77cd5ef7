#include <stdlib.h>
#include <string.h>

#include "priv.h"

/* What an event's rows take of the store beside its payload, about. */
enum { ROWS_BYTES = 1024 };

/* One allocation: the struct, what the events are made of, then the strings and payloads of these. The events
 * themselves are many times as large as that, and are made one at a time. */
struct accept_op {
    struct store_op op;
    struct queue *q;
    size_t n;
    struct queue_new *in;
    uint64_t first_seq; /* the others follow */
    int64_t accepted_at_ms;
    queue_event_cb *cb;
    void *arg;
};

_Static_assert(sizeof(struct accept_op) % _Alignof(struct queue_new) == 0, "what the events are made of follows it");

static void make_event(struct event *ev, const struct queue_new *in, uint64_t seq, int64_t now_ms)
{
    memset(ev, 0, sizeof *ev);
    ev->seq = seq;
    ev->id = in->id;
    ev->fid = in->fid;
    ev->accepted_at_ms = now_ms;
    ev->payload_len = (uint32_t)in->payload_len;
    ev->replay_of = in->replay_of;
    memcpy(ev->name, in->name, strlen(in->name) + 1);
    if (in->qualifier != NULL)
        memcpy(ev->qualifier, in->qualifier, strlen(in->qualifier) + 1);
    if (in->trace != NULL)
        memcpy(ev->trace, in->trace, strlen(in->trace) + 1);
    event_move(ev, EVENT_QUEUED);
}

/* The next event of the transaction; s: where it is made. */
static int accept_event(struct queue *q, struct store_txn *t, const struct queue_new *in, int64_t now_ms,
                        struct stored *s)
{
    struct event *ev = &s->ev;
    make_event(ev, in, q->now.next_seq, now_ms);
    struct key k = key_u64(ev->seq);
    int rc = 0;
    s->payload = (struct slice){NULL, 0};
    if (in->payload_len <= PAYLOAD_INLINE_MAX)
        s->payload = (struct slice){.p = in->payload, .len = in->payload_len};
    else
        rc = row_put_payload(q, t, ev->seq, in->payload, in->payload_len);
    if (rc == 0)
        rc = row_save(q, t, s, STORE_PUT_APPEND);
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
    return 0;
}

int queue_accept_in(struct queue *q, struct store_txn *t, const struct queue_new *in, struct event *ret)
{
    struct stored s;
    memset(&s, 0, sizeof s);
    int rc = accept_event(q, t, in, clock_now_ms(q->opts.clock), &s);
    if (rc == 0)
        *ret = s.ev;
    return rc;
}

static int accept_run(struct store_txn *t, void *arg)
{
    struct accept_op *x = arg;
    struct stored s;
    int rc = 0;
    memset(&s, 0, sizeof s);
    x->first_seq = x->q->now.next_seq;
    x->accepted_at_ms = clock_now_ms(x->q->opts.clock);
    for (size_t i = 0; i < x->n && rc == 0; i++)
        rc = accept_event(x->q, t, &x->in[i], x->accepted_at_ms, &s);
    return rc;
}

static void accept_done(int err, void *arg)
{
    struct accept_op *x = arg;
    struct queue *q = x->q;
    struct event ev;
    make_event(&ev, &x->in[0], x->first_seq, x->accepted_at_ms);
    x->cb(err, &ev, x->arg);
    for (size_t i = 0; err == 0 && q->ready_cb != NULL && i < x->n; i++) {
        if (i > 0)
            make_event(&ev, &x->in[i], x->first_seq + i, x->accepted_at_ms);
        q->ready_cb(&ev, x->in[i].payload, x->in[i].payload_len, q->ready_arg);
    }
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

/* A copy; the one before, where it has the same text. */
static const char *append_text(char **at, const char *s, const char *before, const char *copy)
{
    return s == before && copy != NULL ? copy : append(at, text(s), strlen(text(s)) + 1);
}

/* What a copy of it takes beside the struct; in[-1] is there for those after the first. */
static size_t size_of(const struct queue_new *in, bool first)
{
    size_t n = in->payload_len;
    n += first || in->name != in[-1].name ? strlen(in->name) + 1 : 0;
    n += first || in->qualifier != in[-1].qualifier ? strlen(text(in->qualifier)) + 1 : 0;
    n += first || in->trace != in[-1].trace ? strlen(text(in->trace)) + 1 : 0;
    return n;
}

int queue_accept_many(struct queue *q, const struct queue_new *in, size_t n, queue_event_cb *cb, void *arg)
{
    static const struct queue_new none;
    size_t bytes = 0, payloads = 0;
    if (n == 0 || n > QUEUE_ACCEPT_MAX)
        return ERR_TOOBIG;
    for (size_t i = 0; i < n; i++) {
        if (check(&in[i]) < 0)
            return ERR_TOOBIG;
        bytes += size_of(&in[i], i == 0);
        payloads += in[i].payload_len;
    }
    struct accept_op *x = malloc(sizeof *x + n * sizeof *x->in + bytes);
    if (x == NULL)
        return ERR_NOMEM;
    memset(x, 0, sizeof *x);
    x->op = (struct store_op){
        .run = accept_run, .done = accept_done, .arg = x, .flags = STORE_OP_NEW, .bytes = payloads + n * ROWS_BYTES};
    x->q = q;
    x->n = n;
    x->in = (struct queue_new *)(x + 1);
    char *at = (char *)(x->in + n);
    for (size_t i = 0; i < n; i++) {
        const struct queue_new *last = i > 0 ? &in[i - 1] : &none, *copy = i > 0 ? &x->in[i - 1] : &none;
        struct queue_new *to = &x->in[i];
        *to = in[i];
        to->name = append_text(&at, in[i].name, last->name, copy->name);
        to->qualifier = append_text(&at, in[i].qualifier, last->qualifier, copy->qualifier);
        to->trace = append_text(&at, in[i].trace, last->trace, copy->trace);
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
