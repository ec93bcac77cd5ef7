/* A small pool of threads for what must not run on a loop: unpacking code, parsing megabytes, recounting the store.
 *
 * run is called on one of the pool's threads, then done on the loop's. At most max_jobs wait or run at a time.
 */
#ifndef API_WORK_H
#define API_WORK_H

#include <stddef.h>

#include "base/loop.h"

struct work;

typedef void work_cb(void *arg);

int work_new(struct work **ret, struct loop *l, unsigned n_threads, size_t max_jobs, struct err *e) BIDE_MUST_USE;
/* Waits for the jobs that run. Those that wait, and those whose done has not been called, get drop instead. NULL is fine. */
void work_free(struct work *w);

/* The loop's thread. drop may be NULL when somebody else owns arg. ERR_FULL, ERR_NOMEM: no callback will be called. */
int work_submit(struct work *w, work_cb *run, work_cb *done, work_cb *drop, void *arg) BIDE_MUST_USE;

#endif
