/* Log streams as they are written: lines, caps, full disks, rotation, retention. */
#include "logs_rig.h"

#include <stdatomic.h>

static void lines_say_when_and_whose(void **state)
{
    struct lrig *g = *state;
    struct logs_stream *s = logs_stream_open(g->l, "orders", STREAM_A);
    tell(s, "", "INIT_START Runtime Version: python:3.12\n");
    say(s, "", "importing\n");
    g->real_ms += 1500;
    tell(s, ID1, "START RequestId: " ID1 " Version: $LATEST\n");
    say(s, ID1, "one\ntw");
    say(s, ID1, "o\n\nno newline");
    tell(s, ID1, "END RequestId: " ID1 "\nREPORT RequestId: " ID1 "\tDuration\n");
    say(s, "", "after");
    logs_stream_close(s);
    assert_string_equal(file_text(g, "orders/" FILE_A ".log"),
                        "2026-01-03T01:02:00.000Z - INIT_START Runtime Version: python:3.12\n"
                        "2026-01-03T01:02:00.000Z - importing\n"
                        "2026-01-03T01:02:01.500Z " ID1 " START RequestId: " ID1 " Version: $LATEST\n"
                        "2026-01-03T01:02:01.500Z " ID1 " one\n"
                        "2026-01-03T01:02:01.500Z " ID1 " two\n"
                        "2026-01-03T01:02:01.500Z " ID1 " \n"
                        "2026-01-03T01:02:01.500Z " ID1 " no newline\n"
                        "2026-01-03T01:02:01.500Z " ID1 " END RequestId: " ID1 "\n"
                        "2026-01-03T01:02:01.500Z " ID1 " REPORT RequestId: " ID1 "\tDuration\n"
                        "2026-01-03T01:02:01.500Z - after\n");
}

/* What one invocation left unfinished is not the next one's. */
static void an_unfinished_line_keeps_its_owner(void **state)
{
    struct lrig *g = *state;
    struct logs_stream *s = logs_stream_open(g->l, "f", STREAM_A);
    say(s, ID1, "a");
    say(s, ID2, "b\n");
    logs_stream_close(s);
    assert_string_equal(file_text(g, "f/" FILE_A ".log"),
                        "2026-01-03T01:02:00.000Z " ID1 " a\n2026-01-03T01:02:00.000Z " ID2 " b\n");
}

static void long_lines_are_split_and_bytes_kept(void **state)
{
    struct lrig *g = *state;
    struct logs_stream *s = logs_stream_open(g->l, "f", STREAM_A);
    char *big = malloc(40000);
    assert_non_null(big);
    memset(big, 'x', 40000);
    for (size_t at = 0; at < 40000; at += 10000)
        (void)logs_output(s, ID1, big + at, 10000);
    (void)logs_output(s, ID1, "\n\xff\x00\x1b[2J\r\n", 9);
    (void)logs_output(s, ID1, big, 20000); /* whole in one piece, and too long all the same */
    (void)logs_output(s, ID1, "\n", 1);
    free(big);
    const char *text = file_text(g, "f/" FILE_A ".log");
    size_t prefix = strlen("2026-01-03T01:02:00.000Z " ID1 " ");
    static const size_t want[] = {LOGS_LINE_MAX, LOGS_LINE_MAX, 40000 - 2 * LOGS_LINE_MAX};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(strcspn(text, "\n"), prefix + want[i]);
        text += prefix + want[i] + 1;
    }
    assert_memory_equal(text + prefix, "\xff\x00\x1b[2J\r\n", 8);
    text += prefix + 8;
    assert_int_equal(strcspn(text, "\n"), prefix + LOGS_LINE_MAX);
    logs_stream_close(s);
}

static void a_flood_is_cut_and_the_cut_is_named(void **state)
{
    struct lrig *g = *state;
    struct logs_opts o = lrig_opts();
    struct logs_stats st;
    static char piece[16384];
    o.rate = 100000;
    lrig_again(g, &o);
    struct logs_stream *s = logs_stream_open(g->l, "f", STREAM_A), *other = logs_stream_open(g->l, "g", STREAM_B);
    memset(piece, 'x', sizeof piece - 1);
    piece[sizeof piece - 1] = '\n';
    int kept = 0, n = 0;
    for (; n < 100; n++)
        kept += logs_output(s, ID1, piece, sizeof piece);
    assert_in_range(kept, 800000 / 16500, 800000 / 16384 + 1);
    tell(s, ID1, "END\n"); /* the platform's own lines are never what is cut */
    say(other, ID2, "not mine\n");
    logs_stats(g->l, &st);
    assert_int_equal(st.dropped_bytes, (uint64_t)(n - kept) * sizeof piece);
    const char *text = file_text(g, "f/" FILE_A ".log");
    char mark[128];
    (void)snprintf(mark, sizeof mark, " " ID1 " [bide] %d bytes of output dropped here: more than logs.rate\n",
                   (n - kept) * (int)sizeof piece);
    const char *at = strstr(text, mark);
    assert_non_null(at);
    assert_non_null(strstr(at, " " ID1 " END\n"));
    assert_non_null(strstr(file_text(g, "g/" FILE_B ".log"), "not mine"));
    /* A second's worth must have come back before it is heard again: one mark a second, not one per line. */
    g->mono_ms += 500;
    assert_false(logs_output(s, ID1, "x\n", 2));
    g->mono_ms += 1000;
    assert_true(logs_output(s, ID1, "back\n", 5));
    assert_non_null(strstr(file_text(g, "f/" FILE_A ".log"), "[bide] 2 bytes of output dropped here"));
    /* An empty line is not free: it takes its prefix. */
    memset(piece, '\n', sizeof piece);
    g->mono_ms += 100000;
    for (kept = 0, n = 0; n < 10; n++)
        kept += logs_output(s, ID1, piece, sizeof piece);
    assert_int_equal(kept, 1);
    logs_stream_close(other);
    /* Nothing at all is kept of this one, and that is said by its last line. */
    logs_stream_close(s);
    s = logs_stream_open(g->l, "f", STREAM_B);
    assert_false(logs_output(s, ID1, "gone\n", 5));
    logs_stream_close(s);
    text = file_text(g, "f/" FILE_B ".log");
    assert_int_equal(strcspn(text, "\n"), strlen(text) - 1);
    assert_non_null(strstr(text, "Z - [bide] 5 bytes of output dropped here: more than logs.rate\n"));
}

/* The queue is bounded: what does not fit while the disk is slow is dropped, and said. The writer is held up in its
 * write. */
static struct gate {
    pthread_mutex_t mu;
    struct lrig *g;
    _Atomic int entered;
} gate = {.mu = PTHREAD_MUTEX_INITIALIZER};

static ssize_t gated_write(int fd, const void *p, size_t n, void *arg)
{
    (void)arg;
    gate.entered++;
    pthread_mutex_lock(&gate.mu);
    pthread_mutex_unlock(&gate.mu);
    return write(fd, p, n);
}

static bool writer_is_held(void *arg)
{
    (void)arg;
    return gate.entered > 0;
}

static void a_slow_disk_costs_lines_and_no_memory(void **state)
{
    struct lrig *g = *state;
    struct logs_opts o = lrig_opts();
    struct logs_stats st;
    struct err e = {0};
    static char piece[16384];
    o.rate = 100 << 20;
    logs_close(g->l);
    struct logs_io io = {
        .real_ms = lrig_real, .mono_ms = lrig_mono, .disk_free = lrig_disk_free, .write = gated_write, .arg = g};
    int fd = openat(g->dir.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_ok(logs_open_with(&g->l, fd, &o, &io, &e), &e);
    struct logs_stream *s = logs_stream_open(g->l, "f", STREAM_A), *other = logs_stream_open(g->l, "g", STREAM_B);
    memset(piece, 'x', sizeof piece - 1);
    piece[sizeof piece - 1] = '\n';
    pthread_mutex_lock(&gate.mu);
    say(s, ID1, "first\n");
    wait_until(writer_is_held, NULL, TEST_PATIENCE_MS);
    for (int i = 0; i < 1000; i++)
        assert_true(logs_output(s, ID1, piece, sizeof piece)); /* 16 MB, within its rate */
    logs_stats(g->l, &st);
    assert_in_range(st.dropped_bytes, 1000 * sizeof piece - QUEUE_FUNCTION_MAX - sizeof piece, 1000 * sizeof piece);
    assert_true(g->l->fill.cap <= 2 * QUEUE_COST_MAX);
    say(other, ID2, "has its own share\n");
    say(s, ID1, "last\n");
    pthread_mutex_unlock(&gate.mu);
    logs_stream_close(s);
    logs_stream_close(other);
    assert_non_null(strstr(file_text(g, "g/" FILE_B ".log"), "has its own share"));
    assert_non_null(strstr(file_text(g, "f/" FILE_A ".log"), "bytes of output dropped here: the disk did not keep up"));
}

static void count_stops(void *arg)
{
    (void)atomic_fetch_add((atomic_int *)arg, 1);
}

static void a_full_disk_stops_logs_and_nothing_else(void **state)
{
    struct lrig *g = *state;
    struct logs_opts o = lrig_opts();
    struct logs_stats st;
    atomic_int told = 0;
    o.reserve_bytes = 64 << 20;
    o.on_stopped = count_stops;
    o.arg = &told;
    lrig_again(g, &o);
    struct logs_stream *s = logs_stream_open(g->l, "f", STREAM_A);
    say(s, ID1, "before\n");
    (void)logs_settle(g->l);
    g->disk_free = (128 << 20) - 1;
    g->mono_ms += DISK_LOOK_MS;
    say(s, ID1, "lost\n");
    (void)logs_settle(g->l);
    logs_stats(g->l, &st);
    assert_true(st.stopped);
    assert_int_equal(told, 1);
    assert_non_null(strstr(st.why, "queue.reserve_bytes"));
    assert_in_range(st.lost_bytes, 5, 100);
    g->disk_free = 128 << 20; /* not before there is a little more */
    g->mono_ms += DISK_LOOK_MS;
    say(s, ID1, "lost\n");
    (void)logs_settle(g->l);
    g->disk_free = 200 << 20;
    g->mono_ms += DISK_LOOK_MS;
    logs_sweep_now(g->l); /* as happens by itself once a minute: seen also while nobody logs */
    logs_stats(g->l, &st);
    assert_false(st.stopped);
    assert_int_equal(told, 2);
    say(s, ID1, "after\n");
    logs_stream_close(s);
    assert_string_equal(file_text(g, "f/" FILE_A ".log"),
                        "2026-01-03T01:02:00.000Z " ID1 " before\n2026-01-03T01:02:00.003Z " ID1 " after\n");
}

static void a_failed_write_leaves_no_torn_line(void **state)
{
    struct lrig *g = *state;
    struct logs_stats st;
    struct logs_stream *s = logs_stream_open(g->l, "f", STREAM_A);
    say(s, ID1, "before\n");
    (void)logs_settle(g->l);
    g->short_bytes = 10;
    g->fail_errno = ENOSPC;
    say(s, ID1, "lost\n");
    (void)logs_settle(g->l);
    logs_stats(g->l, &st);
    assert_true(st.stopped);
    assert_non_null(strstr(st.why, "logs/f: No space left"));
    g->fail_errno = 0;
    say(s, ID1, "after\n");
    (void)logs_settle(g->l);
    logs_stats(g->l, &st);
    assert_false(st.stopped);
    assert_string_equal(st.why, "");
    assert_int_equal(st.lost_bytes, strlen("2026-01-03T01:02:00.000Z " ID1 " lost\n"));
    const char *text = file_text(g, "f/" FILE_A ".log");
    assert_null(strstr(text, "lost"));
    assert_non_null(strstr(text, " before\n2026-"));
    assert_non_null(strstr(text, " after\n"));
    logs_stream_close(s);
}

/* Something that is no folder stands where the function's folder should be. */
static void a_folder_that_cannot_be_made(void **state)
{
    struct lrig *g = *state;
    struct logs_stats st;
    tmpdir_write(&g->dir, "f", "a file");
    assert_int_equal(symlinkat("/tmp", g->dir.fd, "g"), 0);
    struct logs_stream *s = logs_stream_open(g->l, "f", STREAM_A), *t = logs_stream_open(g->l, "g", STREAM_A);
    say(s, ID1, "x\n");
    (void)logs_settle(g->l);
    logs_stats(g->l, &st);
    assert_true(st.stopped);
    assert_non_null(strstr(st.why, "logs/f: Not a directory"));
    say(t, ID1, "x\n");
    (void)logs_settle(g->l);
    logs_stats(g->l, &st);
    assert_non_null(strstr(st.why, "logs/g: Too many levels of symbolic links"));
    assert_int_not_equal(access("/tmp/" FILE_A ".log", F_OK), 0);
    logs_stream_close(s);
    logs_stream_close(t);
}

static void many_streams_share_few_descriptors(void **state)
{
    struct lrig *g = *state;
    enum { N = 3 * OPEN_FILES_MAX };
    struct logs_stream *s[N];
    char name[LOGS_STREAM_NAME_MAX], file[NAME_FILE_MAX + 8];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) {
            (void)snprintf(name, sizeof name, "2026/01/02/[$LATEST]%032x", i);
            if (round == 0)
                s[i] = logs_stream_open(g->l, "f", name);
            say(s[i], ID1, round == 0 ? "one\n" : "two\n");
        }
        (void)logs_settle(g->l);
        assert_true(g->l->n_open <= OPEN_FILES_MAX);
    }
    for (int i = 0; i < N; i++) {
        (void)snprintf(file, sizeof file, "f/2026-01-02-LATEST-%032x.log", i);
        const char *text = file_text(g, file);
        assert_non_null(strstr(text, " one\n2026"));
        assert_non_null(strstr(text, " two\n"));
        logs_stream_close(s[i]);
    }
    (void)logs_settle(g->l);
    assert_int_equal(g->l->n_open, 0);
}

/* A round of a stream is one write, however many lines it has. */
static void lines_are_written_together(void **state)
{
    struct lrig *g = *state;
    struct logs_stream *s = logs_stream_open(g->l, "f", STREAM_A);
    for (int i = 0; i < 1000; i++)
        say(s, ID1, "line\n");
    (void)logs_settle(g->l);
    assert_in_range(g->writes, 1, 500);
    logs_stream_close(s);
}

static void off_writes_nothing(void **state)
{
    struct lrig *g = *state;
    struct logs_opts o = lrig_opts();
    o.on = false;
    lrig_again(g, &o);
    assert_null(logs_stream_open(g->l, "f", STREAM_A));
    assert_null(logs_stream_open(NULL, "f", STREAM_A));
    assert_true(logs_output(NULL, ID1, "x", 1));
    logs_platform(NULL, ID1, "x\n", 2);
    logs_stream_close(NULL);
    logs_close(NULL);
    assert_false(tmpdir_has(&g->dir, "f"));
}

/* --- size and age ------------------------------------------------------------------------------------------------- */

static void fill_stream(struct logs_stream *s, size_t bytes)
{
    static char piece[8192];
    memset(piece, 'y', sizeof piece - 1);
    piece[sizeof piece - 1] = '\n';
    for (size_t n = 0; n < bytes; n += sizeof piece) {
        (void)logs_output(s, ID1, piece, sizeof piece);
        (void)logs_settle(s->l);
    }
}

static uint64_t folder_bytes(struct lrig *g, const char *function)
{
    struct segments v;
    uint64_t sum = 0;
    int rc = segments_list(g->dir.fd, function, &v);
    for (size_t i = 0; rc == 0 && i < v.n; i++)
        sum += v.v[i].size;
    free(v.v);
    return sum;
}

static void a_function_keeps_its_size_and_the_newest(void **state)
{
    struct lrig *g = *state;
    struct logs_opts o = lrig_opts();
    o.rate = 100 << 20;
    o.function_max_bytes = 1 << 20;
    lrig_again(g, &o);
    struct logs_stream *s = logs_stream_open(g->l, "f", STREAM_A);
    fill_stream(s, 3 << 20);
    say(s, ID1, "newest\n");
    (void)logs_settle(g->l);
    assert_in_range(folder_bytes(g, "f"), 512 << 10, (1 << 20) + (256 << 10));
    assert_string_equal(file_text(g, "f/" FILE_A ".log"), ""); /* the oldest files are what went */
    struct segments v;
    uint32_t last = 0;
    char name[NAME_FILE_MAX + 2] = "f/";
    assert_int_equal(segments_list(g->dir.fd, "f", &v), 0);
    for (size_t i = 0; i < v.n; i++)
        last = v.v[i].n > last ? v.v[i].n : last;
    free(v.v);
    assert_true(last > 10);
    name_file(FILE_A, last, name + 2);
    assert_non_null(strstr(file_text(g, name), "newest"));
    logs_stream_close(s);
}

/* One that floods loses its own; the small one keeps all. */
static void the_biggest_gives_first(void **state)
{
    struct lrig *g = *state;
    struct logs_opts o = lrig_opts();
    o.rate = 100 << 20;
    o.max_bytes = 2 << 20;
    lrig_again(g, &o);
    struct logs_stream *s = logs_stream_open(g->l, "small", STREAM_A), *b = logs_stream_open(g->l, "big", STREAM_B);
    fill_stream(s, 300 << 10);
    uint64_t had = folder_bytes(g, "small");
    fill_stream(b, 4 << 20);
    logs_sweep_now(g->l);
    assert_int_equal(folder_bytes(g, "small"), had);
    assert_in_range(folder_bytes(g, "big"), 1 << 20, 2 << 20);
    struct logs_stats st;
    logs_stats(g->l, &st);
    assert_true(st.bytes <= o.max_bytes);
    logs_stream_close(s);
    logs_stream_close(b);
}

static void set_age(struct lrig *g, const char *path, int64_t ms)
{
    struct timespec t[2] = {{.tv_sec = ms / 1000}, {.tv_sec = ms / 1000}};
    assert_int_equal(utimensat(g->dir.fd, path, t, 0), 0);
}

static void what_is_past_retention_goes(void **state)
{
    struct lrig *g = *state;
    const int64_t day = 86400000;
    struct logs_stream *s = logs_stream_open(g->l, "f", STREAM_A), *t = logs_stream_open(g->l, "gone", STREAM_B);
    say(s, ID1, "old\n");
    say(t, ID1, "old\n");
    logs_stream_close(t);
    (void)logs_settle(g->l);
    set_age(g, "f/" FILE_A ".log", T0 - 15 * day);
    set_age(g, "gone/" FILE_B ".log", T0 - 13 * day);
    tmpdir_write(&g->dir, "f/notes", "a person's");
    logs_sweep_now(g->l);
    assert_false(tmpdir_has(&g->dir, "f/" FILE_A ".log")); /* also the file of a stream that is open */
    assert_true(tmpdir_has(&g->dir, "f/notes"));
    assert_true(tmpdir_has(&g->dir, "gone/" FILE_B ".log"));
    say(s, ID1, "goes on\n");
    logs_stream_close(s);
    assert_non_null(strstr(file_text(g, "f/" FILE_A ".2.log"), "goes on"));
    g->real_ms += 2 * day;
    logs_sweep_now(g->l);
    assert_false(tmpdir_has(&g->dir, "gone")); /* its folder too */
}

static void a_folder_without_files_goes(void **state)
{
    struct lrig *g = *state;
    assert_int_equal(mkdirat(g->dir.fd, "bare", 0700), 0);
    logs_sweep_now(g->l);
    assert_false(tmpdir_has(&g->dir, "bare"));
}

/* A stream that lives long does not hold what is old in the file it writes to. */
static void a_stream_begins_a_new_file_every_day(void **state)
{
    struct lrig *g = *state;
    struct logs_stream *s = logs_stream_open(g->l, "f", STREAM_A);
    say(s, ID1, "monday\n");
    (void)logs_settle(g->l);
    g->mono_ms += SEGMENT_AGE_MS;
    say(s, ID1, "tuesday\n");
    assert_null(strstr(file_text(g, "f/" FILE_A ".log"), "tuesday"));
    assert_non_null(strstr(file_text(g, "f/" FILE_A ".2.log"), "tuesday"));
    logs_stream_close(s);
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static void names_there_and_back(void **state)
{
    (void)state;
    char base[NAME_BASE_MAX], back[LOGS_STREAM_NAME_MAX], file[NAME_FILE_MAX];
    uint32_t n;
    static const char *const good[][2] = {{STREAM_A, FILE_A}, {STREAM_B, FILE_B}};
    for (size_t i = 0; i < 2; i++) {
        assert_true(name_base(good[i][0], base));
        assert_string_equal(base, good[i][1]);
        assert_true(name_base_ok(base, strlen(base)));
        name_stream(base, back, sizeof back);
        assert_string_equal(back, good[i][0]);
        for (uint32_t k = 1; k < 12; k += 10) {
            name_file(base, k, file);
            assert_true(name_parse_file(file, back, &n));
            assert_int_equal(n, k);
            assert_string_equal(back, base);
        }
    }
    static const char *const bad_streams[] = {"",
                                              "x",
                                              "2026/01/02/[$LATEST]0123",
                                              "2026-01-02/[1]0123456789abcdef0123456789abcdef",
                                              "2026/01/02/[../x]0123456789abcdef0123456789abcdef",
                                              "2026/01/02/[]0123456789abcdef0123456789abcdef",
                                              "2026/01/02/[1]0123456789abcdef0123456789abcde/"};
    for (size_t i = 0; i < sizeof bad_streams / sizeof bad_streams[0]; i++)
        assert_false(name_base(bad_streams[i], base));
    static const char *const bad_files[] = {".",
                                            "..",
                                            "notes",
                                            FILE_A,
                                            FILE_A ".log.gz",
                                            FILE_A ".1.log",
                                            FILE_A ".02.log",
                                            FILE_A "..log",
                                            FILE_A ".x.log",
                                            FILE_A ".99999999999.log",
                                            "../" FILE_A ".log"};
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++)
        assert_false(name_parse_file(bad_files[i], base, &n));
    assert_true(name_function_ok("a-B_9"));
    assert_false(name_function_ok(""));
    assert_false(name_function_ok("a/b"));
    assert_false(name_function_ok(".."));
}

static void no_stream_for_a_bad_name(void **state)
{
    struct lrig *g = *state;
    assert_null(logs_stream_open(g->l, "../x", STREAM_A));
    assert_null(logs_stream_open(g->l, "f", "no stream"));
}

int main(void)
{
#define T(f_) cmocka_unit_test_setup_teardown(f_, lrig_setup, lrig_teardown)
    const struct CMUnitTest tests[] = {
        T(lines_say_when_and_whose),
        T(an_unfinished_line_keeps_its_owner),
        T(long_lines_are_split_and_bytes_kept),
        T(a_flood_is_cut_and_the_cut_is_named),
        T(a_slow_disk_costs_lines_and_no_memory),
        T(a_full_disk_stops_logs_and_nothing_else),
        T(a_failed_write_leaves_no_torn_line),
        T(a_folder_that_cannot_be_made),
        T(many_streams_share_few_descriptors),
        T(lines_are_written_together),
        T(off_writes_nothing),
        T(a_function_keeps_its_size_and_the_newest),
        T(the_biggest_gives_first),
        T(what_is_past_retention_goes),
        T(a_folder_without_files_goes),
        T(a_stream_begins_a_new_file_every_day),
        cmocka_unit_test(names_there_and_back),
        T(no_stream_for_a_bad_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
