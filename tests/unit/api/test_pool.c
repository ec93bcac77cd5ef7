/* The pool: reads, however long, leave a thread and half the places to work. */
#include "testutil.h"

#include <pthread.h>
#include <stdatomic.h>

#include "pool.h"

enum { JOBS_MAX = 8 };

struct gate {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool open;
};

static struct rig {
    struct loop *loop;
    struct pool *pool;
    struct gate gate;
    atomic_int begun, ended, done, dropped;
    int wanted; /* the loop ends with so many done */
} rig;

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    memset(&rig, 0, sizeof rig);
    pthread_mutex_init(&rig.gate.mu, NULL);
    pthread_cond_init(&rig.gate.cond, NULL);
    assert_ok(loop_new(&rig.loop, &e), &e);
    assert_ok(api_pool_new(&rig.pool, rig.loop, 2, JOBS_MAX, &e), &e);
    return 0;
}

static void open_gate(void)
{
    pthread_mutex_lock(&rig.gate.mu);
    rig.gate.open = true;
    pthread_cond_broadcast(&rig.gate.cond);
    pthread_mutex_unlock(&rig.gate.mu);
}

static int teardown(void **state)
{
    (void)state;
    open_gate();
    api_pool_free(rig.pool);
    loop_free(rig.loop);
    return 0;
}

/* Runs until the gate is opened. */
static void run_long(void *arg)
{
    (void)arg;
    atomic_fetch_add(&rig.begun, 1);
    pthread_mutex_lock(&rig.gate.mu);
    while (!rig.gate.open)
        pthread_cond_wait(&rig.gate.cond, &rig.gate.mu);
    pthread_mutex_unlock(&rig.gate.mu);
    atomic_fetch_add(&rig.ended, 1);
}

static void run_short(void *arg)
{
    atomic_store((atomic_bool *)arg, true);
}

static void on_done(void *arg)
{
    (void)arg;
    if (atomic_fetch_add(&rig.done, 1) + 1 == rig.wanted)
        loop_stop(rig.loop);
}

static void on_drop(void *arg)
{
    (void)arg;
    atomic_fetch_add(&rig.dropped, 1);
}

static bool is_true(void *arg)
{
    return atomic_load((atomic_bool *)arg);
}

static bool has_begun(void *arg)
{
    return atomic_load(&rig.begun) >= *(int *)arg;
}

static int read_long(void)
{
    return pool_submit(rig.pool, POOL_READ, run_long, on_done, on_drop, NULL);
}

static void long_reads_leave_a_thread(void **state)
{
    atomic_bool ran = false;
    int one = 1;
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_rc(read_long(), 0);
    wait_until(has_begun, &one, TEST_PATIENCE_MS);
    assert_rc(pool_submit(rig.pool, POOL_WORK, run_short, on_done, on_drop, &ran), 0);
    wait_until(is_true, &ran, TEST_PATIENCE_MS);
    assert_int_equal(rig.begun, 1);
    open_gate();
    rig.wanted = 4;
    loop_run(rig.loop);
    assert_int_equal(rig.ended, 3);
    assert_int_equal(rig.done, 4);
}

/* Work may have every thread, and comes before reads that were asked for later. */
static void work_has_all_threads(void **state)
{
    atomic_bool ran = false;
    int two = 2;
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_rc(pool_submit(rig.pool, POOL_WORK, run_long, on_done, on_drop, NULL), 0);
    assert_rc(pool_submit(rig.pool, POOL_READ, run_short, on_done, on_drop, &ran), 0);
    wait_until(has_begun, &two, TEST_PATIENCE_MS);
    assert_false(atomic_load(&ran));
    open_gate();
    rig.wanted = 3;
    loop_run(rig.loop);
    assert_true(atomic_load(&ran));
}

static void reads_have_half_the_places(void **state)
{
    (void)state;
    for (int i = 0; i < JOBS_MAX / 2; i++)
        assert_rc(read_long(), 0);
    assert_rc(read_long(), ERR_FULL);
    for (int i = 0; i < JOBS_MAX / 2; i++)
        assert_rc(pool_submit(rig.pool, POOL_WORK, run_long, on_done, on_drop, NULL), 0);
    assert_rc(pool_submit(rig.pool, POOL_WORK, run_long, on_done, on_drop, NULL), ERR_FULL);
    open_gate();
    rig.wanted = JOBS_MAX;
    loop_run(rig.loop);
    assert_rc(read_long(), 0); /* the places are free again */
}

/* What has not begun, and what nobody has been told of, is given back. */
static void a_stop_drops_the_rest(void **state)
{
    int one = 1;
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_rc(read_long(), 0);
    wait_until(has_begun, &one, TEST_PATIENCE_MS);
    open_gate();
    api_pool_free(rig.pool);
    rig.pool = NULL;
    assert_int_equal(rig.dropped, 3);
    assert_int_equal(rig.done, 0);
}

#define POOL_TEST(fn_) cmocka_unit_test_setup_teardown(fn_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(long_reads_leave_a_thread),
        POOL_TEST(work_has_all_threads),
        POOL_TEST(reads_have_half_the_places),
        POOL_TEST(a_stop_drops_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
