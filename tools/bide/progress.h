/* One line on stderr that says how far a long verb is; nothing at all when stderr is no terminal. */
#ifndef BIDE_PROGRESS_H
#define BIDE_PROGRESS_H

#include "base/err.h"

/* Replaces the line that is there; at most ten times a second, the rest is left out. */
void progress_show(const char *fmt, ...) BIDE_PRINTF(1, 2);

/* Takes the line away. Call before anything else is printed. */
void progress_clear(void);

#endif
