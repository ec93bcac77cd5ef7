#include "fake_dispatcher.h"

#include <stdio.h>
#include <string.h>

void fake_init(struct dispatcher *d)
{
    memset(d, 0, sizeof(*d));
    d->body = "{}";
    pthread_mutex_init(&d->mu, NULL);
    pthread_cond_init(&d->cond, NULL);
}

static void join(struct dispatcher *d)
{
    if (d->running)
        pthread_join(d->thread, NULL);
    d->running = false;
}

void fake_done(struct dispatcher *d)
{
    join(d);
    pthread_cond_destroy(&d->cond);
    pthread_mutex_destroy(&d->mu);
}

void fake_hold(struct dispatcher *d, bool hold)
{
    pthread_mutex_lock(&d->mu);
    d->hold = hold;
    pthread_mutex_unlock(&d->mu);
}

static void *answer(void *arg)
{
    struct dispatcher *d = arg;
    pthread_mutex_lock(&d->mu);
    while (d->hold && !d->released)
        pthread_cond_wait(&d->cond, &d->mu);
    pthread_mutex_unlock(&d->mu);
    struct invoke_answer a = {
        .end = d->end,
        .body = d->body,
        .body_len = strlen(d->body),
        .log_tail = d->want_log ? d->log : NULL,
        .log_tail_len = d->want_log && d->log ? strlen(d->log) : 0,
        .version = "$LATEST",
        .why = d->why,
    };
    d->cb(&a, d->arg);
    return NULL;
}

int dispatcher_invoke(struct dispatcher *d, const struct invoke_call *c, invoke_cb *cb, void *arg, uint64_t *ret_call)
{
    join(d);
    d->payload_len = c->payload_len;
    (void)snprintf(d->payload, sizeof(d->payload), "%.*s", (int)c->payload_len, (const char *)c->payload);
    (void)snprintf(d->context, sizeof(d->context), "%s", c->client_context ? c->client_context : "none");
    (void)snprintf(d->qualifier, sizeof(d->qualifier), "%s", c->qualifier);
    d->id = c->id;
    d->want_log = c->want_log;
    d->cb = cb;
    d->arg = arg;
    d->released = false;
    *ret_call = 7;
    d->running = pthread_create(&d->thread, NULL, answer, d) == 0;
    return d->running ? 0 : ERR_NOMEM;
}

void dispatcher_invoke_abandon(struct dispatcher *d, uint64_t call)
{
    pthread_mutex_lock(&d->mu);
    if (call == 7)
        d->abandoned++;
    d->released = true;
    pthread_cond_signal(&d->cond);
    pthread_mutex_unlock(&d->mu);
}

int dispatcher_runtime_check(int runtimes_fd, const char *runtime, struct err *e)
{
    (void)runtimes_fd;
    if (strncmp(runtime, "python3", 7) == 0 || strcmp(runtime, "exec") == 0)
        return 0;
    return err_set(e, ERR_NOTFOUND, "no interpreter for %s is installed here", runtime);
}

void dispatcher_status(struct dispatcher *d, struct dispatcher_status *ret)
{
    (void)d;
    *ret = (struct dispatcher_status){.workers = 3, .workers_busy = 2, .worker_memory_mb = 384};
}

void dispatcher_stats(struct dispatcher *d, struct dispatcher_stats *ret)
{
    static const struct hist_scale scale = {2, {10, 100}};
    static const struct hist_view wait = {&scale, {1, 3}, 4, 260};
    (void)d;
    *ret = (struct dispatcher_stats){.wait_ms = wait, .start_ms = wait, .clock_steps = 1};
}

bool dispatcher_function_stats(struct dispatcher *d, uint64_t fid, struct dispatcher_function_stats *ret)
{
    static const struct hist_scale scale = {2, {1000, 1500}};
    static const struct hist_view some = {&scale, {1, 3}, 4, 12345678};
    (void)d;
    (void)fid;
    *ret = (struct dispatcher_function_stats){
        .running = 2, .sync_runs = 7, .async_runs = 9, .disruptions = 1, .age_ms = some, .duration_us = some};
    ret->errors[OUTCOME_TIMEOUT] = 3;
    ret->throttled_reserved = 4;
    return true;
}

void dispatcher_faults(struct dispatcher *d, dispatcher_fault_cb *cb, void *arg)
{
    (void)d;
    cb("broken", "fork: \"no\"", 1500, arg);
}

void dispatcher_degradations(struct dispatcher *d, dispatcher_text_cb *cb, void *arg)
{
    (void)d;
    cb("no cgroups", arg);
}

int dispatcher_clock_moved(struct dispatcher *d, void (*cb)(void *arg), void *arg)
{
    d->clock_moved++;
    cb(arg);
    return 0;
}
