/* Events on workers: the window's contents, hand-over, outcomes, and what becomes of an event afterwards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "priv.h"

/* --- the window --------------------------------------------------------------------------------------------------- */

static char *copy_text(const char *s)
{
    return s[0] != '\0' ? strdup(s) : NULL;
}

struct cached *cached_new(const struct event *ev, const void *payload, size_t payload_len)
{
    struct cached *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->seq = ev->seq;
    c->fid = ev->fid;
    c->id = ev->id;
    c->accepted_at_ms = ev->accepted_at_ms;
    c->ready_at_ms = ev->attempts == 0 && ev->disruptions == 0 ? ev->accepted_at_ms : -1;
    c->attempts = ev->attempts;
    c->disruptions = ev->disruptions;
    c->lone_runs = ev->lone_runs;
    c->payload_len = ev->payload_len;
    c->qualifier = copy_text(ev->qualifier);
    c->trace = copy_text(ev->trace);
    if (payload != NULL && payload_len == ev->payload_len) {
        c->payload = malloc(payload_len + 1);
        if (c->payload != NULL)
            memcpy(c->payload, payload, payload_len);
    }
    return c;
}

void cached_free(struct dispatcher *d, struct cached *c)
{
    if (c == NULL)
        return;
    if (c->payload != NULL)
        atomic_fetch_sub(&d->cached_bytes, (int64_t)c->payload_len);
    free(c->payload);
    free(c->qualifier);
    free(c->trace);
    free(c);
}

static struct cached *find_cached(struct dispatcher *d, uint64_t seq)
{
    struct cached *c = NULL;
    HASH_FIND(hh, d->cached, &seq, sizeof seq, c);
    return c;
}

void work_forget(struct dispatcher *d, uint64_t seq)
{
    struct cached *c = find_cached(d, seq);
    if (c == NULL)
        return;
    HASH_DEL(d->cached, c);
    cached_free(d, c);
}

static int64_t max_age_ms(const struct known *k)
{
    return (int64_t)dispatcher_max_age_s(k->fn) * 1000;
}

static uint32_t max_attempts(const struct known *k)
{
    bool set = k->fn->async.present && k->fn->async.max_retries >= 0;
    return 1 + (uint32_t)(set ? k->fn->async.max_retries : DEFAULT_RETRIES);
}

bool work_add(struct dispatcher *d, struct cached *c, bool from_disk)
{
    const struct known *k = known_find(d, c->fid);
    struct sched_event e = {.seq = c->seq,
                            .accepted_at_ms = c->accepted_at_ms,
                            .max_age_ms = k != NULL ? max_age_ms(k) : 0,
                            .disruptions = c->disruptions,
                            .from_disk = from_disk};
    uint64_t out = 0;
    bool added = k != NULL && !k->deleted && sched_event_add(d->sched, c->fid, &e, &out);
    if (out != 0)
        work_forget(d, out);
    if (!added) {
        cached_free(d, c);
        return false;
    }
    work_forget(d, c->seq);
    HASH_ADD(hh, d->cached, seq, sizeof c->seq, c);
    return true;
}

/* --- completions of ops, brought to this thread ------------------------------------------------------------------- */

struct op_note {
    struct dispatcher *d;
    uint64_t seq;
    uint64_t worker; /* a start that the hand-over waits for; 0 otherwise */
    int err;
    const char *what;
};

static void start_is_durable(struct dispatcher *d, uint64_t worker, int err);

static void note_here(void *arg)
{
    struct op_note *n = arg;
    struct dispatcher *d = n->d;
    if (n->err < 0 && n->err != ERR_CONFLICT && n->err != ERR_NOTFOUND)
        log_error("dispatcher", "%s not stored seq=%llu err=%s", n->what, (unsigned long long)n->seq, err_name(n->err));
    if (n->worker != 0)
        start_is_durable(d, n->worker, n->err);
    else
        sched_event_settled(d->sched, n->seq);
    free(n);
    dispatcher_op_done(d);
    dispatcher_promote(d); /* a wait may have become the earliest */
    dispatcher_pump(d);
}

static void note_done(int err, const struct event *ev, void *arg)
{
    (void)ev;
    struct op_note *n = arg;
    n->err = err;
    if (loop_post(n->d->loop, note_here, n) != 0)
        bide_no_memory("completion");
}

static struct op_note *note_new(struct dispatcher *d, uint64_t seq, uint64_t worker, const char *what)
{
    struct op_note *n = calloc(1, sizeof *n);
    /* Nothing that was accepted may be lost for want of forty bytes; a restart finds it all on disk. */
    if (n == NULL)
        bide_no_memory(what);
    *n = (struct op_note){.d = d, .seq = seq, .worker = worker, .what = what};
    d->ops++;
    return n;
}

static void refused_op(struct op_note *n, int err)
{
    if (err == ERR_NOMEM)
        bide_no_memory(n->what);
    log_error("dispatcher", "%s refused seq=%llu err=%s", n->what, (unsigned long long)n->seq, err_name(err));
    n->d->ops--;
    free(n);
}

/* --- starting workers --------------------------------------------------------------------------------------------- */

static const char *role_profile(const char *role_arn)
{
    const char *slash = strrchr(role_arn, '/');
    return slash != NULL ? slash + 1 : role_arn;
}

static void format_arn(const struct dispatcher *d, const struct function *f, const char *qualifier, char *out,
                       size_t cap)
{
    const struct settings *s = d->deps.settings;
    (void)snprintf(out, cap, "arn:aws:lambda:%s:%s:function:%s%s%s", settings_str(s, SET_REGION),
                   settings_str(s, SET_ACCOUNT), f->name, qualifier != NULL ? ":" : "",
                   qualifier != NULL ? qualifier : "");
}

void work_start_worker(struct dispatcher *d, const struct sched_decision *dec)
{
    const struct known *k = known_find(d, dec->fid);
    BIDE_ASSERT(k != NULL, "a worker for function %llu that nobody knows", (unsigned long long)dec->fid);
    const struct function *f = k->fn;
    char arn[512];
    const char *keys[EXECUTOR_ENV_MAX], *values[EXECUTOR_ENV_MAX];
    size_t n = f->n_env < EXECUTOR_ENV_MAX ? f->n_env : EXECUTOR_ENV_MAX;
    for (size_t i = 0; i < n; i++) {
        keys[i] = f->env[i].key;
        values[i] = f->env[i].value;
    }
    format_arn(d, f, NULL, arn, sizeof arn);
    struct executor_spec spec = {.function_name = f->name,
                                 .function_arn = arn,
                                 .version = "$LATEST",
                                 .runtime = f->runtime,
                                 .handler = f->handler,
                                 .role_profile = role_profile(f->role),
                                 .code_sha256 = f->code_sha256,
                                 .region = settings_str(d->deps.settings, SET_REGION),
                                 .access_key_id = "",
                                 .secret_access_key = "",
                                 .session_token = "",
                                 .env_keys = keys,
                                 .env_values = values,
                                 .n_env = n,
                                 .memory_mb = f->memory_mb,
                                 .tmp_mb = f->tmp_mb,
                                 .timeout_ms = f->timeout_s * 1000};
    code_use(d, dec->worker, f->code_sha256);
    executor_start(d->executor, dec->worker, &spec);
}

/* --- hand-over ---------------------------------------------------------------------------------------------------- */

static struct job *find_job(struct dispatcher *d, uint64_t worker)
{
    struct job *j = NULL;
    HASH_FIND(hh, d->jobs, &worker, sizeof worker, j);
    return j;
}

static void job_free(struct dispatcher *d, struct job *j)
{
    HASH_DEL(d->jobs, j);
    atomic_fetch_sub_explicit(&stats_of(d, j->fid)->running, 1, memory_order_relaxed);
    struct known *k = known_find(d, j->fid);
    cached_free(d, j->ev);
    free(j);
    k->jobs--;
    known_idle(d, k);
}

/* The event is there but what it carries is not: the function must not run on something else. */
static void bury_corrupt(struct dispatcher *d, struct job *j, int err)
{
    uint64_t worker = j->worker;
    struct settle s = {
        .seq = j->ev->seq, .fid = j->fid, .run = j->run, .verdict = VERDICT_DEAD, .condition = CONDITION_CORRUPT};
    if (err ==
        ERR_NOTFOUND) /* most likely cancelled on its way here: then the settle finds another state, and is void */
        log_warn("dispatcher", "payload is gone: the event was cancelled just now, or is dead seq=%llu",
                 (unsigned long long)s.seq);
    else
        log_error("dispatcher", "payload cannot be read: the event is dead seq=%llu err=%s", (unsigned long long)s.seq,
                  err_name(err));
    struct op_note *n = note_new(d, s.seq, 0, "outcome");
    int rc = queue_settle(d->deps.queue, &s, note_done, n);
    if (rc < 0)
        refused_op(n, rc);
    job_free(d, j);
    sched_job_done(d->sched, worker, true, clock_mono_ms());
}

static void hand_over(struct dispatcher *d, struct job *j)
{
    const struct known *k = known_find(d, j->fid);
    const struct function *f = j->call != NULL ? j->call->fn : k->fn;
    char arn[512], id[ID_TEXT_LEN + 1];
    struct buf payload;
    buf_init(&payload, 16 << 20);
    const void *p = j->call != NULL ? j->call->payload : j->ev->payload;
    size_t len = j->call != NULL ? j->call->payload_len : j->ev->payload_len;
    if (p == NULL && len > 0) {
        int rc = queue_payload(d->deps.queue, j->ev->seq, &payload);
        if (rc == ERR_NOMEM)
            bide_no_memory("payload");
        if (rc < 0) {
            buf_done(&payload);
            bury_corrupt(d, j, rc);
            return;
        }
        p = payload.data;
        len = payload.len;
    }
    id_format(j->call != NULL ? &j->call->request_id : &j->ev->id, id);
    format_arn(d, f, j->call != NULL ? j->call->qualifier : j->ev->qualifier, arn, sizeof arn);
    const char *trace = j->call != NULL ? j->call->trace : j->ev->trace;
    struct executor_invocation inv = {.token = j->run,
                                      .request_id = id,
                                      .invoked_arn = arn,
                                      .trace = trace != NULL ? trace : "",
                                      .client_context = j->call != NULL ? j->call->client_context : NULL,
                                      .payload = len > 0 ? p : "{}",
                                      .payload_len = len > 0 ? len : 2,
                                      .want_log = j->call == NULL || j->call->want_log};
    stats_handed_over(d, j);
    j->began_us = clock_mono_us();
    executor_invoke(d->executor, j->worker, &inv);
    buf_done(&payload);
}

static void start_is_durable(struct dispatcher *d, uint64_t worker, int err)
{
    struct job *j = find_job(d, worker);
    if (j == NULL)
        return; /* the worker died meanwhile */
    if (err == 0) {
        hand_over(d, j);
        return;
    }
    /* Not queued any more (cancelled, say), or not storable now: nothing has run. */
    uint64_t seq = j->ev->seq;
    job_free(d, j);
    sched_job_done(d->sched, worker, true, clock_mono_ms());
    sched_event_settled(d->sched, seq);
}

/* What waits is forgotten; what runs has its box killed, and its end, whatever it is, is settled as cancelled by the
 * queue. One whose start is still being synced is not handed over: that start fails, as it is not queued any more. */
void work_cancelled(struct dispatcher *d, uint64_t seq)
{
    uint64_t worker = sched_event_forget(d->sched, seq);
    struct job *j = worker != 0 ? find_job(d, worker) : NULL;
    if (worker == 0)
        work_forget(d, seq);
    if (j == NULL || j->began_us == 0 || j->ev == NULL || j->ev->seq != seq)
        return;
    j->cancelled = true;
    executor_stop(d->executor, worker);
}

void work_run(struct dispatcher *d, const struct sched_decision *dec)
{
    struct known *k = known_find(d, dec->fid);
    struct job *j = calloc(1, sizeof *j);
    BIDE_ASSERT(k != NULL, "a run of function %llu that nobody knows", (unsigned long long)dec->fid);
    if (j == NULL)
        bide_no_memory("run");
    *j = (struct job){.worker = dec->worker,
                      .run = d->next_run++,
                      .fid = dec->fid,
                      .lone = dec->job.lone,
                      .started_at_ms = clock_now_ms(d->deps.clock),
                      .version = "$LATEST"};
    HASH_ADD(hh, d->jobs, worker, sizeof j->worker, j);
    known_busy(d, k);
    counter_add(&stats_of(d, j->fid)->running, 1);
    if (dec->job.sync) {
        HASH_FIND(hh, d->calls, &dec->job.key, sizeof dec->job.key, j->call);
        BIDE_ASSERT(j->call != NULL, "a run of call %llu that nobody made", (unsigned long long)dec->job.key);
        hand_over(d, j);
        return;
    }
    j->ev = find_cached(d, dec->job.key);
    BIDE_ASSERT(j->ev != NULL, "a run of event %llu that is not at hand", (unsigned long long)dec->job.key);
    HASH_DEL(d->cached, j->ev);
    bool wait = dec->job.sync_start || k->synced_starts > 0;
    if (k->synced_starts > 0)
        k->synced_starts--;
    struct op_note *n = wait ? note_new(d, j->ev->seq, j->worker, "start") : NULL;
    int rc = queue_start(d->deps.queue, j->ev->seq, j->run, j->lone, wait ? note_done : NULL, n);
    if (rc == ERR_NOMEM)
        bide_no_memory("start");
    if (rc < 0 && wait)
        refused_op(n, rc);
    /* A refusal means that the store is closing: the event stays queued, nothing may run any more. */
    if (rc == 0 && !wait)
        hand_over(d, j);
}

void work_expire(struct dispatcher *d, const struct sched_decision *dec)
{
    work_forget(d, dec->job.key);
    struct op_note *n = note_new(d, dec->job.key, 0, "expiry");
    enum condition c =
        dec->expiry == SCHED_EXPIRE_AGE ? CONDITION_EVENT_AGE_EXCEEDED : CONDITION_ZERO_RESERVED_CONCURRENCY;
    int rc = queue_expire(d->deps.queue, dec->job.key, c, note_done, n);
    if (rc < 0)
        refused_op(n, rc);
}

/* --- outcomes ----------------------------------------------------------------------------------------------------- */

static enum outcome outcome_of(enum executor_end end)
{
    switch (end) {
    case EXECUTOR_OK:
        return OUTCOME_SUCCESS;
    case EXECUTOR_TIMEOUT:
        return OUTCOME_TIMEOUT;
    case EXECUTOR_OUT_OF_MEMORY:
        return OUTCOME_OUT_OF_MEMORY;
    case EXECUTOR_EXITED:
        return OUTCOME_EXITED;
    case EXECUTOR_INIT_ERROR:
        return OUTCOME_INIT_ERROR;
    case EXECUTOR_FN_ERROR:
    case EXECUTOR_DISRUPTED:
        break;
    }
    return OUTCOME_FUNCTION_ERROR;
}

static double random_share(void)
{
    uint32_t r;
    rng_bytes(&r, sizeof r);
    return r / 4294967296.0;
}

static void decide(struct dispatcher *d, const struct cached *ev, bool lone, enum executor_end end, struct settle *s)
{
    const struct known *k = known_find(d, ev->fid);
    int64_t now = clock_now_ms(d->deps.clock);
    struct backoff_facts f = {.end = end == EXECUTOR_OK          ? BACKOFF_SUCCESS
                                     : end == EXECUTOR_DISRUPTED ? BACKOFF_DISRUPTION
                                                                 : BACKOFF_FUNCTION_ERROR,
                              .attempts = ev->attempts + 1,
                              .max_attempts = max_attempts(k),
                              .lone_runs = ev->lone_runs + lone,
                              .accepted_at_ms = ev->accepted_at_ms,
                              .max_age_ms = max_age_ms(k),
                              .deleted = k->deleted};
    s->counts = end != EXECUTOR_DISRUPTED;
    int64_t believed = dispatcher_trusted_now(d, clock_mono_ms());
    switch (backoff_settle(&d->policy, &f, believed, d->policy.jitter > 0 ? random_share() : 0, &s->wait_ms)) {
    case BACKOFF_DONE:
        s->verdict = VERDICT_DONE;
        break;
    case BACKOFF_WAIT:
        s->verdict = VERDICT_WAIT;
        s->due_at_ms = now + s->wait_ms;
        break;
    case BACKOFF_REQUEUE:
        s->verdict = VERDICT_REQUEUE;
        break;
    case BACKOFF_EXHAUSTED:
        s->verdict = VERDICT_DEAD;
        s->condition = CONDITION_RETRIES_EXHAUSTED;
        break;
    case BACKOFF_TOO_OLD:
        s->verdict = VERDICT_DEAD;
        s->condition = CONDITION_EVENT_AGE_EXCEEDED;
        break;
    case BACKOFF_DELETED:
        s->verdict = VERDICT_DEAD;
        s->condition = CONDITION_FUNCTION_DELETED;
        break;
    case BACKOFF_DISRUPTED:
        s->verdict = VERDICT_DEAD;
        s->condition = CONDITION_DISRUPTED;
        break;
    }
}

static void settle_event(struct dispatcher *d, const struct cached *ev, uint64_t run, bool lone, int64_t started_at_ms,
                         const struct executor_result *r)
{
    struct settle s = {.seq = ev->seq, .fid = ev->fid, .run = run};
    decide(d, ev, lone, r->end, &s);
    bool failed = r->end != EXECUTOR_OK;
    s.attempt =
        (struct attempt){.started_at_ms = started_at_ms,
                         .ended_at_ms = clock_now_ms(d->deps.clock),
                         .outcome = outcome_of(r->end),
                         .error_type = failed ? r->error_type : NULL,
                         .error_message = failed ? r->error_message : NULL,
                         .error = failed ? r->body : NULL,
                         .error_len = failed ? (r->body_len < QUEUE_ERROR_MAX ? r->body_len : QUEUE_ERROR_MAX) : 0,
                         .log_tail = failed ? r->log_tail : NULL,
                         .log_tail_len = failed ? r->log_tail_len : 0,
                         .exit_code = r->exit_code,
                         .signal = r->signal,
                         .peak_kb = r->peak_kb,
                         .version = "$LATEST"};
    struct op_note *n = note_new(d, ev->seq, 0, "outcome");
    int rc = queue_settle(d->deps.queue, &s, note_done, n);
    if (rc < 0)
        refused_op(n, rc);
}

static void answer_call(struct dispatcher *d, struct call *c, const struct executor_result *r)
{
    bool broken = r->end == EXECUTOR_DISRUPTED;
    calls_answer(d, c,
                 &(struct invoke_answer){.end = r->end == EXECUTOR_OK ? INVOKE_OK
                                                : broken              ? INVOKE_FAILED
                                                                      : INVOKE_FUNCTION_ERROR,
                                         .body = r->body,
                                         .body_len = r->body_len,
                                         .log_tail = r->log_tail,
                                         .log_tail_len = c->want_log ? r->log_tail_len : 0,
                                         .version = "$LATEST",
                                         .why = broken ? "the worker was lost while it ran" : ""});
}

static void on_result(uint64_t worker, const struct executor_result *r, void *arg)
{
    struct dispatcher *d = arg;
    struct job *j = find_job(d, worker);
    BIDE_ASSERT(j != NULL && j->run == r->token, "a result of worker %llu that runs nothing",
                (unsigned long long)worker);
    bool broken = r->end == EXECUTOR_DISRUPTED;
    if (!broken || !j->cancelled)
        stats_ended(d, j->fid, j->call != NULL, outcome_of(r->end), broken);
    if (!broken)
        hist_add(&stats_of(d, j->fid)->duration_us, clock_mono_us() - j->began_us);
    if (j->call != NULL)
        answer_call(d, j->call, r);
    else
        settle_event(d, j->ev, j->run, j->lone, j->started_at_ms, r);
    job_free(d, j);
    sched_job_done(d->sched, worker, r->usable_now, clock_mono_ms());
    dispatcher_pump(d);
}

static void on_ready(uint64_t worker, void *arg)
{
    struct dispatcher *d = arg;
    faults_clear(d, sched_worker_function(d->sched, worker));
    int64_t start_ms = sched_worker_ready(d->sched, worker, clock_mono_ms());
    if (start_ms >= 0)
        hist_add(&d->stats.start_ms, start_ms);
    dispatcher_pump(d);
}

static void on_start_failed(uint64_t worker, const char *why, void *arg)
{
    struct dispatcher *d = arg;
    code_unuse(d, worker);
    const struct known *k = known_find(d, sched_worker_function(d->sched, worker));
    int64_t mono = clock_mono_ms();
    if (k != NULL)
        counter_add(&stats_of(d, k->fid)->start_failures, 1);
    sched_worker_start_failed(d->sched, worker, mono);
    if (k != NULL && !k->deleted) {
        faults_set(d, k->fn, why, mono + sched_function_backoff(d->sched, k->fid, mono));
        log_warn("dispatcher", "worker cannot be started function=%s why=\"%s\"", k->fn->name, why);
    }
    dispatcher_pump(d);
}

/* The attempt began and ended inside the start of its worker: both moves go to the store one after the other. */
static void settle_unstarted(struct dispatcher *d, uint64_t seq, bool lone, struct executor_result *r, struct buf *body)
{
    struct cached *ev = find_cached(d, seq);
    BIDE_ASSERT(ev != NULL, "the event %llu bound to a worker is not at hand", (unsigned long long)seq);
    HASH_DEL(d->cached, ev);
    char id[ID_TEXT_LEN + 1];
    uint64_t run = d->next_run++;
    int64_t started = clock_now_ms(d->deps.clock);
    stats_handed_over(d, &(struct job){.fid = ev->fid, .ev = ev});
    id_format(&ev->id, id);
    if (executor_init_body(r, id, body) == 0) {
        r->body = body->data;
        r->body_len = body->len;
    }
    int rc = queue_start(d->deps.queue, ev->seq, run, lone, NULL, NULL);
    if (rc == ERR_NOMEM)
        bide_no_memory("start");
    if (rc == 0)
        settle_event(d, ev, run, lone, started, r);
    cached_free(d, ev);
}

static void on_init_failed(uint64_t worker, const struct executor_result *given, void *arg)
{
    struct dispatcher *d = arg;
    struct sched_job job;
    struct executor_result r = *given;
    struct buf body;
    buf_init(&body, EXECUTOR_RESPONSE_MAX);
    uint64_t fid = sched_worker_function(d->sched, worker);
    bool bound = sched_worker_init_failed(d->sched, worker, &job);
    struct call *c = NULL;
    counter_add(&stats_of(d, fid)->init_failures, 1);
    if (bound)
        stats_ended(d, job.fid, job.sync, outcome_of(r.end), false);
    if (bound && job.sync)
        HASH_FIND(hh, d->calls, &job.key, sizeof job.key, c);
    if (c != NULL) {
        char id[ID_TEXT_LEN + 1];
        id_format(&c->request_id, id);
        if (executor_init_body(&r, id, &body) == 0) {
            r.body = body.data;
            r.body_len = body.len;
        }
        answer_call(d, c, &r);
    } else if (bound && !job.sync) {
        settle_unstarted(d, job.key, job.lone, &r, &body);
    }
    buf_done(&body);
    dispatcher_pump(d);
}

static void on_gone(uint64_t worker, void *arg)
{
    struct dispatcher *d = arg;
    code_unuse(d, worker);
    struct job *j = find_job(d, worker);
    if (j != NULL) {
        /* Busy by our books but never handed over: its start was still being synced. The event is running on disk. */
        struct executor_result r = {.end = EXECUTOR_DISRUPTED,
                                    .body = "",
                                    .error_type = "",
                                    .error_message = "",
                                    .log_tail = "",
                                    .exit_code = -1};
        stats_ended(d, j->fid, j->call != NULL, OUTCOME_SUCCESS, true);
        if (j->call != NULL)
            answer_call(d, j->call, &r);
        else
            settle_event(d, j->ev, j->run, j->lone, j->started_at_ms, &r);
        job_free(d, j);
    }
    sched_worker_gone(d->sched, worker, clock_mono_ms());
    dispatcher_pump(d);
    dispatcher_check_drained(d);
}

static void on_lost(void *arg)
{
    struct dispatcher *d = arg;
    d->deps.on_lost(d->deps.arg);
}

const struct executor_cbs work_executor_cbs = {
    .on_ready = on_ready,
    .on_start_failed = on_start_failed,
    .on_init_failed = on_init_failed,
    .on_result = on_result,
    .on_gone = on_gone,
    .on_lost = on_lost,
};
