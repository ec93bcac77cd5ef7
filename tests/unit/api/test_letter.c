/* A dead letter as a line of JSON: there and back with every byte, and lines that are none. */
#include "testutil.h"

#include "letter.h"

static struct queue_import sample(void)
{
    static const struct attempt attempts[] = {{.started_at_ms = 1700000000001,
                                               .ended_at_ms = 1700000000002,
                                               .outcome = OUTCOME_OUT_OF_MEMORY,
                                               .error_type = "T\xff", /* cut in the middle of a character */
                                               .error_message = "quo\"te\n\xe2\x82\xac",
                                               .error = "{\"a\":\"\0\"}",
                                               .error_len = 9,
                                               .log_tail = "END\n",
                                               .log_tail_len = 4,
                                               .exit_code = -1,
                                               .signal = 9,
                                               .peak_kb = 1234,
                                               .version = "$LATEST"},
                                              {.outcome = OUTCOME_SUCCESS, .exit_code = 0, .version = "12"}};
    struct queue_import l = {.ev = {.id = {.b = {1, 2, 3}},
                                    .state = EVENT_REPLAYED,
                                    .condition = CONDITION_DISRUPTED,
                                    .accepted_at_ms = 1700000000000,
                                    .ended_at_ms = 1700000099999,
                                    .attempts = 7,
                                    .disruptions = 5,
                                    .lone_runs = 2,
                                    .replay_of = {.b = {4}},
                                    .replayed_as = {.b = {5}},
                                    .name = "orders",
                                    .qualifier = "$LATEST",
                                    .trace = "Root=1-2-3"},
                             .attempts = attempts,
                             .n_attempts = 2,
                             .payload = "",
                             .payload_len = 0};
    return l;
}

static void same_text(const char *a, const char *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a != NULL)
        assert_string_equal(a, b);
}

static void there_and_back(const void *payload, size_t len, bool as_base64)
{
    struct queue_import l = sample();
    struct letter_in in;
    struct err e = {0};
    struct json_out o;
    struct buf b;
    l.payload = payload;
    l.payload_len = len;
    buf_init(&b, 16 << 20);
    out_init(&o, &b);
    letter_out(&o, &l);
    assert_rc(out_error(&o), 0);
    assert_null(memchr(b.data, '\n', b.len));
    assert_int_equal(strstr(b.data, "\"payload_base64\"") != NULL, as_base64);
    assert_ok(letter_in_read(&in, b.data, b.len, &e), &e);
    const struct event *x = &in.l.ev, *y = &l.ev;
    assert_memory_equal(&x->id, &y->id, sizeof x->id);
    assert_memory_equal(&x->replay_of, &y->replay_of, sizeof x->id);
    assert_memory_equal(&x->replayed_as, &y->replayed_as, sizeof x->id);
    assert_int_equal(x->state, y->state);
    assert_int_equal(x->condition, y->condition);
    assert_int_equal(x->accepted_at_ms, y->accepted_at_ms);
    assert_int_equal(x->ended_at_ms, y->ended_at_ms);
    assert_int_equal(x->attempts, y->attempts);
    assert_int_equal(x->disruptions, y->disruptions);
    assert_int_equal(x->lone_runs, y->lone_runs);
    assert_string_equal(x->name, y->name);
    assert_string_equal(x->qualifier, y->qualifier);
    assert_string_equal(x->trace, y->trace);
    assert_int_equal(in.l.n_attempts, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct attempt *s = &in.l.attempts[i], *t = &l.attempts[i];
        assert_int_equal(s->started_at_ms, t->started_at_ms);
        assert_int_equal(s->ended_at_ms, t->ended_at_ms);
        assert_int_equal(s->outcome, t->outcome);
        same_text(s->error_type, t->error_type);
        same_text(s->error_message, t->error_message);
        assert_int_equal(s->error_len, t->error_len);
        assert_int_equal(s->log_tail_len, t->log_tail_len);
        if (t->error_len > 0)
            assert_memory_equal(s->error, t->error, t->error_len);
        if (t->log_tail_len > 0)
            assert_memory_equal(s->log_tail, t->log_tail, t->log_tail_len);
        assert_int_equal(s->exit_code, t->exit_code);
        assert_int_equal(s->signal, t->signal);
        assert_int_equal(s->peak_kb, t->peak_kb);
        assert_string_equal(s->version, t->version);
    }
    assert_int_equal(in.l.payload_len, len);
    assert_memory_equal(in.l.payload, payload, len);
    letter_in_done(&in);
    buf_done(&b);
}

static void every_byte(void **state)
{
    (void)state;
    static const char *const verbatim[] = {"null",
                                           "{}",
                                           "{ \"n\" : 1.50e1, \"a\":1 }",
                                           "12345678901234567890123",
                                           "\"a\\u0000\\\"}\"",
                                           "[[1,{\"payload\":2}],\"]\"]",
                                           "true"};
    for (size_t i = 0; i < sizeof verbatim / sizeof verbatim[0]; i++)
        there_and_back(verbatim[i], strlen(verbatim[i]), false);
    there_and_back("", 0, false);
    there_and_back("{\n\"a\": 1\r\n}", 11, true); /* a line must stay one */
    there_and_back("\xff\x00\x01", 3, true);
    there_and_back(" true", 5, true); /* nor blanks be lost */
    there_and_back("true\t", 5, true);
    there_and_back("1E400", 5, true); /* beyond a double: no JSON to us */
    char *big = malloc(LETTER_PAYLOAD_MAX);
    memset(big, '\n', LETTER_PAYLOAD_MAX);
    there_and_back(big, LETTER_PAYLOAD_MAX, true);
    memset(big, 'a', LETTER_PAYLOAD_MAX);
    big[0] = big[LETTER_PAYLOAD_MAX - 1] = '"';
    there_and_back(big, LETTER_PAYLOAD_MAX, false);
    free(big);
}

#define GOOD                                                                                                           \
    "{\"bide_dead_letter\":1,\"id\":\"01a208bd-3cbb-7600-93fa-4d284ce187b7\",\"function\":\"f\","                      \
    "\"condition\":\"RetriesExhausted\",\"accepted_at_ms\":1,\"dead_at_ms\":2"

static void the_least(void **state)
{
    (void)state;
    struct letter_in in;
    struct err e = {0};
    static const char line[] = GOOD ",\"of_the_future\":[1,{\"payload\":3}]}";
    assert_ok(letter_in_read(&in, line, strlen(line), &e), &e);
    assert_int_equal(in.l.ev.state, EVENT_DEAD);
    assert_int_equal(in.l.n_attempts, 0);
    assert_int_equal(in.l.payload_len, 0);
    letter_in_done(&in);
}

static void refused(const char *line, size_t len, const char *why)
{
    struct letter_in in;
    struct err e = {0};
    int rc = letter_in_read(&in, line, len, &e);
    if (rc != ERR_INVALID || strstr(e.text, why) == NULL)
        fail_msg("%.120s: %s, \"%s\" wanted \"%s\"", line, err_name(rc), e.text, why);
}

static void hostile_lines(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", "bide_dead_letter is missing"},
        {"{", "expected"},
        {"[]", "not an object"},
        {"null", ""},
        {"{}", "bide_dead_letter is missing"},
        {GOOD, "expected"},
        {GOOD "} x", "end of file"},
        {"{\"bide_dead_letter\":2}", "written by a newer bide (form 2"},
        {"{\"bide_dead_letter\":-1}", "bide_dead_letter must be"},
        {"{\"bide_dead_letter\":99999999999999999999}", "too big"},
        {"{\"bide_dead_letter\":1}", "id is missing"},
        {"{\"bide_dead_letter\":1,\"id\":\"00000000-0000-0000-0000-000000000000\"}", "id is not an event id"},
        {GOOD ",\"payload\":1,\"payload\":2}", "duplicate"},
        {GOOD ",\"id\":\"x\"}", "duplicate"},
        {GOOD ",\"payload\":{\"a\":}}", "payload"},
        {GOOD ",\"payload\":\"\xff\"}", "payload"},
        {GOOD ",\"payload\":[1", ""},
        {GOOD ",\"pa\\u0079load\":1}", "hides it"},
        {GOOD ",\"payload\":1,\"payload_base64\":\"QQ==\"}", "one of them"},
        {GOOD ",\"payload_base64\":\"Q\"}", "payload_base64 is not base64"},
        {GOOD ",\"payload_base64\":\"Q Q=\"}", "payload_base64 is not base64"},
        {GOOD ",\"payload_base64\":7}", "payload_base64 must be a string"},
        {GOOD ",\"state\":\"queued\"}", "neither dead nor replayed"},
        {GOOD ",\"state\":\"replayed\"}", "replayed_as is missing"},
        {GOOD ",\"attempts\":{}}", "attempts must be a list"},
        {GOOD ",\"attempts\":[1]}", "not an object"},
        {GOOD ",\"attempts\":[{}]}", "outcome"},
        {GOOD ",\"attempts\":[{\"outcome\":\"fine\"}]}", "outcome"},
        {GOOD ",\"attempts\":[{\"outcome\":\"success\",\"exit_code\":-5}]}", "exit_code must be from 0"},
        {GOOD ",\"attempts\":[{\"outcome\":\"success\",\"started_at_ms\":1e3}]}", "must be an integer"},
        {GOOD ",\"attempts\":[{\"outcome\":\"success\",\"error_type\":\"a\",\"error_type_base64\":\"QQ==\"}]}",
         "one of them"},
        {GOOD ",\"attempts\":[{\"outcome\":\"success\",\"error_type_base64\":\"AA==\"}]}", "error_type holds a NUL"},
        {GOOD ",\"attempts\":[{\"outcome\":\"success\",\"version\":\"123456789012345678901234567890123\"}]}",
         "version"},
        {GOOD ",\"attempt_count\":0,\"attempts\":[{\"outcome\":\"success\"}]}", "attempt_count is less"},
        {GOOD ",\"attempt_count\":1000001}", "attempt_count must be from 0"},
        {GOOD ",\"disruptions\":-1}", "disruptions must be from 0"},
        {GOOD ",\"disruptions\":9223372036854775807}", "disruptions must be from 0"},
        {GOOD ",\"replay_of\":\"x\"}", "replay_of is not an event id"},
        {GOOD ",\"qualifier\":true}", "qualifier must be a string"},
        {"{\"bide_dead_letter\":1,\"id\":\"01a208bd-3cbb-7600-93fa-4d284ce187b7\",\"function\":\"a/b\"}",
         "function has"},
        {"{\"bide_dead_letter\":1,\"id\":\"01a208bd-3cbb-7600-93fa-4d284ce187b7\",\"function\":\"f\","
         "\"accepted_at_ms\":99999999999999999}",
         "accepted_at_ms must be"},
        {"{\"bide_dead_letter\":1,\"id\":\"01a208bd-3cbb-7600-93fa-4d284ce187b7\",\"function\":\"f\","
         "\"accepted_at_ms\":1,\"dead_at_ms\":1,\"condition\":\"Bored\"}",
         "condition"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused(bad[i][0], strlen(bad[i][0]), bad[i][1]);
}

/* Long, deep, cut anywhere: an answer each time, and no step beyond the end. */
static void hostile_shapes(void **state)
{
    (void)state;
    size_t n = 10 << 20;
    char *line = malloc(n + 1);
    static const char head[] = GOOD ",\"payload\":",
                      types[] = GOOD ",\"attempts\":[{\"outcome\":\"exited\",\"error_type\":\"";
    memset(line, '[', n);
    memcpy(line, head, strlen(head));
    refused(line, n, "");
    refused(line, 4096 + strlen(head), "");
    memset(line, 'a', n);
    memcpy(line, types, strlen(types));
    memcpy(line + n - 4, "\"}]}", 4);
    refused(line, n, "error_type is longer than 256 bytes");
    memset(line, 'a', n);
    memcpy(line, head, strlen(head));
    line[strlen(head)] = '"';
    memcpy(line + n - 2, "\"}", 2);
    refused(line, n, "payload is longer than");
    free(line);
    static const char good[] =
        GOOD ",\"attempts\":[{\"outcome\":\"exited\",\"error\":\"x\\\"\"}],\"payload\":{\"a\":[\"\\\\\"]}}";
    for (size_t len = 0; len < strlen(good); len++) {
        char *cut = malloc(len + 1); /* of exactly this length, for the sanitizer */
        memcpy(cut, good, len);
        struct letter_in in;
        struct err e = {0};
        char *exact = malloc(len > 0 ? len : 1);
        memcpy(exact, cut, len);
        assert_rc(letter_in_read(&in, exact, len, &e), ERR_INVALID);
        free(exact);
        free(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte),
        cmocka_unit_test(the_least),
        cmocka_unit_test(hostile_lines),
        cmocka_unit_test(hostile_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
