/* Waits and verdicts: pure functions. Lambda: section 5.1; the design, section 4; the table of docs/storage.md. */
#ifndef DISPATCHER_BACKOFF_H
#define DISPATCHER_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

struct backoff_policy {
    int64_t first_wait_ms;    /* async.retry_first_wait */
    double multiplier;        /* async.retry_multiplier */
    int64_t max_wait_ms;      /* async.retry_max_wait */
    double jitter;            /* async.retry_jitter: share of the wait that is random, 0..1 */
    uint32_t max_disruptions; /* async.max_disruptions, of lone runs */
};

/* Wait before the next try after `attempts` attempts (>= 1). random in [0, 1) moves it within the jitter: the wait is
 * shortened by up to jitter * wait, never lengthened, so that look-ahead at age stays right. */
int64_t backoff_retry_wait(const struct backoff_policy *p, uint32_t attempts, double random);

/* Doubling from first to max: failures >= 1. */
int64_t backoff_requeue_wait(int64_t first_ms, int64_t max_ms, uint32_t failures);

enum backoff_end { BACKOFF_SUCCESS, BACKOFF_FUNCTION_ERROR, BACKOFF_DISRUPTION };

struct backoff_facts {
    enum backoff_end end;
    uint32_t attempts;     /* including the one that just ended */
    uint32_t max_attempts; /* 1 + MaximumRetryAttempts */
    uint32_t lone_runs;    /* disruptions of lone runs, including this one */
    int64_t accepted_at_ms;
    int64_t max_age_ms;
    bool deleted; /* the function is gone: nothing is retried */
};

enum backoff_verdict {
    BACKOFF_DONE,
    BACKOFF_WAIT,      /* wait_ms */
    BACKOFF_EXHAUSTED, /* dead: RetriesExhausted */
    BACKOFF_TOO_OLD,   /* dead: EventAgeExceeded */
    BACKOFF_DELETED,   /* dead: FunctionDeleted */
    BACKOFF_REQUEUE,   /* back to its place */
    BACKOFF_DISRUPTED, /* dead: Disrupted */
};

/* What becomes of an event whose run has ended. The look-ahead: an event whose next try would find it too old is
 * given up at once (too old is an age of max_age_ms or more, here and where events expire). */
enum backoff_verdict backoff_settle(const struct backoff_policy *p, const struct backoff_facts *f, int64_t now_ms,
                                    double random, int64_t *ret_wait_ms);

#endif
