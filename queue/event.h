/* The states of an event and the moves between them (the design, section 4; docs/storage.md has the table in words). */
#ifndef QUEUE_EVENT_H
#define QUEUE_EVENT_H

#include "queue.h"

/* Is there a move from one state to the other? */
bool event_may_move(enum event_state from, enum event_state to);

/* Make it; a move that is not in the table is our bug and ends the process. */
void event_move(struct event *ev, enum event_state to);

#endif
