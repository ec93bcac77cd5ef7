/* Function names, ARNs and qualifiers as Lambda spells them (Lambda: section 2). Pure. */
#ifndef API_NAMES_H
#define API_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { NAME_TEXT_MAX = 256, NAME_QUALIFIER_MAX = 128 };

/* Which of Lambda's two patterns: CreateFunction's knows no dot and no $LATEST.PUBLISHED. */
enum name_rule { NAME_ANY, NAME_CREATE };

/* The patterns, as they are echoed in errors. */
extern const char NAME_PATTERN[];
extern const char NAME_PATTERN_CREATE[];
extern const char QUALIFIER_PATTERN[];

/* A name taken apart; "" where a part was not given. */
struct name {
    char name[NAME_TEXT_MAX + 1];
    char qualifier[NAME_QUALIFIER_MAX + 1];
    char region[32];
    char account[13];
};

/* ERR_INVALID: the text does not match the pattern; ERR_TOOBIG: longer than NAME_TEXT_MAX. */
int name_parse(const char *text, enum name_rule rule, struct name *ret) BIDE_MUST_USE;

/* Does text match Lambda's pattern for a qualifier in the query? */
bool qualifier_valid(const char *text);

/* "arn:aws:lambda:REGION:ACCOUNT:function:NAME", with ":QUALIFIER" when that is not "". */
enum { ARN_MAX = 512 };
void arn_format(const char *region, const char *account, const char *name, const char *qualifier, char out[ARN_MAX]);

/* arn:aws:iam::ACCOUNT:role/NAME by Lambda's pattern. */
extern const char ROLE_PATTERN[];
bool role_valid(const char *arn);

#endif
