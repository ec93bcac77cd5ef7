/* msgpack: there and back, and what hostile bytes must not do. */
#include <malloc.h>

#include "testutil.h"

#include "base/pack.h"

/* Every kind of item, with nesting. */
static void write_sample(struct buf *b)
{
    struct pack p;
    pack_init(&p, b);
    pack_array(&p, 12);
    pack_uint(&p, 0);
    pack_uint(&p, UINT64_MAX);
    pack_int(&p, INT64_MIN);
    pack_int(&p, -1);
    pack_int(&p, 70000);
    pack_bool(&p, true);
    pack_nil(&p);
    pack_str(&p, "text");
    pack_strn(&p, "with\0nul", 8);
    pack_bin(&p, "\x00\x01\x02", 3);
    pack_array(&p, 2);
    pack_array(&p, 0);
    pack_uint(&p, 300);
    pack_str(&p, NULL);
    assert_rc(pack_error(&p), 0);
}

static void read_sample(struct unpack *u)
{
    char text[5];
    assert_int_equal(unpack_left(u), 12);
    assert_true(unpack_uint(u) == 0);
    assert_true(unpack_uint(u) == UINT64_MAX);
    assert_true(unpack_int(u) == INT64_MIN);
    assert_true(unpack_int(u) == -1);
    assert_true(unpack_int(u) == 70000);
    assert_true(unpack_bool(u));
    assert_null(unpack_bin(u).p);
    unpack_str(u, text, sizeof text);
    assert_string_equal(text, "text");
    struct slice s = unpack_strn(u);
    assert_int_equal(s.len, 8);
    assert_memory_equal(s.p, "with\0nul", 8);
    s = unpack_bin(u);
    assert_int_equal(s.len, 3);
    assert_memory_equal(s.p, "\x00\x01\x02", 3);
    assert_int_equal(unpack_enter(u), 2);
    assert_int_equal(unpack_enter(u), 0);
    assert_int_equal(unpack_left(u), 0);
    unpack_leave(u);
    assert_true(unpack_uint(u) == 300);
    unpack_leave(u);
    text[0] = 'x';
    unpack_str(u, text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(unpack_left(u), 0);
}

static void there_and_back(void **state)
{
    (void)state;
    struct buf b;
    struct unpack u;
    buf_init(&b, 1000);
    write_sample(&b);
    assert_rc(unpack_init(&u, b.data, b.len), 0);
    read_sample(&u);
    assert_rc(unpack_error(&u), 0);
    assert_rc(unpack_finish(&u), 0);
    unpack_done(&u);
    buf_done(&b);
}

static void every_length_class(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536, 100000};
    char *data = malloc(100000);
    assert_non_null(data);
    memset(data, 'd', 100000);
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct buf b;
        struct pack p;
        struct unpack u;
        size_t n = lens[i];
        buf_init(&b, 1000000);
        pack_init(&p, &b);
        pack_array(&p, 3);
        pack_strn(&p, data, n);
        pack_bin(&p, data, n);
        pack_array(&p, n);
        for (size_t k = 0; k < n; k++)
            pack_uint(&p, k);
        assert_rc(pack_error(&p), 0);
        assert_rc(unpack_init(&u, b.data, b.len), 0);
        assert_int_equal(unpack_strn(&u).len, n);
        assert_int_equal(unpack_bin(&u).len, n);
        assert_int_equal(unpack_enter(&u), n);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(unpack_uint(&u), k);
        unpack_leave(&u);
        assert_rc(unpack_finish(&u), 0);
        unpack_done(&u);
        buf_done(&b);
    }
    free(data);
}

static void a_full_buffer_sticks(void **state)
{
    (void)state;
    struct buf b;
    struct pack p;
    buf_init(&b, 4);
    pack_init(&p, &b);
    pack_array(&p, 3);
    pack_str(&p, "too long for it");
    pack_uint(&p, 1); /* would fit; must not follow what is missing */
    assert_rc(pack_error(&p), ERR_TOOBIG);
    assert_true(b.len <= 2);
    buf_done(&b);
}

static int try_bytes(const char *bytes, size_t len)
{
    struct unpack u;
    /* A copy of exact size, so that the address checker sees one byte too many. */
    char *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    int rc = unpack_init(&u, copy, len);
    unpack_done(&u);
    free(copy);
    return rc;
}
#define TRY(lit_) try_bytes(lit_, sizeof(lit_) - 1)

static void truncation_at_every_byte_is_seen(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    write_sample(&b);
    for (size_t n = 0; n < b.len; n++)
        assert_rc(try_bytes(b.data, n), ERR_CORRUPT);
    assert_rc(try_bytes(b.data, b.len), 0);
    assert_rc(buf_putc(&b, '\0'), 0);
    assert_rc(try_bytes(b.data, b.len), ERR_CORRUPT); /* left over */
    buf_done(&b);
}

static void claims_are_refused_before_memory_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"\xdd\x10\x00\x00\x00", 5},             /* an array of 2^28 */
        {"\xdd\xff\xff\xff\xff", 5},             /* and of 2^32 - 1 */
        {"\xdd\x10\x00\x00\x00\xc0\xc0\xc0", 8}, /* with a few of them there */
        {"\x91\xdd\x10\x00\x00\x00", 6},         /* one level down */
        {"\x91\xdb\xff\xff\xff\xff", 6},         /* str */
        {"\x91\xc6\xff\xff\xff\xff", 6},         /* bin */
        {"\x91\xdf\x10\x00\x00\x00", 6},         /* map */
        {"\xdc\xff\xff", 3},
    };
    struct mallinfo2 before = mallinfo2();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct unpack u;
        assert_rc(unpack_init(&u, rows[i].bytes, rows[i].len), ERR_CORRUPT);
        assert_null(u.zone);
        unpack_done(&u);
    }
    struct mallinfo2 after = mallinfo2();
    assert_int_equal(after.uordblks + after.hblkhd, before.uordblks + before.hblkhd);
}

static void only_what_our_records_hold_is_read(void **state)
{
    (void)state;
    assert_rc(TRY(""), ERR_CORRUPT);
    assert_rc(TRY("\x01"), ERR_CORRUPT); /* the top is no array */
    assert_rc(TRY("\xa1x"), ERR_CORRUPT);
    assert_rc(TRY("\xc0"), ERR_CORRUPT);
    assert_rc(TRY("\x80"), ERR_CORRUPT);             /* map */
    assert_rc(TRY("\x91\x81\x01\x02"), ERR_CORRUPT); /* map inside */
    assert_rc(TRY("\x91\xde\x00\x00"), ERR_CORRUPT);
    assert_rc(TRY("\x91\xc1"), ERR_CORRUPT);         /* never used */
    assert_rc(TRY("\x91\xd4\x01\x00"), ERR_CORRUPT); /* extensions */
    assert_rc(TRY("\x91\xc7\x01\x00\x00"), ERR_CORRUPT);
    assert_rc(TRY("\x91\xca\x00\x00\x00\x00"), ERR_CORRUPT); /* floats */
    assert_rc(TRY("\x91\xcb\x00\x00\x00\x00\x00\x00\x00\x00"), ERR_CORRUPT);
    assert_rc(TRY("\x90"), 0);
    assert_rc(TRY("\x91\x7f"), 0);
}

static void nesting_has_a_floor(void **state)
{
    (void)state;
    char deep[100000];
    memset(deep, '\x91', sizeof deep);
    deep[sizeof deep - 1] = '\xc0';
    assert_rc(try_bytes(deep, sizeof deep), ERR_CORRUPT); /* and no stack is eaten on the way */
    struct unpack u;
    char *at = deep + sizeof deep - 1 - UNPACK_DEPTH;
    assert_rc(unpack_init(&u, at, UNPACK_DEPTH + 1), 0);
    for (int i = 1; i < UNPACK_DEPTH; i++)
        assert_int_equal(unpack_enter(&u), 1);
    assert_int_equal(unpack_enter(&u), 0); /* nil */
    assert_rc(unpack_finish(&u), ERR_CORRUPT);
    unpack_done(&u);
    assert_rc(try_bytes(at - 1, UNPACK_DEPTH + 2), ERR_CORRUPT);
}

typedef void getter(struct unpack *u);
static void get_uint(struct unpack *u)
{
    assert_true(unpack_uint(u) == 0);
}
static void get_int(struct unpack *u)
{
    assert_true(unpack_int(u) == 0);
}
static void get_bool(struct unpack *u)
{
    assert_false(unpack_bool(u));
}
static void get_bin(struct unpack *u)
{
    assert_null(unpack_bin(u).p);
}
static void get_strn(struct unpack *u)
{
    assert_null(unpack_strn(u).p);
}
static void get_str(struct unpack *u)
{
    char out[4] = "old";
    unpack_str(u, out, sizeof out);
    assert_string_equal(out, "");
}
static void get_enter(struct unpack *u)
{
    assert_int_equal(unpack_enter(u), 0);
}

static void a_wrong_type_gives_zero_and_an_error(void **state)
{
    (void)state;
    static const struct {
        getter *get;
        const char *bytes; /* one item */
        size_t len;
    } rows[] = {
        {get_uint, "\xff", 1},      {get_uint, "\xa1x", 2},
        {get_uint, "\xc0", 1},      {get_uint, "\xc3", 1},
        {get_int, "\xa1x", 2},      {get_int, "\xc3", 1},
        {get_int, "\xc0", 1},       {get_bool, "\x01", 1},
        {get_bool, "\xc0", 1},      {get_bin, "\xa1x", 2},
        {get_bin, "\x01", 1},       {get_strn, "\xc4\x01x", 3},
        {get_strn, "\x01", 1},      {get_str, "\x01", 1},
        {get_str, "\xa4long", 5},   {get_str, "\xa2x\0", 3},
        {get_enter, "\xc0", 1},     {get_enter, "\xa0", 1},
        {get_enter, "\xc4\x00", 2}, {get_int, "\xcf\x80\x00\x00\x00\x00\x00\x00\x00", 9}, /* over INT64_MAX */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char bytes[16] = {'\x91'};
        struct unpack u;
        memcpy(bytes + 1, rows[i].bytes, rows[i].len);
        assert_rc(unpack_init(&u, bytes, rows[i].len + 1), 0);
        rows[i].get(&u);
        assert_rc(unpack_error(&u), ERR_CORRUPT);
        assert_int_equal(unpack_left(&u), 0);
        assert_rc(unpack_finish(&u), ERR_CORRUPT);
        unpack_done(&u);
    }
}

static void reading_past_the_end_is_an_error_and_sticks(void **state)
{
    (void)state;
    static getter *const all[] = {get_uint, get_int, get_bool, get_bin, get_strn, get_str, get_enter};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct unpack u;
        assert_rc(unpack_init(&u, "\x91\x05", 2), 0);
        unpack_skip(&u);
        all[i](&u);
        assert_rc(unpack_finish(&u), ERR_CORRUPT);
        unpack_done(&u);
        assert_rc(unpack_init(&u, "\x92\xa0\x05", 3), 0);
        assert_false(unpack_bool(&u));
        assert_true(unpack_uint(&u) == 0); /* the 5 is not handed out after an error */
        unpack_done(&u);
    }
    struct unpack u;
    assert_rc(unpack_init(&u, "\x90", 1), 0);
    unpack_leave(&u);
    assert_rc(unpack_finish(&u), ERR_CORRUPT);
    unpack_done(&u);
}

static void a_newer_form_may_append(void **state)
{
    (void)state;
    struct unpack u;
    assert_rc(unpack_init(&u, "\x93\x01\x92\x02\x03\x04", 6), 0);
    assert_true(unpack_uint(&u) == 1);
    assert_int_equal(unpack_enter(&u), 2);
    assert_true(unpack_uint(&u) == 2);
    unpack_leave(&u); /* the 3 is skipped */
    assert_int_equal(unpack_left(&u), 1);
    assert_rc(unpack_error(&u), 0);
    assert_rc(unpack_finish(&u), ERR_CORRUPT);
    unpack_done(&u);
    assert_rc(unpack_init(&u, "\x91\x91\x01", 3), 0);
    assert_int_equal(unpack_enter(&u), 1);
    assert_true(unpack_uint(&u) == 1);
    assert_rc(unpack_finish(&u), ERR_CORRUPT); /* not left */
    unpack_done(&u);
}

/* Bytes changed at random: any answer is fine but a crash, a hang or a read out of bounds. */
static void damaged_bytes_are_survived(void **state)
{
    (void)state;
    uint64_t seed = 4;
    struct buf b;
    int n_ok = 0, n_refused = 0;
    buf_init(&b, 1000);
    write_sample(&b);
    for (int round = 0; round < 20000; round++) {
        char bytes[200];
        size_t len = b.len;
        assert_true(len < sizeof bytes);
        memcpy(bytes, b.data, len);
        for (uint64_t k = 1 + test_rand(&seed) % 3; k > 0; k--)
            bytes[test_rand(&seed) % len] = (char)test_rand(&seed);
        if (try_bytes(bytes, len) == 0)
            n_ok++;
        else
            n_refused++;
    }
    assert_true(n_ok > 0 && n_refused > 0);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(every_length_class),
        cmocka_unit_test(a_full_buffer_sticks),
        cmocka_unit_test(truncation_at_every_byte_is_seen),
        cmocka_unit_test(claims_are_refused_before_memory_is_asked_for),
        cmocka_unit_test(only_what_our_records_hold_is_read),
        cmocka_unit_test(nesting_has_a_floor),
        cmocka_unit_test(a_wrong_type_gives_zero_and_an_error),
        cmocka_unit_test(reading_past_the_end_is_an_error_and_sticks),
        cmocka_unit_test(a_newer_form_may_append),
        cmocka_unit_test(damaged_bytes_are_survived),
    };
    return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
