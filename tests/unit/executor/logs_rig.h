/* The logs module on a scripted clock, disk and write(2), for its tests. */
#ifndef TESTS_LOGS_RIG_H
#define TESTS_LOGS_RIG_H

#include <stdatomic.h>
#include <sys/time.h>

#include "testutil.h"

#include "base/hash.h"
#include "priv.h"

#define STREAM_A "2026/01/02/[$LATEST]0123456789abcdef0123456789abcdef"
#define STREAM_B "2026/01/02/[7]fedcba9876543210fedcba9876543210"
#define FILE_A   "2026-01-02-LATEST-0123456789abcdef0123456789abcdef"
#define FILE_B   "2026-01-02-7-fedcba9876543210fedcba9876543210"
#define ID1      "11111111-1111-7111-8111-111111111111"
#define ID2      "22222222-2222-7222-8222-222222222222"

enum { T0_MIN = 29456702 }; /* 2026-01-03T01:02:00Z in minutes: a day after the streams' date */
#define T0 ((int64_t)T0_MIN * 60000)

struct lrig {
    struct tmpdir dir;
    struct logs *l;
    _Atomic int64_t real_ms, mono_ms;
    _Atomic uint64_t disk_free;
    _Atomic int fail_errno;  /* of the next writes; 0: they succeed */
    _Atomic int short_bytes; /* before they fail */
    _Atomic int writes;
};

static TEST_UNUSED int64_t lrig_real(void *arg)
{
    return ((struct lrig *)arg)->real_ms;
}

static TEST_UNUSED int64_t lrig_mono(void *arg)
{
    return ((struct lrig *)arg)->mono_ms;
}

static TEST_UNUSED uint64_t lrig_disk_free(int fd, void *arg)
{
    (void)fd;
    return ((struct lrig *)arg)->disk_free;
}

static TEST_UNUSED ssize_t lrig_write(int fd, const void *p, size_t n, void *arg)
{
    struct lrig *g = arg;
    g->writes++;
    if (g->fail_errno == 0)
        return write(fd, p, n);
    size_t some = (size_t)g->short_bytes < n ? (size_t)g->short_bytes : n;
    g->short_bytes = 0;
    if (some > 0)
        return write(fd, p, some);
    errno = g->fail_errno;
    return -1;
}

static TEST_UNUSED void lrig_open(struct lrig *g, const struct logs_opts *o)
{
    struct logs_io io = {
        .real_ms = lrig_real, .mono_ms = lrig_mono, .disk_free = lrig_disk_free, .write = lrig_write, .arg = g};
    struct err e = {0};
    int fd = openat(g->dir.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ok(logs_open_with(&g->l, fd, o, &io, &e), &e);
}

static TEST_UNUSED struct logs_opts lrig_opts(void)
{
    return (struct logs_opts){.on = true,
                              .rate = 1 << 20,
                              .function_max_bytes = 64 << 20,
                              .max_bytes = 1 << 30,
                              .retention_ms = 14 * (int64_t)86400000};
}

static TEST_UNUSED int lrig_setup(void **state)
{
    struct lrig *g = calloc(1, sizeof *g);
    struct logs_opts o = lrig_opts();
    assert_non_null(g);
    tmpdir_make(&g->dir);
    g->real_ms = T0;
    g->mono_ms = 1000000;
    g->disk_free = UINT64_MAX;
    lrig_open(g, &o);
    *state = g;
    return 0;
}

static TEST_UNUSED void lrig_again(struct lrig *g, const struct logs_opts *o)
{
    logs_close(g->l);
    lrig_open(g, o);
}

static TEST_UNUSED int lrig_teardown(void **state)
{
    struct lrig *g = *state;
    logs_close(g->l);
    tmpdir_remove(&g->dir);
    free(g);
    return 0;
}

static TEST_UNUSED void say(struct logs_stream *s, const char *id, const char *text)
{
    (void)logs_output(s, id, text, strlen(text));
}

static TEST_UNUSED void tell(struct logs_stream *s, const char *id, const char *text)
{
    logs_platform(s, id, text, strlen(text));
}

/* What the file holds once everything put so far is written; "" when it is not there. Freed by the next call. */
static TEST_UNUSED const char *file_text(struct lrig *g, const char *name)
{
    static struct buf b;
    static bool used;
    if (used)
        buf_done(&b);
    used = true;
    buf_init(&b, 256 << 20);
    (void)logs_settle(g->l);
    int fd = openat(g->dir.fd, name, O_RDONLY | O_CLOEXEC);
    char piece[65536];
    ssize_t n;
    while (fd >= 0 && (n = read(fd, piece, sizeof piece)) > 0)
        assert_int_equal(buf_append(&b, piece, (size_t)n), 0);
    if (fd >= 0)
        close(fd);
    return b.data;
}

#endif
