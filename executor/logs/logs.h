/* Log streams: what functions write to stdout and stderr, with the platform's START, END and REPORT lines round it, in
 * files DIR/logs/FUNCTION/STREAM.log. One stream per worker, named by what the worker sees as
 * AWS_LAMBDA_LOG_STREAM_NAME. A line of a file is `TIME REQUEST-ID TEXT`, with `-` for what belongs to no invocation.
 *
 *   logs_open(&l, &opts, &err);
 *   s = logs_stream_open(l, "orders", "2026/01/02/[$LATEST]0123...");
 *   logs_platform(s, id, "START ...\n", n);  logs_output(s, id, bytes, n);  ...
 *   logs_stream_close(s);
 *   logs_close(l);                            // what is queued is written first
 *
 * Nothing here ever fails an invocation: the putting side copies into a bounded queue and returns, a thread writes.
 * What is over a function's rate, does not fit the queue or finds no disk is dropped and counted, and the stream says
 * how much was.
 *
 * A stream belongs to one thread. Opening, closing and putting may come from several threads for several streams.
 * Reading is for any thread that may block.
 */
#ifndef LOGS_LOGS_H
#define LOGS_LOGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct logs;
struct logs_stream;

enum {
    LOGS_LINE_MAX = 16 * 1024, /* bytes of text; a longer line becomes several */
    LOGS_STREAM_NAME_MAX = 80,
    LOGS_CURSOR_MAX = 128,
    LOGS_READ_MAX = 1000,       /* lines of one logs_read */
    LOGS_READ_BYTES = 1 << 20,  /* of their texts */
    LOGS_SCAN_BYTES = 32 << 20, /* of files that one logs_read looks at */
};

struct logs_opts {
    bool on;       /* off: no stream is opened; what is there is still read, and goes by retention */
    uint64_t rate; /* bytes a second of a function's output that are kept, LOGS_BURST times that at once */
    uint64_t function_max_bytes, max_bytes;
    int64_t retention_ms;
    uint64_t reserve_bytes; /* of free disk that the queue wants for itself: logs stop at twice that */
    /* logs_stats' stopped has changed. On the writing thread: quick, and not back into here. May be NULL. */
    void (*on_stopped)(void *arg);
    void *arg;
};

/* dir_fd: the folder; ownership passes, also on failure. ERR_NOMEM, ERR_IO. */
int logs_open(struct logs **ret, int dir_fd, const struct logs_opts *o, struct err *e) BIDE_MUST_USE;
void logs_close(struct logs *l); /* every stream is closed; NULL is fine */

/* From now on these. Streams that are open stay so. Any thread. */
void logs_set(struct logs *l, const struct logs_opts *o);

/* --- writing -- */

/* NULL when l is NULL or off, without memory, or for names that are none; the calls below take NULL. */
struct logs_stream *logs_stream_open(struct logs *l, const char *function, const char *stream);
void logs_stream_close(struct logs_stream *s);

/* What the function wrote, in pieces as they come. request_id "": between invocations. False: the function is over its
 * rate, and its output is being dropped. */
bool logs_output(struct logs_stream *s, const char *request_id, const void *p, size_t n);

/* Whole lines of the platform's own; exempt from the rate. */
void logs_platform(struct logs_stream *s, const char *request_id, const void *p, size_t n);

struct logs_stats {
    bool on;
    uint64_t streams;       /* open */
    uint64_t bytes;         /* on disk, as of the last sweep and what was written since */
    uint64_t written_bytes; /* since the start, as the next two */
    uint64_t dropped_bytes; /* over a rate, or no room in the queue */
    uint64_t lost_bytes;    /* the disk would not take them */
    bool stopped;           /* nothing is written now */
    char why[200];          /* stopped: for people */
};
void logs_stats(struct logs *l, struct logs_stats *ret); /* any thread */

/* --- reading -- */

struct logs_query {
    const char *function;
    int64_t since_ms;       /* 0: from the oldest on */
    const char *request_id; /* "" = any */
    const char *cursor;     /* "" = from since_ms on */
    uint32_t limit;         /* 1 to LOGS_READ_MAX */
};

/* Borrowed for the callback. */
struct logs_line {
    int64_t time_ms;
    const char *stream;     /* as the worker sees it */
    const char *request_id; /* "" = none */
    const char *text;       /* any bytes but newlines */
    size_t len;
};
typedef void logs_line_cb(const struct logs_line *line, void *arg);

/* The lines of all streams in the order of their time, each once over all calls that go on with the cursor given back:
 * also those that are written meanwhile, and streams that begin meanwhile. *ret_more: there are more now. Blocks for
 * the disk. ERR_NOTFOUND: the function has no logs (the cursor is good all the same); ERR_INVALID: the cursor is none
 * of ours; ERR_IO, ERR_NOMEM. */
int logs_read(struct logs *l, const struct logs_query *q, logs_line_cb *cb, void *arg, char next[LOGS_CURSOR_MAX],
              bool *ret_more, struct err *e) BIDE_MUST_USE;

#endif
