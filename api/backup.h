/* One backup as a stream of bytes: a consistent copy of the store, then every package, then the credentials.
 *
 *   bide-backup 1\n
 *   file queue/data.mdb\n
 *   data 65536\n<65536 bytes>data 1312\n<1312 bytes>...
 *   file code/<sha256>.zip\n
 *   data ...
 *   end FILES BYTES\n               files begun, bytes of data; without this line the stream was cut
 *
 * A thread of its own makes it and writes it into a pipe; whoever reads the pipe sets the pace, within limits: who
 * reads too slowly is given up, because the store's pages are not used again while its snapshot is open.
 */
#ifndef API_BACKUP_H
#define API_BACKUP_H

#include <stdbool.h>

#include "base/err.h"
#include "registry/registry.h"
#include "store/store.h"

struct backup;

enum {
    BACKUP_STALL_MS = 30000,             /* a reader may keep the backup waiting for so long in all, */
    BACKUP_PACE_BYTES_PER_S = 256 << 10, /* and one second more for each so many bytes it took */
    BACKUP_RATE_BYTES_PER_S = 64 << 20,  /* no more than so much is read, on the average */
};

struct backup_opts {
    struct store *store;
    struct registry *registry;
    bool compact;               /* only pages in use */
    const char *credentials;    /* text of the file, or NULL: not included. Borrowed until backup_free */
    void (*on_done)(void *arg); /* from the backup's thread, its last act: nothing more will be written */
    void *arg;
};

/* Start it. ERR_IO, ERR_NOMEM. */
int backup_start(struct backup **ret, const struct backup_opts *o, struct err *e) BIDE_MUST_USE;

/* The end to read from, non-blocking; the backup's own. */
int backup_fd(const struct backup *b);

/* Nobody reads any more: the thread ends soon. */
void backup_stop(struct backup *b);

/* After on_done: 0 when all of it was written, else why not. */
int backup_result(const struct backup *b, struct err *e) BIDE_MUST_USE;

/* Waits for the thread: at once after on_done, else backup_stop comes first. NULL is fine. */
void backup_free(struct backup *b);

#endif
