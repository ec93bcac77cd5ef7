/* The HTTP parser under libFuzzer. Two things must hold for every input:
 *
 * - Cutting it differently changes nothing: whole, and cut at places the input itself decides, the parser says the
 * same.
 * - What it accepts, the packaged http-parser accepts too, with the same methods, targets, headers, bodies and
 * trailers, up to the first request ours refuses. The reverse is not asked for: ours is the stricter one by design.
 *
 * The oracle's quirks: it keeps white space at the end of a value, which is trimmed before comparing; it refuses a
 * header whose name merely begins with "Transfer-Encoding"; and it takes framing headers among the trailers seriously.
 * Nothing is compared from such a header or trailer on. A tab among the white space at the end of a line is white space
 * to us, as RFC 9110 says, and part of the value to it ("chunked" TAB is refused): such inputs are not compared at all.
 */
#include <http_parser.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/http1.h"

enum { HEAD_MAX = 2048, TEXT_MAX = 8 << 20, BODY_MAX = 4096 };

struct ours {
    struct http1 p;
    struct http1_request rq;
    char store[HEAD_MAX + HTTP1_TRAILER_BYTES];
    struct buf text;
    bool failed;
    bool was_last;     /* no request may follow on this connection */
    bool quirky;       /* what follows is not compared */
    size_t compare;    /* bytes of text that the oracle must agree with: whole requests */
    size_t whole_used; /* bytes of input these requests took */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(struct buf *b, const char *p, size_t n)
{
    BIDE_ASSERT(buf_append(b, p, n) == 0, "no room for what was read");
}

static void put_field(struct buf *b, const char *name, size_t name_len, const char *value, size_t value_len)
{
    put(b, name, name_len);
    put(b, ":", 1);
    put(b, value, value_len);
    put(b, "\n", 1);
}

static void put_fields(struct buf *b, const struct http1_field *f, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_field(b, f[i].name, f[i].name_len, f[i].value, f[i].value_len);
}

static void put_head(struct buf *b, const char *method, const char *target, size_t target_len, unsigned minor)
{
    BIDE_ASSERT(buf_printf(b, "%s %.*s %u\n", method, (int)target_len, target, minor) == 0, "no room");
}

static void ours_init(struct ours *o)
{
    memset(o, 0, sizeof *o);
    buf_init(&o->text, TEXT_MAX);
    http1_begin(&o->p, &o->rq, o->store, sizeof o->store);
}

/* Framing headers among trailers, and headers whose name only begins with "Transfer-Encoding". */
static bool oracle_stumbles(const struct http1_field *f, size_t n, bool trailers)
{
    static const char *const framing[] = {"transfer-encoding", "content-length", "connection", "proxy-connection",
                                          "upgrade"};
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < (trailers ? sizeof framing / sizeof *framing : 1); k++) {
            size_t len = strlen(framing[k]);
            if (f[i].name_len >= len + !trailers && strncasecmp(f[i].name, framing[k], len) == 0)
                return true;
        }
    }
    return false;
}

/* base: how much was fed before. */
static void ours_feed(struct ours *o, const char *in, size_t len, size_t base)
{
    enum http1_event ev;
    size_t used = 0, at = 0;
    struct slice piece = {.p = NULL, .len = 0};
    while (!o->failed && !o->was_last && (ev = http1_next(&o->p, in + at, len - at, &used, &piece)) != HTTP1_EV_MORE) {
        at += used;
        BIDE_ASSERT(at <= len, "used %zu of %zu", at, len);
        if (ev == HTTP1_EV_HEAD) {
            o->quirky = o->quirky || oracle_stumbles(o->rq.headers, o->rq.n_headers, false);
            put_head(&o->text, http1_method_name(o->rq.method), o->rq.target.p, o->rq.target.len, o->rq.minor);
            put_fields(&o->text, o->rq.headers, o->rq.n_headers);
            put(&o->text, "\n", 1);
            http1_body_max(&o->p, BODY_MAX);
        } else if (ev == HTTP1_EV_BODY) {
            BIDE_ASSERT(piece.len > 0, "an empty piece");
            put(&o->text, piece.p, piece.len);
        } else if (ev == HTTP1_EV_END) {
            put(&o->text, "END\n", 4);
            put_fields(&o->text, o->rq.trailers, o->rq.n_trailers);
            put(&o->text, "\n", 1);
            o->was_last = !o->rq.keep_alive;
            o->quirky = o->quirky || oracle_stumbles(o->rq.trailers, o->rq.n_trailers, true);
            if (!o->quirky) {
                o->compare = o->text.len;
                o->whole_used = base + at;
            }
            http1_begin(&o->p, &o->rq, o->store, sizeof o->store);
        } else {
            BIDE_ASSERT(o->p.status >= 400 && o->p.reason != NULL, "a failure without a status");
            BIDE_ASSERT(buf_printf(&o->text, "ERROR %d %s", o->p.status, o->p.reason) == 0, "no room");
            o->failed = true;
        }
    }
}

static void check_splits(const struct ours *whole, const char *in, size_t len)
{
    struct ours *o = malloc(sizeof *o);
    BIDE_ASSERT(o != NULL, "out of memory");
    /* One round byte by byte, two with cuts drawn from the input. */
    for (uint32_t round = 0; round < 3; round++) {
        uint32_t rnd = 2166136261u + round;
        for (size_t i = 0; i < len; i++)
            rnd = (rnd ^ (uint8_t)in[i]) * 16777619u;
        ours_init(o);
        for (size_t at = 0; at < len;) {
            rnd = rnd * 1664525u + 1013904223u;
            size_t n = round == 0 ? 1 : 1 + (rnd >> 16) % (round == 1 ? 16 : 200);
            if (n > len - at)
                n = len - at;
            char *copy = malloc(n); /* exact, so that a read past the end is seen */
            BIDE_ASSERT(copy != NULL, "out of memory");
            memcpy(copy, in + at, n);
            ours_feed(o, copy, n, at);
            free(copy);
            at += n;
        }
        BIDE_ASSERT(o->text.len == whole->text.len && memcmp(o->text.data, whole->text.data, o->text.len) == 0,
                    "cut up it says:\n%s\nwhole:\n%s", o->text.data, whole->text.data);
        BIDE_ASSERT(http1_midway(&o->p) == http1_midway(&whole->p), "midway differs");
        buf_done(&o->text);
    }
    free(o);
}

/* ---- the oracle ---- */

struct oracle {
    struct buf text;
    struct buf target, name, value;
    bool in_value;
    bool head_out;
};

static void flush_field(struct oracle *o)
{
    if (o->name.len == 0)
        return;
    size_t n = o->value.len;
    while (n > 0 && (o->value.data[n - 1] == ' ' || o->value.data[n - 1] == '\t'))
        n--;
    put_field(&o->text, o->name.data, o->name.len, o->value.data, n);
    buf_clear(&o->name);
    buf_clear(&o->value);
    o->in_value = false;
}

static int on_url(http_parser *p, const char *at, size_t n)
{
    struct oracle *o = p->data;
    put(&o->target, at, n);
    return 0;
}

/* The version is known only after the target: the first line is written when the first header or the end is seen. */
static void flush_first_line(http_parser *p)
{
    struct oracle *o = p->data;
    if (o->head_out)
        return;
    o->head_out = true;
    put_head(&o->text, http_method_str((enum http_method)p->method), o->target.data, o->target.len, p->http_minor);
}

static int on_name(http_parser *p, const char *at, size_t n)
{
    struct oracle *o = p->data;
    flush_first_line(p);
    if (o->in_value)
        flush_field(o);
    put(&o->name, at, n);
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t n)
{
    struct oracle *o = p->data;
    o->in_value = true;
    put(&o->value, at, n);
    return 0;
}

static int on_headers(http_parser *p)
{
    struct oracle *o = p->data;
    flush_first_line(p);
    flush_field(o);
    put(&o->text, "\n", 1);
    p->upgrade = 0; /* ignored, as ours does */
    return 0;
}

static int on_body(http_parser *p, const char *at, size_t n)
{
    struct oracle *o = p->data;
    put(&o->text, at, n);
    return 0;
}

/* Trailers come before this, so the mark between body and trailers is set by the last chunk's header. */
static int on_complete(http_parser *p)
{
    struct oracle *o = p->data;
    if ((p->flags & F_CHUNKED) == 0)
        put(&o->text, "END\n", 4);
    flush_field(o);
    put(&o->text, "\n", 1);
    buf_clear(&o->target);
    o->head_out = false;
    return 0;
}

static int on_chunk(http_parser *p)
{
    struct oracle *o = p->data;
    if (p->content_length == 0)
        put(&o->text, "END\n", 4);
    return 0;
}

static bool tab_ends_a_line(const char *in, size_t len)
{
    for (size_t i = 1; i < len; i++)
        for (size_t k = i; in[i] == '\r' && k > 0 && (in[k - 1] == ' ' || in[k - 1] == '\t'); k--)
            if (in[k - 1] == '\t')
                return true;
    return false;
}

static void check_oracle(const struct ours *whole, const char *in)
{
    static const http_parser_settings settings = {.on_url = on_url,
                                                  .on_header_field = on_name,
                                                  .on_header_value = on_value,
                                                  .on_headers_complete = on_headers,
                                                  .on_body = on_body,
                                                  .on_message_complete = on_complete,
                                                  .on_chunk_header = on_chunk};
    struct oracle o = {.in_value = false};
    http_parser p;
    if (tab_ends_a_line(in, whole->whole_used))
        return;
    buf_init(&o.text, TEXT_MAX);
    buf_init(&o.target, TEXT_MAX);
    buf_init(&o.name, TEXT_MAX);
    buf_init(&o.value, TEXT_MAX);
    http_parser_init(&p, HTTP_REQUEST);
    p.data = &o;
    size_t used = http_parser_execute(&p, &settings, in, whole->whole_used);
    BIDE_ASSERT(HTTP_PARSER_ERRNO(&p) == HPE_OK && used == whole->whole_used,
                "the oracle refuses (%s) at %zu of %zu:\n%s", http_errno_name(HTTP_PARSER_ERRNO(&p)), used,
                whole->whole_used, whole->text.data);
    BIDE_ASSERT(o.text.len == whole->compare && memcmp(o.text.data, whole->text.data, whole->compare) == 0,
                "the oracle reads:\n%s\nours:\n%s", o.text.data, whole->text.data);
    buf_done(&o.text);
    buf_done(&o.target);
    buf_done(&o.name);
    buf_done(&o.value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ours *whole = malloc(sizeof *whole);
    BIDE_ASSERT(whole != NULL, "out of memory");
    const char *in = (const char *)data;
    ours_init(whole);
    ours_feed(whole, in, size, 0);
    check_splits(whole, in, size);
    if (whole->whole_used > 0)
        check_oracle(whole, in);
    buf_done(&whole->text);
    free(whole);
    return 0;
}
