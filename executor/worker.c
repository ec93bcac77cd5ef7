#include "worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "base/log.h"
#include "invocation.h"
#include "runtime_api.h"
#include "startup.h"

/* --- orders to the executor process ------------------------------------------------------------------------------- */

void worker_set_state(struct worker *w, enum sup_state s)
{
    log_debug("executor", "worker=%" PRIu64 " %s -> %s", w->id, supervise_state_name(w->state),
              supervise_state_name(s));
    w->state = s;
}

static void close_sockets(struct worker *w)
{
    runtime_api_drop(w);
    if (w->listener != NULL)
        httpd_listener_close(w->listener);
    w->listener = NULL;
    fd_close(&w->peak_fd);
}

void worker_stop(struct worker *w)
{
    worker_set_state(w, SUP_STOPPING);
    peer_order(&w->x->peer, PROTO_STOP, w->id);
    executor_timer_clear(&w->last_words);
    executor_timer_set(&w->deadline, WORKER_STOP_LIMIT_MS);
    close_sockets(w);
}

void worker_reset(struct worker *w)
{
    worker_set_state(w, SUP_RESETTING);
    peer_order(&w->x->peer, PROTO_RESET, w->id);
    executor_timer_clear(&w->last_words);
    executor_timer_set(&w->deadline, w->x->reset_limit_ms);
    runtime_api_drop(w);
    w->boosted = true;
    w->served = false;
}

static void free_worker(struct worker *w)
{
    executor_timer_clear(&w->deadline);
    executor_timer_clear(&w->last_words);
    close_sockets(w);
    httpd_free(w->httpd);
    capture_done(&w->log);
    executor_unlink(w);
    if (w->launch != NULL)
        boxenv_done(&w->launch->env);
    if (w->failure != NULL)
        verdict_done(w->failure);
    free(w->failure);
    free(w->failure_body);
    free(w->launch);
    free(w->why);
    free(w->pending);
    free(w);
}

void worker_new(struct executor *x, uint64_t id, const struct executor_spec *spec)
{
    struct err e = {0};
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        bide_no_memory("worker");
    w->x = x;
    w->id = id;
    w->deadline.w = w->last_words.w = w;
    w->memory_mb = spec->memory_mb;
    w->timeout_ms = spec->timeout_ms;
    w->peak_fd = -1;
    capture_init(&w->log);
    executor_link(w);
    if (startup_launch(w, spec, &e) < 0)
        w->why = strdup(e.text);
    executor_timer_set(&w->deadline, w->why != NULL ? 0 : WORKER_START_LIMIT_MS);
}

void worker_discard(struct worker *w)
{
    free_worker(w);
}

static void gone(struct worker *w)
{
    struct executor *x = w->x;
    uint64_t id = w->id;
    bool tell = !w->silent;
    free_worker(w);
    if (tell)
        x->cbs.on_gone(id, x->arg);
}

void worker_start_failed(struct worker *w, const char *why)
{
    struct executor *x = w->x;
    uint64_t id = w->id;
    char text[PROTO_REASON_MAX + 1];
    bool tell = !w->silent;
    (void)snprintf(text, sizeof text, "%s", why);
    free_worker(w);
    if (tell)
        x->cbs.on_start_failed(id, text, x->arg);
}

/* The executor process knows the peak when the box ends; until then its file does. */
uint64_t worker_peak_kb(struct worker *w)
{
    char text[32];
    ssize_t n = w->peak_fd >= 0 ? pread(w->peak_fd, text, sizeof text - 1, 0) : 0;
    if (n > 0) {
        text[n] = '\0';
        uint64_t kb = (uint64_t)(strtoull(text, NULL, 10) / 1024);
        if (kb > w->peak_kb)
            w->peak_kb = kb;
    }
    return w->peak_kb;
}

/* --- what happens ------------------------------------------------------------------------------------------------- */

static void act_hold_poll(struct worker *w, struct httpd_req *req)
{
    if (w->state == SUP_RESETTING)
        runtime_api_drop(w); /* an earlier one is of the runtime that is being killed */
    if (w->poll != NULL)
        runtime_api_not_now(req, w->state, SUP_EV_NEXT);
    else
        runtime_api_hold(w, req);
}

static void act_deliver(struct worker *w, struct httpd_req *req)
{
    if (w->pending == NULL)
        runtime_api_not_now(req, w->state, SUP_EV_NEXT);
    else
        invocation_deliver(w, req);
}

static void act_gone(struct worker *w)
{
    if (w->busy)
        invocation_disrupted(w);
    if (w->start_again)
        startup_again(w);
    else
        gone(w);
}

static void act_init_dead(struct worker *w)
{
    if (w->was_ready)
        act_gone(w);
    else
        worker_start_failed(w, "the sandbox ended while the runtime was starting");
}

static void act_freeze(struct worker *w)
{
    peer_order(&w->x->peer, PROTO_FREEZE, w->id);
    worker_set_state(w, SUP_FROZEN);
}

static void act_revive(struct worker *w)
{
    if (w->served)
        worker_reset(w);
    else
        worker_stop(w); /* a runtime that asks for work and exits would be revived for ever */
}

static void act_reset_late(struct worker *w)
{
    bool again = !w->was_ready;
    worker_stop(w);
    w->start_again = again;
}

void worker_happen(struct worker *w, enum sup_event ev, struct happening *h)
{
    switch (supervise_action(w->state, ev)) {
    case SUP_NOTHING:
        break;
    case SUP_ODD:
        log_warn("executor", "worker=%" PRIu64 " unexpected event=%s state=%s", w->id, supervise_event_name(ev),
                 supervise_state_name(w->state));
        break;
    case SUP_BUG:
        BIDE_ASSERT(false, "worker %" PRIu64 ": %s while %s", w->id, supervise_event_name(ev),
                    supervise_state_name(w->state));
        break;
    case SUP_REFUSE:
        if (h->req != NULL)
            runtime_api_not_now(h->req, w->state, ev);
        break;
    case SUP_BEGIN_INIT:
        startup_begin_init(w, h);
        break;
    case SUP_START_FAILED:
        worker_start_failed(w, h->why);
        break;
    case SUP_START_GIVE_UP:
        startup_give_up(w);
        break;
    case SUP_READY:
    case SUP_READY_AGAIN:
        startup_ready(w, h->req);
        break;
    case SUP_HOLD_POLL:
        act_hold_poll(w, h->req);
        break;
    case SUP_INIT_ERROR:
        startup_init_error(w, h);
        break;
    case SUP_INIT_ERROR_EARLY:
        startup_init(w);
        startup_init_error(w, h);
        break;
    case SUP_INIT_EXITED:
        startup_init_exited(w, &h->end);
        break;
    case SUP_INIT_LATE:
        startup_init_late(w);
        break;
    case SUP_INIT_AGAIN:
        startup_rerun_or_fail(w);
        break;
    case SUP_INIT_OOM:
        startup_init_oom(w, &h->end);
        break;
    case SUP_INIT_DEAD:
        act_init_dead(w);
        break;
    case SUP_FREEZE:
        act_freeze(w);
        break;
    case SUP_HAND_OVER:
        invocation_hand_over(w, h->inv);
        break;
    case SUP_DOOM:
        invocation_doom(w, h->inv);
        break;
    case SUP_DELIVER:
        act_deliver(w, h->req);
        break;
    case SUP_ANSWER:
        invocation_answer(w, h, false);
        break;
    case SUP_ANSWER_ERROR:
        invocation_answer(w, h, true);
        break;
    case SUP_TIME_OUT:
        invocation_time_out(w);
        break;
    case SUP_EXIT:
        invocation_exit(w, &h->end);
        break;
    case SUP_OUT_OF_MEMORY:
        invocation_out_of_memory(w, &h->end);
        break;
    case SUP_DISRUPT_AND_STOP:
        worker_stop(w);
        invocation_disrupted(w);
        break;
    case SUP_REVIVE:
        act_revive(w);
        break;
    case SUP_RESET:
        worker_reset(w);
        break;
    case SUP_INIT_ANEW:
        startup_init(w);
        if (w->poll != NULL)
            startup_ready(w, w->poll);
        break;
    case SUP_RESET_LATE:
        act_reset_late(w);
        break;
    case SUP_STOP:
        worker_stop(w);
        break;
    case SUP_STOP_ASKED:
        w->start_again = false;
        break;
    case SUP_LOST_TRACK:
        log_warn("executor", "worker=%" PRIu64 " the end of its box was not reported", w->id);
        act_gone(w);
        break;
    case SUP_GONE:
        act_gone(w);
        break;
    }
}

/* --- exits -------------------------------------------------------------------------------------------------------- */

void worker_exited(struct worker *w, const struct worker_end *end)
{
    bool may_have_spoken = w->state == SUP_BUSY || (w->state == SUP_INIT && end->exec_errno == 0);
    if (!may_have_spoken) {
        worker_happen(w, SUP_EV_EXITED, &(struct happening){.end = *end});
        return;
    }
    w->end = *end;
    w->last_words_turns = 0;
    executor_timer_set(&w->last_words, WORKER_LAST_WORDS_MS);
}

void worker_last_words_due(struct worker *w)
{
    if (w->posting > 0 && ++w->last_words_turns < WORKER_LAST_WORDS_TURNS)
        executor_timer_set(&w->last_words, WORKER_LAST_WORDS_MS);
    else
        worker_happen(w, SUP_EV_EXITED, &(struct happening){.end = w->end});
}
