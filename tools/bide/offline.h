/* Looking at a data directory on which no daemon runs. */
#ifndef BIDE_OFFLINE_H
#define BIDE_OFFLINE_H

#include <jansson.h>
#include <stdbool.h>

#include "queue/queue.h"

/* Somebody holds DIR/lock. */
bool offline_daemon_runs(const char *data);

/* The same, but one that is being killed is waited for: it holds the lock, and answers no more, until its last process
 * is gone. False as soon as nobody holds it; true after some seconds. */
bool offline_daemon_stays(const char *data);

struct offline_found {
    uint64_t findings;
    struct books books;
    uint64_t functions;
};

/* Recount everything in the store in DIR's folder STORE ("queue") in one snapshot, and look for the package of each
 * function. Each finding is told as one line. ERR_x with e: it could not be read at all. */
int offline_check(const char *data, const char *store, queue_report_cb *report, void *arg, struct offline_found *ret,
                  struct err *e) BIDE_MUST_USE;

/* `bide verify` on the files themselves: what the daemon answers, {"ok", "n_findings", "findings"}, the caller's. NULL
 * with e: they could not be read. */
json_t *offline_verify(const char *data, struct err *e) BIDE_MUST_USE;

#endif
