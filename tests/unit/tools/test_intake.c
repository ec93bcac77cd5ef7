/* The client's half of a backup: what a stream becomes on disk, however it is cut into pieces; and what is refused. */
#include "intake.h"

#include "base/buf.h"
#include "base/fdutil.h"
#include "base/hash.h"
#include "testutil.h"

/* The name a package holding "zip" has. */
static const char *package_name(void)
{
    static char hex[SHA256_HEX_LEN + 1];
    uint8_t sum[SHA256_LEN];
    sha256_sum("zip", 3, sum);
    hex_encode(sum, sizeof sum, hex);
    return hex;
}

static void whole_stream(struct buf *b)
{
    buf_init(b, 1 << 16);
    assert_int_equal(buf_printf(b,
                                "bide-backup 1\nfile queue/data.mdb\ndata 5\nhellodata 6\n world"
                                "file code/%s.zip\ndata 3\nzipfile credentials\ndata 2\nk\nend 3 16\n",
                                package_name()),
                     0);
}

static void assert_file(const struct tmpdir *d, const char *name, const char *text)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    assert_rc(file_read(d->fd, name, &b), 0);
    assert_int_equal(b.len, strlen(text));
    assert_memory_equal(b.data, text, b.len);
    buf_done(&b);
}

static void test_pieces(void **state)
{
    struct buf b;
    char name[100];
    (void)state;
    whole_stream(&b);
    (void)snprintf(name, sizeof name, "code/%s.zip", package_name());
    for (size_t piece = 1; piece <= b.len; piece += piece < 40 ? 1 : 13) {
        struct tmpdir d;
        struct intake *x;
        struct err e = {0};
        struct stat st;
        tmpdir_make(&d);
        assert_ok(intake_new(&x, d.fd, &e), &e);
        for (size_t at = 0; at < b.len; at += piece)
            assert_ok(intake_take(x, b.data + at, b.len - at < piece ? b.len - at : piece, &e), &e);
        assert_ok(intake_end(x, &e), &e);
        assert_int_equal(intake_bytes(x), 16);
        assert_int_equal(intake_packages(x), 1);
        intake_free(x);
        assert_file(&d, "queue/data.mdb", "hello world");
        assert_file(&d, name, "zip");
        assert_file(&d, "credentials", "k\n");
        assert_int_equal(fstatat(d.fd, "credentials", &st, 0), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        tmpdir_remove(&d);
    }
    buf_done(&b);
}

/* Wherever it is cut, it is not taken for a whole one. */
static void test_cut(void **state)
{
    struct buf b;
    (void)state;
    whole_stream(&b);
    for (size_t len = 0; len < b.len; len++) {
        struct tmpdir d;
        struct intake *x;
        struct err e = {0};
        tmpdir_make(&d);
        assert_ok(intake_new(&x, d.fd, &e), &e);
        assert_ok(intake_take(x, b.data, len, &e), &e);
        assert_err(intake_end(x, &e), ERR_CORRUPT, &e, "was cut");
        intake_free(x);
        tmpdir_remove(&d);
    }
    buf_done(&b);
}

static void refused(const char *stream, int want, const char *part)
{
    struct tmpdir d;
    struct intake *x;
    struct err e = {0};
    tmpdir_make(&d);
    assert_ok(intake_new(&x, d.fd, &e), &e);
    int rc = intake_take(x, stream, strlen(stream), &e);
    assert_err(rc, want, &e, part);
    intake_free(x);
    assert_false(tmpdir_has(&d, "x"));
    tmpdir_remove(&d);
}

static void test_refusals(void **state)
{
    char text[400];
    (void)state;
    refused("{\"message\":\"no\"}\n", ERR_INVALID, "is not a backup that this version can read");
    refused("bide-backup 2\n", ERR_INVALID, "bide-backup 2");
    refused("bide-backup 1\nfile x\n", ERR_INVALID, "no backup has: x");
    refused("bide-backup 1\nfile ../x\n", ERR_INVALID, "no backup has: ../x");
    refused("bide-backup 1\nfile code/../../x.zip\n", ERR_INVALID, "no backup has");
    refused("bide-backup 1\nfile queue/lock.mdb\n", ERR_INVALID, "no backup has");
    refused("bide-backup 1\ndata 3\nabc", ERR_INVALID, "data of no file");
    refused("bide-backup 1\nfile credentials\ndata -3\n", ERR_INVALID, "is not a backup");
    refused("bide-backup 1\nend 0 1\n", ERR_CORRUPT, "not whole");
    refused("bide-backup 1\nend 0 0\nfile credentials\n", ERR_INVALID, "after its end");
    refused("bide-backup 1\nend 0 0\nx", ERR_INVALID, "after its end"); /* though no line is whole */
    refused("bide-backup 1\nfile credentials\nfile credentials\n", ERR_IO, "credentials cannot be written");
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    refused(text, ERR_INVALID, "has no lines");
    (void)snprintf(text, sizeof text, "bide-backup 1\nfile code/%s.zip\ndata 3\nzapend 1 3\n", package_name());
    refused(text, ERR_CORRUPT, "is not what its name says");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
