#include "testutil.h"

#include "base/jscan.h"
#include "base/signame.h"

#include <signal.h>

static bool valid(const char *text, int depth_max)
{
    return jscan_valid(text, strlen(text), depth_max);
}

static void test_values(void **state)
{
    (void)state;
    static const char *const good[] = {"1",
                                       "-0.5e+7",
                                       "true",
                                       "null",
                                       " \"\\u00e9\\ud83d\\ude00\" ",
                                       "[]",
                                       "[1,[2,{\"a\":[]}]]",
                                       "{ }",
                                       "1e999",
                                       "{\"a\":1 }\n",
                                       "\"\xff\x80 x\"",
                                       "{\"a\":1,\"a\":2}"};
    static const char *const bad[] = {"",      "  ",        "01",       "1.",    "+1",      "tru",
                                      "truex", "1 2",       "[1,]",     "{a:1}", "{\"a\"}", "\"\n\"",
                                      "\"",    "\"\\x\"",   "[",        "]",     "nul",     "--1",
                                      "{,}",   "\"\\u12\"", "{\"a\":}", "[1 2]", "\"a\"b",  "\xef\xbb\xbf{}"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!valid(good[i], 8))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (valid(bad[i], 8))
            fail_msg("%s", bad[i]);
    assert_false(jscan_valid("1\0", 2, 8));
}

/* Each byte at each place of a string that is longer than what is looked at in one go. */
static void test_long_strings(void **state)
{
    enum { LEN = 20 };
    char s[LEN + 2];
    (void)state;
    for (size_t at = 1; at <= LEN; at++)
        for (int c = 1; c < 256; c++) {
            memset(s, 'a', sizeof s);
            s[0] = s[LEN + 1] = '"';
            s[at] = (char)c;
            bool good = c >= 0x20 && c != '"' && c != '\\';
            if (jscan_plain(s, sizeof s, 8) != (good && c < 0x80))
                fail_msg("byte %#x at %zu: plain, or not", (unsigned)c, at);
            if (c < 0x80 && jscan_valid(s, sizeof s, 8) != good)
                fail_msg("byte %#x at %zu: valid, or not", (unsigned)c, at);
            assert_false(jscan_valid(s, at + (c == '"' ? 0 : 1), 8)); /* it has no end */
        }
}

static bool plain(const char *text)
{
    return jscan_plain(text, strlen(text), 8);
}

static void test_plain(void **state)
{
    (void)state;
    static const char *const good[] = {"1", "-0.5e+07", "123456789012345678901234567890",
                                       "\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80\"",
                                       "{\"\\ud83d\\ude00\":[1,\"\\u00e9\",null]}"};
    static const char *const doubtful[] = {"1e999",
                                           "1e100",
                                           "1234567890123456789012345678901234567890123456789012345678901234567890",
                                           "\"\xff\"",
                                           "\"\xa4\"",
                                           "\"\xc3(\"",
                                           "\"\xc0\xaf\"",
                                           "\"\xed\xa0\x80\"",
                                           "\"\xf4\x90\x80\x80\"",
                                           "\"\xf8\x88\x80\x80\"",
                                           "\"\\u0000\"",
                                           "\"\\ud83d\"",
                                           "\"\\ude00\"",
                                           "\"\\ud83d\\u0041\"",
                                           "{\"\xff\":1}",
                                           "{",
                                           ""};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!plain(good[i]))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof doubtful / sizeof doubtful[0]; i++)
        if (plain(doubtful[i]))
            fail_msg("%s", doubtful[i]);
}

static void test_depth(void **state)
{
    (void)state;
    char text[2 * 2049 + 1];
    assert_true(valid("[[1]]", 2));
    assert_false(valid("[[1]]", 1));
    memset(text, '[', 2048);
    memset(text + 2048, ']', 2048);
    text[4096] = '\0';
    assert_true(valid(text, 2048));
    assert_false(valid(text, 2046));
}

static void test_members(void **state)
{
    (void)state;
    char a[8], b[4];
    struct jscan_member m[] = {{.key = "a", .out = a, .cap = sizeof a}, {.key = "b", .out = b, .cap = sizeof b}};
    static const char text[] = " {\"x\":{\"a\":\"inner\"},\"b\":\"x\xc3\xa4\xc3\xa4\",\"a\":\"o\\tk\"}";
    assert_true(jscan_object(text, sizeof text - 1, 8, m, 2));
    assert_string_equal(a, "o\tk");
    assert_string_equal(b, "x\xc3\xa4"); /* cut before the character that does not fit */
    assert_false(jscan_object("{\"a\":\"1\"", 8, 8, m, 2));
    assert_string_equal(a, "");
    assert_false(jscan_object("[]", 2, 8, m, 2));
    assert_true(jscan_object("{\"a\":1,\"b\":null}", 16, 8, m, 2));
    assert_string_equal(a, "");
}

static bool members(const char *text, struct jscan_member *m)
{
    return jscan_object(text, strlen(text), 8, m, 2);
}

/* What a cut leaves is the beginning, however the characters are written. */
static void test_cuts(void **state)
{
    (void)state;
    char a[8], b[4];
    struct jscan_member m[] = {{.key = "a", .out = a, .cap = sizeof a}, {.key = "b", .out = b, .cap = sizeof b}};
    assert_true(members("{\"b\":\"x\\u20acyz\"}", m));
    assert_string_equal(b, "x");
    assert_true(members("{\"b\":\"x\xe2\x82\xac\\u0079z\"}", m));
    assert_string_equal(b, "x");
}

/* A lone byte of another encoding, as "\xe9" is Latin-1's e with an accent, takes nothing with it. */
static void test_other_encodings(void **state)
{
    (void)state;
    char a[8], b[4];
    struct jscan_member m[] = {{.key = "a", .out = a, .cap = sizeof a}, {.key = "b", .out = b, .cap = sizeof b}};
    assert_true(members("{\"a\":\"caf\xe9\",\"b\":\"x\"}", m));
    assert_string_equal(a, "caf\xe9");
    assert_string_equal(b, "x");
    assert_true(members("{\"a\":\"\xf0\x9f\\n\"}", m));
    assert_string_equal(a, "\xf0\x9f\n");
    assert_false(valid("\"\xe9\n\"", 8));
    assert_false(jscan_valid("\"\xe9\0\"", 4, 8));
}

/* A name that begins as a wanted one, or that holds a NUL, is another name. */
static void test_other_names(void **state)
{
    (void)state;
    char a[8], b[4];
    struct jscan_member m[] = {{.key = "twelve-bytes", .out = a, .cap = sizeof a},
                               {.key = "fifteen-bytes-x", .out = b, .cap = sizeof b}};
    assert_true(members("{\"twelve-bytes\xf0\x9f\x98\x80\":\"1\",\"fifteen-bytes-xy\":\"2\"}", m));
    assert_string_equal(a, "");
    assert_string_equal(b, "");
    assert_true(members("{\"twelve-bytes\\u0000\":\"1\"}", m));
    assert_string_equal(a, "");
    assert_true(members("{\"twelve-bytes\":\"1\",\"fifteen-bytes-x\":\"2\"}", m));
    assert_string_equal(a, "1");
    assert_string_equal(b, "2");
}

static void test_utf8(void **state)
{
    (void)state;
    assert_int_equal(jscan_utf8("a", 1), 1);
    assert_int_equal(jscan_utf8("\xc3\xa4x", 3), 2);
    assert_int_equal(jscan_utf8("\xf0\x9f\x98\x80", 4), 4);
    assert_int_equal(jscan_utf8("\xf0\x9f\x98\x80", 3), 0);
    assert_int_equal(jscan_utf8("\xa4", 1), 0);
    assert_int_equal(jscan_utf8("\xc0\xaf", 2), 0);
    assert_int_equal(jscan_utf8("", 0), 0);
}

static void test_signal_words(void **state)
{
    (void)state;
    assert_string_equal(signal_words(SIGKILL), "killed");
    assert_string_equal(signal_words(SIGSEGV), "segmentation fault");
    assert_null(signal_words(0));
    assert_null(signal_words(-1));
    assert_null(signal_words(64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values),       cmocka_unit_test(test_plain),
                                       cmocka_unit_test(test_long_strings), cmocka_unit_test(test_depth),
                                       cmocka_unit_test(test_members),      cmocka_unit_test(test_cuts),
                                       cmocka_unit_test(test_other_names),  cmocka_unit_test(test_other_encodings),
                                       cmocka_unit_test(test_utf8),         cmocka_unit_test(test_signal_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
