/* The simulation's durable store and its observer.
 *
 * The store is what a disk would hold: one record per event, changed only by ops, and an op only counts once it is
 * committed; a crash drops the ops that are not. Beside each record the observer keeps its own account of what really
 * happened, from the executor's side, and the two are compared. Nothing here shares code with the scheduler.
 *
 * A broken rule ends the program with the seed, the step and the command that repeats it (sim_violation).
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_EVENTS_MAX = 4000000, MODEL_OPS_MAX = 65536 };

enum model_state { M_QUEUED, M_RUNNING, M_WAITING, M_DONE, M_DEAD, M_CANCELLED, M_STATES };
enum model_why { WHY_NONE, WHY_EXHAUSTED, WHY_AGE, WHY_ZERO, WHY_DISRUPTED, WHY_DELETED };

/* Bugs put in on purpose (--break): each must be found. */
enum model_break {
    BREAK_NONE,
    BREAK_COUNT_TWICE,   /* a settled attempt is recorded twice */
    BREAK_LOSE_EVENT,    /* a crash loses a queued event */
    BREAK_RESTART_WAIT,  /* recovery starts every wait anew */
    BREAK_EARLY,         /* the shell takes an event out of its wait too early */
    BREAK_NO_DISRUPTION, /* recovery does not count a disruption */
    BREAK_UNSYNCED,      /* the hand-over does not wait for a start that has to be on disk */
    BREAK_FORGET_CANCEL, /* recovery forgets that a running event was cancelled */
    BREAK_PURGE_YOUNG,   /* a purge takes what was accepted after it began, too */
    BREAKS
};

struct model_event {
    /* the record */
    uint32_t fn; /* index of its function */
    uint64_t fid;
    enum model_state state;
    enum model_why why;
    int64_t accepted_at, due_at, wait_ms, max_age_ms;
    uint32_t attempts, max_attempts, disruptions, lone_runs;
    uint64_t run;
    bool lone, exists, cancel_asked;
    /* the observer's */
    uint32_t true_attempts, true_disruptions;
    bool true_cancelled; /* an operator was told that it is, or will be */
    bool true_young;     /* accepted after every purge that has reached it began */
    int64_t true_due_at;
    bool true_final;
    /* the engine's, lost in a crash */
    bool in_window; /* the scheduler said it holds it, ready */
    bool in_hand;   /* decided upon (bound, running, expiring) and not settled */
    bool executing;
    bool promoting;
};

enum op_kind { OP_ACCEPT, OP_START, OP_SETTLE, OP_EXPIRE, OP_CANCEL, OP_RETRY, OP_PURGE, OP_PROMOTE, OP_DELETED };
enum { PURGE_CHUNK = 16 };

struct op {
    enum op_kind kind;
    uint64_t seq;
    uint64_t run;
    enum model_state to; /* settle */
    enum model_why why;
    bool lone, counts, disruption;
    int64_t wait_ms, due_at;
    uint64_t worker; /* start that the hand-over waits for, or 0 */
    /* purge: whose, what was accepted before; then what this chunk took */
    uint64_t fid, until;
    uint64_t seqs[PURGE_CHUNK];
    uint32_t n_seqs;
};

struct model {
    struct model_event *events; /* by seq; 0 is unused */
    uint64_t n_events, cap;
    uint64_t by_state[M_STATES];
    uint64_t accepted;
    uint64_t n_final;
    uint64_t n_lone;    /* not final, and to be run alone */
    uint32_t lone_from; /* disruptions that make an event run alone */
    struct op *ops;     /* not committed, oldest first */
    size_t n_ops;
    enum model_break broken;
    bool broke; /* the bug has been put in */
};

int model_init(struct model *m, uint64_t n_events_max, uint32_t lone_from);
void model_done(struct model *m);

/* A new record, not there before its accept op is committed. The seq. */
uint64_t model_new_event(struct model *m, uint32_t fn, uint64_t fid, int64_t now, int64_t max_age_ms,
                         uint32_t max_attempts);
void model_submit(struct model *m, const struct op *o);

/* Apply one op; true: it took effect, false: the record was not in a state for it. A purge writes down what it took. */
bool model_apply(struct model *m, struct op *o, int64_t now);

/* What a restart does: every running event back to its place as a disruption; events whose lone runs are used up die.
 */
void model_recover(struct model *m, uint32_t max_disruptions, int64_t now);

/* The record against the observer's account. */
void model_check_event(const struct model *m, uint64_t seq);
/* All of them, and the books. */
void model_check_all(const struct model *m);
bool model_is_final(const struct model_event *e);

_Noreturn void sim_violation(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
