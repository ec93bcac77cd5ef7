/* Looking at a data directory on which no daemon runs. */
#ifndef BIDE_OFFLINE_H
#define BIDE_OFFLINE_H

#include <stdbool.h>

/* Somebody holds DIR/lock. */
bool offline_daemon_runs(const char *data);

/* `bide verify` on the files themselves; prints the findings. The exit status. */
int offline_verify(const char *data);

#endif
