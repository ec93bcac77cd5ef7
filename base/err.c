#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* By way of a copy: callers wrap an error by passing e->text as an argument. */
BIDE_PRINTF(4, 0) static void fill(struct err *e, int code, int sys, const char *fmt, va_list ap)
{
    char text[sizeof e->text];
    (void)vsnprintf(text, sizeof text, fmt, ap);
    memcpy(e->text, text, strlen(text) + 1);
    e->code = code;
    e->sys = sys;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (e == NULL)
        return code;
    va_list ap;
    va_start(ap, fmt);
    fill(e, code, 0, fmt, ap);
    va_end(ap);
    return code;
}

int err_sys(struct err *e, int code, int sys, const char *fmt, ...)
{
    if (e == NULL)
        return code;
    va_list ap;
    va_start(ap, fmt);
    fill(e, code, sys, fmt, ap);
    va_end(ap);
    size_t n = strlen(e->text);
    char why[128];
    (void)snprintf(e->text + n, sizeof e->text - n, ": %s", strerror_r(sys, why, sizeof why));
    return code;
}

const char *err_name(int code)
{
    static const char *const names[] = {
        "ok",         "ERR_NOMEM",    "ERR_IO",       "ERR_NOTFOUND", "ERR_EXISTS", "ERR_FULL",
        "ERR_TOOBIG", "ERR_INVALID",  "ERR_CORRUPT",  "ERR_VERSION",  "ERR_BUSY",   "ERR_AGAIN",
        "ERR_DENIED", "ERR_CONFLICT", "ERR_SHUTDOWN", "ERR_INTERNAL",
    };
    if (code > 0 || code <= -(int)(sizeof names / sizeof names[0]))
        return "ERR_UNKNOWN";
    return names[-code];
}

void bide_no_memory(const char *what)
{
    (void)fprintf(stderr, "bide: out of memory (%s); ending: a start goes on from what is on disk\n", what);
    _exit(BIDE_EXIT_NO_MEMORY);
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
