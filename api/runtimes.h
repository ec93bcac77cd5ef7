/* Runtime names: which ones Lambda knows, and which it has retired (Lambda: 3.5). Pure. */
#ifndef API_RUNTIMES_H
#define API_RUNTIMES_H

#include "fault.h"

/* ERR_INVALID with f set: unknown, or retired. Whether an interpreter is installed here is another question. */
int runtime_check_name(const char *name, struct fault *f) BIDE_MUST_USE;

#endif
