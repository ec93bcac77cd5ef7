/* Strict number parsing and the units of our settings. Whole input or ERR_INVALID; no sign, blank or junk slips
 * through. len counts bytes; text need not be NUL-terminated.
 */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

int num_parse_u64(const char *text, size_t len, uint64_t *ret) BIDE_MUST_USE; /* decimal digits only */
int num_parse_i64(const char *text, size_t len, int64_t *ret) BIDE_MUST_USE;  /* optional leading '-' */

/* "200ms", "5s", "2m", "6h", "7d"; "0" alone is fine. Milliseconds. */
int num_parse_duration_ms(const char *text, size_t len, int64_t *ret) BIDE_MUST_USE;

/* "4096", "64KiB", "64MiB", "4GiB", "1TiB". Bytes. */
int num_parse_size(const char *text, size_t len, uint64_t *ret) BIDE_MUST_USE;

/* Shortest exact form in the same units, into out (at least 24 bytes). */
void num_format_duration_ms(int64_t ms, char *out, size_t cap);
void num_format_size(uint64_t bytes, char *out, size_t cap);

#endif
