/* The word that was meant. */
#include "testutil.h"

#include <string.h>

#include "nearest.h"

static const char *find(const char *typed)
{
    static const char *const known[] = {"function", "condition", "limit", "json", "deploy", "dlq replay"};
    struct nearest n = {.typed = typed, .len = strlen(typed)};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        nearest_offer(&n, known[i]);
    return n.word != NULL ? n.word : "";
}

static void test_near(void **state)
{
    (void)state;
    assert_string_equal(find("funtion"), "function");
    assert_string_equal(find("function"), "function");
    assert_string_equal(find("functions"), "function");
    assert_string_equal(find("fucntoin"), "function");
    assert_string_equal(find("depoly"), "deploy");
    assert_string_equal(find("limti"), "limit");
    assert_string_equal(find("dlq repaly"), "dlq replay");
}

static void test_beginning(void **state)
{
    (void)state;
    assert_string_equal(find("cond"), "condition");
    assert_string_equal(find("f"), "function");
}

static void test_far(void **state)
{
    (void)state;
    assert_string_equal(find(""), "");
    assert_string_equal(find("xyz"), "");
    assert_string_equal(find("josh"), "");
    assert_string_equal(find("function-and-so-on"), "");
    assert_string_equal(find("0123456789012345678901234567890123456789012345678901234567890123456789"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_near),
        cmocka_unit_test(test_beginning),
        cmocka_unit_test(test_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
