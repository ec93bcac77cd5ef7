/* Unpacking packages: honest ones land as they should, hostile ones leave nothing behind. */
#include "priv.h"
#include "testutil.h"
#include "zipmake.h"

struct fx {
    struct tmpdir dir;
    struct clock clock;
    struct store *store;
    struct registry *r;
    int code_fd;
};

static void open_registry(struct fx *x)
{
    struct err e = {0};
    struct store_opts so = {.max_bytes = 64 << 20, .unsafe_nosync = true};
    assert_ok(store_open(&x->store, tmpdir_path(&x->dir, "db"), &so, &e), &e);
    struct registry_opts o = {
        .clock = &x->clock, .code_fd = x->code_fd, .account_concurrency = 1000, .unreserved_minimum = 100};
    assert_ok(registry_open(&x->r, x->store, &o, &e), &e);
}

static void close_registry(struct fx *x)
{
    store_stop(x->store);
    registry_close(x->r);
    store_close(x->store);
}

static int setup(void **state)
{
    struct fx *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    tmpdir_make(&x->dir);
    clock_init_virtual(&x->clock, 1700000000000);
    assert_int_equal(mkdirat(x->dir.fd, "code", 0700), 0);
    x->code_fd = openat(x->dir.fd, "code", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(x->code_fd >= 0);
    open_registry(x);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fx *x = *state;
    close_registry(x);
    close(x->code_fd);
    tmpdir_remove(&x->dir);
    free(x);
    return 0;
}

static unsigned n_files; /* nftw has no argument */

static int count_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)path;
    (void)st;
    (void)kind;
    n_files += where->level > 0;
    return 0;
}

/* Everything below code/. */
static unsigned left_in_code(struct fx *x)
{
    n_files = 0;
    assert_int_equal(nftw(tmpdir_path(&x->dir, "code"), count_one, 16, FTW_PHYS), 0);
    return n_files;
}

static int add(struct fx *x, struct zm *z, struct code *c, struct err *e)
{
    zm_end(z);
    int rc = registry_code_add(x->r, z->body.data, z->body.len, c, e);
    zm_done(z);
    return rc;
}

/* The archive is refused with ERR_INVALID and this text, and leaves nothing. */
static void refused(struct fx *x, struct zm *z, const char *text)
{
    struct err e = {0};
    struct code c;
    assert_err(add(x, z, &c, &e), ERR_INVALID, &e, text);
    assert_int_equal(left_in_code(x), 0);
    assert_false(tmpdir_has(&x->dir, "evil"));
}

static mode_t mode_of(struct fx *x, const struct code *c, const char *name)
{
    char path[256];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/%s", c->sha256, name);
    if (fstatat(x->code_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    return st.st_mode;
}

static void test_unpacks(void **state)
{
    struct fx *x = *state;
    struct zm z;
    struct code c, again;
    struct err e = {0};
    zm_init(&z);
    zm_file(&z, "app.py", "print(1)\n");
    zm_add(&z, &(struct zm_entry){.name = "bin/run", .data = "#!/bin/sh\n", .len = 10, .mode = 0100700});
    zm_add(&z, &(struct zm_entry){.name = "empty/", .data = "", .mode = 040700});
    zm_add(&z, &(struct zm_entry){.name = "./dos//file", .data = "x", .len = 1});
    zm_end(&z);
    mode_t mask = umask(077); /* the modes do not depend on it */
    assert_ok(registry_code_add(x->r, z.body.data, z.body.len, &c, &e), &e);
    assert_int_equal(mode_of(x, &c, "."), S_IFDIR | 0755);
    assert_int_equal(mode_of(x, &c, "app.py"), S_IFREG | 0644);
    assert_int_equal(mode_of(x, &c, "bin"), S_IFDIR | 0755);
    assert_int_equal(mode_of(x, &c, "bin/run"), S_IFREG | 0755);
    assert_int_equal(mode_of(x, &c, "empty"), S_IFDIR | 0755);
    assert_int_equal(mode_of(x, &c, "dos/file"), S_IFREG | 0644);
    umask(mask);
    assert_int_equal(c.zip_bytes, z.body.len);
    struct buf kept;
    buf_init(&kept, ZM_MAX);
    assert_rc(registry_code_read(x->r, c.sha256, &kept), 0);
    assert_int_equal(kept.len, z.body.len);
    assert_memory_equal(kept.data, z.body.data, kept.len);
    buf_done(&kept);
    unsigned files = left_in_code(x);
    assert_ok(registry_code_add(x->r, z.body.data, z.body.len, &again, &e), &e);
    assert_string_equal(again.sha256, c.sha256);
    assert_int_equal(left_in_code(x), files);
    /* Nobody named it: the last release removes it. */
    registry_code_release(x->r, &c);
    assert_int_equal(left_in_code(x), files);
    registry_code_release(x->r, &again);
    assert_int_equal(left_in_code(x), 0);
    zm_done(&z);
}

static void test_read_refuses_names(void **state)
{
    struct fx *x = *state;
    struct buf b;
    char sha[65];
    memset(sha, 'a', 64);
    sha[64] = '\0';
    buf_init(&b, 100);
    assert_rc(registry_code_read(x->r, "../db/data.mdb", &b), ERR_INVALID);
    assert_rc(registry_code_read(x->r, sha, &b), ERR_NOTFOUND);
    buf_done(&b);
}

static void test_leaving_names(void **state)
{
    static const struct {
        const char *name;
        size_t len;
        const char *text;
    } rows[] = {
        {"../evil", 0, "leaves the package"}, {"a/../../evil", 0, "leaves the package"},
        {"a/..", 0, "leaves the package"},    {"/evil", 0, "absolute"},
        {"a\\..\\evil", 0, "backslash"},      {"good\0/../../evil", 16, "NUL"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct zm z;
        zm_init(&z);
        zm_file(&z, "app.py", "x");
        zm_add(&z, &(struct zm_entry){
                       .name = rows[i].name, .name_len = rows[i].len, .data = "x", .len = 1, .mode = 0100644});
        refused(*state, &z, rows[i].text);
    }
}

static void test_long_names(void **state)
{
    char name[1200];
    struct zm z;
    memset(name, 'a', sizeof(name));
    name[256] = '\0';
    zm_init(&z);
    zm_file(&z, name, "x");
    refused(*state, &z, "too long or too deep");
    name[256] = 'a';
    for (size_t i = 0; i < sizeof(name); i += 100)
        name[i] = '/';
    name[0] = 'a';
    name[1100] = '\0';
    zm_init(&z);
    zm_file(&z, name, "x");
    refused(*state, &z, "too long");
    for (size_t i = 0; i < 80; i++)
        name[i] = i % 2 ? '/' : 'd';
    name[81] = '\0';
    zm_init(&z);
    zm_file(&z, name, "x");
    refused(*state, &z, "too long or too deep");
}

static void test_special_files(void **state)
{
    static const struct {
        uint32_t mode;
        const char *text;
    } rows[] = {
        {0120777, "symbolic links"},
        {0020666, "neither a file nor a folder"},
        {0060660, "neither a file nor a folder"},
        {0010644, "neither a file nor a folder"},
        {0140755, "neither a file nor a folder"},
        {0040755, "do not agree"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct zm z;
        zm_init(&z);
        zm_add(&z, &(struct zm_entry){.name = "x", .data = "../evil", .len = 7, .mode = rows[i].mode});
        zm_file(&z, "x/y", "through the link");
        refused(*state, &z, rows[i].text);
    }
}

static void test_duplicates(void **state)
{
    static const char *const rows[][2] = {{"a", "a"}, {"a", "./a"}, {"d/a", "d//a"}, {"a", "a/b"}, {"a/b", "a"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct zm z;
        zm_init(&z);
        zm_file(&z, rows[i][0], "1");
        zm_file(&z, rows[i][1], "2");
        refused(*state, &z, "Entry");
    }
}

static void test_encrypted_and_odd_methods(void **state)
{
    struct zm z;
    zm_init(&z);
    zm_add(&z, &(struct zm_entry){.name = "a", .data = "x", .len = 1, .flags = 1});
    refused(*state, &z, "encrypted");
    zm_init(&z);
    zm_add(&z, &(struct zm_entry){.name = "a", .data = "x", .len = 1, .method = 12});
    refused(*state, &z, "compression method");
    zm_init(&z);
    zm_add(&z, &(struct zm_entry){.name = "a", .data = "garbage", .len = 7, .method = 8, .size = 100});
    refused(*state, &z, "Entry 'a'");
    zm_init(&z);
    zm_add(&z, &(struct zm_entry){.name = "a", .data = "x", .len = 1, .crc = 12345});
    refused(*state, &z, "Entry 'a'");
}

static void test_two_readings(void **state)
{
    struct zm z;
    zm_init(&z);
    zm_add(&z, &(struct zm_entry){.name = "good", .local = "evil", .data = "x", .len = 1});
    refused(*state, &z, "two headers");
    zm_init(&z);
    zm_file(&z, "a", "first");
    zm_add(&z, &(struct zm_entry){.name = "a2", .local = "a2", .data = "x", .len = 1, .offset = 0x7fffff});
    refused(*state, &z, "outside the archive");
    zm_init(&z);
    zm_file(&z, "a", "x");
    zm_file(&z, "b", "x");
    z.claim_n = 1;
    refused(*state, &z, "not a zip file");
    zm_init(&z);
    zm_file(&z, "a", "x");
    z.claim_n = 2;
    refused(*state, &z, "not a zip file");
}

/* One stored block that is the data of two entries: the trick of bombs without recursion. */
static void test_overlap(void **state)
{
    struct zm inner, z;
    zm_init(&inner);
    zm_file(&inner, "b", "payload");
    zm_init(&z);
    zm_add(&z, &(struct zm_entry){.name = "a", .data = inner.body.data, .len = inner.body.len, .mode = 0100644});
    /* The second entry's header lies inside the first one's data, just behind its own 31 bytes of header. */
    zm_add(&z, &(struct zm_entry){.name = "b", .data = "payload", .len = 7, .mode = 0100644, .offset = 31});
    zm_done(&inner);
    refused(*state, &z, "overlaps");
}

static void test_not_a_zip(void **state)
{
    struct fx *x = *state;
    struct err e = {0};
    struct code c;
    struct zm z;
    assert_err(registry_code_add(x->r, "hello", 5, &c, &e), ERR_INVALID, &e, "not a zip");
    assert_err(registry_code_add(x->r, "", 0, &c, &e), ERR_INVALID, &e, "not a zip");
    zm_init(&z);
    refused(x, &z, "non-empty zip");
    /* Every cut of a good archive is refused. */
    zm_init(&z);
    zm_file(&z, "app.py", "print(1)\n");
    zm_end(&z);
    for (size_t len = 0; len < z.body.len; len++)
        assert_rc(registry_code_add(x->r, z.body.data, len, &c, NULL), ERR_INVALID);
    assert_int_equal(left_in_code(x), 0);
    zm_done(&z);
}

/* Zeros, deflated about a thousandfold; raw, as a zip holds it. */
static void deflate_zeros(struct buf *out, size_t n)
{
    static unsigned char zeros[1 << 20], packed[1 << 20];
    z_stream s = {0};
    assert_int_equal(deflateInit2(&s, 1, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    for (size_t left = n; left > 0 || s.avail_in > 0;) {
        size_t now = left < sizeof(zeros) ? left : sizeof(zeros);
        s.next_in = zeros;
        s.avail_in = (uInt)now;
        left -= now;
        s.next_out = packed;
        s.avail_out = sizeof(packed);
        int rc = deflate(&s, left ? Z_NO_FLUSH : Z_FINISH);
        assert_true(rc == (left ? Z_OK : Z_STREAM_END));
        assert_int_equal(buf_append(out, packed, sizeof(packed) - s.avail_out), 0);
    }
    deflateEnd(&s);
}

static void test_bomb(void **state)
{
    struct fx *x = *state;
    struct err e = {0};
    struct code c;
    struct buf packed;
    struct zm z;
    size_t n = 90 << 20; /* three of them are over the limit */
    buf_init(&packed, 4 << 20);
    deflate_zeros(&packed, n);
    static unsigned char zeros[1 << 20];
    uint32_t crc = 0;
    for (int i = 0; i < 90; i++)
        crc = (uint32_t)crc32(crc, zeros, sizeof(zeros));
    zm_init(&z);
    for (int i = 0; i < 3; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "f%d", i);
        zm_add(&z,
               &(struct zm_entry){
                   .name = name, .data = packed.data, .len = packed.len, .method = 8, .size = (uint32_t)n, .crc = crc});
    }
    assert_err(add(x, &z, &c, &e), ERR_TOOBIG, &e, "Unzipped size must be smaller than 262144000 bytes");
    assert_int_equal(left_in_code(x), 0);
    /* What is inflated counts, not what is declared. */
    zm_init(&z);
    zm_add(&z, &(struct zm_entry){
                   .name = "liar", .data = packed.data, .len = packed.len, .method = 8, .size = 10, .crc = crc});
    refused(x, &z, "Entry 'liar'");
    buf_done(&packed);
}

static void test_too_many(void **state)
{
    struct fx *x = *state;
    struct err e = {0};
    struct code c;
    struct zm z;
    zm_init(&z);
    zm_file(&z, "a", "x");
    z.claim_n = 65535;
    assert_err(add(x, &z, &c, &e), ERR_TOOBIG, &e, "more than 65534 entries");
    /* Few entries, but each makes thirty folders. */
    zm_init(&z);
    for (int i = 0; i < 700; i++) {
        char name[128];
        int n = snprintf(name, sizeof(name), "%d", i);
        for (int k = 0; k < 28; k++)
            n += snprintf(name + n, sizeof(name) - (size_t)n, "/d");
        (void)snprintf(name + n, sizeof(name) - (size_t)n, "/f");
        zm_file(&z, name, "");
    }
    assert_err(add(x, &z, &c, &e), ERR_TOOBIG, &e, "more than 16384 folders");
    assert_int_equal(left_in_code(x), 0);
}

static void test_sweep(void **state)
{
    struct fx *x = *state;
    struct zm z;
    struct code c;
    struct err e = {0};
    zm_init(&z);
    zm_file(&z, "app.py", "x");
    assert_ok(add(x, &z, &c, &e), &e);
    assert_int_equal(mkdirat(x->code_fd, ".new-0123", 0700), 0);
    tmpdir_write(&x->dir, "code/notes.txt", "an operator's own");
    assert_true(left_in_code(x) > 2);
    close_registry(x); /* as after a crash: pinned, named by nobody */
    open_registry(x);
    assert_int_equal(left_in_code(x), 1);
    assert_true(tmpdir_has(&x->dir, "code/notes.txt"));
}

struct seen {
    unsigned n;
    char sha256[SHA256_HEX_LEN + 1];
    int64_t zip_bytes;
};

static int see(const char *sha256, int fd, int64_t zip_bytes, void *arg)
{
    struct seen *s = arg;
    char head[2];
    assert_int_equal(read(fd, head, 2), 2);
    assert_memory_equal(head, "PK", 2);
    memcpy(s->sha256, sha256, sizeof(s->sha256));
    s->zip_bytes = zip_bytes;
    return ++s->n == 2 ? ERR_BUSY : 0;
}

static void test_each_and_hold(void **state)
{
    struct fx *x = *state;
    struct zm z;
    struct code c, d;
    struct err e = {0};
    struct seen s = {0};
    assert_rc(registry_code_each(x->r, see, &s), 0);
    assert_int_equal(s.n, 0);
    zm_init(&z);
    zm_file(&z, "app.py", "x");
    assert_ok(add(x, &z, &c, &e), &e);
    tmpdir_write(&x->dir, "code/notes.txt", "an operator's own");
    assert_rc(registry_code_each(x->r, see, &s), 0);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.sha256, c.sha256);
    assert_int_equal(s.zip_bytes, c.zip_bytes);
    zm_init(&z);
    zm_file(&z, "app.py", "y");
    assert_ok(add(x, &z, &d, &e), &e);
    s.n = 0;
    assert_rc(registry_code_each(x->r, see, &s), ERR_BUSY); /* the walk's end, as the callback says */
    /* A package that nobody came to name is removed with its last pin, but not while all are held. */
    registry_code_hold(x->r);
    registry_code_release(x->r, &c);
    assert_true(code_present(x->r, c.sha256));
    registry_code_unhold(x->r);
    registry_code_release(x->r, &d);
    assert_false(code_present(x->r, d.sha256));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unpacks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_refuses_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaving_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_special_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_duplicates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_encrypted_and_odd_methods, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_readings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overlap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_zip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bomb, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_and_hold, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
