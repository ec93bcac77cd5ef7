#include "json_out.h"

#include <inttypes.h>
#include <string.h>

void out_init(struct json_out *o, struct buf *b)
{
    *o = (struct json_out){.b = b};
}

int out_error(const struct json_out *o)
{
    return o->error;
}

static void put(struct json_out *o, const void *p, size_t n)
{
    if (o->error == 0)
        o->error = buf_append(o->b, p, n);
}

/* Bytes of the valid UTF-8 sequence at p, 0 if there is none (RFC 3629: no surrogates, nothing overlong). */
static size_t utf8_len(const unsigned char *p, size_t left)
{
    static const struct {
        unsigned char lo, hi, second_lo, second_hi, len;
    } rows[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (p[0] < rows[i].lo || p[0] > rows[i].hi)
            continue;
        if (left < rows[i].len || p[1] < rows[i].second_lo || p[1] > rows[i].second_hi)
            return 0;
        for (size_t k = 2; k < rows[i].len; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return rows[i].len;
    }
    return 0;
}

bool out_is_text(const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s, *end = p + len;
    while (p < end) {
        size_t n = *p == '\0' ? 0 : *p < 0x80 ? 1 : utf8_len(p, (size_t)(end - p));
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

static void put_escape(struct json_out *o, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    char esc[6] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
    switch (c) {
    case '"':
    case '\\':
        esc[1] = (char)c;
        break;
    case '\n':
        esc[1] = 'n';
        break;
    case '\r':
        esc[1] = 'r';
        break;
    case '\t':
        esc[1] = 't';
        break;
    default:
        put(o, esc, sizeof(esc));
        return;
    }
    put(o, esc, 2);
}

static void put_text(struct json_out *o, const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t from = 0, i = 0;
    put(o, "\"", 1);
    while (i < len) {
        size_t n = p[i] < 0x80 ? 1 : utf8_len(p + i, len - i);
        if (n > 0 && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\' && p[i] != 0x7f) {
            i += n;
            continue;
        }
        put(o, s + from, i - from);
        if (n == 0)
            put(o, "\xef\xbf\xbd", 3);
        else
            put_escape(o, p[i]);
        from = ++i;
    }
    put(o, s + from, len - from);
    put(o, "\"", 1);
}

static void put_key(struct json_out *o, const char *key)
{
    if (o->comma)
        put(o, ",", 1);
    if (key) {
        put_text(o, key, strlen(key));
        put(o, ":", 1);
    }
    o->comma = true;
}

void out_begin(struct json_out *o, const char *key, char bracket)
{
    put_key(o, key);
    put(o, &bracket, 1);
    o->comma = false;
}

void out_end(struct json_out *o, char bracket)
{
    put(o, &bracket, 1);
    o->comma = true;
}

void out_strn(struct json_out *o, const char *key, const char *s, size_t len)
{
    put_key(o, key);
    put_text(o, s, len);
}

void out_str(struct json_out *o, const char *key, const char *s)
{
    if (s)
        out_strn(o, key, s, strlen(s));
    else
        out_null(o, key);
}

void out_raw(struct json_out *o, const char *key, const void *p, size_t len)
{
    put_key(o, key);
    put(o, p, len);
}

void out_int(struct json_out *o, const char *key, int64_t v)
{
    put_key(o, key);
    if (o->error == 0)
        o->error = buf_printf(o->b, "%" PRId64, v);
}

void out_uint(struct json_out *o, const char *key, uint64_t v)
{
    put_key(o, key);
    if (o->error == 0)
        o->error = buf_printf(o->b, "%" PRIu64, v);
}

void out_bool(struct json_out *o, const char *key, bool v)
{
    out_raw(o, key, v ? "true" : "false", v ? 4 : 5);
}

void out_null(struct json_out *o, const char *key)
{
    out_raw(o, key, "null", 4);
}

void out_seconds(struct json_out *o, const char *key, int64_t ms)
{
    put_key(o, key);
    if (o->error == 0)
        o->error = buf_printf(o->b, "%" PRId64 ".%03d", ms / 1000, (int)(ms % 1000));
}
