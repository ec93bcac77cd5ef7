#include "uri.h"

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int uri_decode(const char *p, size_t len, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = p[i];
        if (c == '%') {
            int hi = i + 2 < len ? hex_digit(p[i + 1]) : -1;
            int lo = hi >= 0 ? hex_digit(p[i + 2]) : -1;
            if (lo < 0)
                return ERR_INVALID;
            c = (char)(hi << 4 | lo);
            i += 2;
        }
        if (c == '\0')
            return ERR_INVALID;
        if (n + 1 >= cap)
            return ERR_TOOBIG;
        out[n++] = c;
    }
    out[n] = '\0';
    return 0;
}

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.' || c == '~';
}

int uri_encode(struct buf *out, const char *p, size_t len, const char *keep)
{
    static const char digits[] = "0123456789ABCDEF";
    int r = buf_reserve(out, len);
    for (size_t i = 0; i < len && r == 0; i++) {
        unsigned char c = (unsigned char)p[i];
        if (is_unreserved(p[i]) || (c && strchr(keep, c))) {
            r = buf_putc(out, p[i]);
        } else {
            char esc[3] = {'%', digits[c >> 4], digits[c & 15]};
            r = buf_append(out, esc, sizeof(esc));
        }
    }
    return r;
}

int uri_split_query(const char *query, size_t len, struct uri_param *v, size_t *ret_n)
{
    const char *p = query, *end = query + len;
    size_t n = 0;
    while (p < end) {
        const char *amp = memchr(p, '&', (size_t)(end - p));
        const char *stop = amp ? amp : end;
        const char *eq = memchr(p, '=', (size_t)(stop - p));
        if (stop > p) {
            if (n == URI_PARAMS_MAX)
                return ERR_TOOBIG;
            v[n].name = (struct slice){p, (size_t)((eq ? eq : stop) - p)};
            v[n].value = eq ? (struct slice){eq + 1, (size_t)(stop - eq - 1)} : (struct slice){stop, 0};
            n++;
        }
        p = amp ? amp + 1 : end;
    }
    *ret_n = n;
    return 0;
}

int uri_query_get(const char *query, size_t len, const char *name, char *out, size_t cap)
{
    struct uri_param v[URI_PARAMS_MAX];
    char decoded[128];
    size_t n;
    if (len == 0)
        return ERR_NOTFOUND;
    int r = uri_split_query(query, len, v, &n);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        if (uri_decode(v[i].name.p, v[i].name.len, decoded, sizeof(decoded)) == 0 && strcmp(decoded, name) == 0)
            return uri_decode(v[i].value.p, v[i].value.len, out, cap);
    return ERR_NOTFOUND;
}
