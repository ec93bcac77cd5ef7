/* Stored records of the queue.
 *
 * Changing a format: raise the version constant, teach decode both forms (new fields at the end of the old array), keep
 * the golden bytes of the old version in tests/unit/queue/test_codec.c, write the change down in docs/storage.md.
 */
#ifndef QUEUE_CODEC_H
#define QUEUE_CODEC_H

#include "base/record.h"
#include "queue.h"

enum {
    EVENT_RECORD_VERSION = 1,
    RUNNING_RECORD_VERSION = 1,
    ATTEMPT_RECORD_VERSION = 1,
    STATS_RECORD_VERSION = 1,
    CHUNK_RECORD_VERSION = 1,
    PAYLOAD_INLINE_MAX = 1400, /* so that a record stays below half a page and out of LMDB's overflow pages */
    PAYLOAD_CHUNK = 1900,
    EVENT_RECORD_MAX = 8192,
    ATTEMPT_RECORD_MAX = 32768,
};

/* What the event record says of an attempt; error details of failed ones have a record of their own. */
struct brief {
    int64_t started_at_ms, ended_at_ms;
    enum outcome outcome;
    int exit_code;
    int signal;
    uint64_t peak_kb;
    bool details; /* it has a row in attempt */
    char version[32];
};

struct stored {
    struct event ev;
    struct brief briefs[QUEUE_ATTEMPTS_MAX];
    uint32_t n_briefs;
    struct slice payload;           /* inline; p NULL: none, or in chunks */
    char bytes[PAYLOAD_INLINE_MAX]; /* what row_load makes payload point to */
};

struct running {
    uint64_t run;
    int64_t started_at_ms;
    bool lone;
    bool cancel_asked;
};

struct details {
    struct slice error_type, error_message, error, log_tail; /* p NULL: none */
};

/* b is cleared and filled. 0, ERR_TOOBIG, ERR_NOMEM. */
int codec_event(struct buf *b, const struct stored *s) BIDE_MUST_USE;
int codec_running(struct buf *b, const struct running *r) BIDE_MUST_USE;
int codec_attempt(struct buf *b, const struct attempt *a) BIDE_MUST_USE;
int codec_books(struct buf *b, const struct books *k, uint64_t next_seq, uint64_t next_finish, uint64_t history_bytes,
                int64_t max_wait_ms, int64_t last_ms) BIDE_MUST_USE;
int codec_chunk(struct buf *b, const void *p, size_t len) BIDE_MUST_USE;
int codec_stats(struct buf *b, const struct queue_function_stats *st) BIDE_MUST_USE;

/* ERR_CORRUPT, ERR_VERSION. Slices point into data. */
int decode_event(const void *data, size_t len, uint64_t seq, struct stored *ret) BIDE_MUST_USE;
int decode_running(const void *data, size_t len, struct running *ret) BIDE_MUST_USE;
int decode_details(const void *data, size_t len, struct details *ret) BIDE_MUST_USE;
int decode_books(const void *data, size_t len, struct books *k, uint64_t *next_seq, uint64_t *next_finish,
                 uint64_t *history_bytes, int64_t *max_wait_ms, int64_t *last_ms) BIDE_MUST_USE;
int decode_chunk(const void *data, size_t len, struct slice *ret) BIDE_MUST_USE;
int decode_stats(const void *data, size_t len, struct queue_function_stats *ret) BIDE_MUST_USE;

#endif
