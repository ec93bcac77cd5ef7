/* kill -9 in the middle of commits: everything told before is there afterwards, whole. */
#include "store_test.h"

#include <signal.h>
#include <sys/wait.h>

/* An op writes three entries that belong together and a log of what was done. */
struct triple {
    struct store_op op;
    struct fixture *f;
    uint64_t n;
    int ack_fd;
};

static int triple_run(struct store_txn *t, void *arg)
{
    struct triple *x = arg;
    uint8_t key[9];
    char val[500];
    memset(val, (int)x->n, sizeof val);
    store_put_u64(key + 1, x->n);
    for (uint8_t part = 1; part <= 3; part++) {
        key[0] = part;
        int r = store_put(t, x->f->tab, key, sizeof key, val, sizeof val, STORE_PUT_NEW);
        if (r < 0)
            return r;
    }
    return 0;
}

static void triple_done(int err, void *arg)
{
    struct triple *x = arg;
    if (err < 0 || write(x->ack_fd, &x->n, sizeof x->n) != sizeof x->n)
        _exit(9);
    free(x);
}

/* The child: as fast as it can, until it is killed. */
static void write_for_ever(struct fixture *f, uint64_t from, int ack_fd)
{
    struct err e;
    if (store_open(&f->s, tmpdir_path(&f->dir, "queue"), &f->opts, &e) < 0 || store_table(f->s, "t", &f->tab, &e) < 0 ||
        store_start(f->s, &e) < 0)
        _exit(8);
    for (uint64_t n = from;; n++) {
        struct triple *x = calloc(1, sizeof *x);
        if (x == NULL)
            _exit(7);
        *x = (struct triple){.f = f, .n = n, .ack_fd = ack_fd};
        x->op = (struct store_op){.run = triple_run, .done = triple_done, .arg = x};
        if (store_submit(f->s, &x->op) < 0)
            _exit(6);
        if (n % 8 == 0)
            (void)poll(NULL, 0, 1); /* keeps the batches small, so that the kill falls into many commits */
    }
}

static uint64_t kill_while_writing(struct fixture *f, uint64_t from, uint64_t acks)
{
    int p[2], status;
    uint64_t n, last = from - 1;
    assert_int_equal(pipe(p), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(p[0]);
        write_for_ever(f, from, p[1]);
    }
    (void)close(p[1]);
    for (uint64_t i = 0; i < acks && read(p[0], &n, sizeof n) == sizeof n; i++)
        last = n;
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (read(p[0], &n, sizeof n) == sizeof n) /* told before the kill, read after it */
        last = n;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    (void)close(p[0]);
    assert_true(last >= from);
    return last;
}

/* The number of whole triples; anything else fails. */
static uint64_t check_whole(struct fixture *f)
{
    struct store_txn *t;
    struct slice v;
    uint8_t key[9];
    fixture_open(f);
    assert_rc(store_read_begin(f->s, &t), 0);
    uint64_t n = store_count(t, f->tab) / 3;
    assert_int_equal(store_count(t, f->tab), n * 3);
    for (uint64_t i = 1; i <= n; i++) {
        store_put_u64(key + 1, i);
        for (uint8_t part = 1; part <= 3; part++) {
            key[0] = part;
            assert_rc(store_get(t, f->tab, key, sizeof key, &v), 0);
            assert_int_equal(v.len, 500);
            assert_int_equal(((const unsigned char *)v.p)[0], i & 0xff);
            assert_int_equal(((const unsigned char *)v.p)[499], i & 0xff);
        }
    }
    store_read_end(t);
    fixture_close(f);
    return n;
}

static void test_kill_in_the_middle(void **state)
{
    struct fixture f;
    uint64_t seed = 99, n = 0;
    (void)state;
    fixture_init(&f, 64 << 20);
    fixture_close(&f);
    for (int round = 0; round < 12; round++) {
        uint64_t told = kill_while_writing(&f, n + 1, 1 + test_rand(&seed) % 60);
        uint64_t there = check_whole(&f);
        if (there < told)
            fail_msg("round %d: %llu were told, %llu are there", round, (unsigned long long)told,
                     (unsigned long long)there);
        n = there;
    }
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
