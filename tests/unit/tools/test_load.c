/* Events of one request, and what its answer says of them. */
#include "testutil.h"

#include <string.h>

#include "load.h"

static struct load of(size_t n)
{
    struct load l;
    char text[24];
    load_init(&l);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(text, sizeof text, "%zu", i);
        load_add(&l, 100 + i, text, strlen(text));
    }
    return l;
}

static struct buf answer(const char *text)
{
    struct buf b;
    buf_init(&b, 65536);
    assert_rc(buf_puts(&b, text), 0);
    return b;
}

static void full_by_number_or_bytes(void **state)
{
    static char big[LOAD_BYTES + 1];
    (void)state;
    struct load l = of(LOAD_EVENTS - 1);
    assert_true(load_takes(&l, 1));
    load_add(&l, 1, "1", 1);
    assert_false(load_takes(&l, 1));
    load_clear(&l);
    assert_true(load_takes(&l, sizeof big)); /* one always fits */
    load_add(&l, 1, big, LOAD_BYTES - 2);
    assert_true(load_takes(&l, 1));
    assert_false(load_takes(&l, 2));
    load_add(&l, 2, "1", 1);
    assert_int_equal(l.body.len, LOAD_BYTES);
    load_clear(&l);
    load_add(&l, 1, "12", 2);
    load_add(&l, 2, "3", 1);
    assert_string_equal(l.body.data, "12\n3");
    load_done(&l);
}

static void an_id_for_each_or_none(void **state)
{
    static const char *const bad[] = {
        "", "{}", "[]", "{\"ids\":\"a\"}", "{\"ids\":[\"a\"]}", "{\"ids\":[\"a\",1]}", "{\"ids\":[\"a\",\"b\",\"c\"]}"};
    (void)state;
    struct load l = of(2);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buf b = answer(bad[i]);
        assert_null(load_ids(&l, &b));
        buf_done(&b);
    }
    struct buf b = answer("{\"ids\":[\"a\",\"b\"],\"more\":1}");
    json_t *ids = load_ids(&l, &b);
    assert_string_equal(json_string_value(json_array_get(ids, 1)), "b");
    json_decref(ids);
    buf_done(&b);
    load_done(&l);
}

struct told {
    char text[256];
};

static void tell(uint64_t tag, const char *why, void *arg)
{
    struct told *t = arg;
    size_t n = strlen(t->text);
    (void)snprintf(t->text + n, sizeof t->text - n, "%d:%s ", (int)tag, why);
}

/* What is told of, and left of 0 to 4, after an answer. */
static void expect_refused(const char *text, const char *told, const char *left)
{
    struct load l = of(5);
    struct told t = {""};
    struct buf b = answer(text);
    size_t n = load_refuse(&l, &b, tell, &t);
    assert_string_equal(t.text, told);
    assert_string_equal(l.body.data, left);
    assert_int_equal(l.n, 5 - n);
    for (size_t i = 0; i < l.n; i++)
        assert_int_equal(l.tags[i], 100 + left[2 * i] - '0');
    buf_done(&b);
    load_done(&l);
}

static void what_is_refused_is_taken_out(void **state)
{
    (void)state;
#define E(line, why) "{\"Line\":" #line ",\"Message\":\"" why "\"}"
    expect_refused("{\"Errors\":[" E(1, "a") "]}", "100:a ", "1\n2\n3\n4");
    expect_refused("{\"Errors\":[" E(3, "a") "," E(2, "b") "]}", "102:a 101:b ", "0\n3\n4");
    expect_refused("{\"Errors\":[" E(5, "a") "]}", "104:a ", "0\n1\n2\n3");
    expect_refused("{\"Errors\":[" E(1, "a") "," E(2, "a") "," E(3, "a") "," E(4, "a") "," E(5, "a") "]}",
                   "100:a 101:a 102:a 103:a 104:a ", "");
    /* Lines that are none of ours, or named twice. */
    expect_refused("{\"Errors\":[" E(0, "a") "," E(6, "a") "," E(-1, "a") ",7,{},{\"Line\":2}," E(2, "b") "]}",
                   "101:no reason is given ", "0\n2\n3\n4");
    expect_refused("{\"message\":\"no\"}", "", "0\n1\n2\n3\n4");
    expect_refused("", "", "0\n1\n2\n3\n4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_by_number_or_bytes),
        cmocka_unit_test(an_id_for_each_or_none),
        cmocka_unit_test(what_is_refused_is_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
