/* The bugs in the dispatcher; its private header and the queue's cannot be had together. */
#include <string.h>

#include "dispatcher/priv.h"
#include "sim.h"

static bool restarted(void)
{
    return sim.totals.crashes + sim.totals.stops > 0;
}

/* --- the scheduler ---------------------------------------------------------------------------------------------------
 */

int __real_sched_function_put(struct sched *s, const struct sched_function *f);
int __wrap_sched_function_put(struct sched *s, const struct sched_function *f);

int __wrap_sched_function_put(struct sched *s, const struct sched_function *f)
{
    struct sched_function to = *f;
    if (sim.bug == BUG_FORGET_RESERVED && restarted())
        to.reserved = -1;
    if (sim.bug == BUG_FORGET_PAUSE && restarted())
        to.paused = false;
    return __real_sched_function_put(s, &to);
}

/* --- the dispatcher
 * --------------------------------------------------------------------------------------------------- */

struct cached *__real_cached_new(const struct event *ev, const void *payload, size_t payload_len);
struct cached *__wrap_cached_new(const struct event *ev, const void *payload, size_t payload_len);

struct cached *__wrap_cached_new(const struct event *ev, const void *payload, size_t payload_len)
{
    static char last[64];
    struct cached *c = __real_cached_new(ev, payload, payload_len);
    if (sim.bug != BUG_OTHER_PAYLOAD || c == NULL || c->payload == NULL || payload_len > sizeof last)
        return c;
    if (sim_one_in(4) && last[0] != '\0')
        memcpy(c->payload, last, payload_len);
    memcpy(last, payload, payload_len);
    return c;
}
