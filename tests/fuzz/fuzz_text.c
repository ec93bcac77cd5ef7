/* The small readers of text: numbers, durations, sizes, times, ids, hexadecimal, base64, percent-encoding, query
 * strings, names, qualifiers, roles. Every input is given to each. What one takes must be written back the same, or
 * be what a second, plain reader makes of it; names are held against Lambda's own patterns by the library's regular
 * expressions.
 */
#include <ctype.h>
#include <regex.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/num.h"
#include "fuzz.h"
#include "names.h"
#include "uri.h"

typedef __int128 wide;

/* --- numbers ------------------------------------------------------------------------------------------------------ */

/* Digits, no more than max; -1: no such thing. */
static wide plain_number(const char *p, size_t n, wide max)
{
    wide v = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9' || v > max)
            return -1;
        v = v * 10 + (p[i] - '0');
    }
    return n > 0 && v <= max ? v : -1;
}

static void check_numbers(const char *p, size_t n)
{
    uint64_t u = 0;
    int64_t i = 0;
    wide want = plain_number(p, n, UINT64_MAX);
    int rc = num_parse_u64(p, n, &u);
    BIDE_ASSERT(rc == (want < 0 ? ERR_INVALID : 0) && (rc < 0 || (wide)u == want), "u64: %d, %llu", rc,
                (unsigned long long)u);
    bool minus = n > 0 && p[0] == '-';
    want = plain_number(p + minus, n - minus, (wide)INT64_MAX + minus);
    rc = num_parse_i64(p, n, &i);
    BIDE_ASSERT(rc == (want < 0 ? ERR_INVALID : 0) && (rc < 0 || i == (minus ? -want : want)), "i64: %d, %lld", rc,
                (long long)i);
}

struct unit {
    const char *name;
    wide factor;
};

static wide plain_unit(const char *p, size_t n, const struct unit *units, wide max)
{
    size_t digits = 0;
    while (digits < n && isdigit((unsigned char)p[digits]))
        digits++;
    for (const struct unit *u = units; u->name != NULL; u++) {
        wide v = plain_number(p, digits, max);
        if (n - digits == strlen(u->name) && memcmp(p + digits, u->name, n - digits) == 0)
            return v >= 0 && v * u->factor <= max ? v * u->factor : -1;
    }
    return -1;
}

static void check_units(const char *p, size_t n)
{
    static const struct unit durations[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {0}};
    static const struct unit sizes[] = {{"", 1},          {"KiB", 1 << 10},       {"MiB", 1 << 20},
                                        {"GiB", 1 << 30}, {"TiB", (wide)1 << 40}, {0}};
    char text[32];
    int64_t ms = 0, ms_again = -1;
    uint64_t size = 0, size_again = 1;
    wide want = n == 1 && p[0] == '0' ? 0 : plain_unit(p, n, durations, INT64_MAX);
    int rc = num_parse_duration_ms(p, n, &ms);
    BIDE_ASSERT(rc == (want < 0 ? ERR_INVALID : 0) && (rc < 0 || ms == want), "duration: %d, %lld", rc, (long long)ms);
    num_format_duration_ms(ms, text, sizeof text);
    BIDE_ASSERT(num_parse_duration_ms(text, strlen(text), &ms_again) == 0 && ms_again == ms, "written as %s", text);

    want = plain_unit(p, n, sizes, UINT64_MAX);
    rc = num_parse_size(p, n, &size);
    BIDE_ASSERT(rc == (want < 0 ? ERR_INVALID : 0) && (rc < 0 || (wide)size == want), "size: %d, %llu", rc,
                (unsigned long long)size);
    num_format_size(size, text, sizeof text);
    BIDE_ASSERT(num_parse_size(text, strlen(text), &size_again) == 0 && size_again == size, "written as %s", text);
}

/* --- times, ids --------------------------------------------------------------------------------------------------- */

static void check_when(const char *p, size_t n)
{
    const int64_t now = 1700000000123;
    char iso[CLOCK_ISO_LEN];
    int64_t ms = -1, other;
    int rc = clock_parse_when(p, n, now, &ms);
    if (rc < 0) {
        BIDE_ASSERT(rc == ERR_INVALID, "when: %d", rc);
    } else if (num_parse_duration_ms(p, n, &other) == 0) {
        BIDE_ASSERT(ms == (other > now ? 0 : now - other), "that long ago: %lld", (long long)ms);
    } else if (num_parse_i64(p, n, &other) == 0) {
        BIDE_ASSERT(ms == other && ms >= 0, "milliseconds: %lld", (long long)ms);
    } else {
        size_t common = n < 19 ? n : 19; /* up to the seconds; the day's first moment when there is no time */
        clock_format_iso(ms, iso);
        BIDE_ASSERT(common == 10 || common == 19, "a time of %zu bytes", n);
        BIDE_ASSERT(memcmp(iso, p, 10) == 0 && memcmp(iso + 11, common == 19 ? p + 11 : "00:00:00", 8) == 0,
                    "a time that is written as %s", iso);
    }
}

static bool same_but_case(const char *lower, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (lower[i] != tolower((unsigned char)p[i]))
            return false;
    return lower[n] == '\0';
}

static void check_id(const char *p, size_t n)
{
    struct id id;
    char text[ID_TEXT_LEN + 1];
    if (id_parse(p, n, &id) < 0)
        return;
    id_format(&id, text);
    BIDE_ASSERT(n == ID_TEXT_LEN && same_but_case(text, p, n), "an id that is written as %s", text);
}

/* --- encodings ---------------------------------------------------------------------------------------------------- */

static void check_hex(const char *p, size_t n)
{
    uint8_t *bytes = malloc(n / 2);
    char *text = malloc(2 * n + 1);
    BIDE_ASSERT(bytes != NULL && text != NULL, "out of memory");
    if (hex_decode(p, n, bytes) == 0) {
        hex_encode(bytes, n / 2, text);
        BIDE_ASSERT(same_but_case(text, p, n), "hexadecimal that is written as %s", text);
    }
    hex_encode(p, n, text);
    BIDE_ASSERT(strlen(text) == 2 * n && strspn(text, "0123456789abcdef") == 2 * n, "written as %s", text);
    free(bytes);
    free(text);
}

static void check_base64(const char *p, size_t n)
{
    struct buf bytes, text;
    buf_init(&bytes, n + 8);
    buf_init(&text, 2 * n + 8);
    BIDE_ASSERT(buf_puts(&bytes, "kept") == 0, "out of memory");
    if (base64_decode(p, n, &bytes) == 0) {
        BIDE_ASSERT(base64_encode(bytes.data + 4, bytes.len - 4, &text) == 0 && text.len == n &&
                        memcmp(text.data, p, n) == 0,
                    "base64 that is written as %s", text.data);
    } else {
        BIDE_ASSERT(bytes.len == 4, "a refusal leaves bytes");
    }
    BIDE_ASSERT(memcmp(bytes.data, "kept", 4) == 0, "what was there is gone");
    buf_clear(&bytes);
    buf_clear(&text);
    BIDE_ASSERT(base64_encode(p, n, &text) == 0 && base64_decode(text.data, text.len, &bytes) == 0 && bytes.len == n &&
                    memcmp(bytes.data, p, n) == 0,
                "not read back: %s", text.data);
    buf_done(&bytes);
    buf_done(&text);
}

/* -1: a bad escape, or a NUL. */
static int plain_unescape(const char *p, size_t n, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (c == '%') {
            char two[3] = {i + 1 < n ? p[i + 1] : 'x', i + 2 < n ? p[i + 2] : 'x', '\0'};
            if (!isxdigit((unsigned char)two[0]) || !isxdigit((unsigned char)two[1]))
                return -1;
            c = (char)strtol(two, NULL, 16);
            i += 2;
        }
        if (c == '\0')
            return -1;
        out[len++] = c;
    }
    out[len] = '\0';
    return (int)len;
}

static void check_escapes(const char *p, size_t n)
{
    char *want = malloc(n + 1), *got = malloc(n + 1);
    struct buf b;
    BIDE_ASSERT(want != NULL && got != NULL, "out of memory");
    int len = plain_unescape(p, n, want);
    int rc = uri_decode(p, n, got, n + 1);
    BIDE_ASSERT(rc == (len < 0 ? ERR_INVALID : 0), "decoded: %d", rc);
    BIDE_ASSERT(rc < 0 || strcmp(want, got) == 0, "decoded as \"%s\", not \"%s\"", got, want);
    if (len > 0)
        BIDE_ASSERT(uri_decode(p, n, got, (size_t)len) == ERR_TOOBIG, "more than there is room for");
    buf_init(&b, 3 * n + 1);
    if (len >= 0) {
        BIDE_ASSERT(uri_encode(&b, want, (size_t)len, "") == 0, "not encoded");
        BIDE_ASSERT(uri_decode(b.data, b.len, got, n + 1) == 0 && strcmp(want, got) == 0, "not read back: %s", b.data);
    }
    buf_done(&b);
    free(want);
    free(got);
}

/* What uri_query_get says of `name`, found by cutting the string at every '&'. */
static int plain_query(const char *p, size_t n, char *out)
{
    struct feed f = {(const uint8_t *)p, n};
    size_t params = 0;
    int ret = ERR_NOTFOUND;
    while (f.left > 0) {
        struct slice param = feed_until(&f, '&');
        struct feed pf = {param.p, param.len};
        struct slice name = feed_until(&pf, '=');
        char key[128];
        if (param.len == 0)
            continue;
        if (++params > URI_PARAMS_MAX)
            return ERR_TOOBIG;
        if (ret == ERR_NOTFOUND && name.len < sizeof key && plain_unescape(name.p, name.len, key) >= 0 &&
            strcmp(key, "name") == 0)
            ret = plain_unescape((const char *)pf.p, pf.left, out) < 0 ? ERR_INVALID : 0;
    }
    return ret;
}

static void check_query(const char *p, size_t n)
{
    char *want = malloc(n + 1), *got = malloc(n + 1);
    BIDE_ASSERT(want != NULL && got != NULL, "out of memory");
    int want_rc = plain_query(p, n, want), rc = uri_query_get(p, n, "name", got, n + 1);
    BIDE_ASSERT(rc == want_rc, "query: %s, wanted %s", err_name(rc), err_name(want_rc));
    BIDE_ASSERT(rc < 0 || strcmp(got, want) == 0, "query: \"%s\", wanted \"%s\"", got, want);
    free(want);
    free(got);
}

/* --- names -------------------------------------------------------------------------------------------------------- */

#define PREFIX                                                                                                         \
    "^(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-[0-9]{1}:)?([0-9]{12}:)?"        \
    "(function:)?"

enum pattern { ANY, CREATE, QUALIFIER, ROLE, PATTERNS };

static bool matches(enum pattern k, const char *text)
{
    static const char *const patterns[PATTERNS] = {
        [ANY] = PREFIX "([a-zA-Z0-9_.-]+)(:(\\$LATEST(\\.PUBLISHED)?|[a-zA-Z0-9_-]+))?$",
        [CREATE] = PREFIX "([a-zA-Z0-9_-]+)(:(\\$LATEST|[a-zA-Z0-9_-]+))?$",
        [QUALIFIER] = "^(\\$(LATEST(\\.PUBLISHED)?)|[a-zA-Z0-9_$-]+)$",
        [ROLE] = "^arn:(aws[a-zA-Z-]*)?:iam::[0-9]{12}:role/?[a-zA-Z_0-9+=,.@/-]+$",
    };
    static regex_t made[PATTERNS];
    static bool is_made;
    for (int i = 0; i < PATTERNS && !is_made; i++)
        BIDE_ASSERT(regcomp(&made[i], patterns[i], REG_EXTENDED | REG_NOSUB) == 0, "pattern %d", i);
    is_made = true;
    return regexec(&made[k], text, 0, NULL, 0) == 0;
}

static void check_name(const char *text, enum name_rule rule)
{
    struct name n, again;
    char arn[ARN_MAX];
    int rc = name_parse(text, rule, &n);
    bool fits = strlen(text) <= NAME_TEXT_MAX;
    if (!fits) {
        BIDE_ASSERT(rc == ERR_TOOBIG, "name: %d", rc);
        return;
    }
    bool match = matches(rule == NAME_ANY ? ANY : CREATE, text);
    const char *colon = strrchr(text, ':');
    if (match && rc == ERR_INVALID && colon != NULL && strlen(colon + 1) > NAME_QUALIFIER_MAX)
        return; /* the patterns do not say how long a qualifier is */
    BIDE_ASSERT(rc == (match ? 0 : ERR_INVALID), "name \"%s\": %d, by Lambda's pattern %d", text, rc, match);
    if (rc < 0)
        return;
    BIDE_ASSERT(n.name[0] != '\0' && strstr(text, n.name) != NULL && strstr(text, n.qualifier) != NULL,
                "parts of \"%s\"", text);
    arn_format("us-east-1", "000000000000", n.name, n.qualifier, arn);
    if (strlen(arn) <= NAME_TEXT_MAX)
        BIDE_ASSERT(name_parse(arn, rule, &again) == 0 && strcmp(n.name, again.name) == 0 &&
                        strcmp(n.qualifier, again.qualifier) == 0 && strcmp(again.region, "us-east-1") == 0,
                    "\"%s\" is something else than \"%s\"", arn, text);
}

static void check_names(const char *p, size_t n)
{
    char *text = exact_text(p, n);
    check_name(text, NAME_ANY);
    check_name(text, NAME_CREATE);
    BIDE_ASSERT(qualifier_valid(text) == matches(QUALIFIER, text), "qualifier \"%s\"", text);
    BIDE_ASSERT(role_valid(text) == matches(ROLE, text), "role \"%s\"", text);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = exact(data, size);
    check_numbers(copy, size);
    check_units(copy, size);
    check_when(copy, size);
    check_id(copy, size);
    check_hex(copy, size);
    check_base64(copy, size);
    check_escapes(copy, size);
    check_query(copy, size);
    check_names(copy, size);
    free(copy);
    return 0;
}
