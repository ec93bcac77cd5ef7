/* The putting side. Everything under the lock is short: a copy of at most a pipe's content. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

/* --- functions and streams ---------------------------------------------------------------------------------------- */

static struct logs_fn *must_fn(struct logs *l, const char *name)
{
    struct logs_fn *f;
    HASH_FIND_STR(l->fns, name, f);
    if (f != NULL)
        return f;
    f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    f->tokens = (int64_t)l->o.rate * LOGS_BURST;
    f->tokens_at_ms = l->io.mono_ms(l->io.arg);
    HASH_ADD_STR(l->fns, name, f);
    return f;
}

void logs_release_fn(struct logs *l, struct logs_fn *f)
{
    f->streams--;
    f->used_at_ms = l->io.mono_ms(l->io.arg);
}

struct logs_stream *logs_stream_open(struct logs *l, const char *function, const char *stream)
{
    if (l == NULL || !name_function_ok(function))
        return NULL;
    struct logs_stream *s = calloc(1, sizeof *s);
    if (s == NULL || !name_base(stream, s->base)) {
        free(s);
        return NULL;
    }
    s->l = l;
    s->fd = -1;
    buf_init(&s->out, 2 * QUEUE_COST_MAX);
    buf_init(&s->part, LOGS_LINE_MAX);
    pthread_mutex_lock(&l->mu);
    s->fn = l->o.on ? must_fn(l, function) : NULL;
    if (s->fn != NULL) {
        s->fn->streams++;
        l->stats.streams++;
    }
    pthread_mutex_unlock(&l->mu);
    if (s->fn == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

/* Stamps never go back while the daemon runs, also when the clock does: readers go on from a time. */
static int64_t next_stamp(struct logs *l)
{
    int64_t now = l->io.real_ms(l->io.arg);
    if (now < l->floor_ms)
        now = l->floor_ms;
    if (now > l->stamp_ms)
        l->stamp_ms = now;
    return l->stamp_ms;
}

void logs_wake(struct logs *l)
{
    pthread_cond_signal(&l->work);
}

void logs_stream_close(struct logs_stream *s)
{
    if (s == NULL)
        return;
    struct logs *l = s->l;
    pthread_mutex_lock(&l->mu);
    bool idle = l->fill.len == 0 && TAILQ_EMPTY(&l->closing);
    s->closed_ms = next_stamp(l);
    TAILQ_INSERT_TAIL(&l->closing, s, close_link);
    l->stats.streams--;
    if (idle)
        logs_wake(l);
    pthread_mutex_unlock(&l->mu);
}

/* --- putting ------------------------------------------------------------------------------------------------------ */

static int enqueue(struct logs_stream *s, bool platform, const char *request_id, const void *p, size_t n, uint64_t cost)
{
    struct logs *l = s->l;
    struct record r = {
        .s = s, .over_rate = s->over_rate, .no_room = s->no_room, .len = (uint32_t)n, .platform = platform};
    if (l->cost + cost > QUEUE_COST_MAX || buf_reserve(&l->fill, sizeof r + n) < 0)
        return ERR_FULL;
    bool idle = l->fill.len == 0 && TAILQ_EMPTY(&l->closing), was_urgent = l->cost >= QUEUE_URGENT;
    (void)snprintf(r.request_id, sizeof r.request_id, "%s", request_id);
    r.stamp_ms = next_stamp(l);
    memcpy(l->fill.data + l->fill.len, &r, sizeof r);
    memcpy(l->fill.data + l->fill.len + sizeof r, p, n);
    l->fill.len += sizeof r + n;
    l->cost += cost;
    s->over_rate = s->no_room = 0;
    if (idle || (!was_urgent && l->cost >= QUEUE_URGENT))
        logs_wake(l);
    return 0;
}

static bool may_put(struct logs *l, struct logs_fn *f)
{
    int64_t now = l->io.mono_ms(l->io.arg), full = (int64_t)l->o.rate * LOGS_BURST;
    int64_t past = now - f->tokens_at_ms;
    if (past > 0) {
        int64_t most = (int64_t)LOGS_BURST * 1000 * 1000; /* far more than fills it: no overflow */
        f->tokens += (past < most ? past : most) * (int64_t)l->o.rate / 1000;
        f->tokens_at_ms = now;
    }
    if (f->tokens > full)
        f->tokens = full;
    if (f->tokens <= 0)
        f->over = true;
    else if (f->tokens >= (int64_t)l->o.rate)
        f->over = false;
    return !f->over;
}

/* What p takes as lines: an empty line costs its prefix. */
static uint64_t cost_of(const char *p, size_t n)
{
    size_t lines = 1;
    for (size_t i = 0; i < n; i++)
        lines += p[i] == '\n';
    return n + lines * LINE_PREFIX_MAX;
}

bool logs_output(struct logs_stream *s, const char *request_id, const void *p, size_t n)
{
    if (s == NULL || n == 0)
        return true;
    struct logs *l = s->l;
    struct logs_fn *f = s->fn;
    pthread_mutex_lock(&l->mu);
    bool may = may_put(l, f);
    if (!may) {
        s->over_rate += n;
        l->stats.dropped_bytes += n;
    } else {
        uint64_t cost = cost_of(p, n);
        f->tokens -= (int64_t)cost;
        if (f->round != l->round)
            f->queued = 0;
        f->round = l->round;
        if (f->queued + cost > QUEUE_FUNCTION_MAX || enqueue(s, false, request_id, p, n, cost) < 0) {
            s->no_room += n;
            l->stats.dropped_bytes += n;
        } else {
            f->queued += cost;
        }
    }
    pthread_mutex_unlock(&l->mu);
    return may;
}

void logs_platform(struct logs_stream *s, const char *request_id, const void *p, size_t n)
{
    if (s == NULL || n == 0)
        return;
    struct logs *l = s->l;
    pthread_mutex_lock(&l->mu);
    if (enqueue(s, true, request_id, p, n, cost_of(p, n)) < 0) {
        s->no_room += n;
        l->stats.dropped_bytes += n;
    }
    pthread_mutex_unlock(&l->mu);
}
