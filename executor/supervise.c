#include "supervise.h"

/* One row per state, one column per event. A zero would be an empty cell; the unit test refuses one. */
/* clang-format off */
static const unsigned char table[SUP_N_STATES][SUP_N_EVENTS] = {
    [SUP_STARTING] = {
        [SUP_EV_STARTED]      = SUP_BEGIN_INIT,
        [SUP_EV_START_FAILED] = SUP_START_FAILED,
        [SUP_EV_EXITED]       = SUP_ODD,
        [SUP_EV_OOM]          = SUP_NOTHING, /* DEAD follows */
        [SUP_EV_RESET_DONE]   = SUP_ODD,
        [SUP_EV_DEAD]         = SUP_START_FAILED,
        [SUP_EV_NEXT]         = SUP_BUG, /* there is no listener yet */
        [SUP_EV_RESPONSE]     = SUP_BUG,
        [SUP_EV_ERROR]        = SUP_BUG,
        [SUP_EV_INIT_ERROR]   = SUP_BUG,
        [SUP_EV_INVOKE]       = SUP_BUG,
        [SUP_EV_STOP]         = SUP_STOP,
        [SUP_EV_DEADLINE]     = SUP_START_GIVE_UP,
    },
    [SUP_INIT] = {
        [SUP_EV_STARTED]      = SUP_ODD,
        [SUP_EV_START_FAILED] = SUP_ODD,
        [SUP_EV_EXITED]       = SUP_INIT_EXITED,
        [SUP_EV_OOM]          = SUP_INIT_OOM,
        [SUP_EV_RESET_DONE]   = SUP_ODD,
        [SUP_EV_DEAD]         = SUP_INIT_DEAD,
        [SUP_EV_NEXT]         = SUP_READY,
        [SUP_EV_RESPONSE]     = SUP_REFUSE,
        [SUP_EV_ERROR]        = SUP_REFUSE,
        [SUP_EV_INIT_ERROR]   = SUP_INIT_ERROR,
        [SUP_EV_INVOKE]       = SUP_HAND_OVER,
        [SUP_EV_STOP]         = SUP_STOP,
        [SUP_EV_DEADLINE]     = SUP_INIT_LATE,
    },
    [SUP_FAILING] = {
        [SUP_EV_STARTED]      = SUP_ODD,
        [SUP_EV_START_FAILED] = SUP_ODD,
        [SUP_EV_EXITED]       = SUP_INIT_AGAIN,
        [SUP_EV_OOM]          = SUP_INIT_OOM,
        [SUP_EV_RESET_DONE]   = SUP_NOTHING, /* it failed before the news came that it runs */
        [SUP_EV_DEAD]         = SUP_INIT_DEAD,
        [SUP_EV_NEXT]         = SUP_REFUSE,
        [SUP_EV_RESPONSE]     = SUP_REFUSE,
        [SUP_EV_ERROR]        = SUP_REFUSE,
        [SUP_EV_INIT_ERROR]   = SUP_REFUSE,
        [SUP_EV_INVOKE]       = SUP_HAND_OVER,
        [SUP_EV_STOP]         = SUP_STOP,
        [SUP_EV_DEADLINE]     = SUP_INIT_AGAIN,
    },
    [SUP_IDLE] = {
        [SUP_EV_STARTED]      = SUP_ODD,
        [SUP_EV_START_FAILED] = SUP_ODD,
        [SUP_EV_EXITED]       = SUP_REVIVE,
        [SUP_EV_OOM]          = SUP_STOP,
        [SUP_EV_RESET_DONE]   = SUP_ODD,
        [SUP_EV_DEAD]         = SUP_GONE,
        [SUP_EV_NEXT]         = SUP_HOLD_POLL,
        [SUP_EV_RESPONSE]     = SUP_REFUSE,
        [SUP_EV_ERROR]        = SUP_REFUSE,
        [SUP_EV_INIT_ERROR]   = SUP_REFUSE,
        [SUP_EV_INVOKE]       = SUP_HAND_OVER,
        [SUP_EV_STOP]         = SUP_STOP,
        [SUP_EV_DEADLINE]     = SUP_FREEZE,
    },
    [SUP_FROZEN] = {
        [SUP_EV_STARTED]      = SUP_ODD,
        [SUP_EV_START_FAILED] = SUP_ODD,
        [SUP_EV_EXITED]       = SUP_REVIVE,
        [SUP_EV_OOM]          = SUP_STOP,
        [SUP_EV_RESET_DONE]   = SUP_ODD,
        [SUP_EV_DEAD]         = SUP_GONE,
        [SUP_EV_NEXT]         = SUP_HOLD_POLL, /* sent just before the freeze */
        [SUP_EV_RESPONSE]     = SUP_REFUSE,
        [SUP_EV_ERROR]        = SUP_REFUSE,
        [SUP_EV_INIT_ERROR]   = SUP_REFUSE,
        [SUP_EV_INVOKE]       = SUP_HAND_OVER,
        [SUP_EV_STOP]         = SUP_STOP,
        [SUP_EV_DEADLINE]     = SUP_BUG, /* a frozen worker waits for ever */
    },
    [SUP_BUSY] = {
        [SUP_EV_STARTED]      = SUP_ODD,
        [SUP_EV_START_FAILED] = SUP_ODD,
        [SUP_EV_EXITED]       = SUP_EXIT,
        [SUP_EV_OOM]          = SUP_OUT_OF_MEMORY,
        [SUP_EV_RESET_DONE]   = SUP_NOTHING, /* invoked while it was being revived */
        [SUP_EV_DEAD]         = SUP_GONE,
        [SUP_EV_NEXT]         = SUP_DELIVER,
        [SUP_EV_RESPONSE]     = SUP_ANSWER,
        [SUP_EV_ERROR]        = SUP_ANSWER_ERROR,
        [SUP_EV_INIT_ERROR]   = SUP_REFUSE,
        [SUP_EV_INVOKE]       = SUP_BUG,
        [SUP_EV_STOP]         = SUP_DISRUPT_AND_STOP,
        [SUP_EV_DEADLINE]     = SUP_TIME_OUT,
    },
    [SUP_ANSWERED] = {
        [SUP_EV_STARTED]      = SUP_ODD,
        [SUP_EV_START_FAILED] = SUP_ODD,
        [SUP_EV_EXITED]       = SUP_RESET,
        [SUP_EV_OOM]          = SUP_STOP,
        [SUP_EV_RESET_DONE]   = SUP_ODD,
        [SUP_EV_DEAD]         = SUP_GONE,
        [SUP_EV_NEXT]         = SUP_READY_AGAIN,
        [SUP_EV_RESPONSE]     = SUP_REFUSE,
        [SUP_EV_ERROR]        = SUP_REFUSE,
        [SUP_EV_INIT_ERROR]   = SUP_REFUSE,
        [SUP_EV_INVOKE]       = SUP_BUG,
        [SUP_EV_STOP]         = SUP_STOP,
        [SUP_EV_DEADLINE]     = SUP_RESET,
    },
    [SUP_RESETTING] = {
        [SUP_EV_STARTED]      = SUP_ODD,
        [SUP_EV_START_FAILED] = SUP_ODD,
        [SUP_EV_EXITED]       = SUP_NOTHING, /* the one that is being killed */
        [SUP_EV_OOM]          = SUP_RESET_LATE,
        [SUP_EV_RESET_DONE]   = SUP_INIT_ANEW,
        [SUP_EV_DEAD]         = SUP_INIT_DEAD,
        [SUP_EV_NEXT]         = SUP_HOLD_POLL, /* the new one is quicker than the news of it */
        [SUP_EV_RESPONSE]     = SUP_REFUSE,
        [SUP_EV_ERROR]        = SUP_REFUSE,
        [SUP_EV_INIT_ERROR]   = SUP_INIT_ERROR_EARLY,
        [SUP_EV_INVOKE]       = SUP_HAND_OVER,
        [SUP_EV_STOP]         = SUP_STOP,
        [SUP_EV_DEADLINE]     = SUP_RESET_LATE,
    },
    [SUP_STOPPING] = {
        [SUP_EV_STARTED]      = SUP_NOTHING, /* crossed our stop; its descriptors are closed */
        [SUP_EV_START_FAILED] = SUP_GONE,
        [SUP_EV_EXITED]       = SUP_NOTHING,
        [SUP_EV_OOM]          = SUP_NOTHING,
        [SUP_EV_RESET_DONE]   = SUP_NOTHING,
        [SUP_EV_DEAD]         = SUP_GONE,
        [SUP_EV_NEXT]         = SUP_REFUSE,
        [SUP_EV_RESPONSE]     = SUP_REFUSE,
        [SUP_EV_ERROR]        = SUP_REFUSE,
        [SUP_EV_INIT_ERROR]   = SUP_REFUSE,
        [SUP_EV_INVOKE]       = SUP_DOOM,
        [SUP_EV_STOP]         = SUP_STOP_ASKED,
        [SUP_EV_DEADLINE]     = SUP_LOST_TRACK,
    },
};
/* clang-format on */

enum sup_action supervise_action(enum sup_state s, enum sup_event ev)
{
    return (enum sup_action)table[s][ev];
}

const char *supervise_state_name(enum sup_state s)
{
    static const char *const names[SUP_N_STATES] = {
        [SUP_STARTING] = "Starting", [SUP_INIT] = "Init",           [SUP_FAILING] = "InitFailed",
        [SUP_IDLE] = "Ready",        [SUP_FROZEN] = "Frozen",       [SUP_BUSY] = "Running",
        [SUP_ANSWERED] = "Answered", [SUP_RESETTING] = "Resetting", [SUP_STOPPING] = "Stopping",
    };
    return names[s];
}

const char *supervise_event_name(enum sup_event ev)
{
    static const char *const names[SUP_N_EVENTS] = {
        [SUP_EV_STARTED] = "started",
        [SUP_EV_START_FAILED] = "start_failed",
        [SUP_EV_EXITED] = "exited",
        [SUP_EV_OOM] = "oom",
        [SUP_EV_RESET_DONE] = "reset_done",
        [SUP_EV_DEAD] = "dead",
        [SUP_EV_NEXT] = "next",
        [SUP_EV_RESPONSE] = "response",
        [SUP_EV_ERROR] = "error",
        [SUP_EV_INIT_ERROR] = "init_error",
        [SUP_EV_INVOKE] = "invoke",
        [SUP_EV_STOP] = "stop",
        [SUP_EV_DEADLINE] = "deadline",
    };
    return names[ev];
}
