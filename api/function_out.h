/* FunctionConfiguration and its relatives as JSON (Lambda: 3.3). Any thread. */
#ifndef API_FUNCTION_OUT_H
#define API_FUNCTION_OUT_H

#include "json_out.h"
#include "queue/queue.h"
#include "registry/registry.h"

struct function_out {
    const char *region;
    const char *account;
    const char *qualifier;                    /* "" or "$LATEST": whether the ARN shows it */
    bool listed;                              /* an item of a list: no state, no runtime version */
    const struct queue_function_stats *stats; /* bide's own listing: what there is of it, and whether it is paused */
};

/* How many events of a function are where: an object; key as in json_out.h. */
void function_out_events(struct json_out *o, const char *key, const struct queue_function_stats *st);

/* One object; key as in json_out.h. */
void function_out_config(struct json_out *o, const char *key, const struct function *f, const struct function_out *how);

/* {"ReservedConcurrentExecutions":n}, or {} without a reservation. */
void function_out_concurrency(struct json_out *o, const char *key, const struct function *f);

/* FunctionEventInvokeConfig of $LATEST. */
void function_out_invoke_config(struct json_out *o, const char *key, const struct function *f,
                                const struct function_out *how);

#endif
