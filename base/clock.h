/* Time. Everything is int64_t milliseconds.
 *
 * Two domains (the design, section 8): *virtual-able* time, read from a struct clock, is what events live by: accepted,
 * started, ended and due times, ages, waits, retention. *Real* time is what machines live by: signatures, deadlines
 * handed to runtimes, time limits of running code, idle workers, grace, log stamps.
 *
 * A virtual clock stands still and moves only by clock_advance. Thread-safe.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct clock {
    bool is_virtual;
    _Atomic int64_t now_ms; /* virtual clocks only */
};

void clock_init_real(struct clock *c);
void clock_init_virtual(struct clock *c, int64_t start_ms);

/* Epoch milliseconds in the events' domain. */
int64_t clock_now_ms(struct clock *c);

/* Move a virtual clock forward by by_ms (>= 0); the new time. A real clock asserts. */
int64_t clock_advance(struct clock *c, int64_t by_ms);

int64_t clock_real_ms(void); /* CLOCK_REALTIME, epoch milliseconds */
int64_t clock_mono_ms(void); /* CLOCK_MONOTONIC */
int64_t clock_mono_us(void);

enum { CLOCK_ISO_LEN = 32 };

/* "2026-01-02T03:04:05.678+0000" (Lambda: LastModified) and "2026-01-02T03:04:05.678Z" into a CLOCK_ISO_LEN buffer. */
void clock_format_lambda(int64_t ms, char *out);
void clock_format_iso(int64_t ms, char *out);

/* A moment as people write it: "2h" or "7d" (so long before now), "2026-01-02", "2026-01-02T03:04:05" with ".678" and
 * "Z" or without, a blank for the T; always UTC; or epoch milliseconds. ERR_INVALID. */
int clock_parse_when(const char *text, size_t len, int64_t now_ms, int64_t *ret) BIDE_MUST_USE;

#endif
