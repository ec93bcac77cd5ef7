/* What a scenario was about to do, and what it was told had been done: kept in memory that outlives the process that
 * did it, so that a fresh one can be held to it.
 *
 * A thing (an event, a function, a number) goes through states. Before an op that changes it the next state is
 * intended; the op's completion keeps the promise (or breaks it off: an error says that nothing was done). What is
 * found afterwards must be the last state that was kept, or one intended since and not answered.
 *
 * Filled by one process, on several threads; read by others.
 */
#ifndef TESTS_FAULTS_LEDGER_H
#define TESTS_FAULTS_LEDGER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"

enum { LEDGER_THINGS_MAX = 512, LEDGER_LINES_MAX = 8192, LEDGER_ANSWERS_MAX = 8 };

enum thing_kind { THING_EVENT, THING_FUNCTION, THING_CREDENTIALS, THING_CLOCK };

struct thing {
    enum thing_kind kind;
    struct id id;          /* events */
    char name[32];         /* functions */
    uint32_t payload_seed; /* events: see ledger_payload */
    uint32_t payload_len;
};

enum line_kind { LINE_INTENDED, LINE_KEPT, LINE_BROKEN_OFF };

struct line {
    enum line_kind kind;
    uint32_t thing;
    uint32_t state;
    uint32_t tries;  /* events: attempts that have come to an end with this state */
    uint32_t intent; /* of a LINE_KEPT or LINE_BROKEN_OFF: the line it answers */
    uint64_t pos;    /* length of the trace when it was written */
};

struct ledger {
    _Atomic uint32_t n_things, n_lines;
    _Atomic int64_t clock_ms; /* of the scenario's clock, as last moved */
    struct thing things[LEDGER_THINGS_MAX];
    struct line lines[LEDGER_LINES_MAX];
};

struct ledger *ledger_new(void); /* shared with children; NULL: no memory */
void ledger_free(struct ledger *l);
void ledger_clear(struct ledger *l);

uint32_t ledger_thing(struct ledger *l, enum thing_kind kind);
/* The line; pos: see struct line. */
uint32_t ledger_intend(struct ledger *l, uint32_t thing, uint32_t state, uint32_t tries, uint64_t pos);
void ledger_answer(struct ledger *l, uint32_t intent, bool kept, uint64_t pos);

/* What may be found of a thing after a stop when the trace was pos long; state 0: it is not there. n 0: nothing was
 * said of it by then (the copy that a replay makes gets its name with the answer). */
struct answers {
    uint32_t n;
    uint32_t state[LEDGER_ANSWERS_MAX];
    uint32_t tries_min, tries_max;
};
void ledger_allowed(const struct ledger *l, uint32_t thing, uint64_t pos, struct answers *ret);

/* The last state of a thing that was kept; 0: none. */
uint32_t ledger_kept(const struct ledger *l, uint32_t thing);

/* The payload of a thing, len bytes of JSON into out. */
void ledger_payload(uint32_t seed, char *out, uint32_t len);

#endif
