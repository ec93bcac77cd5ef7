/* The function record: golden bytes, round trip, damage. */
#include "codec.h"
#include "testutil.h"

/* Written down once: a change of these bytes is a change of format and needs a new version. */
static const char golden[] =
    "0173475a5cdc00180703a568656c6c6faa707974686f6e332e3132d92061726e3a6177733a69616d3a3a303030303030"
    "3030303030303a726f6c652f72ab6170702e68616e646c6572a66772c3bcc39f03cc80cd0200c394a5415f4b4559a131"
    "a5425f4b4559a13292a47465616da178a67838365f3634d9406533623063343432393866633163313439616662663463"
    "3839393666623932343237616534316534363439623933346361343935393931623738353262383535cd04d2cf000001"
    "8bcfe5687bd92430623966326632652d366637632d346135332d396433382d3261356133663064366331310101a005c3"
    "94c301cd0e10cf0000018bcfe569c8";

static struct function sample(void)
{
    static const struct pair env[] = {{"B_KEY", "2"}, {"A_KEY", "1"}};
    static const struct pair tags[] = {{"team", "x"}};
    struct function f;
    function_defaults(&f);
    f.fid = 7;
    f.generation = 3;
    (void)snprintf(f.name, sizeof(f.name), "hello");
    (void)snprintf(f.runtime, sizeof(f.runtime), "python3.12");
    (void)snprintf(f.role, sizeof(f.role), "arn:aws:iam::000000000000:role/r");
    (void)snprintf(f.handler, sizeof(f.handler), "app.handler");
    (void)snprintf(f.description, sizeof(f.description), "gr\xc3\xbc\xc3\x9f");
    (void)snprintf(f.code_sha256, sizeof(f.code_sha256),
                   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    (void)snprintf(f.revision_id, sizeof(f.revision_id), "0b9f2f2e-6f7c-4a53-9d38-2a5a3f0d6c11");
    f.env = env;
    f.n_env = 2;
    f.has_env = true;
    f.tags = tags;
    f.n_tags = 1;
    f.code_size = 1234;
    f.modified_at_ms = 1700000000123;
    f.state = FUNCTION_ACTIVE;
    f.update = UPDATE_SUCCESSFUL;
    f.reserved = 5;
    f.paused = true;
    f.async = (struct invoke_config){true, 1, 3600, 1700000000456};
    return f;
}

static void encode(const struct function *f, struct buf *b)
{
    const struct function *snap = function_build(f);
    assert_non_null(snap);
    buf_init(b, FUNCTION_RECORD_MAX);
    assert_rc(function_encode(snap, b), 0);
    function_unref(snap);
}

static void test_golden(void **state)
{
    (void)state;
    struct function f = sample();
    struct buf b;
    encode(&f, &b);
    char *hex = malloc(2 * b.len + 1);
    assert_non_null(hex);
    hex_encode(b.data, b.len, hex);
    assert_string_equal(hex, golden);
    free(hex);
    buf_done(&b);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct function f = sample();
    const struct function *g;
    struct buf b;
    encode(&f, &b);
    assert_rc(function_decode(b.data, b.len, &g), 0);
    assert_int_equal(g->fid, 7);
    assert_int_equal(g->generation, 3);
    assert_string_equal(g->description, f.description);
    assert_int_equal(g->n_env, 2);
    assert_string_equal(g->env[0].key, "A_KEY"); /* sorted */
    assert_string_equal(g->env[1].value, "2");
    assert_string_equal(g->tags[0].key, "team");
    assert_string_equal(g->code_sha256, f.code_sha256);
    assert_int_equal(g->reserved, 5);
    assert_true(g->paused);
    assert_true(g->has_env);
    assert_int_equal(g->async.max_age_s, 3600);
    assert_int_equal(g->state, FUNCTION_ACTIVE);
    assert_int_equal(g->update, UPDATE_SUCCESSFUL);
    function_unref(g);
    buf_done(&b);
}

static void test_damage(void **state)
{
    (void)state;
    struct function f = sample();
    const struct function *g;
    struct buf b;
    encode(&f, &b);
    for (size_t len = 0; len < b.len; len++)
        assert_true(function_decode(b.data, len, &g) < 0);
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] = (char)(b.data[i] ^ 0x20);
        int rc = function_decode(b.data, b.len, &g);
        assert_true(rc == ERR_CORRUPT || rc == ERR_VERSION);
        b.data[i] = (char)(b.data[i] ^ 0x20);
    }
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
