/* Lambda's ValidationException: every constraint of the model that a request breaks, in one message (Lambda: 1.2).
 *
 *   struct check c;
 *   check_init(&c);
 *   check_pattern(&c, "functionName", text, name_parse(...) == 0, NAME_PATTERN);
 *   if (check_failed(&c)) reply(..., check_message(&c));
 *   check_done(&c);
 */
#ifndef API_CHECK_H
#define API_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct check {
    struct buf items; /* joined by "; " */
    struct buf text;  /* the finished message */
    unsigned n;
};

void check_init(struct check *c);
void check_done(struct check *c);
bool check_failed(const struct check *c);
const char *check_message(struct check *c); /* lives until check_done */

void check_present(struct check *c, const char *member, bool present);
void check_pattern(struct check *c, const char *member, const char *value, bool matches, const char *pattern);
void check_length(struct check *c, const char *member, const char *value, int64_t min, int64_t max);
void check_range(struct check *c, const char *member, int64_t value, int64_t min, int64_t max);
void check_enum(struct check *c, const char *member, const char *value, bool matches, const char *choices);
/* Any other constraint; what follows "failed to satisfy constraint: ". */
void check_other(struct check *c, const char *member, const char *value, bool ok, const char *constraint);

#endif
