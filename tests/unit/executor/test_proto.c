/* The message format between engine and executor process: round trips, every truncation, hostile input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pack.h"
#include "executor_proto/proto.h"

#define OTHER_SHA "00000000000000000000000000000000000000000000000000000000000000ff"
#define SHA       "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct proto_in in;
static const char *const argv_[] = {"/var/task/bootstrap", "an argument", ""};
static const char *const env_[] = {"A=1", "_HANDLER=index.handler", "EMPTY="};
static const char *const layers_[] = {OTHER_SHA, SHA};
static const char *const degraded_[] = {"no memory limit: user without cgroups", "no freezer"};

static struct proto_msg start_msg(void)
{
    struct proto_msg m = {.type = PROTO_START, .worker = 42};
    memcpy(m.u.start.code_sha256, SHA, sizeof SHA);
    strcpy(m.u.start.runtime_dir, "python3.12");
    strcpy(m.u.start.role, "web");
    m.u.start.memory_mb = 128;
    m.u.start.tmp_mb = 512;
    m.u.start.nproc = 64;
    m.u.start.cpu_boost = true;
    m.u.start.argv = argv_;
    m.u.start.n_argv = 3;
    m.u.start.env = env_;
    m.u.start.n_env = 3;
    m.u.start.layers = layers_;
    m.u.start.n_layers = 2;
    return m;
}

static enum proto_from sender(enum proto_type t)
{
    return t < PROTO_HELLO ? PROTO_FROM_ENGINE : PROTO_FROM_EXECUTOR;
}

static void encode(const struct proto_msg *m, struct buf *b)
{
    buf_init(b, PROTO_MSG_MAX);
    struct err e = {0};
    if (proto_encode(m, b, &e) < 0)
        fail_msg("%s", e.text);
}

static const struct proto_msg *round_trip(const struct proto_msg *m)
{
    struct buf b;
    encode(m, &b);
    struct err e = {0};
    if (proto_decode(&in, sender(m->type), b.data, b.len, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(proto_decode(&in, sender(m->type) == PROTO_FROM_ENGINE ? PROTO_FROM_EXECUTOR : PROTO_FROM_ENGINE,
                                  b.data, b.len, NULL),
                     ERR_CORRUPT);
    assert_int_equal(proto_decode(&in, sender(m->type), b.data, b.len, NULL), 0);
    buf_done(&b); /* what was decoded must not point into the datagram */
    assert_int_equal(in.msg.type, m->type);
    assert_int_equal(in.msg.worker, m->worker);
    return &in.msg;
}

static void test_start_round_trip(void **state)
{
    (void)state;
    struct proto_msg m = start_msg();
    const struct proto_start *s = &round_trip(&m)->u.start;
    assert_string_equal(s->code_sha256, SHA);
    assert_string_equal(s->runtime_dir, "python3.12");
    assert_string_equal(s->role, "web");
    assert_int_equal(s->memory_mb, 128);
    assert_int_equal(s->tmp_mb, 512);
    assert_int_equal(s->nproc, 64);
    assert_true(s->cpu_boost);
    assert_int_equal(s->n_argv, 3);
    assert_string_equal(s->argv[1], "an argument");
    assert_string_equal(s->argv[2], "");
    assert_null(s->argv[3]);
    assert_int_equal(s->n_env, 3);
    assert_string_equal(s->env[2], "EMPTY=");
    assert_null(s->env[3]);
    assert_int_equal(s->n_layers, 2);
    assert_string_equal(s->layers[0], OTHER_SHA);
    assert_string_equal(s->layers[1], SHA);
}

static void test_short_messages_round_trip(void **state)
{
    (void)state;
    const enum proto_type t[] = {PROTO_RESET, PROTO_STOP, PROTO_FREEZE, PROTO_THAW, PROTO_READY, PROTO_RESET_DONE};
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct proto_msg m = {.type = t[i], .worker = UINT64_MAX};
        (void)round_trip(&m);
    }
}

static void test_answers_round_trip(void **state)
{
    (void)state;
    struct proto_msg m = {.type = PROTO_HELLO};
    m.u.hello.version = PROTO_VERSION;
    strcpy(m.u.hello.limits, "v1");
    strcpy(m.u.hello.sandbox, "strict");
    m.u.hello.degraded = degraded_;
    m.u.hello.n_degraded = 2;
    const struct proto_msg *r = round_trip(&m);
    assert_string_equal(r->u.hello.limits, "v1");
    assert_int_equal(r->u.hello.n_degraded, 2);
    assert_string_equal(r->u.hello.degraded[1], "no freezer");

    m = (struct proto_msg){.type = PROTO_STARTED, .worker = 1, .u.started = {.uid = 3000000000U, .has_peak = true}};
    r = round_trip(&m);
    assert_int_equal(r->u.started.uid, 3000000000U);
    assert_true(r->u.started.has_peak);

    m = (struct proto_msg){.type = PROTO_START_FAILED, .worker = 1, .u.failed = {"pivot_root", 22, "no"}};
    r = round_trip(&m);
    assert_string_equal(r->u.failed.step, "pivot_root");
    assert_int_equal(r->u.failed.sys, 22);
    assert_string_equal(r->u.failed.text, "no");

    m = (struct proto_msg){.type = PROTO_EXITED, .worker = 1, .u.exited = {2, -1, 9, true, 1ULL << 40}};
    r = round_trip(&m);
    assert_int_equal(r->u.exited.exec_errno, 2);
    assert_int_equal(r->u.exited.exit_code, -1);
    assert_int_equal(r->u.exited.signal, 9);
    assert_true(r->u.exited.oom);
    assert_int_equal(r->u.exited.peak_kb, 1ULL << 40);

    m = (struct proto_msg){.type = PROTO_DEAD, .worker = 1, .u.dead = {false, 9, 77}};
    r = round_trip(&m);
    assert_false(r->u.dead.oom);
    assert_int_equal(r->u.dead.signal, 9);
    assert_int_equal(r->u.dead.peak_kb, 77);
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    struct proto_msg m = start_msg();
    struct buf b;
    encode(&m, &b);
    for (size_t n = 0; n < b.len; n++) {
        char *cut = malloc(n + 1); /* exact size, so that a sanitizer sees one byte too far */
        assert_non_null(cut);
        memcpy(cut, b.data, n);
        assert_int_equal(proto_decode(&in, PROTO_FROM_ENGINE, cut, n, NULL), ERR_CORRUPT);
        free(cut);
    }
    assert_int_equal(buf_putc(&b, '\x01'), 0);
    assert_int_equal(proto_decode(&in, PROTO_FROM_ENGINE, b.data, b.len, NULL), ERR_CORRUPT);
    buf_done(&b);
}

/* Any byte changed: refused or understood, but never out of bounds, and never out of range. */
static void test_every_flipped_byte_is_survived(void **state)
{
    (void)state;
    struct proto_msg m = start_msg();
    struct buf b;
    encode(&m, &b);
    for (size_t i = 0; i < b.len; i++)
        for (unsigned v = 0; v < 256; v++) {
            char was = b.data[i];
            b.data[i] = (char)v;
            if (proto_decode(&in, PROTO_FROM_ENGINE, b.data, b.len, NULL) == 0 && in.msg.type == PROTO_START) {
                assert_true(in.msg.u.start.memory_mb <= PROTO_MEMORY_MB_MAX);
                assert_true(in.msg.u.start.n_argv >= 1 && in.msg.u.start.n_argv <= PROTO_ARGV_MAX);
                assert_int_equal(in.msg.u.start.argv[0][0], '/');
                assert_null(strchr(in.msg.u.start.runtime_dir, '/'));
            }
            b.data[i] = was;
        }
    buf_done(&b);
}

static void refuse_start(const struct proto_msg *m, const char *field)
{
    struct buf b;
    struct err e = {0};
    buf_init(&b, PROTO_MSG_MAX);
    assert_int_equal(proto_encode(m, &b, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, field));
    buf_done(&b);
}

static void test_encoder_refuses_what_is_out_of_range(void **state)
{
    (void)state;
    struct proto_msg m = start_msg();
    m.worker = 0;
    refuse_start(&m, "worker");
    m = start_msg();
    m.u.start.code_sha256[3] = 'G';
    refuse_start(&m, "code_sha256");
    m = start_msg();
    strcpy(m.u.start.runtime_dir, "..");
    refuse_start(&m, "runtime_dir");
    strcpy(m.u.start.runtime_dir, "a/b");
    refuse_start(&m, "runtime_dir");
    m = start_msg();
    m.u.start.memory_mb = 0;
    refuse_start(&m, "memory_mb");
    m = start_msg();
    m.u.start.tmp_mb = PROTO_TMP_MB_MAX + 1;
    refuse_start(&m, "tmp_mb");
    m = start_msg();
    m.u.start.nproc = 1;
    refuse_start(&m, "nproc");
    m = start_msg();
    m.u.start.n_argv = 0;
    refuse_start(&m, "argv");
    m = start_msg();
    const char *const relative[] = {"bootstrap"};
    m.u.start.argv = relative;
    m.u.start.n_argv = 1;
    refuse_start(&m, "argv");
    m = start_msg();
    const char *const nameless[] = {"=x"};
    m.u.start.env = nameless;
    m.u.start.n_env = 1;
    refuse_start(&m, "env");
    static const char *const layers[][2] = {{SHA, SHA}, {SHA, "../../etc"}, {"", SHA}};
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        m = start_msg();
        m.u.start.layers = layers[i];
        refuse_start(&m, "layers");
    }
    const char *const six[] = {SHA, OTHER_SHA, "a", "b", "c", "d"};
    m.u.start.layers = six;
    m.u.start.n_layers = 6;
    refuse_start(&m, "layers");
}

/* A peer that does not use our encoder. */
static void pack_hostile(struct buf *b, uint64_t memory, const char *runtime, const char *const *argv, size_t n_argv)
{
    struct pack p;
    buf_init(b, 4 * PROTO_MSG_MAX);
    pack_init(&p, b);
    pack_array(&p, 12);
    pack_uint(&p, PROTO_START);
    pack_uint(&p, 7);
    pack_str(&p, SHA);
    pack_str(&p, runtime);
    pack_str(&p, "");
    pack_uint(&p, memory);
    pack_uint(&p, 512);
    pack_uint(&p, 64);
    pack_bool(&p, false);
    pack_array(&p, n_argv);
    for (size_t i = 0; i < n_argv; i++)
        pack_str(&p, argv[i]);
    pack_array(&p, 0);
    pack_array(&p, 0);
    assert_int_equal(pack_error(&p), 0);
}

static void test_decoder_refuses_hostile_fields(void **state)
{
    (void)state;
    struct buf b;
    static char big[PROTO_TEXT_MAX + 1];
    memset(big, 'x', PROTO_TEXT_MAX);
    big[0] = '/';
    const char *const one[] = {"/bin/true"}, *const too_long[] = {big};
    const char *many[PROTO_ARGV_MAX + 1];
    for (size_t i = 0; i < PROTO_ARGV_MAX + 1; i++)
        many[i] = "/x";
    const struct {
        uint64_t memory;
        const char *runtime;
        const char *const *argv;
        size_t n_argv;
        int rc;
    } c[] = {
        {128, "", one, 1, 0},
        {(1ULL << 32) + 128, "", one, 1, ERR_CORRUPT},
        {0, "", one, 1, ERR_CORRUPT},
        {128, "../../etc", one, 1, ERR_CORRUPT},
        {128, ".", one, 1, ERR_CORRUPT},
        {128, "", one, 0, ERR_CORRUPT},
        {128, "", many, PROTO_ARGV_MAX, 0},
        {128, "", many, PROTO_ARGV_MAX + 1, ERR_CORRUPT},
        {128, "", too_long, 1, ERR_CORRUPT},
    };
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        pack_hostile(&b, c[i].memory, c[i].runtime, c[i].argv, c[i].n_argv);
        int rc = proto_decode(&in, PROTO_FROM_ENGINE, b.data, b.len, NULL);
        if (rc != c[i].rc)
            fail_msg("case %zu: %d, not %d", i, rc, c[i].rc);
        buf_done(&b);
    }
    static char huge[PROTO_MSG_MAX + 1];
    assert_int_equal(proto_decode(&in, PROTO_FROM_ENGINE, huge, sizeof huge, NULL), ERR_CORRUPT);
}

static void test_nul_in_a_string_is_refused(void **state)
{
    (void)state;
    struct proto_msg m = start_msg();
    struct buf b;
    encode(&m, &b);
    char *at = memmem(b.data, b.len, "an argument", 11);
    assert_non_null(at);
    at[2] = '\0';
    assert_int_equal(proto_decode(&in, PROTO_FROM_ENGINE, b.data, b.len, NULL), ERR_CORRUPT);
    buf_done(&b);
}

static void test_text_over_its_ceiling_is_not_sent(void **state)
{
    (void)state;
    static char big[PROTO_TEXT_MAX];
    memset(big, 'x', sizeof big - 1);
    big[1] = '=';
    const char *const env[] = {big};
    struct proto_msg m = start_msg();
    m.u.start.env = env;
    m.u.start.n_env = 1;
    struct buf b;
    buf_init(&b, PROTO_MSG_MAX);
    assert_int_equal(proto_encode(&m, &b, NULL), ERR_TOOBIG);
    buf_done(&b);
}

static void test_text_of_its_ceiling_leaves_room_for_layers(void **state)
{
    (void)state;
    static char big[PROTO_TEXT_MAX];
    struct proto_msg m = start_msg();
    const char *const env[] = {big};
    size_t argv_len = 0;
    for (size_t i = 0; i < m.u.start.n_argv; i++)
        argv_len += strlen(argv_[i]) + 1;
    memset(big, 'x', sizeof big - 1 - argv_len);
    big[1] = '=';
    m.u.start.env = env;
    m.u.start.n_env = 1;
    const struct proto_msg *got = round_trip(&m);
    assert_string_equal(got->u.start.env[0], big);
    assert_string_equal(got->u.start.layers[1], SHA);
}

static void test_hello_of_another_version(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, PROTO_MSG_MAX);
    struct pack p;
    pack_init(&p, &b);
    pack_array(&p, 4); /* shorter than ours: a later version may look like this */
    pack_uint(&p, PROTO_HELLO);
    pack_uint(&p, 0);
    pack_uint(&p, PROTO_VERSION + 1);
    pack_nil(&p);
    assert_int_equal(pack_error(&p), 0);
    assert_int_equal(proto_decode(&in, PROTO_FROM_EXECUTOR, b.data, b.len, NULL), ERR_VERSION);
    buf_done(&b);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(proto_type_name(PROTO_START_FAILED), "START_FAILED");
    assert_string_equal(proto_type_name((enum proto_type)99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_round_trip),
        cmocka_unit_test(test_short_messages_round_trip),
        cmocka_unit_test(test_answers_round_trip),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_every_flipped_byte_is_survived),
        cmocka_unit_test(test_encoder_refuses_what_is_out_of_range),
        cmocka_unit_test(test_decoder_refuses_hostile_fields),
        cmocka_unit_test(test_nul_in_a_string_is_refused),
        cmocka_unit_test(test_text_over_its_ceiling_is_not_sent),
        cmocka_unit_test(test_text_of_its_ceiling_leaves_room_for_layers),
        cmocka_unit_test(test_hello_of_another_version),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
