#include "jscan.h"

#include <stdint.h>
#include <string.h>

struct scan {
    const unsigned char *p, *end;
    int depth_max;
    bool plain; /* refuse what parsers differ about */
};

/* A plain number: shorter than this, and its exponent of at most two digits. */
enum { PLAIN_NUMBER_MAX = 64, PLAIN_EXPONENT_MAX = 2 };

/* Where the decoded text of a string goes; out NULL: nowhere. NULs are left out. */
struct sink {
    char *out;
    size_t len, cap;
    bool full; /* a character did not fit, so none that follows is taken */
    bool nul;  /* there was one */
};

/* One whole character. */
static void sink_bytes(struct sink *k, const void *p, size_t n)
{
    k->full = k->full || k->out == NULL || k->len + n >= k->cap;
    if (k->full)
        return;
    memcpy(k->out + k->len, p, n);
    k->len += n;
}

static void sink_code_point(struct sink *k, uint32_t cp)
{
    char u[4];
    size_t n;
    if (cp < 0x80) {
        u[0] = (char)cp;
        n = 1;
    } else if (cp < 0x800) {
        u[0] = (char)(0xC0 | cp >> 6);
        u[1] = (char)(0x80 | (cp & 0x3F));
        n = 2;
    } else if (cp < 0x10000) {
        u[0] = (char)(0xE0 | cp >> 12);
        u[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        u[2] = (char)(0x80 | (cp & 0x3F));
        n = 3;
    } else {
        u[0] = (char)(0xF0 | cp >> 18);
        u[1] = (char)(0x80 | (cp >> 12 & 0x3F));
        u[2] = (char)(0x80 | (cp >> 6 & 0x3F));
        u[3] = (char)(0x80 | (cp & 0x3F));
        n = 4;
    }
    if (cp == 0)
        k->nul = true;
    else
        sink_bytes(k, u, n);
}

static void blanks(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool take(struct scan *s, char c)
{
    if (s->p == s->end || *s->p != (unsigned char)c)
        return false;
    s->p++;
    return true;
}

static bool hex4(struct scan *s, uint32_t *ret)
{
    uint32_t v = 0;
    if (s->end - s->p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        unsigned char c = *s->p++;
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            digit = (c | 32) - 'a' + 10u;
        else
            return false;
        v = v << 4 | digit;
    }
    *ret = v;
    return true;
}

static bool escape(struct scan *s, struct sink *k)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (s->p == s->end)
        return false;
    unsigned char c = *s->p++;
    if (c == 'u') {
        uint32_t cp, low;
        if (!hex4(s, &cp))
            return false;
        if (cp >= 0xD800 && cp < 0xDC00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
            s->p += 2;
            if (!hex4(s, &low))
                return false;
            cp = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00) : 0xDC00;
        }
        if (s->plain && (cp == 0 || (cp >= 0xD800 && cp < 0xE000)))
            return false;
        sink_code_point(k, cp >= 0xD800 && cp < 0xE000 ? 0xFFFD : cp);
        return true;
    }
    const char *at = c != '\0' ? strchr(from, c) : NULL;
    if (at == NULL)
        return false;
    sink_code_point(k, (uint32_t)to[at - from]);
    return true;
}

/* Is the sequence of n bytes (2 to 4, by its first) a character of UTF-8 in its only form? */
static bool is_utf8(const unsigned char *p, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    static const unsigned char mask[] = {0, 0, 0x1F, 0x0F, 0x07};
    uint32_t cp = p[0] & mask[n];
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return false;
        cp = cp << 6 | (p[i] & 0x3Fu);
    }
    return p[0] < 0xF8 && cp >= least[n] && cp <= 0x10FFFF && (cp < 0xD800 || cp > 0xDFFF);
}

/* In every byte of a word the same. */
#define EACH(byte_) ((byte_)*UINT64_C(0x0101010101010101))

/* How far text goes on, by eights, without a control byte, a quote, a backslash or a byte above 0x7f. A byte's top bit
 * is set where one is; where one was found, the bytes beside it may be wrong, and nobody asks for them. */
static size_t ordinary(const unsigned char *p, const unsigned char *end)
{
    const unsigned char *from = p;
    for (uint64_t w; (size_t)(end - p) >= sizeof w; p += sizeof w) {
        memcpy(&w, p, sizeof w);
        uint64_t quote = w ^ EACH('"'), slash = w ^ EACH('\\');
        uint64_t odd = w | ((w - EACH(0x20)) & ~w) | ((quote - EACH(1)) & ~quote) | ((slash - EACH(1)) & ~slash);
        if ((odd & EACH(0x80)) != 0)
            break;
    }
    return (size_t)(p - from);
}

/* How many bytes belong to the character that begins at p, whether it is whole or not. What does not continue it is
 * not its: after the stray bytes of another encoding the string goes on, and ends where it ends. */
static size_t character(const unsigned char *p, const unsigned char *end, size_t whole)
{
    size_t n = 1;
    while (n < whole && p + n < end && (p[n] & 0xC0) == 0x80)
        n++;
    return n;
}

/* How many bytes the character that begins with c has. */
static size_t whole_length(unsigned char c)
{
    return c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

size_t jscan_utf8(const void *p, size_t len)
{
    const unsigned char *c = p;
    if (len == 0 || *c < 0x80)
        return len > 0;
    size_t whole = whole_length(*c);
    return whole > 1 && character(c, c + len, whole) == whole && is_utf8(c, whole) ? whole : 0;
}

/* Bytes above 0x7F are taken as they are, whole sequences only, so that a cut never falls into a character. */
static bool string(struct scan *s, struct sink *k)
{
    if (!take(s, '"'))
        return false;
    while (s->p < s->end && *s->p != '"') {
        if (k->out == NULL)
            s->p += ordinary(s->p, s->end);
        if (s->p == s->end)
            return false;
        unsigned char c = *s->p;
        if (c == '"')
            break;
        if (c < 0x20)
            return false;
        if (c == '\\') {
            s->p++;
            if (!escape(s, k))
                return false;
            continue;
        }
        size_t n = character(s->p, s->end, whole_length(c));
        if (s->plain && c >= 0x80 && jscan_utf8(s->p, n) == 0)
            return false;
        sink_bytes(k, s->p, n);
        s->p += n;
    }
    return take(s, '"');
}

static bool number(struct scan *s)
{
    const unsigned char *first = s->p;
    (void)take(s, '-');
    const unsigned char *start = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    if (s->p == start || (*start == '0' && s->p - start > 1))
        return false;
    if (take(s, '.')) {
        start = s->p;
        while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
            s->p++;
        if (s->p == start)
            return false;
    }
    if (take(s, 'e') || take(s, 'E')) {
        if (!take(s, '+'))
            (void)take(s, '-');
        start = s->p;
        while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
            s->p++;
        if (s->p == start || (s->plain && s->p - start > PLAIN_EXPONENT_MAX))
            return false;
    }
    return !s->plain || s->p - first < PLAIN_NUMBER_MAX;
}

static bool word(struct scan *s, const char *w)
{
    size_t n = strlen(w);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, w, n) != 0)
        return false;
    s->p += n;
    return true;
}

static bool value(struct scan *s, struct sink *k, int depth);

static bool array(struct scan *s, int depth)
{
    struct sink none = {0};
    s->p++;
    blanks(s);
    if (take(s, ']'))
        return true;
    do {
        if (!value(s, &none, depth + 1))
            return false;
    } while (take(s, ','));
    return take(s, ']');
}

static struct jscan_member *find(struct jscan_member *want, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(want[i].key, key) == 0)
            return &want[i];
    return NULL;
}

static bool object(struct scan *s, struct jscan_member *want, size_t n_want, int depth)
{
    s->p++;
    blanks(s);
    if (take(s, '}'))
        return true;
    do {
        char key[JSCAN_KEY_MAX + 1];
        struct sink name = {.out = key, .cap = sizeof key}, none = {0}, kept, *to = &none;
        blanks(s);
        if (!string(s, &name))
            return false;
        key[name.len] = '\0';
        blanks(s);
        if (!take(s, ':'))
            return false;
        struct jscan_member *m = name.full || name.nul ? NULL : find(want, n_want, key);
        if (m != NULL)
            *(to = &kept) = (struct sink){.out = m->out, .cap = m->cap};
        if (!value(s, to, depth + 1))
            return false;
        if (m != NULL)
            m->len = to->len;
    } while (take(s, ','));
    return take(s, '}');
}

static bool value(struct scan *s, struct sink *k, int depth)
{
    bool ok;
    blanks(s);
    if (s->p == s->end || depth > s->depth_max)
        return false;
    switch (*s->p) {
    case '{':
        ok = object(s, NULL, 0, depth);
        break;
    case '[':
        ok = array(s, depth);
        break;
    case '"':
        ok = string(s, k);
        break;
    case 't':
        ok = word(s, "true");
        break;
    case 'f':
        ok = word(s, "false");
        break;
    case 'n':
        ok = word(s, "null");
        break;
    default:
        ok = number(s);
    }
    blanks(s);
    return ok;
}

static bool one_value(const void *json, size_t len, int depth_max, bool plain)
{
    struct scan s = {.p = json, .end = (const unsigned char *)json + len, .depth_max = depth_max, .plain = plain};
    struct sink none = {0};
    return value(&s, &none, 0) && s.p == s.end;
}

bool jscan_valid(const void *json, size_t len, int depth_max)
{
    return one_value(json, len, depth_max, false);
}

bool jscan_plain(const void *json, size_t len, int depth_max)
{
    return one_value(json, len, depth_max, true);
}

bool jscan_object(const void *json, size_t len, int depth_max, struct jscan_member *want, size_t n_want)
{
    struct scan s = {.p = json, .end = (const unsigned char *)json + len, .depth_max = depth_max};
    for (size_t i = 0; i < n_want; i++)
        want[i].len = 0;
    blanks(&s);
    bool ok = s.p < s.end && *s.p == '{' && object(&s, want, n_want, 0);
    blanks(&s);
    ok = ok && s.p == s.end;
    for (size_t i = 0; i < n_want; i++)
        want[i].out[ok ? want[i].len : 0] = '\0';
    return ok;
}
