/* What a client can be told, as one table: Lambda's error types with their status and shape (Lambda: 1.1). */
#ifndef API_FAULT_H
#define API_FAULT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

enum fault_type {
    FAULT_NONE,
    FAULT_VALIDATION,
    FAULT_SERIALIZATION,
    FAULT_INVALID_PARAMETER,
    FAULT_INVALID_CONTENT,
    FAULT_NOT_FOUND,
    FAULT_CONFLICT,
    FAULT_PRECONDITION,
    FAULT_TOO_LARGE,
    FAULT_TOO_MANY,
    FAULT_SERVICE,
    FAULT_ACCESS_DENIED,
    FAULT_UNKNOWN_OPERATION,
    FAULT_TYPES
};

struct fault_info {
    const char *name;
    int status;
    bool has_type;   /* "Type": "User" or "Service" */
    bool upper_case; /* "Message" rather than "message" */
};
const struct fault_info *fault_info(enum fault_type t);

/* A failure on its way to the client, on any thread. */
struct fault {
    enum fault_type type; /* FAULT_NONE: all is well */
    char *text;           /* owned; NULL is a null message */
};

/* Set once (a second set is dropped: the first failure is the one that is told). Returns ERR_INVALID, for return
 * fault_set(...). */
int fault_set(struct fault *f, enum fault_type t, const char *fmt, ...) BIDE_PRINTF(3, 4);
void fault_done(struct fault *f);

/* The body as JSON; reason (TooManyRequestsException) may be NULL. */
int fault_body(enum fault_type t, const char *text, const char *reason, struct buf *out) BIDE_MUST_USE;

#endif
