/* The environment of a runtime, built from nothing (Lambda: section 8.2). AWS_LAMBDA_RUNTIME_API is added by the
 * executor process, which alone knows the address.
 */
#ifndef EXECUTOR_BOXENV_H
#define EXECUTOR_BOXENV_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "executor.h"
#include "runtime.h"

enum {
    BOXENV_TEXT_MAX = 64 * 1024,
    BOXENV_OWN_MAX = 40,
    BOXENV_MAX = EXECUTOR_ENV_MAX + BOXENV_OWN_MAX,
};

struct boxenv {
    char *text; /* "NAME=VALUE\0NAME=VALUE\0..." */
    size_t len;
    size_t n;
    const char *v[BOXENV_MAX]; /* into text */
};

/* now_ms names the log stream. ERR_TOOBIG: more text or variables than fit; ERR_NOMEM. On failure ret is empty. */
int boxenv_build(struct boxenv *ret, const struct executor_spec *s, const struct runtime *r, int64_t now_ms,
                 struct err *e) BIDE_MUST_USE;
void boxenv_done(struct boxenv *env);

/* The value of a variable; NULL when it is not set. */
const char *boxenv_get(const struct boxenv *env, const char *name);

#endif
