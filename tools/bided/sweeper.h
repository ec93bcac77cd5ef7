/* Removes packages that nothing needs any more, on a thread of its own since removing files may take its time.
 *
 *   sweeper_start(&s, registry, &e);
 *   sweeper_round(&s);     // now and then: costs nothing unless a function changed or a worker ended
 *   sweeper_stop(&s);      // before registry_close; waits for the package that is being removed
 */
#ifndef BIDED_SWEEPER_H
#define BIDED_SWEEPER_H

#include <pthread.h>

#include "registry/registry.h"

struct sweeper {
    struct registry *registry;
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t wake;
    bool started, round, stop;
};

int sweeper_start(struct sweeper *s, struct registry *r, struct err *e) BIDE_MUST_USE;
void sweeper_round(struct sweeper *s); /* any thread, never blocks */
void sweeper_stop(struct sweeper *s);  /* nothing if it was never started */

#endif
