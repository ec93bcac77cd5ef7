/* A worker from its START to its first request for work, and again after a reset: launch, init, and every way in which
 * init can fail (Lambda: section 8.4). Private to the engine's side; called by worker.c as the table says.
 */
#ifndef EXECUTOR_STARTUP_H
#define EXECUTOR_STARTUP_H

#include "worker.h"

/* Make w->launch and send START. The text of e is for on_start_failed. */
int startup_launch(struct worker *w, const struct executor_spec *s, struct err *e) BIDE_MUST_USE;
void startup_again(struct worker *w); /* START once more under the same id; the box of before is gone */
void startup_give_up(struct worker *w);

/* Sockets have come; a reset is done. */
void startup_begin_init(struct worker *w, struct happening *h);
void startup_init(struct worker *w);

/* The ends of init. */
void startup_ready(struct worker *w, struct httpd_req *req);
void startup_init_error(struct worker *w, struct happening *h);
void startup_init_exited(struct worker *w, const struct worker_end *end);
void startup_init_late(struct worker *w);
void startup_init_oom(struct worker *w, const struct worker_end *end);

/* With the failure that is kept: run init again (Lambda does it once), or report it. A worker that was ready before is
 * not worth it: new ones will be started. */
void startup_rerun_or_fail(struct worker *w);

#endif
