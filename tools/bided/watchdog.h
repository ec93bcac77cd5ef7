/* Is the engine alive? Its own loop turns, or nothing here would run; the dispatcher's loop has answered since the last
 * look; and the store thread waits for work or has not been at one batch for too long. Only then a beat is sent, a few
 * times in each interval that the supervisor allows: what hangs is killed and started anew by it.
 *
 *   watchdog_start(&w, interval_ms, &about);
 *   watchdog_stop(&w);          // when both loops have ended
 */
#ifndef BIDED_WATCHDOG_H
#define BIDED_WATCHDOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

enum { WATCHDOG_BEATS = 4 }; /* in each interval */

struct watchdog_about {
    struct loop *own;              /* whose timer this is */
    struct loop *watched;          /* must answer */
    int64_t (*busy_ms)(void *arg); /* for how long the store thread has been at it */
    void (*beat)(void *arg);
    void *arg;
};

struct watchdog {
    struct watchdog_about about;
    int64_t interval_ms;
    struct loop_timer *timer;
    atomic_bool answered;
    bool asked;
    bool told; /* what hangs was logged */
};

/* On the own loop's thread, or before it runs. interval_ms 0: nobody wants to know; nothing is woken. ERR_NOMEM. */
int watchdog_start(struct watchdog *w, int64_t interval_ms, const struct watchdog_about *about) BIDE_MUST_USE;
void watchdog_stop(struct watchdog *w);

/* One look; the timer calls it. True: a beat was sent. */
bool watchdog_look(struct watchdog *w);

#endif
