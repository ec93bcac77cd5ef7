/* Compaction of a stopped daemon's store: smaller, with the same books; old or new, whole, wherever it is killed. */
#include "compact.h"

#include "base/clock.h"
#include "dlq/dlq.h"
#include "offline.h"
#include "registry/registry.h"
#include "testutil.h"

#include <sys/file.h>
#include <sys/wait.h>

enum { EVENTS = 50, JUNK = 3000 };

struct world {
    struct tmpdir dir;
    struct clock clock;
    struct id_gen ids;
    struct store *s;
    struct queue *q;
    struct dlq *d;
    struct registry *r;
    struct store_table *junk;
};

static int accept_events(struct store_txn *t, void *arg)
{
    struct world *w = arg;
    char payload[5000];
    memset(payload, 'x', sizeof payload);
    for (int i = 0; i < EVENTS; i++) {
        struct event ev;
        struct queue_new in = {.id = id_new(&w->ids, clock_now_ms(&w->clock)),
                               .fid = 1,
                               .name = "f",
                               .qualifier = "",
                               .trace = "",
                               .payload = payload,
                               .payload_len = (size_t)(i * 100)};
        int rc = queue_accept_in(w->q, t, &in, &ev);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int put_junk(struct store_txn *t, void *arg)
{
    struct world *w = arg;
    static const char zeros[1000];
    int rc = 0;
    for (unsigned i = 0; i < JUNK && rc == 0; i++) {
        uint8_t key[4];
        store_put_u32(key, i);
        rc = store_put(t, w->junk, key, sizeof key, zeros, sizeof zeros, 0);
    }
    return rc;
}

static int del_junk(struct store_txn *t, void *arg)
{
    struct world *w = arg;
    int rc = 0;
    for (unsigned i = 0; i < JUNK && rc == 0; i++) {
        uint8_t key[4];
        store_put_u32(key, i);
        rc = store_del(t, w->junk, key, sizeof key);
    }
    return rc;
}

/* A data directory as a stopped daemon leaves it, its store mostly free pages. */
static void make(struct world *w)
{
    struct err e = {0};
    struct store_opts so = {.max_bytes = 64 << 20, .unsafe_nosync = true};
    tmpdir_make(&w->dir);
    clock_init_virtual(&w->clock, 1700000000000);
    id_gen_init(&w->ids);
    assert_int_equal(mkdirat(w->dir.fd, "code", 0700), 0);
    int code = openat(w->dir.fd, "code", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_ok(store_open(&w->s, tmpdir_path(&w->dir, "queue"), &so, &e), &e);
    struct queue_opts qo = {.clock = &w->clock, .history_retention_ms = 1 << 30, .history_max_bytes = 1 << 30};
    assert_ok(queue_open(&w->q, w->s, &qo, &e), &e);
    struct registry_opts ro = {
        .clock = &w->clock, .code_fd = code, .account_concurrency = 1000, .unreserved_minimum = 100};
    assert_ok(registry_open(&w->r, w->s, &ro, &e), &e);
    struct dlq_opts lo = {.clock = &w->clock, .ids = &w->ids, .retention_ms = 1 << 30, .max_bytes = 1 << 30};
    assert_ok(dlq_open(&w->d, w->q, &lo, &e), &e);
    assert_ok(store_table(w->s, "junk", &w->junk, &e), &e);
    assert_ok(store_write_now(w->s, accept_events, w, &e), &e);
    assert_ok(store_write_now(w->s, put_junk, w, &e), &e);
    assert_ok(store_write_now(w->s, del_junk, w, &e), &e);
    dlq_close(w->d);
    queue_close(w->q);
    registry_close(w->r);
    store_close(w->s);
    close(code);
}

static void drop(struct world *w)
{
    id_gen_done(&w->ids);
    tmpdir_remove(&w->dir);
}

static void report(const char *line, void *arg)
{
    (void)arg;
    print_error("%s\n", line);
}

static void holds(struct world *w)
{
    struct offline_found found;
    struct err e = {0};
    assert_ok(offline_check(w->dir.path, "queue", report, NULL, &found, &e), &e);
    assert_int_equal(found.findings, 0);
    assert_int_equal(found.books.accepted, EVENTS);
    assert_int_equal(found.books.queued, EVENTS);
}

static off_t size_of(struct world *w)
{
    struct stat st;
    assert_int_equal(fstatat(w->dir.fd, "queue/data.mdb", &st, 0), 0);
    return st.st_size;
}

static void test_compact(void **state)
{
    struct world w;
    struct compacted done;
    struct err e = {0};
    (void)state;
    make(&w);
    off_t before = size_of(&w);
    assert_ok(compact_store(w.dir.path, NULL, NULL, &done, &e), &e);
    assert_int_equal(done.before_bytes, before);
    assert_int_equal(done.after_bytes, size_of(&w));
    assert_true(done.after_bytes < done.before_bytes / 2);
    assert_int_equal(done.events, EVENTS);
    assert_false(tmpdir_has(&w.dir, "queue.compact"));
    holds(&w);
    /* once more: nothing left to gain, nothing lost */
    assert_ok(compact_store(w.dir.path, NULL, NULL, &done, &e), &e);
    assert_int_equal(done.after_bytes, done.before_bytes);
    holds(&w);
    drop(&w);
}

static void test_refusals(void **state)
{
    struct world w;
    struct compacted done;
    struct err e = {0};
    (void)state;
    make(&w);
    tmpdir_write(&w.dir, "lock", "");
    int lock = openat(w.dir.fd, "lock", O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    assert_err(compact_store(w.dir.path, NULL, NULL, &done, &e), ERR_BUSY, &e, "stop it first");
    close(lock);
    assert_err(compact_store("/nothing/here", NULL, NULL, &done, &e), ERR_NOTFOUND, &e, "/nothing/here");
    assert_err(compact_store(tmpdir_path(&w.dir, "code"), NULL, NULL, &done, &e), ERR_NOTFOUND, &e,
               "is no data directory");
    assert_false(tmpdir_has(&w.dir, "code/queue"));
    drop(&w);
}

static void die_at(enum compact_step at, void *arg)
{
    if (at == *(enum compact_step *)arg)
        _exit(42);
}

static void test_killed(void **state)
{
    struct world w;
    (void)state;
    for (enum compact_step at = 0; at < COMPACT_STEPS; at++) {
        struct compacted done;
        struct err e = {0};
        int status;
        make(&w);
        off_t before = size_of(&w);
        pid_t pid = fork();
        if (pid == 0)
            _exit(compact_store(w.dir.path, die_at, &at, &done, &e) == 0 ? 0 : 1);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
        assert_true(at == COMPACT_RENAMED ? size_of(&w) < before : size_of(&w) == before);
        holds(&w);
        assert_ok(compact_store(w.dir.path, NULL, NULL, &done, &e), &e);
        assert_false(tmpdir_has(&w.dir, "queue.compact"));
        holds(&w);
        drop(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compact),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
