/* What every request that invokes a function is asked, and gets: shared by Invoke and AcceptEvents. */
#ifndef API_INVOKE_H
#define API_INVOKE_H

#include "call.h"

enum { INVOKE_TRACE_MADE_MAX = 96 };

/* Begin the check of the request against the model, with its name and qualifier. */
void invoke_check(struct call *c, struct check *ck);
/* Ends the check. The active function that is meant, a reference; NULL: refused and answered. */
const struct function *invoke_function(struct call *c, struct check *ck);

/* The trace header: the client's, or one put into made from the request's id. */
const char *invoke_trace(struct call *c, char made[INVOKE_TRACE_MADE_MAX]);

#endif
