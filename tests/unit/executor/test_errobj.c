#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "errobj.h"

struct row {
    const char *json, *type, *message;
};

static void members_are_found(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{}", "", ""},
        {" { \"errorType\" : \"T\" , \"errorMessage\":\"m\" } \n", "T", "m"},
        {"{\"errorMessage\":\"a\\n\\\"\\u00e4\\ud83d\\ude00\\ud800\"}", "",
         "a\n\"\xc3\xa4\xf0\x9f\x98\x80\xef\xbf\xbd"},
        {"{\"stackTrace\":[[],{\"errorType\":\"inner\"},1.5e-3,true,false,null],\"errorType\":\"T\"}", "T", ""},
        {"{\"errorType\":7,\"errorMessage\":null}", "", ""},
        {"{\"errorType\":\"first\",\"errorType\":\"last\"}", "last", ""},
        {"{\"errorTypeX\":\"n\",\"error\":\"n\",\"averyveryverylongkeyindeed\":\"n\"}", "", ""},
        {"{\"errorMessage\":\"0123456789abcdefghi\xc3\xa4\"}", "",
         "0123456789abcdefghi"}, /* cut before the character */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char type[16], message[21];
        assert_int_equal(errobj_read(rows[i].json, strlen(rows[i].json), type, sizeof type, message, sizeof message),
                         0);
        assert_string_equal(type, rows[i].type);
        assert_string_equal(message, rows[i].message);
    }
}

static void what_is_no_object_is_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "x",
        "[]",
        "\"s\"",
        "7",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{}{}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":+1}",
        "{'a':1}",
        "{\"a\":1,}",
        "{\"a\":\"\t\"}",
        "{\"a\":tru}",
        "{} x",
        "{\"a\":[1,]}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"errorType\":\"T\"",
        "{\"a\":-}",
        "{\"a\":1e}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char type[16] = "?", message[16] = "?";
        assert_int_equal(errobj_read(rows[i], strlen(rows[i]), type, sizeof type, message, sizeof message),
                         ERR_INVALID);
        assert_string_equal(type, "");
        assert_string_equal(message, "");
    }
}

/* Every truncation of a good object is refused, and deep nesting is refused before the stack feels it. */
static void truncation_and_depth(void **state)
{
    (void)state;
    static const char good[] = "{\"errorType\":\"T\\u0041\",\"a\":[1,{\"b\":\"\xc3\xa4\"}]}";
    char type[16], message[16];
    for (size_t n = 0; n < sizeof good - 1; n++)
        assert_int_equal(errobj_read(good, n, type, sizeof type, message, sizeof message), ERR_INVALID);
    char deep[4096] = "{\"a\":";
    memset(deep + 5, '[', sizeof deep - 5);
    assert_int_equal(errobj_read(deep, sizeof deep, type, sizeof type, message, sizeof message), ERR_INVALID);
}

static void what_is_written_can_be_read(void **state)
{
    (void)state;
    struct buf b;
    char type[64], message[64];
    buf_init(&b, 4096);
    assert_int_equal(errobj_write(&b, "T\"\\\n\x01", "m\xc3\xa4"), 0);
    assert_string_equal(b.data, "{\"errorType\":\"T\\\"\\\\\\u000a\\u0001\",\"errorMessage\":\"m\xc3\xa4\"}");
    assert_int_equal(errobj_read(b.data, b.len, type, sizeof type, message, sizeof message), 0);
    assert_string_equal(type, "T\"\\\n\x01");
    assert_string_equal(message, "m\xc3\xa4");
    buf_done(&b);
}

static void exits_have_gos_signal_names(void **state)
{
    (void)state;
    char text[ERROBJ_EXIT_TEXT];
    errobj_exit_text(text, 0, 15);
    assert_string_equal(text, "Runtime exited with error: signal: terminated");
    errobj_exit_text(text, 0, 40);
    assert_string_equal(text, "Runtime exited with error: signal: signal 40");
    errobj_exit_text(text, 255, 0);
    assert_string_equal(text, "Runtime exited with error: exit status 255");
}

/* A header's value may hold bytes of another encoding, or end in the middle of a character. */
static void what_is_no_utf8_is_replaced(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 256);
    assert_int_equal(errobj_write(&b, "caf\xe9.\xc3\xa9", "\xe2\x82"), 0);
    assert_string_equal(b.data, "{\"errorType\":\"caf\\ufffd.\xc3\xa9\",\"errorMessage\":\"\\ufffd\\ufffd\"}");
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_found),           cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(truncation_and_depth),        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(exits_have_gos_signal_names), cmocka_unit_test(what_is_no_utf8_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
