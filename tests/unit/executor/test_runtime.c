#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fdutil.h"
#include "boxenv.h"
#include "executor.h"
#include "runtime.h"

static char dir[64];
static struct runtime r;

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/bide-test-runtime.XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return file_remove_tree(AT_FDCWD, dir);
}

static int find(const char *where, const char *name, struct runtime *ret, struct err *e)
{
    int fd = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = runtime_find(fd, name, ret, e);
    fd_close(&fd);
    return rc;
}

static int check(const char *where, const char *name, struct err *e)
{
    int fd = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = executor_runtime_check(fd, name, e);
    fd_close(&fd);
    return rc;
}

static void put(const char *name, const char *manifest)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    (void)mkdir(path, 0755);
    (void)snprintf(path, sizeof path, "%s/%s/manifest", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, manifest, strlen(manifest)), 0);
    close(fd);
}

static void patterns_and_stars(void **state)
{
    (void)state;
    struct err e = {0};
    put("a",
        "# a comment\n\nserves=lang*\n  serves = exact \ninterpreter = /usr/bin/no-such-*\ninterpreter = /usr/bin/sh\n"
        "arg = -x\narg = v*\nenv = A=b=c\nversion = lang:*\n");
    assert_int_equal(find(dir, "lang3.12", &r, &e), 0);
    assert_string_equal(r.dir, "a");
    assert_string_equal(r.name, "lang3.12");
    assert_int_equal(r.n_programs, 1);
    assert_string_equal(r.program[0], "/usr/bin/sh");
    assert_false(r.own_program);
    assert_true(r.execution_env && r.wrapper);
    assert_int_equal(r.n_args, 2);
    assert_string_equal(r.arg[1], "v3.12");
    assert_string_equal(r.env[0], "A=b=c");
    assert_string_equal(r.version, "lang:3.12");
    assert_int_equal(find(dir, "exact", &r, &e), 0);
    assert_string_equal(r.arg[1], "v");
    assert_int_equal(find(dir, "lang", &r, &e), ERR_NOTFOUND);
    assert_int_equal(find(dir, "exactly", &r, &e), ERR_NOTFOUND);
    assert_int_equal(find(dir, "../a", &r, &e), ERR_NOTFOUND);
    assert_int_equal(find(dir, "", &r, &e), ERR_NOTFOUND);
}

static void own_programs_are_all_kept(void **state)
{
    (void)state;
    struct err e = {0};
    put("p",
        "serves = p.*\nprogram = /var/task/bootstrap\nprogram = /opt/bootstrap\nexecution_env = no\nwrapper = no\n");
    assert_int_equal(find(dir, "p.al2", &r, &e), 0);
    assert_true(r.own_program);
    assert_int_equal(r.n_programs, 2);
    assert_string_equal(r.program[1], "/opt/bootstrap");
    assert_false(r.execution_env || r.wrapper);
}

static void a_bootstrap_is_in_the_folder(void **state)
{
    (void)state;
    struct err e = {0};
    char path[128];
    put("b", "serves = b\nbootstrap = boot\narg = -v\n");
    assert_int_equal(find(dir, "b", &r, &e), ERR_INVALID);
    assert_string_equal(e.text, "The runtime b cannot be run: its program b/boot is not installed.");
    (void)snprintf(path, sizeof path, "%s/b/boot", dir);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755));
    assert_int_equal(find(dir, "b", &r, &e), 0);
    assert_string_equal(r.program[0], "/var/runtime/boot");
    assert_int_equal(r.n_programs, 1);
    assert_false(r.own_program);
}

static void an_interpreter_may_be_in_a_read_only_folder(void **state)
{
    (void)state;
    struct err e = {0};
    put("o", "interpreter = /opt/no-such/bin/o\ninterpreter = /usr/bin/sh\nserves = o\nread_only = /opt/no-such\n");
    assert_int_equal(find(dir, "o", &r, &e), 0);
    assert_string_equal(r.program[0], "/usr/bin/sh");
}

static void a_missing_interpreter_says_what_to_install(void **state)
{
    (void)state;
    struct err e = {0};
    put("m", "serves = m*\ninterpreter = /usr/bin/no-such-m*\ninterpreter = /usr/local/bin/no-such\ninstall = apt-get "
             "install m\n");
    assert_int_equal(check(dir, "m1", &e), ERR_AGAIN);
    assert_string_equal(e.text, "The runtime m1 cannot be run on this host: none of /usr/bin/no-such-m1, "
                                "/usr/local/bin/no-such is there. Install it: apt-get install m.");
    assert_int_equal(check(dir, "nothing", &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "nothing"));
    assert_int_equal(check("/nonexistent", "m1", &e), ERR_IO);
}

static void wrong_manifests_name_their_line(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "serves = w\ninterpreter = /bin/sh\n",
        "serves = w\nnonsense = 1\n",
        "serves = w\njust words\n",
        "serves = w\narg =\n",
        "serves = w\narg = --x={memory:101}\n",
        "serves = w\narg = {memory:5\n",
        "serves = w\narg = {mem}\n",
        "serves = w\nbootstrap = ../b\n",
        "serves = w\nbootstrap = a/b\n",
        "serves = w\nread_only = /usr/local\n",
        "serves = w\nread_only = /etc/x\n",
        "serves = w\nread_only = /opt\n",
        "serves = w\nread_only = /opt/x/../y\n",
        "serves = w\nread_only = /opt/*\n",
        "serves = w\nread_only = relative/x\n",
        "serves = w\ninterpreter = /opt/xy/sh\nread_only = /opt/x\n",
        "serves = w\nenv = NOVALUE\n",
        "serves = w\nwrapper = maybe\n",
        "serves = w\nprogram = relative\n",
        "serves = w\nprogram = /var/task/../x\n",
        "serves = w\narg = 1\n",
        "serves = w\nprogram = /a\ninterpreter = /usr/bin/sh\n",
        "serves = w\nprogram = /a\nbootstrap = b\n",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err e = {0};
        put("w", rows[i]);
        assert_int_equal(find(dir, "w", &r, &e), ERR_INVALID);
        assert_non_null(strstr(e.text, i < 20 ? "runtime w: manifest line 2: "
                                              : "one of interpreter, program and bootstrap is wanted"));
    }
}

static void too_much_of_anything_is_refused(void **state)
{
    (void)state;
    struct err e = {0};
    char text[MANIFEST_MAX + 512];
    size_t n = (size_t)snprintf(text, sizeof text, "serves = w\nprogram = /p\n");
    for (int i = 0; i <= RUNTIME_ARGS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "arg = %d\n", i);
    put("w", text);
    assert_int_equal(find(dir, "w", &r, &e), ERR_INVALID);
    memset(text, '#', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    put("w", text);
    assert_int_equal(find(dir, "w", &r, &e), ERR_TOOBIG);
}

static void arguments_follow_the_memory(void **state)
{
    (void)state;
    char out[32];
    runtime_arg("--old={memory:90}", 128, out, sizeof out);
    assert_string_equal(out, "--old=115");
    runtime_arg("{memory:100}/{memory:1}", 10240, out, sizeof out);
    assert_string_equal(out, "10240/102");
    runtime_arg("plain", 128, out, sizeof out);
    assert_string_equal(out, "plain");
    runtime_arg("xx{memory:100}", 10240, out, 5);
    assert_string_equal(out, "xx10");
}

/* The ones that are shipped. */
static void shipped_manifests_are_right(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(find(BIDE_RUNTIMES, "provided.al2023", &r, &e), 0);
    assert_string_equal(r.program[0], "/var/task/bootstrap");
    assert_string_equal(r.program[1], "/opt/bootstrap");
    assert_int_equal(find(BIDE_RUNTIMES, "python3.12", &r, &e), 0);
    assert_string_equal(r.arg[r.n_args - 1], "/var/runtime/bootstrap.py");
    assert_string_equal(r.version, "python:3.12");
    assert_int_equal(find(BIDE_RUNTIMES, "fortran77", &r, &e), ERR_NOTFOUND);
    int rc = find(BIDE_RUNTIMES, "nodejs22.x", &r, &e);
    if (rc == ERR_AGAIN) /* no Node.js on this host */
        assert_non_null(strstr(e.text, "none of /usr/bin/node-22, "));
    else
        assert_int_equal(rc, 0);
    assert_string_equal(r.arg[0], "--max-old-space-size={memory:90}");
    assert_string_equal(r.version, "nodejs:22");
}

static void the_environment_has_a_ceiling(void **state)
{
    (void)state;
    struct err e = {0};
    struct boxenv env;
    static char big[BOXENV_TEXT_MAX];
    const char *keys[EXECUTOR_ENV_MAX], *values[EXECUTOR_ENV_MAX];
    memset(big, 'x', sizeof big - 1);
    keys[0] = "BIG";
    values[0] = big;
    struct executor_spec s = {.function_name = "f",
                              .version = "1",
                              .handler = "h",
                              .region = "eu",
                              .access_key_id = "AK",
                              .secret_access_key = "SK",
                              .session_token = "ST",
                              .env_keys = keys,
                              .env_values = values,
                              .n_env = 1,
                              .memory_mb = 128};
    put("p", "serves = p\nprogram = /p\nenv = PYTHONPATH=/var/runtime\nexecution_env = no\n");
    assert_int_equal(find(dir, "p", &r, &e), 0);
    assert_int_equal(boxenv_build(&env, &s, &r, 0, &e), ERR_TOOBIG);
    boxenv_done(&env);
    values[0] = "small";
    assert_int_equal(boxenv_build(&env, &s, &r, 86400000, &e), 0);
    assert_string_equal(boxenv_get(&env, "BIG"), "small");
    assert_string_equal(boxenv_get(&env, "AWS_ACCESS_KEY_ID"), "AK");
    assert_string_equal(boxenv_get(&env, "AWS_SESSION_TOKEN"), "ST");
    assert_string_equal(boxenv_get(&env, "PYTHONPATH"), "/var/runtime");
    assert_null(boxenv_get(&env, "AWS_EXECUTION_ENV"));
    assert_memory_equal(boxenv_get(&env, "AWS_LAMBDA_LOG_STREAM_NAME"), "1970/01/02/[1]", 14);
    assert_int_equal(strlen(boxenv_get(&env, "AWS_LAMBDA_LOG_STREAM_NAME")), 14 + 32);
    boxenv_done(&env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(patterns_and_stars, setup, teardown),
        cmocka_unit_test_setup_teardown(own_programs_are_all_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bootstrap_is_in_the_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(an_interpreter_may_be_in_a_read_only_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_interpreter_says_what_to_install, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_manifests_name_their_line, setup, teardown),
        cmocka_unit_test_setup_teardown(too_much_of_anything_is_refused, setup, teardown),
        cmocka_unit_test(arguments_follow_the_memory),
        cmocka_unit_test(shipped_manifests_are_right),
        cmocka_unit_test_setup_teardown(the_environment_has_a_ceiling, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
