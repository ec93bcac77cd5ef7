#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture.h"
#include "report.h"

static char tail[CAPTURE_TAIL + 1];

static const char *tail_of(const struct capture *c)
{
    tail[capture_tail(c, tail)] = '\0';
    return tail;
}

static void the_last_bytes_are_kept(void **state)
{
    (void)state;
    struct capture c;
    char want[CAPTURE_TAIL + 1] = "";
    char all[20000];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)('a' + i % 26);
    static const size_t pieces[] = {1, 7, 100, 4095, 4096, 4097, 9000};
    for (size_t k = 0; k < sizeof pieces / sizeof pieces[0]; k++) {
        capture_init(&c);
        for (size_t at = 0; at < sizeof all;) {
            size_t n = pieces[k] < sizeof all - at ? pieces[k] : sizeof all - at;
            capture_add(&c, all + at, n);
            at += n;
            size_t keep = at < CAPTURE_TAIL ? at : CAPTURE_TAIL;
            memcpy(want, all + at - keep, keep);
            want[keep] = '\0';
            assert_string_equal(tail_of(&c), want);
        }
    }
    capture_clear(&c);
    assert_string_equal(tail_of(&c), "");
}

/* A flood is read a bounded amount at a time; the end of the pipe closes the capture and keeps the tail. */
static void a_flood_is_taken_in_turns(void **state)
{
    (void)state;
    struct capture c;
    struct loop *l;
    struct err e;
    int p[2];
    static char flood[1 << 20];
    assert_int_equal(loop_new(&l, &e), 0);
    assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
    (void)fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
    memset(flood, 'x', sizeof flood);
    ssize_t put = write(p[1], flood, sizeof flood);
    assert_true(put > CAPTURE_TURN);
    capture_init(&c);
    assert_int_equal(capture_open(&c, l, p[0]), 0);
    assert_int_equal(capture_drain(&c), CAPTURE_TURN);
    assert_int_equal(c.total, CAPTURE_TURN);
    while (c.total < (uint64_t)put)
        (void)capture_drain(&c);
    assert_int_equal(capture_drain(&c), 0); /* nothing there: does not wait */
    assert_int_equal(write(p[1], "END", 3), 3);
    close(p[1]);
    assert_int_equal(capture_drain(&c), 3);
    assert_int_equal(c.fd, -1);
    assert_string_equal(tail_of(&c) + CAPTURE_TAIL - 4, "xEND");
    capture_close(&c);
    loop_free(l);
}

static void stop_when_paused(void *arg)
{
    void **a = arg;
    struct capture *c = a[0];
    if (c->watch != NULL && c->total < *(uint64_t *)a[2])
        assert_int_equal(loop_post(a[1], stop_when_paused, arg), 0);
    else
        loop_stop(a[1]);
}

static void stop_when_whole(void *arg)
{
    void **a = arg;
    struct capture *c = a[0];
    if (c->total < *(uint64_t *)a[2])
        assert_int_equal(loop_post(a[1], stop_when_whole, arg), 0);
    else
        loop_stop(a[1]);
}

/* After a full turn the pipe rests, so that its writer waits; it is read to the end all the same. */
static void a_flood_pauses_its_writer(void **state)
{
    (void)state;
    struct capture c;
    struct loop *l;
    struct err e;
    int p[2];
    static char flood[1 << 20];
    assert_int_equal(loop_new(&l, &e), 0);
    assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
    (void)fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
    ssize_t put = write(p[1], flood, sizeof flood);
    assert_true(put > 2 * CAPTURE_TURN);
    capture_init(&c);
    assert_int_equal(capture_open(&c, l, p[0]), 0);
    uint64_t whole = (uint64_t)put;
    void *arg[] = {&c, l, &whole};
    stop_when_paused(arg);
    loop_run(l);
    assert_true(c.total < whole);
    assert_null(c.watch);
    stop_when_whole(arg);
    loop_run(l);
    assert_int_equal(c.total, put);
    close(p[1]);
    capture_close(&c); /* also in the middle of a pause */
    assert_int_equal(c.fd, -1);
    loop_free(l);
}

static void stop_when_read(void *arg)
{
    void **a = arg;
    struct capture *c = a[0];
    if (c->total < 5)
        assert_int_equal(loop_post(a[1], stop_when_read, arg), 0);
    else
        loop_stop(a[1]);
}

static void output_is_read_by_the_loop(void **state)
{
    (void)state;
    struct capture c;
    struct loop *l;
    struct err e;
    int p[2];
    assert_int_equal(loop_new(&l, &e), 0);
    assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
    capture_init(&c);
    assert_int_equal(capture_open(&c, l, p[0]), 0);
    assert_int_equal(write(p[1], "hello", 5), 5);
    void *arg[] = {&c, l};
    stop_when_read(arg);
    loop_run(l);
    assert_string_equal(tail_of(&c), "hello");
    capture_close(&c);
    close(p[1]);
    loop_free(l);
}

static void lines_are_lambdas(void **state)
{
    (void)state;
    struct capture c;
    capture_init(&c);
    report_start(&c, "ID", "$LATEST");
    struct report r = {.request_id = "ID", .duration_us = 3019, .memory_mb = 128, .peak_kb = 36 * 1024};
    report_end(&c, &r);
    assert_string_equal(tail_of(&c), "START RequestId: ID Version: $LATEST\nEND RequestId: ID\nREPORT RequestId: "
                                     "ID\tDuration: 3.01 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\tMax Memory "
                                     "Used: 36 MB\t\n");
    capture_clear(&c);
    r.init_us = 110100;
    r.status = "error";
    r.error_type = "Runtime.ExitError";
    report_end(&c, &r);
    assert_string_equal(tail_of(&c), "END RequestId: ID\nREPORT RequestId: ID\tDuration: 3.01 ms\tBilled Duration: 114 "
                                     "ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: 110.10 "
                                     "ms\tStatus: error\tError Type: Runtime.ExitError\n");
    capture_clear(&c);
    report_timed_out(&c, 0, "ID", 1000);
    report_init_end(&c, 9990, "timeout", "");
    assert_string_equal(tail_of(&c), "1970-01-01T00:00:00.000Z ID Task timed out after 1.00 seconds\nINIT_REPORT Init "
                                     "Duration: 9.99 ms\tPhase: init\tStatus: timeout\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_bytes_are_kept),   cmocka_unit_test(a_flood_is_taken_in_turns),
        cmocka_unit_test(a_flood_pauses_its_writer), cmocka_unit_test(output_is_read_by_the_loop),
        cmocka_unit_test(lines_are_lambdas),
    };
    loop_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
