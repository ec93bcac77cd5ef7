#include "store_test.h"

/* A commit that waits until the test lets it go on. */
struct gate {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool closed;
    bool reached;
};

static int gate_fault(enum store_fault at, void *arg)
{
    struct gate *g = arg;
    if (at != STORE_FAULT_COMMIT)
        return 0;
    pthread_mutex_lock(&g->mu);
    g->reached = true;
    pthread_cond_broadcast(&g->cond);
    while (g->closed)
        pthread_cond_wait(&g->cond, &g->mu);
    pthread_mutex_unlock(&g->mu);
    return 0;
}

static void gate_wait_reached(struct gate *g)
{
    pthread_mutex_lock(&g->mu);
    while (!g->reached)
        pthread_cond_wait(&g->cond, &g->mu);
    pthread_mutex_unlock(&g->mu);
}

static void gate_open(struct gate *g)
{
    pthread_mutex_lock(&g->mu);
    g->closed = false;
    pthread_cond_broadcast(&g->cond);
    pthread_mutex_unlock(&g->mu);
}

static uint64_t commits(struct fixture *f)
{
    struct store_stats st;
    store_stats(f->s, &st);
    return st.commits;
}

static void test_ops_gather_during_a_commit(void **state)
{
    enum { N = 50 };
    struct fixture f;
    struct step first, more[N];
    struct gate g = {.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .closed = true};
    (void)state;
    memset(&f, 0, sizeof f);
    f.opts = (struct store_opts){.max_bytes = 4 << 20, .fault = gate_fault, .arg = &g};
    tmpdir_make(&f.dir);
    fixture_open(&f);
    fixture_start(&f);
    step_init(&first, &f, STEP_PUT, 1000);
    step_submit(&first);
    gate_wait_reached(&g);
    for (uint64_t i = 0; i < N; i++) {
        step_init(&more[i], &f, STEP_PUT, i);
        step_submit(&more[i]);
    }
    assert_int_equal(atomic_load(&first.dones), 0); /* nothing is told before the commit */
    gate_open(&g);
    for (int i = 0; i < N; i++) {
        assert_rc(step_wait(&more[i]), 0);
        assert_int_equal(more[i].place, first.place + 1 + i);
        assert_int_equal(atomic_load(&more[i].runs), 1);
    }
    assert_int_equal(commits(&f), 2);
    struct store_stats st;
    store_stats(f.s, &st);
    assert_int_equal(st.ops, N + 1);
    assert_int_equal(st.ops_failed, 0);
    fixture_done(&f);
}

static void test_batch_has_a_ceiling(void **state)
{
    struct fixture f;
    struct step x[25];
    (void)state;
    memset(&f, 0, sizeof f);
    f.opts = (struct store_opts){.max_bytes = 4 << 20, .batch_ops = 10};
    tmpdir_make(&f.dir);
    fixture_open(&f);
    for (uint64_t i = 0; i < 25; i++) {
        step_init(&x[i], &f, STEP_PUT, i);
        step_submit(&x[i]); /* before the start: they wait for it */
    }
    fixture_start(&f);
    for (int i = 0; i < 25; i++)
        assert_rc(step_wait(&x[i]), 0);
    for (int i = 1; i < 25; i++)
        assert_int_equal(x[i].place, x[i - 1].place + 1);
    assert_int_equal(commits(&f), 3);
    fixture_done(&f);
}

/* A transaction takes no more ops once it is big. */
struct big {
    struct store_op op;
    struct fixture *f;
    uint64_t key;
    const char *val;
    size_t val_len;
};

static int big_run(struct store_txn *t, void *arg)
{
    struct big *b = arg;
    uint8_t key[8];
    store_put_u64(key, b->key);
    return store_put(t, b->f->tab, key, sizeof key, b->val, b->val_len, 0);
}

static void test_batch_has_a_ceiling_in_bytes(void **state)
{
    struct fixture f;
    struct big b[12];
    struct step last;
    char *val = calloc(1, 6 << 20);
    (void)state;
    fixture_init(&f, 256 << 20);
    for (uint64_t i = 0; i < 12; i++) {
        b[i] = (struct big){.f = &f, .key = i, .val = val, .val_len = 6 << 20};
        b[i].op = (struct store_op){.run = big_run, .arg = &b[i]};
        assert_rc(store_submit(f.s, &b[i].op), 0);
    }
    step_init(&last, &f, STEP_PUT, 99);
    step_submit(&last);
    fixture_start(&f);
    assert_rc(step_wait(&last), 0);
    assert_int_equal(commits(&f), 3);
    assert_int_equal(fixture_count(&f), 13);
    free(val);
    fixture_done(&f);
}

static void submit_all_then_start(struct fixture *f, struct step *x, int n)
{
    for (int i = 0; i < n; i++)
        step_submit(&x[i]);
    fixture_start(f);
    for (int i = 0; i < n; i++)
        (void)step_wait(&x[i]);
    for (int i = 1; i < n; i++)
        assert_int_equal(x[i].place, x[i - 1].place + 1);
}

static void test_failing_op_fails_alone(void **state)
{
    struct fixture f;
    struct step x[5];
    (void)state;
    fixture_init(&f, 1 << 20);
    for (uint64_t i = 0; i < 5; i++)
        step_init(&x[i], &f, STEP_PUT, i);
    x[1].kind = STEP_FAIL_FIRST;
    x[3].kind = STEP_FAIL_LATE;
    submit_all_then_start(&f, x, 5);
    for (uint64_t i = 0; i < 5; i++) {
        bool good = i != 1 && i != 3;
        assert_rc(x[i].result, good ? 0 : ERR_CONFLICT);
        assert_int_equal(fixture_has(&f, i), good);
    }
    assert_int_equal(commits(&f), 1);
    assert_int_equal(atomic_load(&x[3].runs), 1); /* the batch was repeated without it */
    assert_int_equal(atomic_load(&x[0].runs), 2);
    fixture_done(&f);
}

static void test_failure_before_a_write_costs_no_repetition(void **state)
{
    struct fixture f;
    struct step x[3];
    (void)state;
    fixture_init(&f, 1 << 20);
    for (uint64_t i = 0; i < 3; i++)
        step_init(&x[i], &f, STEP_PUT, i);
    x[1].kind = STEP_DEL; /* ERR_NOTFOUND */
    submit_all_then_start(&f, x, 3);
    assert_rc(x[1].result, ERR_NOTFOUND);
    assert_int_equal(atomic_load(&x[0].runs), 1);
    assert_int_equal(fixture_count(&f), 2);
    fixture_done(&f);
}

/* x[1] fails only because of what x[0] had written, and x[0] is undone: x[1] has to be judged anew. */
static void test_neighbour_of_a_culprit_is_judged_anew(void **state)
{
    struct fixture f;
    struct step x[3];
    (void)state;
    fixture_init(&f, 1 << 20);
    step_init(&x[0], &f, STEP_PUT, 1);
    step_init(&x[1], &f, STEP_PUT, 1);
    x[1].put_flags = STORE_PUT_NEW;
    step_init(&x[2], &f, STEP_FAIL_LATE, 2);
    x[0].kind = STEP_FAIL_LATE;
    submit_all_then_start(&f, x, 3);
    assert_rc(x[0].result, ERR_CONFLICT);
    assert_rc(x[1].result, 0);
    assert_rc(x[2].result, ERR_CONFLICT);
    assert_int_equal(fixture_count(&f), 1);
    fixture_done(&f);
}

static void test_many_culprits(void **state)
{
    enum { N = 60 };
    struct fixture f;
    struct step x[N];
    (void)state;
    fixture_init(&f, 4 << 20);
    for (uint64_t i = 0; i < N; i++)
        step_init(&x[i], &f, i % 2 == 0 ? STEP_PUT : STEP_FAIL_LATE, i);
    submit_all_then_start(&f, x, N);
    for (uint64_t i = 0; i < N; i++) {
        assert_rc(x[i].result, i % 2 == 0 ? 0 : ERR_CONFLICT);
        assert_int_equal(fixture_has(&f, i), i % 2 == 0);
        assert_in_range(atomic_load(&x[i].runs), 1, 10); /* bounded, however many fail */
    }
    struct store_stats st;
    store_stats(f.s, &st);
    assert_int_equal(st.ops, N / 2);
    assert_int_equal(st.ops_failed, N / 2);
    fixture_done(&f);
}

/* An op's own ERR_FULL (a quota of the caller's) is not a full map: new work beside it goes in. */
static void test_an_ops_own_full(void **state)
{
    struct fixture f;
    struct step x[3];
    (void)state;
    fixture_init(&f, 1 << 20);
    for (uint64_t i = 0; i < 3; i++) {
        step_init(&x[i], &f, STEP_PUT, i);
        x[i].op.flags = STORE_OP_NEW;
    }
    x[1].kind = STEP_FAIL_LATE;
    x[1].fail_with = ERR_FULL;
    submit_all_then_start(&f, x, 3);
    assert_rc(x[0].result, 0);
    assert_rc(x[1].result, ERR_FULL);
    assert_rc(x[2].result, 0);
    fixture_done(&f);
}

/* --- hooks -------------------------------------------------------------------------------------------------------- */

/* A module that counts its ops in memory and on disk. */
struct counter {
    struct fixture *f;
    uint64_t sure, now;
    int begins, commits, aborts;
    uint64_t changes;
    int refuse; /* before_commit fails with it */
};

static void counter_begin(void *arg)
{
    struct counter *c = arg;
    c->begins++;
    assert_true(c->now == c->sure);
}

static int counter_before_commit(struct store_txn *t, void *arg)
{
    struct counter *c = arg;
    uint8_t val[8];
    store_put_u64(val, c->now);
    int r = store_put(t, c->f->tab, "count", 5, val, sizeof val, 0);
    return r < 0 ? r : c->refuse;
}

static void counter_committed(void *arg)
{
    struct counter *c = arg;
    c->commits++;
    c->sure = c->now;
}

static void counter_aborted(void *arg)
{
    struct counter *c = arg;
    c->aborts++;
    c->now = c->sure;
}

static void counter_wrote(void *arg)
{
    struct counter *c = arg;
    struct store_stats st;
    store_stats(c->f->s, &st);
    assert_int_equal(st.changes, ++c->changes);
}

static uint64_t stored_count(struct fixture *f)
{
    struct store_txn *t;
    struct slice v;
    assert_rc(store_read_begin(f->s, &t), 0);
    int r = store_get(t, f->tab, "count", 5, &v);
    uint64_t n = r == 0 ? store_get_u64(v.p) : 0;
    store_read_end(t);
    return n;
}

static struct counter *the_counter;

static int counted_run(struct store_txn *t, void *arg)
{
    the_counter->now++;
    return step_run(t, arg);
}

static void counter_init(struct counter *c, struct fixture *f)
{
    *c = (struct counter){.f = f};
    the_counter = c;
    struct store_hooks h = {.begin = counter_begin,
                            .before_commit = counter_before_commit,
                            .committed = counter_committed,
                            .aborted = counter_aborted,
                            .wrote = counter_wrote,
                            .arg = c};
    assert_rc(store_add_hooks(f->s, &h), 0);
}

static void test_hooks_follow_the_transaction(void **state)
{
    struct fixture f;
    struct step x[6];
    struct counter c;
    (void)state;
    fixture_init(&f, 1 << 20);
    counter_init(&c, &f);
    for (uint64_t i = 0; i < 6; i++) {
        step_init(&x[i], &f, i == 2 || i == 4 ? STEP_FAIL_LATE : STEP_PUT, i);
        x[i].op.run = counted_run;
    }
    submit_all_then_start(&f, x, 6);
    store_stop(f.s);
    assert_int_equal(c.sure, 4);
    assert_int_equal(stored_count(&f), 4);
    assert_int_equal(c.begins, 3);
    assert_int_equal(c.aborts, 2);
    assert_int_equal(c.commits, 1);
    fixture_done(&f);
}

static int nothing_run(struct store_txn *t, void *arg)
{
    (void)t;
    (void)arg;
    return 0;
}

static int put_one_run(struct store_txn *t, void *arg)
{
    const struct fixture *f = arg;
    return store_put(t, f->tab, "k", 1, "v", 1, 0);
}

/* A transaction that has only looked is a commit, and no change. */
static void test_changes_are_told(void **state)
{
    struct fixture f;
    struct counter c = {.f = &f};
    struct store_hooks h = {.committed = counter_committed, .wrote = counter_wrote, .arg = &c};
    struct err e = {0};
    (void)state;
    fixture_init(&f, 1 << 20);
    assert_rc(store_add_hooks(f.s, &h), 0);
    assert_rc(store_write_now(f.s, nothing_run, NULL, &e), 0);
    assert_int_equal(c.commits, 1);
    assert_int_equal(c.changes, 0);
    assert_rc(store_write_now(f.s, put_one_run, &f, &e), 0);
    assert_int_equal(c.commits, 2);
    assert_int_equal(c.changes, 1);
    fixture_done(&f);
}

static void test_before_commit_fails_the_batch(void **state)
{
    struct fixture f;
    struct step x[3];
    struct counter c;
    (void)state;
    fixture_init(&f, 1 << 20);
    counter_init(&c, &f);
    c.refuse = ERR_NOMEM;
    for (uint64_t i = 0; i < 3; i++) {
        step_init(&x[i], &f, STEP_PUT, i);
        x[i].op.run = counted_run;
    }
    submit_all_then_start(&f, x, 3);
    for (int i = 0; i < 3; i++)
        assert_rc(x[i].result, ERR_NOMEM);
    store_stop(f.s);
    assert_int_equal(fixture_count(&f), 0);
    assert_int_equal(c.sure, 0);
    assert_int_equal(c.begins, c.aborts);
    c.refuse = 0;
    fixture_start(&f);
    assert_rc(step_do(&f, STEP_PUT, 9, 0, 10), 0);
    fixture_done(&f);
}

static int fail_second_commit(enum store_fault at, void *arg)
{
    int *n = arg;
    return at == STORE_FAULT_COMMIT && ++*n == 2 ? ERR_NOMEM : 0;
}

static void test_failed_commit_is_an_abort(void **state)
{
    struct fixture f;
    struct step x[3];
    struct counter c;
    int n = 0;
    (void)state;
    memset(&f, 0, sizeof f);
    f.opts = (struct store_opts){.max_bytes = 1 << 20, .batch_ops = 1, .fault = fail_second_commit, .arg = &n};
    tmpdir_make(&f.dir);
    fixture_open(&f);
    counter_init(&c, &f);
    for (uint64_t i = 0; i < 3; i++) {
        step_init(&x[i], &f, STEP_PUT, i);
        x[i].op.run = counted_run;
    }
    submit_all_then_start(&f, x, 3);
    store_stop(f.s);
    for (int i = 0; i < 3; i++)
        assert_rc(x[i].result, i == 1 ? ERR_NOMEM : 0);
    assert_int_equal(c.commits, 2);
    assert_int_equal(c.aborts, 1);
    assert_int_equal(c.sure, 2);
    assert_int_equal(stored_count(&f), 2);
    fixture_done(&f);
}

static void test_hooks_have_a_ceiling(void **state)
{
    struct fixture f;
    struct store_hooks none = {0};
    (void)state;
    fixture_init(&f, 1 << 20);
    for (int i = 0; i < 8; i++)
        assert_rc(store_add_hooks(f.s, &none), 0);
    assert_rc(store_add_hooks(f.s, &none), ERR_FULL);
    fixture_start(&f);
    assert_rc(step_do(&f, STEP_PUT, 1, 0, 10), 0);
    fixture_done(&f);
}

/* --- threads and the end ------------------------------------------------------------------------------------------ */

enum { THREADS = 4, EACH = 300 };

struct producer {
    struct fixture *f;
    struct step x[EACH];
    uint64_t from;
};

static void *produce(void *arg)
{
    struct producer *p = arg;
    for (uint64_t i = 0; i < EACH; i++) {
        step_init(&p->x[i], p->f, STEP_PUT, p->from + i);
        if (store_submit(p->f->s, &p->x[i].op) < 0)
            abort();
    }
    return NULL;
}

static void test_many_threads_then_stop(void **state)
{
    struct fixture f;
    pthread_t th[THREADS];
    struct producer *p = calloc(THREADS, sizeof *p);
    (void)state;
    fixture_init(&f, 16 << 20);
    fixture_start(&f);
    for (int i = 0; i < THREADS; i++) {
        p[i].f = &f;
        p[i].from = (uint64_t)i * EACH;
        assert_int_equal(pthread_create(&th[i], NULL, produce, &p[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(th[i], NULL);
    store_stop(f.s); /* finishes everything */
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < EACH; j++) {
            assert_int_equal(atomic_load(&p[i].x[j].dones), 1);
            assert_rc(p[i].x[j].result, 0);
            assert_true(j == 0 || p[i].x[j].place > p[i].x[j - 1].place);
        }
    assert_int_equal(fixture_count(&f), THREADS * EACH);
    free(p);
    fixture_done(&f);
}

static void submit_another(int err, void *arg)
{
    struct step *x = arg;
    step_done(err, x);
    assert_rc(store_submit(x[1].f->s, &x[1].op), 0);
}

static void test_stop_finishes_what_completions_submit(void **state)
{
    struct fixture f;
    struct step x[2];
    (void)state;
    fixture_init(&f, 1 << 20);
    step_init(&x[0], &f, STEP_PUT, 1);
    step_init(&x[1], &f, STEP_PUT, 2);
    x[0].op.done = submit_another;
    step_submit(&x[0]);
    fixture_start(&f);
    store_stop(f.s);
    assert_int_equal(atomic_load(&x[1].dones), 1);
    assert_rc(x[1].result, 0);
    assert_int_equal(fixture_count(&f), 2);
    fixture_done(&f);
}

static void test_never_started(void **state)
{
    struct fixture f;
    struct step x;
    (void)state;
    fixture_init(&f, 1 << 20);
    step_init(&x, &f, STEP_PUT, 1);
    step_submit(&x);
    fixture_close(&f);
    assert_int_equal(atomic_load(&x.dones), 1);
    assert_rc(x.result, ERR_SHUTDOWN);
    fixture_open(&f);
    assert_int_equal(fixture_count(&f), 0);
    fixture_done(&f);
}

/* An op nobody waits for, alone: committed, without company. */
static void test_lazy_op_alone(void **state)
{
    struct fixture f;
    struct step lazy[3];
    (void)state;
    fixture_init(&f, 4 << 20);
    fixture_start(&f);
    for (uint64_t i = 0; i < 3; i++) { /* to a thread that sleeps, or dozes still */
        step_init(&lazy[i], &f, STEP_PUT, i);
        lazy[i].op.flags = STORE_OP_LAZY;
        step_submit(&lazy[i]);
        assert_rc(step_wait(&lazy[i]), 0);
    }
    assert_int_equal(commits(&f), 3);
    fixture_done(&f);
}

/* It waits for company and is committed with it; one that was not waited for does not end the wait. */
static void test_lazy_ops_wait_for_company(void **state)
{
    struct fixture f;
    struct step lazy[4], urgent[2];
    (void)state;
    memset(&f, 0, sizeof f);
    f.opts = (struct store_opts){.max_bytes = 4 << 20, .lazy_us = 3600LL * 1000000};
    tmpdir_make(&f.dir);
    fixture_open(&f);
    fixture_start(&f);
    for (uint64_t i = 0; i < 2; i++) {
        for (uint64_t n = 0; n < 2; n++) {
            step_init(&lazy[2 * i + n], &f, STEP_PUT, 10 * i + n);
            lazy[2 * i + n].op.flags = STORE_OP_LAZY;
            step_submit(&lazy[2 * i + n]);
        }
        step_init(&urgent[i], &f, STEP_PUT, 10 * i + 5);
        step_submit(&urgent[i]);
        assert_rc(step_wait(&urgent[i]), 0);
        assert_int_equal(commits(&f), i + 1);
        for (uint64_t n = 0; n < 2; n++) {
            assert_rc(step_wait(&lazy[2 * i + n]), 0);
            assert_int_equal(lazy[2 * i + n].place + 2 - (int)n, urgent[i].place);
        }
    }
    fixture_done(&f);
}

/* What waits for company when the store stops is committed. */
static void test_stop_finishes_lazy_ops(void **state)
{
    struct fixture f;
    struct step first, lazy;
    (void)state;
    memset(&f, 0, sizeof f);
    f.opts = (struct store_opts){.max_bytes = 4 << 20, .lazy_us = 3600LL * 1000000};
    tmpdir_make(&f.dir);
    fixture_open(&f);
    fixture_start(&f);
    step_init(&first, &f, STEP_PUT, 1);
    step_submit(&first);
    assert_rc(step_wait(&first), 0);
    step_init(&lazy, &f, STEP_PUT, 2);
    lazy.op.flags = STORE_OP_LAZY;
    step_submit(&lazy);
    store_stop(f.s);
    assert_int_equal(atomic_load(&lazy.dones), 1);
    assert_rc(lazy.result, 0);
    fixture_done(&f);
}

/* Lazy ops that come in during a commit do not bring about another one by themselves. */
static void test_lazy_ops_during_a_commit(void **state)
{
    struct fixture f;
    struct step first, lazy, last;
    struct gate g = {.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .closed = true};
    (void)state;
    memset(&f, 0, sizeof f);
    f.opts = (struct store_opts){.max_bytes = 4 << 20, .lazy_us = 3600LL * 1000000, .fault = gate_fault, .arg = &g};
    tmpdir_make(&f.dir);
    fixture_open(&f);
    fixture_start(&f);
    step_init(&first, &f, STEP_PUT, 1);
    step_submit(&first);
    gate_wait_reached(&g);
    step_init(&lazy, &f, STEP_PUT, 2);
    lazy.op.flags = STORE_OP_LAZY;
    step_submit(&lazy);
    gate_open(&g);
    assert_rc(step_wait(&first), 0);
    step_init(&last, &f, STEP_PUT, 3);
    step_submit(&last);
    assert_rc(step_wait(&last), 0);
    assert_int_equal(atomic_load(&lazy.dones), 1);
    assert_int_equal(commits(&f), 2);
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ops_gather_during_a_commit),
        cmocka_unit_test(test_batch_has_a_ceiling),
        cmocka_unit_test(test_batch_has_a_ceiling_in_bytes),
        cmocka_unit_test(test_failing_op_fails_alone),
        cmocka_unit_test(test_failure_before_a_write_costs_no_repetition),
        cmocka_unit_test(test_neighbour_of_a_culprit_is_judged_anew),
        cmocka_unit_test(test_many_culprits),
        cmocka_unit_test(test_an_ops_own_full),
        cmocka_unit_test(test_hooks_follow_the_transaction),
        cmocka_unit_test(test_changes_are_told),
        cmocka_unit_test(test_before_commit_fails_the_batch),
        cmocka_unit_test(test_failed_commit_is_an_abort),
        cmocka_unit_test(test_hooks_have_a_ceiling),
        cmocka_unit_test(test_many_threads_then_stop),
        cmocka_unit_test(test_stop_finishes_what_completions_submit),
        cmocka_unit_test(test_lazy_op_alone),
        cmocka_unit_test(test_lazy_ops_wait_for_company),
        cmocka_unit_test(test_stop_finishes_lazy_ops),
        cmocka_unit_test(test_lazy_ops_during_a_commit),
        cmocka_unit_test(test_never_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
