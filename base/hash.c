#include "hash.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct sha256 {
    EVP_MD_CTX *ctx;
};

/* Fetching an algorithm walks the library's providers; once is enough. */
static const EVP_MD *algorithm;
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

/* Each thread's digest context for hmac_sha256, freed when the thread ends. */
static pthread_key_t hmac_key;

static void free_context(void *ctx)
{
    EVP_MD_CTX_free(ctx);
}

static void fetch(void)
{
    algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    BIDE_ASSERT(algorithm != NULL, "no SHA-256 in the crypto library");
    BIDE_ASSERT(pthread_key_create(&hmac_key, free_context) == 0, "no thread key left");
}

static const EVP_MD *md(void)
{
    (void)pthread_once(&fetched, fetch);
    return algorithm;
}

int sha256_new(struct sha256 **ret)
{
    struct sha256 *h = calloc(1, sizeof *h);
    if (h != NULL)
        h->ctx = EVP_MD_CTX_new();
    if (h == NULL || h->ctx == NULL || EVP_DigestInit_ex2(h->ctx, md(), NULL) != 1) {
        sha256_free(h);
        return ERR_NOMEM;
    }
    *ret = h;
    return 0;
}

void sha256_update(struct sha256 *h, const void *p, size_t n)
{
    BIDE_ASSERT(EVP_DigestUpdate(h->ctx, p, n) == 1, "digest update");
}

void sha256_final(struct sha256 *h, uint8_t out[SHA256_LEN])
{
    BIDE_ASSERT(EVP_DigestFinal_ex(h->ctx, out, NULL) == 1, "digest end");
}

void sha256_free(struct sha256 *h)
{
    if (h == NULL)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

void sha256_sum(const void *p, size_t n, uint8_t out[SHA256_LEN])
{
    if (EVP_Digest(p, n, out, NULL, md(), NULL) != 1)
        bide_no_memory("digest");
}

static EVP_MD_CTX *hmac_context(void)
{
    (void)md(); /* makes the key */
    EVP_MD_CTX *ctx = pthread_getspecific(hmac_key);
    if (ctx == NULL) {
        ctx = EVP_MD_CTX_new();
        if (ctx == NULL || pthread_setspecific(hmac_key, ctx) != 0)
            bide_no_memory("digest");
    }
    return ctx;
}

/* RFC 2104 on two digests: the library's own HMAC fetches and allocates at every call, and this runs for each request.
 */
void hmac_sha256(const void *key, size_t key_len, const void *p, size_t n, uint8_t out[SHA256_LEN])
{
    enum { BLOCK = 64 };
    uint8_t k[BLOCK] = {0}, pad[BLOCK], inner[SHA256_LEN];
    if (key_len > BLOCK)
        sha256_sum(key, key_len, k);
    else if (key_len > 0)
        memcpy(k, key, key_len);
    EVP_MD_CTX *ctx = hmac_context();
    for (size_t i = 0; i < BLOCK; i++)
        pad[i] = k[i] ^ 0x36;
    BIDE_ASSERT(EVP_DigestInit_ex2(ctx, md(), NULL) == 1 && EVP_DigestUpdate(ctx, pad, BLOCK) == 1 &&
                    EVP_DigestUpdate(ctx, p, n) == 1 && EVP_DigestFinal_ex(ctx, inner, NULL) == 1,
                "hmac, inner");
    for (size_t i = 0; i < BLOCK; i++)
        pad[i] = k[i] ^ 0x5c;
    BIDE_ASSERT(EVP_DigestInit_ex2(ctx, md(), NULL) == 1 && EVP_DigestUpdate(ctx, pad, BLOCK) == 1 &&
                    EVP_DigestUpdate(ctx, inner, SHA256_LEN) == 1 && EVP_DigestFinal_ex(ctx, out, NULL) == 1,
                "hmac, outer");
    OPENSSL_cleanse(k, sizeof k);
    OPENSSL_cleanse(pad, sizeof pad);
}

bool ct_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

void rng_bytes(void *p, size_t n)
{
    uint8_t *at = p;
    while (n > 0) {
        ssize_t k = getrandom(at, n, 0);
        BIDE_ASSERT(k > 0 || errno == EINTR, "the kernel gives no randomness: %s", strerror(errno));
        if (k > 0) {
            at += k;
            n -= (size_t)k;
        }
    }
}

void hex_encode(const void *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[b[i] >> 4];
        out[2 * i + 1] = digits[b[i] & 15];
    }
    out[2 * n] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int hex_decode(const char *text, size_t len, void *out)
{
    uint8_t *b = out;
    if (len % 2 != 0)
        return ERR_INVALID;
    for (size_t i = 0; i < len; i += 2) {
        int hi = hex_value(text[i]), lo = hex_value(text[i + 1]);
        if (hi < 0 || lo < 0)
            return ERR_INVALID;
        b[i / 2] = (uint8_t)(hi << 4 | lo);
    }
    return 0;
}

int base64_encode(const void *p, size_t n, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *b = p;
    int rc = buf_reserve(out, (n + 2) / 3 * 4);
    if (rc < 0)
        return rc;
    char *to = out->data + out->len;
    for (size_t i = 0; i < n; i += 3) {
        size_t have = n - i < 3 ? n - i : 3;
        uint32_t v = (uint32_t)b[i] << 16 | (have > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (have > 2 ? b[i + 2] : 0);
        *to++ = digits[v >> 18 & 63];
        *to++ = digits[v >> 12 & 63];
        *to++ = have > 1 ? digits[v >> 6 & 63] : '=';
        *to++ = have > 2 ? digits[v & 63] : '=';
    }
    out->len = (size_t)(to - out->data);
    *to = '\0';
    return 0;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters, the last pad of them '='. */
static int base64_group(const char *text, int pad, uint8_t *out)
{
    uint32_t v = 0;
    for (int k = 0; k < 4; k++) {
        int d = k >= 4 - pad ? 0 : base64_value(text[k]);
        if (d < 0)
            return ERR_INVALID;
        v = v << 6 | (uint32_t)d;
    }
    /* Bits that padding throws away must be zero, or two texts would mean the same bytes. */
    if ((pad == 1 && (v & 0xff) != 0) || (pad == 2 && (v & 0xffff) != 0))
        return ERR_INVALID;
    for (int k = 0; k < 3 - pad; k++)
        out[k] = (uint8_t)(v >> (16 - 8 * k));
    return 0;
}

int base64_decode(const char *text, size_t len, struct buf *out)
{
    if (len % 4 != 0)
        return ERR_INVALID;
    if (len == 0)
        return 0;
    int pad = text[len - 1] != '=' ? 0 : 1 + (text[len - 2] == '=');
    size_t n = len / 4 * 3 - (size_t)pad;
    int rc = buf_reserve(out, n);
    if (rc < 0)
        return rc;
    uint8_t *to = (uint8_t *)out->data + out->len;
    for (size_t i = 0; i < len && rc == 0; i += 4, to += 3)
        rc = base64_group(text + i, i + 4 == len ? pad : 0, to);
    if (rc == 0)
        out->len += n;
    out->data[out->len] = '\0';
    return rc;
}

/* --- CRC-32C ------------------------------------------------------------------------------------------------------ */

static uint32_t crc_table[256];
static bool crc_hardware;
static pthread_once_t crc_ready = PTHREAD_ONCE_INIT;

static void crc_prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ ((c & 1) != 0 ? 0x82f63b78u : 0);
        crc_table[i] = c;
    }
#if defined(__x86_64__)
    crc_hardware = __builtin_cpu_supports("sse4.2") != 0;
#endif
}

static uint32_t crc_by_table(uint32_t c, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        c = crc_table[(c ^ p[i]) & 0xff] ^ c >> 8;
    return c;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_by_cpu(uint32_t c, const uint8_t *p, size_t n)
{
    uint64_t wide = c;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v;
        memcpy(&v, p, sizeof v);
        wide = __builtin_ia32_crc32di(wide, v);
    }
    c = (uint32_t)wide;
    for (; n > 0; n--, p++)
        c = __builtin_ia32_crc32qi(c, *p);
    return c;
}
#endif

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n)
{
    (void)pthread_once(&crc_ready, crc_prepare);
    return ~crc_by_table(~crc, p, n);
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    (void)pthread_once(&crc_ready, crc_prepare);
#if defined(__x86_64__)
    if (crc_hardware)
        return ~crc_by_cpu(~crc, p, n);
#endif
    return ~crc_by_table(~crc, p, n);
}
