/* The invocation in a worker's hands: from the dispatcher's call to its one result. Private to the engine's side;
 * called by worker.c as the table says, before which the worker's state is the one the table looked at.
 */
#ifndef EXECUTOR_INVOCATION_H
#define EXECUTOR_INVOCATION_H

#include <stdbool.h>

#include "worker.h"

/* Give it to the request for work, or keep it until there is one. */
void invocation_hand_over(struct worker *w, const struct executor_invocation *in);
void invocation_deliver(struct worker *w, struct httpd_req *req); /* the one kept */

/* Taken by a worker that is being stopped: it ends disrupted when the box is gone. */
void invocation_doom(struct worker *w, const struct executor_invocation *in);

/* The id that answers may name now; "" = none. */
const char *invocation_current_id(const struct worker *w);

/* Its ends. Each moves the worker on and then reports; the state may be another one when they return. */
void invocation_answer(struct worker *w, struct happening *h, bool error);
void invocation_time_out(struct worker *w);
void invocation_exit(struct worker *w, const struct worker_end *end);
void invocation_out_of_memory(struct worker *w, const struct worker_end *end);
void invocation_disrupted(struct worker *w); /* the caller has moved the state */

#endif
