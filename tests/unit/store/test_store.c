#include "store_test.h"

#include <dirent.h>

static int put_some(struct store_txn *t, void *arg)
{
    struct fixture *f = arg;
    struct slice v;
    uint8_t long_key[STORE_KEY_MAX + 1] = {1};
    assert_rc(store_put(t, f->tab, "b", 1, "two", 3, STORE_PUT_NEW), 0);
    assert_rc(store_put(t, f->tab, "b", 1, "2", 1, STORE_PUT_NEW), ERR_EXISTS);
    assert_rc(store_put(t, f->tab, "a", 1, "one", 3, STORE_PUT_APPEND), ERR_EXISTS); /* not above the others */
    assert_rc(store_put(t, f->tab, "c", 1, NULL, 0, STORE_PUT_APPEND), 0);
    assert_rc(store_put(t, f->tab, "", 0, "x", 1, 0), ERR_INVALID);
    assert_rc(store_put(t, f->tab, long_key, sizeof long_key, "x", 1, 0), ERR_INVALID);
    assert_rc(store_put(t, f->tab, long_key, STORE_KEY_MAX, "x", 1, 0), 0);
    assert_rc(store_del(t, f->tab, long_key, STORE_KEY_MAX), 0);
    assert_rc(store_del(t, f->tab, long_key, STORE_KEY_MAX), ERR_NOTFOUND);
    assert_rc(store_put(t, f->tab, "b", 1, "zwei", 4, 0), 0);
    assert_rc(store_get(t, f->tab, "b", 1, &v), 0);
    assert_int_equal(v.len, 4);
    assert_memory_equal(v.p, "zwei", 4);
    assert_int_equal(store_count(t, f->tab), 2);
    return 0;
}

static void test_put_get_del(void **state)
{
    struct fixture f;
    struct err e;
    struct store_txn *t;
    struct slice v;
    (void)state;
    fixture_init(&f, 1 << 20);
    assert_ok(store_write_now(f.s, put_some, &f, &e), &e);
    fixture_close(&f);
    fixture_open(&f);
    assert_rc(store_read_begin(f.s, &t), 0);
    assert_rc(store_get(t, f.tab, "c", 1, &v), 0);
    assert_int_equal(v.len, 0);
    assert_rc(store_get(t, f.tab, "d", 1, &v), ERR_NOTFOUND);
    store_read_end(t);
    fixture_done(&f);
}

static void test_integers_sort(void **state)
{
    uint8_t a[8], b[8], c[4];
    (void)state;
    store_put_u64(a, 255);
    store_put_u64(b, 256);
    assert_true(memcmp(a, b, 8) < 0);
    store_put_u64(a, 0x0123456789abcdefu);
    assert_memory_equal(a, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
    assert_true(store_get_u64(a) == 0x0123456789abcdefu);
    store_put_u32(c, 0xfedcba98u);
    assert_memory_equal(c, "\xfe\xdc\xba\x98", 4);
    assert_true(store_get_u32(c) == 0xfedcba98u);
}

static int write_then_fail(struct store_txn *t, void *arg)
{
    struct fixture *f = arg;
    assert_rc(store_put(t, f->tab, "k", 1, "v", 1, 0), 0);
    return ERR_CONFLICT;
}

static void test_write_now_undoes_a_failure(void **state)
{
    struct fixture f;
    struct err e;
    (void)state;
    fixture_init(&f, 1 << 20);
    assert_err(store_write_now(f.s, write_then_fail, &f, &e), ERR_CONFLICT, &e, "ERR_CONFLICT");
    assert_int_equal(fixture_count(&f), 0);
    fixture_done(&f);
}

static void test_snapshot_stands_still(void **state)
{
    struct fixture f;
    struct store_txn *old;
    struct slice v;
    uint8_t key[8];
    (void)state;
    fixture_init(&f, 1 << 20);
    fixture_start(&f);
    assert_rc(step_do(&f, STEP_PUT, 1, 0, 10), 0);
    assert_rc(store_read_begin(f.s, &old), 0);
    assert_rc(step_do(&f, STEP_DEL, 1, 0, 0), 0);
    assert_rc(step_do(&f, STEP_PUT, 2, 0, 10), 0);
    store_put_u64(key, 1);
    assert_rc(store_get(old, f.tab, key, 8, &v), 0);
    assert_int_equal(store_count(old, f.tab), 1);
    store_put_u64(key, 2);
    assert_rc(store_get(old, f.tab, key, 8, &v), ERR_NOTFOUND);
    store_read_end(old);
    assert_false(fixture_has(&f, 1));
    assert_true(fixture_has(&f, 2));
    fixture_done(&f);
}

static void test_too_many_readers(void **state)
{
    struct fixture f;
    struct store_txn *t[1024];
    size_t n = 0;
    int r;
    (void)state;
    fixture_init(&f, 1 << 20);
    while ((r = store_read_begin(f.s, &t[n])) == 0)
        assert_true(++n < 1024);
    assert_rc(r, ERR_BUSY);
    assert_true(n >= 100);
    store_read_end(t[--n]);
    assert_rc(store_read_begin(f.s, &t[n]), 0);
    for (size_t i = 0; i <= n; i++)
        store_read_end(t[i]);
    fixture_done(&f);
}

static void test_stop_start_reopen(void **state)
{
    struct fixture f;
    struct step late;
    (void)state;
    fixture_init(&f, 1 << 20);
    for (uint64_t i = 0; i < 3; i++) {
        fixture_start(&f);
        assert_rc(step_do(&f, STEP_PUT, i, 0, 10), 0);
        store_stop(f.s);
        step_init(&late, &f, STEP_PUT, 100);
        assert_rc(store_submit(f.s, &late.op), ERR_SHUTDOWN);
    }
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(fixture_count(&f), 3);
    fixture_done(&f);
}

/* Every descriptor the store holds would otherwise be handed to the functions. */
static void test_descriptors_are_close_on_exec(void **state)
{
    struct fixture f;
    struct dirent *d;
    int seen = 0;
    (void)state;
    fixture_init(&f, 1 << 20);
    fixture_start(&f);
    assert_rc(step_do(&f, STEP_PUT, 1, 0, 10), 0);
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while ((d = readdir(dir)) != NULL) {
        char target[512];
        ssize_t n = readlinkat(dirfd(dir), d->d_name, target, sizeof target - 1);
        if (n < 0)
            continue;
        target[n] = '\0';
        if (strstr(target, f.dir.path) == NULL)
            continue;
        seen += strstr(target, ".mdb") != NULL;
        int flags = fcntl(atoi(d->d_name), F_GETFD);
        if ((flags & FD_CLOEXEC) == 0)
            fail_msg("%s is inherited by every function", target);
    }
    (void)closedir(dir);
    assert_in_range(seen, 2, 3); /* data, lock, and LMDB's second one for the head pages */
    fixture_done(&f);
}

static void test_private_files(void **state)
{
    struct fixture f;
    struct stat st;
    (void)state;
    fixture_init(&f, 1 << 20);
    assert_int_equal(stat(tmpdir_path(&f.dir, "queue"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(tmpdir_path(&f.dir, "queue/data.mdb"), &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
    fixture_done(&f);
}

static void test_not_a_store(void **state)
{
    struct fixture f;
    struct err e;
    char junk[20000];
    (void)state;
    fixture_init(&f, 1 << 20);
    fixture_close(&f);
    memset(junk, 'x', sizeof junk - 1);
    junk[sizeof junk - 1] = '\0';
    tmpdir_write(&f.dir, "queue/data.mdb", junk);
    assert_err(store_open(&f.s, tmpdir_path(&f.dir, "queue"), &f.opts, &e), ERR_CORRUPT, &e, "is not a store");
    tmpdir_write(&f.dir, "queue/data.mdb", "short");
    assert_err(store_open(&f.s, tmpdir_path(&f.dir, "queue"), &f.opts, &e), ERR_CORRUPT, &e, "is not a store");
    f.s = NULL;
    fixture_done(&f);
}

static off_t data_len(struct fixture *f)
{
    struct stat st;
    assert_int_equal(stat(tmpdir_path(&f->dir, "queue/data.mdb"), &st), 0);
    return st.st_size;
}

/* What a power cut in the middle of making a store leaves: no data.mdb, and a half of the other file. */
static void test_half_made(void **state)
{
    struct fixture f;
    struct err e;
    (void)state;
    fixture_init(&f, 1 << 20);
    fixture_close(&f);
    assert_int_equal(unlink(tmpdir_path(&f.dir, "queue/data.mdb")), 0);
    tmpdir_write(&f.dir, "queue/data.mdb.new", "half");
    fixture_open(&f);
    assert_false(tmpdir_has(&f.dir, "queue/data.mdb.new"));
    assert_ok(store_write_now(f.s, put_some, &f, &e), &e);
    fixture_done(&f);
}

static void test_truncated(void **state)
{
    struct fixture f;
    struct err e;
    (void)state;
    fixture_init(&f, 4 << 20);
    fixture_start(&f);
    for (uint64_t i = 0; i < 100; i++)
        assert_rc(step_do(&f, STEP_PUT, i, 0, 1500), 0);
    fixture_close(&f);
    off_t len = data_len(&f);
    for (off_t cut = len - 4096; cut > 8192; cut -= 4096 * 3) {
        assert_int_equal(truncate(tmpdir_path(&f.dir, "queue/data.mdb"), cut), 0);
        int r = store_open(&f.s, tmpdir_path(&f.dir, "queue"), &f.opts, &e);
        if (r == 0) {
            /* Nothing but free pages was cut off. */
            assert_ok(store_table(f.s, "t", &f.tab, &e), &e);
            for (uint64_t i = 0; i < 100; i++)
                assert_true(fixture_has(&f, i));
            fixture_close(&f);
            continue;
        }
        f.s = NULL;
        assert_err(r, ERR_CORRUPT, &e, "is truncated");
        assert_true(data_len(&f) == cut); /* left as it was found */
    }
    assert_err(store_open(&f.s, tmpdir_path(&f.dir, "queue"), &f.opts, &e), ERR_CORRUPT, &e, "is truncated");
    f.opts.read_only = true;
    assert_err(store_open(&f.s, tmpdir_path(&f.dir, "queue"), &f.opts, &e), ERR_CORRUPT, &e, "is truncated");
    fixture_done(&f);
}

/* Pages at the end that are free are no loss: LMDB itself leaves some unwritten. */
static void test_short_by_free_pages(void **state)
{
    struct fixture f;
    (void)state;
    fixture_init(&f, 4 << 20);
    fixture_start(&f);
    assert_rc(step_do(&f, STEP_PUT, 1000, 0, 100), 0);
    for (uint64_t i = 0; i < 100; i++)
        assert_rc(step_do(&f, STEP_PUT, i, 0, 3000), 0);
    for (uint64_t i = 0; i < 100; i++)
        assert_rc(step_do(&f, STEP_DEL, i, 0, 0), 0);
    for (uint64_t i = 0; i < 10; i++) /* so that the pages in use move down to the freed ones */
        assert_rc(step_do(&f, STEP_PUT, 1000 + i, 0, 100), 0);
    fixture_close(&f);
    assert_int_equal(truncate(tmpdir_path(&f.dir, "queue/data.mdb"), data_len(&f) - 8 * 4096), 0);
    fixture_open(&f);
    for (uint64_t i = 0; i < 10; i++)
        assert_true(fixture_has(&f, 1000 + i));
    fixture_done(&f);
}

static void test_read_only(void **state)
{
    struct fixture f;
    struct err e;
    struct store_table *other;
    (void)state;
    fixture_init(&f, 1 << 20);
    fixture_start(&f);
    assert_rc(step_do(&f, STEP_PUT, 7, 0, 10), 0);
    fixture_close(&f);
    f.opts = (struct store_opts){.read_only = true};
    fixture_open(&f);
    assert_true(fixture_has(&f, 7));
    assert_err(store_table(f.s, "no such table", &other, &e), ERR_NOTFOUND, &e, "no such table");
    struct store_stats st;
    store_stats(f.s, &st);
    assert_int_equal(st.map_bytes, 1 << 20);
    fixture_close(&f);
    assert_err(store_open(&f.s, tmpdir_path(&f.dir, "missing"), &f.opts, &e), ERR_IO, &e, "missing");
    assert_false(tmpdir_has(&f.dir, "missing"));
    fixture_done(&f);
}

static void test_too_many_tables(void **state)
{
    struct fixture f;
    struct err e;
    struct store_table *tab;
    char name[16];
    int r = 0, n = 1;
    (void)state;
    fixture_init(&f, 1 << 20);
    for (; r == 0; n++) {
        (void)snprintf(name, sizeof name, "t%d", n);
        r = store_table(f.s, name, &tab, &e);
    }
    assert_err(r, ERR_FULL, &e, name);
    assert_int_equal(n - 1, STORE_TABLES_MAX);
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get_del),
        cmocka_unit_test(test_integers_sort),
        cmocka_unit_test(test_write_now_undoes_a_failure),
        cmocka_unit_test(test_snapshot_stands_still),
        cmocka_unit_test(test_too_many_readers),
        cmocka_unit_test(test_stop_start_reopen),
        cmocka_unit_test(test_descriptors_are_close_on_exec),
        cmocka_unit_test(test_private_files),
        cmocka_unit_test(test_not_a_store),
        cmocka_unit_test(test_half_made),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_short_by_free_pages),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_too_many_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
