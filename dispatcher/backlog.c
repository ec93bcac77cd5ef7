/* Refills from disk on a thread of their own: reading a backlog may touch cold pages, and a loop must not wait for
 * them. */
#include <stdlib.h>

#include "base/log.h"
#include "priv.h"

struct request {
    TAILQ_ENTRY(request) link;
    struct backlog *b;
    uint64_t fid;
    uint64_t after_seq;
    uint32_t max_n;
    /* the answer */
    struct cached **events;
    size_t n;
    bool more;
    int err;
};

struct backlog {
    struct dispatcher *d;
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    TAILQ_HEAD(, request) todo, answered;
    bool stop;
};

static void collect(const struct event *ev, const void *payload, size_t payload_len, void *arg)
{
    struct request *r = arg;
    struct dispatcher *d = r->b->d;
    if (r->more)
        return; /* one before it was left out: a refill goes on behind the last that was taken */
    bool keep = payload != NULL && payload_len <= CACHED_ONE_MAX && atomic_load(&d->cached_bytes) < CACHED_PAYLOAD_MAX;
    struct cached *c = cached_new(ev, keep ? payload : NULL, payload_len);
    if (c == NULL) {
        r->more = true; /* the next refill finds it again */
        return;
    }
    if (c->payload != NULL)
        atomic_fetch_add(&d->cached_bytes, (int64_t)c->payload_len);
    r->events[r->n++] = c;
}

/* On the dispatcher's thread: once for each answer. */
static void deliver(void *arg)
{
    struct backlog *b = arg;
    struct dispatcher *d = b->d;
    pthread_mutex_lock(&b->mu);
    struct request *r = TAILQ_FIRST(&b->answered);
    TAILQ_REMOVE(&b->answered, r, link);
    pthread_mutex_unlock(&b->mu);
    for (size_t i = 0; i < r->n; i++)
        (void)work_add(d, r->events[i], true);
    if (r->err < 0)
        log_warn("dispatcher", "backlog of function %llu cannot be read err=%s; trying again",
                 (unsigned long long)r->fid, err_name(r->err));
    sched_refilled(d->sched, r->fid, r->more);
    free(r->events);
    free(r);
    dispatcher_op_done(d);
    dispatcher_pump(d);
}

static void read_one(struct request *r)
{
    bool more = false;
    r->err = queue_fetch_ready(r->b->d->deps.queue, r->fid, r->after_seq, r->max_n, REFILL_BYTES, collect, r, &more);
    r->more = r->more || more || r->err < 0;
}

static void *reader_main(void *arg)
{
    struct backlog *b = arg;
    pthread_mutex_lock(&b->mu);
    for (;;) {
        struct request *r = TAILQ_FIRST(&b->todo);
        if (r == NULL && b->stop)
            break;
        if (r == NULL) {
            pthread_cond_wait(&b->cond, &b->mu);
            continue;
        }
        TAILQ_REMOVE(&b->todo, r, link);
        pthread_mutex_unlock(&b->mu);
        read_one(r);
        pthread_mutex_lock(&b->mu);
        TAILQ_INSERT_TAIL(&b->answered, r, link);
        pthread_mutex_unlock(&b->mu);
        if (loop_post(b->d->loop, deliver, b) != 0)
            bide_no_memory("refill's answer");
        pthread_mutex_lock(&b->mu);
    }
    pthread_mutex_unlock(&b->mu);
    return NULL;
}

int backlog_new(struct backlog **ret, struct dispatcher *d, struct err *e)
{
    struct backlog *b = calloc(1, sizeof *b);
    if (b == NULL)
        return err_set(e, ERR_NOMEM, "dispatcher: out of memory");
    b->d = d;
    pthread_mutex_init(&b->mu, NULL);
    pthread_cond_init(&b->cond, NULL);
    TAILQ_INIT(&b->todo);
    TAILQ_INIT(&b->answered);
    int sys = pthread_create(&b->thread, NULL, reader_main, b);
    if (sys != 0) {
        free(b);
        return err_sys(e, ERR_NOMEM, sys, "backlog thread");
    }
    *ret = b;
    return 0;
}

void backlog_free(struct backlog *b)
{
    if (b == NULL)
        return;
    pthread_mutex_lock(&b->mu);
    b->stop = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->mu);
    (void)pthread_join(b->thread, NULL);
    /* What the loop, which has ended, did not come to. */
    for (struct request *r; (r = TAILQ_FIRST(&b->answered)) != NULL;) {
        TAILQ_REMOVE(&b->answered, r, link);
        for (size_t i = 0; i < r->n; i++)
            cached_free(b->d, r->events[i]);
        free(r->events);
        free(r);
    }
    pthread_cond_destroy(&b->cond);
    pthread_mutex_destroy(&b->mu);
    free(b);
}

void backlog_refill(struct backlog *b, uint64_t fid, uint64_t after_seq, uint32_t max_n)
{
    struct request *r = calloc(1, sizeof *r);
    if (r != NULL)
        r->events = calloc(max_n, sizeof(struct cached *));
    if (r == NULL || r->events == NULL) {
        free(r);
        sched_refilled(b->d->sched, fid, true);
        return;
    }
    r->b = b;
    r->fid = fid;
    r->after_seq = after_seq;
    r->max_n = max_n;
    b->d->ops++;
    pthread_mutex_lock(&b->mu);
    TAILQ_INSERT_TAIL(&b->todo, r, link);
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->mu);
}
