/* The heap of deadlines, against a model that is a plain list. */
#include "testutil.h"

#include "base/timerq.h"

enum { ITEMS = 200, STEPS = 40000 };

struct model {
    struct timerq_item it;
    bool in;
    int64_t at_ms;
    int when; /* step of the last set, which decides between equals */
};

static struct model *model_first(struct model *m)
{
    struct model *best = NULL;
    for (int i = 0; i < ITEMS; i++)
        if (m[i].in &&
            (best == NULL || m[i].at_ms < best->at_ms || (m[i].at_ms == best->at_ms && m[i].when < best->when)))
            best = &m[i];
    return best;
}

static void assert_heap(const struct timerq *q)
{
    for (size_t i = 1; i <= q->len; i++) {
        assert_int_equal(q->v[i]->pos, i);
        if (i > 1)
            assert_true(q->v[i / 2]->at_ms <= q->v[i]->at_ms);
    }
}

/* span: how far apart deadlines lie; 1 makes them all equal. */
static void run_against_model(uint64_t seed, uint64_t span)
{
    static struct model m[ITEMS];
    struct timerq q;
    size_t n = 0;
    memset(m, 0, sizeof m);
    timerq_init(&q);
    for (int step = 0; step < STEPS; step++) {
        struct model *x = &m[test_rand(&seed) % ITEMS];
        uint64_t what = test_rand(&seed) % 10;
        if (what < 5) {
            x->at_ms = (int64_t)(test_rand(&seed) % span) - 5;
            x->when = step;
            n += !x->in;
            x->in = true;
            assert_rc(timerq_set(&q, &x->it, x->at_ms), 0);
        } else {
            if (what < 7)
                x = model_first(m) != NULL ? model_first(m) : x;
            n -= x->in;
            x->in = false;
            timerq_del(&q, &x->it);
        }
        struct model *first = model_first(m);
        assert_ptr_equal(timerq_first(&q), first != NULL ? &first->it : NULL);
        assert_int_equal(q.len, n);
        assert_int_equal(timerq_has(&x->it), x->in);
        if (step % 64 == 0)
            assert_heap(&q);
    }
    for (struct model *x; (x = model_first(m)) != NULL;) {
        assert_ptr_equal(timerq_first(&q), &x->it);
        x->in = false;
        timerq_del(&q, &x->it);
    }
    assert_null(timerq_first(&q));
    timerq_done(&q);
}

static void random_work_agrees_with_a_list(void **state)
{
    (void)state;
    run_against_model(11, 100000);
    run_against_model(12, 20);
    run_against_model(13, 1);
}

static void empty_and_single(void **state)
{
    (void)state;
    struct timerq q;
    struct timerq_item it = {0};
    timerq_init(&q);
    assert_null(timerq_first(&q));
    timerq_del(&q, &it);
    assert_false(timerq_has(&it));
    assert_rc(timerq_set(&q, &it, INT64_MIN), 0);
    assert_ptr_equal(timerq_first(&q), &it);
    assert_rc(timerq_set(&q, &it, INT64_MAX), 0);
    assert_int_equal(q.len, 1);
    timerq_del(&q, &it);
    timerq_del(&q, &it);
    assert_null(timerq_first(&q));
    timerq_done(&q);
}

static void equal_deadlines_come_out_as_they_went_in(void **state)
{
    (void)state;
    struct timerq q;
    static struct timerq_item it[1000];
    timerq_init(&q);
    for (size_t i = 0; i < 1000; i++)
        assert_rc(timerq_set(&q, &it[i], 5), 0);
    for (size_t i = 0; i < 1000; i++) {
        assert_ptr_equal(timerq_first(&q), &it[i]);
        timerq_del(&q, &it[i]);
    }
    timerq_done(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_work_agrees_with_a_list),
        cmocka_unit_test(empty_and_single),
        cmocka_unit_test(equal_deadlines_come_out_as_they_went_in),
    };
    return cmocka_run_group_tests_name("timerq", tests, NULL, NULL);
}
