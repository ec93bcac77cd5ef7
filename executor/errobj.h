/* Error objects: reading the ones runtimes post, making the platform's own (Lambda: section 4.3). */
#ifndef EXECUTOR_ERROBJ_H
#define EXECUTOR_ERROBJ_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum { ERROBJ_DEPTH_MAX = 64 };

/* The top-level string members errorType and errorMessage of a JSON object, cut to fit; "" where missing. ERR_INVALID:
 * not one whole JSON object (or nested deeper than ERROBJ_DEPTH_MAX); both are "" then. */
int errobj_read(const void *json, size_t len, char *ret_type, size_t type_cap, char *ret_message,
                size_t message_cap) BIDE_MUST_USE;

/* Append {"errorType":"...","errorMessage":"..."}; without the message when it is NULL. What is no UTF-8 becomes
 * U+FFFD.
 */
int errobj_write(struct buf *out, const char *type, const char *message) BIDE_MUST_USE;

enum { ERROBJ_EXIT_TEXT = 96 };

/* "Runtime exited with error: signal: killed" and so on, signals by Go's names, as Lambda words them. sig 0 = none. */
void errobj_exit_text(char out[ERROBJ_EXIT_TEXT], int exit_code, int sig);

#endif
