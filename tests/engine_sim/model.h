/* What must be true. The model knows what clients, operators and workers did and were told, and what each commit left
 * on disk. A commit may move an event only as the table of an event's life says (docs/storage.md), and only for a
 * reason the model has seen: an outcome, a due time, a request. It shares no code with the engine.
 *
 *   R1, R2  what is acknowledged is on disk, and stays; after a crash the disk is as the last commit left it
 *   R3      what runs was submitted, with its payload and under its id
 *   R4      attempts and disruptions are those that happened, once each
 *   R5      one outcome; dead and letter in one commit
 *   R6, R7  due times; ages after a step of the clock
 *   R8      concurrency when a run is handed over
 *   R9      nobody who could run is passed over for long
 *   R10     what was refused is not there
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim.h"

void model_init(void);

/* --- the disk ------------------------------------------------------------------------------------------------------
 */

void model_txn_begin(void);
void model_touch(const char *table, const void *key, size_t key_len);
int model_before_commit(struct store_txn *t, void *arg); /* a hook of the store */
void model_committed(void);
void model_engine_opened(void);  /* the store, queue and dlq are open, nothing has been recovered */
void model_engine_started(void); /* functions too; model_function has told of each */
void model_pause(void);          /* no thread has anything to do */
void model_quiet(void);          /* nobody has anything to do before the clock moves on */
void model_end(void);            /* all must be over */

uint64_t model_open_events(void);  /* not over */
uint64_t model_known_events(void); /* submitted */

/* --- clients -------------------------------------------------------------------------------------------------------
 */

uint64_t model_submit(const struct id *id, uint64_t fid, uint32_t payload_len); /* a token: it is in the payload */
void model_payload(uint64_t token, uint32_t len, char *out);
void model_answer(uint64_t token, int err);
uint64_t model_call(const struct id *id); /* a synchronous one */
void model_call_answer(uint64_t call);

/* --- operators -----------------------------------------------------------------------------------------------------
 */

/* Any event in one of the states (bits 1 << state). */
bool model_pick(uint32_t states, struct id *ret);
void model_cancel(const struct id *id);
void model_cancel_answer(const struct id *id, int err);
void model_retry(const struct id *id);
void model_removal_asked(void); /* a replay, or a removal of letters or history, is under way */
void model_removal_answer(void);

/* A cancel or retry of all of a function's. */
struct purge;
struct purge *purge_begin(uint64_t fid, const struct queue_sweep *s, bool retry);
void purge_chunk(struct purge *p, const struct queue_sweep *at); /* the chunk is committed */
void purge_end(struct purge *p, bool complete);

/* A function as it is now; told after the commit. */
void model_function(const struct function *f, bool deleted);
void model_function_asked(const char *name);
void model_function_answer(const char *name);
void model_clock_step(int64_t by_ms);

/* --- workers -------------------------------------------------------------------------------------------------------
 */

struct model_run {
    uint64_t seq; /* of the event, or the number of the call */
    uint64_t fid;
    bool sync;
};
enum model_end { MODEL_OK, MODEL_FAILED, MODEL_BROKEN };

struct model_run model_hand_over(uint32_t handler, uint64_t token, const char *request_id, const void *payload,
                                 size_t len, uint32_t executing);
void model_outcome(const struct model_run *r, uint64_t token, enum model_end end);
void model_init_failed(uint32_t handler);
void model_worker_gone(void);

#endif
