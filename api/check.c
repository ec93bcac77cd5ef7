#include "check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ITEMS_MAX = 32 * 1024, SHOWN_MAX = 4096 };

void check_init(struct check *c)
{
    buf_init(&c->items, ITEMS_MAX);
    buf_init(&c->text, ITEMS_MAX + 64);
    c->n = 0;
}

void check_done(struct check *c)
{
    buf_done(&c->items);
    buf_done(&c->text);
}

bool check_failed(const struct check *c)
{
    return c->n > 0;
}

/* A message that does not fit any more is cut at the last whole item: its head already says that the request is wrong.
 */
const char *check_message(struct check *c)
{
    buf_clear(&c->text);
    if (buf_printf(&c->text, "%u validation error%s detected: %s", c->n, c->n == 1 ? "" : "s", c->items.data) < 0)
        return "1 validation error detected: the request is malformed";
    return c->text.data;
}

void check_other(struct check *c, const char *member, const char *value, bool ok, const char *constraint)
{
    if (ok)
        return;
    const char *quote = value ? "'" : "";
    size_t was = c->items.len;
    if (buf_printf(&c->items, "%sValue %s%.*s%s at '%s' failed to satisfy constraint: %s", c->n ? "; " : "", quote,
                   (int)SHOWN_MAX, value ? value : "null", quote, member, constraint) < 0) {
        c->items.len = was;
        c->items.data[was] = '\0';
        if (c->n > 0)
            return;
    }
    c->n++;
}

void check_present(struct check *c, const char *member, bool present)
{
    check_other(c, member, NULL, present, "Member must not be null");
}

void check_pattern(struct check *c, const char *member, const char *value, bool matches, const char *pattern)
{
    char text[640];
    (void)snprintf(text, sizeof(text), "Member must satisfy regular expression pattern: %s", pattern);
    check_other(c, member, value, matches, text);
}

/* Lambda counts characters: bytes that do not continue a UTF-8 sequence. */
static int64_t characters(const char *s)
{
    int64_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

void check_length(struct check *c, const char *member, const char *value, int64_t min, int64_t max)
{
    char text[96];
    int64_t n = characters(value);
    bool low = n < min;
    (void)snprintf(text, sizeof(text), "Member must have length %s than or equal to %" PRId64, low ? "greater" : "less",
                   low ? min : max);
    check_other(c, member, value, n >= min && n <= max, text);
}

void check_range(struct check *c, const char *member, int64_t value, int64_t min, int64_t max)
{
    char text[96], shown[24];
    bool low = value < min;
    (void)snprintf(shown, sizeof(shown), "%" PRId64, value);
    (void)snprintf(text, sizeof(text), "Member must have value %s than or equal to %" PRId64, low ? "greater" : "less",
                   low ? min : max);
    check_other(c, member, shown, value >= min && value <= max, text);
}

void check_enum(struct check *c, const char *member, const char *value, bool matches, const char *choices)
{
    char text[256];
    (void)snprintf(text, sizeof(text), "Member must satisfy enum value set: [%s]", choices);
    check_other(c, member, value, matches, text);
}
