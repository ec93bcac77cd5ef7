/* An idle engine is not woken; whatever changes wakes its housekeeping, and what is to go is gone when it is due. */
#include "dlq_test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "housekeeper.h"

struct rig {
    struct fix f;
    struct housekeeper h;
    struct registry *r;
    struct logs *logs;
    struct loop *loop;
    int code_fd;
};

static struct rig rig;

static void opened(struct fix *f)
{
    struct err e = {0};
    struct store_hooks hooks = housekeeper_hooks(&rig.h);
    struct registry_opts ro = {.clock = &f->clock,
                               .code_fd = rig.code_fd,
                               .account_concurrency = 1000,
                               .unreserved_minimum = 100,
                               .on_sweep_due = housekeeper_stir,
                               .arg = &rig.h};
    assert_rc(store_add_hooks(f->store, &hooks), 0);
    assert_ok(registry_open(&rig.r, f->store, &ro, &e), &e);
}

static int make_folder(const char *name)
{
    assert_int_equal(mkdirat(rig.f.dir.fd, name, 0700), 0);
    int fd = openat(rig.f.dir.fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static int setup(void **state)
{
    struct err e = {0};
    struct logs_opts lo = {0};
    (void)state;
    memset(&rig, 0, sizeof rig);
    fix_open(&rig.f);
    fix_stop(&rig.f);
    rig.code_fd = make_folder("code");
    rig.f.opened = opened;
    fix_start(&rig.f);
    assert_ok(logs_open(&rig.logs, make_folder("logs"), &lo, &e), &e);
    assert_ok(loop_new(&rig.loop, &e), &e);
    struct housekeeper_about about = {.loop = rig.loop,
                                      .clock = &rig.f.clock,
                                      .store = rig.f.store,
                                      .queue = rig.f.q,
                                      .dlq = rig.f.d,
                                      .registry = rig.r,
                                      .logs = rig.logs,
                                      .url = "http://127.0.0.1:1"};
    assert_ok(housekeeper_start(&rig.h, &about, &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    housekeeper_stop(&rig.h);
    store_stop(rig.f.store);
    loop_free(rig.loop);
    logs_close(rig.logs);
    registry_close(rig.r);
    (void)close(rig.code_fd);
    rig.f.opened = NULL;
    fix_reopen(&rig.f);
    fix_close(&rig.f);
    return 0;
}

static bool is_over(void *arg)
{
    int64_t due_ms;
    (void)arg;
    return keeping_over(&rig.h.keeping, &due_ms);
}

/* Looks until it rests, or gives up: what the last look said. */
static int64_t look_until_rest(void)
{
    int64_t ms = HOUSEKEEPER_MS;
    for (int i = 0; i < 10 && ms == HOUSEKEEPER_MS; i++) {
        ms = housekeeper_look(&rig.h);
        wait_until(is_over, NULL, TEST_PATIENCE_MS);
    }
    return ms;
}

static void rests_until_something_changes(void **state)
{
    (void)state;
    assert_int_equal(housekeeper_look(&rig.h), HOUSEKEEPER_MS); /* the first has a round */
    wait_until(is_over, NULL, TEST_PATIENCE_MS);
    assert_int_equal(look_until_rest(), HOUSEKEEPER_RESTS);
    assert_true(atomic_load(&rig.h.resting));
    (void)accept_event(&rig.f, "hello", "x", 1);
    assert_false(atomic_load(&rig.h.resting));
    assert_int_equal(housekeeper_look(&rig.h), HOUSEKEEPER_MS);
    assert_int_equal(look_until_rest(), HOUSEKEEPER_RESTS);
    housekeeper_stir(&rig.h);
    assert_false(atomic_load(&rig.h.resting));
    assert_int_equal(housekeeper_look(&rig.h), HOUSEKEEPER_MS);
    assert_int_equal(look_until_rest(), HOUSEKEEPER_RESTS);
}

struct polling {
    struct loop_timer *timer;
    uint64_t seen;
    int64_t until_ms;
};

static void poll_seen(void *arg)
{
    struct polling *p = arg;
    if (rig.h.seen > p->seen || clock_mono_ms() > p->until_ms)
        loop_stop(rig.loop);
    else
        loop_timer_arm(p->timer, 10);
}

/* The change itself arms the timer again, on the loop's thread: the loop's own look comes without another word. */
static void a_change_wakes_the_loop(void **state)
{
    struct polling p = {.until_ms = clock_mono_ms() + TEST_PATIENCE_MS};
    (void)state;
    assert_int_equal(look_until_rest(), HOUSEKEEPER_RESTS);
    p.seen = rig.h.seen;
    (void)accept_event(&rig.f, "hello", "x", 1);
    assert_rc(loop_timer_new(rig.loop, poll_seen, &p, &p.timer), 0);
    loop_timer_arm(p.timer, 10);
    loop_run(rig.loop);
    loop_timer_free(p.timer);
    assert_true(rig.h.seen > p.seen);
    wait_until(is_over, NULL, TEST_PATIENCE_MS);
}

/* By the real clock the rest ends when the oldest is due; by a virtual one when the clock is moved, which is written.
 */
static void rests_until_retention(void **state)
{
    (void)state;
    (void)die(&rig.f, "hello", "x", CONDITION_RETRIES_EXHAUSTED);
    assert_int_equal(look_until_rest(), HOUSEKEEPER_RESTS);
    rig.f.clock.is_virtual = false;
    int64_t now_ms = clock_now_ms(&rig.f.clock);
    dlq_set_retention(rig.f.d, now_ms - FIX_EPOCH + 3600000);
    housekeeper_stir(&rig.h);
    int64_t ms = look_until_rest();
    assert_in_range(ms, 1800000, 3600001);
    dlq_set_retention(rig.f.d, now_ms - FIX_EPOCH - 1);
    housekeeper_stir(&rig.h);
    assert_int_equal(look_until_rest(), HOUSEKEEPER_RESTS);
    assert_int_equal(books(&rig.f).dead, 0);
    assert_int_equal(books(&rig.f).removed, 1);
    rig.f.clock.is_virtual = true;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* their malloc is not the C library's */
#define OWN_MALLOC 1
static long own_kb(void)
{
    char line[256];
    long kb = -1;
    FILE *f = fopen("/proc/self/status", "re");
    assert_non_null(f);
    while (kb < 0 && fgets(line, sizeof line, f) != NULL)
        (void)sscanf(line, "RssAnon: %ld kB", &kb);
    (void)fclose(f);
    return kb;
}

static void memory_goes_back_at_rest(void **state)
{
    enum { N = 16384, LEN = 2000 };
    static char *block[N];
    (void)state;
    assert_int_equal(look_until_rest(), HOUSEKEEPER_RESTS);
    long before = own_kb();
    for (int i = 0; i < N; i++) {
        block[i] = malloc(LEN);
        assert_non_null(block[i]);
        memset(block[i], i, LEN);
    }
    for (int i = 0; i < N - 1; i++) /* the last one holds the heap's end where it is */
        free(block[i]);
    assert_true(own_kb() > before + N * LEN / 2048);
    housekeeper_stir(&rig.h);
    assert_int_equal(look_until_rest(), HOUSEKEEPER_RESTS);
    assert_true(own_kb() < before + N * LEN / 8192);
    free(block[N - 1]);
}
#endif

#define HOUSE_TEST(fn_) cmocka_unit_test_setup_teardown(fn_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(rests_until_something_changes),
        HOUSE_TEST(a_change_wakes_the_loop),
        HOUSE_TEST(rests_until_retention),
#ifdef OWN_MALLOC
        HOUSE_TEST(memory_goes_back_at_rest),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
