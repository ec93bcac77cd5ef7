#include "watchdog.h"

#include <stddef.h>

#include "base/log.h"

static void answer(void *arg)
{
    struct watchdog *w = arg;
    atomic_store(&w->answered, true);
}

static void ask(struct watchdog *w)
{
    atomic_store(&w->answered, false);
    w->asked = loop_post(w->about.watched, answer, w) == 0;
}

bool watchdog_look(struct watchdog *w)
{
    bool turns = w->asked && atomic_load(&w->answered);
    bool writes = w->about.busy_ms(w->about.arg) < w->interval_ms;
    if (turns || !w->asked)
        ask(w); /* otherwise the last question still waits for its answer */
    if (turns && writes) {
        w->about.beat(w->about.arg);
        w->told = false;
        return true;
    }
    if (!w->told)
        log_error("engine", "no sign of life for the supervisor: %s",
                  turns ? "the store thread is at one commit for too long" : "the dispatcher's loop does not turn");
    w->told = true;
    return false;
}

static void on_timer(void *arg)
{
    struct watchdog *w = arg;
    (void)watchdog_look(w);
    loop_timer_arm(w->timer, w->interval_ms / WATCHDOG_BEATS);
}

int watchdog_start(struct watchdog *w, int64_t interval_ms, const struct watchdog_about *about)
{
    w->about = *about;
    w->interval_ms = interval_ms;
    w->timer = NULL;
    w->told = false;
    if (interval_ms == 0)
        return 0;
    int rc = loop_timer_new(about->own, on_timer, w, &w->timer);
    if (rc < 0)
        return rc;
    ask(w);
    loop_timer_arm(w->timer, interval_ms / WATCHDOG_BEATS);
    return 0;
}

void watchdog_stop(struct watchdog *w)
{
    loop_timer_free(w->timer);
    w->timer = NULL;
}
