/* A small pool of threads for what must not run on a loop: unpacking code, parsing megabytes, recounting the store.
 *
 * run is called on one of the pool's threads, then done on the loop's. At most max_jobs wait or run at a time. Jobs
 * begin in the order of submission, but reads leave one thread, and half the places, to work: whoever reads long logs
 * or exports everything delays other readers, and neither a deployment nor a call.
 */
#ifndef API_POOL_H
#define API_POOL_H

#include <stddef.h>

#include "base/loop.h"

struct pool;

typedef void pool_cb(void *arg);

int api_pool_new(struct pool **ret, struct loop *l, unsigned n_threads, size_t max_jobs, struct err *e) BIDE_MUST_USE;
/* Waits for the jobs that run. Those that wait, and those whose done has not been called, get drop instead. NULL is
 * fine. */
void api_pool_free(struct pool *p);

enum pool_kind { POOL_WORK, POOL_READ /* only looks, perhaps for long */ };

/* The loop's thread. drop may be NULL when somebody else owns arg. ERR_FULL, ERR_NOMEM: no callback will be called. */
int pool_submit(struct pool *p, enum pool_kind kind, pool_cb *run, pool_cb *done, pool_cb *drop,
                void *arg) BIDE_MUST_USE;

#endif
