/* The canonical request of a signature. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sigv4.h"
#include "uri.h"

/* Dot and empty segments removed, then encoded once more although it is encoded already: every service but S3. */
static int put_path(struct buf *out, struct slice path)
{
    const char *p = path.p, *end = p + path.len;
    struct buf norm;
    buf_init(&norm, path.len + 2);
    int r = buf_putc(&norm, '/');
    bool trailing = path.len > 1 && end[-1] == '/';
    while (p < end && r == 0) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        size_t n = (size_t)((slash ? slash : end) - p);
        if (n == 2 && memcmp(p, "..", 2) == 0) {
            /* norm always ends with a slash here: drop that one and what is before it */
            if (norm.len > 1) {
                norm.len--;
                while (norm.data[norm.len - 1] != '/')
                    norm.len--;
            }
        } else if (n > 0 && !(n == 1 && *p == '.')) {
            r = buf_append(&norm, p, n);
            if (r == 0)
                r = buf_putc(&norm, '/');
        }
        p += n + (slash != NULL);
    }
    size_t len = norm.len;
    if (len > 1 && !trailing)
        len--;
    if (r == 0)
        r = uri_encode(out, norm.data, len, "/");
    buf_done(&norm);
    return r;
}

struct pair_text {
    size_t name, name_len, value, value_len; /* offsets into one buffer */
};

static int cmp_text(const char *a, size_t an, const char *b, size_t bn)
{
    int c = memcmp(a, b, an < bn ? an : bn);
    return c ? c : an < bn ? -1 : an > bn;
}

/* Insertion sort: a query has a handful of parameters, URI_PARAMS_MAX at most. */
static void sort_pairs(struct pair_text *v, size_t n, const char *text)
{
    for (size_t i = 1; i < n; i++) {
        struct pair_text x = v[i];
        size_t j = i;
        for (; j > 0; j--) {
            const struct pair_text *y = &v[j - 1];
            int c = cmp_text(text + y->name, y->name_len, text + x.name, x.name_len);
            if (c == 0)
                c = cmp_text(text + y->value, y->value_len, text + x.value, x.value_len);
            if (c <= 0)
                break;
            v[j] = v[j - 1];
        }
        v[j] = x;
    }
}

/* Decode, then encode by the signature's rules, so that either spelling signs the same. */
static int put_recoded(struct buf *text, struct slice s, size_t *ret_at, size_t *ret_len)
{
    char *plain = malloc(s.len + 1);
    if (!plain)
        return ERR_NOMEM;
    *ret_at = text->len;
    int r = uri_decode(s.p, s.len, plain, s.len + 1);
    if (r == 0)
        r = uri_encode(text, plain, strlen(plain), "");
    *ret_len = text->len - *ret_at;
    free(plain);
    return r;
}

static int put_query(const struct sigv4 *s, struct buf *out, struct slice query)
{
    struct uri_param raw[URI_PARAMS_MAX];
    struct pair_text v[URI_PARAMS_MAX];
    size_t n, kept = 0;
    struct buf text;
    if (query.len == 0)
        return 0;
    int r = uri_split_query(query.p, query.len, raw, &n);
    if (r < 0)
        return r;
    buf_init(&text, 3 * query.len + 1);
    for (size_t i = 0; i < n && r == 0; i++) {
        if (s->form == SIGV4_PRESIGNED && raw[i].name.len == strlen("X-Amz-Signature") &&
            memcmp(raw[i].name.p, "X-Amz-Signature", raw[i].name.len) == 0)
            continue;
        struct pair_text *t = &v[kept++];
        r = put_recoded(&text, raw[i].name, &t->name, &t->name_len);
        if (r == 0)
            r = put_recoded(&text, raw[i].value, &t->value, &t->value_len);
    }
    if (r == 0)
        sort_pairs(v, kept, text.data);
    for (size_t i = 0; i < kept && r == 0; i++) {
        r = i ? buf_putc(out, '&') : 0;
        if (r == 0)
            r = buf_append(out, text.data + v[i].name, v[i].name_len);
        if (r == 0)
            r = buf_putc(out, '=');
        if (r == 0)
            r = buf_append(out, text.data + v[i].value, v[i].value_len);
    }
    buf_done(&text);
    return r;
}

/* Trimmed, inner runs of blanks made one. */
static int put_value(struct buf *out, struct slice value)
{
    const char *p = value.p;
    size_t i = 0, n = value.len;
    int r = 0;
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
        n--;
    while (i < n && (p[i] == ' ' || p[i] == '\t'))
        i++;
    for (bool blank = false; i < n && r == 0; i++) {
        bool is_blank = p[i] == ' ' || p[i] == '\t';
        if (!is_blank)
            r = buf_putc(out, p[i]);
        else if (!blank)
            r = buf_putc(out, ' ');
        blank = is_blank;
    }
    return r;
}

static int put_header(struct buf *out, const struct sigv4_req *req, const char *name, size_t len)
{
    bool first = true;
    int r = buf_append(out, name, len);
    if (r == 0)
        r = buf_putc(out, ':');
    for (size_t i = 0; i < req->n_headers && r == 0; i++) {
        const struct sigv4_header *h = &req->headers[i];
        if (h->name.len != len || strncasecmp(h->name.p, name, len) != 0)
            continue;
        if (!first)
            r = buf_putc(out, ',');
        if (r == 0)
            r = put_value(out, h->value);
        first = false;
    }
    return r == 0 ? buf_putc(out, '\n') : r;
}

int sigv4_canonical(const struct sigv4 *s, const struct sigv4_req *req, struct buf *out)
{
    int r = buf_printf(out, "%s\n", req->method);
    if (r == 0)
        r = put_path(out, req->path);
    if (r == 0)
        r = buf_putc(out, '\n');
    if (r == 0)
        r = put_query(s, out, req->query);
    if (r == 0)
        r = buf_putc(out, '\n');
    for (const char *p = s->signed_headers; *p && r == 0;) {
        size_t len = strcspn(p, ";");
        r = put_header(out, req, p, len);
        p += len + (p[len] == ';');
    }
    if (r == 0)
        r = buf_printf(out, "\n%s\n", s->signed_headers);
    return r;
}
