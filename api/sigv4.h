/* AWS Signature Version 4, the verifying side (Lambda: section 12). Pure: bytes, time and the secret are passed in.
 *
 *   sigv4_read(&sig, &req, &fail);              // which form, and its parts; before the body is there
 *   sigv4_check_scope(&sig, now, region, ...);  // region, service, clock
 *   sigv4_canonical(&sig, &req, &text);         // the canonical request up to the payload's hash
 *   sigv4_verify(&sig, key, &text, body_hash);  // once the body is there
 *
 * Every failure fills a struct sigv4_fail with what the client is told.
 */
#ifndef API_SIGV4_H
#define API_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"

enum { SIGV4_HEADERS_MAX = 128, SIGV4_SIGNED_MAX = 2048, SIGV4_SKEW_MS = 5 * 60 * 1000, SIGV4_EXPIRES_MAX_S = 604800 };

struct sigv4_header {
    struct slice name; /* any case */
    struct slice value;
};

/* A request as received; borrowed. */
struct sigv4_req {
    const char *method;
    struct slice path;  /* as sent */
    struct slice query; /* as sent, without '?' */
    const struct sigv4_header *headers;
    size_t n_headers;
};

enum sigv4_form { SIGV4_NONE /* unsigned */, SIGV4_HEADER, SIGV4_PRESIGNED };

/* What a request says about its signature. A plain value: nothing points into the request. */
struct sigv4 {
    enum sigv4_form form;
    char key_id[129];
    char date[9]; /* YYYYMMDD of the scope */
    char region[65];
    char service[65];
    char amz_date[17]; /* YYYYMMDDThhmmssZ */
    int64_t at_ms;
    int64_t expires_s;                         /* presigned */
    char signed_headers[SIGV4_SIGNED_MAX + 1]; /* "host;x-amz-date" */
    uint8_t signature[SHA256_LEN];
    bool has_token;                        /* X-Amz-Security-Token */
    char payload_hash[SHA256_HEX_LEN + 1]; /* X-Amz-Content-Sha256 when it is signed, else "" */
};

struct sigv4_fail {
    const char *type; /* "InvalidSignatureException" */
    char message[512];
};

/* 0, or ERR_DENIED with *fail filled. An unsigned request is SIGV4_NONE, not a failure. */
int sigv4_read(struct sigv4 *ret, const struct sigv4_req *req, struct sigv4_fail *fail) BIDE_MUST_USE;

/* now_ms: real time. */
int sigv4_check_scope(const struct sigv4 *s, int64_t now_ms, const char *region, const char *service,
                      struct sigv4_fail *fail) BIDE_MUST_USE;

/* The canonical request without its last line, the payload's hash. ERR_NOMEM, ERR_TOOBIG. */
int sigv4_canonical(const struct sigv4 *s, const struct sigv4_req *req, struct buf *out) BIDE_MUST_USE;

/* Fill in a scope and time of ours, to sign with. */
void sigv4_now(struct sigv4 *s, int64_t now_ms, const char *region, const char *service);

void sigv4_key(const char *secret, const char *date, const char *region, const char *service, uint8_t out[SHA256_LEN]);

/* The signature of a canonical request (as made by sigv4_canonical) with this payload. */
void sigv4_sign(const struct sigv4 *s, const uint8_t key[SHA256_LEN], const struct buf *canonical,
                const char *payload_hash, uint8_t out[SHA256_LEN]);

/* body: SHA-256 of the body received. */
int sigv4_verify(const struct sigv4 *s, const uint8_t key[SHA256_LEN], const struct buf *canonical,
                 const uint8_t body[SHA256_LEN], struct sigv4_fail *fail) BIDE_MUST_USE;

/* What a client without, or with an unknown, key is told. */
int sigv4_fail_missing(struct sigv4_fail *fail);
int sigv4_fail_unknown_key(struct sigv4_fail *fail);

#endif
