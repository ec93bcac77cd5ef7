/* Functions: created, changed, deleted, found again after a restart. */
#include <pthread.h>

#include "priv.h"
#include "testutil.h"

static const char SHA[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct fx {
    struct tmpdir dir;
    struct clock clock;
    struct store *store;
    struct registry *r;
    int code_fd;
    bool fail_commits;    /* the next commits fail */
    int forget_commit_in; /* so many commits from now there is no memory for one */
    pthread_mutex_t mu;
    char changes[2048]; /* what the listener saw: "+name" or "-name" */
};

/* What a change's callback said; waited for. */
struct result {
    struct fx *x;
    bool done;
    int err;
    struct err e;
    const struct function *f;
};

static void on_change(const struct function *f, bool deleted, void *arg)
{
    struct fx *x = arg;
    pthread_mutex_lock(&x->mu);
    size_t n = strlen(x->changes);
    (void)snprintf(x->changes + n, sizeof(x->changes) - n, "%s%s ", deleted ? "-" : "+", f->name);
    pthread_mutex_unlock(&x->mu);
}

static int fault(enum store_fault at, void *arg)
{
    struct fx *x = arg;
    if (at == STORE_FAULT_COMMIT && x->forget_commit_in > 0 && --x->forget_commit_in == 0)
        return ERR_NOMEM;
    return at == STORE_FAULT_COMMIT && x->fail_commits ? ERR_FULL : 0;
}

static void open_registry(struct fx *x, bool start)
{
    struct err e = {0};
    struct store_opts so = {.max_bytes = 64 << 20, .unsafe_nosync = true, .fault = fault, .arg = x};
    assert_ok(store_open(&x->store, tmpdir_path(&x->dir, "db"), &so, &e), &e);
    struct registry_opts o = {
        .clock = &x->clock, .code_fd = x->code_fd, .account_concurrency = 1000, .unreserved_minimum = 100};
    assert_ok(registry_open(&x->r, x->store, &o, &e), &e);
    registry_on_change(x->r, on_change, x);
    if (start)
        assert_ok(store_start(x->store, &e), &e);
}

static void close_registry(struct fx *x)
{
    store_stop(x->store);
    registry_close(x->r);
    store_close(x->store);
}

static int setup(void **state)
{
    struct fx *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    tmpdir_make(&x->dir);
    clock_init_virtual(&x->clock, 1700000000000);
    pthread_mutex_init(&x->mu, NULL);
    assert_int_equal(mkdirat(x->dir.fd, "code", 0700), 0);
    x->code_fd = openat(x->dir.fd, "code", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char name[80];
    assert_int_equal(mkdirat(x->code_fd, SHA, 0755), 0);
    (void)snprintf(name, sizeof(name), "code/%s.zip", SHA);
    tmpdir_write(&x->dir, name, "zip");
    open_registry(x, true);
    /* Opening sweeps what nobody names yet: put it there again. */
    assert_int_equal(mkdirat(x->code_fd, SHA, 0755), 0);
    tmpdir_write(&x->dir, name, "zip");
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fx *x = *state;
    close_registry(x);
    close(x->code_fd);
    tmpdir_remove(&x->dir);
    pthread_mutex_destroy(&x->mu);
    free(x);
    return 0;
}

static void on_result(int err, const struct err *e, const struct function *f, void *arg)
{
    struct result *r = arg;
    pthread_mutex_lock(&r->x->mu);
    r->err = err;
    if (e)
        r->e = *e;
    r->f = f ? function_ref(f) : NULL;
    r->done = true;
    pthread_mutex_unlock(&r->x->mu);
}

static bool is_done(void *arg)
{
    struct result *r = arg;
    pthread_mutex_lock(&r->x->mu);
    bool done = r->done;
    pthread_mutex_unlock(&r->x->mu);
    return done;
}

static int await(struct result *r, int rc)
{
    if (rc < 0)
        return rc;
    wait_until(is_done, r, TEST_PATIENCE_MS);
    return r->err;
}

static void forget(struct result *r)
{
    function_unref(r->f);
    *r = (struct result){.x = r->x};
}

static struct function_spec spec(const struct code *c)
{
    return (struct function_spec){.runtime = "python3.12",
                                  .role = "arn:aws:iam::000000000000:role/r",
                                  .handler = "app.handler",
                                  .timeout_s = -1,
                                  .memory_mb = -1,
                                  .tmp_mb = -1,
                                  .code = c};
}

static struct code code(void)
{
    struct code c = {.zip_bytes = 3};
    memcpy(c.sha256, SHA, sizeof(SHA));
    return c;
}

/* Create and wait for the answer; *r holds it. */
static int create(struct fx *x, const char *name, struct result *r)
{
    struct code c = code();
    struct function_spec s = spec(&c);
    *r = (struct result){.x = x};
    return await(r, registry_create(x->r, name, &s, on_result, r));
}

struct wanted {
    struct fx *x;
    const char *name;
    enum function_state state;
    enum update_status update;
};

static bool reached(void *arg)
{
    struct wanted *w = arg;
    const struct function *f = registry_get(w->x->r, w->name);
    bool hit = f && f->state == w->state && f->update == w->update;
    function_unref(f);
    return hit;
}

static void await_state(struct fx *x, const char *name, enum function_state s, enum update_status u)
{
    struct wanted w = {x, name, s, u};
    wait_until(reached, &w, TEST_PATIENCE_MS);
}

static void make(struct fx *x, const char *name)
{
    struct result r;
    assert_rc(create(x, name, &r), 0);
    forget(&r);
    await_state(x, name, FUNCTION_ACTIVE, UPDATE_NONE);
}

static void test_create(void **state)
{
    struct fx *x = *state;
    struct result r;
    assert_rc(create(x, "a", &r), 0);
    assert_int_equal(r.f->state, FUNCTION_PENDING);
    assert_int_equal(r.f->update, UPDATE_NONE);
    assert_int_equal(r.f->timeout_s, 3);
    assert_int_equal(r.f->memory_mb, 128);
    assert_int_equal(r.f->tmp_mb, 512);
    assert_int_equal(r.f->reserved, -1);
    assert_false(r.f->has_env);
    await_state(x, "a", FUNCTION_ACTIVE, UPDATE_NONE);
    const struct function *f = registry_get(x->r, "a");
    assert_string_not_equal(f->revision_id, r.f->revision_id);
    assert_int_equal(f->fid, r.f->fid);
    const struct function *same = registry_get_fid(x->r, f->fid);
    assert_ptr_equal(same, f);
    function_unref(same);
    function_unref(f);
    forget(&r);
    assert_rc(create(x, "a", &r), ERR_EXISTS);
    assert_rc(create(x, "", &r), ERR_INVALID);
    assert_null(registry_get(x->r, "b"));
    assert_null(registry_get_fid(x->r, 999));
}

static bool sweep_is_due(void *arg)
{
    struct fx *x = arg;
    return registry_sweep_due(x->r);
}

/* The second op of a create is lost: it is made up for while the daemon runs. */
static void test_completed_later(void **state)
{
    struct fx *x = *state;
    struct result r;
    x->forget_commit_in = 2;
    assert_rc(create(x, "a", &r), 0);
    forget(&r);
    wait_until(sweep_is_due, x, TEST_PATIENCE_MS);
    await_state(x, "a", FUNCTION_PENDING, UPDATE_NONE);
    registry_sweep(x->r);
    await_state(x, "a", FUNCTION_ACTIVE, UPDATE_NONE);
}

static void test_update(void **state)
{
    struct fx *x = *state;
    struct result r = {.x = x};
    struct pair env[] = {{"ZZ", "1"}, {"AA", "2"}};
    struct function_spec s = {.timeout_s = 9, .memory_mb = -1, .tmp_mb = -1, .env = env, .n_env = 2, .env_given = true};
    make(x, "a");
    const struct function *before = registry_get(x->r, "a");
    clock_advance(&x->clock, 5000);
    assert_rc(await(&r, registry_update(x->r, "a", &s, on_result, &r)), 0);
    assert_int_equal(r.f->update, UPDATE_IN_PROGRESS);
    assert_int_equal(r.f->timeout_s, 9);
    assert_string_equal(r.f->handler, "app.handler");
    assert_string_equal(r.f->env[0].key, "AA");
    assert_int_equal(r.f->generation, before->generation + 1);
    assert_int_equal(r.f->modified_at_ms, before->modified_at_ms + 5000);
    assert_int_equal(before->timeout_s, 3); /* a snapshot never changes */
    await_state(x, "a", FUNCTION_ACTIVE, UPDATE_SUCCESSFUL);
    forget(&r);
    struct function_spec old = {.timeout_s = 10, .memory_mb = -1, .tmp_mb = -1, .revision_id = before->revision_id};
    assert_rc(await(&r, registry_update(x->r, "a", &old, on_result, &r)), ERR_CONFLICT);
    assert_string_equal(r.e.text, "revision");
    forget(&r);
    assert_rc(await(&r, registry_update(x->r, "nobody", &s, on_result, &r)), ERR_NOTFOUND);
    forget(&r);
    function_unref(before);
}

/* Submitted while the first update is not complete. */
static void test_update_in_progress(void **state)
{
    struct fx *x = *state;
    struct result a = {.x = x}, b = {.x = x};
    struct function_spec s = {.timeout_s = 9, .memory_mb = -1, .tmp_mb = -1};
    make(x, "a");
    struct code c = code();
    struct function_spec n = spec(&c);
    /* Submitted together: the store thread may take them in one batch or two, but the completion of the first is only
     * submitted after its answer. With the commits failing nothing is lost either. */
    struct result r1 = {.x = x}, r2 = {.x = x};
    assert_rc(registry_create(x->r, "p", &n, on_result, &r1), 0);
    int rc2 = registry_update(x->r, "p", &s, on_result, &r2);
    assert_rc(await(&r1, 0), 0);
    rc2 = await(&r2, rc2);
    assert_true(rc2 == ERR_CONFLICT || rc2 == 0);
    if (rc2 == ERR_CONFLICT)
        assert_string_equal(r2.e.text, "pending");
    forget(&r1);
    forget(&r2);
    assert_rc(registry_update(x->r, "a", &s, on_result, &a), 0);
    int rcb = registry_update(x->r, "a", &s, on_result, &b);
    assert_rc(await(&a, 0), 0);
    rcb = await(&b, rcb);
    assert_true(rcb == ERR_CONFLICT || rcb == 0);
    if (rcb == ERR_CONFLICT)
        assert_string_equal(b.e.text, "update");
    forget(&a);
    forget(&b);
}

static void test_delete(void **state)
{
    struct fx *x = *state;
    struct result r = {.x = x};
    make(x, "a");
    const struct function *old = registry_get(x->r, "a");
    uint64_t fid = old->fid;
    function_unref(old);
    assert_rc(await(&r, registry_delete(x->r, "a", on_result, &r)), 0);
    forget(&r);
    assert_null(registry_get(x->r, "a"));
    assert_null(registry_get_fid(x->r, fid));
    assert_int_equal(registry_count(x->r), 0);
    assert_rc(await(&r, registry_delete(x->r, "a", on_result, &r)), ERR_NOTFOUND);
    forget(&r);
    make(x, "a");
    const struct function *new = registry_get(x->r, "a");
    assert_true(new->fid > fid); /* never the old incarnation */
    function_unref(new);
    assert_string_equal(x->changes, "+a +a -a +a +a ");
}

struct tombs {
    unsigned n;
    uint64_t fid;
    char name[80];
};

static void on_tomb(uint64_t fid, const char *name, void *arg)
{
    struct tombs *t = arg;
    t->n++;
    t->fid = fid;
    (void)snprintf(t->name, sizeof(t->name), "%s", name);
}

static bool no_tombs(void *arg)
{
    struct tombs t = {0};
    assert_rc(registry_tombstones(arg, on_tomb, &t), 0);
    return t.n == 0;
}

static void test_tombstones(void **state)
{
    struct fx *x = *state;
    struct result r = {.x = x};
    struct tombs t = {0};
    make(x, "gone");
    assert_rc(await(&r, registry_delete(x->r, "gone", on_result, &r)), 0);
    forget(&r);
    close_registry(x);
    open_registry(x, true);
    assert_rc(registry_tombstones(x->r, on_tomb, &t), 0);
    assert_int_equal(t.n, 1);
    assert_string_equal(t.name, "gone");
    assert_rc(registry_forget(x->r, t.fid), 0);
    wait_until(no_tombs, x->r, TEST_PATIENCE_MS);
}

static int reserve(struct fx *x, const char *name, int32_t n)
{
    struct result r = {.x = x};
    int rc = await(&r, registry_set_reserved(x->r, name, n, on_result, &r));
    forget(&r);
    return rc;
}

static void test_reserved(void **state)
{
    struct fx *x = *state;
    int64_t reserved, bytes;
    make(x, "a");
    make(x, "b");
    assert_rc(reserve(x, "a", 901), ERR_FULL);
    assert_rc(reserve(x, "a", 500), 0);
    assert_rc(reserve(x, "b", 401), ERR_FULL);
    assert_rc(reserve(x, "b", 400), 0);
    assert_rc(reserve(x, "a", 501), ERR_FULL);
    assert_rc(reserve(x, "a", 0), 0);
    assert_rc(reserve(x, "a", 500), 0);
    assert_rc(reserve(x, "nobody", 1), ERR_NOTFOUND);
    registry_totals(x->r, &reserved, &bytes);
    assert_int_equal(reserved, 900);
    assert_int_equal(bytes, 6);
    assert_rc(reserve(x, "a", -1), 0);
    registry_totals(x->r, &reserved, &bytes);
    assert_int_equal(reserved, 400);
}

static int configure(struct fx *x, const struct invoke_config *cfg, bool merge, struct result *r)
{
    *r = (struct result){.x = x};
    return await(r, registry_set_invoke_config(x->r, "a", cfg, merge, on_result, r));
}

static void test_invoke_config(void **state)
{
    struct fx *x = *state;
    struct result r;
    struct invoke_config cfg = {.max_retries = 1, .max_age_s = -1};
    make(x, "a");
    assert_rc(configure(x, &cfg, true, &r), ERR_NOTFOUND);
    assert_string_equal(r.e.text, "config");
    assert_rc(configure(x, NULL, false, &r), ERR_NOTFOUND);
    assert_rc(configure(x, &cfg, false, &r), 0);
    assert_true(r.f->async.present);
    assert_int_equal(r.f->async.max_retries, 1);
    assert_int_equal(r.f->async.max_age_s, -1);
    forget(&r);
    cfg = (struct invoke_config){.max_retries = -1, .max_age_s = 60};
    assert_rc(configure(x, &cfg, true, &r), 0);
    assert_int_equal(r.f->async.max_retries, 1);
    assert_int_equal(r.f->async.max_age_s, 60);
    forget(&r);
    assert_rc(configure(x, &cfg, false, &r), 0);
    assert_int_equal(r.f->async.max_retries, -1);
    forget(&r);
    assert_rc(configure(x, NULL, false, &r), 0);
    assert_false(r.f->async.present);
    forget(&r);
}

static void test_list(void **state)
{
    struct fx *x = *state;
    static const char *const names[] = {"b", "a", "d", "c"};
    const struct function *page[8];
    for (size_t i = 0; i < 4; i++)
        make(x, names[i]);
    assert_int_equal(registry_list(x->r, "", page, 3), 3);
    assert_string_equal(page[0]->name, "a");
    assert_string_equal(page[2]->name, "c");
    for (size_t i = 0; i < 3; i++)
        function_unref(page[i]);
    assert_int_equal(registry_list(x->r, "c", page, 8), 1);
    assert_string_equal(page[0]->name, "d");
    function_unref(page[0]);
    assert_int_equal(registry_list(x->r, "bb", page, 8), 2);
    function_unref(page[0]);
    function_unref(page[1]);
}

static void test_restart(void **state)
{
    struct fx *x = *state;
    struct result r = {.x = x};
    make(x, "a");
    assert_rc(await(&r, registry_set_paused(x->r, "a", true, on_result, &r)), 0);
    forget(&r);
    const struct function *f = registry_get(x->r, "a");
    uint64_t fid = f->fid;
    function_unref(f);
    close_registry(x);
    open_registry(x, true);
    f = registry_get(x->r, "a");
    assert_int_equal(f->fid, fid);
    assert_true(f->paused);
    assert_int_equal(f->state, FUNCTION_ACTIVE);
    function_unref(f);
    assert_true(tmpdir_has(&x->dir, "code")); /* and its package was not swept */
    char name[80];
    (void)snprintf(name, sizeof(name), "code/%s", SHA);
    assert_true(tmpdir_has(&x->dir, name));
}

/* Stands for a crash between an answer and its completion. */
static int write_pending(struct store_txn *t, void *arg)
{
    struct fx *x = arg;
    struct function f;
    function_defaults(&f);
    f.fid = 41;
    f.generation = 1;
    (void)snprintf(f.name, sizeof(f.name), "late");
    memcpy(f.code_sha256, SHA, sizeof(SHA));
    int rc = record_put(t, x->r, &f);
    f.fid = 42;
    (void)snprintf(f.name, sizeof(f.name), "lost");
    f.code_sha256[0] = '0';
    return rc < 0 ? rc : record_put(t, x->r, &f);
}

static void test_interrupted(void **state)
{
    struct fx *x = *state;
    struct err e = {0};
    close_registry(x);
    open_registry(x, false);
    char name[80];
    assert_int_equal(mkdirat(x->code_fd, SHA, 0755), 0);
    (void)snprintf(name, sizeof(name), "code/%s.zip", SHA);
    tmpdir_write(&x->dir, name, "zip");
    assert_ok(store_write_now(x->store, write_pending, x, &e), &e);
    close_registry(x);
    open_registry(x, true);
    const struct function *f = registry_get(x->r, "late");
    assert_int_equal(f->state, FUNCTION_ACTIVE);
    function_unref(f);
    f = registry_get(x->r, "lost");
    assert_int_equal(f->state, FUNCTION_FAILED);
    assert_non_null(strstr(f->state_reason, "missing"));
    function_unref(f);
}

static int write_garbage(struct store_txn *t, void *arg)
{
    struct fx *x = arg;
    return store_put(t, x->r->functions, "bad", 3, "garbage", 7, 0);
}

/* A record that cannot be read costs itself only, and can be deleted. */
static void test_corrupt(void **state)
{
    struct fx *x = *state;
    struct err e = {0};
    struct result r = {.x = x};
    make(x, "good");
    close_registry(x);
    open_registry(x, false);
    assert_ok(store_write_now(x->store, write_garbage, x, &e), &e);
    close_registry(x);
    open_registry(x, true);
    assert_int_equal(registry_count(x->r), 1);
    assert_rc(create(x, "bad", &r), ERR_CORRUPT);
    r = (struct result){.x = x};
    assert_rc(await(&r, registry_delete(x->r, "bad", on_result, &r)), 0);
    forget(&r);
    make(x, "bad");
    /* and what it named is not known: no package goes until a start finds every record whole */
    r = (struct result){.x = x};
    assert_rc(await(&r, registry_delete(x->r, "good", on_result, &r)), 0);
    forget(&r);
    assert_rc(await(&r, registry_delete(x->r, "bad", on_result, &r)), 0);
    forget(&r);
    for (int i = 0; i < 3; i++)
        registry_sweep(x->r);
    assert_true(code_present(x->r, SHA));
}

static void test_failed_commit(void **state)
{
    struct fx *x = *state;
    struct result r;
    x->fail_commits = true;
    assert_true(create(x, "a", &r) < 0);
    x->fail_commits = false;
    assert_null(registry_get(x->r, "a"));
    assert_string_equal(x->changes, "");
    make(x, "a");
}

static void delete (struct fx *x, const char *name)
{
    struct result r = {.x = x};
    assert_rc(await(&r, registry_delete(x->r, name, on_result, &r)), 0);
    forget(&r);
}

/* A package goes when no function names it, no worker uses it and nobody holds it, and when that was so at the last
 * look already: whoever took a snapshot just before the change can still say that it uses the code. */
static void test_sweep_while_running(void **state)
{
    struct fx *x = *state;
    make(x, "a");
    make(x, "b");
    assert_false(registry_sweep_due(x->r));
    delete (x, "a");
    assert_true(registry_sweep_due(x->r));
    for (int i = 0; i < 3; i++)
        registry_sweep(x->r);
    assert_true(code_present(x->r, SHA)); /* b's as well */
    assert_false(registry_sweep_due(x->r));
    assert_rc(registry_code_use(x->r, SHA), 0);
    delete (x, "b");
    for (int i = 0; i < 3; i++)
        registry_sweep(x->r);
    assert_true(code_present(x->r, SHA)); /* a worker's */
    assert_false(registry_sweep_due(x->r));
    registry_code_hold(x->r);
    registry_code_unuse(x->r, SHA);
    for (int i = 0; i < 3; i++)
        registry_sweep(x->r);
    assert_true(code_present(x->r, SHA)); /* the copy's that is being made */
    registry_code_unhold(x->r);
    registry_sweep(x->r);
    assert_true(code_present(x->r, SHA)); /* in doubt */
    make(x, "c");
    registry_sweep(x->r);
    assert_true(code_present(x->r, SHA)); /* named anew */
    delete (x, "c");
    registry_sweep(x->r);
    assert_true(code_present(x->r, SHA));
    assert_true(registry_sweep_due(x->r));
    registry_sweep(x->r);
    assert_false(code_present(x->r, SHA));
    assert_false(registry_sweep_due(x->r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create, setup, teardown),
        cmocka_unit_test_setup_teardown(test_completed_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_update, setup, teardown),
        cmocka_unit_test_setup_teardown(test_update_in_progress, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tombstones, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reserved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_invoke_config, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_interrupted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sweep_while_running, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
