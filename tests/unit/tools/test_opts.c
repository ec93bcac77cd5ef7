/* The frame of the command line: the table, and what people type. */
#include "testutil.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opts.h"

enum { WORDS_MAX = 16 };

/* The words of a line, and what was made of them. */
struct typed {
    char line[256];
    char *argv[WORDS_MAX];
    int argc;
    struct call c;
    const char *topic;
};

static enum wish parse(struct typed *t, const char *line)
{
    *t = (struct typed){0};
    (void)snprintf(t->line, sizeof t->line, "%s", line);
    for (char *save = NULL, *w = strtok_r(t->line, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
        assert_true(t->argc < WORDS_MAX);
        t->argv[t->argc++] = w;
    }
    return opts_parse(&t->c, t->argc, t->argv, &t->topic);
}

static void expect_verb(const char *line, const char *verb)
{
    struct typed t;
    assert_int_equal(parse(&t, line), WISH_RUN);
    assert_non_null(t.c.cmd);
    assert_string_equal(t.c.cmd->name, verb);
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_cmds; i++) {
        const struct cmd *a = &cmds[i];
        size_t n = 0;
        assert_true(strlen(a->name) < 32 && a->summary[0] != '\0' && a->min_args <= a->max_args);
        assert_true(a->max_args <= CMD_ARGS_MAX && (a->args[0] != '\0') == (a->max_args > 0));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(a->name, cmds[j].name);
        for (const struct opt *o = a->opts; o->name != NULL; o++, n++) {
            assert_true(o->help[0] != '\0' && o->name[0] != '-');
            for (const struct opt *k = common_opts; k->name != NULL; k++)
                assert_string_not_equal(o->name, k->name);
            for (const struct opt *k = a->opts; k != o; k++)
                assert_string_not_equal(o->name, k->name);
        }
        assert_true(n <= CMD_OPTS_MAX);
        const char *space = strchr(a->name, ' ');
        if (space != NULL) {
            char first[32];
            (void)snprintf(first, sizeof first, "%.*s", (int)(space - a->name), a->name);
            assert_true(opts_is_group(first));
        }
    }
}

static void test_verbs(void **state)
{
    (void)state;
    expect_verb("status", "status");
    expect_verb("events ls", "events ls");
    expect_verb("events", "events ls");
    expect_verb("events --state done", "events ls");
    expect_verb("events show 1", "events show");
    expect_verb("--json events ls", "events ls");
    expect_verb("events --json ls", "events ls");
    expect_verb("--data /x dlq --json replay --all", "dlq replay");
}

static void test_common(void **state)
{
    (void)state;
    struct typed t;
    const char *const lines[] = {"--data /d --json status", "status --json --data /d", "--json status --data=/d",
                                 "--data=/d status --json"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_int_equal(parse(&t, lines[i]), WISH_RUN);
        assert_string_equal(t.c.data, "/d");
        assert_true(t.c.json);
        assert_null(t.c.endpoint);
    }
    assert_int_equal(parse(&t, "invoke f --endpoint http://h:1"), WISH_RUN);
    assert_string_equal(t.c.endpoint, "http://h:1");
    assert_int_equal(setenv("BIDE_DATA", "/from/env", 1), 0);
    assert_int_equal(parse(&t, "status"), WISH_RUN);
    assert_string_equal(t.c.data, "/from/env");
    assert_int_equal(unsetenv("BIDE_DATA"), 0);
    assert_int_equal(parse(&t, "status"), WISH_RUN);
    assert_string_equal(t.c.data, "/var/lib/bide");
}

static void test_values(void **state)
{
    (void)state;
    struct typed t;
    assert_int_equal(parse(&t, "invoke --payload - f --event"), WISH_RUN);
    assert_string_equal(call_opt(&t.c, "payload"), "-");
    assert_true(call_flag(&t.c, "event"));
    assert_int_equal(t.c.n_args, 1);
    assert_string_equal(t.c.args[0], "f");
    /* What follows an option that takes a value is its value, whatever it looks like. */
    assert_int_equal(parse(&t, "deploy . --name f --description --json"), WISH_RUN);
    assert_string_equal(call_opt(&t.c, "description"), "--json");
    assert_false(t.c.json);
    assert_int_equal(parse(&t, "invoke --payload={} -- --odd-name"), WISH_RUN);
    assert_string_equal(t.c.args[0], "--odd-name");
    assert_string_equal(call_opt(&t.c, "payload"), "{}");
    uint64_t n;
    assert_int_equal(parse(&t, "events ls --limit 7"), WISH_RUN);
    assert_true(call_number(&t.c, "limit", 1, 10, 5, &n) && n == 7);
    assert_false(call_number(&t.c, "limit", 1, 6, 5, &n));
    assert_false(call_number(&t.c, "limit", 8, 10, 5, &n));
    assert_int_equal(parse(&t, "events ls"), WISH_RUN);
    assert_true(call_number(&t.c, "limit", 1, 10, 5, &n) && n == 5);
}

static void test_wrong(void **state)
{
    (void)state;
    const char *const lines[] = {"nosuch",
                                 "statu",
                                 "events nosuch",
                                 "clock",
                                 "status --nosuch",
                                 "--nosuch status",
                                 "status more",
                                 "status -x",
                                 "-x",
                                 "invoke",
                                 "invoke f --json=1",
                                 "invoke f --payload",
                                 "--data",
                                 "status --data",
                                 "--function f events",
                                 "dlq show",
                                 "help a b c"};
    struct typed t;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (parse(&t, lines[i]) != WISH_USAGE)
            fail_msg("\"%s\" was taken", lines[i]);
}

static void test_help(void **state)
{
    (void)state;
    struct typed t;
    assert_int_equal(parse(&t, ""), WISH_RUN);
    assert_null(t.c.cmd);
    assert_int_equal(parse(&t, "--help"), WISH_HELP);
    assert_true(t.c.cmd == NULL && t.topic == NULL);
    assert_int_equal(parse(&t, "dlq --help"), WISH_HELP);
    assert_true(t.c.cmd == NULL && strcmp(t.topic, "dlq") == 0);
    assert_int_equal(parse(&t, "--help dlq"), WISH_HELP);
    assert_true(t.c.cmd == NULL && strcmp(t.topic, "dlq") == 0);
    assert_int_equal(parse(&t, "dlq ls -h"), WISH_HELP);
    assert_string_equal(t.c.cmd->name, "dlq ls");
    /* Help is not refused for what is missing beside it. */
    assert_int_equal(parse(&t, "dlq show --help"), WISH_HELP);
    assert_string_equal(t.c.cmd->name, "dlq show");
    assert_int_equal(parse(&t, "--version"), WISH_VERSION);
    assert_int_equal(parse(&t, "status --version"), WISH_VERSION);
    assert_int_equal(parse(&t, "help dlq rm"), WISH_RUN);
    assert_string_equal(t.c.cmd->name, "help");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),  cmocka_unit_test(test_verbs), cmocka_unit_test(test_common),
        cmocka_unit_test(test_values), cmocka_unit_test(test_wrong), cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
