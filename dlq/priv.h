/* The dead-letter store's insides, shared by the files of this folder alone. */
#ifndef DLQ_PRIV_H
#define DLQ_PRIV_H

#include <stdatomic.h>

#include "base/id.h"
#include "base/record.h"
#include "dlq.h"

enum {
    LETTER_RECORD_VERSION = 2, /* 1 is still written when it says all */
    LETTER_RECORD_MAX = 4096,
    TOTALS_RECORD_VERSION = 1,
    LOOK_MAX = 2000,           /* letters one call looks at */
    CHUNK_MAX = 1000,          /* letters one transaction moves */
    CHUNK_BYTES_MAX = 8 << 20, /* payload one transaction replays, but one letter always */
};

/* Tables: dead: place in the order of deaths -> letter; deadseq: seq of the event -> that place. The event's record,
 * payload and attempts stay where the queue keeps them. */
struct letter {
    uint64_t place;
    uint64_t seq;
    uint64_t bytes;       /* what it is counted with */
    int64_t kept_from_ms; /* retention counts from here; 0: from its death */
    char error_type[QUEUE_TYPE_MAX + 1];
    char error_message[QUEUE_MESSAGE_MAX + 1];
};

struct totals {
    uint64_t next_place, letters, replayed, bytes;
};

struct dlq {
    struct queue *queue;
    struct store *store;
    struct dlq_opts opts;
    _Atomic int64_t retention_ms;     /* as last set */
    _Atomic int64_t retention_due_ms; /* as the last dlq_retention saw it */
    struct store_table *dead, *deadseq, *meta;
    struct totals now, saved; /* the writing thread's */
    bool dirty;
    int64_t kept_from_ms; /* of the letter being imported; 0: none is */
    struct buf scratch;   /* the writing thread's */
};

/* record.c */
int letter_encode(struct buf *b, const struct letter *l) BIDE_MUST_USE;
int letter_decode(struct slice key, struct slice val, struct letter *ret) BIDE_MUST_USE;
int totals_encode(struct buf *b, const struct totals *t) BIDE_MUST_USE;
int totals_decode(struct slice val, struct totals *ret) BIDE_MUST_USE;

/* dlq.c */
int dlq_totals_in(struct dlq *d, struct store_txn *t, struct totals *ret) BIDE_MUST_USE;
int letter_of_seq(struct dlq *d, struct store_txn *t, uint64_t seq, struct letter *ret) BIDE_MUST_USE;
/* A letter under the cursor, and its event. */
int letter_read(struct dlq *d, struct store_txn *t, struct slice key, struct slice val, struct letter *ret_letter,
                struct event *ret_ev) BIDE_MUST_USE;
/* Such a code is of the record itself, which walks pass by; any other is of the moment, and passing by would skip a
 * letter that is whole. */
bool is_unreadable(int rc);
uint64_t place_of(struct slice key);
/* What a letter is counted with. */
uint64_t letter_bytes(size_t payload_len, const struct attempt *attempts, size_t n);
/* The event behind a letter passes the filter. */
bool letter_matches(const struct dlq_filter *f, const struct event *ev);

#endif
