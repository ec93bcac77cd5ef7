/* Log streams as they are read: order, cursors, filters, and files that somebody else has been at. */
#include "logs_rig.h"

/* What one call gave: "TIME-IN-MS-SINCE-T0 STREAM-INITIAL REQUEST-INITIAL TEXT\n" for each line. */
struct got {
    struct buf b;
    size_t n;
    char next[LOGS_CURSOR_MAX];
    bool more;
};

static void on_line(const struct logs_line *line, void *arg)
{
    struct got *g = arg;
    assert_int_equal(buf_printf(&g->b, "%lld %s %c ", (long long)(line->time_ms - T0),
                                strcmp(line->stream, STREAM_A) == 0   ? "A"
                                : strcmp(line->stream, STREAM_B) == 0 ? "B"
                                                                      : "?",
                                line->request_id[0] != '\0' ? line->request_id[0] : '-'),
                     0);
    assert_int_equal(buf_append(&g->b, line->text, line->len), 0);
    assert_int_equal(buf_putc(&g->b, '\n'), 0);
    g->n++;
}

static struct got got;

static const char *read_lines(struct lrig *g, struct logs_query q, int want)
{
    struct err e = {0};
    char cursor[LOGS_CURSOR_MAX] = "";
    if (got.b.cap > 0)
        buf_done(&got.b);
    (void)snprintf(cursor, sizeof cursor, "%s", q.cursor != NULL ? q.cursor : "");
    q.cursor = cursor;
    q.function = q.function != NULL ? q.function : "f";
    q.request_id = q.request_id != NULL ? q.request_id : "";
    q.limit = q.limit > 0 ? q.limit : LOGS_READ_MAX;
    memset(&got, 0, sizeof got);
    buf_init(&got.b, 256 << 20);
    assert_err(logs_read(g->l, &q, on_line, &got, got.next, &got.more, &e), want, &e, want < 0 ? "" : NULL);
    return got.b.data;
}

static void at(struct lrig *g, int64_t ms)
{
    (void)logs_settle(g->l);
    g->real_ms = T0 + ms;
}

static void streams_are_merged_by_time(void **state)
{
    struct lrig *g = *state;
    struct logs_stream *a = logs_stream_open(g->l, "f", STREAM_A), *b = logs_stream_open(g->l, "f", STREAM_B);
    say(a, ID1, "one\n");
    at(g, 10);
    say(b, ID2, "two\n");
    at(g, 20);
    say(a, "", "three\nthree and a half\n");
    say(b, "", "four\n");
    at(g, 30);
    /* Of one time: by stream, and within it as written. */
    assert_string_equal(read_lines(g, (struct logs_query){0}, 0),
                        "0 A 1 one\n10 B 2 two\n20 B - four\n20 A - three\n20 A - three and a half\n");
    assert_false(got.more);
    assert_string_equal(read_lines(g, (struct logs_query){.since_ms = T0 + 10}, 0) + 0,
                        "10 B 2 two\n20 B - four\n20 A - three\n20 A - three and a half\n");
    assert_string_equal(read_lines(g, (struct logs_query){.request_id = ID2}, 0), "10 B 2 two\n");
    assert_string_equal(read_lines(g, (struct logs_query){.request_id = "nosuch"}, 0), "");
    /* Page by page, each line once. */
    char all[256] = "";
    for (int i = 0; i < 5; i++) {
        strcat(all, read_lines(g, (struct logs_query){.limit = 1, .cursor = i > 0 ? got.next : ""}, 0));
        assert_int_equal(got.n, 1);
        assert_int_equal(got.more, i < 4);
    }
    assert_string_equal(all, "0 A 1 one\n10 B 2 two\n20 B - four\n20 A - three\n20 A - three and a half\n");
    assert_string_equal(read_lines(g, (struct logs_query){.cursor = got.next}, 0), "");
    logs_stream_close(a);
    logs_stream_close(b);
}

/* A reader that goes on with its cursor sees what is written meanwhile: in the same millisecond, by a stream that was
 * not there, in another file of the same stream; and half a line only once it is whole. */
static void a_follower_misses_nothing(void **state)
{
    struct lrig *g = *state;
    read_lines(g, (struct logs_query){0}, ERR_NOTFOUND); /* has not logged yet: the cursor is good all the same */
    struct logs_stream *a = logs_stream_open(g->l, "f", STREAM_A), *b;
    say(a, ID1, "one\n");
    assert_string_equal(read_lines(g, (struct logs_query){.cursor = got.next}, 0), "1 A 1 one\n");
    say(a, ID1, "two\n"); /* the clock stands still */
    assert_string_equal(read_lines(g, (struct logs_query){.cursor = got.next}, 0), "2 A 1 two\n");
    b = logs_stream_open(g->l, "f", STREAM_B); /* sorts before A */
    say(b, ID2, "three\n");
    say(a, ID1, "ha");
    assert_string_equal(read_lines(g, (struct logs_query){.cursor = got.next}, 0), "3 B 2 three\n");
    say(a, ID1, "lf\n");
    g->mono_ms += SEGMENT_AGE_MS;
    assert_string_equal(read_lines(g, (struct logs_query){.cursor = got.next}, 0), "4 A 1 half\n");
    assert_true(tmpdir_has(&g->dir, "f/" FILE_A ".2.log"));
    g->real_ms -= 3600000; /* the clock is set back */
    say(a, ID1, "five\n");
    assert_string_equal(read_lines(g, (struct logs_query){.cursor = got.next}, 0), "5 A 1 five\n");
    assert_string_equal(read_lines(g, (struct logs_query){.cursor = got.next}, 0), "");
    logs_stream_close(a);
    logs_stream_close(b);
}

/* Random lines in random streams, read with random limits while they are written: all of them, once, in order. */
static void any_interleaving_reads_the_same(void **state)
{
    struct lrig *g = *state;
    enum { STREAMS = 7, LINES = 3000 };
    struct logs_opts o = lrig_opts();
    struct logs_stream *s[STREAMS];
    uint64_t seed = 4711;
    char name[LOGS_STREAM_NAME_MAX], text[64], cursor[LOGS_CURSOR_MAX] = "";
    static bool seen[LINES];
    size_t n_seen = 0;
    o.function_max_bytes = 8 << 20;
    lrig_again(g, &o);
    for (int i = 0; i < STREAMS; i++) {
        (void)snprintf(name, sizeof name, "2026/01/02/[%d]%032x", i + 1, 1000 - i);
        s[i] = logs_stream_open(g->l, "f", name);
    }
    for (int k = 0; k < LINES || n_seen < LINES;) {
        for (uint64_t burst = test_rand(&seed) % 200; burst > 0 && k < LINES; burst--, k++) {
            (void)snprintf(text, sizeof text, "%d\n", k);
            say(s[test_rand(&seed) % STREAMS], ID1, text);
            g->real_ms += (int64_t)(test_rand(&seed) % 3 == 0);
        }
        const char *p =
            read_lines(g, (struct logs_query){.cursor = cursor, .limit = 1 + (uint32_t)(test_rand(&seed) % 300)}, 0);
        memcpy(cursor, got.next, sizeof cursor);
        long long last = -1, time;
        for (int number, len; sscanf(p, "%lld ? 1 %d\n%n", &time, &number, &len) == 2; p += len) {
            assert_true(time >= last);
            assert_false(seen[number]);
            seen[number] = true;
            n_seen++;
            last = time;
        }
        assert_string_equal(p, "");
        assert_true(k < LINES || got.n > 0 || n_seen == LINES);
    }
    for (int i = 0; i < STREAMS; i++)
        logs_stream_close(s[i]);
}

/* A call looks at LOGS_SCAN_BYTES and then says how far it came: a needle in a haystack takes several, and each line
 * of two streams that are unlike each other comes once. */
static void a_long_search_comes_in_steps(void **state)
{
    struct lrig *g = *state;
    struct logs_opts o = lrig_opts();
    static char piece[16000];
    o.rate = 1 << 30;
    o.function_max_bytes = 256 << 20;
    lrig_again(g, &o);
    struct logs_stream *a = logs_stream_open(g->l, "f", STREAM_A), *b = logs_stream_open(g->l, "f", STREAM_B);
    memset(piece, 'z', sizeof piece - 1);
    piece[sizeof piece - 1] = '\n';
    for (int i = 0; i < 4500; i++) {
        (void)logs_output(a, ID1, piece, sizeof piece); /* 72 MB */
        if (i % 100 == 0)
            at(g, i);
        if (i % 1500 == 750)
            say(b, ID2, "needle\n");
    }
    say(a, ID2, "last needle\n");
    int calls = 0;
    size_t n = 0;
    char cursor[LOGS_CURSOR_MAX] = "";
    do {
        read_lines(g, (struct logs_query){.request_id = ID2, .cursor = cursor}, 0);
        memcpy(cursor, got.next, sizeof cursor);
        n += got.n;
        calls++;
    } while (got.more);
    assert_int_equal(n, 4);
    assert_in_range(calls, 3, 6);
    /* A text bound, too. */
    read_lines(g, (struct logs_query){0}, 0);
    assert_in_range(got.n, LOGS_READ_BYTES / 16000, LOGS_READ_BYTES / 16000 + 1);
    assert_true(got.more);
    /* And a time is found without reading what is before it. */
    read_lines(g, (struct logs_query){.since_ms = T0 + 4400, .request_id = ID2}, 0);
    assert_int_equal(got.n, 1);
    assert_false(got.more);
    logs_stream_close(a);
    logs_stream_close(b);
}

static void files_of_others_do_no_harm(void **state)
{
    struct lrig *g = *state;
    struct logs_stream *a = logs_stream_open(g->l, "f", STREAM_A);
    char *big = malloc(300001);
    assert_non_null(big);
    memset(big, 'q', 300000);
    big[300000] = '\0';
    say(a, ID1, "first\n");
    (void)logs_settle(g->l);
    int fd = openat(g->dir.fd, "f/" FILE_A ".log", O_WRONLY | O_APPEND | O_CLOEXEC);
    static const char *const junk[] = {"",
                                       "not a line",
                                       "2026-01-03T01:02:00.000Z",
                                       "2026-01-03T01:02:00.000Z ",
                                       "2026-01-03T01:02:00.000Z id",
                                       "2026-01-03T01:02:00.000Z  no id",
                                       "2026-13-03T01:02:00.000Z - no such month",
                                       "2026-01-03T01:02:00.000Z an-id-that-is-longer-than-any-id-we-have-ever-given x",
                                       "9999-01-03T01:02:00.000Z - from the future"};
    for (size_t i = 0; i + 1 < sizeof junk / sizeof junk[0]; i++)
        assert_true(dprintf(fd, "%s\n", junk[i]) > 0);
    assert_int_equal(write(fd, "2026-01-03T01:02:00.500Z - nul\0here\n", 36), 36);
    assert_int_equal(write(fd, big, 300000), 300000); /* longer than a block, and then some */
    assert_true(dprintf(fd, "\n2026-01-03T01:02:00.600Z - after\n%s\n2026-01-03T01:02:00.700Z - torn", junk[8]) > 0);
    close(fd);
    free(big);
    assert_int_equal(symlinkat("/etc/passwd", g->dir.fd, "f/" FILE_B ".log"), 0);
    assert_int_equal(mkfifoat(g->dir.fd, "f/" FILE_B ".2.log", 0600), 0);
    tmpdir_write(&g->dir, "f/" FILE_B ".3.log", "");
    at(g, 2000);
    const char *text = read_lines(g, (struct logs_query){0}, 0);
    assert_memory_equal(text, "0 A 1 first\n500 A - nul\0here\n600 A - after\n", 42);
    assert_int_equal(got.n, 3);
    assert_int_equal(symlinkat("f", g->dir.fd, "linked"), 0);
    read_lines(g, (struct logs_query){.function = "linked"}, ERR_IO);
    read_lines(g, (struct logs_query){.function = "../f"}, ERR_NOTFOUND);
    logs_stream_close(a);
}

static void cursors_of_others_are_refused(void **state)
{
    struct lrig *g = *state;
    struct logs_stream *a = logs_stream_open(g->l, "f", STREAM_A);
    say(a, ID1, "x\n");
    static const char *const bad[] = {"x",          "-1",
                                      "1.",         "1.2",
                                      "1.2.3",      "1.2.0." FILE_A,
                                      "1.2.3.../x", "1.2.3." FILE_A "x",
                                      ".",          "99999999999999999999",
                                      "1 "};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        read_lines(g, (struct logs_query){.cursor = bad[i]}, ERR_INVALID);
    assert_string_equal(read_lines(g, (struct logs_query){.cursor = "0.0.1." FILE_B}, 0), "0 A 1 x\n");
    logs_stream_close(a);
}

int main(void)
{
#define T(f_) cmocka_unit_test_setup_teardown(f_, lrig_setup, lrig_teardown)
    const struct CMUnitTest tests[] = {
        T(streams_are_merged_by_time),   T(a_follower_misses_nothing),  T(any_interleaving_reads_the_same),
        T(a_long_search_comes_in_steps), T(files_of_others_do_no_harm), T(cursors_of_others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
