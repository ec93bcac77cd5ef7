/* The patterns by hand. Each optional prefix is tried and, if what follows does not fit, left out: the backtracking a
 * regular expression would do, at most sixteen short paths. */
#include "names.h"

#include <stdio.h>
#include <string.h>

#define NAME_PREFIX                                                                                                    \
    "(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?"

const char NAME_PATTERN[] = NAME_PREFIX "([a-zA-Z0-9-_\\.]+)(:(\\$LATEST(\\.PUBLISHED)?|[a-zA-Z0-9-_]+))?";
const char NAME_PATTERN_CREATE[] = NAME_PREFIX "([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?";
const char QUALIFIER_PATTERN[] = "\\$(LATEST(\\.PUBLISHED)?)|[a-zA-Z0-9-_$]+";
const char ROLE_PATTERN[] = "arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+";

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z');
}

static bool is_word(char c)
{
    return is_alpha(c) || is_digit(c) || c == '-' || c == '_';
}

static size_t literal(const char *p, const char *text)
{
    size_t n = strlen(text);
    return strncmp(p, text, n) == 0 ? n : 0;
}

/* "arn:" partition? ":service:"; 0 when it is not there. The partition is "aws" and letters or dashes, or nothing. */
static size_t match_arn(const char *p, const char *service)
{
    size_t n = literal(p, "arn:");
    if (n == 0)
        return 0;
    if (literal(p + n, "aws")) {
        n += 3;
        while (is_alpha(p[n]) || p[n] == '-')
            n++;
    }
    size_t tail = literal(p + n, service);
    return tail ? n + tail : 0;
}

static size_t letters(const char *p)
{
    size_t n = 0;
    while (is_lower(p[n]))
        n++;
    return n;
}

/* "-" letters "-" digit ":" */
static size_t match_region_tail(const char *p)
{
    size_t n = *p == '-' ? letters(p + 1) : 0;
    if (n == 0 || p[1 + n] != '-' || !is_digit(p[2 + n]) || p[3 + n] != ':')
        return 0;
    return n + 4;
}

static size_t match_region(const char *p)
{
    size_t n = literal(p, "eusc-");
    if (!is_lower(p[n]) || !is_lower(p[n + 1]))
        return 0;
    n += 2;
    size_t part = literal(p + n, "-gov");
    if (part == 0 && (part = literal(p + n, "-iso")) != 0 && is_lower(p[n + part]))
        part++;
    size_t tail = part ? match_region_tail(p + n + part) : 0;
    if (tail)
        return n + part + tail;
    tail = match_region_tail(p + n);
    return tail ? n + tail : 0;
}

static size_t match_account(const char *p)
{
    for (int i = 0; i < 12; i++)
        if (!is_digit(p[i]))
            return 0;
    return p[12] == ':' ? 13 : 0;
}

static size_t qualifier_len(const char *p, enum name_rule rule)
{
    size_t n = literal(p, "$LATEST");
    if (n)
        return n + (rule == NAME_ANY ? literal(p + n, ".PUBLISHED") : 0);
    while (is_word(p[n]))
        n++;
    return n;
}

static bool match_name(const char *p, enum name_rule rule, struct name *out)
{
    size_t n = 0, q = 0;
    while (is_word(p[n]) || (rule == NAME_ANY && p[n] == '.'))
        n++;
    if (n == 0)
        return false;
    if (p[n] == ':') {
        q = qualifier_len(p + n + 1, rule);
        if (q == 0 || q > NAME_QUALIFIER_MAX || p[n + 1 + q] != '\0')
            return false;
        memcpy(out->qualifier, p + n + 1, q);
    } else if (p[n] != '\0') {
        return false;
    }
    memcpy(out->name, p, n);
    out->name[n] = '\0';
    out->qualifier[q] = '\0';
    return true;
}

static void keep_prefix(int stage, const char *p, size_t len, struct name *out)
{
    char *to = stage == 1 ? out->region : stage == 2 ? out->account : NULL;
    size_t cap = stage == 1 ? sizeof(out->region) : sizeof(out->account);
    size_t n = len ? len - 1 : 0; /* without the colon */
    if (!to || n >= cap)
        return;
    memcpy(to, p, n);
    to[n] = '\0';
}

static bool match_from(int stage, const char *p, enum name_rule rule, struct name *out)
{
    size_t n;
    switch (stage) {
    case 0:
        n = match_arn(p, ":lambda:");
        break;
    case 1:
        n = match_region(p);
        break;
    case 2:
        n = match_account(p);
        break;
    case 3:
        n = literal(p, "function:");
        break;
    default:
        return match_name(p, rule, out);
    }
    if (n && match_from(stage + 1, p + n, rule, out)) {
        keep_prefix(stage, p, n, out);
        return true;
    }
    if (!match_from(stage + 1, p, rule, out))
        return false;
    keep_prefix(stage, p, 0, out);
    return true;
}

int name_parse(const char *text, enum name_rule rule, struct name *ret)
{
    if (strlen(text) > NAME_TEXT_MAX)
        return ERR_TOOBIG;
    return match_from(0, text, rule, ret) ? 0 : ERR_INVALID;
}

bool qualifier_valid(const char *text)
{
    size_t n = 0;
    if (strcmp(text, "$LATEST.PUBLISHED") == 0)
        return true;
    while (is_word(text[n]) || text[n] == '$')
        n++;
    return n > 0 && text[n] == '\0';
}

void arn_format(const char *region, const char *account, const char *name, const char *qualifier, char out[ARN_MAX])
{
    (void)snprintf(out, ARN_MAX, "arn:aws:lambda:%s:%s:function:%s%s%s", region, account, name, *qualifier ? ":" : "",
                   qualifier);
}

bool role_valid(const char *arn)
{
    size_t n = match_arn(arn, ":iam::");
    size_t account = n ? match_account(arn + n) : 0;
    size_t role = account ? literal(arn + n + account, "role") : 0;
    if (role == 0)
        return false;
    const char *p = arn + n + account + role;
    if (*p == '/' && p[1] != '\0')
        p++;
    if (*p == '\0')
        return false;
    for (; *p; p++)
        if (!is_word(*p) && !strchr("+=,.@/", *p))
            return false;
    return true;
}
