/* What a run of a program means to the caller: a result, or an error object in Lambda's shape. */
#ifndef EXEC_ANSWER_H
#define EXEC_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "run.h"

struct text {
    char *p; /* heap; NUL-terminated */
    size_t len, cap;
    bool over; /* it would have become longer than RUN_RESULT_MAX */
};

void text_add(struct text *t, const char *p, size_t n);
void text_printf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* As a JSON string, quotes included. What is not UTF-8 becomes U+FFFD. */
void text_add_string(struct text *t, const char *p, size_t n);
void text_done(struct text *t);

/* Into body, which must be empty. NULL: it is a result; otherwise the type of an error (static storage). handler is for
 * messages. */
const char *answer_make(struct text *body, const struct run *r, const char *handler);

/* {"errorType":type,"errorMessage":message} */
void answer_error(struct text *body, const char *type, const char *message);

#endif
