#include "executor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fdutil.h"
#include "worker.h"

/* --- the workers by id -------------------------------------------------------------------------------------------- */

struct worker *executor_find(struct executor *x, uint64_t id)
{
    struct worker *w = x->bucket[id % WORKER_BUCKETS];
    while (w != NULL && w->id != id)
        w = w->next;
    return w;
}

void executor_link(struct worker *w)
{
    struct worker **head = &w->x->bucket[w->id % WORKER_BUCKETS];
    BIDE_ASSERT(w->id != 0 && executor_find(w->x, w->id) == NULL, "worker id %llu is in use",
                (unsigned long long)w->id);
    w->next = *head;
    *head = w;
    w->x->n_workers++;
}

void executor_unlink(struct worker *w)
{
    struct worker **at = &w->x->bucket[w->id % WORKER_BUCKETS];
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    if (!w->silent)
        w->x->n_workers--;
}

/* --- time --------------------------------------------------------------------------------------------------------- */

/* One timer for the earliest deadline of all workers. A deadline that moves away leaves it armed: it then fires once
 * for nothing, which is cheaper than moving it with every invocation. */
static void arm(struct executor *x)
{
    struct timerq_item *first = timerq_first(&x->deadlines);
    if (first == NULL || first->at_ms >= x->timer_at_ms)
        return;
    x->timer_at_ms = first->at_ms;
    loop_timer_arm(x->timer, first->at_ms - clock_mono_ms());
}

void executor_timer_set(struct worker_timer *t, int64_t delay_ms)
{
    struct executor *x = t->w->x;
    if (timerq_set(&x->deadlines, &t->it, clock_mono_ms() + delay_ms) != 0)
        bide_no_memory("deadline");
    arm(x);
}

void executor_timer_clear(struct worker_timer *t)
{
    timerq_del(&t->w->x->deadlines, &t->it);
}

static void on_timer(void *arg)
{
    struct executor *x = arg;
    int64_t now = clock_mono_ms();
    x->timer_at_ms = INT64_MAX;
    for (;;) {
        struct timerq_item *it = timerq_first(&x->deadlines);
        if (it == NULL || it->at_ms > now)
            break;
        struct worker_timer *t = (struct worker_timer *)it;
        timerq_del(&x->deadlines, it);
        if (t == &t->w->last_words)
            worker_last_words_due(t->w);
        else
            worker_happen(t->w, SUP_EV_DEADLINE, &(struct happening){0});
    }
    arm(x);
}

/* --- the executor process ----------------------------------------------------------------------------------------- */

static void on_hello(struct executor *x, const struct proto_hello *h)
{
    for (size_t i = 0; i < h->n_degraded && x->n_degraded < PROTO_DEGRADED_MAX; i++) {
        x->degraded[x->n_degraded] = strdup(h->degraded[i]);
        if (x->degraded[x->n_degraded] != NULL)
            x->n_degraded++;
    }
}

static void on_exited(struct worker *w, const struct proto_exited *m)
{
    struct worker_end end = {.exec_errno = m->exec_errno, .exit_code = m->exit_code, .sig = m->signal};
    if (m->peak_kb > w->peak_kb)
        w->peak_kb = m->peak_kb;
    if (m->oom)
        worker_happen(w, SUP_EV_OOM, &(struct happening){.end = end});
    else
        worker_exited(w, &end);
}

/* What the function did comes first, then the end of the box: memory ran out, or the runtime exited just before. */
static void on_dead(struct executor *x, struct worker *w, const struct proto_dead *m)
{
    uint64_t id = w->id;
    if (m->peak_kb > w->peak_kb)
        w->peak_kb = m->peak_kb;
    if (m->oom) {
        worker_happen(w, SUP_EV_OOM, &(struct happening){.end = {.exit_code = -1, .sig = m->signal}});
    } else if (timerq_has(&w->last_words.it)) {
        executor_timer_clear(&w->last_words);
        worker_happen(w, SUP_EV_EXITED, &(struct happening){.end = w->end});
    }
    w = executor_find(x, id);
    if (w != NULL)
        worker_happen(w, SUP_EV_DEAD, &(struct happening){.why = "the sandbox ended while it was being set up"});
}

static void on_message(const struct proto_msg *m, int *fds, size_t n_fds, void *arg)
{
    struct executor *x = arg;
    int three[PROTO_STARTED_FDS_MAX] = {-1, -1, -1};
    char why[PROTO_REASON_MAX + PROTO_STEP_MAX + 8];
    if (m->type == PROTO_HELLO) {
        on_hello(x, &m->u.hello);
        return;
    }
    struct worker *w = executor_find(x, m->worker);
    if (w == NULL)
        return; /* forgotten after WORKER_STOP_LIMIT_MS */
    switch (m->type) {
    case PROTO_STARTED:
        for (size_t i = 0; i < n_fds && i < PROTO_STARTED_FDS_MAX; i++) {
            three[i] = fds[i];
            fds[i] = -1;
        }
        worker_happen(w, SUP_EV_STARTED, &(struct happening){.fds = three});
        for (size_t i = 0; i < PROTO_STARTED_FDS_MAX; i++)
            fd_close(&three[i]);
        break;
    case PROTO_START_FAILED:
        (void)snprintf(why, sizeof why, "%s: %s", m->u.failed.step, m->u.failed.text);
        worker_happen(w, SUP_EV_START_FAILED, &(struct happening){.why = why});
        break;
    case PROTO_EXITED:
        on_exited(w, &m->u.exited);
        break;
    case PROTO_RESET_DONE:
        worker_happen(w, SUP_EV_RESET_DONE, &(struct happening){0});
        break;
    case PROTO_DEAD:
        on_dead(x, w, &m->u.dead);
        break;
    case PROTO_HELLO:
    case PROTO_START:
    case PROTO_RESET:
    case PROTO_STOP:
    case PROTO_FREEZE:
    case PROTO_THAW:
    case PROTO_READY:
        BIDE_ASSERT(false, "the decoder let %s through", proto_type_name(m->type));
    }
}

static void on_lost(void *arg)
{
    struct executor *x = arg;
    x->cbs.on_lost(x->arg);
}

/* --- the face ----------------------------------------------------------------------------------------------------- */

int executor_new(struct executor **ret, struct loop *l, int sock, const struct executor_opts *o,
                 const struct executor_cbs *cbs, void *arg, struct err *e)
{
    struct executor *x = calloc(1, sizeof *x);
    if (x == NULL) {
        fd_close(&sock);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    x->loop = l;
    x->init_limit_ms = o->init_limit_ms;
    x->freeze_after_ms = o->freeze_after_ms;
    x->reset_limit_ms = o->reset_limit_ms > 0 ? o->reset_limit_ms : WORKER_RESET_LIMIT_MS;
    x->logs = o->logs;
    x->cbs = *cbs;
    x->arg = arg;
    x->timer_at_ms = INT64_MAX;
    timerq_init(&x->deadlines);
    int rc = peer_open(&x->peer, l, sock, on_message, on_lost, x, e);
    if (rc < 0)
        goto fail;
    x->runtimes_fd = o->runtimes_fd;
    rc = loop_timer_new(l, on_timer, x, &x->timer);
    if (rc == 0) {
        *ret = x;
        return 0;
    }
    (void)err_set(e, rc, "out of memory");
fail:
    executor_free(x);
    return rc;
}

void executor_free(struct executor *x)
{
    if (x == NULL)
        return;
    for (size_t i = 0; i < WORKER_BUCKETS; i++)
        while (x->bucket[i] != NULL)
            worker_discard(x->bucket[i]);
    peer_close(&x->peer);
    loop_timer_free(x->timer);
    timerq_done(&x->deadlines);
    for (size_t i = 0; i < x->n_degraded; i++)
        free(x->degraded[i]);
    free(x);
}

void executor_start(struct executor *x, uint64_t worker, const struct executor_spec *spec)
{
    worker_new(x, worker, spec);
}

void executor_invoke(struct executor *x, uint64_t worker, const struct executor_invocation *inv)
{
    struct worker *w = executor_find(x, worker);
    BIDE_ASSERT(w != NULL, "an invocation for worker %llu, which does not exist", (unsigned long long)worker);
    worker_happen(w, SUP_EV_INVOKE, &(struct happening){.inv = inv});
}

void executor_stop(struct executor *x, uint64_t worker)
{
    struct worker *w = executor_find(x, worker);
    if (w != NULL)
        worker_happen(w, SUP_EV_STOP, &(struct happening){0});
}

size_t executor_workers(const struct executor *x)
{
    return x->n_workers;
}

size_t executor_degradations(const struct executor *x, const char *const **ret)
{
    *ret = (const char *const *)x->degraded;
    return x->n_degraded;
}
