/* The documents of CreateFunction, UpdateFunctionCode and UpdateFunctionConfiguration: parsed, held against the model's
 * constraints (all of them at once), then against what bide can honour: what it cannot is refused by name, never stored
 * and ignored. Any thread.
 */
#ifndef API_FUNCTION_IN_H
#define API_FUNCTION_IN_H

#include "check.h"
#include "fault.h"
#include "json_in.h"
#include "registry/registry.h"

enum function_op { FUNCTION_CREATE, FUNCTION_UPDATE_CODE, FUNCTION_UPDATE_CONFIG };

struct function_in {
    struct json_in doc;
    struct function_spec spec; /* borrows from doc, env and tags; spec.code is not set here */
    struct pair *env;
    struct pair *tags;
    const char *name; /* FunctionName of a create */
    const char *zip;  /* base64; NULL when there is none */
    size_t zip_len;
    bool dry_run;
};

/* name: the function an update is for, NULL for a create. c holds what was found wrong with the path already (pass it
 * initialised). ERR_INVALID with *fault set. Always function_in_done. */
int function_in_read(struct function_in *f, enum function_op op, const char *name, const void *body, size_t len,
                     struct check *c, struct fault *fault) BIDE_MUST_USE;
void function_in_done(struct function_in *f);

/* "x86_64" or "arm64": this machine. */
const char *machine_architecture(void);

#endif
