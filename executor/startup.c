#include "startup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "runtime_api.h"

static int send_start(struct worker *w, struct err *e)
{
    const struct launch *l = w->launch;
    const char *argv[RUNTIME_ARGS_MAX + 3];
    char arg[RUNTIME_ARGS_MAX][RUNTIME_ARG_LEN_MAX + 1];
    size_t n = 0;
    if (l->wrapper[0] != '\0')
        argv[n++] = l->wrapper;
    argv[n++] = l->runtime.program[w->program];
    for (size_t i = 0; i < l->runtime.n_args; i++) {
        runtime_arg(l->runtime.arg[i], w->memory_mb, arg[i], sizeof arg[i]);
        argv[n++] = arg[i];
    }
    argv[n] = NULL;
    struct proto_msg m = {.type = PROTO_START, .worker = w->id, .u.start = l->start};
    m.u.start.argv = argv;
    m.u.start.n_argv = n;
    m.u.start.env = l->env.v;
    m.u.start.n_env = l->env.n;
    return peer_send(&w->x->peer, &m, e);
}

static int take_layers(struct launch *l, const struct executor_spec *s, struct err *e)
{
    if (s->n_layers > EXECUTOR_LAYERS_MAX)
        return err_set(e, ERR_TOOBIG, "%zu layers, of at most %d", s->n_layers, EXECUTOR_LAYERS_MAX);
    for (size_t i = 0; i < s->n_layers; i++) {
        (void)snprintf(l->layer_text[i], sizeof l->layer_text[i], "%s", s->layers[i]);
        l->layer[i] = l->layer_text[i];
    }
    l->start.layers = l->layer;
    l->start.n_layers = s->n_layers;
    return 0;
}

int startup_launch(struct worker *w, const struct executor_spec *s, struct err *e)
{
    struct launch *l = calloc(1, sizeof *l);
    w->launch = l;
    if (l == NULL)
        return err_set(e, ERR_NOMEM, "out of memory");
    int rc = runtime_find(w->x->runtimes_fd, s->runtime, &l->runtime, e);
    if (rc == 0)
        rc = boxenv_build(&l->env, s, &l->runtime, clock_real_ms(), e);
    if (rc == 0)
        rc = take_layers(l, s, e);
    if (rc < 0)
        return rc;
    w->log.stream = logs_stream_open(w->x->logs, s->function_name, boxenv_get(&l->env, "AWS_LAMBDA_LOG_STREAM_NAME"));
    const char *wrapper = boxenv_get(&l->env, "AWS_LAMBDA_EXEC_WRAPPER");
    if (wrapper != NULL && l->runtime.wrapper)
        (void)snprintf(l->wrapper, sizeof l->wrapper, "%s", wrapper);
    (void)snprintf(l->region, sizeof l->region, "%s", s->region);
    (void)snprintf(l->version, sizeof l->version, "%s", s->version);
    (void)snprintf(l->start.code_sha256, sizeof l->start.code_sha256, "%s", s->code_sha256);
    (void)snprintf(l->start.runtime_dir, sizeof l->start.runtime_dir, "%s", l->runtime.dir);
    (void)snprintf(l->start.role, sizeof l->start.role, "%s", s->role_profile);
    l->start.memory_mb = (uint32_t)s->memory_mb;
    l->start.tmp_mb = (uint32_t)s->tmp_mb;
    l->start.nproc = WORKER_NPROC;
    l->start.cpu_boost = true;
    return send_start(w, e);
}

/* The platform's fault, found while there is a box: it is cleaned up without another word to the dispatcher. */
static void not_started(struct worker *w, const char *why)
{
    struct executor *x = w->x;
    worker_stop(w);
    w->silent = true;
    x->n_workers--;
    x->cbs.on_start_failed(w->id, why, x->arg);
}

/* --- init --------------------------------------------------------------------------------------------------------- */

void startup_init(struct worker *w)
{
    bool again = w->init_runs > 0 && !w->was_ready;
    worker_set_state(w, SUP_INIT);
    w->boosted = true;
    w->init_began_us = clock_mono_us();
    if (!w->was_ready)
        w->init_runs++;
    if (!again)
        capture_clear(&w->log);
    report_init_start(&w->log, w->launch->runtime.version, w->launch->region);
    executor_timer_set(&w->deadline, again ? w->timeout_ms : w->x->init_limit_ms);
}

void startup_begin_init(struct worker *w, struct happening *h)
{
    struct executor *x = w->x;
    struct err e = {0};
    int rc = 0;
    if (h->fds[PROTO_STARTED_LISTENER] < 0 || h->fds[PROTO_STARTED_LOG] < 0)
        rc = err_set(&e, ERR_IO, "its descriptors did not arrive: too many open files");
    else if (w->httpd == NULL)
        rc = runtime_api_new(x->loop, &w->httpd, &e);
    if (rc == 0) {
        rc = httpd_listen_fd(w->httpd, h->fds[PROTO_STARTED_LISTENER], w, &w->listener, &e);
        h->fds[PROTO_STARTED_LISTENER] = -1;
    }
    if (rc == 0) {
        rc = capture_open(&w->log, x->loop, h->fds[PROTO_STARTED_LOG]);
        h->fds[PROTO_STARTED_LOG] = -1;
    }
    if (rc == 0) {
        w->peak_fd = h->fds[PROTO_STARTED_PEAK];
        h->fds[PROTO_STARTED_PEAK] = -1;
        startup_init(w);
        return;
    }
    not_started(w, e.text[0] != '\0' ? e.text : err_name(rc));
}

void startup_give_up(struct worker *w)
{
    if (w->why != NULL) {
        worker_start_failed(w, w->why);
        return;
    }
    not_started(w, "the executor process did not say in time how the start went");
}

void startup_again(struct worker *w)
{
    struct err e = {0};
    capture_close(&w->log);
    w->start_again = false;
    if (send_start(w, &e) < 0) {
        worker_start_failed(w, e.text);
        return;
    }
    worker_set_state(w, SUP_STARTING);
    executor_timer_set(&w->deadline, WORKER_START_LIMIT_MS);
}

void worker_end_boost(struct worker *w)
{
    if (w->boosted)
        peer_order(&w->x->peer, PROTO_READY, w->id);
    w->boosted = false;
}

void startup_ready(struct worker *w, struct httpd_req *req)
{
    struct executor *x = w->x;
    if (!w->was_ready)
        w->cold_init_us = clock_mono_us() - w->init_began_us;
    w->was_ready = true;
    worker_end_boost(w);
    worker_set_state(w, SUP_IDLE);
    executor_timer_set(&w->deadline, x->freeze_after_ms);
    runtime_api_hold(w, req);
    if (w->told_ready)
        return; /* it exited while idle and is back before anybody missed it */
    w->told_ready = true;
    x->cbs.on_ready(w->id, x->arg);
}

/* The latest failure of init replaces the one before. NULL without memory. */
static struct verdict *new_failure(struct worker *w)
{
    if (w->failure != NULL)
        verdict_done(w->failure);
    else
        w->failure = malloc(sizeof *w->failure);
    free(w->failure_body);
    w->failure_body = NULL;
    return w->failure;
}

static void fail_init(struct worker *w)
{
    struct executor *x = w->x;
    struct verdict *v = w->failure;
    if (v == NULL) {
        not_started(w, "out of memory");
        return;
    }
    worker_stop(w);
    (void)capture_drain(&w->log);
    int64_t us = clock_mono_us() - w->init_began_us;
    report_init_end(&w->log, us, v->status, v->status_type);
    v->r.peak_kb = worker_peak_kb(w);
    v->r.duration_ms = us / 1000;
    verdict_log(v, &w->log);
    x->cbs.on_init_failed(w->id, &v->r, x->arg);
}

void startup_rerun_or_fail(struct worker *w)
{
    if (w->was_ready)
        worker_stop(w);
    else if (w->init_runs < 2)
        worker_reset(w);
    else
        fail_init(w);
}

void startup_init_error(struct worker *w, struct happening *h)
{
    struct verdict *v = new_failure(w);
    w->failure_body = malloc(h->body_len + 1);
    if (v != NULL && w->failure_body != NULL) {
        if (h->body_len > 0)
            memcpy(w->failure_body, h->body, h->body_len);
        verdict_error(v, EXECUTOR_INIT_ERROR, w->failure_body, h->body_len, h->error_type);
    } else {
        free(w->failure);
        w->failure = NULL;
    }
    worker_set_state(w, SUP_FAILING);
    executor_timer_set(&w->deadline, WORKER_FAILING_LIMIT_MS);
    if (h->req != NULL)
        runtime_api_accepted(h->req);
}

/* exec itself failed. What the function brought is its own fault, and Lambda looks in two places; an interpreter that
 * is gone, or a bootstrap, is the host's. */
static void exec_failed(struct worker *w, int exec_errno)
{
    const struct launch *l = w->launch;
    struct verdict *v;
    if (l->wrapper[0] != '\0') {
        v = new_failure(w);
        if (v != NULL)
            verdict_exit(v, EXECUTOR_INIT_ERROR, NULL, exec_errno == ENOENT ? 127 : 126, 0);
    } else if (!l->runtime.own_program) {
        char why[PROTO_REASON_MAX + 1];
        (void)snprintf(why, sizeof why, "%s cannot be run: %s", l->runtime.program[0], strerror(exec_errno));
        not_started(w, why);
        return;
    } else if (exec_errno == ENOENT && w->program + 1 < l->runtime.n_programs) {
        w->program++;
        w->init_runs--;
        worker_stop(w);
        w->start_again = true;
        return;
    } else {
        v = new_failure(w);
        if (v != NULL)
            verdict_no_entrypoint(v, EXECUTOR_INIT_ERROR, NULL, l->runtime.program, l->runtime.n_programs);
    }
    fail_init(w);
}

void startup_init_exited(struct worker *w, const struct worker_end *end)
{
    if (end->exec_errno != 0 && !w->was_ready) {
        exec_failed(w, end->exec_errno);
        return;
    }
    struct verdict *v = new_failure(w);
    if (v != NULL)
        verdict_exit(v, EXECUTOR_INIT_ERROR, NULL, end->exit_code, end->sig);
    startup_rerun_or_fail(w);
}

void startup_init_late(struct worker *w)
{
    struct verdict *v = new_failure(w);
    if (v != NULL)
        verdict_timeout(v, EXECUTOR_INIT_ERROR, NULL, w->timeout_ms);
    startup_rerun_or_fail(w);
}

/* The box dies with it, so there is nothing to run init again in. */
void startup_init_oom(struct worker *w, const struct worker_end *end)
{
    if (w->was_ready) {
        worker_stop(w);
        return;
    }
    struct verdict *v = new_failure(w);
    if (v != NULL)
        verdict_out_of_memory(v, NULL, end->sig);
    fail_init(w);
}
