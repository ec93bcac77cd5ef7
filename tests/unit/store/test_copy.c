/* Copies taken while the writer goes on: one snapshot, whole, in both forms; a reader that goes away. */
#include "store_test.h"

#include <signal.h>

enum { BEFORE = 2000, AFTER = 500 };

struct copying {
    struct fixture *f;
    int wr;
    unsigned flags;
    int rc;
    struct err e;
};

static void *run_copy(void *arg)
{
    struct copying *c = arg;
    c->rc = store_copy(c->f->s, c->wr, c->flags, &c->e);
    close(c->wr);
    return NULL;
}

static uint64_t next_key;

static void fill(struct fixture *f, uint64_t n)
{
    uint64_t from = next_key;
    next_key += n;
    struct step *steps = calloc(n, sizeof *steps);
    assert_non_null(steps);
    for (uint64_t i = 0; i < n; i++) {
        step_init(&steps[i], f, STEP_PUT, from + i);
        steps[i].val_len = 1000;
        step_submit(&steps[i]);
    }
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(step_wait(&steps[i]), 0);
    free(steps);
}

static void copied(struct fixture *f, unsigned flags, const char *name)
{
    struct copying c = {.f = f, .flags = flags};
    pthread_t thread;
    int p[2], out;
    char piece[4096];
    ssize_t n;
    uint64_t before = fixture_count(f), end = next_key;
    assert_int_equal(mkdirat(f->dir.fd, name, 0700), 0);
    int folder = openat(f->dir.fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    out = openat(folder, "data.mdb", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(out >= 0);
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    c.wr = p[1];
    assert_int_equal(pthread_create(&thread, NULL, run_copy, &c), 0);
    /* The first bytes are there, so the snapshot is taken; the rest does not fit into the pipe. */
    n = read(p[0], piece, sizeof piece);
    assert_true(n > 0 && write(out, piece, (size_t)n) == n);
    fill(f, AFTER);
    while ((n = read(p[0], piece, sizeof piece)) > 0)
        assert_int_equal(write(out, piece, (size_t)n), n);
    pthread_join(thread, NULL);
    assert_ok(c.rc, &c.e);
    close(p[0]);
    close(out);
    close(folder);

    struct fixture copy = {.opts = {.max_bytes = 64 << 20}};
    struct err e;
    assert_ok(store_open(&copy.s, tmpdir_path(&f->dir, name), &copy.opts, &e), &e);
    assert_ok(store_table(copy.s, "t", &copy.tab, &e), &e);
    assert_int_equal(fixture_count(&copy), before);
    assert_true(fixture_has(&copy, end - 1));
    assert_false(fixture_has(&copy, end));
    fixture_close(&copy);
    assert_int_equal(fixture_count(f), before + AFTER);
}

static void test_copies(void **state)
{
    struct fixture f;
    struct stat pages, compact;
    (void)state;
    next_key = 0;
    fixture_init(&f, 64 << 20);
    fixture_start(&f);
    fill(&f, BEFORE);
    copied(&f, 0, "pages");
    copied(&f, STORE_COPY_COMPACT, "compact");
    for (uint64_t i = 0; i < BEFORE; i++)
        assert_int_equal(step_do(&f, STEP_DEL, i, 0, 0), 0);
    copied(&f, 0, "pages2");
    copied(&f, STORE_COPY_COMPACT, "compact2");
    assert_int_equal(fstatat(f.dir.fd, "pages2/data.mdb", &pages, 0), 0);
    assert_int_equal(fstatat(f.dir.fd, "compact2/data.mdb", &compact, 0), 0);
    assert_true(compact.st_size < pages.st_size);
    fixture_done(&f);
}

static void test_reader_goes_away(void **state)
{
    struct fixture f;
    (void)state;
    next_key = 0;
    fixture_init(&f, 64 << 20);
    fixture_start(&f);
    fill(&f, BEFORE);
    for (unsigned flags = 0; flags <= STORE_COPY_COMPACT; flags++) {
        struct copying c = {.f = &f, .flags = flags};
        pthread_t thread;
        char piece[4096];
        int p[2];
        assert_int_equal(pipe2(p, O_CLOEXEC), 0);
        c.wr = p[1];
        assert_int_equal(pthread_create(&thread, NULL, run_copy, &c), 0);
        assert_true(read(p[0], piece, sizeof piece) > 0);
        close(p[0]);
        pthread_join(thread, NULL);
        assert_rc(c.rc, ERR_IO);
    }
    fill(&f, 1); /* the writer is none the worse for it */
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_reader_goes_away),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as bided does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
