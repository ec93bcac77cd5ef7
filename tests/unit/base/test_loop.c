/* The event loop: posted work across threads, descriptors, timers, signals, stopping. */
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include "testutil.h"

#include "base/loop.h"

struct fixture {
    struct loop *l;
    struct loop_timer *guard; /* a hanging loop fails instead */
    struct loop_watch *w;
    struct loop_timer *t[3];
    int fd[2];
    bool gave_up;
    int n;
    int order[8];
};

static void give_up(void *arg)
{
    struct fixture *f = arg;
    f->gave_up = true;
    loop_stop(f->l);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e = {0};
    assert_non_null(f);
    assert_ok(loop_new(&f->l, &e), &e);
    assert_rc(loop_timer_new(f->l, give_up, f, &f->guard), 0);
    loop_timer_arm(f->guard, TEST_PATIENCE_MS);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, f->fd), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    assert_false(f->gave_up);
    loop_unwatch(f->w);
    loop_timer_free(f->guard);
    for (int i = 0; i < 3; i++)
        loop_timer_free(f->t[i]);
    loop_free(f->l);
    (void)close(f->fd[0]);
    (void)close(f->fd[1]);
    free(f);
    return 0;
}

static void count(void *arg)
{
    struct fixture *f = arg;
    f->n++;
}

static void stop(void *arg)
{
    struct fixture *f = arg;
    loop_stop(f->l);
}

enum { THREADS = 4, POSTS = 5000 };

static void *post_many(void *arg)
{
    struct fixture *f = arg;
    for (int i = 0; i < POSTS; i++)
        if (loop_post(f->l, count, f) < 0)
            return f;
    return NULL;
}

static void *post_from_threads(void *arg)
{
    struct fixture *f = arg;
    pthread_t t[THREADS];
    void *bad = NULL, *r;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&t[i], NULL, post_many, f) != 0)
            abort();
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(t[i], &r);
        bad = bad != NULL ? bad : r;
    }
    loop_stop(f->l);
    return bad;
}

static void work_of_many_threads_all_runs(void **state)
{
    struct fixture *f = *state;
    pthread_t t;
    void *bad;
    assert_int_equal(pthread_create(&t, NULL, post_from_threads, f), 0);
    loop_run(f->l);
    (void)pthread_join(t, &bad);
    assert_null(bad);
    assert_int_equal(f->n, THREADS * POSTS);
}

static void first(void *arg)
{
    struct fixture *f = arg;
    f->order[f->n++] = 1;
}

static void second(void *arg)
{
    struct fixture *f = arg;
    f->order[f->n++] = 2;
    assert_rc(loop_post(f->l, stop, f), 0);
}

static void third(void *arg)
{
    struct fixture *f = arg;
    f->order[f->n++] = 3;
}

static void posted_work_keeps_its_order(void **state)
{
    struct fixture *f = *state;
    assert_rc(loop_post(f->l, first, f), 0);
    assert_rc(loop_post(f->l, second, f), 0);
    assert_rc(loop_post(f->l, third, f), 0);
    loop_run(f->l);
    assert_int_equal(f->n, 3);
    const int want[] = {1, 2, 3};
    assert_memory_equal(f->order, want, sizeof want);
}

static void post_again(void *arg)
{
    struct fixture *f = arg;
    f->n++;
    assert_rc(loop_post(f->l, post_again, f), 0);
}

static void on_readable_stop(int fd, int what, void *arg)
{
    struct fixture *f = arg;
    char c;
    assert_int_equal(what, LOOP_READ);
    assert_int_equal(read(fd, &c, 1), 1);
    f->order[0] = c;
    loop_stop(f->l);
}

static void work_that_posts_itself_starves_no_descriptor(void **state)
{
    struct fixture *f = *state;
    assert_rc(loop_watch(f->l, f->fd[0], LOOP_READ, on_readable_stop, f, &f->w), 0);
    assert_rc(loop_post(f->l, post_again, f), 0);
    assert_int_equal(write(f->fd[1], "x", 1), 1);
    loop_run(f->l);
    assert_int_equal(f->order[0], 'x');
}

static void on_writable(int fd, int what, void *arg)
{
    struct fixture *f = arg;
    assert_int_equal(fd, f->fd[0]);
    assert_int_equal(what, LOOP_WRITE);
    if (++f->n == 3) { /* persistent: it keeps coming until unwatched, here inside the callback */
        loop_unwatch(f->w);
        f->w = NULL;
        loop_stop(f->l);
    }
}

static void a_watch_persists_until_unwatched(void **state)
{
    struct fixture *f = *state;
    assert_rc(loop_watch(f->l, f->fd[0], LOOP_WRITE, on_writable, f, &f->w), 0);
    loop_run(f->l);
    assert_int_equal(f->n, 3);
}

static void timers_fire_in_order_of_time_once(void **state)
{
    struct fixture *f = *state;
    assert_rc(loop_timer_new(f->l, second, f, &f->t[0]), 0);
    assert_rc(loop_timer_new(f->l, first, f, &f->t[1]), 0);
    assert_rc(loop_timer_new(f->l, third, f, &f->t[2]), 0);
    int64_t start = test_now_ms();
    loop_timer_arm(f->t[0], 20);
    loop_timer_arm(f->t[1], 10000);
    loop_timer_arm(f->t[1], -5); /* replaces; below zero is now */
    loop_timer_arm(f->t[2], 1);
    loop_timer_cancel(f->t[2]);
    loop_run(f->l);
    assert_true(test_now_ms() - start >= 19);
    assert_int_equal(f->n, 2);
    assert_int_equal(f->order[0], 1);
    assert_int_equal(f->order[1], 2);
}

static void a_far_deadline_can_be_armed(void **state)
{
    struct fixture *f = *state;
    assert_rc(loop_timer_new(f->l, first, f, &f->t[0]), 0);
    loop_timer_arm(f->t[0], INT64_MAX);
    assert_rc(loop_post(f->l, stop, f), 0);
    loop_run(f->l);
    assert_int_equal(f->n, 0);
}

static void on_signal(int signo, void *arg)
{
    struct fixture *f = arg;
    f->order[0] = signo;
    loop_stop(f->l);
}

static void raise_signal(void *arg)
{
    (void)arg;
    (void)raise(SIGUSR1);
}

static void signals_arrive_on_the_loop(void **state)
{
    struct fixture *f = *state;
    assert_rc(loop_signal(f->l, SIGUSR1, on_signal, f), 0);
    assert_rc(loop_post(f->l, raise_signal, f), 0);
    loop_run(f->l);
    assert_int_equal(f->order[0], SIGUSR1);
}

static void what_did_not_run_is_dropped(void **state)
{
    struct fixture *f = *state;
    assert_rc(loop_post(f->l, count, f), 0); /* the teardown frees it; the leak checker would tell */
    assert_int_equal(f->n, 0);
    loop_free(NULL);
    loop_unwatch(NULL);
    loop_timer_free(NULL);
}

int main(void)
{
    loop_global_init();
#define T(f_) cmocka_unit_test_setup_teardown(f_, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(work_of_many_threads_all_runs),
        T(posted_work_keeps_its_order),
        T(work_that_posts_itself_starves_no_descriptor),
        T(a_watch_persists_until_unwatched),
        T(timers_fire_in_order_of_time_once),
        T(a_far_deadline_can_be_armed),
        T(signals_arrive_on_the_loop),
        T(what_did_not_run_is_dropped),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
