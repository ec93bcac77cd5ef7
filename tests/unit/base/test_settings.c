/* Settings: defaults, the file, --set, and every kind of refusal with its line. */
#include "testutil.h"

#include "base/settings.h"

static int setup(void **state)
{
    struct tmpdir *d = calloc(1, sizeof *d);
    assert_non_null(d);
    tmpdir_make(d);
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    tmpdir_remove(*state);
    free(*state);
    return 0;
}

/* Load text as the file "conf", then the given --set, NULL for none. */
static int load(struct tmpdir *d, const char *text, const char *set, struct settings **ret, struct err *e)
{
    memset(e, 0, sizeof *e);
    *ret = NULL;
    if (text != NULL)
        tmpdir_write(d, "conf", text);
    return settings_load(ret, text != NULL ? tmpdir_path(d, "conf") : NULL, &set, set != NULL, e);
}

static void assert_refused(struct tmpdir *d, const char *text, const char *part)
{
    struct settings *s;
    struct err e;
    assert_err(load(d, text, NULL, &s, &e), ERR_INVALID, &e, part);
    assert_null(s);
}

static void defaults_are_the_documented_ones(void **state)
{
    static const struct {
        enum setting k;
        const char *key, *text;
        int64_t value;
    } rows[] = {
        {SET_LISTEN, "listen", "127.0.0.1:9310", 0},
        {SET_USER, "user", "bide", 0},
        {SET_REGION, "region", "us-east-1", 0},
        {SET_ACCOUNT, "account", "000000000000", 0},
        {SET_ASYNC_RETRY_FIRST_WAIT, "async.retry_first_wait", "60s", 60000},
        {SET_ASYNC_RETRY_MULTIPLIER, "async.retry_multiplier", "2", 0},
        {SET_ASYNC_RETRY_MAX_WAIT, "async.retry_max_wait", "300s", 300000},
        {SET_ASYNC_RETRY_JITTER, "async.retry_jitter", "0", 0},
        {SET_ASYNC_REQUEUE_FIRST_WAIT, "async.requeue_first_wait", "1s", 1000},
        {SET_ASYNC_REQUEUE_MAX_WAIT, "async.requeue_max_wait", "300s", 300000},
        {SET_ASYNC_MAX_DISRUPTIONS, "async.max_disruptions", "5", 5},
        {SET_ASYNC_MAX_PAYLOAD, "async.max_payload", "1MiB", 1048576},
        {SET_ACCOUNT_CONCURRENCY, "account.concurrency", "1000", 1000},
        {SET_ACCOUNT_UNRESERVED_MINIMUM, "account.unreserved_minimum", "100", 100},
        {SET_WORKER_IDLE, "worker.idle", "5m", 300000},
        {SET_QUEUE_MAX_BYTES, "queue.max_bytes", "64GiB", 68719476736},
        {SET_QUEUE_RESERVE_BYTES, "queue.reserve_bytes", "64MiB", 67108864},
        {SET_HISTORY_RETENTION, "history.retention", "7d", 604800000},
        {SET_HISTORY_MAX_BYTES, "history.max_bytes", "4GiB", 4294967296},
        {SET_HISTORY_PAYLOAD, "history.payload", "off", 0},
        {SET_DLQ_RETENTION, "dlq.retention", "14d", 1209600000},
        {SET_DLQ_MAX_BYTES, "dlq.max_bytes", "32GiB", 34359738368},
        {SET_SHUTDOWN_GRACE, "shutdown.grace", "30s", 30000},
        {SET_LOG_LEVEL, "log.level", "info", 0},
        {SET_LOG_FORMAT, "log.format", "text", 0},
        {SET_LOGS, "logs", "on", 1},
        {SET_LOGS_RATE, "logs.rate", "512KiB", 524288},
        {SET_LOGS_FUNCTION_MAX_BYTES, "logs.function_max_bytes", "64MiB", 67108864},
        {SET_LOGS_MAX_BYTES, "logs.max_bytes", "1GiB", 1073741824},
        {SET_LOGS_RETENTION, "logs.retention", "14d", 1209600000},
        {SET_CLOCK, "clock", "real", 0},
        {SET_SANDBOX, "sandbox", "strict", 0},
    };
    struct settings *s;
    struct err e;
    assert_ok(load(*state, NULL, NULL, &s, &e), &e);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(setting_info(rows[i].k)->key, rows[i].key);
        assert_string_equal(settings_str(s, rows[i].k), rows[i].text);
        assert_true(settings_int(s, rows[i].k) == rows[i].value);
    }
    assert_true(settings_real(s, SET_ASYNC_RETRY_MULTIPLIER) > 1.99);
    const struct setting_role *r;
    assert_int_equal(settings_roles(s, &r), 0);
    settings_free(s);
    settings_free(NULL);
}

static void machine_defaults_are_computed(void **state)
{
    struct settings *s;
    struct err e;
    FILE *f = fopen("/proc/meminfo", "re");
    assert_non_null(f);
    char line[128];
    unsigned long long kib = 0;
    while (kib == 0 && fgets(line, sizeof line, f) != NULL)
        (void)sscanf(line, "MemTotal: %llu kB", &kib);
    (void)fclose(f);
    assert_ok(load(*state, NULL, NULL, &s, &e), &e);
    int64_t share = (int64_t)(kib * 1024 / 10 * 6), got = settings_int(s, SET_WORKER_MEMORY);
    assert_true(got == share || (share < 128 << 20 && got == 128 << 20));
    assert_int_equal(settings_int(s, SET_WORKER_STARTS), sysconf(_SC_NPROCESSORS_ONLN));
    settings_free(s);
    assert_ok(load(*state, NULL, "queue.max_bytes=1GiB", &s, &e), &e);
    assert_int_equal(settings_int(s, SET_DLQ_MAX_BYTES), 512 << 20);
    settings_free(s);
    assert_ok(load(*state, "queue.max_bytes = 1GiB\ndlq.max_bytes = 3GiB\n", NULL, &s, &e), &e);
    assert_true(settings_int(s, SET_DLQ_MAX_BYTES) == 3LL << 30);
    settings_free(s);
}

static void the_table_is_whole(void **state)
{
    for (int k = 0; k < SETTING_COUNT; k++) {
        const struct setting_info *i = setting_info((enum setting)k);
        assert_non_null(i->key);
        assert_non_null(i->default_text);
        assert_non_null(i->help);
        assert_null(strchr(i->help, '\n'));
        assert_int_equal(i->type == SETTING_ENUM, i->choices != NULL);
        assert_true(i->min <= i->max);
        for (int other = 0; other < k; other++)
            assert_string_not_equal(i->key, setting_info((enum setting)other)->key);
        /* Whatever the default is, it can be written down again. */
        struct settings *s, *again;
        struct err e;
        char set[200];
        assert_ok(load(*state, NULL, NULL, &s, &e), &e);
        (void)snprintf(set, sizeof set, "%s=%s", i->key, settings_str(s, (enum setting)k));
        assert_ok(load(*state, NULL, set, &again, &e), &e);
        assert_true(settings_int(s, (enum setting)k) == settings_int(again, (enum setting)k));
        settings_free(s);
        settings_free(again);
    }
}

static void a_file_with_everything(void **state)
{
    struct settings *s;
    struct err e;
    const struct setting_role *r;
    assert_ok(load(*state,
                   "# a comment\n"
                   "listen = \"0.0.0.0:80\"\n"
                   "async.retry_first_wait = 200ms\n"
                   "async.retry_jitter = 0.25\n"
                   "  worker.memory=2GiB // another\n"
                   "history.payload = on\n"
                   "log.level = debug\n"
                   "role \"web\" { network = host  allow = { \"lambda:InvokeFunction\", 'lambda:GetFunction' } }\n"
                   "role plain {\n}\n"
                   "role more {\n  allow = { a:b }\n  allow += { c:d }\n}\n",
                   "log.level=warn", &s, &e),
              &e);
    assert_string_equal(settings_str(s, SET_LISTEN), "0.0.0.0:80");
    assert_int_equal(settings_int(s, SET_ASYNC_RETRY_FIRST_WAIT), 200);
    assert_true(settings_real(s, SET_ASYNC_RETRY_JITTER) > 0.249 && settings_real(s, SET_ASYNC_RETRY_JITTER) < 0.251);
    assert_true(settings_int(s, SET_WORKER_MEMORY) == 2LL << 30);
    assert_int_equal(settings_int(s, SET_HISTORY_PAYLOAD), 1);
    assert_string_equal(settings_str(s, SET_LOG_LEVEL), "warn"); /* --set wins */
    assert_int_equal(settings_roles(s, &r), 3);
    assert_string_equal(r[0].name, "web");
    assert_string_equal(r[0].network, "host");
    assert_int_equal(r[0].n_allow, 2);
    assert_string_equal(r[0].allow[0], "lambda:InvokeFunction");
    assert_string_equal(r[0].allow[1], "lambda:GetFunction");
    assert_string_equal(r[1].name, "plain");
    assert_string_equal(r[1].network, "none");
    assert_int_equal(r[1].n_allow, 0);
    assert_int_equal(r[2].n_allow, 2);
    assert_string_equal(r[2].allow[1], "c:d");
    settings_free(s);
}

static void an_empty_file_is_fine(void **state)
{
    struct settings *s;
    struct err e;
    assert_ok(load(*state, "", NULL, &s, &e), &e);
    settings_free(s);
    assert_ok(load(*state, "# nothing\n\n", NULL, &s, &e), &e);
    settings_free(s);
}

static void refusals_name_file_and_line(void **state)
{
    static const struct {
        const char *text, *part;
    } rows[] = {
        {"\n\nno.such.key = 1\n", "/conf:3: no such option 'no.such.key'"},
        {"clock = real\nlisten = a:1\nclock = real\n", "/conf:3: clock is set twice (first in line 1)"},
        {"# one \" ' {\n// two\n/* three\n */ clock = virtul\n", "/conf:4: clock = \"virtul\""},
        {"user = \"a#b\" # c\nfoo = 3\n", "/conf:2: no such option 'foo'"},
        {"\nworker.idle = 5x\n", "/conf:2: worker.idle = \"5x\": it takes a duration from 0ms to 30d"},
        {"queue.max_bytes = 64GB\n", "/conf:1: queue.max_bytes = \"64GB\": it takes a size from 1MiB to 64TiB"},
        {"queue.max_bytes = 1KiB\n", "/conf:1: queue.max_bytes"},
        {"queue.max_bytes = 65TiB\n", "/conf:1: queue.max_bytes"},
        {"async.max_payload = 7MiB\n", "/conf:1: async.max_payload"},
        {"account.concurrency = 0\n", "it takes a whole number from 1 to 100000"},
        {"account.concurrency = 1.5\n", "account.concurrency"},
        {"async.retry_multiplier = 0.5\n", "it takes a number from 1 to 100"},
        {"async.retry_multiplier = 1e1\n", "async.retry_multiplier"},
        {"async.retry_multiplier = .\n", "async.retry_multiplier"},
        {"async.retry_jitter = 1.01\n", "it takes a number from 0 to 1"},
        {"async.retry_jitter = nan\n", "async.retry_jitter"},
        {"history.payload = maybe\n", "it takes on or off"},
        {"log.level = loud\n", "it takes one of error|warn|info|debug"},
        {"log.level = \"error|warn\"\n", "log.level"},
        {"sandbox = \"\"\n", "it takes one of strict|relaxed|off"},
        {"account = 12345678901\n", "twelve digits"},
        {"account = 12345678901x\n", "twelve digits"},
        {"region = \"eu west\"\n", "of a-z, 0-9 and -"},
        {"user = \"a\\nb\"\n", "/conf:1: user"},
        {"user = \"\"\n", "user"},
        {"listen\n", "/conf:"},
        {"listen = \n", "/conf:"},
        {"listen = {a, b}\n", "/conf:1:"},
        {"listen = \"a\n", "/conf:"},
        {"role web { network = everything }\n",
         "/conf:1: network = \"everything\": it takes one of none, outbound, host"},
        {"role web {\n network = none\n network = host\n}\n", "/conf:3: network is set twice (first in line 2)"},
        {"role web {\n allow = { a }\n allow = { b }\n}\n", "/conf:3: allow is set twice"},
        {"role web {\n allow = { a }\n allow = {}\n}\n", "/conf:4: allow is set twice"},
        {"role web {\n colour = red\n}\n", "/conf:2: no such option 'colour'"},
        {"role web {}\nrole web {}\n", "/conf:2: "},
        {"role { }\n", "/conf:1: "},
        {"role \"\" { }\n", "a name has 1 to 64 characters"},
        {"role web { allow = { \"\" } }\n", "an action has 1 to 63 characters"},
        {"role web {\n", "/conf:3: the file ends inside a role"},
        {"account.unreserved_minimum = 20\naccount.concurrency = 10\n", "more than account.concurrency"},
        {"queue.max_bytes = 100MiB\n", "queue.reserve_bytes is more than half of queue.max_bytes"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_refused(*state, rows[i].text, rows[i].part);
}

static void a_small_account_needs_no_second_setting(void **state)
{
    struct settings *s;
    struct err e;
    assert_ok(load(*state, "account.concurrency = 10\n", NULL, &s, &e), &e);
    assert_int_equal(settings_int(s, SET_ACCOUNT_UNRESERVED_MINIMUM), 10);
    settings_free(s);
}

static void ceilings_of_roles(void **state)
{
    struct buf b;
    struct settings *s;
    struct err e;
    const struct setting_role *r;
    buf_init(&b, 100000);
    for (int i = 0; i < SETTINGS_ROLES_MAX; i++)
        assert_rc(buf_printf(&b, "role r%d { }\n", i), 0);
    assert_ok(load(*state, b.data, NULL, &s, &e), &e);
    assert_int_equal(settings_roles(s, &r), SETTINGS_ROLES_MAX);
    settings_free(s);
    assert_rc(buf_puts(&b, "role more { }\n"), 0);
    assert_refused(*state, b.data, "/conf:65: more than 64 roles");
    buf_clear(&b);
    assert_rc(buf_puts(&b, "role web { allow = { x"), 0);
    for (int i = 1; i < ROLE_ALLOW_MAX; i++)
        assert_rc(buf_printf(&b, ", x%d", i), 0);
    assert_rc(buf_puts(&b, ", one-more } }\n"), 0);
    assert_refused(*state, b.data, "/conf:1: more than 32 actions in allow");
    buf_clear(&b);
    assert_rc(buf_puts(&b, "role "), 0);
    for (int i = 0; i <= ROLE_NAME_MAX; i++)
        assert_rc(buf_putc(&b, 'n'), 0);
    assert_rc(buf_puts(&b, " { }\n"), 0);
    assert_refused(*state, b.data, "a name has 1 to 64 characters");
    buf_done(&b);
}

static void the_file_itself(void **state)
{
    struct tmpdir *d = *state;
    struct settings *s = NULL;
    struct err e = {0};
    assert_err(settings_load(&s, tmpdir_path(d, "missing"), NULL, 0, &e), ERR_NOTFOUND, &e, "No such file");
    assert_err(settings_load(&s, d->path, NULL, 0, &e), ERR_IO, &e, "Is a directory");
    int fd = openat(d->fd, "nul", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "clock = real\n\0x", 15), 15);
    (void)close(fd);
    assert_err(settings_load(&s, tmpdir_path(d, "nul"), NULL, 0, &e), ERR_INVALID, &e, "NUL");
    fd = openat(d->fd, "big", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, 256 * 1024 + 1), 0);
    (void)close(fd);
    assert_err(settings_load(&s, tmpdir_path(d, "big"), NULL, 0, &e), ERR_TOOBIG, &e, "262144 bytes");
    assert_null(s);
}

static void set_arguments(void **state)
{
    (void)state;
    struct settings *s = NULL;
    struct err e = {0};
    static const struct {
        const char *set, *part;
    } rows[] = {
        {"clock", "--set clock: write KEY=VALUE"},
        {"nope=1", "--set nope=1: there is no setting nope"},
        {"=1", "there is no setting"},
        {"cloc=real", "there is no setting cloc"},
        {"clock.=real", "there is no setting clock."},
        {"clock=virtually", "--set: clock = \"virtually\": it takes one of real|virtual"},
        {"clock=", "--set: clock"},
        {"worker.starts=0", "from 1 to 1024"},
        {"role=web", "there is no setting role"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_err(settings_load(&s, NULL, &rows[i].set, 1, &e), ERR_INVALID, &e, rows[i].part);
    const char *twice[] = {"clock=virtual", "user=a=b", "clock=real"};
    assert_ok(settings_load(&s, NULL, twice, 3, &e), &e);
    assert_string_equal(settings_str(s, SET_CLOCK), "real"); /* in order */
    assert_string_equal(settings_str(s, SET_USER), "a=b");
    settings_free(s);
}

/* After a refused file the next one is read as if nothing had been. */
static void a_reload_after_an_error(void **state)
{
    struct settings *s;
    struct err e;
    assert_refused(*state, "role web {\n network = host\n allow = { \"unfinished\n", "/conf:");
    assert_ok(load(*state, "clock = virtual\nrole web { allow = { a } }\n", NULL, &s, &e), &e);
    assert_string_equal(settings_str(s, SET_CLOCK), "virtual");
    const struct setting_role *r;
    assert_int_equal(settings_roles(s, &r), 1);
    assert_string_equal(r[0].network, "none");
    settings_free(s);
}

struct seen {
    int n_live, n_start;
    char last_start[64];
};

static void on_diff(enum setting k, const char *text, void *arg)
{
    struct seen *seen = arg;
    seen->n_live += setting_live(k);
    seen->n_start += !setting_live(k);
    if (!setting_live(k))
        (void)snprintf(seen->last_start, sizeof seen->last_start, "%s=%s", setting_info(k)->key, text);
}

/* What may change while the daemon runs is taken over; what may not is told of, once per look, and left alone. */
static void an_update_takes_the_live_ones(void **state)
{
    (void)state;
    static const char before[] = "async.retry_first_wait = 5s\nasync.retry_jitter = 0.5\nlog.level = warn\n"
                                 "region = eu-west-1\nhistory.payload = on\n";
    static const char after[] = "async.retry_first_wait = 7s\nasync.retry_jitter = 0.25\nlog.level = debug\n"
                                "region = eu-west-2\n";
    const char *sets[] = {"worker.starts=3"};
    struct settings *s, *fresh;
    struct err e = {0};
    struct seen seen = {0};
    assert_ok(settings_parse(&s, "old.conf", before, sizeof before - 1, sets, 1, &e), &e);
    assert_ok(settings_parse(&fresh, "new.conf", after, sizeof after - 1, sets, 1, &e), &e);
    assert_int_equal(settings_update(s, fresh, on_diff, &seen), 0);
    assert_int_equal(seen.n_live, 4);
    assert_int_equal(seen.n_start, 1);
    assert_string_equal(seen.last_start, "region=eu-west-2");
    assert_int_equal(settings_int(s, SET_ASYNC_RETRY_FIRST_WAIT), 7000);
    assert_true(settings_real(s, SET_ASYNC_RETRY_JITTER) == 0.25);
    assert_int_equal(settings_int(s, SET_HISTORY_PAYLOAD), 0);
    assert_int_equal(settings_int(s, SET_WORKER_STARTS), 3); /* the command line still wins */
    assert_string_equal(settings_str(s, SET_LOG_LEVEL), "debug");
    assert_string_equal(settings_str(s, SET_REGION), "eu-west-1");
    seen = (struct seen){0};
    assert_int_equal(settings_update(s, fresh, on_diff, &seen), 0);
    assert_int_equal(seen.n_live, 0);
    assert_int_equal(seen.n_start, 1);
    settings_free(fresh);
    settings_free(s);
}

static void a_text_is_read_like_a_file(void **state)
{
    (void)state;
    struct settings *s = NULL;
    struct err e = {0};
    static const char bad[] = "# one\nclock = sundial\n", nul[] = "clock = real\n\0x";
    assert_err(settings_parse(&s, "the.conf", bad, sizeof bad - 1, NULL, 0, &e), ERR_INVALID, &e, "the.conf:2: clock");
    assert_err(settings_parse(&s, "the.conf", nul, sizeof nul - 1, NULL, 0, &e), ERR_INVALID, &e, "NUL");
    assert_null(s);
    assert_ok(settings_parse(&s, "the.conf", "", 0, NULL, 0, &e), &e);
    assert_string_equal(settings_str(s, SET_CLOCK), "real");
    settings_free(s);
}

int main(void)
{
#define T(f_) cmocka_unit_test_setup_teardown(f_, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(defaults_are_the_documented_ones),
        T(machine_defaults_are_computed),
        T(the_table_is_whole),
        T(a_file_with_everything),
        T(an_empty_file_is_fine),
        T(refusals_name_file_and_line),
        T(a_small_account_needs_no_second_setting),
        T(ceilings_of_roles),
        T(the_file_itself),
        T(set_arguments),
        T(a_reload_after_an_error),
        T(an_update_takes_the_live_ones),
        T(a_text_is_read_like_a_file),
    };
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
