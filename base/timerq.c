#include "timerq.h"

#include <stdlib.h>

void timerq_init(struct timerq *q)
{
    *q = (struct timerq){0};
}

void timerq_done(struct timerq *q)
{
    free(q->v);
    timerq_init(q);
}

static bool less(const struct timerq_item *a, const struct timerq_item *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void place(struct timerq *q, size_t pos, struct timerq_item *it)
{
    q->v[pos] = it;
    it->pos = pos;
}

static void up(struct timerq *q, size_t pos)
{
    struct timerq_item *it = q->v[pos];
    for (; pos > 1 && less(it, q->v[pos / 2]); pos /= 2)
        place(q, pos, q->v[pos / 2]);
    place(q, pos, it);
}

static void down(struct timerq *q, size_t pos)
{
    struct timerq_item *it = q->v[pos];
    for (size_t child; (child = 2 * pos) <= q->len; pos = child) {
        if (child < q->len && less(q->v[child + 1], q->v[child]))
            child++;
        if (!less(q->v[child], it))
            break;
        place(q, pos, q->v[child]);
    }
    place(q, pos, it);
}

static void settle(struct timerq *q, size_t pos)
{
    struct timerq_item *it = q->v[pos];
    up(q, pos);
    down(q, it->pos);
}

int timerq_set(struct timerq *q, struct timerq_item *it, int64_t at_ms)
{
    if (it->pos == 0 && q->len + 2 > q->cap) {
        size_t cap = q->cap > 0 ? 2 * q->cap : 16;
        struct timerq_item **v = realloc(q->v, cap * sizeof(struct timerq_item *));
        if (v == NULL)
            return ERR_NOMEM;
        q->v = v;
        q->cap = cap;
    }
    it->at_ms = at_ms;
    it->order = q->next_order++;
    if (it->pos == 0)
        place(q, ++q->len, it);
    settle(q, it->pos);
    return 0;
}

void timerq_del(struct timerq *q, struct timerq_item *it)
{
    size_t pos = it->pos;
    if (pos == 0)
        return;
    struct timerq_item *last = q->v[q->len--];
    it->pos = 0;
    if (last != it) {
        place(q, pos, last);
        settle(q, pos);
    }
}

bool timerq_has(const struct timerq_item *it)
{
    return it->pos != 0;
}

struct timerq_item *timerq_first(const struct timerq *q)
{
    return q->len > 0 ? q->v[1] : NULL;
}
