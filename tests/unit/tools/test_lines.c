/* JSON Lines as people write them. */
#include "testutil.h"

#include <stdlib.h>
#include <string.h>

#include "lines.h"

static struct lines from(const struct tmpdir *d, const char *text, size_t len)
{
    struct lines l;
    struct err e = {0};
    static char path[160]; /* lines borrows its name */
    (void)snprintf(path, sizeof path, "%s/events.jsonl", d->path);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_err(lines_open(&l, path, &e), 0, &e, "");
    assert_true(l.plain);
    return l;
}

static void expect_line(struct lines *l, uint64_t number, const char *text)
{
    struct err e = {0};
    assert_int_equal(lines_next(l, &e), 1);
    assert_int_equal(l->number, number);
    assert_int_equal(l->line.len, strlen(text));
    assert_memory_equal(l->line.p, text, l->line.len);
}

static void test_forms(void **state)
{
    static const char text[] = "1\n\n \t\r\n{\"a\": [1, 2]}\r\nnull\n\"no end\"";
    struct tmpdir d;
    struct err e = {0};
    (void)state;
    tmpdir_make(&d);
    struct lines l = from(&d, text, sizeof text - 1);
    for (int round = 0; round < 2; round++) {
        expect_line(&l, 1, "1");
        expect_line(&l, 4, "{\"a\": [1, 2]}\r");
        expect_line(&l, 5, "null");
        expect_line(&l, 6, "\"no end\"");
        assert_int_equal(lines_next(&l, &e), 0);
        assert_int_equal(lines_next(&l, &e), 0);
        assert_rc(lines_rewind(&l, &e), 0);
    }
    lines_close(&l);
    l = from(&d, "", 0);
    assert_int_equal(lines_percent(&l), 100);
    assert_int_equal(lines_next(&l, &e), 0);
    lines_close(&l);
    l = from(&d, "1\n", 2);
    assert_int_equal(lines_percent(&l), 0);
    expect_line(&l, 1, "1");
    assert_int_equal(lines_percent(&l), 100);
    lines_close(&l);
    tmpdir_remove(&d);
}

static void test_bad(void **state)
{
    struct tmpdir d;
    struct err e = {0};
    (void)state;
    tmpdir_make(&d);
    struct lines l = from(&d, "1\n\n{oops\n3\n", 11);
    expect_line(&l, 1, "1");
    assert_err(lines_next(&l, &e), ERR_INVALID, &e, "line 3 is no JSON");
    expect_line(&l, 4, "3"); /* the rest can still be looked at */
    lines_close(&l);
    /* What only a parser can tell of, and what it refuses. */
    static const char odd[] = "\"\\ud83d\\ude00\"\n1e999\n\"\\ud800\"\n\"\xff\"\n1\0 x\n";
    l = from(&d, odd, sizeof odd - 1);
    expect_line(&l, 1, "\"\\ud83d\\ude00\"");
    for (int i = 0; i < 4; i++)
        assert_int_equal(lines_next(&l, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "line 5 is no JSON: a NUL (column 2)"));
    assert_int_equal(lines_next(&l, &e), 0);
    lines_close(&l);
    assert_int_equal(lines_open(&l, "/nonexistent/x", &e), ERR_IO);
    assert_err(lines_open(&l, d.path, &e), ERR_INVALID, &e, "is a folder");
    tmpdir_remove(&d);
}

/* Lines across the edges of what is read at once; one that is over the ceiling. */
static void test_long(void **state)
{
    struct tmpdir d;
    struct err e = {0};
    (void)state;
    tmpdir_make(&d);
    size_t len = 13 << 20;
    char *text = malloc(len + 1);
    assert_non_null(text);
    memset(text, ' ', len);
    text[0] = '7';
    text[100000] = '\n';
    text[100001] = '8';
    text[200002] = '\n';
    text[200003] = '9';
    struct lines l = from(&d, text, len);
    assert_int_equal(lines_next(&l, &e), 1);
    assert_int_equal(l.line.len, 100000);
    assert_int_equal(lines_next(&l, &e), 1);
    assert_int_equal(l.line.len, 100001);
    assert_err(lines_next(&l, &e), ERR_TOOBIG, &e, "line 3: longer than 12 MiB");
    lines_close(&l);
    free(text);
    tmpdir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
