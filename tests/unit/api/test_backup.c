/* The backup's stream: what is in it, who gets the keys, what a reader may not do. */
#include "backup.h"

#include <signal.h>

#include "fixture.h"

/* The body of a reply without a length, chunks joined. */
static void dechunk(struct reply *r)
{
    char *from = r->body, *to = r->body, *end = r->body + r->len;
    while (from < end) {
        char *data;
        size_t n = strtoul(from, &data, 16);
        assert_true(data[0] == '\r' && data[1] == '\n');
        data += 2;
        memmove(to, data, n);
        to += n;
        from = data + n + 2;
        if (n == 0)
            break;
    }
    r->len = (size_t)(to - r->body);
}

static bool holds(const struct reply *r, const char *text)
{
    return memmem(r->body, r->len, text, strlen(text)) != NULL;
}

static void test_stream(void **state)
{
    struct fx *x = *state;
    char file[100];
    make_function(x, "f");
    const struct function *f = registry_get(x->registry, "f");
    (void)snprintf(file, sizeof(file), "file code/%s.zip\ndata ", f->code_sha256);
    function_unref(f);

    struct reply r = ask(x, "GET", "/bide/v1/backup", "", NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_header(&r, "Content-Type"), "application/x-bide-backup");
    dechunk(&r);
    assert_memory_equal(r.body, "bide-backup 1\nfile queue/data.mdb\ndata ", 39);
    assert_true(holds(&r, file));
    assert_true(holds(&r, "file credentials\ndata "));
    assert_true(holds(&r, FIXTURE_SECRET));
    assert_memory_equal(r.body + r.len - 1, "\n", 1);
    assert_true(holds(&r, "end 3 "));
    reply_done(&r);

    /* over the network the key stays where it is */
    r = ask_tcp(x, "GET", "/bide/v1/backup?copy=pages", NULL, FIXTURE_KEY_ID, FIXTURE_SECRET);
    assert_int_equal(r.status, 200);
    dechunk(&r);
    assert_true(holds(&r, file));
    assert_true(holds(&r, "end 2 "));
    assert_false(holds(&r, "file credentials"));
    assert_false(holds(&r, FIXTURE_SECRET));
    reply_done(&r);

    expect_fault(ask(x, "GET", "/bide/v1/backup?copy=some", "", NULL), 400, "ValidationException", "compact or pages");
    expect_fault(ask_tcp(x, "GET", "/bide/v1/backup", NULL, "", ""), 403, "MissingAuthenticationTokenException", "");
}

struct ended {
    _Atomic bool yes;
};

static void on_done(void *arg)
{
    struct ended *d = arg;
    d->yes = true;
}

static bool has_ended(void *arg)
{
    struct ended *d = arg;
    return d->yes;
}

static void test_reader_goes_away(void **state)
{
    struct fx *x = *state;
    struct ended d = {false};
    struct backup *b;
    struct err e = {0};
    char c;
    struct backup_opts o = {
        .store = x->store, .registry = x->registry, .credentials = "", .on_done = on_done, .arg = &d};
    /* More than a pipe holds, so that it cannot be done before its reader goes. */
    char *big = malloc(1 << 20);
    assert_non_null(big);
    memset(big, 'x', (1 << 20) - 1);
    big[(1 << 20) - 1] = '\0';
    o.credentials = big;
    assert_ok(backup_start(&b, &o, &e), &e);
    while (read(backup_fd(b), &c, 1) != 1)
        (void)poll(NULL, 0, 1);
    backup_stop(b);
    wait_until(has_ended, &d, TEST_PATIENCE_MS);
    assert_err(backup_result(b, &e), ERR_IO, &e, "its reader has gone");
    backup_free(b);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_stream, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_reader_goes_away, fx_setup, fx_teardown),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as bided does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
