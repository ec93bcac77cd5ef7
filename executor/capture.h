/* The log of one worker: reads what its runtime writes to stdout and stderr, keeps the last EXECUTOR_LOG_TAIL bytes
 * since capture_clear, and passes everything on to the worker's log stream (logs.h).
 *
 *   capture_init(&c);
 *   c.stream = logs_stream_open(...);      // NULL: the tail only. The capture's: closed by capture_done
 *   capture_open(&c, loop, fd);            // the read end of the log pipe, non-blocking; ownership passes
 *   capture_drain(&c); capture_clear(&c);  // an invocation begins
 *   c.request_id = id;
 *   capture_line(&c, "START ...\n");
 *   ...
 *   capture_drain(&c);                     // it has answered: what it wrote before is in the pipe
 *   len = capture_tail(&c, out);
 *   c.request_id = "";
 *   capture_close(&c);                     // the box is gone, and may come back
 *   capture_done(&c);
 *
 * A turn of the loop reads at most CAPTURE_TURN bytes and keeps the tail only. A pipe that was found full is not looked
 * at again for CAPTURE_PAUSE_MS: whoever floods it waits in its own write, and costs neither the engine's memory nor
 * the time of others. On the loop's thread.
 */
#ifndef EXECUTOR_CAPTURE_H
#define EXECUTOR_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "logs/logs.h"

enum {
    CAPTURE_TAIL = 4096,
    CAPTURE_TURN = 64 * 1024, /* also what a pipe holds: a drain gets everything written before it */
    CAPTURE_PAUSE_MS = 10,    /* so that one worker is read at 6.5 MB/s at most */
};

struct capture {
    int fd; /* -1 when closed */
    struct loop *loop;
    struct loop_watch *watch;   /* NULL while it pauses */
    struct loop_timer *pause;   /* made at the first pause */
    struct logs_stream *stream; /* NULL: none */
    const char *request_id;     /* whose the output is, for the stream; "" = no invocation's */
    uint64_t total;             /* bytes since capture_clear */
    char ring[CAPTURE_TAIL];
};

void capture_init(struct capture *c);

/* ERR_NOMEM; fd is closed then. */
int capture_open(struct capture *c, struct loop *l, int fd) BIDE_MUST_USE;
/* Read what is left and close; what was kept stays readable. Closed already is fine. */
void capture_close(struct capture *c);
void capture_done(struct capture *c); /* the same, and the end of the stream */

void capture_clear(struct capture *c);
void capture_add(struct capture *c, const void *p, size_t n);

/* Whole lines of the platform's, each with its newline. */
void capture_line(struct capture *c, const char *text);

/* Read what is in the pipe now, at most CAPTURE_TURN bytes; how many there were. */
size_t capture_drain(struct capture *c);

/* The tail in order; its length. */
size_t capture_tail(const struct capture *c, char out[CAPTURE_TAIL]);

#endif
