/* Growable bytes: the ceiling, the NUL behind the data, and who owns what. */
#include "testutil.h"

#include "base/buf.h"

static void starts_as_the_empty_string(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_string_equal(b.data, "");
    assert_int_equal(b.len, 0);
    buf_done(&b);
}

static void takes_exactly_its_ceiling(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_rc(buf_append(&b, "0123456789", 10), 0);
    assert_rc(buf_putc(&b, 'x'), ERR_TOOBIG);
    assert_rc(buf_puts(&b, ""), 0);
    assert_rc(buf_printf(&b, "%d", 1), ERR_TOOBIG);
    assert_string_equal(b.data, "0123456789");
    assert_int_equal(b.len, 10);
    buf_done(&b);
}

static void a_refused_piece_changes_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    assert_rc(buf_puts(&b, "keep"), 0);
    char big[200];
    memset(big, 'x', sizeof big);
    assert_rc(buf_append(&b, big, sizeof big), ERR_TOOBIG);
    assert_rc(buf_append(&b, big, SIZE_MAX), ERR_TOOBIG);
    assert_string_equal(b.data, "keep");
    buf_done(&b);
}

static void no_ceiling_does_not_wrap(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, SIZE_MAX);
    assert_rc(buf_puts(&b, "abc"), 0);
    assert_true(b.cap > 3);
    assert_rc(buf_reserve(&b, SIZE_MAX - 3), ERR_NOMEM);
    assert_rc(buf_reserve(&b, SIZE_MAX), ERR_TOOBIG);
    assert_string_equal(b.data, "abc");
    buf_done(&b);
}

static void grows_by_pieces_and_keeps_the_nul(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    for (size_t i = 0; i < 20000; i++) {
        assert_rc(buf_printf(&b, "%zu,", i % 10), 0);
        assert_int_equal(b.data[b.len], '\0');
        assert_true(b.cap <= b.max + 1);
    }
    assert_int_equal(b.len, 40000);
    assert_memory_equal(b.data + 39996, "8,9,", 4);
    buf_done(&b);
}

static void may_hold_nuls(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_rc(buf_append(&b, "a\0b", 3), 0);
    assert_rc(buf_putc(&b, '\0'), 0);
    assert_int_equal(b.len, 4);
    assert_memory_equal(b.data, "a\0b\0", 5);
    buf_done(&b);
}

static void reserve_then_write(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 8);
    assert_rc(buf_reserve(&b, 8), 0);
    memcpy(b.data + b.len, "12345678", 8);
    b.len += 8;
    b.data[b.len] = '\0'; /* room for it is part of the promise */
    assert_rc(buf_reserve(&b, 1), ERR_TOOBIG);
    buf_done(&b);
}

static void consume_drops_from_the_front(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    buf_consume(&b, 0);
    assert_rc(buf_puts(&b, "hello world"), 0);
    buf_consume(&b, 6);
    assert_string_equal(b.data, "world");
    buf_consume(&b, 5);
    assert_string_equal(b.data, "");
    buf_done(&b);
}

static void clear_keeps_memory_and_reset_gives_it_back(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    assert_rc(buf_puts(&b, "hello"), 0);
    size_t cap = b.cap;
    buf_clear(&b);
    assert_int_equal(b.cap, cap);
    assert_string_equal(b.data, "");
    assert_rc(buf_puts(&b, "again"), 0);
    buf_reset(&b);
    assert_int_equal(b.cap, 0);
    assert_int_equal(b.max, 100);
    assert_string_equal(b.data, "");
    buf_done(&b);
}

static void take_hands_the_bytes_over(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    size_t len = 99;
    char *p = buf_take(&b, &len);
    assert_string_equal(p, "");
    assert_int_equal(len, 0);
    free(p);
    assert_rc(buf_puts(&b, "mine"), 0);
    p = buf_take(&b, &len);
    assert_string_equal(p, "mine");
    assert_int_equal(len, 4);
    assert_int_equal(b.len, 0);
    assert_rc(buf_puts(&b, "next"), 0);
    assert_string_equal(p, "mine");
    free(p);
    p = buf_take(&b, NULL);
    assert_string_equal(p, "next");
    free(p);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_as_the_empty_string),
        cmocka_unit_test(takes_exactly_its_ceiling),
        cmocka_unit_test(a_refused_piece_changes_nothing),
        cmocka_unit_test(no_ceiling_does_not_wrap),
        cmocka_unit_test(grows_by_pieces_and_keeps_the_nul),
        cmocka_unit_test(may_hold_nuls),
        cmocka_unit_test(reserve_then_write),
        cmocka_unit_test(consume_drops_from_the_front),
        cmocka_unit_test(clear_keeps_memory_and_reset_gives_it_back),
        cmocka_unit_test(take_hands_the_bytes_over),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
