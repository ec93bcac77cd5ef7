/* Digests, encodings and the checksum of stored records. The only file behind this header that names OpenSSL is
 * hash.c.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

enum { SHA256_LEN = 32, SHA256_HEX_LEN = 64 };

struct sha256; /* streaming state */

int sha256_new(struct sha256 **ret) BIDE_MUST_USE;
void sha256_update(struct sha256 *h, const void *p, size_t n);
void sha256_final(struct sha256 *h, uint8_t out[SHA256_LEN]); /* h may then only be freed */
void sha256_free(struct sha256 *h);

void sha256_sum(const void *p, size_t n, uint8_t out[SHA256_LEN]);
void hmac_sha256(const void *key, size_t key_len, const void *p, size_t n, uint8_t out[SHA256_LEN]);

/* Equal length byte strings, compared in time that does not depend on where they differ. */
bool ct_equal(const void *a, const void *b, size_t n);

/* Fill with kernel randomness; aborts if there is none. */
void rng_bytes(void *p, size_t n);

/* out gets 2 * n lower-case digits and a NUL. */
void hex_encode(const void *p, size_t n, char *out);
int hex_decode(const char *text, size_t len, void *out) BIDE_MUST_USE; /* len / 2 bytes; ERR_INVALID */

int base64_encode(const void *p, size_t n, struct buf *out) BIDE_MUST_USE; /* appended, padded, one line */
/* Strict: padding required, no white space, unused bits zero. Appended to out, which keeps what it had on failure:
 * ERR_INVALID, or out's own errors. */
int base64_decode(const char *text, size_t len, struct buf *out) BIDE_MUST_USE;

/* CRC-32C (Castagnoli), as in iSCSI; crc of nothing is 0. Continue with the previous value. The portable one never
 * uses the processor's own instruction and gives the same value. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);

#endif
