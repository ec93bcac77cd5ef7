/* The engine's side as a whole, against a scripted executor process: each way a worker can live and die. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"

static struct rig g;

#define ID1 "11111111-1111-7111-8111-111111111111"
#define ID2 "22222222-2222-7222-8222-222222222222"

static int teardown(void **state)
{
    (void)state;
    rig_close(&g);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    rig_open(&g, 0, 0, 0);
    return 0;
}

static int setup_quick_freeze(void **state)
{
    (void)state;
    rig_open(&g, 1, 0, 0);
    return 0;
}

static int setup_quick_reset(void **state)
{
    (void)state;
    rig_open(&g, 0, 0, 30);
    return 0;
}

static int setup_quick_init(void **state)
{
    (void)state;
    rig_open(&g, 0, 30, 0);
    return 0;
}

/* The result of worker 1 must end so, with this body. */
static struct rig_event result(enum executor_end end, const char *body)
{
    struct rig_event ev = rig_event(&g, RIG_RESULT, 1);
    assert_int_equal(ev.r.end, end);
    assert_int_equal(ev.r.token, g.next_token);
    assert_string_equal(ev.r.body, body);
    assert_false(ev.r.usable_now);
    return ev;
}

static void end_box(struct rig_box *b, uint64_t id)
{
    (void)rig_expect(&g, PROTO_STOP, id);
    rig_dead(&g, id, false);
    (void)rig_event(&g, RIG_GONE, id);
    rig_box_close(b);
}

static void env_is(const struct proto_start *s, const char *want)
{
    size_t found = 0, len = strcspn(want, "=") + 1;
    for (size_t i = 0; i < s->n_env; i++)
        if (strncmp(s->env[i], want, len) == 0) {
            assert_string_equal(s->env[i], want);
            found++;
        }
    assert_int_equal(found, 1);
}

static void a_start_says_everything(void **state)
{
    (void)state;
    rig_start(&g, 1, "sh1", 3000);
    const struct proto_start *s = &rig_expect(&g, PROTO_START, 1)->u.start;
    assert_string_equal(s->runtime_dir, "sh");
    assert_string_equal(s->role, "default");
    assert_int_equal(s->memory_mb, 128);
    assert_int_equal(s->tmp_mb, 512);
    assert_true(s->cpu_boost);
    assert_int_equal(s->n_argv, 2);
    assert_string_equal(s->argv[0], "/usr/bin/sh");
    assert_string_equal(s->argv[1], "/var/runtime/bootstrap");
    env_is(s, "_HANDLER=app.h");
    env_is(s, "AWS_LAMBDA_FUNCTION_NAME=f");
    env_is(s, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128");
    env_is(s, "AWS_LAMBDA_FUNCTION_VERSION=$LATEST");
    env_is(s, "AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/f");
    env_is(s, "AWS_EXECUTION_ENV=AWS_Lambda_sh1");
    env_is(s, "LANG=en_US.UTF-8");
    env_is(s, "GREETING=hello");
    env_is(s, "TZ=Mars/Base");         /* not reserved: the user's */
    env_is(s, "AWS_REGION=us-east-1"); /* reserved: ours */
    assert_int_equal(rig_workers(&g), 1);
    rig_send(&g, &(struct proto_msg){.type = PROTO_START_FAILED, .worker = 1, .u.failed = {"mount", 13, "no"}});
    struct rig_event ev = rig_event(&g, RIG_START_FAILED, 1);
    assert_string_equal(ev.why, "mount: no");
    assert_int_equal(rig_workers(&g), 0);
}

static void an_unknown_runtime_fails_to_start(void **state)
{
    (void)state;
    rig_start(&g, 1, "cobol85", 3000);
    struct rig_event ev = rig_event(&g, RIG_START_FAILED, 1);
    assert_non_null(strstr(ev.why, "cobol85"));
    assert_int_equal(rig_workers(&g), 0);
}

/* Out of descriptors: one start has failed, and the executor process is not lost. */
static void a_start_whose_descriptors_do_not_arrive_has_failed(void **state)
{
    (void)state;
    struct rig_box b;
    rig_start(&g, 1, "sh1", 3000);
    (void)rig_expect(&g, PROTO_START, 1);
    rig_started_cut(&g, 1);
    struct rig_event ev = rig_event(&g, RIG_START_FAILED, 1);
    assert_non_null(strstr(ev.why, "too many open files"));
    (void)rig_expect(&g, PROTO_STOP, 1);
    assert_int_equal(rig_workers(&g), 0);
    rig_dead(&g, 1, false);
    rig_ready(&g, &b, 2, 3000);
    rig_stop(&g, 2);
    end_box(&b, 2);
}

static void a_response_is_a_result_and_the_worker_is_ready_again(void **state)
{
    (void)state;
    struct rig_box b;
    rig_ready(&g, &b, 1, 3000);
    for (int i = 0; i < 3; i++) {
        rig_invoke(&g, 1, ID1, "{\"a\":1}");
        rig_work(&b, ID1, "{\"a\":1}");
        assert_int_equal(write(b.log, "said\n", 5), 5);
        struct rig_reply r;
        assert_int_equal(rig_post(&b, "invocation/" ID1 "/response", "", "not json", 8, &r), 202);
        assert_string_equal(r.body.data, "{\"status\":\"OK\"}");
        rig_reply_done(&r);
        struct rig_event ev = result(EXECUTOR_OK, "not json");
        assert_true(ev.r.worker_survives);
        assert_ptr_equal(strstr(ev.r.log_tail, "START RequestId: " ID1 " Version: $LATEST\nsaid\nEND RequestId: " ID1
                                               "\nREPORT RequestId: " ID1 "\tDuration: "),
                         ev.r.log_tail);
        assert_non_null(strstr(ev.r.log_tail, "\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t"));
        assert_int_equal(strstr(ev.r.log_tail, "\tInit Duration: ") != NULL, i == 0);
        assert_string_equal(ev.r.log_tail + ev.r.log_tail_len - 2, "\t\n");
        rig_event_done(&ev);
        rig_next(&b);
        (void)rig_event(&g, RIG_READY, 1);
    }
    rig_stop(&g, 1);
    end_box(&b, 1);
}

static void an_error_is_passed_on_verbatim(void **state)
{
    (void)state;
    struct rig_box b;
    static const char body[] = "{\"errorMessage\":\"b\\u00e4d \\\"x\\\"\", \"errorType\":\"E\",\"stackTrace\":[1]}";
    rig_ready(&g, &b, 1, 3000);
    rig_invoke(&g, 1, ID1, "{}");
    rig_work(&b, ID1, "{}");
    assert_int_equal(rig_post(&b, "invocation/" ID1 "/error", "", body, sizeof body - 1, NULL), 202);
    struct rig_event ev = result(EXECUTOR_FN_ERROR, body);
    assert_string_equal(ev.r.error_type, "E");
    assert_string_equal(ev.r.error_message, "b\xc3\xa4"
                                            "d \"x\"");
    assert_false(ev.r.platform_made);
    rig_event_done(&ev);
    rig_next(&b);
    (void)rig_event(&g, RIG_READY, 1);
    rig_invoke(&g, 1, ID2, "{}");
    rig_work(&b, ID2, "{}");
    assert_int_equal(
        rig_post(&b, "invocation/" ID2 "/error", "Lambda-Runtime-Function-Error-Type: My.Type\r\n", "?", 1, NULL), 202);
    ev = result(EXECUTOR_FN_ERROR, "{\"errorType\":\"My.Type\"}");
    rig_event_done(&ev);
    rig_stop(&g, 1);
    end_box(&b, 1);
}

static void a_timeout_answers_and_resets(void **state)
{
    (void)state;
    struct rig_box b;
    rig_ready(&g, &b, 1, 2000);
    rig_invoke(&g, 1, ID1, "{}");
    rig_work(&b, ID1, "{}");
    (void)rig_expect(&g, PROTO_RESET, 1);
    struct rig_event ev =
        result(EXECUTOR_TIMEOUT, "{\"errorType\":\"Sandbox.Timedout\",\"errorMessage\":\"RequestId: " ID1
                                 " Error: Task timed out after 2.00 seconds\"}");
    assert_true(ev.r.worker_survives);
    assert_true(ev.r.duration_ms >= 1999);
    assert_non_null(strstr(ev.r.log_tail, "Z " ID1 " Task timed out after 2.00 seconds\nEND RequestId: " ID1 "\n"));
    assert_string_equal(ev.r.log_tail + ev.r.log_tail_len - 17, "\tStatus: timeout\n");
    rig_event_done(&ev);
    rig_reset_done(&g, 1);
    rig_disconnect(&b); /* the old runtime */
    rig_next(&b);
    (void)rig_event(&g, RIG_READY, 1);
    (void)rig_expect(&g, PROTO_READY, 1);
    rig_invoke(&g, 1, ID2, "{}");
    rig_work(&b, ID2, "{}");
    assert_int_equal(rig_post(&b, "invocation/" ID1 "/response", "", "late", 4, NULL), 400);
    assert_int_equal(rig_post(&b, "invocation/" ID2 "/response", "", "2", 1, NULL), 202);
    ev = result(EXECUTOR_OK, "2");
    rig_event_done(&ev);
    rig_stop(&g, 1);
    end_box(&b, 1);
}

/* A small runtime asks for work before the executor process's word of it is read. */
static void a_runtime_may_be_quicker_than_the_news_of_its_reset(void **state)
{
    (void)state;
    static const char ping[] = "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n";
    struct rig_box b, other;
    struct rig_reply r;
    rig_ready(&g, &b, 1, 1000);
    rig_invoke(&g, 1, ID1, "{}");
    (void)rig_expect(&g, PROTO_RESET, 1);
    struct rig_event ev = rig_event(&g, RIG_RESULT, 1);
    rig_event_done(&ev);
    rig_disconnect(&b);
    rig_next(&b);
    other = b;
    other.conn = -1;
    rig_write(&other, ping, sizeof ping - 1); /* once it is answered, the request for work has been read */
    rig_read(&other, &r);
    assert_int_equal(r.status, 200);
    rig_reply_done(&r);
    rig_disconnect(&other);
    rig_reset_done(&g, 1);
    (void)rig_event(&g, RIG_READY, 1);
    (void)rig_expect(&g, PROTO_READY, 1);
    rig_invoke(&g, 1, ID2, "{}");
    rig_work(&b, ID2, "{}");
    rig_stop(&g, 1);
    ev = rig_event(&g, RIG_RESULT, 1);
    rig_event_done(&ev);
    end_box(&b, 1);
}

static void a_slow_reset_ends_the_box(void **state)
{
    (void)state;
    struct rig_box b;
    rig_ready(&g, &b, 1, 1000);
    rig_invoke(&g, 1, ID1, "{}");
    (void)rig_expect(&g, PROTO_RESET, 1);
    struct rig_event ev = rig_event(&g, RIG_RESULT, 1);
    rig_event_done(&ev);
    end_box(&b, 1); /* STOP comes by itself */
}

struct exit_row {
    int code, sig;
    const char *text;
};

static void an_exit_is_worded_as_lambda_does(void **state)
{
    (void)state;
    static const struct exit_row rows[] = {
        {0, 0, "Runtime exited without providing a reason"},
        {3, 0, "Runtime exited with error: exit status 3"},
        {-1, SIGKILL, "Runtime exited with error: signal: killed"},
        {-1, SIGSEGV, "Runtime exited with error: signal: segmentation fault"},
        {-1, SIGABRT, "Runtime exited with error: signal: aborted"},
    };
    struct rig_box b;
    rig_ready(&g, &b, 1, 60000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[256];
        rig_invoke(&g, 1, ID1, "{}");
        rig_work(&b, ID1, "{}");
        rig_disconnect(&b);
        rig_exited(&g, 1, 0, rows[i].code, rows[i].sig, false);
        (void)rig_expect(&g, PROTO_RESET, 1);
        (void)snprintf(body, sizeof body,
                       "{\"errorType\":\"Runtime.ExitError\",\"errorMessage\":\"RequestId: " ID1 " Error: %s\"}",
                       rows[i].text);
        struct rig_event ev = result(EXECUTOR_EXITED, body);
        assert_int_equal(ev.r.exit_code, rows[i].code);
        assert_int_equal(ev.r.signal, rows[i].sig);
        assert_true(ev.r.worker_survives);
        assert_non_null(strstr(ev.r.log_tail, "\tStatus: error\tError Type: Runtime.ExitError\n"));
        rig_event_done(&ev);
        rig_reset_done(&g, 1);
        rig_next(&b);
        (void)rig_event(&g, RIG_READY, 1);
        (void)rig_expect(&g, PROTO_READY, 1);
    }
    rig_stop(&g, 1);
    end_box(&b, 1);
}

/* The answer was sent before the exit; the news of the exit came first. */
static void last_words_count(void **state)
{
    (void)state;
    struct rig_box b;
    rig_ready(&g, &b, 1, 60000);
    rig_invoke(&g, 1, ID1, "{}");
    rig_work(&b, ID1, "{}");
    static const char rq[] =
        "POST /2018-06-01/runtime/invocation/" ID1 "/response HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nlast";
    rig_write(&b, rq, sizeof rq - 1);
    rig_exited(&g, 1, 0, 0, 0, false);
    struct rig_event ev = result(EXECUTOR_OK, "last");
    rig_event_done(&ev);
    (void)rig_expect(&g, PROTO_RESET, 1);
    rig_stop(&g, 1);
    end_box(&b, 1);
}

static void out_of_memory_ends_the_box(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 2; id++) {
        struct rig_box b;
        rig_ready(&g, &b, id, 60000);
        rig_invoke(&g, id, ID1, "{}");
        rig_work(&b, ID1, "{}");
        if (id == 1)
            rig_exited(&g, id, 0, -1, SIGKILL, true);
        else
            rig_dead(&g, id, true);
        struct rig_event ev = rig_event(&g, RIG_RESULT, id);
        assert_int_equal(ev.r.end, EXECUTOR_OUT_OF_MEMORY);
        assert_string_equal(ev.r.body, "{\"errorType\":\"Runtime.ExitError\",\"errorMessage\":\"RequestId: " ID1
                                       " Error: Runtime exited with error: signal: killed\"}");
        assert_non_null(strstr(ev.r.log_tail, "\tStatus: error\tError Type: Runtime.OutOfMemory\n"));
        assert_false(ev.r.worker_survives);
        rig_event_done(&ev);
        (void)rig_expect(&g, PROTO_STOP, id);
        if (id == 1)
            rig_dead(&g, id, true);
        (void)rig_event(&g, RIG_GONE, id);
        rig_box_close(&b);
    }
}

static void a_lost_box_or_a_stop_is_a_disruption(void **state)
{
    (void)state;
    struct rig_box b;
    rig_ready(&g, &b, 1, 60000);
    rig_invoke(&g, 1, ID1, "{}");
    rig_work(&b, ID1, "{}");
    rig_dead(&g, 1, false);
    struct rig_event ev = result(EXECUTOR_DISRUPTED, "");
    assert_false(ev.r.worker_survives);
    rig_event_done(&ev);
    (void)rig_event(&g, RIG_GONE, 1);
    rig_box_close(&b);
    rig_ready(&g, &b, 2, 60000);
    rig_invoke(&g, 2, ID1, "{}");
    rig_work(&b, ID1, "{}");
    rig_stop(&g, 2);
    ev = rig_event(&g, RIG_RESULT, 2);
    assert_int_equal(ev.r.end, EXECUTOR_DISRUPTED);
    rig_event_done(&ev);
    end_box(&b, 2);
}

static void idle_workers_are_frozen_and_thawed(void **state)
{
    (void)state;
    struct rig_box b;
    rig_ready(&g, &b, 1, 60000);
    (void)rig_expect(&g, PROTO_FREEZE, 1);
    rig_invoke(&g, 1, ID1, "{}");
    (void)rig_expect(&g, PROTO_THAW, 1);
    rig_work(&b, ID1, "{}");
    assert_int_equal(rig_post(&b, "invocation/" ID1 "/response", "", "1", 1, NULL), 202);
    struct rig_event ev = result(EXECUTOR_OK, "1");
    rig_event_done(&ev);
    rig_next(&b);
    (void)rig_event(&g, RIG_READY, 1);
    (void)rig_expect(&g, PROTO_FREEZE, 1);
    rig_stop(&g, 1);
    end_box(&b, 1);
}

/* early: the second runtime has failed before the news came that it runs. */
static void init_fails(bool early)
{
    struct rig_box b;
    static const char body[] =
        "{\"errorMessage\":\"no x\",\"errorType\":\"Runtime.ImportModuleError\",\"requestId\":\"\"}";
    rig_start(&g, 1, "own.x", 3000);
    (void)rig_expect(&g, PROTO_START, 1);
    rig_started(&g, &b, 1);
    for (int run = 0; run < 2; run++) {
        assert_int_equal(write(b.log, "oops\n", 5), 5);
        assert_int_equal(rig_post(&b, "init/error", "", body, sizeof body - 1, NULL), 202);
        if (run == 1 && early)
            rig_reset_done(&g, 1);
        rig_exited(&g, 1, 0, 1, 0, false);
        (void)rig_expect(&g, run == 0 ? PROTO_RESET : PROTO_STOP, 1);
        if (run == 0 && !early)
            rig_reset_done(&g, 1);
        rig_disconnect(&b);
    }
    struct rig_event ev = rig_event(&g, RIG_INIT_FAILED, 1);
    assert_int_equal(ev.r.end, EXECUTOR_INIT_ERROR);
    assert_string_equal(ev.r.body, body);
    assert_string_equal(ev.r.error_type, "Runtime.ImportModuleError");
    assert_string_equal(ev.r.error_message, "no x");
    assert_int_equal(ev.r.token, 0);
    assert_ptr_equal(strstr(ev.r.log_tail,
                            "INIT_START Runtime Version: own:x\tRuntime Version ARN: arn:aws:lambda:us-east-1::"
                            "runtime:"),
                     ev.r.log_tail);
    assert_non_null(strstr(ev.r.log_tail, "\nINIT_REPORT Init Duration: "));
    assert_non_null(strstr(ev.r.log_tail, " ms\tPhase: init\tStatus: error\tError Type: Runtime.ImportModuleError\n"));
    assert_non_null(strstr(ev.r.log_tail, "oops\n"));
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(executor_init_body(&ev.r, ID1, &out), 0);
    assert_string_equal(out.data, body);
    buf_done(&out);
    rig_event_done(&ev);
    rig_dead(&g, 1, false);
    (void)rig_event(&g, RIG_GONE, 1);
    rig_box_close(&b);
}

static void init_error_is_run_again_and_then_reported(void **state)
{
    (void)state;
    init_fails(false);
}

static void init_error_before_the_news_of_the_reset(void **state)
{
    (void)state;
    init_fails(true);
}

static void an_exit_in_init_names_the_request_later(void **state)
{
    (void)state;
    struct rig_box b;
    rig_start(&g, 1, "own.x", 3000);
    (void)rig_expect(&g, PROTO_START, 1);
    rig_started(&g, &b, 1);
    rig_exited(&g, 1, 0, 7, 0, false);
    (void)rig_expect(&g, PROTO_RESET, 1);
    rig_reset_done(&g, 1);
    rig_exited(&g, 1, 0, 7, 0, false);
    (void)rig_expect(&g, PROTO_STOP, 1);
    struct rig_event ev = rig_event(&g, RIG_INIT_FAILED, 1);
    assert_int_equal(ev.r.end, EXECUTOR_INIT_ERROR);
    assert_int_equal(ev.r.exit_code, 7);
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(executor_init_body(&ev.r, ID1, &out), 0);
    assert_string_equal(out.data, "{\"errorType\":\"Runtime.ExitError\",\"errorMessage\":\"RequestId: " ID1
                                  " Error: Runtime exited with error: exit status 7\"}");
    buf_done(&out);
    rig_event_done(&ev);
    rig_dead(&g, 1, false);
    (void)rig_event(&g, RIG_GONE, 1);
    rig_box_close(&b);
}

static void a_late_init_is_repeated_with_the_time_limit(void **state)
{
    (void)state;
    struct rig_box b;
    rig_start(&g, 1, "own.x", 1500);
    (void)rig_expect(&g, PROTO_START, 1);
    rig_started(&g, &b, 1);
    (void)rig_expect(&g, PROTO_RESET, 1);
    rig_reset_done(&g, 1);
    (void)rig_expect(&g, PROTO_STOP, 1);
    struct rig_event ev = rig_event(&g, RIG_INIT_FAILED, 1);
    assert_int_equal(ev.r.end, EXECUTOR_INIT_ERROR);
    assert_string_equal(ev.r.error_type, "Sandbox.Timedout");
    assert_string_equal(ev.r.error_message, "Error: Task timed out after 1.50 seconds");
    assert_true(ev.r.duration_ms >= 1499);
    rig_event_done(&ev);
    rig_dead(&g, 1, false);
    (void)rig_event(&g, RIG_GONE, 1);
    rig_box_close(&b);
}

static void bootstraps_are_looked_for_in_two_places(void **state)
{
    (void)state;
    struct rig_box b;
    rig_start(&g, 1, "own.x", 3000);
    assert_string_equal(rig_expect(&g, PROTO_START, 1)->u.start.argv[0], "/var/task/bootstrap");
    rig_started(&g, &b, 1);
    rig_exited(&g, 1, ENOENT, -1, 0, false);
    (void)rig_expect(&g, PROTO_STOP, 1);
    rig_dead(&g, 1, false);
    rig_box_close(&b);
    assert_string_equal(rig_expect(&g, PROTO_START, 1)->u.start.argv[0], "/opt/bootstrap");
    rig_started(&g, &b, 1);
    rig_exited(&g, 1, ENOENT, -1, 0, false);
    (void)rig_expect(&g, PROTO_STOP, 1);
    struct rig_event ev = rig_event(&g, RIG_INIT_FAILED, 1);
    assert_string_equal(ev.r.error_type, "Runtime.InvalidEntrypoint");
    assert_string_equal(ev.r.error_message,
                        "Error: Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]");
    rig_event_done(&ev);
    rig_dead(&g, 1, false);
    (void)rig_event(&g, RIG_GONE, 1);
    rig_box_close(&b);
}

static void an_interpreter_that_is_gone_is_the_hosts_fault(void **state)
{
    (void)state;
    struct rig_box b;
    rig_start(&g, 1, "sh1", 3000);
    (void)rig_expect(&g, PROTO_START, 1);
    rig_started(&g, &b, 1);
    rig_exited(&g, 1, ENOENT, -1, 0, false);
    struct rig_event ev = rig_event(&g, RIG_START_FAILED, 1);
    assert_non_null(strstr(ev.why, "/usr/bin/sh"));
    (void)rig_expect(&g, PROTO_STOP, 1);
    assert_int_equal(rig_workers(&g), 0);
    rig_dead(&g, 1, false);
    rig_box_close(&b);
}

static void an_idle_exit_is_revived_once_it_has_served(void **state)
{
    (void)state;
    struct rig_box b;
    rig_ready(&g, &b, 1, 60000);
    rig_invoke(&g, 1, ID1, "{}");
    rig_work(&b, ID1, "{}");
    assert_int_equal(rig_post(&b, "invocation/" ID1 "/response", "", "1", 1, NULL), 202);
    struct rig_event ev = result(EXECUTOR_OK, "1");
    rig_event_done(&ev);
    rig_next(&b);
    (void)rig_event(&g, RIG_READY, 1);
    rig_disconnect(&b);
    rig_exited(&g, 1, 0, 0, 0, false);
    (void)rig_expect(&g, PROTO_RESET, 1);
    rig_invoke(&g, 1, ID2, "{\"held\":true}"); /* the dispatcher knows nothing of it */
    rig_reset_done(&g, 1);
    rig_next(&b);
    rig_work(&b, ID2, "{\"held\":true}");
    (void)rig_expect(&g, PROTO_READY, 1);
    assert_int_equal(rig_post(&b, "invocation/" ID2 "/response", "", "2", 1, NULL), 202);
    ev = result(EXECUTOR_OK, "2");
    rig_event_done(&ev);
    rig_stop(&g, 1);
    end_box(&b, 1);
}

static void an_idle_exit_before_any_work_ends_the_box(void **state)
{
    (void)state;
    struct rig_box b;
    rig_ready(&g, &b, 1, 60000);
    rig_exited(&g, 1, 0, 0, 0, false);
    (void)rig_expect(&g, PROTO_STOP, 1);
    rig_invoke(&g, 1, ID1, "{}"); /* crosses it: it ends disrupted, when the box is gone */
    rig_dead(&g, 1, false);
    struct rig_event ev = result(EXECUTOR_DISRUPTED, "");
    rig_event_done(&ev);
    (void)rig_event(&g, RIG_GONE, 1);
    rig_box_close(&b);
}

static void a_stop_in_every_early_state(void **state)
{
    (void)state;
    struct rig_box b;
    rig_start(&g, 1, "own.x", 3000);
    (void)rig_expect(&g, PROTO_START, 1);
    rig_stop(&g, 1); /* starting; STARTED crosses */
    (void)rig_expect(&g, PROTO_STOP, 1);
    rig_started(&g, &b, 1);
    rig_dead(&g, 1, false);
    (void)rig_event(&g, RIG_GONE, 1);
    rig_box_close(&b);
    rig_start(&g, 2, "own.x", 3000);
    (void)rig_expect(&g, PROTO_START, 2);
    rig_stop(&g, 2);
    (void)rig_expect(&g, PROTO_STOP, 2);
    rig_send(&g, &(struct proto_msg){.type = PROTO_START_FAILED, .worker = 2, .u.failed = {"stop", 0, "stopped"}});
    (void)rig_event(&g, RIG_GONE, 2);
    rig_start(&g, 3, "own.x", 3000);
    (void)rig_expect(&g, PROTO_START, 3);
    rig_started(&g, &b, 3);
    rig_stop(&g, 3);
    end_box(&b, 3);
    rig_stop(&g, 99); /* unknown: ignored */
    assert_int_equal(rig_workers(&g), 0);
}

static void a_box_lost_in_init_is_no_fault_of_the_function(void **state)
{
    (void)state;
    struct rig_box b;
    rig_start(&g, 1, "own.x", 3000);
    (void)rig_expect(&g, PROTO_START, 1);
    rig_started(&g, &b, 1);
    rig_dead(&g, 1, false);
    (void)rig_event(&g, RIG_START_FAILED, 1);
    assert_int_equal(rig_workers(&g), 0);
    rig_box_close(&b);
}

static void degradations_are_kept_and_a_lost_process_is_told(void **state)
{
    (void)state;
    static const char *const degraded[] = {"no memory limit", "no freezer"};
    const char *const *got = NULL;
    rig_send(&g, &(struct proto_msg){.type = PROTO_HELLO,
                                     .u.hello = {.version = PROTO_VERSION,
                                                 .limits = "none",
                                                 .sandbox = "relaxed",
                                                 .degraded = degraded,
                                                 .n_degraded = 2}});
    close(g.sock);
    g.sock = -1;
    (void)rig_event(&g, RIG_LOST, 0);
    assert_int_equal(executor_degradations(g.x, &got), 2);
    assert_string_equal(got[1], "no freezer");
}

static void garbage_from_the_executor_process_is_a_loss(void **state)
{
    (void)state;
    assert_int_equal(write(g.sock, "\xc1", 1), 1);
    (void)rig_event(&g, RIG_LOST, 0);
}

#define ROW(f_)        cmocka_unit_test_setup_teardown(f_, setup, teardown)
#define ROW_AT(f_, s_) cmocka_unit_test_setup_teardown(f_, s_, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(a_start_says_everything),
        ROW(an_unknown_runtime_fails_to_start),
        ROW(a_start_whose_descriptors_do_not_arrive_has_failed),
        ROW(a_response_is_a_result_and_the_worker_is_ready_again),
        ROW(an_error_is_passed_on_verbatim),
        ROW(a_timeout_answers_and_resets),
        ROW(a_runtime_may_be_quicker_than_the_news_of_its_reset),
        ROW_AT(a_slow_reset_ends_the_box, setup_quick_reset),
        ROW(an_exit_is_worded_as_lambda_does),
        ROW(last_words_count),
        ROW(out_of_memory_ends_the_box),
        ROW(a_lost_box_or_a_stop_is_a_disruption),
        ROW_AT(idle_workers_are_frozen_and_thawed, setup_quick_freeze),
        ROW(init_error_is_run_again_and_then_reported),
        ROW(init_error_before_the_news_of_the_reset),
        ROW(an_exit_in_init_names_the_request_later),
        ROW_AT(a_late_init_is_repeated_with_the_time_limit, setup_quick_init),
        ROW(bootstraps_are_looked_for_in_two_places),
        ROW(an_interpreter_that_is_gone_is_the_hosts_fault),
        ROW(an_idle_exit_is_revived_once_it_has_served),
        ROW(an_idle_exit_before_any_work_ends_the_box),
        ROW(a_stop_in_every_early_state),
        ROW(a_box_lost_in_init_is_no_fault_of_the_function),
        ROW(degradations_are_kept_and_a_lost_process_is_told),
        ROW(garbage_from_the_executor_process_is_a_loss),
    };
    loop_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
