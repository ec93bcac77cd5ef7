/* Log lines: their form, what is escaped, what is left out. */
#include <errno.h>
#include <pthread.h>
#include <regex.h>

#include "testutil.h"

#include "base/log.h"

struct sink {
    int fd[2];
    char text[65536];
};

static int setup(void **state)
{
    struct sink *s = calloc(1, sizeof *s);
    assert_non_null(s);
    assert_int_equal(pipe2(s->fd, O_CLOEXEC), 0);
    assert_true(fcntl(s->fd[0], F_SETFL, O_NONBLOCK) == 0);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, s->fd[1]);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct sink *s = *state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, STDERR_FILENO);
    (void)close(s->fd[0]);
    (void)close(s->fd[1]);
    free(s);
    return 0;
}

/* All that was logged since the last call. */
static const char *logged(struct sink *s)
{
    size_t len = 0;
    ssize_t k;
    while (len < sizeof s->text - 1 && (k = read(s->fd[0], s->text + len, sizeof s->text - 1 - len)) > 0)
        len += (size_t)k;
    s->text[len] = '\0';
    return s->text;
}

static void assert_match(const char *text, const char *pattern)
{
    regex_t re;
    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    int rc = regexec(&re, text, 0, NULL, 0);
    regfree(&re);
    if (rc != 0)
        fail_msg("\"%s\" does not match %s", text, pattern);
}

#define STAMP "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

static void a_text_line(void **state)
{
    log_info("store", "opened path=%s size=%d", "/x", 12);
    assert_match(logged(*state), "^" STAMP " info store opened path=/x size=12\n$");
    log_error("api", "broken");
    assert_match(logged(*state), "^" STAMP " error api broken\n$");
}

static void a_json_line(void **state)
{
    struct sink *s = *state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON, s->fd[1]);
    log_warn("queue", "name=\"%s\" path=c:\\x\ttab", "q");
    assert_match(logged(s), "^\\{\"time\":\"" STAMP "\",\"level\":\"warn\",\"area\":\"queue\",\"msg\":"
                            "\"name=\\\\\"q\\\\\" path=c:\\\\\\\\x\\\\u0009tab\"\\}\n$");
}

static void levels_below_are_left_out(void **state)
{
    struct sink *s = *state;
    log_debug("x", "no");
    assert_string_equal(logged(s), "");
    assert_false(log_enabled(LOG_LEVEL_DEBUG));
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, s->fd[1]);
    log_warn("x", "no");
    log_info("x", "no");
    assert_string_equal(logged(s), "");
    assert_true(log_enabled(LOG_LEVEL_ERROR));
    log_setup(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT, s->fd[1]);
    log_debug("x", "yes");
    assert_match(logged(s), "Z debug x yes\n$");
}

static void one_fact_stays_one_line(void **state)
{
    log_info("x", "a\nb\r\x1b[31m\x7f");
    const char *text = logged(*state);
    assert_match(text, "Z info x a\\\\x0ab\\\\x0d\\\\x1b\\[31m\\\\x7f\n$");
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

/* Well-formed characters of each length pass; a lone tail, a cut head, overlong forms, a surrogate and what is past
 * U+10FFFF do not. */
static void what_is_not_utf8_is_escaped(void **state)
{
    struct sink *s = *state;
    const char *good = "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x9d";
    log_info("x", "%s", good);
    assert_non_null(strstr(logged(s), good));
    static const char *const bad[] = {"\x80",
                                      "\xc3",
                                      "\xc0\xaf",
                                      "\xc1\xbf",
                                      "\xe0\x80\x80",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xf0\x80\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xf0\x9f\x90",
                                      "\xfe"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (int json = 0; json < 2; json++) {
            log_setup(LOG_LEVEL_INFO, json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT, s->fd[1]);
            log_info("x", "<%s>", bad[i]);
            const char *text = logged(s);
            for (const char *p = text; *p != '\0'; p++)
                if ((*p & 0x80) != 0)
                    fail_msg("bad text %zu came through", i);
            assert_non_null(strstr(text, json ? "<\\ufffd" : "<\\x"));
        }
}

static void a_long_line_is_cut_and_stays_whole(void **state)
{
    struct sink *s = *state;
    char big[5000];
    memset(big, '"', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON, s->fd[1]);
    log_info("x", "%s", big);
    const char *text = logged(s);
    assert_true(strlen(text) < 4096); /* one atomic write to a pipe */
    assert_match(text, "\\\\\"\"\\}\n$");
    memset(big, '\x01', sizeof big - 1);
    log_info("x", "%s", big);
    assert_match(logged(s), "\\\\u0001\"\\}\n$");
}

static void errno_is_kept(void **state)
{
    struct sink *s = *state;
    errno = EDOM;
    log_info("x", "y");
    assert_int_equal(errno, EDOM);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, -1);
    log_info("x", "nowhere to go");
    assert_int_equal(errno, EDOM);
    (void)logged(s);
}

enum { THREADS = 4, LINES = 100 };

static void *write_lines(void *arg)
{
    (void)arg;
    for (int i = 0; i < LINES; i++)
        log_info("thread", "0123456789012345678901234567890123456789");
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    struct sink *s = *state;
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, write_lines, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(t[i], NULL);
    const char *p = logged(s);
    int n = 0;
    for (; *p != '\0'; n++) {
        const char *end = strchr(p, '\n');
        assert_non_null(end);
        assert_memory_equal(end - 40, "0123456789012345678901234567890123456789", 40);
        assert_int_equal(end - p, 24 + 1 + 4 + 1 + 6 + 1 + 40);
        p = end + 1;
    }
    assert_int_equal(n, THREADS * LINES);
}

int main(void)
{
#define T(f_) cmocka_unit_test_setup_teardown(f_, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_text_line),
        T(a_json_line),
        T(levels_below_are_left_out),
        T(one_fact_stays_one_line),
        T(what_is_not_utf8_is_escaped),
        T(a_long_line_is_cut_and_stays_whole),
        T(errno_is_kept),
        T(lines_of_threads_do_not_mix),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
