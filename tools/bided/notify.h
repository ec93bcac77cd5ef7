/* Telling the supervisor (systemd): ready, state in words, stopping, and that the daemon is alive. Does nothing when
 * the daemon was not started by one, or was built without libsystemd.
 *
 * The engine tells, which is a child of the process that was started: the unit needs NotifyAccess=all.
 */
#ifndef BIDED_NOTIFY_H
#define BIDED_NOTIFY_H

#include <stdint.h>

#include "base/err.h"

/* How often the supervisor wants to hear that the daemon is alive, in milliseconds (WATCHDOG_USEC); 0: never. Asked of
 * the environment, which may mean the process that was started or this one. */
int64_t notify_watchdog_ms(void);

/* state lines as sd_notify(3) has them: "READY=1\nSTATUS=...". */
void notify_tell(const char *fmt, ...) BIDE_PRINTF(1, 2);

#endif
