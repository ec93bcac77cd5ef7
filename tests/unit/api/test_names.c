/* Function names, qualifiers, roles, query strings. */
#include "names.h"
#include "testutil.h"
#include "uri.h"

static void test_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name, *qualifier, *region, *account;
    } rows[] = {
        {"hello", "hello", "", "", ""},
        {"hello:1", "hello", "1", "", ""},
        {"hello:$LATEST", "hello", "$LATEST", "", ""},
        {"hello:$LATEST.PUBLISHED", "hello", "$LATEST.PUBLISHED", "", ""},
        {"hello.dot", "hello.dot", "", "", ""},
        {"function:hello", "hello", "", "", ""},
        {"function:hello:prod", "hello", "prod", "", ""},
        {"000000000000:function:hello", "hello", "", "", "000000000000"},
        {"000000000000:hello:v-1", "hello", "v-1", "", "000000000000"},
        {"us-east-1:000000000000:function:hello", "hello", "", "us-east-1", "000000000000"},
        {"arn:aws:lambda:us-east-1:000000000000:function:hello", "hello", "", "us-east-1", "000000000000"},
        {"arn:aws:lambda:us-east-1:000000000000:function:hello:$LATEST", "hello", "$LATEST", "us-east-1",
         "000000000000"},
        {"arn:aws-us-gov:lambda:us-gov-west-1:000000000000:function:h", "h", "", "us-gov-west-1", "000000000000"},
        {"arn:aws-iso:lambda:us-iso-east-1:000000000000:function:h", "h", "", "us-iso-east-1", "000000000000"},
        {"eusc-de-east-1:function:h", "h", "", "eusc-de-east-1", ""},
        {"function", "function", "", "", ""},
        {"function:$LATEST", "function", "$LATEST", "", ""}, /* only by leaving out the prefix */
        {"000000000000", "000000000000", "", "", ""},
        {"000000000000:$LATEST", "000000000000", "$LATEST", "", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct name n;
        if (name_parse(rows[i].text, NAME_ANY, &n) != 0)
            fail_msg("%s was refused", rows[i].text);
        assert_string_equal(n.name, rows[i].name);
        assert_string_equal(n.qualifier, rows[i].qualifier);
        assert_string_equal(n.region, rows[i].region);
        assert_string_equal(n.account, rows[i].account);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        ":",
        "hello:",
        "he llo",
        "hello!",
        "a/b",
        "hello:a b",
        "hello:$latest",
        "hello:1:2",
        "hello:$LATEST.x",
        "arn:aws:lambda:us-east-1:000000000000:function:",
        "arn:aws:s3:us-east-1:000000000000:function:h",
        "us-east-1:00000000000:function:h",
        "us-east-12:000000000000:function:h",
        "\xc3\xbc",
    };
    struct name n;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (name_parse(rows[i], NAME_ANY, &n) != ERR_INVALID)
            fail_msg("%s was accepted", rows[i]);
    assert_rc(name_parse("hello.dot", NAME_CREATE, &n), ERR_INVALID);
    assert_rc(name_parse("hello:$LATEST.PUBLISHED", NAME_CREATE, &n), ERR_INVALID);
    char long_name[NAME_TEXT_MAX + 2];
    memset(long_name, 'a', sizeof(long_name));
    long_name[NAME_TEXT_MAX] = '\0';
    assert_rc(name_parse(long_name, NAME_ANY, &n), 0);
    long_name[NAME_TEXT_MAX] = 'a';
    long_name[NAME_TEXT_MAX + 1] = '\0';
    assert_rc(name_parse(long_name, NAME_ANY, &n), ERR_TOOBIG);
}

static void test_qualifiers(void **state)
{
    (void)state;
    assert_true(qualifier_valid("$LATEST"));
    assert_true(qualifier_valid("$LATEST.PUBLISHED"));
    assert_true(qualifier_valid("prod_1-a"));
    assert_true(qualifier_valid("12"));
    assert_false(qualifier_valid(""));
    assert_false(qualifier_valid("a.b"));
    assert_false(qualifier_valid("a b"));
}

static void test_roles(void **state)
{
    (void)state;
    assert_true(role_valid("arn:aws:iam::000000000000:role/lambda"));
    assert_true(role_valid("arn:aws:iam::000000000000:role/service-role/a+b=c,d.e@f_g"));
    assert_true(role_valid("arn:aws-cn:iam::000000000000:rolex"));
    assert_true(role_valid("arn:aws:iam::000000000000:role/")); /* by the pattern: the slash may be the name */
    assert_false(role_valid("arn:aws:iam::000000000000:role"));
    assert_false(role_valid("arn:aws:iam::00000000000:role/x"));
    assert_false(role_valid("arn:aws:iam:us-east-1:000000000000:role/x"));
    assert_false(role_valid("role"));
    assert_false(role_valid("arn:aws:iam::000000000000:role/a b"));
}

static void test_uri(void **state)
{
    (void)state;
    char out[16];
    assert_rc(uri_decode("a%20b%2fc+", 10, out, sizeof(out)), 0);
    assert_string_equal(out, "a b/c+");
    assert_rc(uri_decode("%2", 2, out, sizeof(out)), ERR_INVALID);
    assert_rc(uri_decode("%zz", 3, out, sizeof(out)), ERR_INVALID);
    assert_rc(uri_decode("%00", 3, out, sizeof(out)), ERR_INVALID);
    assert_rc(uri_decode("0123456789abcdef", 16, out, sizeof(out)), ERR_TOOBIG);
    assert_rc(uri_query_get("a=1&Qual%69fier=%24L&b", 22, "Qualifier", out, sizeof(out)), 0);
    assert_string_equal(out, "$L");
    assert_rc(uri_query_get("a=1&b", 5, "b", out, sizeof(out)), 0);
    assert_string_equal(out, "");
    assert_rc(uri_query_get("a=1", 3, "c", out, sizeof(out)), ERR_NOTFOUND);
    char many[256] = "";
    for (int i = 0; i <= URI_PARAMS_MAX; i++)
        strcat(many, "a&");
    struct uri_param v[URI_PARAMS_MAX];
    size_t n;
    assert_rc(uri_split_query(many, strlen(many), v, &n), ERR_TOOBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted), cmocka_unit_test(test_refused), cmocka_unit_test(test_qualifiers),
        cmocka_unit_test(test_roles),    cmocka_unit_test(test_uri),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
