/* The log of one worker: reads what its runtime writes to stdout and stderr, and keeps the last EXECUTOR_LOG_TAIL bytes
 * since capture_clear.
 *
 *   capture_init(&c);
 *   capture_open(&c, loop, fd);            // the read end of the log pipe, non-blocking; ownership passes
 *   capture_drain(&c); capture_clear(&c);  // an invocation begins
 *   capture_printf(&c, "START ...\n");
 *   ...
 *   capture_drain(&c);                     // it has answered: what it wrote before is in the pipe
 *   len = capture_tail(&c, out);
 *   capture_close(&c);
 *
 * A turn of the loop reads at most CAPTURE_TURN bytes and keeps the tail only: a flood costs the function its own CPU
 * time and never the engine's memory, nor another worker's turn. On the loop's thread.
 */
#ifndef EXECUTOR_CAPTURE_H
#define EXECUTOR_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

enum {
    CAPTURE_TAIL = 4096,
    CAPTURE_TURN = 64 * 1024, /* also what a pipe holds: a drain gets everything written before it */
};

struct capture {
    int fd; /* -1 when closed */
    struct loop_watch *watch;
    uint64_t total; /* bytes since capture_clear */
    char ring[CAPTURE_TAIL];
};

void capture_init(struct capture *c);

/* ERR_NOMEM; fd is closed then. */
int capture_open(struct capture *c, struct loop *l, int fd) BIDE_MUST_USE;
void capture_close(struct capture *c); /* what was kept stays readable; closed already is fine */

void capture_clear(struct capture *c);
void capture_add(struct capture *c, const void *p, size_t n);

/* A line of our own, cut at 1023 bytes. */
void capture_printf(struct capture *c, const char *fmt, ...) BIDE_PRINTF(2, 3);

/* Read what is in the pipe now, at most CAPTURE_TURN bytes. */
void capture_drain(struct capture *c);

/* The tail in order; its length. */
size_t capture_tail(const struct capture *c, char out[CAPTURE_TAIL]);

#endif
