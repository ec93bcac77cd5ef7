/* Points in time as people type them. */
#ifndef BIDE_WHEN_H
#define BIDE_WHEN_H

#include <stdbool.h>
#include <stdint.h>

/* A duration back from now_ms ("10m", "2h30m" is none), or a date with or without a time: "2026-01-02",
 * "2026-01-02T03:04", "2026-01-02 03:04:05.678", with "Z", "+01:00" or nothing (UTC) behind. Epoch milliseconds. */
bool when_parse(const char *text, int64_t now_ms, int64_t *ret_ms);

#endif
