#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (e == NULL)
        return code;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    e->code = code;
    e->sys = 0;
    return code;
}

int err_sys(struct err *e, int code, int sys, const char *fmt, ...)
{
    if (e == NULL)
        return code;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    size_t n = strlen(e->text);
    char why[128];
    (void)snprintf(e->text + n, sizeof e->text - n, ": %s", strerror_r(sys, why, sizeof why));
    e->code = code;
    e->sys = sys;
    return code;
}

const char *err_name(int code)
{
    static const char *const names[] = {
        "ok",         "ERR_NOMEM",    "ERR_IO",       "ERR_NOTFOUND", "ERR_EXISTS", "ERR_FULL",
        "ERR_TOOBIG", "ERR_INVALID",  "ERR_CORRUPT",  "ERR_VERSION",  "ERR_BUSY",   "ERR_AGAIN",
        "ERR_DENIED", "ERR_CONFLICT", "ERR_SHUTDOWN", "ERR_INTERNAL",
    };
    if (code > 0 || -code >= (int)(sizeof names / sizeof names[0]))
        return "ERR_UNKNOWN";
    return names[-code];
}

void bide_assert_fail(const char *file, int line, const char *cond, const char *fmt, ...)
{
    char detail[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "bide: bug: %s:%d: %s: %s\n", file, line, cond, detail);
    abort();
}
