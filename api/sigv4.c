#include "sigv4.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/num.h"
#include "uri.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

BIDE_PRINTF(3, 4) static int refuse(struct sigv4_fail *f, const char *type, const char *fmt, ...)
{
    va_list ap;
    f->type = type;
    va_start(ap, fmt);
    (void)vsnprintf(f->message, sizeof(f->message), fmt, ap);
    va_end(ap);
    return ERR_DENIED;
}

static int incomplete(struct sigv4_fail *f, const char *what)
{
    return refuse(f, "IncompleteSignatureException", "%s", what);
}

int sigv4_fail_missing(struct sigv4_fail *f)
{
    return refuse(f, "MissingAuthenticationTokenException", "Missing Authentication Token");
}

int sigv4_fail_unknown_key(struct sigv4_fail *f)
{
    return refuse(f, "UnrecognizedClientException", "The security token included in the request is invalid.");
}

/* --- small readers ----- */

static bool slice_is(struct slice s, const char *text)
{
    return s.len == strlen(text) && strncasecmp(s.p, text, s.len) == 0;
}

static const struct sigv4_header *find_header(const struct sigv4_req *req, const char *name)
{
    for (size_t i = 0; i < req->n_headers; i++)
        if (slice_is(req->headers[i].name, name))
            return &req->headers[i];
    return NULL;
}

static int copy(char *out, size_t cap, const char *p, size_t n)
{
    if (n >= cap)
        return ERR_TOOBIG;
    memcpy(out, p, n);
    out[n] = '\0';
    return 0;
}

static int64_t tm_to_ms(struct tm *tm)
{
    return (int64_t)timegm(tm) * 1000;
}

/* "YYYYMMDDThhmmssZ", digits only where digits belong. */
static int parse_amz_date(const char *p, size_t n, int64_t *ret_ms)
{
    struct tm tm = {0};
    char text[17];
    if (n != 16 || p[8] != 'T' || p[15] != 'Z')
        return ERR_INVALID;
    memcpy(text, p, n);
    text[16] = '\0';
    if (strspn(text, "0123456789") != 8 || strspn(text + 9, "0123456789") != 6)
        return ERR_INVALID;
    const char *end = strptime(text, "%Y%m%dT%H%M%SZ", &tm);
    if (!end || *end)
        return ERR_INVALID;
    *ret_ms = tm_to_ms(&tm);
    return 0;
}

static void format_amz_date(int64_t ms, char out[17])
{
    struct tm tm;
    time_t t = (time_t)(ms / 1000);
    gmtime_r(&t, &tm);
    (void)strftime(out, 17, "%Y%m%dT%H%M%SZ", &tm);
}

/* A Date header: the same form, or HTTP's. */
static int parse_http_date(const char *p, size_t n, int64_t *ret_ms)
{
    struct tm tm = {0};
    char text[40];
    if (parse_amz_date(p, n, ret_ms) == 0)
        return 0;
    if (copy(text, sizeof(text), p, n) < 0)
        return ERR_INVALID;
    const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (!end || *end)
        return ERR_INVALID;
    *ret_ms = tm_to_ms(&tm);
    return 0;
}

/* --- the two forms ----- */

/* KEY/YYYYMMDD/REGION/SERVICE/aws4_request */
static int read_credential(struct sigv4 *s, const char *p, size_t n, struct sigv4_fail *f)
{
    static const char why[] = "Credential must have exactly 5 slash-delimited elements, e.g. "
                              "keyid/date/region/service/term.";
    const char *part[5];
    size_t len[5], count = 0;
    const char *end = p + n;
    while (count < 5) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        part[count] = p;
        len[count++] = (size_t)((slash ? slash : end) - p);
        if (!slash)
            break;
        p = slash + 1;
        if (count == 5)
            return incomplete(f, why);
    }
    if (count != 5)
        return incomplete(f, why);
    if (len[1] != 8 || copy(s->date, sizeof(s->date), part[1], 8) < 0 || strspn(s->date, "0123456789") != 8 ||
        len[4] != strlen("aws4_request") || memcmp(part[4], "aws4_request", len[4]) != 0 ||
        copy(s->key_id, sizeof(s->key_id), part[0], len[0]) < 0 ||
        copy(s->region, sizeof(s->region), part[2], len[2]) < 0 ||
        copy(s->service, sizeof(s->service), part[3], len[3]) < 0)
        return incomplete(f, why);
    return 0;
}

static int read_signature(struct sigv4 *s, const char *p, size_t n, struct sigv4_fail *f)
{
    if (n != SHA256_HEX_LEN || hex_decode(p, n, s->signature) < 0)
        return incomplete(f, "Signature must be 64 hexadecimal digits.");
    return 0;
}

static int read_signed_headers(struct sigv4 *s, const char *p, size_t n, struct sigv4_fail *f)
{
    if (n == 0 || copy(s->signed_headers, sizeof(s->signed_headers), p, n) < 0)
        return incomplete(f, "SignedHeaders is empty or too long.");
    for (size_t i = 0; i < n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            return incomplete(f, "SignedHeaders must be in lower case.");
    return 0;
}

static bool is_signed(const struct sigv4 *s, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = s->signed_headers; *p;) {
        size_t len = strcspn(p, ";");
        if (len == n && memcmp(p, name, n) == 0)
            return true;
        p += len + (p[len] == ';');
    }
    return false;
}

/* "Credential=..., SignedHeaders=..., Signature=..." in any order, blanks optional. */
static int read_authorization(struct sigv4 *s, const char *p, size_t n, struct sigv4_fail *f)
{
    unsigned seen = 0;
    const char *end = p + n;
    while (p < end) {
        while (p < end && (*p == ' ' || *p == ',' || *p == '\t'))
            p++;
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma ? comma : end;
        const char *eq = memchr(p, '=', (size_t)(stop - p));
        if (p == end)
            break;
        if (!eq)
            return incomplete(f, "Authorization header is not a list of key=value pairs.");
        while (stop > eq + 1 && (stop[-1] == ' ' || stop[-1] == '\t'))
            stop--;
        struct slice key = {p, (size_t)(eq - p)};
        size_t len = (size_t)(stop - eq - 1);
        int r = 0;
        unsigned bit = 0;
        if (slice_is(key, "Credential")) {
            r = read_credential(s, eq + 1, len, f);
            bit = 1;
        } else if (slice_is(key, "SignedHeaders")) {
            r = read_signed_headers(s, eq + 1, len, f);
            bit = 2;
        } else if (slice_is(key, "Signature")) {
            r = read_signature(s, eq + 1, len, f);
            bit = 4;
        }
        if (r < 0)
            return r;
        if (seen & bit)
            return incomplete(f, "Authorization header names a parameter twice.");
        seen |= bit;
        p = comma ? comma + 1 : end;
    }
    if (seen == 7)
        return 0;
    return refuse(f, "IncompleteSignatureException", "%s%s%s",
                  seen & 1 ? ""
                           : "Authorization header requires "
                             "'Credential' parameter. ",
                  seen & 4 ? "" : "Authorization header requires 'Signature' parameter. ",
                  seen & 2 ? "" : "Authorization header requires 'SignedHeaders' parameter. ");
}

static int read_header_form(struct sigv4 *s, const struct sigv4_req *req, struct slice auth, struct sigv4_fail *f)
{
    size_t skip = strlen(ALGORITHM);
    if (auth.len <= skip || memcmp(auth.p, ALGORITHM " ", skip + 1) != 0)
        return incomplete(f, "Authorization header must be of algorithm '" ALGORITHM "'.");
    s->form = SIGV4_HEADER;
    int r = read_authorization(s, (const char *)auth.p + skip + 1, auth.len - skip - 1, f);
    if (r < 0)
        return r;
    const struct sigv4_header *date = find_header(req, "x-amz-date");
    if (date)
        r = parse_amz_date(date->value.p, date->value.len, &s->at_ms);
    else if ((date = find_header(req, "date")) != NULL)
        r = parse_http_date(date->value.p, date->value.len, &s->at_ms);
    else
        return incomplete(f, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.");
    if (r < 0)
        return incomplete(f, "Date must be in ISO-8601 'basic format'.");
    s->has_token = find_header(req, "x-amz-security-token") != NULL;
    return 0;
}

static int read_presigned(struct sigv4 *s, const struct sigv4_req *req, struct sigv4_fail *f)
{
    char v[SIGV4_SIGNED_MAX + 1];
    uint64_t expires;
    const char *q = req->query.p;
    size_t n = req->query.len;
    s->form = SIGV4_PRESIGNED;
    if (uri_query_get(q, n, "X-Amz-Algorithm", v, sizeof(v)) < 0 || strcmp(v, ALGORITHM) != 0)
        return incomplete(f, "X-Amz-Algorithm must be '" ALGORITHM "'.");
    if (uri_query_get(q, n, "X-Amz-Credential", v, sizeof(v)) < 0)
        return incomplete(f, "The query requires 'X-Amz-Credential'.");
    int r = read_credential(s, v, strlen(v), f);
    if (r < 0)
        return r;
    if (uri_query_get(q, n, "X-Amz-SignedHeaders", v, sizeof(v)) < 0)
        return incomplete(f, "The query requires 'X-Amz-SignedHeaders'.");
    r = read_signed_headers(s, v, strlen(v), f);
    if (r < 0)
        return r;
    if (uri_query_get(q, n, "X-Amz-Signature", v, sizeof(v)) < 0)
        return incomplete(f, "The query requires 'X-Amz-Signature'.");
    r = read_signature(s, v, strlen(v), f);
    if (r < 0)
        return r;
    if (uri_query_get(q, n, "X-Amz-Date", v, sizeof(v)) < 0 || parse_amz_date(v, strlen(v), &s->at_ms) < 0)
        return incomplete(f, "X-Amz-Date must be in ISO-8601 'basic format'.");
    if (uri_query_get(q, n, "X-Amz-Expires", v, sizeof(v)) < 0 || num_parse_u64(v, strlen(v), &expires) < 0 ||
        expires < 1 || expires > SIGV4_EXPIRES_MAX_S)
        return incomplete(f, "X-Amz-Expires must be between 1 and 604800 seconds.");
    s->expires_s = (int64_t)expires;
    s->has_token = uri_query_get(q, n, "X-Amz-Security-Token", v, sizeof(v)) != ERR_NOTFOUND;
    return 0;
}

int sigv4_read(struct sigv4 *s, const struct sigv4_req *req, struct sigv4_fail *f)
{
    char v[8];
    memset(s, 0, sizeof(*s));
    const struct sigv4_header *auth = find_header(req, "authorization");
    int r;
    if (auth)
        r = read_header_form(s, req, auth->value, f);
    else if (uri_query_get(req->query.p, req->query.len, "X-Amz-Signature", v, sizeof(v)) != ERR_NOTFOUND)
        r = read_presigned(s, req, f);
    else
        return 0;
    if (r < 0)
        return r;
    format_amz_date(s->at_ms, s->amz_date);
    if (!is_signed(s, "host"))
        return incomplete(f, "'Host' must be a 'SignedHeader' in the AWS Authorization.");
    const struct sigv4_header *hash = find_header(req, "x-amz-content-sha256");
    if (!hash || !is_signed(s, "x-amz-content-sha256"))
        return 0;
    /* The literals that stand for an unsigned or streamed body are S3's. */
    if (hash->value.len != SHA256_HEX_LEN)
        return refuse(f, "InvalidSignatureException", "X-Amz-Content-Sha256 must be the SHA-256 of the body.");
    memcpy(s->payload_hash, hash->value.p, SHA256_HEX_LEN);
    return 0;
}

int sigv4_check_scope(const struct sigv4 *s, int64_t now_ms, const char *region, const char *service,
                      struct sigv4_fail *f)
{
    static const char type[] = "InvalidSignatureException";
    char edge[17], now[17], at[17];
    if (strcmp(s->region, region) != 0)
        return refuse(f, type, "Credential should be scoped to a valid region. This server's region is '%s'.", region);
    if (strcmp(s->service, service) != 0)
        return refuse(f, type, "Credential should be scoped to correct service: '%s'.", service);
    if (strncmp(s->date, s->amz_date, 8) != 0)
        return refuse(f, type,
                      "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
                      "HTTP: '%s' != '%.8s', from '%s'.",
                      s->date, s->amz_date, s->amz_date);
    format_amz_date(now_ms, now);
    if (s->at_ms > now_ms + SIGV4_SKEW_MS) {
        format_amz_date(now_ms + SIGV4_SKEW_MS, edge);
        return refuse(f, type, "Signature not yet current: %s is still later than %s (%s + 5 min.)", s->amz_date, edge,
                      now);
    }
    if (s->form == SIGV4_PRESIGNED) {
        int64_t until = s->at_ms + s->expires_s * 1000;
        format_amz_date(until, at);
        return until >= now_ms ? 0 : refuse(f, type, "Signature expired: %s is now earlier than %s", at, now);
    }
    if (s->at_ms < now_ms - SIGV4_SKEW_MS) {
        format_amz_date(now_ms - SIGV4_SKEW_MS, edge);
        return refuse(f, type, "Signature expired: %s is now earlier than %s (%s - 5 min.)", s->amz_date, edge, now);
    }
    return 0;
}

/* --- the signature ----- */

void sigv4_now(struct sigv4 *s, int64_t now_ms, const char *region, const char *service)
{
    s->at_ms = now_ms;
    format_amz_date(now_ms, s->amz_date);
    memcpy(s->date, s->amz_date, 8);
    s->date[8] = '\0';
    (void)snprintf(s->region, sizeof(s->region), "%s", region);
    (void)snprintf(s->service, sizeof(s->service), "%s", service);
}

void sigv4_key(const char *secret, const char *date, const char *region, const char *service, uint8_t out[SHA256_LEN])
{
    char first[4 + 128 + 1];
    uint8_t k[SHA256_LEN];
    int n = snprintf(first, sizeof(first), "AWS4%s", secret);
    BIDE_ASSERT(n > 0 && (size_t)n < sizeof(first), "secret of %d bytes", n);
    hmac_sha256(first, (size_t)n, date, strlen(date), k);
    hmac_sha256(k, sizeof(k), region, strlen(region), out);
    hmac_sha256(out, SHA256_LEN, service, strlen(service), k);
    hmac_sha256(k, sizeof(k), "aws4_request", strlen("aws4_request"), out);
    explicit_bzero(first, sizeof(first));
}

void sigv4_sign(const struct sigv4 *s, const uint8_t key[SHA256_LEN], const struct buf *canonical,
                const char *payload_hash, uint8_t out[SHA256_LEN])
{
    uint8_t digest[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1], text[512];
    struct buf whole;
    buf_init(&whole, canonical->len + SHA256_HEX_LEN);
    int r = buf_append(&whole, canonical->data, canonical->len);
    if (r == 0)
        r = buf_puts(&whole, payload_hash);
    BIDE_ASSERT(r == 0, "canonical request of %zu bytes: %s", canonical->len, err_name(r));
    sha256_sum(whole.data, whole.len, digest);
    buf_done(&whole);
    hex_encode(digest, sizeof(digest), hex);
    int n = snprintf(text, sizeof(text), ALGORITHM "\n%s\n%s/%s/%s/aws4_request\n%s", s->amz_date, s->date, s->region,
                     s->service, hex);
    BIDE_ASSERT(n > 0 && (size_t)n < sizeof(text), "string to sign of %d bytes", n);
    hmac_sha256(key, SHA256_LEN, text, (size_t)n, out);
}

int sigv4_verify(const struct sigv4 *s, const uint8_t key[SHA256_LEN], const struct buf *canonical,
                 const uint8_t body[SHA256_LEN], struct sigv4_fail *f)
{
    uint8_t want[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1];
    hex_encode(body, SHA256_LEN, hex);
    bool same_body = !s->payload_hash[0] || strcmp(hex, s->payload_hash) == 0;
    sigv4_sign(s, key, canonical, hex, want);
    if (same_body && ct_equal(want, s->signature, SHA256_LEN))
        return 0;
    return refuse(
        f, "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
        "Access Key and signing method. Consult the service documentation for details.");
}
