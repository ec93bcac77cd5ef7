/* Telling systemd: ready, stopping, and the watchdog. Does nothing when the daemon was not started by it, or was built
 * without libsystemd.
 */
#ifndef BIDED_NOTIFY_H
#define BIDED_NOTIFY_H

#include <stdbool.h>

struct notify {
    bool watchdog;
};

void notify_open(struct notify *n);
void notify_ready(struct notify *n);
void notify_stopping(struct notify *n);
void notify_watchdog(struct notify *n); /* call more often than the unit's WatchdogSec */

#endif
