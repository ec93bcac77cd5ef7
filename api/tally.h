/* What the API counts of its own: answers by class, refusals by reason, how long accepting took. */
#ifndef API_TALLY_H
#define API_TALLY_H

#include "base/hist.h"
#include "fault.h"

/* Why a request was not served. */
enum refusal {
    REFUSED_INVALID,    /* a member, parameter or payload is wrong */
    REFUSED_SIGNATURE,  /* missing or wrong */
    REFUSED_DENIED,     /* another account's */
    REFUSED_NOT_FOUND,  /* no such function, event, letter, route */
    REFUSED_CONFLICT,   /* the thing is in a state that forbids it */
    REFUSED_TOO_LARGE,  /* over a ceiling */
    REFUSED_THROTTLED,  /* a synchronous call without a free slot */
    REFUSED_BUSY,       /* the pool's or the server's ceilings */
    REFUSED_STORE_FULL, /* nothing was stored */
    REFUSED_SHUTDOWN,
    REFUSED_PROTOCOL, /* not HTTP as it should be, or too slow */
    REFUSED_FAILED,   /* bide's side */
    REFUSALS
};
const char *refusal_name(enum refusal r); /* "invalid" */
enum refusal refusal_of_fault(enum fault_type t);
enum refusal refusal_of_status(int status); /* of the HTTP server's own */

enum { TALLY_CLASSES = 4 }; /* 2xx to 5xx */

struct tally {
    struct hist accept_us; /* from the head of a request with events to its 202 */
    _Atomic uint64_t answers[TALLY_CLASSES];
    _Atomic uint64_t refused[REFUSALS];
};

void tally_init(struct tally *t);
/* Any thread. */
void tally_answer(struct tally *t, int status);
void tally_refusal(struct tally *t, enum refusal r);

#endif
