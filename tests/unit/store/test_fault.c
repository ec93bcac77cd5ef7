/* Every step of a scenario made to fail in turn, with every kind of failure: what was told must be what is stored. */
#include "store_test.h"

struct injector {
    int countdown; /* the call that fails, from 1 */
    int code;
    bool fired;
    enum store_fault at;
    int fatals;
    char fatal_text[200];
};

static int inject(enum store_fault at, void *arg)
{
    struct injector *in = arg;
    if (in->countdown == 0 || --in->countdown > 0)
        return 0;
    in->fired = true;
    in->at = at;
    return in->code;
}

static void note_fatal(const struct err *e, void *arg)
{
    struct injector *in = arg;
    in->fatals++;
    (void)snprintf(in->fatal_text, sizeof in->fatal_text, "%.199s", e->text);
}

enum { STEPS = 10 };

/* Old keys 100.. to delete, new keys 0.. of old and new work, one op that always fails late. */
static void scenario(struct fixture *f, struct step *x)
{
    for (uint64_t i = 0; i < STEPS; i++) {
        step_init(&x[i], f, STEP_PUT, i);
        if (i % 3 == 0)
            x[i].op.flags = STORE_OP_NEW;
        if (i % 4 == 1) {
            x[i].kind = STEP_DEL;
            x[i].key = 100 + i;
        }
    }
    x[6].kind = STEP_FAIL_LATE;
}

static void prepare(struct fixture *f)
{
    struct step x[STEPS];
    fixture_init(f, 4 << 20);
    for (uint64_t i = 0; i < STEPS; i++) {
        step_init(&x[i], f, STEP_PUT, 100 + i);
        step_submit(&x[i]);
    }
    fixture_start(f);
    for (int i = 0; i < STEPS; i++)
        assert_rc(step_wait(&x[i]), 0);
    fixture_close(f);
}

/* Whether the op's effect is there, seen by a fresh opening. */
static void check_told_is_stored(struct fixture *f, const struct step *x, const struct injector *in)
{
    for (int i = 0; i < STEPS; i++) {
        bool there = fixture_has(f, x[i].key) == (x[i].kind != STEP_DEL);
        if (in->fired && in->at == STORE_FAULT_COMMITTED && x[i].result == ERR_IO)
            continue; /* stored, and nobody could be told: both answers are allowed */
        if (there != (x[i].result == 0))
            fail_msg("fault %s at step %d: op %d ended with %s but its effect is%s there", err_name(in->code),
                     (int)in->at, i, err_name(x[i].result), there ? "" : " not");
    }
}

static bool try_fault(int n, int code)
{
    struct fixture f;
    struct step x[STEPS];
    struct injector in = {0};
    prepare(&f);
    f.opts.fault = inject;
    f.opts.on_fatal = note_fatal;
    f.opts.arg = &in;
    fixture_open(&f);
    in.countdown = n;
    in.code = code;
    scenario(&f, x);
    for (int i = 0; i < STEPS; i++)
        step_submit(&x[i]);
    fixture_start(&f);
    for (int i = 0; i < STEPS; i++)
        (void)step_wait(&x[i]);
    store_stop(f.s);
    for (int i = 0; i < STEPS; i++)
        assert_int_equal(atomic_load(&x[i].dones), 1);
    bool must_die = in.fired && (code == ERR_IO || in.at == STORE_FAULT_COMMITTED);
    assert_int_equal(in.fatals, must_die);
    if (must_die)
        assert_non_null(strstr(in.fatal_text, "queue"));
    if (!in.fired) {
        for (int i = 0; i < STEPS; i++)
            assert_rc(x[i].result, x[i].kind == STEP_FAIL_LATE ? ERR_CONFLICT : 0);
    }
    fixture_close(&f);
    f.opts.fault = NULL;
    fixture_open(&f);
    check_told_is_stored(&f, x, &in);
    fixture_done(&f);
    return in.fired;
}

static void fail_every_step(int code)
{
    int n = 1;
    while (try_fault(n, code))
        assert_true(++n < 200);
    assert_true(n > 2 * STEPS); /* the scenario has at least so many steps: the injector saw them */
}

static void test_no_memory(void **state)
{
    (void)state;
    fail_every_step(ERR_NOMEM);
}

static void test_full(void **state)
{
    (void)state;
    fail_every_step(ERR_FULL);
}

static void test_too_big(void **state)
{
    (void)state;
    fail_every_step(ERR_TOOBIG);
}

static void test_corrupt(void **state)
{
    (void)state;
    fail_every_step(ERR_CORRUPT);
}

static void test_input_output(void **state)
{
    (void)state;
    fail_every_step(ERR_IO);
}

static void test_nothing_is_written_after_a_fatal_error(void **state)
{
    struct fixture f;
    struct injector in = {.countdown = 0, .code = ERR_IO};
    (void)state;
    memset(&f, 0, sizeof f);
    f.opts = (struct store_opts){.max_bytes = 1 << 20, .fault = inject, .on_fatal = note_fatal, .arg = &in};
    tmpdir_make(&f.dir);
    fixture_open(&f);
    in.countdown = 3; /* begin, put, commit */
    fixture_start(&f);
    assert_rc(step_do(&f, STEP_PUT, 1, 0, 10), ERR_IO);
    for (uint64_t i = 2; i < 5; i++)
        assert_rc(step_do(&f, STEP_PUT, i, 0, 10), ERR_IO);
    store_stop(f.s);
    assert_int_equal(in.fatals, 1);
    assert_int_equal(fixture_count(&f), 0);
    fixture_done(&f);
}

/* One failed commit costs its own batch and nothing after it. */
static void test_goes_on_after_a_passing_error(void **state)
{
    struct fixture f;
    struct injector in = {.countdown = 0, .code = ERR_NOMEM};
    (void)state;
    memset(&f, 0, sizeof f);
    f.opts = (struct store_opts){.max_bytes = 1 << 20, .fault = inject, .on_fatal = note_fatal, .arg = &in};
    tmpdir_make(&f.dir);
    fixture_open(&f);
    in.countdown = 3;
    fixture_start(&f);
    assert_rc(step_do(&f, STEP_PUT, 1, 0, 10), ERR_NOMEM);
    assert_rc(step_do(&f, STEP_PUT, 2, 0, 10), 0);
    assert_false(fixture_has(&f, 1));
    assert_int_equal(in.fatals, 0);
    fixture_done(&f);
}

static int ignore_failure(struct store_txn *t, void *arg)
{
    (void)!step_run(t, arg);
    return 0;
}

/* An op that overlooks a failed put does not get away with it. */
static void test_overlooked_failure(void **state)
{
    struct fixture f;
    struct step x;
    struct injector in = {.countdown = 0, .code = ERR_NOMEM};
    (void)state;
    memset(&f, 0, sizeof f);
    f.opts = (struct store_opts){.max_bytes = 1 << 20, .fault = inject, .arg = &in};
    tmpdir_make(&f.dir);
    fixture_open(&f);
    in.countdown = 2;
    step_init(&x, &f, STEP_PUT, 1);
    x.op.run = ignore_failure;
    step_submit(&x);
    fixture_start(&f);
    assert_rc(step_wait(&x), ERR_NOMEM);
    assert_int_equal(fixture_count(&f), 0);
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_too_big),
        cmocka_unit_test(test_corrupt),
        cmocka_unit_test(test_input_output),
        cmocka_unit_test(test_nothing_is_written_after_a_fatal_error),
        cmocka_unit_test(test_goes_on_after_a_passing_error),
        cmocka_unit_test(test_overlooked_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
