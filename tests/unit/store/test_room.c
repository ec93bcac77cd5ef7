/* A full map, a full disk, and the reserve that keeps old work going. */
#include "store_test.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

enum { VAL = 3000 };

/* Puts new keys from *next on until one is refused; the code. */
static int fill(struct fixture *f, uint64_t *next)
{
    int r;
    while ((r = step_do(f, STEP_PUT, *next, STORE_OP_NEW, VAL)) == 0)
        if (++*next > 100000)
            return 0;
    return r;
}

/* Deletes, each tried again while it is refused for want of room; the number of refusals, -1 when one never got
 * through. */
static int drain(struct fixture *f, uint64_t from, uint64_t to)
{
    int refused = 0;
    for (uint64_t i = from; i < to; i++) {
        int tries = 0, r;
        while ((r = step_do(f, STEP_DEL, i, 0, 0)) == ERR_FULL && tries++ < 100)
            refused++;
        if (r != 0)
            return -1;
    }
    return refused;
}

static bool takes_new_work(void *arg)
{
    return step_do(arg, STEP_PUT, 1000000, STORE_OP_NEW, VAL) == 0;
}

static void test_full_map_recovers(void **state)
{
    struct fixture f;
    uint64_t next = 0;
    (void)state;
    fixture_init(&f, 1 << 20); /* no reserve: the real end of the map */
    fixture_start(&f);
    for (int round = 0; round < 5; round++) {
        uint64_t from = next;
        assert_rc(fill(&f, &next), ERR_FULL);
        assert_true(next - from > 50);
        assert_true(drain(&f, from, next) >= 0);
        assert_int_equal(fixture_count(&f), 0);
    }
    assert_true(takes_new_work(&f));
    fixture_done(&f);
}

static void test_reserve_lets_old_work_finish(void **state)
{
    struct fixture f;
    struct store_stats st;
    uint64_t next = 0;
    (void)state;
    memset(&f, 0, sizeof f);
    f.opts = (struct store_opts){.max_bytes = 2 << 20, .reserve_bytes = 256 << 10};
    tmpdir_make(&f.dir);
    fixture_open(&f);
    fixture_start(&f);
    assert_rc(fill(&f, &next), ERR_FULL);
    store_stats(f.s, &st);
    assert_true(st.full);
    assert_true(st.map_bytes - st.map_used_bytes < (300 << 10));
    assert_true(st.map_bytes - st.map_used_bytes > (200 << 10));
    assert_rc(step_do(&f, STEP_PUT, 500000, 0, VAL), 0); /* not new work */
    assert_int_equal(drain(&f, 0, next), 0);             /* and every delete has its pages */
    wait_until(takes_new_work, &f, TEST_PATIENCE_MS);    /* by itself */
    store_stats(f.s, &st);
    assert_false(st.full);
    fixture_done(&f);
}

/* One batch must not eat the reserve either: what it has put itself counts. */
static void test_reserve_holds_inside_a_batch(void **state)
{
    enum { N = 1000 };
    struct fixture f;
    struct step *x = calloc(N, sizeof *x);
    int good = 0;
    (void)state;
    memset(&f, 0, sizeof f);
    f.opts = (struct store_opts){.max_bytes = 2 << 20, .reserve_bytes = 512 << 10};
    tmpdir_make(&f.dir);
    fixture_open(&f);
    for (uint64_t i = 0; i < N; i++) {
        step_init(&x[i], &f, STEP_PUT, i);
        x[i].op.flags = STORE_OP_NEW;
        x[i].val_len = 1900;
        step_submit(&x[i]);
    }
    fixture_start(&f);
    for (int i = 0; i < N; i++) {
        int r = step_wait(&x[i]);
        good += r == 0;
        assert_true(r == 0 || r == ERR_FULL);
    }
    struct store_stats st;
    store_stats(f.s, &st);
    assert_in_range(good, 300, 800);
    assert_true(st.map_bytes - st.map_used_bytes >= (400 << 10));
    assert_int_equal(st.commits, 1);
    free(x);
    fixture_done(&f);
}

/* Nor may one op: it is refused when the reserve would have to give what it brings; a smaller one is not. */
static void test_reserve_holds_against_a_big_op(void **state)
{
    struct fixture f;
    struct step big, small;
    (void)state;
    memset(&f, 0, sizeof f);
    f.opts = (struct store_opts){.max_bytes = 2 << 20, .reserve_bytes = 512 << 10};
    tmpdir_make(&f.dir);
    fixture_open(&f);
    fixture_start(&f);
    step_init(&big, &f, STEP_PUT, 1);
    big.op.flags = STORE_OP_NEW;
    big.op.bytes = 2 << 20;
    step_submit(&big);
    assert_rc(step_wait(&big), ERR_FULL);
    step_init(&small, &f, STEP_PUT, 2);
    small.op.flags = STORE_OP_NEW;
    small.op.bytes = 1 << 20;
    step_submit(&small);
    assert_rc(step_wait(&small), 0);
    assert_int_equal(fixture_count(&f), 1);
    fixture_done(&f);
}

static void test_old_work_goes_before_new(void **state)
{
    struct fixture f;
    struct step x[40];
    uint64_t next = 0;
    (void)state;
    fixture_init(&f, 1 << 20);
    fixture_start(&f);
    assert_rc(fill(&f, &next), ERR_FULL);
    assert_true(drain(&f, 0, 10) >= 0);
    store_stop(f.s);
    fixture_close(&f);
    fixture_open(&f);
    for (uint64_t i = 0; i < 40; i++) {
        bool old = i % 10 == 5;
        step_init(&x[i], &f, old ? STEP_DEL : STEP_PUT, old ? 10 + i : 10000 + i);
        x[i].op.flags = old ? 0 : STORE_OP_NEW;
        x[i].val_len = VAL;
        step_submit(&x[i]);
    }
    fixture_start(&f);
    for (int i = 0; i < 40; i++)
        assert_rc(step_wait(&x[i]), i % 10 == 5 ? 0 : ERR_FULL);
    fixture_done(&f);
}

/* --- a full disk: a small tmpfs that only this process sees ------------------------------------------------------- */

#define EXPECT(cond_)                                                                                                  \
    do {                                                                                                               \
        if (!(cond_)) {                                                                                                \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond_);                                          \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

static int fatals;

static void note_fatal(const struct err *e, void *arg)
{
    (void)arg;
    (void)fprintf(stderr, "fatal: %s\n", e->text);
    fatals++;
}

static int fill_disk(const char *path, off_t leave)
{
    char block[4096] = {0};
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    EXPECT(fd >= 0);
    while (write(fd, block, sizeof block) > 0)
        ;
    struct stat st;
    EXPECT(fstat(fd, &st) == 0 && ftruncate(fd, st.st_size - leave) == 0);
    (void)close(fd);
    return 0;
}

/* In the child. 0 good, 77 not possible here. */
static int on_small_disk(const char *dir)
{
    struct fixture f = {.opts = {.max_bytes = 64 << 20, .on_fatal = note_fatal}};
    struct err e;
    char path[300], ballast[300];
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", dir, "tmpfs", 0, "size=2m") < 0)
        return 77;
    (void)snprintf(path, sizeof path, "%s/queue", dir);
    (void)snprintf(ballast, sizeof ballast, "%s/ballast", dir);
    EXPECT(store_open(&f.s, path, &f.opts, &e) == 0);
    EXPECT(strstr(store_warning(f.s), "tmpfs") != NULL);
    EXPECT(store_table(f.s, "t", &f.tab, &e) == 0 && store_start(f.s, &e) == 0);
    uint64_t next = 0;
    /* Somebody else fills the disk, down to a remainder that makes a write of several pages come out short. */
    for (off_t leave = 0; leave <= 20480; leave += 4096) {
        uint64_t from = next;
        EXPECT(fill_disk(ballast, leave) == 0);
        EXPECT(fill(&f, &next) == ERR_FULL);
        EXPECT(unlink(ballast) == 0);
        EXPECT(takes_new_work(&f));
        EXPECT(drain(&f, from, next) >= 0);
    }
    store_stop(f.s);
    store_close(f.s);

    /* With a reserve new work is refused before it comes to that. */
    f.opts.reserve_bytes = 512 << 10;
    EXPECT(store_open(&f.s, path, &f.opts, &e) == 0);
    EXPECT(store_table(f.s, "t", &f.tab, &e) == 0 && store_start(f.s, &e) == 0);
    EXPECT(fill_disk(ballast, 256 << 10) == 0);
    EXPECT(fill(&f, &next) == ERR_FULL);
    EXPECT(step_do(&f, STEP_DEL, 1000000, 0, 0) == 0);
    EXPECT(unlink(ballast) == 0);
    int64_t end = test_now_ms() + TEST_PATIENCE_MS;
    while (!takes_new_work(&f))
        EXPECT(test_now_ms() < end);
    /* The store's own file eats the disk down to the reserve and never gives it back: what is deleted makes room inside
     * it, and that is enough. */
    uint64_t own_from = next;
    EXPECT(fill(&f, &next) == ERR_FULL);
    EXPECT(drain(&f, own_from, next) >= 0);
    end = test_now_ms() + TEST_PATIENCE_MS;
    while (!takes_new_work(&f))
        EXPECT(test_now_ms() < end);
    store_stop(f.s);
    store_close(f.s);

    /* The store itself fills it. Its file keeps its length; what is deleted makes room inside. */
    f.opts.reserve_bytes = 0;
    EXPECT(store_open(&f.s, path, &f.opts, &e) == 0);
    EXPECT(store_table(f.s, "t", &f.tab, &e) == 0 && store_start(f.s, &e) == 0);
    for (int round = 0; round < 3; round++) {
        uint64_t from = next;
        EXPECT(fill(&f, &next) == ERR_FULL);
        EXPECT(next - from > 100);
        EXPECT(drain(&f, from, next) >= 0);
    }
    EXPECT(fixture_count(&f) == 1); /* what takes_new_work put */
    EXPECT(fatals == 0);
    store_stop(f.s);
    store_close(f.s);
    return 0;
}

static void test_full_disk(void **state)
{
    struct tmpdir d;
    int status;
    (void)state;
    if (geteuid() != 0) {
        test_cannot_run("mounting a small disk takes root");
    }
    tmpdir_make(&d);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(on_small_disk(d.path));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    tmpdir_remove(&d);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        test_cannot_run("no private mount namespace here");
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_map_recovers),
        cmocka_unit_test(test_reserve_lets_old_work_finish),
        cmocka_unit_test(test_reserve_holds_inside_a_batch),
        cmocka_unit_test(test_reserve_holds_against_a_big_op),
        cmocka_unit_test(test_old_work_goes_before_new),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
