/* Error codes, their texts, and the assertion that is on in every build. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>

#include "testutil.h"

#include "base/err.h"

static void set_fills_and_returns_the_code(void **state)
{
    (void)state;
    struct err e = {.sys = 5};
    assert_int_equal(err_set(&e, ERR_FULL, "disk %d", 7), ERR_FULL);
    assert_int_equal(e.code, ERR_FULL);
    assert_int_equal(e.sys, 0);
    assert_string_equal(e.text, "disk 7");
}

static void sys_appends_the_reason(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_sys(&e, ERR_IO, ENOSPC, "write %s", "x"), ERR_IO);
    assert_int_equal(e.sys, ENOSPC);
    assert_string_equal(e.text, "write x: No space left on device");
}

static void null_is_accepted(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, ERR_BUSY, "%s", "x"), ERR_BUSY);
    assert_int_equal(err_sys(NULL, ERR_IO, EIO, "%s", "x"), ERR_IO);
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    struct {
        struct err e;
        char after;
    } s = {.after = 'k'};
    char big[1000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    err_sys(&s.e, ERR_IO, EIO, "%s", big);
    assert_int_equal(strlen(s.e.text), sizeof s.e.text - 1);
    assert_int_equal(s.after, 'k');
}

static void an_error_may_wrap_its_own_text(void **state)
{
    (void)state;
    struct err e;
    err_set(&e, ERR_INVALID, "bad thing");
    err_set(&e, ERR_INVALID, "line %d: %s", 3, e.text);
    assert_string_equal(e.text, "line 3: bad thing");
}

static void every_code_has_its_name(void **state)
{
    (void)state;
    assert_string_equal(err_name(0), "ok");
    assert_string_equal(err_name(ERR_NOMEM), "ERR_NOMEM");
    assert_string_equal(err_name(ERR_CORRUPT), "ERR_CORRUPT");
    assert_string_equal(err_name(ERR_INTERNAL), "ERR_INTERNAL");
    for (int a = 0; a >= ERR_INTERNAL; a--) {
        assert_string_not_equal(err_name(a), "ERR_UNKNOWN");
        for (int b = a - 1; b >= ERR_INTERNAL; b--)
            assert_string_not_equal(err_name(a), err_name(b));
    }
    assert_string_equal(err_name(ERR_INTERNAL - 1), "ERR_UNKNOWN");
    assert_string_equal(err_name(1), "ERR_UNKNOWN");
    assert_string_equal(err_name(INT_MIN), "ERR_UNKNOWN");
}

static void assert_less_than_3(int n)
{
    BIDE_ASSERT(n < 3, "n is %d", n);
}

static void have_no_memory(int n)
{
    (void)n;
    bide_no_memory("a thing");
}

/* Its wait status; what it says on stderr goes into text. */
static int last_words(void (*end)(int n), char *text, size_t cap)
{
    int p[2], status;
    assert_int_equal(pipe(p), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(p[1], STDERR_FILENO);
        (void)signal(SIGABRT, SIG_DFL);
        end(3);
        _exit(0);
    }
    (void)close(p[1]);
    size_t len = 0;
    ssize_t k;
    while (len < cap - 1 && (k = read(p[0], text + len, cap - 1 - len)) > 0)
        len += (size_t)k;
    text[len] = '\0';
    (void)close(p[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void no_memory_is_said_and_ends(void **state)
{
    char text[1024];
    (void)state;
    int status = last_words(have_no_memory, text, sizeof text);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), BIDE_EXIT_NO_MEMORY);
    assert_non_null(strstr(text, "out of memory (a thing)"));
}

static void a_broken_assertion_says_what_and_aborts(void **state)
{
    char text[1024];
    (void)state;
    int status = last_words(assert_less_than_3, text, sizeof text);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "test_err.c"));
    assert_non_null(strstr(text, "n < 3: n is 3\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_fills_and_returns_the_code),
        cmocka_unit_test(sys_appends_the_reason),
        cmocka_unit_test(null_is_accepted),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(an_error_may_wrap_its_own_text),
        cmocka_unit_test(every_code_has_its_name),
        cmocka_unit_test(no_memory_is_said_and_ends),
        cmocka_unit_test(a_broken_assertion_says_what_and_aborts),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
