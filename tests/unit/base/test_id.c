/* Ids: version and variant bits, growth under every clock, texts. */
#include <pthread.h>

#include "testutil.h"

#include "base/id.h"

static int64_t id_ms(const struct id *id)
{
    int64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id->b[i];
    return ms;
}

static void version_7_as_the_rfc_lays_it_out(void **state)
{
    (void)state;
    struct id_gen g;
    id_gen_init(&g);
    for (int64_t ms = 1767323045678; ms < 1767323045678 + 1000; ms++) {
        struct id id = id_new(&g, ms);
        assert_int_equal(id_ms(&id), ms);
        assert_int_equal(id.b[6] >> 4, 7);
        assert_int_equal(id.b[8] >> 6, 2);
        assert_int_equal(id.b[6] & 0x08, 0); /* the counter's top bit starts clear, which leaves it room */
    }
    id_gen_done(&g);
}

static void ids_grow_whatever_the_clock_does(void **state)
{
    (void)state;
    struct id_gen g;
    id_gen_init(&g);
    uint64_t seed = 1;
    int64_t now = 1000000;
    struct id last = id_new(&g, now);
    for (int i = 0; i < 200000; i++) {
        uint64_t r = test_rand(&seed) % 8; /* stands still, steps back, jumps on */
        now += r < 5 ? 0 : r == 5 ? -500 : r == 6 ? 1 : 400;
        struct id id = id_new(&g, now);
        if (id_cmp(&last, &id) >= 0)
            fail_msg("id %d does not grow", i);
        last = id;
    }
    id_gen_done(&g);
}

static void a_counter_that_runs_over_moves_the_time(void **state)
{
    (void)state;
    struct id_gen g;
    id_gen_init(&g);
    struct id a = id_new(&g, 5000);
    g.counter = (1u << 26) - 2;
    struct id b = id_new(&g, 5000), c = id_new(&g, 5000), d = id_new(&g, 5000);
    assert_int_equal(id_ms(&a), 5000);
    assert_int_equal(id_ms(&b), 5000);
    assert_int_equal(id_ms(&c), 5001);
    assert_int_equal(id_ms(&d), 5001);
    assert_true(id_cmp(&a, &b) < 0 && id_cmp(&b, &c) < 0 && id_cmp(&c, &d) < 0);
    id_gen_done(&g);
}

/* Of one millisecond too, each has random bytes of its own. */
static void the_end_is_random(void **state)
{
    (void)state;
    enum { N = 200 };
    struct id_gen g;
    struct id ids[N];
    id_gen_init(&g);
    for (int i = 0; i < N; i++) {
        ids[i] = id_new(&g, 5000);
        for (int k = 0; k < i; k++)
            assert_memory_not_equal(ids[k].b + 10, ids[i].b + 10, 6);
    }
    id_gen_done(&g);
}

enum { THREADS = 4, EACH = 5000 };

struct maker {
    struct id_gen *g;
    struct id ids[EACH];
};

static void *make_ids(void *arg)
{
    struct maker *m = arg;
    for (int i = 0; i < EACH; i++)
        m->ids[i] = id_new(m->g, 42);
    return NULL;
}

static int by_id(const void *a, const void *b)
{
    return id_cmp(a, b);
}

static void threads_never_share_an_id(void **state)
{
    (void)state;
    struct id_gen g;
    id_gen_init(&g);
    struct maker *m = calloc(THREADS, sizeof *m);
    struct id *all = calloc((size_t)THREADS * EACH, sizeof *all);
    pthread_t t[THREADS];
    assert_non_null(m);
    assert_non_null(all);
    for (int i = 0; i < THREADS; i++) {
        m[i].g = &g;
        assert_int_equal(pthread_create(&t[i], NULL, make_ids, &m[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(t[i], NULL);
        memcpy(all + (size_t)i * EACH, m[i].ids, sizeof m[i].ids);
    }
    qsort(all, (size_t)THREADS * EACH, sizeof *all, by_id);
    /* Without the random tail: the counter alone tells them apart. */
    for (size_t i = 1; i < (size_t)THREADS * EACH; i++)
        assert_memory_not_equal(all[i - 1].b, all[i].b, 10);
    free(m);
    free(all);
    id_gen_done(&g);
}

static void random_ids_are_version_4(void **state)
{
    (void)state;
    struct id a = id_random(), b = id_random();
    assert_int_equal(a.b[6] >> 4, 4);
    assert_int_equal(a.b[8] >> 6, 2);
    assert_int_not_equal(id_cmp(&a, &b), 0);
}

static void text_there_and_back(void **state)
{
    (void)state;
    const struct id id = {
        {0x01, 0x9b, 0x7a, 0x00, 0xff, 0xee, 0x7a, 0xbc, 0x8d, 0xef, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55}};
    struct id back;
    char text[ID_TEXT_LEN + 1];
    id_format(&id, text);
    assert_string_equal(text, "019b7a00-ffee-7abc-8def-001122334455");
    assert_rc(id_parse(text, ID_TEXT_LEN, &back), 0);
    assert_int_equal(id_cmp(&id, &back), 0);
    assert_rc(id_parse("019B7A00-FFEE-7ABC-8DEF-001122334455", ID_TEXT_LEN, &back), 0);
    assert_int_equal(id_cmp(&id, &back), 0);
}

static void wrong_texts_are_refused_and_change_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "019b7a00-ffee-7abc-8def-00112233445",
        "019b7a00-ffee-7abc-8def-0011223344555",
        "019b7a00ffee7abc8def001122334455",
        "019b7a00-ffee-7abc-8def-00112233445g",
        "019b7a00-ffee-7abc-8def_001122334455",
        "019b7a0-0ffee-7abc-8def-001122334455",
        "-19b7a00-ffee-7abc-8def-001122334455",
        " 19b7a00-ffee-7abc-8def-001122334455",
        "{19b7a00-ffee-7abc-8def-00112233445}",
    };
    struct id id = {{7}}, before = id;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_rc(id_parse(bad[i], strlen(bad[i]), &id), ERR_INVALID);
        assert_int_equal(id_cmp(&id, &before), 0);
    }
}

static void order_and_zero(void **state)
{
    (void)state;
    struct id a = {{0}}, b = {{0}};
    assert_true(id_is_zero(&a));
    b.b[15] = 1;
    assert_false(id_is_zero(&b));
    assert_true(id_cmp(&a, &b) < 0 && id_cmp(&b, &a) > 0);
    a.b[0] = 0xff; /* bytes, not signed characters */
    assert_true(id_cmp(&a, &b) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_7_as_the_rfc_lays_it_out),
        cmocka_unit_test(ids_grow_whatever_the_clock_does),
        cmocka_unit_test(a_counter_that_runs_over_moves_the_time),
        cmocka_unit_test(the_end_is_random),
        cmocka_unit_test(threads_never_share_an_id),
        cmocka_unit_test(random_ids_are_version_4),
        cmocka_unit_test(text_there_and_back),
        cmocka_unit_test(wrong_texts_are_refused_and_change_nothing),
        cmocka_unit_test(order_and_zero),
    };
    return cmocka_run_group_tests_name("id", tests, NULL, NULL);
}
