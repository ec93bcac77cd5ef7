#include "http1.h"

#include <string.h>
#include <strings.h>

enum state {
    ST_REQUEST_LINE,
    ST_HEADERS,
    ST_BODY_BEGIN, /* the head was given out */
    ST_BODY,
    ST_CHUNK_SIZE,
    ST_CHUNK_SIZE_LF,
    ST_CHUNK_DATA,
    ST_CHUNK_CR,
    ST_CHUNK_LF,
    ST_TRAILERS,
    ST_END,
    ST_FAILED,
};

enum {
    METHOD_LEN_MAX = 32,
    LENGTH_DIGITS_MAX = 18, /* 10^18 - 1 fits 63 bits: no sum with it overflows */
    CHUNK_DIGITS_MAX = 8,
    CHUNK_OVERHEAD = 64 * 1024,
};

/* Classes of bytes: RFC 9110 token characters; bytes of a field value (tab, and 0x80 up as opaque); bytes of a target
 * (visible ASCII but '#': a fragment is never sent); bytes of a host name. */
enum { C_TOKEN = 1, C_VALUE = 2, C_TARGET = 4, C_HOST = 8, C_HEX = 16 };

#define ALNUM_   (C_TOKEN | C_VALUE | C_TARGET | C_HOST)
#define HEX_     (ALNUM_ | C_HEX)
#define TOKEN_   (C_TOKEN | C_VALUE | C_TARGET)
#define VISIBLE_ (C_VALUE | C_TARGET)
static const unsigned char class_of[256] = {
    ['\t'] = C_VALUE,
    [' '] = C_VALUE,
    ['!'] = TOKEN_,
    ['"'] = VISIBLE_,
    ['#'] = C_TOKEN | C_VALUE,
    ['$' ... '\''] = TOKEN_,
    ['('] = VISIBLE_,
    [')'] = VISIBLE_,
    ['*'] = TOKEN_,
    ['+'] = TOKEN_,
    [','] = VISIBLE_,
    ['-'] = ALNUM_,
    ['.'] = ALNUM_,
    ['/'] = VISIBLE_,
    ['0' ... '9'] = HEX_,
    [':' ... '@'] = VISIBLE_,
    ['A' ... 'F'] = HEX_,
    ['G' ... 'Z'] = ALNUM_,
    ['[' ... ']'] = VISIBLE_,
    ['^'] = TOKEN_,
    ['_'] = ALNUM_,
    ['`'] = TOKEN_,
    ['a' ... 'f'] = HEX_,
    ['g' ... 'z'] = ALNUM_,
    ['{'] = VISIBLE_,
    ['|'] = TOKEN_,
    ['}'] = VISIBLE_,
    ['~'] = ALNUM_,
    [0x80 ... 0xff] = C_VALUE,
};

static bool is(char c, int class)
{
    return (class_of[(unsigned char)c] & class) != 0;
}

static bool all(const char *s, size_t len, int class)
{
    for (size_t i = 0; i < len; i++)
        if (!is(s[i], class))
            return false;
    return true;
}

static bool equals(const char *s, size_t len, const char *word)
{
    return strlen(word) == len && strncasecmp(s, word, len) == 0;
}

static enum http1_event fail(struct http1 *p, int status, const char *reason)
{
    p->state = ST_FAILED;
    p->status = status;
    p->reason = reason;
    return HTTP1_EV_ERROR;
}

static bool refuse(struct http1 *p, int status, const char *reason)
{
    (void)fail(p, status, reason);
    return false;
}

void http1_begin(struct http1 *p, struct http1_request *rq, char *store, size_t store_len)
{
    BIDE_ASSERT(store_len > HTTP1_TRAILER_BYTES, "%zu bytes leave no room for a head", store_len);
    memset(p, 0, sizeof *p);
    p->rq = rq;
    p->store = store;
    p->head_cap = store_len - HTTP1_TRAILER_BYTES;
    p->state = ST_REQUEST_LINE;
    p->body_max = UINT64_MAX;
    memset(rq, 0, offsetof(struct http1_request, headers)); /* the lists are counted: 4 KB need no clearing */
}

void http1_body_max(struct http1 *p, uint64_t max)
{
    p->body_max = max;
}

bool http1_midway(const struct http1 *p)
{
    return p->state != ST_END && (p->state != ST_REQUEST_LINE || p->used > 0);
}

/* ---- lines ---- */

enum line { LINE_MORE, LINE_WHOLE, LINE_FULL };

/* Move bytes up to the next LF into the store, which holds cap bytes. Only what was read before decides the answer,
 * never how it was cut into calls. */
static enum line take_line(struct http1 *p, const char **in, const char *end, size_t cap)
{
    size_t n = (size_t)(end - *in);
    if (n > cap - p->used)
        n = cap - p->used;
    const char *lf = n > 0 ? memchr(*in, '\n', n) : NULL;
    if (lf != NULL)
        n = (size_t)(lf - *in) + 1;
    if (n > 0)
        memcpy(p->store + p->used, *in, n);
    p->used += n;
    *in += n;
    if (lf != NULL)
        return LINE_WHOLE;
    return p->used == cap ? LINE_FULL : LINE_MORE;
}

/* The line without its CRLF, NUL-terminated in place; NULL (failed) when it ends in a bare LF. */
static char *cut_line(struct http1 *p, size_t *ret_len)
{
    char *s = p->store + p->start;
    size_t len = p->used - p->start;
    if (len < 2 || s[len - 2] != '\r') {
        (void)refuse(p, 400, "A line does not end in CRLF.");
        return NULL;
    }
    s[len - 2] = '\0';
    *ret_len = len - 2;
    p->start = p->used;
    return s;
}

/* ---- the request line ---- */

static bool parse_method(struct http1 *p, const char *s, size_t len)
{
    static const char *const refused[] = {"CONNECT", "TRACE"};
    for (int m = HTTP1_GET; m <= HTTP1_OPTIONS; m++) {
        const char *name = http1_method_name((enum http1_method)m);
        if (strlen(name) == len && memcmp(s, name, len) == 0) {
            p->rq->method = (enum http1_method)m;
            return true;
        }
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (strlen(refused[i]) == len && memcmp(s, refused[i], len) == 0)
            return refuse(p, 405, "The method is not allowed here.");
    return refuse(p, 501, "The method is not known.");
}

static bool parse_version(struct http1 *p, const char *s, size_t len)
{
    bool shaped = len == 8 && memcmp(s, "HTTP/", 5) == 0 && s[5] >= '0' && s[5] <= '9' && s[6] == '.' && s[7] >= '0' &&
                  s[7] <= '9';
    if (!shaped)
        return refuse(p, 400, "The request line is not METHOD TARGET HTTP/1.1.");
    if (s[5] != '1' || s[7] > '1')
        return refuse(p, 505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.");
    p->rq->minor = (unsigned)(s[7] - '0');
    return true;
}

/* host [":" port]: a name, an IPv4 address, or an IPv6 address in brackets. */
static bool host_ok(const char *s, size_t len)
{
    size_t i = 0;
    if (len > 0 && s[0] == '[') {
        for (i = 1; i < len && (is(s[i], C_HEX) || s[i] == ':' || s[i] == '.'); i++)
            ;
        if (i < 3 || i == len || s[i] != ']')
            return false;
        i++;
    } else {
        while (i < len && is(s[i], C_HOST))
            i++;
        if (i == 0)
            return false;
    }
    if (i == len)
        return true;
    size_t digits = len - i - 1;
    unsigned port = 0;
    if (s[i] != ':' || digits < 1 || digits > 5)
        return false;
    for (i++; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        port = port * 10 + (unsigned)(s[i] - '0');
    }
    return port <= 65535;
}

static bool escapes_ok(const char *s, size_t len)
{
    const char *end = s + len;
    while ((s = memchr(s, '%', (size_t)(end - s))) != NULL) {
        if (end - s < 3 || !is(s[1], C_HEX) || !is(s[2], C_HEX))
            return false;
        s += 3;
    }
    return true;
}

/* "http://authority/path?query": RFC 9112, 3.2.2: the authority takes the place of the Host header. */
static bool parse_authority(struct http1 *p, const char **s, size_t *len)
{
    size_t skip = 0;
    if (*len >= 7 && strncasecmp(*s, "http://", 7) == 0)
        skip = 7;
    else if (*len >= 8 && strncasecmp(*s, "https://", 8) == 0)
        skip = 8;
    if (skip == 0)
        return refuse(p, 400, "The target is neither a path nor an http URL.");
    const char *a = *s + skip;
    size_t rest = *len - skip, n = 0;
    while (n < rest && a[n] != '/' && a[n] != '?')
        n++;
    if (!host_ok(a, n))
        return refuse(p, 400, "The host of the target is not valid.");
    p->rq->host = (struct slice){.p = a, .len = n};
    *s = a + n;
    *len = rest - n;
    return true;
}

static bool parse_target(struct http1 *p, const char *s, size_t len)
{
    struct http1_request *rq = p->rq;
    if (len == 0 || !all(s, len, C_TARGET))
        return refuse(p, 400, "The target holds a character that must be escaped.");
    if (!escapes_ok(s, len))
        return refuse(p, 400, "The target holds a broken %-escape.");
    rq->target = (struct slice){.p = s, .len = len};
    if (len == 1 && s[0] == '*') {
        rq->path = rq->target;
        return rq->method == HTTP1_OPTIONS || refuse(p, 400, "The target * goes with OPTIONS only.");
    }
    if (s[0] != '/' && !parse_authority(p, &s, &len))
        return false;
    const char *q = len > 0 ? memchr(s, '?', len) : NULL;
    size_t path_len = q != NULL ? (size_t)(q - s) : len;
    rq->path = path_len > 0 ? (struct slice){.p = s, .len = path_len} : (struct slice){.p = "/", .len = 1};
    if (q != NULL)
        rq->query = (struct slice){.p = q + 1, .len = len - path_len - 1};
    return true;
}

static bool parse_request_line(struct http1 *p, char *s, size_t len)
{
    char *sp = memchr(s, ' ', len);
    size_t method_len = sp != NULL ? (size_t)(sp - s) : len;
    if (method_len == 0 || method_len > METHOD_LEN_MAX || !all(s, method_len, C_TOKEN))
        return refuse(p, 400, "The request line does not begin with a method.");
    char *target = sp != NULL ? sp + 1 : s + len;
    size_t rest = (size_t)(s + len - target);
    char *sp2 = rest > 0 ? memchr(target, ' ', rest) : NULL;
    if (sp2 == NULL)
        return refuse(p, 400, "The request line is not METHOD TARGET HTTP/1.1.");
    *sp2 = '\0';
    return parse_version(p, sp2 + 1, (size_t)(s + len - sp2 - 1)) && parse_method(p, s, method_len) &&
           parse_target(p, target, (size_t)(sp2 - target));
}

/* A head longer than its store, seen while still in its first line. */
static enum http1_event request_line_full(struct http1 *p)
{
    const char *sp = memchr(p->store, ' ', p->used);
    if (sp != NULL && sp > p->store && sp - p->store <= METHOD_LEN_MAX &&
        all(p->store, (size_t)(sp - p->store), C_TOKEN) &&
        memchr(sp + 1, ' ', p->used - (size_t)(sp + 1 - p->store)) == NULL)
        return fail(p, 414, "The target is too long.");
    return fail(p, 400, "The request line is not METHOD TARGET HTTP/1.1.");
}

/* ---- fields ---- */

static bool parse_field(struct http1 *p, char *s, size_t len, struct http1_field *f)
{
    if (s[0] == ' ' || s[0] == '\t')
        return refuse(p, 400, "Folded header lines are not accepted.");
    size_t n = 0;
    while (n < len && is(s[n], C_TOKEN))
        n++;
    if (n == 0 || n == len || s[n] != ':')
        return refuse(p, 400, "A header line does not begin with NAME:.");
    f->name = s;
    f->name_len = n;
    s[n] = '\0';
    char *v = s + n + 1, *end = s + len;
    while (v < end && (*v == ' ' || *v == '\t'))
        v++;
    while (v < end && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (!all(v, (size_t)(end - v), C_VALUE))
        return refuse(p, 400, "A header value holds a control character.");
    *end = '\0';
    f->value = v;
    f->value_len = (size_t)(end - v);
    return true;
}

static bool take_length(struct http1 *p, const struct http1_field *f)
{
    if (p->rq->has_length)
        return refuse(p, 400, "There is more than one Content-Length.");
    if (f->value_len == 0 || f->value_len > LENGTH_DIGITS_MAX)
        return refuse(p, 400, "The Content-Length is not a length.");
    uint64_t v = 0;
    for (size_t i = 0; i < f->value_len; i++) {
        if (f->value[i] < '0' || f->value[i] > '9')
            return refuse(p, 400, "The Content-Length is not a length.");
        v = v * 10 + (uint64_t)(f->value[i] - '0');
    }
    p->rq->has_length = true;
    p->rq->content_length = v;
    return true;
}

static bool take_connection(struct http1 *p, const struct http1_field *f)
{
    const char *s = f->value, *end = s + f->value_len;
    while (s < end) {
        const char *comma = memchr(s, ',', (size_t)(end - s));
        const char *to = comma != NULL ? comma : end;
        const char *next = comma != NULL ? comma + 1 : end;
        while (s < to && (*s == ' ' || *s == '\t'))
            s++;
        while (s < to && (to[-1] == ' ' || to[-1] == '\t'))
            to--;
        if (equals(s, (size_t)(to - s), "close"))
            p->n_connection_close++;
        else if (equals(s, (size_t)(to - s), "keep-alive"))
            p->n_connection_keep++;
        s = next;
    }
    return true;
}

static bool take_host(struct http1 *p, const struct http1_field *f)
{
    if (++p->n_host > 1)
        return refuse(p, 400, "There is more than one Host.");
    if (!host_ok(f->value, f->value_len))
        return refuse(p, 400, "The Host is not valid.");
    if (p->rq->host.p == NULL)
        p->rq->host = (struct slice){.p = f->value, .len = f->value_len};
    return true;
}

static bool take_coding(struct http1 *p, const struct http1_field *f)
{
    if (++p->n_te > 1 || !equals(f->value, f->value_len, "chunked"))
        return refuse(p, 400, "The only Transfer-Encoding accepted is chunked, once.");
    p->rq->chunked = true;
    return true;
}

static bool take_expect(struct http1 *p, const struct http1_field *f)
{
    if (++p->n_expect > 1 || !equals(f->value, f->value_len, "100-continue"))
        return refuse(p, 417, "The only expectation that can be met is 100-continue.");
    p->rq->expect_continue = true;
    return true;
}

/* The headers that decide about framing and the connection. */
static bool take_special(struct http1 *p, const struct http1_field *f)
{
    switch (f->name_len) {
    case 4:
        return strcasecmp(f->name, "host") != 0 || take_host(p, f);
    case 6:
        return strcasecmp(f->name, "expect") != 0 || take_expect(p, f);
    case 10:
        return strcasecmp(f->name, "connection") != 0 || take_connection(p, f);
    case 14:
        return strcasecmp(f->name, "content-length") != 0 || take_length(p, f);
    case 17:
        return strcasecmp(f->name, "transfer-encoding") != 0 || take_coding(p, f);
    default:
        return true;
    }
}

static bool head_done(struct http1 *p)
{
    struct http1_request *rq = p->rq;
    if (rq->minor == 1 && p->n_host == 0)
        return refuse(p, 400, "There is no Host.");
    if (rq->chunked && rq->minor == 0)
        return refuse(p, 400, "HTTP/1.0 has no Transfer-Encoding.");
    if (rq->chunked && rq->has_length)
        return refuse(p, 400, "There are both a Content-Length and a Transfer-Encoding.");
    /* RFC 1945, 7.2.2: a body on HTTP/1.0 must have its length. */
    bool has_body = rq->method == HTTP1_POST || rq->method == HTTP1_PUT || rq->method == HTTP1_PATCH;
    if (rq->minor == 0 && has_body && !rq->has_length)
        return refuse(p, 411, "There is no Content-Length.");
    if (rq->minor == 0 || http1_bodyless(rq))
        rq->expect_continue = false;
    rq->keep_alive = p->n_connection_close == 0 && (rq->minor == 1 || p->n_connection_keep > 0);
    return true;
}

/* One line of the head. True goes on; false is a failure or, with *ret_done, the empty line. */
static bool head_line(struct http1 *p, bool *ret_done)
{
    size_t len = 0;
    struct http1_request *rq = p->rq;
    bool empty_first = p->state == ST_REQUEST_LINE && !p->skipped_crlf && p->used == 2 && p->store[0] == '\r';
    char *s = cut_line(p, &len);
    if (s == NULL)
        return false;
    if (p->state == ST_REQUEST_LINE) {
        if (empty_first) { /* RFC 9112, 2.2: some clients put one after a POST */
            p->skipped_crlf = true;
            p->used = p->start = 0;
            return true;
        }
        p->state = ST_HEADERS;
        return parse_request_line(p, s, len);
    }
    if (len == 0) {
        *ret_done = head_done(p);
        return false;
    }
    if (rq->n_headers == HTTP1_HEADERS_MAX)
        return refuse(p, 431, "There are too many headers.");
    struct http1_field *f = &rq->headers[rq->n_headers];
    if (!parse_field(p, s, len, f))
        return false;
    rq->n_headers++;
    return take_special(p, f);
}

static enum http1_event read_head(struct http1 *p, const char **in, const char *end)
{
    for (;;) {
        /* A handshake of TLS, or any other protocol, is known by its first byte. */
        if (p->used == 0 && *in < end && !is(**in, C_TOKEN) && (**in != '\r' || p->skipped_crlf))
            return fail(p, 400, "This is not an HTTP request.");
        enum line got = take_line(p, in, end, p->head_cap);
        if (got == LINE_MORE)
            return HTTP1_EV_MORE;
        if (got == LINE_FULL && p->state == ST_REQUEST_LINE)
            return request_line_full(p);
        if (got == LINE_FULL)
            return fail(p, 431, "The headers are too long.");
        bool done = false;
        if (head_line(p, &done))
            continue;
        if (!done)
            return HTTP1_EV_ERROR;
        p->state = ST_BODY_BEGIN;
        return HTTP1_EV_HEAD;
    }
}

/* ---- the body ---- */

static enum http1_event begin_body(struct http1 *p)
{
    if (p->rq->chunked) {
        p->state = ST_CHUNK_SIZE;
        return HTTP1_EV_MORE;
    }
    if (p->rq->content_length > p->body_max)
        return fail(p, 413, "The body is too large.");
    p->left = p->rq->content_length;
    p->state = p->left > 0 ? ST_BODY : ST_END;
    return HTTP1_EV_MORE;
}

static enum http1_event body_piece(struct http1 *p, const char **in, const char *end, int next, struct slice *ret_piece)
{
    size_t n = (size_t)(end - *in);
    if (n > p->left)
        n = (size_t)p->left;
    *ret_piece = (struct slice){.p = *in, .len = n};
    *in += n;
    p->left -= n;
    if (p->left == 0)
        p->state = next;
    return HTTP1_EV_BODY;
}

static enum http1_event chunk_size_digit(struct http1 *p, char c)
{
    if (c == '\r' && p->chunk_digits > 0) {
        p->state = ST_CHUNK_SIZE_LF;
        return HTTP1_EV_MORE;
    }
    if (!is(c, C_HEX) || p->chunk_digits == CHUNK_DIGITS_MAX)
        return fail(p, 400, "A chunk size is not 1 to 8 hexadecimal digits.");
    p->chunk_digits++;
    p->left = p->left * 16 + (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    return HTTP1_EV_MORE;
}

static enum http1_event chunk_size_over(struct http1 *p)
{
    p->chunk_digits = 0;
    if (p->left > p->body_max - p->body_len)
        return fail(p, 413, "The body is too large.");
    p->body_len += p->left;
    p->state = p->left > 0 ? ST_CHUNK_DATA : ST_TRAILERS;
    p->trailer_cap = p->used + HTTP1_TRAILER_BYTES;
    return HTTP1_EV_MORE;
}

/* One byte of chunk framing: size, its line end, the line end after the data. */
static enum http1_event chunk_byte(struct http1 *p, char c)
{
    uint64_t cap = p->body_max > UINT64_MAX - CHUNK_OVERHEAD ? UINT64_MAX : p->body_max + CHUNK_OVERHEAD;
    if (++p->overhead > cap)
        return fail(p, 413, "The body is cut into too many chunks.");
    switch (p->state) {
    case ST_CHUNK_SIZE:
        return chunk_size_digit(p, c);
    case ST_CHUNK_SIZE_LF:
        return c == '\n' ? chunk_size_over(p) : fail(p, 400, "A chunk size is not followed by CRLF.");
    case ST_CHUNK_CR:
        p->state = ST_CHUNK_LF;
        return c == '\r' ? HTTP1_EV_MORE : fail(p, 400, "A chunk is not followed by CRLF.");
    default:
        p->state = ST_CHUNK_SIZE;
        return c == '\n' ? HTTP1_EV_MORE : fail(p, 400, "A chunk is not followed by CRLF.");
    }
}

static enum http1_event read_trailers(struct http1 *p, const char **in, const char *end)
{
    for (;;) {
        enum line got = take_line(p, in, end, p->trailer_cap);
        if (got == LINE_MORE)
            return HTTP1_EV_MORE;
        if (got == LINE_FULL)
            return fail(p, 431, "The trailers are too long.");
        size_t len = 0;
        char *s = cut_line(p, &len);
        if (s == NULL)
            return HTTP1_EV_ERROR;
        if (len == 0) {
            p->state = ST_END;
            return HTTP1_EV_END;
        }
        if (p->rq->n_trailers == HTTP1_TRAILERS_MAX)
            return fail(p, 431, "There are too many trailers.");
        if (!parse_field(p, s, len, &p->rq->trailers[p->rq->n_trailers]))
            return HTTP1_EV_ERROR;
        p->rq->n_trailers++;
    }
}

enum http1_event http1_next(struct http1 *p, const char *in, size_t len, size_t *ret_used, struct slice *ret_piece)
{
    const char *at = in, *end = in + len;
    enum http1_event ev = HTTP1_EV_MORE;
    while (ev == HTTP1_EV_MORE) {
        bool needs_input = p->state != ST_BODY_BEGIN && p->state != ST_END && p->state != ST_FAILED;
        if (needs_input && at == end)
            break;
        switch ((enum state)p->state) {
        case ST_REQUEST_LINE:
        case ST_HEADERS:
            ev = read_head(p, &at, end);
            break;
        case ST_BODY_BEGIN:
            ev = begin_body(p);
            break;
        case ST_BODY:
            ev = body_piece(p, &at, end, ST_END, ret_piece);
            break;
        case ST_CHUNK_DATA:
            ev = body_piece(p, &at, end, ST_CHUNK_CR, ret_piece);
            break;
        case ST_CHUNK_SIZE:
        case ST_CHUNK_SIZE_LF:
        case ST_CHUNK_CR:
        case ST_CHUNK_LF:
            ev = chunk_byte(p, *at++);
            break;
        case ST_TRAILERS:
            ev = read_trailers(p, &at, end);
            break;
        case ST_END:
            ev = HTTP1_EV_END;
            break;
        case ST_FAILED:
            ev = HTTP1_EV_ERROR;
            break;
        }
    }
    *ret_used = (size_t)(at - in);
    return ev;
}

/* ---- words ---- */

const struct http1_field *http1_find(const struct http1_field *f, size_t n, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (f[i].name_len == len && strncasecmp(f[i].name, name, len) == 0)
            return &f[i];
    return NULL;
}

bool http1_name_ok(const char *name, size_t len)
{
    return len > 0 && all(name, len, C_TOKEN);
}

bool http1_value_ok(const char *value, size_t len)
{
    return all(value, len, C_VALUE);
}

const char *http1_method_name(enum http1_method m)
{
    static const char *const name[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    return name[m];
}

const char *http1_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } known[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {424, "Failed Dependency"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].status == status)
            return known[i].text;
    return "Unknown";
}
