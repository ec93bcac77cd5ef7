/* Functions over HTTP: who may call, create to delete, concurrency, asynchronous settings. */
#include "fixture.h"

#define FUNCTIONS "/2015-03-31/functions"

static void test_authentication(void **state)
{
    struct fx *x = *state;
    expect(ask(x, "GET", FUNCTIONS "/", "", NULL), 200); /* the Unix socket trusts our uid */
    expect(ask_tcp(x, "GET", FUNCTIONS "/", NULL, FIXTURE_KEY_ID, FIXTURE_SECRET), 200);
    expect(ask_tcp(x, "GET", FUNCTIONS "/?MaxItems=3&Marker=", NULL, FIXTURE_KEY_ID, FIXTURE_SECRET), 200);
    expect_fault(ask_tcp(x, "GET", FUNCTIONS "/", NULL, "", ""), 403, "MissingAuthenticationTokenException",
                 "{\"message\":\"Missing Authentication Token\"}");
    expect_fault(ask_tcp(x, "GET", FUNCTIONS "/", NULL, "AKIDOTHER", FIXTURE_SECRET), 403,
                 "UnrecognizedClientException", "The security token included in the request is invalid.");
    expect_fault(ask_tcp(x, "GET", FUNCTIONS "/", NULL, FIXTURE_KEY_ID, "wrong"), 403, "InvalidSignatureException",
                 "does not match the signature you provided");
    expect(ask_tcp(x, "GET", "/health", NULL, "", ""), 200);
    expect_fault(ask(x, "GET", "/nothing", "", NULL), 404, "UnknownOperationException", "message");
    expect_fault(ask_tcp(x, "DELETE", FUNCTIONS, NULL, "", ""), 404, "UnknownOperationException", "message");
}

static void test_distrusted_socket(void **state)
{
    struct fx *x = *state;
    expect_fault(ask(x, "GET", FUNCTIONS "/", "", NULL), 403, "MissingAuthenticationTokenException", "");
}

static void test_early_refusal(void **state)
{
    struct fx *x = *state;
    /* The length alone refuses it: none of the body is sent. */
    static const char big[] =
        "POST " FUNCTIONS " HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 70167212\r\n\r\n";
    expect_fault(ask_raw(x, false, big, strlen(big)), 413, "RequestEntityTooLargeException",
                 "Request must be smaller than 70167211 bytes for the CreateFunction operation");
    static const char unsigned_big[] =
        "POST " FUNCTIONS " HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n";
    expect_fault(ask_raw(x, true, unsigned_big, strlen(unsigned_big)), 403, "MissingAuthenticationTokenException", "");
    static const char garbage[] = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    expect_fault(ask_raw(x, false, garbage, strlen(garbage)), 400, "BadRequestException", "message");
}

static void test_create(void **state)
{
    struct fx *x = *state;
    char *zip = package("print(1)"), doc[4096];
    (void)snprintf(
        doc, sizeof(doc),
        "{\"FunctionName\":\"hello\",\"Role\":\"arn:aws:iam::000000000000:role/r\",\"Runtime\":\"python3.12\","
        "\"Handler\":\"app.h\",\"Code\":{\"ZipFile\":\"%s\"},\"Timeout\":7,\"Environment\":{\"Variables\":"
        "{\"BB\":\"2\",\"AA\":\"1\"}},\"Tags\":{\"k\":\"v\"}}",
        zip);
    free(zip);
    struct reply r = ask_tcp(x, "POST", FUNCTIONS, doc, FIXTURE_KEY_ID, FIXTURE_SECRET);
    if (r.status != 201)
        fail_msg("%d %s", r.status, r.body);
    assert_string_equal(reply_str(&r, "State"), "Pending");
    assert_string_equal(reply_str(&r, "StateReason"), "The function is being created.");
    assert_string_equal(reply_str(&r, "StateReasonCode"), "Creating");
    assert_null(json_object_get(r.json, "LastUpdateStatus"));
    assert_string_equal(reply_str(&r, "FunctionArn"), "arn:aws:lambda:us-east-1:000000000000:function:hello");
    assert_string_equal(reply_str(&r, "Version"), "$LATEST");
    assert_string_equal(reply_str(&r, "PackageType"), "Zip");
    assert_string_equal(reply_str(&r, "Description"), "");
    assert_int_equal(reply_int(&r, "Timeout"), 7);
    assert_int_equal(reply_int(&r, "MemorySize"), 128);
    assert_string_equal(reply_str(&r, "LastModified"), "2023-11-14T22:13:20.000+0000");
    assert_int_equal(strlen(reply_str(&r, "CodeSha256")), 44);
    reply_done(&r);
    await_active(x, "hello");
    expect_fault(ask(x, "POST", FUNCTIONS "/", "", doc), 409, "ResourceConflictException",
                 "Function already exist: hello");
    r = ask(x, "GET", FUNCTIONS "/hello", "", NULL);
    assert_int_equal(r.status, 200);
    json_t *cfg = json_object_get(r.json, "Configuration");
    assert_string_equal(json_string_value(json_object_get(cfg, "State")), "Active");
    assert_string_equal(json_string_value(json_object_get(cfg, "LastUpdateStatus")), "Successful");
    assert_string_equal(json_string_value(json_object_get(json_object_get(r.json, "Tags"), "k")), "v");
    assert_null(json_object_get(r.json, "Concurrency"));
    reply_done(&r);
    r = ask(x, "GET", FUNCTIONS "/hello/configuration?Qualifier=%24LATEST", "", NULL);
    assert_string_equal(reply_str(&r, "FunctionArn"), "arn:aws:lambda:us-east-1:000000000000:function:hello:$LATEST");
    reply_done(&r);
}

static void test_create_refused(void **state)
{
    struct fx *x = *state;
    static const char head[] = "{\"Role\":\"arn:aws:iam::000000000000:role/r\",\"Handler\":\"app.h\",";
    char doc[1024], name[80];
    memset(name, 'n', 65);
    name[65] = '\0';
    (void)snprintf(doc, sizeof(doc),
                   "%s\"FunctionName\":\"a\",\"Runtime\":\"python3.12\",\"Code\":{\"ZipFile\":\"aGVsbG8=\"}}", head);
    expect_fault(
        ask(x, "POST", FUNCTIONS, "", doc), 400, "InvalidParameterValueException",
        "{\"Type\":\"User\",\"message\":\"Could not unzip uploaded file. Please check your file, then try to upload "
        "again.\"}");
    (void)snprintf(doc, sizeof(doc),
                   "%s\"FunctionName\":\"a\",\"Runtime\":\"python3.12\",\"Code\":{\"ZipFile\":\"!!\"}}", head);
    expect_fault(ask(x, "POST", FUNCTIONS, "", doc), 400, "SerializationException", "base64");
    (void)snprintf(doc, sizeof(doc),
                   "%s\"FunctionName\":\"%s\",\"Runtime\":\"python3.12\",\"Code\":{\"ZipFile\":\"\"}}", head, name);
    expect_fault(ask(x, "POST", FUNCTIONS, "", doc), 400, "InvalidParameterValueException",
                 "1 validation error detected: Value 'nnn");
    (void)snprintf(doc, sizeof(doc), "%s\"FunctionName\":\"a\",\"Runtime\":\"ruby3.4\",\"Code\":{\"ZipFile\":\"\"}}",
                   head);
    expect_fault(ask(x, "POST", FUNCTIONS, "", doc), 400, "InvalidParameterValueException",
                 "no interpreter for ruby3.4 is installed here");
    expect_fault(ask(x, "POST", FUNCTIONS, "", "{}"), 400, "ValidationException", "3 validation errors detected: ");
    expect_fault(ask(x, "POST", FUNCTIONS, "", "nonsense"), 400, "InvalidRequestContentException", "into json");
    assert_int_equal(registry_count(x->registry), 0);
}

static void test_code_link(void **state)
{
    struct fx *x = *state;
    char *zip = package("print(1)");
    make_function(x, "hello");
    struct reply r = ask_tcp(x, "GET", FUNCTIONS "/hello", NULL, FIXTURE_KEY_ID, FIXTURE_SECRET);
    const char *url = json_string_value(json_object_get(json_object_get(r.json, "Code"), "Location"));
    char prefix[64], target[1024];
    (void)snprintf(prefix, sizeof(prefix), "http://127.0.0.1:%u", x->port);
    assert_memory_equal(url, prefix, strlen(prefix));
    (void)snprintf(target, sizeof(target), "%s", url + strlen(prefix));
    reply_done(&r);
    r = ask_tcp(x, "GET", target, NULL, "", ""); /* the link itself is the permission */
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_header(&r, "Content-Type"), "application/zip");
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(base64_encode(r.body, r.len, &b), 0);
    assert_string_equal(b.data, zip);
    buf_done(&b);
    reply_done(&r);
    char *last = target + strlen(target) - 1;
    *last = *last == '0' ? '1' : '0';
    expect_fault(ask_tcp(x, "GET", target, NULL, "", ""), 403, "InvalidSignatureException", "");
    free(zip);
}

static void test_update(void **state)
{
    struct fx *x = *state;
    char *zip = package("print(2)"), doc[2048], revision[64];
    make_function(x, "hello");
    struct reply r = ask(x, "GET", FUNCTIONS "/hello/configuration", "", NULL);
    (void)snprintf(revision, sizeof(revision), "%s", reply_str(&r, "RevisionId"));
    reply_done(&r);
    r = ask(x, "PUT", FUNCTIONS "/hello/configuration", "", "{\"Timeout\":9,\"Description\":\"d\"}");
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_str(&r, "LastUpdateStatus"), "InProgress");
    assert_string_equal(reply_str(&r, "Handler"), "app.h");
    assert_int_equal(reply_int(&r, "Timeout"), 9);
    reply_done(&r);
    await_active(x, "hello");
    (void)snprintf(doc, sizeof(doc), "{\"RevisionId\":\"%s\"}", revision);
    expect_fault(ask(x, "PUT", FUNCTIONS "/hello/configuration", "", doc), 412, "PreconditionFailedException",
                 "The Revision Id provided does not match");
    (void)snprintf(doc, sizeof(doc), "{\"ZipFile\":\"%s\",\"DryRun\":true}", zip);
    r = ask(x, "PUT", FUNCTIONS "/hello/code", "", doc);
    assert_int_equal(r.status, 200);
    char dry[64];
    (void)snprintf(dry, sizeof(dry), "%s", reply_str(&r, "CodeSha256"));
    reply_done(&r);
    r = ask(x, "GET", FUNCTIONS "/hello/configuration", "", NULL);
    assert_string_not_equal(reply_str(&r, "CodeSha256"), dry);
    reply_done(&r);
    (void)snprintf(doc, sizeof(doc), "{\"ZipFile\":\"%s\"}", zip);
    r = ask(x, "PUT", FUNCTIONS "/hello/code", "", doc);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_str(&r, "CodeSha256"), dry);
    assert_string_equal(reply_str(&r, "LastUpdateStatus"), "InProgress");
    reply_done(&r);
    await_active(x, "hello");
    expect_fault(ask(x, "PUT", FUNCTIONS "/nobody/code", "", doc), 404, "ResourceNotFoundException",
                 "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody");
    expect_fault(ask(x, "PUT", FUNCTIONS "/hello/configuration", "", "{\"Timeout\":0}"), 400, "ValidationException",
                 "Value '0' at 'timeout'");
    free(zip);
}

static void test_names(void **state)
{
    struct fx *x = *state;
    make_function(x, "hello");
    expect(ask(x, "GET", FUNCTIONS "/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello", "", NULL), 200);
    expect(ask(x, "GET", FUNCTIONS "/000000000000:function:hello:$LATEST", "", NULL), 200);
    expect_fault(ask(x, "GET", FUNCTIONS "/hello:1?Qualifier=2", "", NULL), 400, "InvalidParameterValueException",
                 "The derived qualifier from the function name does not match the specified qualifier.");
    expect_fault(ask(x, "GET", FUNCTIONS "/hello?Qualifier=prod", "", NULL), 404, "ResourceNotFoundException",
                 "Function not found: arn:aws:lambda:us-east-1:000000000000:function:hello:prod");
    expect_fault(ask(x, "GET", FUNCTIONS "/he%20llo?Qualifier=a.b", "", NULL), 400, "ValidationException",
                 "2 validation errors detected: Value 'he llo' at 'functionName'");
    expect_fault(ask(x, "GET", FUNCTIONS "/ap-southeast-1:000000000000:function:hello", "", NULL), 404,
                 "ResourceNotFoundException",
                 "Functions from 'ap-southeast-1' are not reachable in this region ('us-east-1')");
    expect_fault(ask(x, "GET", FUNCTIONS "/111111111111:function:hello", "", NULL), 403, "AccessDeniedException",
                 "{\"Message\":null}");
}

static void test_list(void **state)
{
    struct fx *x = *state;
    make_function(x, "b");
    make_function(x, "a");
    make_function(x, "c");
    struct reply r = ask(x, "GET", FUNCTIONS "/?MaxItems=2", "", NULL);
    const json_t *list = json_object_get(r.json, "Functions");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "FunctionName")), "a");
    assert_null(json_object_get(json_array_get(list, 0), "State"));
    assert_string_equal(reply_str(&r, "NextMarker"), "Yg=="); /* opaque to clients: base64 of the last name */
    reply_done(&r);
    r = ask(x, "GET", FUNCTIONS "/?MaxItems=2&FunctionVersion=ALL&Marker=Yg%3D%3D", "", NULL);
    list = json_object_get(r.json, "Functions");
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "FunctionArn")),
                        "arn:aws:lambda:us-east-1:000000000000:function:c:$LATEST");
    assert_null(json_object_get(r.json, "NextMarker"));
    reply_done(&r);
    expect_fault(ask(x, "GET", FUNCTIONS "/?MaxItems=0", "", NULL), 400, "ValidationException", "'maxItems'");
    expect_fault(ask(x, "GET", FUNCTIONS "/?FunctionVersion=x", "", NULL), 400, "ValidationException", "[ALL]");
    expect_fault(ask(x, "GET", FUNCTIONS "/?Marker=!", "", NULL), 400, "InvalidParameterValueException", "Marker");
}

static void test_delete(void **state)
{
    struct fx *x = *state;
    make_function(x, "hello");
    expect_fault(ask(x, "DELETE", FUNCTIONS "/hello?Qualifier=$LATEST", "", NULL), 400,
                 "InvalidParameterValueException", "$LATEST version cannot be deleted without deleting the function.");
    expect_fault(ask(x, "DELETE", FUNCTIONS "/hello?Qualifier=prod", "", NULL), 400, "InvalidParameterValueException",
                 "Deletion of aliases is not currently supported.");
    expect(ask(x, "DELETE", FUNCTIONS "/hello?Qualifier=3", "", NULL), 204);
    expect(ask(x, "DELETE", FUNCTIONS "/hello", "", NULL), 204);
    expect_fault(ask(x, "DELETE", FUNCTIONS "/hello:1", "", NULL), 404, "ResourceNotFoundException",
                 "function:hello\"");
    expect_fault(ask(x, "GET", FUNCTIONS "/hello", "", NULL), 404, "ResourceNotFoundException",
                 "{\"Type\":\"User\",\"Message\":\"Function not found: "
                 "arn:aws:lambda:us-east-1:000000000000:function:hello\"}");
    make_function(x, "hello");
}

#define CONCURRENCY "/2017-10-31/functions/hello/concurrency"

static void test_concurrency(void **state)
{
    struct fx *x = *state;
    make_function(x, "hello");
    struct reply r = ask(x, "GET", "/2019-09-30/functions/hello/concurrency", "", NULL);
    assert_string_equal(r.body, "{}");
    reply_done(&r);
    r = ask(x, "PUT", CONCURRENCY, "", "{\"ReservedConcurrentExecutions\":0}");
    assert_string_equal(r.body, "{\"ReservedConcurrentExecutions\":0}");
    reply_done(&r);
    expect_fault(
        ask(x, "PUT", CONCURRENCY, "", "{\"ReservedConcurrentExecutions\":901}"), 400, "InvalidParameterValueException",
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
        "below its minimum value of [100].");
    expect_fault(ask(x, "PUT", CONCURRENCY, "", "{}"), 400, "ValidationException", "must not be null");
    expect_fault(ask(x, "PUT", CONCURRENCY, "", "{\"ReservedConcurrentExecutions\":-1}"), 400, "ValidationException",
                 "greater than or equal to 0");
    expect_fault(
        ask(x, "PUT", "/2017-10-31/functions/nobody/concurrency", "", "{\"ReservedConcurrentExecutions\":5000}"), 404,
        "ResourceNotFoundException", "function:nobody:$LATEST");
    expect_fault(ask(x, "PUT", "/2017-10-31/functions/hello:1/concurrency", "", "{\"ReservedConcurrentExecutions\":1}"),
                 400, "InvalidParameterValueException", "This operation is permitted on Lambda functions only.");
    r = ask(x, "GET", "/2016-08-19/account-settings", "", NULL);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(r.json, "AccountUsage"), "FunctionCount")), 1);
    reply_done(&r);
    r = ask(x, "GET", FUNCTIONS "/hello", "", NULL);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(r.json, "Concurrency"), "ReservedConcurrentExecutions")), 0);
    reply_done(&r);
    expect(ask(x, "DELETE", CONCURRENCY, "", NULL), 204);
    r = ask(x, "GET", "/2019-09-30/functions/hello/concurrency", "", NULL);
    assert_string_equal(r.body, "{}");
    reply_done(&r);
}

#define CONFIG "/2019-09-25/functions/hello/event-invoke-config"

static void test_event_config(void **state)
{
    struct fx *x = *state;
    make_function(x, "hello");
    static const char missing[] =
        "The function arn:aws:lambda:us-east-1:000000000000:function:hello:$LATEST doesn't have an EventInvokeConfig";
    expect_fault(ask(x, "GET", CONFIG, "", NULL), 404, "ResourceNotFoundException", missing);
    expect_fault(ask(x, "DELETE", CONFIG, "", NULL), 404, "ResourceNotFoundException", missing);
    expect_fault(ask(x, "POST", CONFIG, "", "{\"MaximumRetryAttempts\":1}"), 404, "ResourceNotFoundException", missing);
    expect_fault(ask(x, "PUT", CONFIG, "", "{}"), 400, "InvalidParameterValueException",
                 "You must specify at least one of error handling or destination setting.");
    expect_fault(ask(x, "PUT", CONFIG, "", "{\"MaximumRetryAttempts\":3,\"MaximumEventAgeInSeconds\":1}"), 400,
                 "ValidationException", "2 validation errors detected");
    expect_fault(
        ask(x, "PUT", CONFIG, "",
            "{\"DestinationConfig\":{\"OnFailure\":{\"Destination\":\"arn:aws:sqs:us-east-1:000000000000:q\"}}}"),
        400, "InvalidParameterValueException", "does not deliver to destinations yet");
    expect_fault(ask(x, "PUT", "/2019-09-25/functions/nobody/event-invoke-config", "", "{\"MaximumRetryAttempts\":1}"),
                 404, "ResourceNotFoundException", "The function doesn't exist.");
    struct reply r = ask(x, "PUT", CONFIG, "", "{\"MaximumRetryAttempts\":0}");
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body,
                        "{\"LastModified\":1700000000.000,"
                        "\"FunctionArn\":\"arn:aws:lambda:us-east-1:000000000000:function:hello:$LATEST\","
                        "\"MaximumRetryAttempts\":0,\"DestinationConfig\":{\"OnSuccess\":{},\"OnFailure\":{}}}");
    reply_done(&r);
    r = ask(x, "POST", CONFIG, "", "{\"MaximumEventAgeInSeconds\":60}");
    assert_int_equal(reply_int(&r, "MaximumRetryAttempts"), 0);
    assert_int_equal(reply_int(&r, "MaximumEventAgeInSeconds"), 60);
    reply_done(&r);
    r = ask(x, "GET", CONFIG "/list", "", NULL);
    assert_int_equal(json_array_size(json_object_get(r.json, "FunctionEventInvokeConfigs")), 1);
    reply_done(&r);
    expect(ask(x, "DELETE", CONFIG, "", NULL), 204);
    expect_fault(ask(x, "GET", CONFIG, "", NULL), 404, "ResourceNotFoundException", missing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_authentication, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_distrusted_socket, fx_setup_distrust, fx_teardown),
        cmocka_unit_test_setup_teardown(test_early_refusal, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_create, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_create_refused, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_code_link, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_update, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_names, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_list, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_delete, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_concurrency, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_event_config, fx_setup, fx_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
