/* What a disk can hold when the power goes: made from a trace (shim.h) of everything that was written.
 *
 * A write is durable once a sync of its file has returned after it (or it went through an O_DSYNC descriptor); a name,
 * once its folder was synced. Everything else may be there or not, each for itself, and a write in pieces of 512 bytes.
 * That is less than any file system of Linux keeps: what holds here does not lean on the manners of one of them.
 */
#ifndef TESTS_FAULTS_DISK_H
#define TESTS_FAULTS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim.h"

struct disk;

/* A disk with what lies in folder path now, all of it durable. NULL: an empty one. */
struct disk *disk_new(const char *path);
/* Reads the trace of what was done to it since, which must stay while the disk is used. False: no sense in it (said on
 * stderr). Once. */
bool disk_read(struct disk *d, const struct fault_region *r);
void disk_free(struct disk *d);

/* Moments at which the power may go: before each sync or synchronous write returns, and at the end. */
size_t disk_moments(const struct disk *d);

/* Goes to a moment; only forward. */
void disk_go_to(struct disk *d, size_t moment);
/* Length of the trace then, for the ledger. */
uint64_t disk_pos(const struct disk *d);
/* Operations that are not durable then, in their order: 0 to n - 1. */
size_t disk_pending(const struct disk *d);
/* "write of 4096 at 8192 to data.mdb" */
void disk_describe(const struct disk *d, size_t pending, char *out, size_t cap);

/* Which of them are there. chosen: one byte each, not 0: it is. torn: not 0: a chosen write keeps of each of its pieces
 * of 512 bytes only those for which a bit drawn from it is set. */
struct disk_choice {
    const uint8_t *chosen;
    uint64_t torn;
};

/* A number for the image, the same for the same content. */
uint64_t disk_digest(struct disk *d, const struct disk_choice *c);

/* Writes the image out as folder path, which must not be there. 0 or an errno. */
int disk_write(struct disk *d, const struct disk_choice *c, const char *path);

#endif
