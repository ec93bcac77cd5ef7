/* What outlived its retention goes: the history's oldest, then the oldest dead letters.
 *
 *   keeping_init(&k, queue, dlq);
 *   keeping_round(&k);        // now and then: everything that is due to go, in bounded transactions
 *   keeping_stop(&k);         // before store_stop, which would wait for the rest of a round
 *
 * A round goes on for as long as it finds something, one transaction of KEEPING_CHUNK records after the other with
 * everybody else's ops in between, so that the ceilings hold however fast events end. An idle daemon writes nothing.
 */
#ifndef BIDED_KEEPING_H
#define BIDED_KEEPING_H

#include <stdatomic.h>
#include <stdbool.h>

#include "dlq/dlq.h"
#include "queue/queue.h"

enum { KEEPING_CHUNK = 256 };

struct keeping {
    struct queue *queue;
    struct dlq *dlq;
    atomic_bool busy; /* a round is going on */
    atomic_bool stop;
    _Atomic int64_t due_ms; /* see keeping_over */
    uint64_t letters;       /* removed in this round; this and the next are the store thread's */
    int64_t history_due_ms;
};

void keeping_init(struct keeping *k, struct queue *q, struct dlq *d);

/* Any thread. Nothing happens while the last round is not over. What fails is said in the log, and left to the next. */
void keeping_round(struct keeping *k);

/* Is no round going on? Then *ret_due_ms is when the next has something to do if nothing is written until then: on the
 * clock of queue and dead letters; INT64_MAX: never; in the past: the last one failed. Any thread. */
bool keeping_over(const struct keeping *k, int64_t *ret_due_ms);

/* Any thread. The round that goes on ends with the transaction it is in; none begins any more. */
void keeping_stop(struct keeping *k);

#endif
