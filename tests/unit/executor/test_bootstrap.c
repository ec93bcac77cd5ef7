/* Our Python runtime against the real Runtime API, outside of any box: both ends of one wire. */
#include "testutil.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/fdutil.h"
#include "rig.h"

static struct rig g;
static struct rig_box b;
static pid_t runtime;

static const char handler[] = "import os, sys\n"
                              "def h(event, context):\n"
                              "    print('doing', event['do'])\n"
                              "    if event['do'] == 'raise':\n"
                              "        raise ValueError('no')\n"
                              "    if event['do'] == 'big':\n"
                              "        return 'x' * (7 << 20)\n"
                              "    if event['do'] == 'exit':\n"
                              "        sys.exit(4)\n"
                              "    return [context.aws_request_id, context.client_context.custom]\n";

static _Noreturn void be_runtime(const struct proto_start *s)
{
    char api[64], task[96];
    const char *env[PROTO_ENV_MAX + 3], *argv[PROTO_ARGV_MAX + 1];
    size_t n = 0;
    (void)snprintf(api, sizeof api, "AWS_LAMBDA_RUNTIME_API=127.0.0.1:%d", b.port);
    (void)snprintf(task, sizeof task, "LAMBDA_TASK_ROOT=%s", g.dir);
    for (size_t i = 0; i < s->n_env; i++)
        if (strncmp(s->env[i], "LAMBDA_TASK_ROOT=", 17) != 0)
            env[n++] = s->env[i];
    env[n++] = api;
    env[n++] = task;
    env[n] = NULL;
    for (size_t i = 0; i < s->n_argv; i++)
        argv[i] =
            strcmp(s->argv[i], "/var/runtime/bootstrap.py") == 0 ? BIDE_RUNTIMES "/python3/bootstrap.py" : s->argv[i];
    argv[s->n_argv] = NULL;
    if (dup2(b.log, 1) == 1 && dup2(b.log, 2) == 2)
        (void)execve(argv[0], (char *const *)argv, (char *const *)env);
    _exit(127);
}

static int setup(void **state)
{
    (void)state;
    char link[96], app[96];
    rig_open(&g, 0, 0, 0);
    (void)snprintf(link, sizeof link, "%s/python3", g.dir);
    assert_int_equal(symlink(BIDE_RUNTIMES "/python3", link), 0);
    (void)snprintf(app, sizeof app, "%s/app.py", g.dir);
    int fd = open(app, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(fd_write_all(fd, handler, sizeof handler - 1), 0);
    close(fd);
    rig_start(&g, 1, "python3.12", 60000);
    const struct proto_start *s = &rig_expect(&g, PROTO_START, 1)->u.start;
    rig_started(&g, &b, 1);
    runtime = fork();
    if (runtime == 0)
        be_runtime(s);
    assert_true(runtime > 0);
    (void)rig_event(&g, RIG_READY, 1);
    (void)rig_expect(&g, PROTO_READY, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (runtime > 0) {
        (void)kill(runtime, SIGKILL);
        (void)waitpid(runtime, NULL, 0);
    }
    rig_box_close(&b);
    rig_close(&g);
    return 0;
}

static struct rig_event invoke(const char *payload, enum executor_end end)
{
    rig_invoke(&g, 1, "11111111-1111-7111-8111-111111111111", payload);
    struct rig_event ev = rig_event(&g, RIG_RESULT, 1);
    if (ev.r.end != end)
        print_error("%s\n%s\n", (const char *)ev.r.body, ev.r.log_tail);
    assert_int_equal(ev.r.end, end);
    return ev;
}

static void events_one_after_the_other(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct rig_event ev = invoke("{\"do\":\"answer\"}", EXECUTOR_OK);
        assert_string_equal(ev.r.body, "[\"11111111-1111-7111-8111-111111111111\", 1]");
        assert_non_null(strstr(ev.r.log_tail, "Version: $LATEST\ndoing answer\nEND RequestId: "));
        rig_event_done(&ev);
        (void)rig_event(&g, RIG_READY, 1);
    }
}

static void errors_and_refusals_are_survived(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct rig_event ev = invoke("{\"do\":\"raise\"}", EXECUTOR_FN_ERROR);
        assert_string_equal(ev.r.error_type, "ValueError");
        assert_string_equal(ev.r.error_message, "no");
        assert_non_null(strstr(ev.r.log_tail, "[ERROR] ValueError: no\nTraceback (most recent call last):\n"));
        rig_event_done(&ev);
        (void)rig_event(&g, RIG_READY, 1);
        ev = invoke("{\"do\":\"big\"}", EXECUTOR_FN_ERROR);
        assert_string_equal(ev.r.error_type, "Function.ResponseSizeTooLarge");
        rig_event_done(&ev);
        (void)rig_event(&g, RIG_READY, 1);
    }
}

static void an_exit_is_not_an_answer(void **state)
{
    (void)state;
    int status;
    rig_invoke(&g, 1, "11111111-1111-7111-8111-111111111111", "{\"do\":\"exit\"}");
    assert_int_equal(waitpid(runtime, &status, 0), runtime);
    runtime = 0;
    assert_int_equal(WEXITSTATUS(status), 4);
    rig_exited(&g, 1, 0, WEXITSTATUS(status), 0, false);
    struct rig_event ev = rig_event(&g, RIG_RESULT, 1);
    assert_int_equal(ev.r.end, EXECUTOR_EXITED);
    assert_non_null(strstr(ev.r.error_message, "exit status 4"));
    rig_event_done(&ev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(events_one_after_the_other, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_and_refusals_are_survived, setup, teardown),
        cmocka_unit_test_setup_teardown(an_exit_is_not_an_answer, setup, teardown),
    };
    struct err e;
    loop_global_init();
    int fd = open(BIDE_RUNTIMES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = executor_runtime_check(fd, "python3.12", &e);
    fd_close(&fd);
    if (rc < 0) {
        print_message("skipped: %s\n", e.text);
        return test_must_run() ? 1 : 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
