#include "invocation.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "runtime_api.h"

/* --- results ------------------------------------------------------------------------------------------------------ */

static void write_report(struct worker *w, struct verdict *v, int64_t duration_us)
{
    (void)capture_drain(&w->log);
    if (v->r.end == EXECUTOR_TIMEOUT)
        report_timed_out(&w->log, clock_real_ms(), w->request_id, w->timeout_ms);
    v->r.peak_kb = worker_peak_kb(w);
    report_end(&w->log, &(struct report){.request_id = w->request_id,
                                         .duration_us = duration_us,
                                         .init_us = w->cold_init_us,
                                         .memory_mb = w->memory_mb,
                                         .peak_kb = v->r.peak_kb,
                                         .status = v->status,
                                         .error_type = v->status_type});
    if (v->r.end != EXECUTOR_OK || w->want_log)
        verdict_log(v, &w->log);
    w->log.request_id = ""; /* what comes now is nobody's */
}

/* The one result of the invocation in hand. The caller has already moved the state on. */
static void finish(struct worker *w, struct verdict *v)
{
    struct executor *x = w->x;
    int64_t us = clock_mono_us() - w->began_us;
    BIDE_ASSERT(w->busy, "a result of worker %" PRIu64 " that is not busy", w->id);
    write_report(w, v, us);
    w->cold_init_us = 0;
    w->busy = false;
    free(w->pending);
    w->pending = NULL;
    v->r.token = w->token;
    v->r.duration_ms = us / 1000;
    v->r.worker_survives = w->state == SUP_ANSWERED || w->state == SUP_RESETTING;
    x->cbs.on_result(w->id, &v->r, x->arg);
    verdict_done(v);
}

/* --- invocations -------------------------------------------------------------------------------------------------- */

static struct pending *pending_new(const struct executor_invocation *in)
{
    const char *from[3] = {in->invoked_arn, in->trace, in->client_context};
    size_t len[3];
    for (int i = 0; i < 3; i++)
        len[i] = from[i] != NULL ? strlen(from[i]) + 1 : 0;
    struct pending *p = malloc(sizeof *p + len[0] + len[1] + len[2] + in->payload_len);
    if (p == NULL)
        return NULL;
    char *at = p->text, *to[3];
    for (int i = 0; i < 3; i++) {
        to[i] = from[i] != NULL ? memcpy(at, from[i], len[i]) : NULL;
        at += len[i];
    }
    p->invoked_arn = to[0];
    p->trace = to[1];
    p->client_context = to[2];
    memcpy(at, in->payload, in->payload_len);
    p->payload = at;
    p->payload_len = in->payload_len;
    return p;
}

void invocation_deliver(struct worker *w, struct httpd_req *req)
{
    struct pending *p = w->pending;
    w->pending = NULL;
    worker_end_boost(w);
    runtime_api_deliver(req, &(struct delivery){.request_id = w->request_id,
                                                .invoked_arn = p->invoked_arn,
                                                .trace = p->trace,
                                                .client_context = p->client_context,
                                                .deadline_epoch_ms = w->limit_epoch_ms,
                                                .payload = p->payload,
                                                .payload_len = p->payload_len});
    free(p);
}

static void take(struct worker *w, const struct executor_invocation *in)
{
    BIDE_ASSERT(w->told_ready && !w->busy, "worker %" PRIu64 " is given work it did not ask for", w->id);
    w->told_ready = false;
    w->busy = true;
    w->served = true;
    w->token = in->token;
    w->want_log = in->want_log;
    w->began_us = clock_mono_us();
    w->limit_at_ms = w->began_us / 1000 + w->timeout_ms;
    w->limit_epoch_ms = clock_real_ms() + w->timeout_ms;
    (void)snprintf(w->request_id, sizeof w->request_id, "%s", in->request_id);
    (void)capture_drain(&w->log);
    capture_clear(&w->log);
    w->log.request_id = w->request_id;
    report_start(&w->log, w->request_id, w->launch->version);
}

void invocation_hand_over(struct worker *w, const struct executor_invocation *in)
{
    struct httpd_req *poll = w->poll;
    bool waits = w->state != SUP_IDLE && w->state != SUP_FROZEN;
    if (w->state == SUP_FROZEN)
        peer_order(&w->x->peer, PROTO_THAW, w->id);
    take(w, in);
    worker_set_state(w, SUP_BUSY);
    executor_timer_set(&w->deadline, w->timeout_ms);
    if (poll != NULL && !waits) {
        w->poll = NULL;
        runtime_api_deliver(poll, &(struct delivery){.request_id = in->request_id,
                                                     .invoked_arn = in->invoked_arn,
                                                     .trace = in->trace,
                                                     .client_context = in->client_context,
                                                     .deadline_epoch_ms = w->limit_epoch_ms,
                                                     .payload = in->payload,
                                                     .payload_len = in->payload_len});
        return;
    }
    w->pending = pending_new(in);
    if (w->pending == NULL)
        worker_stop(w); /* the result, disrupted, comes with the end of the box */
}

void invocation_doom(struct worker *w, const struct executor_invocation *in)
{
    take(w, in);
}

const char *invocation_current_id(const struct worker *w)
{
    return w->state == SUP_BUSY || w->state == SUP_ANSWERED ? w->request_id : "";
}

void invocation_answer(struct worker *w, struct happening *h, bool error)
{
    struct verdict v;
    if (h->too_large)
        verdict_too_large(&v);
    else if (error)
        verdict_error(&v, EXECUTOR_FN_ERROR, h->body, h->body_len, h->error_type);
    else
        verdict_response(&v, h->body, h->body_len);
    int64_t left = w->limit_at_ms - clock_mono_ms();
    worker_set_state(w, SUP_ANSWERED);
    executor_timer_set(&w->deadline, left > WORKER_ANSWERED_MIN_MS ? left : WORKER_ANSWERED_MIN_MS);
    finish(w, &v); /* before the reply, which ends the body's life */
    if (h->req != NULL)
        runtime_api_accepted(h->req);
}

void invocation_time_out(struct worker *w)
{
    struct verdict v;
    verdict_timeout(&v, EXECUTOR_TIMEOUT, w->request_id, w->timeout_ms);
    worker_reset(w);
    finish(w, &v); /* at once: what the box does meanwhile is not the caller's concern */
}

void invocation_exit(struct worker *w, const struct worker_end *end)
{
    struct verdict v;
    int code = end->exec_errno == 0 ? end->exit_code : end->exec_errno == ENOENT ? 127 : 126;
    verdict_exit(&v, EXECUTOR_EXITED, w->request_id, code, end->sig);
    worker_reset(w);
    finish(w, &v);
}

void invocation_out_of_memory(struct worker *w, const struct worker_end *end)
{
    struct verdict v;
    verdict_out_of_memory(&v, w->request_id, end->sig);
    worker_stop(w);
    finish(w, &v);
}

void invocation_disrupted(struct worker *w)
{
    struct verdict v;
    verdict_disrupted(&v);
    finish(w, &v);
}
