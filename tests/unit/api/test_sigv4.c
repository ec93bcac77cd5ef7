/* Signatures: what botocore 1.43 signs is accepted as it is, what differs by a bit is not; every row of the error
 * table. */
#include "sigv4.h"
#include "testutil.h"

#define KEY_ID              "AKIDEXAMPLE"
#define SECRET              "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define SCOPE               KEY_ID "/20150830/us-east-1/lambda/aws4_request"
#define SIG                 "ee76d69529547183057a9f50596e53084c0c363472891f181fbb2cef2febb06a"
#define AUTH(signed_, sig_) "AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=" signed_ ", Signature=" sig_

static const int64_t NOW_MS = 1440938160000; /* 2015-08-30T12:36:00Z */

enum { HEADERS_MAX = 12 };

struct request {
    const char *method, *path, *query, *body;
    const char *headers[HEADERS_MAX]; /* name, value, ... */
};

static struct slice text(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static void lay_out(const struct request *r, struct sigv4_header *h, struct sigv4_req *out)
{
    size_t n = 0;
    for (; 2 * n + 1 < HEADERS_MAX && r->headers[2 * n]; n++)
        h[n] = (struct sigv4_header){text(r->headers[2 * n]), text(r->headers[2 * n + 1])};
    *out = (struct sigv4_req){r->method, text(r->path), text(r->query ? r->query : ""), h, n};
}

/* All steps. 0, or ERR_DENIED with fail. */
static int verify_at(const struct request *r, int64_t now_ms, struct sigv4_fail *fail)
{
    struct sigv4_header h[HEADERS_MAX];
    struct sigv4_req req;
    struct sigv4 s;
    struct buf canonical;
    uint8_t key[SHA256_LEN], body[SHA256_LEN];
    lay_out(r, h, &req);
    int rc = sigv4_read(&s, &req, fail);
    if (rc < 0)
        return rc;
    if (s.form == SIGV4_NONE)
        return sigv4_fail_missing(fail);
    if (strcmp(s.key_id, KEY_ID) != 0)
        return sigv4_fail_unknown_key(fail);
    rc = sigv4_check_scope(&s, now_ms, "us-east-1", "lambda", fail);
    if (rc < 0)
        return rc;
    buf_init(&canonical, 65536);
    assert_rc(sigv4_canonical(&s, &req, &canonical), 0);
    sigv4_key(SECRET, s.date, s.region, s.service, key);
    sha256_sum(r->body ? r->body : "", r->body ? strlen(r->body) : 0, body);
    rc = sigv4_verify(&s, key, &canonical, body, fail);
    buf_done(&canonical);
    return rc;
}

static const struct request vectors[] = {
    {"GET",
     "/2015-03-31/functions/",
     NULL,
     NULL,
     {"Host", "127.0.0.1:9310", "X-Amz-Date", "20150830T123600Z", "Authorization", AUTH("host;x-amz-date", SIG)}},
    /* A body, and headers that are not signed. */
    {"POST",
     "/2015-03-31/functions/hello/invocations",
     NULL,
     "{\"a\":1}",
     {"host", "127.0.0.1:9310", "User-Agent", "x", "X-Amz-Invocation-Type", "Event", "x-amz-date", "20150830T123600Z",
      "authorization",
      AUTH("host;x-amz-date;x-amz-invocation-type",
           "b3a845b5bfa153bf322eafdaec434cfa48d7442bc73596c580047bb2360d8028")}},
    /* Escapes in the path are escaped once more. */
    {"GET",
     "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello/configuration",
     "Qualifier=%24LATEST",
     NULL,
     {"Host", "127.0.0.1:9310", "X-Amz-Date", "20150830T123600Z", "Authorization",
      AUTH("host;x-amz-date", "af0a23ece28caa8119acba0c552ea7b267e74a60dbfba2f3ac88b5ca7bb4c2ba")}},
    /* The query is sorted by name, then by value. */
    {"GET",
     "/2015-03-31/functions/",
     "Marker=b&MaxItems=2&FunctionVersion=ALL&Marker=a%20b",
     NULL,
     {"Host", "127.0.0.1:9310", "X-Amz-Date", "20150830T123600Z", "Authorization",
      AUTH("host;x-amz-date", "54990024609faf1ffd4d8cb11b0cadaaec961dc0d43fa552b6ecfd3c0ade1372")}},
    /* Dot and empty segments go; runs of blanks in a value are one. */
    {"GET",
     "/a/./b/../c//d/",
     NULL,
     NULL,
     {"Host", "127.0.0.1:9310", "X-Amz-Meta", "  a   b  ", "X-Amz-Date", "20150830T123600Z", "Authorization",
      AUTH("host;x-amz-date;x-amz-meta", "c85917edd68c0d96b9433f07bc70561c581d6ad848f4980edad4a97d169aff5f")}},
    {"GET",
     "/bide/v1/code/abc",
     "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Flambda%2Faws4_request"
     "&X-Amz-Date=20150830T123600Z&X-Amz-Expires=600&X-Amz-SignedHeaders=host"
     "&X-Amz-Signature=28c9bfa1296fea9efc5404295a5b98b28bfe3b6e35c5cbeba94d42977079583d",
     NULL,
     {"Host", "127.0.0.1:9310"}},
    {"GET",
     "/2015-03-31/functions/",
     "MaxItems=2&X-Amz-Algorithm=AWS4-HMAC-SHA256"
     "&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Flambda%2Faws4_request&X-Amz-Date=20150830T123600Z"
     "&X-Amz-Expires=600&X-Amz-SignedHeaders=host"
     "&X-Amz-Signature=eb7ab8d34c2d8c364b56a28970bc48808f656c907d5e4cd468f94757aa1cc318",
     NULL,
     {"Host", "127.0.0.1:9310"}},
};

enum { N_VECTORS = sizeof(vectors) / sizeof(vectors[0]) };

static void test_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_VECTORS; i++) {
        struct sigv4_fail fail = {0};
        if (verify_at(&vectors[i], NOW_MS, &fail) != 0)
            fail_msg("vector %zu: %s %s", i, fail.type, fail.message);
    }
}

/* Any change of what is signed breaks it. */
static void test_tampered(void **state)
{
    (void)state;
    struct sigv4_fail fail;
    for (size_t i = 0; i < N_VECTORS; i++) {
        struct request r = vectors[i];
        r.method = "PUT";
        assert_rc(verify_at(&r, NOW_MS, &fail), ERR_DENIED);
        assert_string_equal(fail.type, "InvalidSignatureException");
        r = vectors[i];
        r.path = "/2015-03-31/functions/other";
        assert_rc(verify_at(&r, NOW_MS, &fail), ERR_DENIED);
        r = vectors[i];
        r.body = "{\"a\":2}";
        assert_rc(verify_at(&r, NOW_MS, &fail), ERR_DENIED);
        r = vectors[i];
        r.headers[1] = "evil:9310";
        assert_rc(verify_at(&r, NOW_MS, &fail), ERR_DENIED);
    }
    struct request r = vectors[1];
    r.headers[5] = "RequestResponse";
    assert_rc(verify_at(&r, NOW_MS, &fail), ERR_DENIED);
    assert_string_equal(fail.message,
                        "The request signature we calculated does not match the signature you provided. Check your AWS "
                        "Secret Access Key and signing method. Consult the service documentation for details.");
}

static void test_spelling(void **state)
{
    (void)state;
    struct sigv4_fail fail;
    struct request r = vectors[0];
    r.headers[5] = "AWS4-HMAC-SHA256 Signature=" SIG ","
                   "SignedHeaders=host;x-amz-date,Credential=" SCOPE; /* any order, no blanks */
    assert_rc(verify_at(&r, NOW_MS, &fail), 0);
    r = vectors[2];
    r.query = "Qualifier=$LATEST"; /* a literal byte and its escape sign the same */
    assert_rc(verify_at(&r, NOW_MS, &fail), 0);
}

struct refusal {
    const char *auth, *date, *type, *part;
};

static void test_refusals(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {NULL, "20150830T123600Z", "MissingAuthenticationTokenException", "Missing Authentication Token"},
        {"Basic dXNlcjpwYXNz", "20150830T123600Z", "IncompleteSignatureException", "algorithm"},
        {"AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host", "20150830T123600Z",
         "IncompleteSignatureException", "requires 'Signature'"},
        {"AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00", "20150830T123600Z",
         "IncompleteSignatureException", "5 slash-delimited"},
        {"AWS4-HMAC-SHA256 nonsense", "20150830T123600Z", "IncompleteSignatureException", "key=value"},
        {"AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host, Signature=zz", "20150830T123600Z",
         "IncompleteSignatureException", "64 hexadecimal"},
        {AUTH("x-amz-date", SIG), "20150830T123600Z", "IncompleteSignatureException", "'Host'"},
        {AUTH("host", SIG), NULL, "IncompleteSignatureException", "X-Amz-Date"},
        {AUTH("host", SIG), "2015-08-30", "IncompleteSignatureException", "ISO-8601"},
        {AUTH("host", SIG), "20150830T123059Z", "InvalidSignatureException",
         "Signature expired: 20150830T123059Z is now earlier than 20150830T123100Z (20150830T123600Z - 5 min.)"},
        {AUTH("host", SIG), "20150830T124101Z", "InvalidSignatureException",
         "Signature not yet current: 20150830T124101Z is still later than 20150830T124100Z (20150830T123600Z + 5 "
         "min.)"},
        {AUTH("host", SIG), "20150829T123600Z", "InvalidSignatureException", "Credential scope"},
        {"AWS4-HMAC-SHA256 Credential=" KEY_ID "/20150830/eu-west-1/lambda/aws4_request, SignedHeaders=host, "
         "Signature=" SIG,
         "20150830T123600Z", "InvalidSignatureException", "valid region"},
        {"AWS4-HMAC-SHA256 Credential=" KEY_ID "/20150830/us-east-1/s3/aws4_request, SignedHeaders=host, "
         "Signature=" SIG,
         "20150830T123600Z", "InvalidSignatureException", "correct service: 'lambda'"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sigv4_fail fail = {0};
        struct request r = {"GET", "/", NULL, NULL, {"Host", "h"}};
        size_t n = 2;
        if (rows[i].auth) {
            r.headers[n++] = "Authorization";
            r.headers[n++] = rows[i].auth;
        }
        if (rows[i].date) {
            r.headers[n++] = "X-Amz-Date";
            r.headers[n++] = rows[i].date;
        }
        assert_rc(verify_at(&r, NOW_MS, &fail), ERR_DENIED);
        assert_string_equal(fail.type, rows[i].type);
        if (!strstr(fail.message, rows[i].part))
            fail_msg("row %zu: \"%s\" does not say \"%s\"", i, fail.message, rows[i].part);
    }
}

static void test_skew(void **state)
{
    (void)state;
    struct sigv4_fail fail;
    assert_rc(verify_at(&vectors[0], NOW_MS + SIGV4_SKEW_MS, &fail), 0);
    assert_rc(verify_at(&vectors[0], NOW_MS + SIGV4_SKEW_MS + 1000, &fail), ERR_DENIED);
    assert_rc(verify_at(&vectors[0], NOW_MS - SIGV4_SKEW_MS, &fail), 0);
    assert_rc(verify_at(&vectors[0], NOW_MS - SIGV4_SKEW_MS - 1000, &fail), ERR_DENIED);
    /* A presigned request lives as long as it says. */
    assert_rc(verify_at(&vectors[5], NOW_MS + 600 * 1000, &fail), 0);
    assert_rc(verify_at(&vectors[5], NOW_MS + 601 * 1000, &fail), ERR_DENIED);
    assert_non_null(strstr(fail.message, "Signature expired"));
}

static void test_content_hash(void **state)
{
    (void)state;
    struct sigv4_fail fail;
    struct request r = vectors[0];
    /* Unsigned, the header says nothing. */
    r.headers[6] = "X-Amz-Content-Sha256";
    r.headers[7] = "UNSIGNED-PAYLOAD";
    assert_rc(verify_at(&r, NOW_MS, &fail), 0);
    r.headers[5] = AUTH("host;x-amz-content-sha256;x-amz-date", SIG);
    assert_rc(verify_at(&r, NOW_MS, &fail), ERR_DENIED);
    assert_non_null(strstr(fail.message, "SHA-256 of the body"));
}

/* Never reads outside, whatever the header holds: every cut and every changed byte of a good one. */
static void test_garbage(void **state)
{
    (void)state;
    struct sigv4_fail fail;
    struct request r = vectors[0];
    char auth[512];
    size_t n = strlen(vectors[0].headers[5]);
    r.headers[5] = auth;
    for (size_t len = 0; len < n; len++) {
        memcpy(auth, vectors[0].headers[5], len);
        auth[len] = '\0';
        assert_rc(verify_at(&r, NOW_MS, &fail), ERR_DENIED);
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(auth, vectors[0].headers[5], n + 1);
        auth[i] = (char)(auth[i] ^ 1);
        assert_rc(verify_at(&r, NOW_MS, &fail), ERR_DENIED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),  cmocka_unit_test(test_tampered), cmocka_unit_test(test_spelling),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_skew),     cmocka_unit_test(test_content_hash),
        cmocka_unit_test(test_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
