/* Looks after the engine once a second while anything changes, and rests while nothing does: an idle daemon is not
 * woken.
 *
 *   h = (struct housekeeper){0};           // add housekeeper_hooks(&h) to the store, hand out housekeeper_stir
 *   housekeeper_start(&h, &about, &e);
 *   housekeeper_stir(&h);                  // any thread: something has changed that no commit tells of
 *   housekeeper_stop(&h);                  // before store_stop; nothing if it was never started
 *
 * A look tells the operator of a full store and of logs that are not written, has what outlived its retention removed,
 * and packages that nothing needs any more. When a second has gone by without a change, the next look is when something
 * outlives its retention; with a virtual clock, whose steps are written to the store, none is due.
 */
#ifndef BIDED_HOUSEKEEPER_H
#define BIDED_HOUSEKEEPER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/loop.h"
#include "keeping.h"
#include "logs/logs.h"
#include "store/store.h"
#include "sweeper.h"

enum { HOUSEKEEPER_MS = 1000, HOUSEKEEPER_RESTS = -1 };

struct housekeeper_about {
    struct loop *loop; /* looks are made on its thread, which also calls start and stop */
    struct clock *clock;
    struct store *store;
    struct queue *queue;
    struct dlq *dlq;
    struct registry *registry;
    struct logs *logs;
    const char *url; /* for the supervisor's status line */
};

struct housekeeper {
    struct housekeeper_about about;
    struct loop_timer *timer;
    struct keeping keeping;
    struct sweeper sweeper;
    uint64_t seen; /* the store's changes when the last round began */
    atomic_bool resting;
    atomic_bool stirred;                       /* since the last look */
    bool was_full, dlq_was_full, logs_stopped; /* as last told in the log */
};

/* What the store tells of: to be added before any transaction. */
struct store_hooks housekeeper_hooks(struct housekeeper *h);

int housekeeper_start(struct housekeeper *h, const struct housekeeper_about *about, struct err *e) BIDE_MUST_USE;
void housekeeper_stop(struct housekeeper *h);

/* Any thread, locks may be held. */
void housekeeper_stir(void *h);

/* One look, on the loop's thread: in how many milliseconds the next is due, or HOUSEKEEPER_RESTS. */
int64_t housekeeper_look(struct housekeeper *h);

#endif
