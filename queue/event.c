#include "event.h"

#include <string.h>

#define TO(state_) (1u << (state_))

/*
 *            accept           start             success
 *   (none) ---------> queued -------> running ---------> done ----> removed
 *                      ^  |  \         |  |  \                        ^
 *              due     |  |   \ age    |  |   \ no retries left       |
 *            +---------+  |    \       |  |    v                      |
 *            |   disrupted|     +----->|--|-> dead -----> replayed ---+
 *         waiting <-------+------------+  |     ^             (also dead -> removed)
 *            |      function error        v     |
 *            +--------------------> cancelled --)---------------------> removed
 */
static const unsigned allowed[EVENT_STATES] = {
    [EVENT_NONE] = TO(EVENT_QUEUED) | TO(EVENT_DEAD) | TO(EVENT_REPLAYED), /* the latter two: imported */
    [EVENT_QUEUED] = TO(EVENT_RUNNING) | TO(EVENT_DEAD) | TO(EVENT_CANCELLED) | TO(EVENT_WAITING),
    [EVENT_RUNNING] = TO(EVENT_DONE) | TO(EVENT_WAITING) | TO(EVENT_DEAD) | TO(EVENT_QUEUED) | TO(EVENT_CANCELLED),
    [EVENT_WAITING] = TO(EVENT_QUEUED) | TO(EVENT_DEAD) | TO(EVENT_CANCELLED) | TO(EVENT_WAITING),
    [EVENT_DONE] = TO(EVENT_REMOVED),
    [EVENT_DEAD] = TO(EVENT_REPLAYED) | TO(EVENT_REMOVED),
    [EVENT_CANCELLED] = TO(EVENT_REMOVED),
    [EVENT_REPLAYED] = TO(EVENT_REMOVED) | TO(EVENT_REPLAYED),
    [EVENT_REMOVED] = 0,
};

bool event_may_move(enum event_state from, enum event_state to)
{
    return from < EVENT_STATES && to < EVENT_STATES && (allowed[from] & TO(to)) != 0;
}

void event_move(struct event *ev, enum event_state to)
{
    BIDE_ASSERT(event_may_move(ev->state, to), "event %llu: %s -> %s", (unsigned long long)ev->seq,
                event_state_name(ev->state), event_state_name(to));
    ev->state = to;
}

const char *event_state_name(enum event_state s)
{
    static const char *const names[EVENT_STATES] = {"none", "queued",    "running",  "waiting", "done",
                                                    "dead", "cancelled", "replayed", "removed"};
    return s < EVENT_STATES ? names[s] : "unknown";
}

const char *condition_name(enum condition c)
{
    static const char *const names[CONDITIONS] = {
        "",          "RetriesExhausted", "EventAgeExceeded", "ZeroReservedConcurrency",
        "Disrupted", "FunctionDeleted",  "Corrupt"};
    return c < CONDITIONS ? names[c] : "";
}

const char *outcome_name(enum outcome o)
{
    static const char *const names[OUTCOMES] = {"success",       "function_error", "timeout",
                                                "out_of_memory", "exited",         "init_error"};
    return o < OUTCOMES ? names[o] : "unknown";
}
