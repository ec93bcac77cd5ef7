/* Records: round trips, the bytes of version 1, and damage. */
#include "testutil.h"

#include "codec.h"

static struct stored full_record(const char *payload)
{
    struct stored s;
    memset(&s, 0, sizeof s);
    s.ev = (struct event){.seq = 7,
                          .fid = 300,
                          .state = EVENT_WAITING,
                          .accepted_at_ms = 1700000000000,
                          .due_at_ms = 1700000060000,
                          .wait_ms = 60000,
                          .attempts = 1,
                          .disruptions = 4,
                          .lone_runs = 1,
                          .payload_len = (uint32_t)strlen(payload),
                          .name = "thumb",
                          .qualifier = "live",
                          .trace = "Root=1-2-3"};
    for (size_t i = 0; i < sizeof s.ev.id.b; i++) {
        s.ev.id.b[i] = (uint8_t)(i + 1);
        s.ev.replay_of.b[i] = (uint8_t)(0xf0 - i);
    }
    s.briefs[0] = (struct brief){.started_at_ms = 1700000000100,
                                 .ended_at_ms = 1700000000200,
                                 .outcome = OUTCOME_EXITED,
                                 .exit_code = -1,
                                 .signal = 9,
                                 .peak_kb = 2048,
                                 .details = true,
                                 .version = "$LATEST"};
    s.n_briefs = 1;
    s.payload = (struct slice){.p = payload, .len = strlen(payload)};
    return s;
}

static void encode(struct buf *b, const struct stored *s)
{
    buf_init(b, EVENT_RECORD_MAX);
    assert_rc(codec_event(b, s), 0);
}

static void event_round_trip(void **state)
{
    (void)state;
    struct stored in = full_record("{\"a\":1}"), out;
    struct buf b;
    encode(&b, &in);
    assert_rc(decode_event(b.data, b.len, 7, &out), 0);
    assert_int_equal(out.ev.seq, 7);
    assert_int_equal(out.ev.fid, 300);
    assert_int_equal(out.ev.state, EVENT_WAITING);
    assert_int_equal(out.ev.accepted_at_ms, in.ev.accepted_at_ms);
    assert_int_equal(out.ev.due_at_ms, in.ev.due_at_ms);
    assert_int_equal(out.ev.wait_ms, 60000);
    assert_int_equal(out.ev.attempts, 1);
    assert_int_equal(out.ev.disruptions, 4);
    assert_int_equal(out.ev.lone_runs, 1);
    assert_int_equal(id_cmp(&out.ev.id, &in.ev.id), 0);
    assert_int_equal(id_cmp(&out.ev.replay_of, &in.ev.replay_of), 0);
    assert_true(id_is_zero(&out.ev.replayed_as));
    assert_string_equal(out.ev.name, "thumb");
    assert_string_equal(out.ev.qualifier, "live");
    assert_string_equal(out.ev.trace, "Root=1-2-3");
    assert_int_equal(out.n_briefs, 1);
    assert_int_equal(out.briefs[0].outcome, OUTCOME_EXITED);
    assert_int_equal(out.briefs[0].exit_code, -1);
    assert_int_equal(out.briefs[0].signal, 9);
    assert_int_equal(out.briefs[0].peak_kb, 2048);
    assert_string_equal(out.briefs[0].version, "$LATEST");
    assert_int_equal(out.payload.len, 7);
    assert_memory_equal(out.payload.p, "{\"a\":1}", 7);
    buf_done(&b);
}

/* What is on people's disks: these never change while version 1 can be read. Made from the description in
 * docs/storage.md by another program than ours. */
static const uint8_t event_v1[] = {
    0x01, 0xfd, 0xf9, 0xd0, 0xb7, 0xdc, 0x00, 0x13, 0xc4, 0x10, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
    0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0xcd, 0x01, 0x2c, 0x03, 0xcf, 0x00, 0x00, 0x01, 0x8b, 0xcf,
    0xe5, 0x68, 0x00, 0xcf, 0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe6, 0x52, 0x60, 0xcd, 0xea, 0x60, 0x00, 0x01, 0x04,
    0x01, 0x07, 0x00, 0xc4, 0x10, 0xf0, 0xef, 0xee, 0xed, 0xec, 0xeb, 0xea, 0xe9, 0xe8, 0xe7, 0xe6, 0xe5, 0xe4,
    0xe3, 0xe2, 0xe1, 0xc0, 0xa5, 0x74, 0x68, 0x75, 0x6d, 0x62, 0xa4, 0x6c, 0x69, 0x76, 0x65, 0xaa, 0x52, 0x6f,
    0x6f, 0x74, 0x3d, 0x31, 0x2d, 0x32, 0x2d, 0x33, 0x91, 0x98, 0xcf, 0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68,
    0x64, 0xcf, 0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0xc8, 0x04, 0xff, 0x09, 0xcd, 0x08, 0x00, 0xc3, 0xa7,
    0x24, 0x4c, 0x41, 0x54, 0x45, 0x53, 0x54, 0xc4, 0x07, 0x7b, 0x22, 0x61, 0x22, 0x3a, 0x31, 0x7d};
static const uint8_t running_v1[] = {0x01, 0x4a, 0x81, 0xc5, 0x1b, 0x94, 0x2a, 0xcf, 0x00,
                                     0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00, 0xc3, 0xc2};

static void golden_running(void **state)
{
    (void)state;
    const struct running in = {.run = 42, .started_at_ms = 1700000000000, .lone = true};
    struct running out;
    struct buf b;
    buf_init(&b, 256);
    assert_rc(codec_running(&b, &in), 0);
    assert_int_equal(b.len, sizeof running_v1);
    assert_memory_equal(b.data, running_v1, sizeof running_v1);
    assert_rc(decode_running(running_v1, sizeof running_v1, &out), 0);
    assert_int_equal(out.run, 42);
    assert_int_equal(out.started_at_ms, 1700000000000);
    assert_true(out.lone);
    assert_false(out.cancel_asked);
    buf_done(&b);
}

static void golden_event(void **state)
{
    (void)state;
    struct stored in = full_record("{\"a\":1}"), out;
    struct buf b;
    encode(&b, &in);
    assert_int_equal(b.len, sizeof event_v1);
    assert_memory_equal(b.data, event_v1, sizeof event_v1);
    assert_rc(decode_event(event_v1, sizeof event_v1, 7, &out), 0);
    assert_string_equal(out.ev.name, "thumb");
    buf_done(&b);
}

static void every_flipped_bit_is_seen(void **state)
{
    (void)state;
    struct stored in = full_record("payload"), out;
    struct buf b;
    encode(&b, &in);
    for (size_t i = 0; i < b.len * 8; i++) {
        b.data[i / 8] = (char)(b.data[i / 8] ^ (1 << i % 8));
        if (decode_event(b.data, b.len, 7, &out) != ERR_CORRUPT)
            fail_msg("bit %zu of byte %zu", i % 8, i / 8);
        b.data[i / 8] = (char)(b.data[i / 8] ^ (1 << i % 8));
    }
    assert_rc(decode_event(b.data, b.len, 7, &out), 0);
    buf_done(&b);
}

static void every_cut_is_seen(void **state)
{
    (void)state;
    struct stored in = full_record("payload"), out;
    struct buf b;
    encode(&b, &in);
    for (size_t n = 0; n < b.len; n++) {
        char *exact = malloc(n + 1); /* so that a sanitizer sees a read behind the cut */
        assert_non_null(exact);
        memcpy(exact + 1, b.data, n);
        assert_rc(decode_event(exact + 1, n, 7, &out), ERR_CORRUPT);
        free(exact);
    }
    buf_done(&b);
}

/* The checksum is right and the version is one we do not know: refused, never guessed. */
static void a_newer_version_is_refused(void **state)
{
    (void)state;
    struct pack p;
    struct stored s;
    struct running r;
    struct details d;
    struct queue_function_stats st;
    struct buf b;
    buf_init(&b, 256);
    record_begin(&b, &p, EVENT_RECORD_VERSION + 1);
    pack_array(&p, 1);
    pack_uint(&p, 1);
    assert_rc(record_end(&b, &p), 0);
    assert_rc(decode_event(b.data, b.len, 1, &s), ERR_VERSION);
    assert_rc(decode_running(b.data, b.len, &r), ERR_VERSION);
    assert_rc(decode_details(b.data, b.len, &d), ERR_VERSION);
    assert_rc(decode_stats(b.data, b.len, &st), ERR_VERSION);
    buf_done(&b);
}

static void ranges_are_checked(void **state)
{
    (void)state;
    struct stored in = full_record("x"), out;
    struct buf b;
    in.ev.state = EVENT_REMOVED;
    encode(&b, &in);
    assert_rc(decode_event(b.data, b.len, 7, &out), ERR_CORRUPT);
    in.ev.state = EVENT_WAITING;
    in.ev.payload_len = 2;
    assert_rc(codec_event(&b, &in), 0);
    assert_rc(decode_event(b.data, b.len, 7, &out), ERR_CORRUPT);
    in.ev.payload_len = 1;
    in.ev.condition = CONDITIONS;
    assert_rc(codec_event(&b, &in), 0);
    assert_rc(decode_event(b.data, b.len, 7, &out), ERR_CORRUPT);
    in.ev.condition = CONDITION_NONE;
    in.briefs[0].outcome = OUTCOMES;
    assert_rc(codec_event(&b, &in), 0);
    assert_rc(decode_event(b.data, b.len, 7, &out), ERR_CORRUPT);
    buf_done(&b);
}

static void texts_are_cut_to_their_ceilings(void **state)
{
    (void)state;
    char *error = malloc(QUEUE_ERROR_MAX + 100), type[QUEUE_TYPE_MAX + 100];
    assert_non_null(error);
    memset(error, 'e', QUEUE_ERROR_MAX + 100);
    memset(type, 't', sizeof type);
    type[sizeof type - 1] = '\0';
    const struct attempt in = {.error_type = type, .error = error, .error_len = QUEUE_ERROR_MAX + 100};
    struct details out;
    struct buf b;
    buf_init(&b, ATTEMPT_RECORD_MAX);
    assert_rc(codec_attempt(&b, &in), 0);
    assert_rc(decode_details(b.data, b.len, &out), 0);
    assert_int_equal(out.error_type.len, QUEUE_TYPE_MAX);
    assert_int_equal(out.error.len, QUEUE_ERROR_MAX);
    assert_null(out.error_message.p);
    assert_null(out.log_tail.p);
    buf_done(&b);
    free(error);
}

static void books_round_trip(void **state)
{
    (void)state;
    const struct books in = {.accepted = 36,
                             .queued = 1,
                             .running = 2,
                             .waiting = 3,
                             .done = 4,
                             .dead = 5,
                             .cancelled = 6,
                             .removed = 7,
                             .replayed = 8};
    struct books out = {0};
    uint64_t next_seq, next_finish, bytes;
    int64_t wait, last;
    struct buf b;
    buf_init(&b, 256);
    assert_rc(codec_books(&b, &in, 37, 11, UINT64_MAX, 300000, 1700000000000), 0);
    assert_rc(decode_books(b.data, b.len, &out, &next_seq, &next_finish, &bytes, &wait, &last), 0);
    assert_memory_equal(&in, &out, sizeof in);
    assert_int_equal(next_seq, 37);
    assert_int_equal(next_finish, 11);
    assert_true(bytes == UINT64_MAX);
    assert_int_equal(wait, 300000);
    assert_int_equal(last, 1700000000000);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(event_round_trip),   cmocka_unit_test(golden_running),
        cmocka_unit_test(golden_event),       cmocka_unit_test(every_flipped_bit_is_seen),
        cmocka_unit_test(every_cut_is_seen),  cmocka_unit_test(a_newer_version_is_refused),
        cmocka_unit_test(ranges_are_checked), cmocka_unit_test(texts_are_cut_to_their_ceilings),
        cmocka_unit_test(books_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
