/* What only the queue's private header tells. */
#include "queue/priv.h"
#include "sim.h"

bool inside_owes(void)
{
    return !TAILQ_EMPTY(&sim.queue->owed);
}
