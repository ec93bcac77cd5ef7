/* JSON in and out, and the messages about what is wrong with a request. */
#include "check.h"
#include "fault.h"
#include "function_in.h"
#include "json_in.h"
#include "json_out.h"
#include "runtimes.h"
#include "testutil.h"

static void test_payloads(void **state)
{
    (void)state;
    static const char *const good[] = {
        "", "{}", "null", "1", "\"x\"", " [1, 2] ", "12345678901234567890123", "\"a\\u0000b\"", "{\"a\":1,\"a\":2}",
    };
    static const char *const bad[] = {"{", "{'a':1}", "NaN", "01", "[1,]", "{} x", "\xff", "\"\xff\"", " ", "//\n1"};
    struct err e;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (json_check_payload(good[i], strlen(good[i]), &e) != 0)
            fail_msg("%s: %s", good[i], e.text);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (json_check_payload(bad[i], strlen(bad[i]), &e) != ERR_INVALID || !e.text[0])
            fail_msg("%s was taken for JSON", bad[i]);
    assert_rc(json_check_payload("{}\0", 3, &e), ERR_INVALID);
    assert_rc(json_check_payload("null\0", 5, &e), ERR_INVALID); /* to jansson a NUL there is the end */
    assert_rc(json_check_payload("1 \0 x", 5, &e), ERR_INVALID);
    assert_string_equal(e.text, "a NUL at line 1, column 3");
    assert_rc(json_check_payload("[1]\n\n \0]", 8, &e), ERR_INVALID);
    assert_string_equal(e.text, "a NUL at line 3, column 2");
    assert_rc(json_check_line("[1]\0", 4, &e), ERR_INVALID);
    assert_string_equal(e.text, "a NUL at column 4");
}

static void test_members(void **state)
{
    (void)state;
    static const char text[] = "{\"s\":\"x\",\"i\":7,\"b\":true,\"o\":{},\"n\":null,\"f\":1.5}";
    struct json_in in;
    int64_t i = 0;
    bool b = false;
    assert_rc(json_in_parse(&in, text, strlen(text), NULL), 0);
    assert_string_equal(json_in_str(&in, in.root, "s"), "x");
    assert_true(json_in_int(&in, in.root, "i", &i) && i == 7);
    assert_true(json_in_bool(&in, in.root, "b", &b) && b);
    assert_non_null(json_in_object(&in, in.root, "o"));
    assert_null(json_in_str(&in, in.root, "n"));
    assert_null(json_in_str(&in, NULL, "s"));
    assert_int_equal(in.type.code, 0);
    assert_false(json_in_int(&in, in.root, "f", &i));
    assert_string_equal(in.type.text, "f must be an integer");
    assert_null(json_in_str(&in, in.root, "i"));
    assert_string_equal(in.type.text, "f must be an integer"); /* the first is told */
    json_in_done(&in);
    assert_rc(json_in_parse(&in, "", 0, NULL), 0);
    json_in_done(&in);
    assert_rc(json_in_parse(&in, "[]", 2, NULL), ERR_INVALID);
    assert_rc(json_in_parse(&in, "{}\0{", 4, NULL), ERR_INVALID);
    assert_rc(json_in_parse(&in, "{\"a\":1,\"a\":2}", 13, NULL), ERR_INVALID);
}

static void test_out(void **state)
{
    (void)state;
    struct buf b;
    struct json_out o;
    buf_init(&b, 4096);
    out_init(&o, &b);
    out_begin(&o, NULL, '{');
    out_str(&o, "a", "q\"\\\n\t\x01\x7f");
    out_strn(&o, "utf8", "\xc3\xbc\xff\xed\xa0\x80\xf0\x9f\x98\x80\xe2\x82", 12);
    out_begin(&o, "list", '[');
    out_int(&o, NULL, -1);
    out_uint(&o, NULL, UINT64_MAX);
    out_bool(&o, NULL, true);
    out_str(&o, NULL, NULL);
    out_begin(&o, NULL, '{');
    out_end(&o, '}');
    out_end(&o, ']');
    out_seconds(&o, "t", 1700000000005);
    out_raw(&o, "raw", "[ 1 ]", 5);
    out_end(&o, '}');
    assert_rc(out_error(&o), 0);
    assert_string_equal(
        b.data, "{\"a\":\"q\\\"\\\\\\n\\t\\u0001\\u007f\","
                "\"utf8\":\"\xc3\xbc\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xf0\x9f\x98\x80\xef\xbf\xbd"
                "\xef\xbf\xbd\","
                "\"list\":[-1,18446744073709551615,true,null,{}],\"t\":1700000000.005,\"raw\":[ 1 ]}");
    assert_rc(json_check_payload(b.data, b.len, NULL), 0);
    buf_done(&b);
    buf_init(&b, 4);
    out_init(&o, &b);
    out_str(&o, NULL, "too long");
    out_str(&o, NULL, "x");
    assert_rc(out_error(&o), ERR_TOOBIG);
    buf_done(&b);
}

static void test_checks(void **state)
{
    (void)state;
    struct check c;
    check_init(&c);
    check_pattern(&c, "functionName", "a b", false, "[a-z]+");
    assert_string_equal(check_message(&c),
                        "1 validation error detected: Value 'a b' at 'functionName' failed to satisfy "
                        "constraint: Member must satisfy regular expression pattern: [a-z]+");
    check_range(&c, "timeout", 0, 1, 900);
    check_range(&c, "timeout", 901, 1, 900);
    check_range(&c, "timeout", 900, 1, 900);
    check_present(&c, "role", false);
    check_length(&c, "description", "\xc3\xbc\xc3\xbc", 0, 2); /* characters, not bytes */
    assert_int_equal(c.n, 4);
    const char *m = check_message(&c);
    assert_non_null(strstr(m, "4 validation errors detected: "));
    assert_non_null(strstr(m,
                           "; Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater than "
                           "or equal to 1"));
    assert_non_null(strstr(m, "Member must have value less than or equal to 900"));
    assert_non_null(strstr(m, "; Value null at 'role' failed to satisfy constraint: Member must not be null"));
    for (int i = 0; i < 1000; i++)
        check_other(&c, "many", "a value that fills the message", false, "a constraint that fills the message as well");
    assert_true(strlen(check_message(&c)) < 40000);
    check_done(&c);
}

static void test_faults(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1024);
    assert_rc(fault_body(FAULT_NOT_FOUND, "m", NULL, &b), 0);
    assert_string_equal(b.data, "{\"Type\":\"User\",\"Message\":\"m\"}");
    buf_clear(&b);
    assert_rc(fault_body(FAULT_CONFLICT, "m", NULL, &b), 0);
    assert_string_equal(b.data, "{\"Type\":\"User\",\"message\":\"m\"}");
    buf_clear(&b);
    assert_rc(fault_body(FAULT_SERVICE, "m", NULL, &b), 0);
    assert_string_equal(b.data, "{\"Type\":\"Service\",\"Message\":\"m\"}");
    buf_clear(&b);
    assert_rc(fault_body(FAULT_VALIDATION, "m", NULL, &b), 0);
    assert_string_equal(b.data, "{\"message\":\"m\"}");
    buf_clear(&b);
    assert_rc(fault_body(FAULT_TOO_MANY, "Rate Exceeded.", "R", &b), 0);
    assert_string_equal(b.data, "{\"Reason\":\"R\",\"Type\":\"User\",\"message\":\"Rate Exceeded.\"}");
    buf_clear(&b);
    assert_rc(fault_body(FAULT_ACCESS_DENIED, NULL, NULL, &b), 0);
    assert_string_equal(b.data, "{\"Message\":null}");
    buf_done(&b);
}

static void test_runtime_names(void **state)
{
    (void)state;
    struct fault f = {0};
    assert_rc(runtime_check_name("python3.12", 0, "", &f), 0);
    assert_rc(runtime_check_name("exec", 0, "", &f), 0);
    assert_rc(runtime_check_name("perl5", 0, "", &f), 0); /* a folder that somebody added */
    assert_rc(runtime_check_name("python3.7", 0, "", &f), ERR_INVALID);
    assert_non_null(strstr(f.text, "The runtime parameter of python3.7 is no longer supported"));
    fault_done(&f);
    assert_rc(runtime_check_name("Python3.12", ERR_NOTFOUND, "no folder", &f), ERR_INVALID);
    assert_non_null(strstr(f.text, "Value Python3.12 at 'runtime' failed to satisfy constraint"));
    assert_int_equal(f.type, FAULT_INVALID_PARAMETER);
    fault_done(&f);
    assert_rc(runtime_check_name("ruby3.3", ERR_NOTFOUND, "no folder", &f), ERR_INVALID);
    assert_string_equal(f.text, "no folder");
    fault_done(&f);
    assert_rc(runtime_check_name("perl5", ERR_INVALID, "install perl", &f), ERR_INVALID);
    assert_string_equal(f.text, "install perl");
    fault_done(&f);
}

#define BASE                                                                                                           \
    "\"FunctionName\":\"f\",\"Role\":\"arn:aws:iam::000000000000:role/r\",\"Runtime\":\"python3.12\","                 \
    "\"Handler\":\"app.h\",\"Code\":{\"ZipFile\":\"UEs=\"}"

static enum fault_type read_doc(const char *text, enum function_op op, struct fault *f)
{
    struct function_in in;
    struct check c;
    check_init(&c);
    int r = function_in_read(&in, op, op == FUNCTION_CREATE ? NULL : "f", text, strlen(text), &c, f);
    assert_int_equal(r < 0, f->type != FAULT_NONE);
    function_in_done(&in);
    check_done(&c);
    return f->type;
}

static void test_documents(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum fault_type type;
        const char *part;
    } rows[] = {
        {"{" BASE "}", FAULT_NONE, NULL},
        {"{" BASE ",\"Unknown\":{\"x\":[1]}}", FAULT_NONE, NULL},
        {"{" BASE ",\"VpcConfig\":{\"SubnetIds\":[],\"SecurityGroupIds\":[]}}", FAULT_NONE, NULL},
        {"{" BASE ",\"LoggingConfig\":{\"LogFormat\":\"Text\",\"LogGroup\":\"/aws/lambda/f\"}}", FAULT_NONE, NULL},
        {"{" BASE ",\"DeadLetterConfig\":{\"TargetArn\":\"\"},\"Layers\":[],\"Publish\":false}", FAULT_NONE, NULL},
        {"{", FAULT_INVALID_CONTENT, "Could not parse request body into json"},
        {"{}", FAULT_VALIDATION, "'functionName' failed to satisfy constraint: Member must not be null"},
        {"{" BASE ",\"Timeout\":\"3\"}", FAULT_SERIALIZATION, "Timeout must be an integer"},
        {"{" BASE ",\"Timeout\":901}", FAULT_VALIDATION, "Value '901' at 'timeout'"},
        {"{" BASE ",\"MemorySize\":64}", FAULT_VALIDATION, "greater than or equal to 128"},
        {"{" BASE ",\"EphemeralStorage\":{\"Size\":1}}", FAULT_VALIDATION, "ephemeralStorage.size"},
        {"{" BASE ",\"Architectures\":[\"x86_64\",\"arm64\"]}", FAULT_VALIDATION, "Value '[x86_64, arm64]'"},
        {"{" BASE ",\"Environment\":{\"Variables\":{\"1A\":\"x\"}}}", FAULT_VALIDATION, "[a-zA-Z]([a-zA-Z0-9_])+"},
        {"{" BASE ",\"Environment\":{\"Variables\":{\"AWS_REGION\":\"x\"}}}", FAULT_INVALID_PARAMETER,
         "Reserved keys used in this request: AWS_REGION"},
        {"{" BASE ",\"Publish\":true}", FAULT_INVALID_PARAMETER, "Publish is not supported"},
        {"{" BASE ",\"Layers\":[\"arn:x\"]}", FAULT_INVALID_PARAMETER, "Layers is not supported"},
        {"{" BASE ",\"VpcConfig\":{\"SubnetIds\":[\"s\"]}}", FAULT_INVALID_PARAMETER, "VpcConfig is not supported"},
        {"{" BASE ",\"DeadLetterConfig\":{\"TargetArn\":\"arn:x\"}}", FAULT_INVALID_PARAMETER, "DeadLetterConfig"},
        {"{" BASE ",\"TracingConfig\":{\"Mode\":\"Active\"}}", FAULT_INVALID_PARAMETER, "TracingConfig"},
        {"{" BASE ",\"TracingConfig\":{\"Mode\":\"x\"}}", FAULT_VALIDATION, "tracingConfig.mode"},
        {"{" BASE ",\"LoggingConfig\":{\"LogFormat\":\"JSON\"}}", FAULT_INVALID_PARAMETER, "LoggingConfig"},
        {"{" BASE ",\"LoggingConfig\":{\"LogGroup\":\"/mine\"}}", FAULT_INVALID_PARAMETER, "LoggingConfig.LogGroup"},
        {"{" BASE ",\"LoggingConfig\":{\"SystemLogLevel\":\"INFO\"}}", FAULT_INVALID_PARAMETER,
         "LogLevel is not supported when LogFormat is set to \"Text\""},
        {"{" BASE ",\"SnapStart\":{\"ApplyOn\":\"PublishedVersions\"}}", FAULT_INVALID_PARAMETER, "SnapStart"},
        {"{" BASE ",\"KMSKeyArn\":\"arn:k\"}", FAULT_INVALID_PARAMETER, "KMSKeyArn"},
        {"{" BASE ",\"FileSystemConfigs\":[{}]}", FAULT_INVALID_PARAMETER, "FileSystemConfigs"},
        {"{" BASE ",\"PackageType\":\"Image\"}", FAULT_INVALID_PARAMETER, "PackageType Image"},
        {"{\"FunctionName\":\"f\",\"Role\":\"arn:aws:iam::000000000000:role/"
         "r\",\"Handler\":\"h\",\"Code\":{\"ZipFile\":\"\"}}",
         FAULT_INVALID_PARAMETER, "Runtime is mandatory"},
        {"{\"FunctionName\":\"f\",\"Role\":\"arn:aws:iam::000000000000:role/r\",\"Runtime\":\"exec\",\"Handler\":\"h\","
         "\"Code\":{\"S3Bucket\":\"b\",\"S3Key\":\"k\"}}",
         FAULT_INVALID_PARAMETER, "S3Bucket is not supported"},
        {"{\"FunctionName\":\"f\",\"Role\":\"bad\",\"Runtime\":\"exec\",\"Handler\":\"h h\",\"Code\":{}}",
         FAULT_VALIDATION, "2 validation errors detected"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fault f = {0};
        enum fault_type t = read_doc(rows[i].text, FUNCTION_CREATE, &f);
        if (t != rows[i].type || (rows[i].part && !strstr(f.text, rows[i].part)))
            fail_msg("%s: %d %s", rows[i].text, (int)t, f.text ? f.text : "");
        fault_done(&f);
    }
}

static void test_big_environment(void **state)
{
    (void)state;
    char value[4200], doc[5200];
    struct fault f = {0};
    memset(value, 'v', sizeof(value));
    value[4096 - 9] = '\0'; /* {"AB":"..."} is exactly 4096 */
    (void)snprintf(doc, sizeof(doc), "{" BASE ",\"Environment\":{\"Variables\":{\"AB\":\"%s\"}}}", value);
    assert_int_equal(read_doc(doc, FUNCTION_CREATE, &f), FAULT_NONE);
    value[4096 - 9] = 'v';
    value[4096 - 8] = '\0';
    (void)snprintf(doc, sizeof(doc), "{" BASE ",\"Environment\":{\"Variables\":{\"AB\":\"%s\"}}}", value);
    assert_int_equal(read_doc(doc, FUNCTION_CREATE, &f), FAULT_INVALID_PARAMETER);
    assert_non_null(strstr(f.text, "exceeded the 4KB limit. String measured: {\"AB\":\"vvv"));
    fault_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_payloads),  cmocka_unit_test(test_members),         cmocka_unit_test(test_out),
        cmocka_unit_test(test_checks),    cmocka_unit_test(test_faults),          cmocka_unit_test(test_runtime_names),
        cmocka_unit_test(test_documents), cmocka_unit_test(test_big_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
