#include "tally.h"

static const struct hist_scale accept_us = {
    12, {250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000}};

static const char *const names[REFUSALS] = {
    [REFUSED_INVALID] = "invalid",        [REFUSED_SIGNATURE] = "signature", [REFUSED_DENIED] = "denied",
    [REFUSED_NOT_FOUND] = "not_found",    [REFUSED_CONFLICT] = "conflict",   [REFUSED_TOO_LARGE] = "too_large",
    [REFUSED_THROTTLED] = "throttled",    [REFUSED_BUSY] = "busy",           [REFUSED_STORE_FULL] = "store_full",
    [REFUSED_SHUTDOWN] = "shutting_down", [REFUSED_PROTOCOL] = "protocol",   [REFUSED_FAILED] = "failed",
};

const char *refusal_name(enum refusal r)
{
    return names[r];
}

enum refusal refusal_of_fault(enum fault_type t)
{
    switch (t) {
    case FAULT_VALIDATION:
    case FAULT_SERIALIZATION:
    case FAULT_INVALID_PARAMETER:
    case FAULT_INVALID_CONTENT:
        return REFUSED_INVALID;
    case FAULT_NOT_FOUND:
    case FAULT_UNKNOWN_OPERATION:
        return REFUSED_NOT_FOUND;
    case FAULT_CONFLICT:
    case FAULT_PRECONDITION:
        return REFUSED_CONFLICT;
    case FAULT_TOO_LARGE:
        return REFUSED_TOO_LARGE;
    case FAULT_TOO_MANY:
        return REFUSED_BUSY; /* a throttled call is not told of by a fault */
    case FAULT_ACCESS_DENIED:
        return REFUSED_DENIED;
    case FAULT_NONE:
    case FAULT_SERVICE:
    case FAULT_TYPES:
        break;
    }
    return REFUSED_FAILED;
}

enum refusal refusal_of_status(int status)
{
    return status == 413 ? REFUSED_TOO_LARGE : status == 503 ? REFUSED_BUSY : REFUSED_PROTOCOL;
}

void tally_init(struct tally *t)
{
    hist_init(&t->accept_us, &accept_us);
}

void tally_answer(struct tally *t, int status)
{
    int class = status / 100 - 2;
    if (class >= 0 && class < TALLY_CLASSES)
        counter_add(&t->answers[class], 1);
}

void tally_refusal(struct tally *t, enum refusal r)
{
    counter_add(&t->refused[r], 1);
}
