/* A folder that appears whole or not at all. */
#include "newdir.h"

#include "testutil.h"

static const char *at(const struct tmpdir *d, const char *name)
{
    return tmpdir_path(d, name);
}

static void test_appears(void **state)
{
    struct tmpdir d;
    struct newdir n;
    struct err e = {0};
    (void)state;
    tmpdir_make(&d);
    assert_ok(newdir_open(&n, at(&d, "bk///"), &e), &e);
    assert_false(tmpdir_has(&d, "bk"));
    assert_true(tmpdir_has(&d, "bk.partial/incomplete"));
    assert_int_equal(mkdirat(n.fd, "queue", 0700), 0);
    assert_ok(newdir_publish(&n, &e), &e);
    assert_true(tmpdir_has(&d, "bk/queue"));
    assert_false(tmpdir_has(&d, "bk/incomplete"));
    assert_false(tmpdir_has(&d, "bk.partial"));
    /* an empty folder is as good as none, also through a link */
    assert_int_equal(mkdirat(d.fd, "empty", 0700), 0);
    assert_int_equal(symlinkat("empty", d.fd, "link"), 0);
    assert_ok(newdir_open(&n, at(&d, "link"), &e), &e);
    assert_int_equal(mkdirat(n.fd, "queue", 0700), 0);
    assert_ok(newdir_publish(&n, &e), &e);
    assert_true(tmpdir_has(&d, "empty/queue"));
    tmpdir_remove(&d);
}

static void test_discard(void **state)
{
    struct tmpdir d;
    struct newdir n;
    struct err e = {0};
    (void)state;
    tmpdir_make(&d);
    assert_ok(newdir_open(&n, at(&d, "bk"), &e), &e);
    assert_int_equal(mkdirat(n.fd, "queue", 0700), 0);
    newdir_discard(&n);
    assert_false(tmpdir_has(&d, "bk"));
    assert_false(tmpdir_has(&d, "bk.partial"));
    tmpdir_remove(&d);
}

static void test_refusals(void **state)
{
    struct tmpdir d;
    struct newdir n, other;
    struct err e = {0};
    (void)state;
    tmpdir_make(&d);
    assert_int_equal(mkdirat(d.fd, "full", 0700), 0);
    tmpdir_write(&d, "full/x", "");
    assert_err(newdir_open(&n, at(&d, "full"), &e), ERR_EXISTS, &e, "not empty");
    assert_err(newdir_open(&n, at(&d, "full/x"), &e), ERR_EXISTS, &e, "is no folder");
    assert_err(newdir_open(&n, at(&d, "no/such"), &e), ERR_IO, &e, "No such file");
    assert_err(newdir_open(&n, "", &e), ERR_INVALID, &e, "is not the name of a folder");
    assert_err(newdir_open(&n, "/proc", &e), ERR_EXISTS, &e, "/proc");
    /* somebody else's folder of that name stays */
    assert_int_equal(mkdirat(d.fd, "bk.partial", 0700), 0);
    tmpdir_write(&d, "bk.partial/mine", "");
    assert_err(newdir_open(&n, at(&d, "bk"), &e), ERR_EXISTS, &e, "remove it yourself");
    assert_true(tmpdir_has(&d, "bk.partial/mine"));
    /* what an interrupted run left goes; what a running one fills stays */
    tmpdir_write(&d, "bk.partial/incomplete", "");
    assert_ok(newdir_open(&n, at(&d, "bk"), &e), &e);
    assert_false(tmpdir_has(&d, "bk.partial/mine"));
    assert_err(newdir_open(&other, at(&d, "bk"), &e), ERR_BUSY, &e, "another run");
    assert_true(tmpdir_has(&d, "bk.partial/incomplete"));
    newdir_discard(&n);
    tmpdir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appears),
        cmocka_unit_test(test_discard),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
