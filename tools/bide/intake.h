/* A backup as it comes over the wire (api/backup.h says how it looks), into files below a folder. Only the names that a
 * backup has are written, and a package only under the name of what it holds.
 */
#ifndef BIDE_INTAKE_H
#define BIDE_INTAKE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct intake;

/* dir_fd is borrowed. The folders queue/ and code/ are made. ERR_IO, ERR_NOMEM. */
int intake_new(struct intake **ret, int dir_fd, struct err *e) BIDE_MUST_USE;
void intake_free(struct intake *x); /* NULL is fine; what was written stays */

/* The next bytes of the stream. ERR_INVALID: not a backup; ERR_CORRUPT: a package that is not what its name says;
 * ERR_FULL, ERR_IO: the files cannot be written. */
int intake_take(struct intake *x, const void *p, size_t len, struct err *e) BIDE_MUST_USE;

/* The stream is over: files and folders to the disk. ERR_CORRUPT: it was cut. */
int intake_end(struct intake *x, struct err *e) BIDE_MUST_USE;

/* Of files written so far. */
uint64_t intake_bytes(const struct intake *x);
uint64_t intake_packages(const struct intake *x);

#endif
