/* One line of a log file: `2026-01-02T03:04:05.678Z REQUEST-ID TEXT\n`, with `-` for no request. Pure. */
#ifndef LOGS_LINE_H
#define LOGS_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
    LINE_STAMP_LEN = 24,
    LINE_REQUEST_MAX = 40,                                           /* bytes with the NUL */
    LINE_PREFIX_MAX = LINE_STAMP_LEN + 1 + LINE_REQUEST_MAX - 1 + 1, /* what is put before a text */
};

struct line {
    int64_t time_ms;
    char request_id[LINE_REQUEST_MAX]; /* "" = none */
    const char *text;
    size_t len;
};

/* stamp: LINE_STAMP_LEN characters. ERR_NOMEM, ERR_TOOBIG: nothing of it is there. */
int line_put(struct buf *b, const char *stamp, const char *request_id, const char *text, size_t len) BIDE_MUST_USE;

/* p without its newline. False: not a line of this form, which no file of ours holds. */
bool line_parse(const char *p, size_t len, struct line *ret);

/* Only its time. */
bool line_parse_time(const char *p, size_t len, int64_t *ret_ms);

#endif
