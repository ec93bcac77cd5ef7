/* Names: of a stream as Lambda has it, `2026/01/02/[$LATEST]0123...` (32 hex), and of its files,
 * `2026-01-02-LATEST-0123....log`, then `.2.log` and so on: the same parts without what a shell would trip over. Pure.
 */
#ifndef LOGS_NAME_H
#define LOGS_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NAME_BASE_MAX = 80, /* bytes with the NUL */
    NAME_FILE_MAX = NAME_BASE_MAX + 16,
    NAME_SEGMENT_MAX = 1000000,
};

bool name_function_ok(const char *function); /* 1 to 64 of a-z, A-Z, 0-9, - and _ */
bool name_base(const char *stream, char base[NAME_BASE_MAX]);
bool name_base_ok(const char *base, size_t len);
void name_stream(const char *base, char *out, size_t cap); /* base is ok */

/* segment counts from 1. */
void name_file(const char *base, uint32_t segment, char out[NAME_FILE_MAX]);
bool name_parse_file(const char *file, char base[NAME_BASE_MAX], uint32_t *ret_segment);

#endif
