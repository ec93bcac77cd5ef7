/* Helpers for every cmocka test; include this instead of cmocka.h.
 *
 *   struct tmpdir d;
 *   tmpdir_make(&d);                          // d.path, d.fd
 *   ...
 *   tmpdir_remove(&d);
 *
 *   static bool drained(void *arg) { ... }
 *   wait_until(drained, q, 5000);             // fails the test after five seconds
 *
 *   assert_err(store_open(&s, path, &e), ERR_BUSY, &e, "is in use");
 *
 * Everything fails through cmocka, so a helper never returns an error.
 */
#ifndef TESTS_LIB_TESTUTIL_H
#define TESTS_LIB_TESTUTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"

#define TEST_UNUSED __attribute__((unused))

/* A deadline that only a hanging test meets, also under a sanitizer on a busy machine. */
enum { TEST_PATIENCE_MS = 20000 };

/* --- what this machine cannot do ---------------------------------------------------------------------------------- */

/* In CI a test that cannot run has failed. */
static TEST_UNUSED bool test_must_run(void)
{
    const char *must = getenv("BIDE_SANDBOX_MUST_WORK");
    return must != NULL && strcmp(must, "1") == 0;
}

/* Ends the test: skipped for this reason, or failed. */
static TEST_UNUSED void test_cannot_run(const char *reason)
{
    if (test_must_run())
        fail_msg("BIDE_SANDBOX_MUST_WORK=1, but: %s", reason);
    print_message("skipped: %s\n", reason);
    skip();
}

/* --- a folder of its own ------------------------------------------------------------------------------------------ */

struct tmpdir {
    char path[96];
    int fd; /* open on path, close-on-exec */
};

static TEST_UNUSED void tmpdir_make(struct tmpdir *d)
{
    const char *base = getenv("TMPDIR");
    int n = snprintf(d->path, sizeof d->path, "%s/bide-test-XXXXXX", base != NULL && *base == '/' ? base : "/tmp");
    if (n < 0 || (size_t)n >= sizeof d->path)
        fail_msg("TMPDIR is too long");
    if (mkdtemp(d->path) == NULL)
        fail_msg("mkdtemp %s: %s", d->path, strerror(errno));
    d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->fd < 0)
        fail_msg("open %s: %s", d->path, strerror(errno));
}

static TEST_UNUSED int tmpdir_remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static TEST_UNUSED void tmpdir_remove(struct tmpdir *d)
{
    (void)close(d->fd);
    if (nftw(d->path, tmpdir_remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        fail_msg("remove %s: %s", d->path, strerror(errno));
}

/* "PATH/NAME" in storage that the next call reuses. */
static TEST_UNUSED const char *tmpdir_path(const struct tmpdir *d, const char *name)
{
    static char full[512];
    int n = snprintf(full, sizeof full, "%s/%s", d->path, name);
    if (n < 0 || (size_t)n >= sizeof full)
        fail_msg("%s: path too long", name);
    return full;
}

static TEST_UNUSED void tmpdir_write(const struct tmpdir *d, const char *name, const char *text)
{
    int fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t n = strlen(text);
    if (fd < 0 || write(fd, text, n) != (ssize_t)n)
        fail_msg("write %s: %s", name, strerror(errno));
    (void)close(fd);
}

static TEST_UNUSED bool tmpdir_has(const struct tmpdir *d, const char *name)
{
    return faccessat(d->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

static TEST_UNUSED int64_t test_now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

typedef bool test_cond(void *arg);

/* Until cond(arg) holds, looking again every millisecond; what is waited for never depends on the time it takes. */
static TEST_UNUSED void wait_until(test_cond *cond, void *arg, int64_t deadline_ms)
{
    int64_t end = test_now_ms() + deadline_ms;
    while (!cond(arg)) {
        if (test_now_ms() >= end)
            fail_msg("what was waited for did not come within %lld ms", (long long)deadline_ms);
        (void)poll(NULL, 0, 1);
    }
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

/* Like assert_int_equal, with names and the error's own text in the complaint. */
#define assert_rc(rc_, want_)             test_assert_rc(rc_, want_, NULL, NULL, __FILE__, __LINE__)
#define assert_ok(rc_, e_)                test_assert_rc(rc_, 0, e_, NULL, __FILE__, __LINE__)
#define assert_err(rc_, want_, e_, part_) test_assert_rc(rc_, want_, e_, part_, __FILE__, __LINE__)

/* part: text that e->text must hold. */
static TEST_UNUSED void test_assert_rc(int rc, int want, const struct err *e, const char *part, const char *file,
                                       int line)
{
    const char *text = e != NULL ? e->text : "";
    if (rc != want) {
        print_error("got %s, wanted %s: %s\n", err_name(rc), err_name(want), text);
        _fail(file, line);
    }
    if (part != NULL && (e == NULL || e->code != want || strstr(text, part) == NULL)) {
        print_error("the error (%s) \"%s\" does not say \"%s\"\n", err_name(e != NULL ? e->code : 0), text, part);
        _fail(file, line);
    }
}

/* --- repeatable randomness ---------------------------------------------------------------------------------------- */

/* SplitMix64. A test states its seed, so that a failure repeats. */
static TEST_UNUSED uint64_t test_rand(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

#endif
