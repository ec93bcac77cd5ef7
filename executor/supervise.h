/* The supervision of one worker as a table: state times event gives one action, and no cell is empty. Pure: it holds no
 * worker and does nothing; worker.c performs the actions and moves the state.
 *
 *   switch (supervise_action(w->state, SUP_EV_NEXT)) ...
 */
#ifndef EXECUTOR_SUPERVISE_H
#define EXECUTOR_SUPERVISE_H

enum sup_state {
    SUP_STARTING,  /* asked of the executor process */
    SUP_INIT,      /* the runtime runs and has not asked for work yet */
    SUP_FAILING,   /* the runtime posted init/error and is about to exit */
    SUP_IDLE,      /* asked for work */
    SUP_FROZEN,    /* the same, and its box is frozen */
    SUP_BUSY,      /* an invocation is in its hands */
    SUP_ANSWERED,  /* answered; has not asked for the next one yet */
    SUP_RESETTING, /* everything in the box but its init is being killed, the runtime starts anew */
    SUP_STOPPING,  /* the box is being killed */
    SUP_N_STATES,
};

enum sup_event {
    /* From the executor process. */
    SUP_EV_STARTED,
    SUP_EV_START_FAILED,
    SUP_EV_EXITED, /* the runtime process ended, the box lives */
    SUP_EV_OOM,    /* memory ran out */
    SUP_EV_RESET_DONE,
    SUP_EV_DEAD, /* the box is gone */
    /* From the Runtime API. RESPONSE and ERROR only for the id of the latest invocation. */
    SUP_EV_NEXT,
    SUP_EV_RESPONSE,
    SUP_EV_ERROR,
    SUP_EV_INIT_ERROR,
    /* From the dispatcher and the clock. DEADLINE is the one timer of the state: start, init, failing, freeze, time
     * limit, reset, stop. */
    SUP_EV_INVOKE,
    SUP_EV_STOP,
    SUP_EV_DEADLINE,
    SUP_N_EVENTS,
};

enum sup_action {
    SUP_NOTHING = 1,      /* expected, and nothing is to be done */
    SUP_ODD,              /* the executor process should not have said this: log, go on */
    SUP_BUG,              /* our own bookkeeping cannot produce this */
    SUP_REFUSE,           /* the runtime may not do this now: 403 InvalidStateTransition */
    SUP_BEGIN_INIT,       /* sockets are here: serve the Runtime API, the init limit runs */
    SUP_START_FAILED,     /* the platform could not start it */
    SUP_START_GIVE_UP,    /* no answer to the start: tell, and clean up silently */
    SUP_READY,            /* first (or first new) request for work */
    SUP_HOLD_POLL,        /* keep the request for work, if none is kept already */
    SUP_INIT_ERROR,       /* keep the error; the exit decides */
    SUP_INIT_ERROR_EARLY, /* the same, by a runtime that was started anew, before the news of that */
    SUP_INIT_EXITED,      /* init ended by exit: run it again, or fail */
    SUP_INIT_LATE,        /* init limit passed: run it again with the function's timeout as limit, or fail */
    SUP_INIT_AGAIN,       /* init ended with the error kept: run it again, or fail */
    SUP_INIT_OOM,         /* memory ran out in init */
    SUP_INIT_DEAD,        /* the box was lost in init: the platform's fault */
    SUP_FREEZE,
    SUP_HAND_OVER,        /* thaw if need be, give the invocation to the request for work */
    SUP_DOOM,             /* an invocation for a box that is being killed: disrupted when it is gone */
    SUP_DELIVER,          /* the invocation waited for a request for work; or refuse a second request */
    SUP_ANSWER,           /* result: the response */
    SUP_ANSWER_ERROR,     /* result: the function's error */
    SUP_READY_AGAIN,      /* back to idle */
    SUP_TIME_OUT,         /* result: timed out; reset */
    SUP_EXIT,             /* result: exited; reset */
    SUP_OUT_OF_MEMORY,    /* result: out of memory; stop */
    SUP_DISRUPT_AND_STOP, /* result: disrupted, since a stop was asked */
    SUP_REVIVE,           /* exited without work in hand: reset if it has served since it was made, else stop */
    SUP_RESET,
    SUP_INIT_ANEW,  /* reset done: the runtime initialises again */
    SUP_RESET_LATE, /* reset took too long: stop, in a box of its own start again if it never was ready */
    SUP_STOP,
    SUP_STOP_ASKED, /* a stop on top of a stop: no start again */
    SUP_GONE,       /* forget it, or start it again when that was intended */
    SUP_LOST_TRACK, /* no answer to a stop: log and forget */
};

enum sup_action supervise_action(enum sup_state s, enum sup_event ev);

/* "Busy", "response": for messages; static storage. */
const char *supervise_state_name(enum sup_state s);
const char *supervise_event_name(enum sup_event ev);

#endif
