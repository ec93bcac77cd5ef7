#include "fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "json_out.h"

static const struct fault_info table[FAULT_TYPES] = {
    [FAULT_NONE] = {"ServiceException", 500, true, true},
    [FAULT_VALIDATION] = {"ValidationException", 400, false, false},
    [FAULT_SERIALIZATION] = {"SerializationException", 400, false, false},
    [FAULT_INVALID_PARAMETER] = {"InvalidParameterValueException", 400, true, false},
    [FAULT_INVALID_CONTENT] = {"InvalidRequestContentException", 400, true, false},
    [FAULT_NOT_FOUND] = {"ResourceNotFoundException", 404, true, true},
    [FAULT_CONFLICT] = {"ResourceConflictException", 409, true, false},
    [FAULT_PRECONDITION] = {"PreconditionFailedException", 412, true, false},
    [FAULT_TOO_LARGE] = {"RequestEntityTooLargeException", 413, false, false},
    [FAULT_TOO_MANY] = {"TooManyRequestsException", 429, true, false},
    [FAULT_SERVICE] = {"ServiceException", 500, true, true},
    [FAULT_ACCESS_DENIED] = {"AccessDeniedException", 403, false, true},
    [FAULT_UNKNOWN_OPERATION] = {"UnknownOperationException", 404, false, false},
};

const struct fault_info *fault_info(enum fault_type t)
{
    return &table[t];
}

int fault_set(struct fault *f, enum fault_type t, const char *fmt, ...)
{
    va_list ap;
    if (f->type != FAULT_NONE)
        return ERR_INVALID;
    f->type = t;
    va_start(ap, fmt);
    if (vasprintf(&f->text, fmt, ap) < 0)
        f->text = NULL;
    va_end(ap);
    return ERR_INVALID;
}

void fault_done(struct fault *f)
{
    free(f->text);
    *f = (struct fault){0};
}

int fault_body(enum fault_type t, const char *text, const char *reason, struct buf *out)
{
    struct json_out o;
    out_init(&o, out);
    out_begin(&o, NULL, '{');
    if (reason)
        out_str(&o, "Reason", reason);
    if (table[t].has_type)
        out_str(&o, "Type", table[t].status >= 500 ? "Service" : "User");
    out_str(&o, table[t].upper_case ? "Message" : "message", text);
    out_end(&o, '}');
    return out_error(&o);
}
