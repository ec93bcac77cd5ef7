/* The data directory as the daemon finds or makes it: folders, locks, credentials, endpoint file.
 *
 * All of this runs in the process that was started, before the engine is forked and before any thread. Names are
 * relative to a descriptor of the directory from the first call on, so that a rename of a parent changes nothing.
 */
#ifndef BIDED_DATADIR_H
#define BIDED_DATADIR_H

#include <sys/types.h>

#include "api/api.h"
#include "base/err.h"

enum { DATADIR_LOCK_WAIT_MS = 5000 };

struct datadir {
    int fd;         /* the directory */
    int code_fd;    /* code/ */
    int lock_fd;    /* lock: held by both processes for life */
    int workers_fd; /* workers.lock: each box's init holds it shared */
    uid_t uid;      /* owner of what is made here: the engine's user */
    gid_t gid;
};

/* Make what is missing (mode 0700), give to uid:gid what root made, take the locks. Waits up to DATADIR_LOCK_WAIT_MS
 * for a daemon or workers that are just going, then says who holds them. Errors: ERR_IO with path and reason, ERR_BUSY
 * with the holder's pid. */
int datadir_open(struct datadir *d, const char *path, uid_t uid, gid_t gid, struct err *e) BIDE_MUST_USE;
void datadir_close(struct datadir *d);

/* Read DIR/credentials, or make a random pair there (AWS shared-credentials format, profile default, mode 0600). */
int datadir_credentials(const struct datadir *d, struct api_key *ret, struct err *e) BIDE_MUST_USE;

/* Write DIR/endpoint (one line, by rename). */
int datadir_endpoint(int dir_fd, const char *url, struct err *e) BIDE_MUST_USE;

#endif
