#include "notify.h"

#ifdef BIDE_HAVE_SYSTEMD
#include <stdint.h>
#include <systemd/sd-daemon.h>

void notify_open(struct notify *n)
{
    uint64_t usec = 0;
    n->watchdog = sd_watchdog_enabled(0, &usec) > 0;
}

void notify_ready(struct notify *n)
{
    (void)n;
    (void)sd_notify(0, "READY=1");
}

void notify_stopping(struct notify *n)
{
    (void)n;
    (void)sd_notify(0, "STOPPING=1");
}

void notify_watchdog(struct notify *n)
{
    if (n->watchdog)
        (void)sd_notify(0, "WATCHDOG=1");
}
#else
void notify_open(struct notify *n)
{
    n->watchdog = false;
}

void notify_ready(struct notify *n)
{
    (void)n;
}

void notify_stopping(struct notify *n)
{
    (void)n;
}

void notify_watchdog(struct notify *n)
{
    (void)n;
}
#endif
