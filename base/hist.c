#include "hist.h"

#include "err.h"

void hist_init(struct hist *h, const struct hist_scale *scale)
{
    BIDE_ASSERT(scale->n <= HIST_BOUNDS_MAX, "%zu bounds", scale->n);
    h->scale = scale;
    for (size_t i = 0; i <= HIST_BOUNDS_MAX; i++)
        atomic_init(&h->bucket[i], 0);
    atomic_init(&h->sum, 0);
}

void hist_add(struct hist *h, int64_t value)
{
    size_t i = 0;
    if (value < 0)
        value = 0;
    while (i < h->scale->n && value > h->scale->at[i])
        i++;
    counter_add(&h->bucket[i], 1);
    counter_add(&h->sum, (uint64_t)value);
}

void hist_read(const struct hist *h, struct hist_view *ret)
{
    ret->scale = h->scale;
    ret->count = 0;
    ret->sum = counter_read(&h->sum);
    for (size_t i = 0; i < h->scale->n; i++) {
        ret->count += counter_read(&h->bucket[i]);
        ret->upto[i] = ret->count;
    }
    ret->count += counter_read(&h->bucket[h->scale->n]);
}

int64_t hist_quantile(const struct hist_view *v, double share)
{
    for (size_t i = 0; i < v->scale->n && v->count > 0; i++)
        if ((double)v->upto[i] >= share * (double)v->count)
            return v->scale->at[i];
    return -1;
}
