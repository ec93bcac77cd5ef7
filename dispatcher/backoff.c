#include "backoff.h"

int64_t backoff_retry_wait(const struct backoff_policy *p, uint32_t attempts, double random)
{
    double wait = (double)p->first_wait_ms;
    for (uint32_t i = 1; i < attempts && wait < (double)p->max_wait_ms; i++)
        wait *= p->multiplier;
    if (wait > (double)p->max_wait_ms)
        wait = (double)p->max_wait_ms;
    wait -= wait * p->jitter * random;
    return (int64_t)wait;
}

int64_t backoff_requeue_wait(int64_t first_ms, int64_t max_ms, uint32_t failures)
{
    int64_t wait = first_ms;
    for (uint32_t i = 1; i < failures && wait < max_ms; i++)
        wait *= 2;
    return wait < max_ms ? wait : max_ms;
}

enum backoff_verdict backoff_settle(const struct backoff_policy *p, const struct backoff_facts *f, int64_t now_ms,
                                    double random, int64_t *ret_wait_ms)
{
    *ret_wait_ms = 0;
    if (f->end == BACKOFF_SUCCESS)
        return BACKOFF_DONE;
    if (f->end == BACKOFF_DISRUPTION) {
        if (f->lone_runs >= p->max_disruptions)
            return BACKOFF_DISRUPTED;
        return f->deleted ? BACKOFF_DELETED : BACKOFF_REQUEUE;
    }
    if (f->attempts >= f->max_attempts)
        return BACKOFF_EXHAUSTED;
    if (f->deleted)
        return BACKOFF_DELETED;
    int64_t wait = backoff_retry_wait(p, f->attempts, random);
    /* A clock set back must not make an event younger than new. */
    int64_t age = now_ms > f->accepted_at_ms ? now_ms - f->accepted_at_ms : 0;
    if (age + wait >= f->max_age_ms)
        return BACKOFF_TOO_OLD;
    *ret_wait_ms = wait;
    return BACKOFF_WAIT;
}
