/* Min-heap of deadlines with removal from the middle in O(log n): each item knows its place.
 *
 * An item is embedded in the caller's struct; the heap only points at it. Items with equal deadlines come out in the
 * order they went in. Not thread-safe.
 */
#ifndef BASE_TIMERQ_H
#define BASE_TIMERQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct timerq_item {
    int64_t at_ms;
    uint64_t order; /* set by the heap */
    size_t pos;     /* set by the heap; 0 = not in one */
};

struct timerq {
    struct timerq_item **v; /* v[1] is the earliest */
    size_t len;
    size_t cap;
    uint64_t next_order;
};

void timerq_init(struct timerq *q);
void timerq_done(struct timerq *q);
/* Insert, or move when it is already in. ERR_NOMEM (then it is not in). */
int timerq_set(struct timerq *q, struct timerq_item *it, int64_t at_ms) BIDE_MUST_USE;
void timerq_del(struct timerq *q, struct timerq_item *it); /* not in: fine */
bool timerq_has(const struct timerq_item *it);
struct timerq_item *timerq_first(const struct timerq *q); /* NULL when empty */

#endif
