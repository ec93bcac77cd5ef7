/* The frame of stored records: its bytes, damage, versions. */
#include "testutil.h"

#include "base/hash.h"
#include "base/record.h"

static void make(struct buf *b, uint8_t version)
{
    struct pack p;
    buf_init(b, 100);
    record_begin(b, &p, version);
    pack_array(&p, 2);
    pack_uint(&p, 7);
    pack_str(&p, "seven");
    assert_rc(record_end(b, &p), 0);
}

static void the_frame_byte_by_byte(void **state)
{
    (void)state;
    struct buf b;
    make(&b, 3);
    const char body[] = "\x92\x07\xa5seven";
    assert_int_equal(b.len, RECORD_HEAD_LEN + sizeof body - 1);
    assert_memory_equal(b.data + RECORD_HEAD_LEN, body, sizeof body - 1);
    assert_int_equal(b.data[0], 3);
    uint32_t crc = crc32c(crc32c(0, "\x03", 1), body, sizeof body - 1);
    const uint8_t want[] = {(uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc};
    assert_memory_equal(b.data + 1, want, 4);
    buf_done(&b);
}

static void there_and_back(void **state)
{
    (void)state;
    struct buf b;
    struct unpack u;
    char text[8];
    for (uint8_t version = 1; version < 4; version++) {
        uint8_t got = 0;
        make(&b, version);
        assert_rc(record_open(b.data, b.len, 3, &got, &u), 0);
        assert_int_equal(got, version);
        assert_true(unpack_uint(&u) == 7);
        unpack_str(&u, text, sizeof text);
        assert_string_equal(text, "seven");
        assert_rc(unpack_finish(&u), 0);
        unpack_done(&u);
        buf_done(&b);
    }
}

static void every_flipped_bit_is_seen(void **state)
{
    (void)state;
    struct buf b;
    struct unpack u;
    uint8_t got;
    make(&b, 3);
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        b.data[bit / 8] ^= (char)(1 << bit % 8);
        assert_rc(record_open(b.data, b.len, 255, &got, &u), ERR_CORRUPT);
        unpack_done(&u);
        b.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t n = 0; n < b.len; n++) {
        assert_rc(record_open(b.data, n, 255, &got, &u), ERR_CORRUPT);
        unpack_done(&u);
    }
    assert_rc(record_open(b.data, b.len, 255, &got, &u), 0);
    unpack_done(&u);
    buf_done(&b);
}

static void a_newer_version_is_refused_not_guessed(void **state)
{
    (void)state;
    struct buf b;
    struct unpack u;
    uint8_t got = 99;
    make(&b, 4);
    assert_rc(record_open(b.data, b.len, 3, &got, &u), ERR_VERSION);
    unpack_done(&u);
    b.data[1] ^= 1; /* damaged comes before newer */
    assert_rc(record_open(b.data, b.len, 3, &got, &u), ERR_CORRUPT);
    unpack_done(&u);
    buf_done(&b);
    make(&b, 0);
    assert_rc(record_open(b.data, b.len, 3, &got, &u), ERR_CORRUPT);
    unpack_done(&u);
    assert_int_equal(got, 99);
    buf_done(&b);
}

static void a_good_checksum_over_a_bad_body(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t len;
    } rows[] = {{"\xc0", 1}, {"\x92\x01", 2}, {"\x91\x01\x01", 3}, {"\xdd\x10\x00\x00\x00", 5}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[16] = {1}, got;
        uint32_t crc = crc32c(crc32c(0, bytes, 1), rows[i].body, rows[i].len);
        for (int k = 0; k < 4; k++)
            bytes[1 + k] = (uint8_t)(crc >> (24 - 8 * k));
        memcpy(bytes + RECORD_HEAD_LEN, rows[i].body, rows[i].len);
        struct unpack u;
        assert_rc(record_open(bytes, RECORD_HEAD_LEN + rows[i].len, 1, &got, &u), ERR_CORRUPT);
        unpack_done(&u);
    }
}

static void a_record_over_its_ceiling_is_refused(void **state)
{
    (void)state;
    for (size_t max = 0; max < 13; max++) {
        struct buf b;
        struct pack p;
        buf_init(&b, max);
        record_begin(&b, &p, 1);
        pack_array(&p, 2);
        pack_uint(&p, 7);
        pack_str(&p, "seven");
        assert_rc(record_end(&b, &p), ERR_TOOBIG);
        buf_done(&b);
    }
}

static void a_buffer_is_used_again(void **state)
{
    (void)state;
    struct buf b;
    struct pack p;
    struct unpack u;
    uint8_t got;
    make(&b, 1);
    record_begin(&b, &p, 2);
    pack_array(&p, 1);
    pack_bool(&p, true);
    assert_rc(record_end(&b, &p), 0);
    assert_rc(record_open(b.data, b.len, 2, &got, &u), 0);
    assert_true(unpack_bool(&u));
    assert_rc(unpack_finish(&u), 0);
    unpack_done(&u);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_frame_byte_by_byte),          cmocka_unit_test(there_and_back),
        cmocka_unit_test(every_flipped_bit_is_seen),       cmocka_unit_test(a_newer_version_is_refused_not_guessed),
        cmocka_unit_test(a_good_checksum_over_a_bad_body), cmocka_unit_test(a_record_over_its_ceiling_is_refused),
        cmocka_unit_test(a_buffer_is_used_again),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
