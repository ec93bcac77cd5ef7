/* Making the store of a stopped daemon as small as what it holds. */
#ifndef BIDE_COMPACT_H
#define BIDE_COMPACT_H

#include <stdint.h>

#include "base/err.h"

struct compacted {
    uint64_t before_bytes, after_bytes;
    uint64_t events; /* accepted, by the books of both */
};

/* Where a test may end the process. At each of them the data directory holds the old store or the new one, whole. */
enum compact_step { COMPACT_LOCKED, COMPACT_COPIED, COMPACT_CHECKED, COMPACT_RENAMED, COMPACT_STEPS };
typedef void compact_step_cb(enum compact_step at, void *arg);

/* Takes DATA/lock; copies into DATA/queue.compact, recounts the copy and compares the books, then puts it in the old
 * one's place by a rename. step may be NULL. ERR_BUSY: a daemon runs on it; ERR_FULL: the disk has no room for the
 * copy; ERR_NOTFOUND: no store; ERR_CORRUPT: the copy does not hold, or pages do not add up; ERR_IO. On failure the old
 * store is as it was, and findings have gone to stderr. */
int compact_store(const char *data, compact_step_cb *step, void *arg, struct compacted *ret,
                  struct err *e) BIDE_MUST_USE;

#endif
