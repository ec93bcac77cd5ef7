/* A dead letter as one line of JSON, for export and import: everything that is known of it, every byte kept. The form
 * is in docs/api.md. Pure; any thread.
 */
#ifndef API_LETTER_H
#define API_LETTER_H

#include "json_out.h"
#include "queue/queue.h"

enum {
    LETTER_FORM = 1,             /* member "bide_dead_letter": what this program writes, and the newest it reads */
    LETTER_COUNT_MAX = 1000000,  /* attempts or disruptions one can have had */
    LETTER_PAYLOAD_MAX = 6 << 20 /* the most that async.max_payload can be set to */
};

/* Write l as an object without a line end in it. */
void letter_out(struct json_out *o, const struct queue_import *l);

/* A letter that was read, with the memory it stands in. */
struct letter_in {
    struct queue_import l;
    struct attempt attempts[QUEUE_ATTEMPTS_MAX];
    char *text; /* what the pointers above point into */
    size_t text_len, text_cap;
};

/* Read a line: ERR_INVALID with the fault in e; nothing is to be released then. ERR_NOMEM. The function's fid is left
 * 0. */
int letter_in_read(struct letter_in *ret, const char *line, size_t len, struct err *e) BIDE_MUST_USE;
void letter_in_done(struct letter_in *in);

#endif
