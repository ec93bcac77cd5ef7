/* Counters and histograms for those who look at the daemon: counted where things happen, read by whoever asks. Relaxed
 * atomics and nothing else, so counting is a few nanoseconds on any thread; a reader sees each number as it was a
 * moment ago, and numbers of the same moment only roughly.
 *
 *   static const struct hist_scale commit_us = {3, {1000, 10000, 100000}};
 *   struct hist h;
 *   hist_init(&h, &commit_us);
 *   hist_add(&h, 2500);               // any thread
 *   hist_read(&h, &view);             // any thread
 */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { HIST_BOUNDS_MAX = 16 };

/* Upper bounds, inclusive and rising, in whatever unit the histogram counts; what lies above the last has a bucket of
 * its own. */
struct hist_scale {
    size_t n;
    int64_t at[HIST_BOUNDS_MAX];
};

struct hist {
    const struct hist_scale *scale;
    _Atomic uint64_t bucket[HIST_BOUNDS_MAX + 1];
    _Atomic uint64_t sum;
};

/* What a reader gets. The total is the sum of the buckets, so both always agree. */
struct hist_view {
    const struct hist_scale *scale;
    uint64_t upto[HIST_BOUNDS_MAX]; /* how many were at most scale->at[i] */
    uint64_t count;
    uint64_t sum;
};

void hist_init(struct hist *h, const struct hist_scale *scale); /* scale outlives h */
void hist_add(struct hist *h, int64_t value);                   /* below 0 counts as 0 */
void hist_read(const struct hist *h, struct hist_view *ret);

/* The bound below which at least this share (0 to 1) of all values lies; -1: there are none, or it is above all. */
int64_t hist_quantile(const struct hist_view *v, double share);

static inline void counter_add(_Atomic uint64_t *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static inline uint64_t counter_read(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

#endif
