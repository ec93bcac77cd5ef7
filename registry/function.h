/* Snapshots: immutable, reference-counted struct function values in one allocation each. Any thread. */
#ifndef REGISTRY_FUNCTION_H
#define REGISTRY_FUNCTION_H

#include "registry.h"

/* A new snapshot with the values of src, whose pairs are copied and sorted by key. One reference, the caller's. NULL
 * without memory. */
const struct function *function_build(const struct function *src);

/* The defaults of a function nobody has said anything about yet: Lambda's (Lambda: 3.2). */
void function_defaults(struct function *f);

#endif
