/* Runtime names: which ones may be asked for. Those are Lambda's, `exec`, and whatever else a folder of the
 * installation serves; those that Lambda has retired are not (Lambda: 3.5). Pure.
 */
#ifndef API_RUNTIMES_H
#define API_RUNTIMES_H

#include "fault.h"

/* found, why: what dispatcher_runtime_check said of the name. ERR_INVALID with f set: unknown, retired, or it cannot be
 * run here. */
int runtime_check_name(const char *name, int found, const char *why, struct fault *f) BIDE_MUST_USE;

#endif
