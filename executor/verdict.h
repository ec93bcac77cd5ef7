/* Results in the making: what became of one invocation or one init, with the texts Lambda uses (Lambda: section 4.3).
 * The struct is big and lives on the stack of the function that reports it, so that results may nest.
 *
 *   struct verdict v;
 *   verdict_timeout(&v, request_id, limit_ms);
 *   ... v.r goes to the callback ...
 *   verdict_done(&v);
 *
 * A body that finds no memory is empty: the end, type and message still tell.
 */
#ifndef EXECUTOR_VERDICT_H
#define EXECUTOR_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "capture.h"
#include "executor.h"

enum { VERDICT_TYPE_MAX = 256, VERDICT_MESSAGE_MAX = 1024 };

struct verdict {
    struct executor_result r; /* its pointers lead into the members below or to what the maker was given */
    const char *status;       /* of the REPORT line; NULL: none */
    const char *status_type;  /* with it; "" = none */
    struct buf body;
    char type[VERDICT_TYPE_MAX];
    char message[VERDICT_MESSAGE_MAX];
    char tail[CAPTURE_TAIL];
};

/* request_id NULL: an init failure, which names no request. body is borrowed until verdict_done. */
void verdict_response(struct verdict *v, const void *body, size_t len);
void verdict_error(struct verdict *v, enum executor_end end, const void *body, size_t len, const char *header_type);
void verdict_too_large(struct verdict *v);
void verdict_timeout(struct verdict *v, enum executor_end end, const char *request_id, int64_t limit_ms);
void verdict_exit(struct verdict *v, enum executor_end end, const char *request_id, int exit_code, int sig);
void verdict_out_of_memory(struct verdict *v, const char *request_id, int sig);
void verdict_no_entrypoint(struct verdict *v, enum executor_end end, const char *request_id, const char *const *tried,
                           size_t n_tried);
void verdict_disrupted(struct verdict *v);

/* Fill the log members from what c holds. */
void verdict_log(struct verdict *v, const struct capture *c);
void verdict_done(struct verdict *v);

#endif
