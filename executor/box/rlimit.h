/* Resource limits of a process. */
#ifndef BOX_RLIMIT_H
#define BOX_RLIMIT_H

#include <stdint.h>

#include "base/err.h"

/* Hard and soft. A limit that is lower already stays: raising it may not be allowed, and is not wanted. */
int rlimit_set(int resource, int64_t value, struct err *e) BIDE_MUST_USE;

#endif
