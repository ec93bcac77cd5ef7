/* Digests, encodings and checksums against published vectors. */
#include <pthread.h>

#include "testutil.h"

#include "base/hash.h"

static void assert_hex(const void *p, size_t n, const char *want)
{
    char text[2 * 64 + 1];
    assert_true(n <= 64);
    hex_encode(p, n, text);
    assert_string_equal(text, want);
}

/* FIPS 180-4 examples. */
static void sha256_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t out[SHA256_LEN];
        sha256_sum(rows[i].text, strlen(rows[i].text), out);
        assert_hex(out, sizeof out, rows[i].want);
    }
}

static void sha256_in_pieces(void **state)
{
    (void)state;
    struct sha256 *h;
    uint8_t out[SHA256_LEN];
    char piece[1000];
    memset(piece, 'a', sizeof piece);
    assert_rc(sha256_new(&h), 0);
    for (int i = 0; i < 1000; i++) { /* a million times "a", in uneven pieces */
        sha256_update(h, piece, (size_t)i % 7);
        sha256_update(h, piece, sizeof piece - (size_t)i % 7);
    }
    sha256_final(h, out);
    sha256_free(h);
    assert_hex(out, sizeof out, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    sha256_free(NULL);
}

/* RFC 4231, cases 1 to 4, 6 and 7. */
static void hmac_vectors(void **state)
{
    (void)state;
    uint8_t out[SHA256_LEN], key[131], data[50];
    memset(key, 0x0b, 20);
    hmac_sha256(key, 20, "Hi There", 8, out);
    assert_hex(out, sizeof out, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out);
    assert_hex(out, sizeof out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    memset(data, 0xdd, sizeof data);
    hmac_sha256(key, 20, data, sizeof data, out);
    assert_hex(out, sizeof out, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    uint8_t counted[25];
    for (uint8_t i = 0; i < sizeof counted; i++)
        counted[i] = (uint8_t)(i + 1);
    memset(data, 0xcd, sizeof data);
    hmac_sha256(counted, sizeof counted, data, sizeof data, out);
    assert_hex(out, sizeof out, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
    const char *six = "Test Using Larger Than Block-Size Key - Hash Key First";
    hmac_sha256(key, sizeof key, six, strlen(six), out);
    assert_hex(out, sizeof out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    const char *seven = "This is a test using a larger than block-size key and a larger than block-size data. The key "
                        "needs to be hashed before being used by the HMAC algorithm.";
    hmac_sha256(key, sizeof key, seven, strlen(seven), out);
    assert_hex(out, sizeof out, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
    hmac_sha256("", 0, "", 0, out);
    assert_hex(out, sizeof out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void *hmac_many(void *arg)
{
    uint8_t out[SHA256_LEN];
    for (int i = 0; i < 1000; i++)
        hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out);
    memcpy(arg, out, sizeof out);
    return NULL;
}

static void hmac_in_threads(void **state)
{
    (void)state;
    pthread_t t[4];
    uint8_t out[4][SHA256_LEN];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hmac_many, out[i]), 0);
    for (int i = 0; i < 4; i++) {
        (void)pthread_join(t[i], NULL);
        assert_hex(out[i], SHA256_LEN, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}

static void constant_time_equality(void **state)
{
    (void)state;
    assert_true(ct_equal("abc", "abc", 3));
    assert_false(ct_equal("abc", "abd", 3));
    assert_false(ct_equal("xbc", "abc", 3));
    assert_true(ct_equal("a", "b", 0));
}

static void randomness_differs(void **state)
{
    (void)state;
    uint8_t a[1000] = {0}, b[1000] = {0};
    rng_bytes(a, sizeof a);
    rng_bytes(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a + 500, b + 500, 500);
}

static void hex(void **state)
{
    (void)state;
    uint8_t out[4] = {9, 9, 9, 9};
    assert_rc(hex_decode("00fFAb", 6, out), 0);
    const uint8_t want[] = {0x00, 0xff, 0xab, 9};
    assert_memory_equal(out, want, 4);
    static const char *const bad[] = {"0", "0g", "g0", " 1", "0x", "1\n", "/0", ":0", "@0", "`0", "G0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_rc(hex_decode(bad[i], strlen(bad[i]), out), ERR_INVALID);
    char none[1] = {'x'};
    hex_encode("", 0, none);
    assert_int_equal(none[0], '\0');
}

/* RFC 4648, section 10. */
static void base64_vectors(void **state)
{
    (void)state;
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "Zg=="},
                                          {"fo", "Zm8="},
                                          {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="},
                                          {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf b;
        buf_init(&b, 100);
        assert_rc(base64_encode(rows[i][0], strlen(rows[i][0]), &b), 0);
        assert_string_equal(b.data, rows[i][1]);
        buf_clear(&b);
        assert_rc(base64_decode(rows[i][1], strlen(rows[i][1]), &b), 0);
        assert_string_equal(b.data, rows[i][0]);
        buf_done(&b);
    }
}

static void base64_every_byte_there_and_back(void **state)
{
    (void)state;
    uint8_t all[256 + 2];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)(i * 7);
    for (size_t n = 0; n <= sizeof all; n++) {
        struct buf text, back;
        buf_init(&text, 1000);
        buf_init(&back, n); /* exactly what it needs */
        assert_rc(base64_encode(all, n, &text), 0);
        assert_rc(base64_decode(text.data, text.len, &back), 0);
        assert_int_equal(back.len, n);
        assert_memory_equal(back.data, all, n);
        buf_done(&text);
        buf_done(&back);
    }
}

static void base64_is_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Zg",   "Zg=",  "Z",    "====", "Z===", "=Zg=",     "Zg=v",     "Zm9v\n",           "Zm9v\nZm9",  " Zm9",
        "Zm 9", "Zm9-", "Zm9_", "Zh==", "Zm9=", "Zm8=Zm9v", "Zg==Zg==", "Zm9vZg==\n\n\n\n", "Zm\xc3\xa9", "Zm9vZg",
    };
    struct buf b;
    buf_init(&b, 100);
    assert_rc(buf_puts(&b, "keep"), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (base64_decode(bad[i], strlen(bad[i]), &b) != ERR_INVALID)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_string_equal(b.data, "keep");
        assert_int_equal(b.len, 4);
    }
    assert_rc(base64_decode("Zm\0v", 4, &b), ERR_INVALID);
    buf_done(&b);
    buf_init(&b, 2);
    assert_rc(base64_decode("Zm9v", 4, &b), ERR_TOOBIG);
    assert_rc(base64_encode("a", 1, &b), ERR_TOOBIG);
    assert_string_equal(b.data, "");
    buf_done(&b);
}

/* RFC 3720, B.4, and the usual check value. */
static void crc32c_vectors(void **state)
{
    (void)state;
    uint8_t b[32];
    static uint32_t (*const ways[])(uint32_t, const void *, size_t) = {crc32c, crc32c_portable};
    for (size_t w = 0; w < 2; w++) {
        assert_int_equal(ways[w](0, "", 0), 0);
        assert_int_equal(ways[w](0, "123456789", 9), 0xe3069283u);
        memset(b, 0, sizeof b);
        assert_int_equal(ways[w](0, b, sizeof b), 0x8a9136aau);
        memset(b, 0xff, sizeof b);
        assert_int_equal(ways[w](0, b, sizeof b), 0x62a8ab43u);
        for (uint8_t i = 0; i < 32; i++)
            b[i] = i;
        assert_int_equal(ways[w](0, b, sizeof b), 0x46dd794eu);
        for (uint8_t i = 0; i < 32; i++)
            b[i] = (uint8_t)(31 - i);
        assert_int_equal(ways[w](0, b, sizeof b), 0x113fdb5cu);
    }
}

static void crc32c_both_ways_agree(void **state)
{
    (void)state;
    uint64_t seed = 2;
    uint8_t b[300];
    for (size_t i = 0; i < sizeof b; i++)
        b[i] = (uint8_t)test_rand(&seed);
    for (size_t from = 0; from < 9; from++) /* every alignment and tail */
        for (size_t n = 0; n + from <= sizeof b; n++) {
            uint32_t start = (uint32_t)test_rand(&seed);
            assert_int_equal(crc32c(start, b + from, n), crc32c_portable(start, b + from, n));
        }
    for (size_t cut = 0; cut <= sizeof b; cut++)
        assert_int_equal(crc32c(crc32c(0, b, cut), b + cut, sizeof b - cut), crc32c(0, b, sizeof b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_vectors),
        cmocka_unit_test(sha256_in_pieces),
        cmocka_unit_test(hmac_vectors),
        cmocka_unit_test(hmac_in_threads),
        cmocka_unit_test(constant_time_equality),
        cmocka_unit_test(randomness_differs),
        cmocka_unit_test(hex),
        cmocka_unit_test(base64_vectors),
        cmocka_unit_test(base64_every_byte_there_and_back),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(crc32c_vectors),
        cmocka_unit_test(crc32c_both_ways_agree),
    };
    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
