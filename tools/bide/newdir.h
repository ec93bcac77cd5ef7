/* A folder that appears whole or not at all: it is filled as PATH.partial, which carries a file `incomplete` that bided
 * refuses to start on, and gets its name in the end.
 */
#ifndef BIDE_NEWDIR_H
#define BIDE_NEWDIR_H

#include <limits.h>

#include "base/err.h"

struct newdir {
    int fd;                      /* of the folder being filled; held by flock */
    char path[PATH_MAX];         /* as it will be */
    char partial[PATH_MAX + 16]; /* as it is now */
};

/* Refuses a path that is there and not empty. What an interrupted run has left of the same PATH is removed. ERR_EXISTS,
 * ERR_BUSY (somebody fills it), ERR_IO; e names the path. */
int newdir_open(struct newdir *d, const char *path, struct err *e) BIDE_MUST_USE;

/* Give it its name, durably. What it holds must be on the disk. Ends d, also when it fails: then nothing is left. */
int newdir_publish(struct newdir *d, struct err *e) BIDE_MUST_USE;

/* Remove what is there of it. Ends d. */
void newdir_discard(struct newdir *d);

#endif
