/* Signatures: what a request says of its own, the canonical request, the check. The input is a request in lines:
 * method, path, query, headers up to an empty line, and the rest is the body. Beside the module stands a second one,
 * written straight from Amazon's description (split, decode, sort, join; no care for speed): both must make the same
 * canonical request, and a signature made by the second is taken by the module, while one with any bit changed is not.
 */
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "fuzz.h"
#include "sigv4.h"

enum { HEADERS_MAX = 32, PIECES_MAX = 512, QUERY_MAX = 64, TEXT_MAX = 64 << 10 };

static const char secret[] = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
static const int64_t now_ms = 1767323045000; /* 2026-01-02T03:04:05Z */

/* --- a request from the input ------------------------------------------------------------------------------------- */

struct request {
    struct sigv4_req rq;
    struct sigv4_header h[HEADERS_MAX];
    char *method, *path, *query, *text[HEADERS_MAX];
    struct slice body;
};

/* Where the HTTP parser would have refused it: control bytes in lines. */
static bool is_clean(struct slice s)
{
    const uint8_t *p = s.p;
    for (size_t i = 0; i < s.len; i++)
        if ((p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f)
            return false;
    return true;
}

static bool take_headers(struct request *x, struct feed *f)
{
    struct slice line;
    while (x->rq.n_headers < HEADERS_MAX && (line = feed_until(f, '\n')).len > 0) {
        size_t i = x->rq.n_headers;
        if (!is_clean(line))
            return false;
        x->text[i] = exact(line.p, line.len);
        const char *colon = memchr(x->text[i], ':', line.len);
        size_t name = colon != NULL ? (size_t)(colon - x->text[i]) : line.len;
        size_t skip = colon != NULL ? name + 1 : line.len;
        while (skip < line.len && (x->text[i][skip] == ' ' || x->text[i][skip] == '\t'))
            skip++; /* as the HTTP parser does */
        x->h[i] = (struct sigv4_header){{x->text[i], name}, {x->text[i] + skip, line.len - skip}};
        x->rq.n_headers++;
    }
    return true;
}

static bool take_request(struct request *x, const uint8_t *data, size_t size)
{
    struct feed f = {data, size};
    struct slice method = feed_until(&f, '\n'), path = feed_until(&f, '\n'), query = feed_until(&f, '\n');
    bool ok = is_clean(method) && is_clean(path) && is_clean(query);
    x->method = exact_text(method.p, method.len);
    x->path = exact(path.p, path.len);
    x->query = exact(query.p, query.len);
    x->rq = (struct sigv4_req){
        .method = x->method, .path = {x->path, path.len}, .query = {x->query, query.len}, .headers = x->h};
    ok = take_headers(x, &f) && ok;
    x->body = (struct slice){f.p, f.left};
    return ok;
}

static void request_done(struct request *x)
{
    free(x->method);
    free(x->path);
    free(x->query);
    for (size_t i = 0; i < HEADERS_MAX; i++)
        free(x->text[i]);
}

/* --- the second implementation ------------------------------------------------------------------------------------ */

static void put(struct buf *b, const char *p, size_t n)
{
    BIDE_ASSERT(buf_append(b, p, n) == 0, "no room");
}

static void put_escaped(struct buf *b, const char *p, size_t n, bool slash_stays)
{
    for (size_t i = 0; i < n; i++) {
        if (isalnum((unsigned char)p[i]) || (p[i] != '\0' && strchr("-_.~", p[i])) || (slash_stays && p[i] == '/'))
            put(b, &p[i], 1);
        else
            BIDE_ASSERT(buf_printf(b, "%%%02X", (unsigned char)p[i]) == 0, "no room");
    }
}

static void plain_path(struct buf *b, struct slice path)
{
    struct slice kept[PIECES_MAX * 8];
    size_t n = 0;
    struct feed f = {path.p, path.len};
    const char *p = path.p;
    while (f.left > 0) {
        struct slice s = feed_until(&f, '/');
        if (s.len == 2 && memcmp(s.p, "..", 2) == 0)
            n -= n > 0;
        else if (s.len > 0 && !(s.len == 1 && *(const char *)s.p == '.'))
            kept[n++] = s;
    }
    put(b, "/", 1);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            put(b, "/", 1);
        put_escaped(b, kept[i].p, kept[i].len, true);
    }
    if (n > 0 && p[path.len - 1] == '/')
        put(b, "/", 1);
}

struct param {
    struct buf name, value;
};

static int by_name_and_value(const void *a, const void *b)
{
    const struct param *x = a, *y = b;
    int c = strcmp(x->name.data, y->name.data);
    return c != 0 ? c : strcmp(x->value.data, y->value.data);
}

/* False: a bad escape or a NUL. */
static bool recode(struct buf *b, const char *p, size_t n)
{
    buf_init(b, TEXT_MAX);
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (c == '%') {
            char two[3] = {i + 1 < n ? p[i + 1] : '?', i + 2 < n ? p[i + 2] : '?', '\0'};
            if (!isxdigit((unsigned char)two[0]) || !isxdigit((unsigned char)two[1]))
                return false;
            c = (char)strtol(two, NULL, 16);
            i += 2;
        }
        if (c == '\0')
            return false;
        put_escaped(b, &c, 1, false);
    }
    return true;
}

static bool plain_query(struct buf *b, struct slice query, bool presigned)
{
    struct param v[PIECES_MAX];
    struct feed f = {query.p, query.len};
    size_t n = 0, seen = 0;
    bool ok = true;
    while (f.left > 0 && ok) {
        struct slice s = feed_until(&f, '&');
        struct feed pf = {s.p, s.len};
        struct slice name = feed_until(&pf, '=');
        if (s.len == 0)
            continue;
        ok = ++seen <= QUERY_MAX;
        if (!ok || (presigned && name.len == 15 && memcmp(name.p, "X-Amz-Signature", 15) == 0))
            continue;
        bool name_ok = recode(&v[n].name, name.p, name.len);
        ok = recode(&v[n].value, (const char *)pf.p, pf.left) && name_ok;
        n++;
    }
    qsort(v, n, sizeof *v, by_name_and_value);
    for (size_t i = 0; i < n; i++) {
        BIDE_ASSERT(buf_printf(b, "%s%s=%s", i > 0 ? "&" : "", v[i].name.data, v[i].value.data) == 0, "no room");
        buf_done(&v[i].name);
        buf_done(&v[i].value);
    }
    return ok;
}

static void plain_value(struct buf *b, const char *p, size_t n)
{
    bool begun = false, gap = false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == ' ' || p[i] == '\t') {
            gap = begun;
            continue;
        }
        if (gap)
            put(b, " ", 1);
        put(b, &p[i], 1);
        begun = true;
        gap = false;
    }
}

static void plain_headers(struct buf *b, const struct sigv4_req *rq, const char *names)
{
    struct feed f = {(const uint8_t *)names, strlen(names)};
    while (f.left > 0) {
        struct slice name = feed_until(&f, ';');
        size_t found = 0;
        put(b, name.p, name.len);
        put(b, ":", 1);
        for (size_t i = 0; i < rq->n_headers; i++) {
            const struct sigv4_header *h = &rq->headers[i];
            if (h->name.len != name.len || strncasecmp(h->name.p, name.p, name.len) != 0)
                continue;
            if (found++ > 0)
                put(b, ",", 1);
            plain_value(b, h->value.p, h->value.len);
        }
        put(b, "\n", 1);
    }
}

static bool plain_canonical(const struct sigv4 *s, const struct sigv4_req *rq, struct buf *b)
{
    BIDE_ASSERT(buf_printf(b, "%s\n", rq->method) == 0, "no room");
    plain_path(b, rq->path);
    put(b, "\n", 1);
    bool ok = plain_query(b, rq->query, s->form == SIGV4_PRESIGNED);
    put(b, "\n", 1);
    plain_headers(b, rq, s->signed_headers);
    BIDE_ASSERT(buf_printf(b, "\n%s\n", s->signed_headers) == 0, "no room");
    return ok;
}

static void step(uint8_t key[SHA256_LEN], size_t key_len, const void *first_key, const char *text)
{
    uint8_t out[SHA256_LEN];
    hmac_sha256(first_key != NULL ? first_key : key, key_len, text, strlen(text), out);
    memcpy(key, out, sizeof out);
}

static void plain_sign(const struct sigv4 *s, const struct buf *canonical, const char *body_hash,
                       uint8_t out[SHA256_LEN])
{
    char first[64], hex[SHA256_HEX_LEN + 1];
    struct buf whole;
    buf_init(&whole, 2 * TEXT_MAX);
    BIDE_ASSERT(buf_printf(&whole, "%s%s", canonical->data, body_hash) == 0, "no room");
    sha256_sum(whole.data, whole.len, out);
    hex_encode(out, SHA256_LEN, hex);
    buf_clear(&whole);
    BIDE_ASSERT(buf_printf(&whole, "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n%s", s->amz_date, s->date, s->region,
                           s->service, hex) == 0,
                "no room");
    (void)snprintf(first, sizeof first, "AWS4%s", secret);
    step(out, strlen(first), first, s->date);
    step(out, SHA256_LEN, NULL, s->region);
    step(out, SHA256_LEN, NULL, s->service);
    step(out, SHA256_LEN, NULL, "aws4_request");
    step(out, SHA256_LEN, NULL, whole.data);
    buf_done(&whole);
}

/* --- the checks --------------------------------------------------------------------------------------------------- */

static void check_refusal(int rc, const struct sigv4_fail *fail)
{
    BIDE_ASSERT(rc == 0 || (rc == ERR_DENIED && fail->type != NULL && fail->message[0] != '\0'),
                "refused with %s and no words", err_name(rc));
}

static void check_signature(struct sigv4 *s, const struct buf *canonical, struct slice body)
{
    struct sigv4_fail fail = {0};
    uint8_t sum[SHA256_LEN], key[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1];
    sha256_sum(body.p, body.len, sum);
    hex_encode(sum, sizeof sum, hex);
    sigv4_key(secret, s->date, s->region, s->service, key);
    plain_sign(s, canonical, hex, s->signature);
    bool body_is_it = s->payload_hash[0] == '\0' || strcmp(hex, s->payload_hash) == 0;
    int rc = sigv4_verify(s, key, canonical, sum, &fail);
    check_refusal(rc, &fail);
    BIDE_ASSERT((rc == 0) == body_is_it, "signed by the second implementation: %s", fail.message);
    for (size_t i = 0; i < SHA256_LEN; i += 5) {
        s->signature[i] ^= (uint8_t)(1 << i % 8);
        BIDE_ASSERT(sigv4_verify(s, key, canonical, sum, &fail) == ERR_DENIED, "another signature is taken");
        s->signature[i] ^= (uint8_t)(1 << i % 8);
    }
    sum[0] ^= 1;
    BIDE_ASSERT(sigv4_verify(s, key, canonical, sum, &fail) == ERR_DENIED, "another body is taken");
}

static void check_request(struct request *x)
{
    struct sigv4 s;
    struct sigv4_fail fail = {0};
    struct buf canonical, want;
    int rc = sigv4_read(&s, &x->rq, &fail);
    check_refusal(rc, &fail);
    if (rc < 0)
        return;
    if (s.form == SIGV4_NONE) {
        /* The rest is looked at all the same: what is signed does not depend on where the signature stands. */
        s.form = x->rq.n_headers % 2 != 0 ? SIGV4_HEADER : SIGV4_PRESIGNED;
        (void)snprintf(s.signed_headers, sizeof s.signed_headers, "host;x-amz-date");
        sigv4_now(&s, now_ms, "us-east-1", "lambda");
    }
    rc = sigv4_check_scope(&s, now_ms, "us-east-1", "lambda", &fail);
    check_refusal(rc, &fail);
    if (rc == 0)
        BIDE_ASSERT(strcmp(s.region, "us-east-1") == 0 && s.at_ms <= now_ms + SIGV4_SKEW_MS &&
                        s.at_ms >= now_ms - SIGV4_SKEW_MS - 1000 * s.expires_s,
                    "a signature of another time or place is taken");
    buf_init(&canonical, TEXT_MAX);
    buf_init(&want, TEXT_MAX);
    rc = sigv4_canonical(&s, &x->rq, &canonical);
    bool ok = plain_canonical(&s, &x->rq, &want);
    BIDE_ASSERT((rc == 0) == ok, "canonical request: %s", err_name(rc));
    if (ok) {
        BIDE_ASSERT(canonical.len == want.len && memcmp(canonical.data, want.data, want.len) == 0,
                    "canonical request:\n%s\nby the second implementation:\n%s", canonical.data, want.data);
        check_signature(&s, &canonical, x->body);
    }
    buf_done(&canonical);
    buf_done(&want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request *x = calloc(1, sizeof *x);
    BIDE_ASSERT(x != NULL, "out of memory");
    if (size <= PIECES_MAX * 8 && take_request(x, data, size))
        check_request(x);
    request_done(x);
    free(x);
    return 0;
}
