/* The frame of every stored record: one byte of version, four bytes of CRC-32C over version and body (big endian), then
 * the msgpack body. A record that fails its checksum costs itself only; one of a newer version is refused, never
 * guessed.
 */
#ifndef BASE_RECORD_H
#define BASE_RECORD_H

#include <stdint.h>

#include "buf.h"
#include "pack.h"

enum { RECORD_HEAD_LEN = 5 };

/* Start a record in out (cleared first) and prepare p to pack its body. */
void record_begin(struct buf *out, struct pack *p, uint8_t version);
/* Fill in the checksum. 0, or the packing error. */
int record_end(struct buf *out, struct pack *p) BIDE_MUST_USE;

/* Check the frame and open the body. max_version: the newest this program reads. On success the caller must
 * unpack_done(u). ERR_CORRUPT, ERR_VERSION, ERR_NOMEM. */
int record_open(const void *data, size_t len, uint8_t max_version, uint8_t *ret_version,
                struct unpack *u) BIDE_MUST_USE;

#endif
