/* What happens next: somebody has his turn, time passes, a client or an operator asks for something, something breaks.
 */
#include <stdlib.h>
#include <string.h>

#include "bugs.h"
#include "life.h"
#include "model.h"

enum {
    PAYLOAD_SHORT = 48,
    PAYLOAD_LONG = 6000, /* out of line */
    CHUNK = 20,          /* of sweeps, replays and removals */
    STUCK_STEPS = 50000, /* so many at the end without a change, and what is there is stuck */
};

/* --- turns ----------------------------------------------------------------------------------------------------------
 */

static int64_t next_us(void)
{
    int64_t timer = loop_next_timer_us(), worker = exec_next_us(), fiber = fiber_next_us();
    int64_t at = timer < worker ? timer : worker;
    return at < fiber ? at : fiber;
}

static void pass_time(void)
{
    int64_t next = next_us(), rest = sim.mono_us + 1000LL * (1 + sim_below(60000));
    int64_t to = next < rest ? next : rest;
    if (fiber_next_us() == INT64_MAX)
        model_quiet();
    sim.totals.virtual_ms += (to - sim.mono_us) / 1000;
    sim.mono_us = to > sim.mono_us ? to : sim.mono_us;
}

void steps_work(void)
{
    enum { LOOP = 100, TIMERS, WORKERS };
    uint32_t can[16], n = 0;
    sim.mono_us += sim_below(400);
    for (uint32_t i = 0; i < fiber_count(); i++)
        if (fiber_runnable(i))
            can[n++] = i;
    if (fiber_next_us() == INT64_MAX)
        model_pause();
    if (loop_busy())
        can[n++] = LOOP;
    if (loop_timer_due())
        can[n++] = TIMERS;
    if (exec_due())
        can[n++] = WORKERS;
    if (n == 0) {
        pass_time();
        return;
    }
    uint32_t who = can[sim_below(n)];
    sim_note(who);
    switch (who) {
    case LOOP:
        loop_turn();
        break;
    case TIMERS:
        loop_timers();
        break;
    case WORKERS:
        exec_turn();
        break;
    default:
        fiber_run(who);
    }
}

/* --- clients --------------------------------------------------------------------------------------------------------
 */

struct request {
    uint64_t token;
    size_t n;
};

static void accepted(int err, const struct event *ev, void *arg)
{
    struct request *r = arg;
    (void)ev;
    for (size_t i = 0; i < r->n; i++)
        model_answer(r->token + i, err);
    free(r);
    if (fiber_here() && sim_one_in(8))
        fiber_yield();
}

static const struct function *any_function(void)
{
    char name[8];
    (void)snprintf(name, sizeof name, "f%u", sim_below(SIM_FNS));
    return registry_get(sim.registry, name);
}

static void submit(void)
{
    enum { MANY = 8 };
    struct queue_new in[MANY];
    struct id ids[MANY];
    const struct function *f = any_function();
    if (f == NULL)
        return;
    size_t n = sim_one_in(10) ? 1 + sim_below(MANY) : 1;
    struct request *r = malloc(sizeof *r);
    r->n = n;
    for (size_t i = 0; i < n; i++) {
        uint32_t len = sim_percent(sim.plan.long_pct) ? PAYLOAD_SHORT + sim_below(PAYLOAD_LONG) : PAYLOAD_SHORT;
        ids[i] = id_new(&sim.ids, sim_wall_ms());
        uint64_t token = model_submit(&ids[i], f->fid, len);
        char *payload = malloc(len + 1);
        model_payload(token, len, payload);
        in[i] = (struct queue_new){
            .id = ids[i], .fid = f->fid, .name = f->name, .qualifier = "", .payload = payload, .payload_len = len};
        if (i == 0)
            r->token = token;
    }
    SIM_TRACE("client: submissions %llu to %llu for %s", (unsigned long long)r->token,
              (unsigned long long)(r->token + n - 1), f->name);
    int rc = queue_accept_many(sim.queue, in, n, accepted, r);
    for (size_t i = 0; i < n; i++)
        free((char *)(uintptr_t)in[i].payload);
    if (rc < 0)
        accepted(rc, NULL, r);
    function_unref(f);
    sim.totals.events += n;
}

static void call_answered(const struct invoke_answer *a, void *arg)
{
    (void)a;
    model_call_answer((uint64_t)(uintptr_t)arg);
}

static void call(void)
{
    const struct function *f = any_function();
    uint64_t name;
    if (f == NULL)
        return;
    struct id id = id_new(&sim.ids, sim_wall_ms());
    uint64_t number = model_call(&id);
    struct invoke_call c = {.fn = f, .id = id, .qualifier = "", .trace = "", .payload = "{}", .payload_len = 2};
    if (dispatcher_invoke(sim.dispatcher, &c, call_answered, (void *)(uintptr_t)number, &name) < 0)
        model_call_answer(number);
    else if (sim_one_in(10))
        dispatcher_invoke_abandon(sim.dispatcher, name);
    function_unref(f);
    sim.totals.calls++;
}

/* --- operators: one event -------------------------------------------------------------------------------------------
 */

static struct id *keep(const struct id *id)
{
    struct id *to = malloc(sizeof *to);
    *to = *id;
    return to;
}

static void cancelled(int err, const struct event *ev, void *arg)
{
    (void)ev;
    model_cancel_answer(arg, err);
    free(arg);
}

static void cancel_one(void)
{
    struct id id;
    if (!model_pick(1 << EVENT_QUEUED | 1 << EVENT_RUNNING | 1 << EVENT_WAITING, &id))
        return;
    model_cancel(&id);
    struct id *kept = keep(&id);
    if (queue_cancel(sim.queue, &id, cancelled, kept) < 0)
        free(kept);
}

static void retry_one(void)
{
    struct id id;
    if (!model_pick(1 << EVENT_WAITING, &id))
        return;
    model_retry(&id);
    (void)!queue_retry(sim.queue, &id, NULL, NULL);
}

/* --- operators: all of a function -----------------------------------------------------------------------------------
 */

struct sweep {
    struct purge *p;
    bool retry;
};

static void swept(int err, const struct queue_sweep *at, void *arg)
{
    struct sweep *s = arg;
    int rc = err;
    if (err == 0)
        purge_chunk(s->p, at);
    if (err == 0 && at->more) {
        rc = s->retry ? queue_retry_chunk(sim.queue, at, CHUNK, swept, s)
                      : queue_cancel_chunk(sim.queue, at, CHUNK, swept, s);
        if (rc == 0)
            return;
    }
    purge_end(s->p, rc == 0);
    free(s);
}

static void sweep(bool retry)
{
    const struct function *f = any_function();
    if (f == NULL)
        return;
    struct queue_sweep from = {.fid = f->fid, .queued = true, .waiting = true, .running = sim_one_in(2)};
    if (retry)
        from.queued = from.running = false;
    function_unref(f);
    struct purge *p = purge_begin(from.fid, &from, retry);
    if (p == NULL)
        return;
    SIM_TRACE("operator: %s function %llu", retry ? "retry all of" : "purge", (unsigned long long)from.fid);
    struct sweep *s = malloc(sizeof *s);
    *s = (struct sweep){p, retry};
    int rc = retry ? queue_retry_chunk(sim.queue, &from, CHUNK, swept, s)
                   : queue_cancel_chunk(sim.queue, &from, CHUNK, swept, s);
    if (rc < 0) {
        purge_end(p, false);
        free(s);
    }
}

/* --- operators: dead letters and history ----------------------------------------------------------------------------
 */

static int resolve(const char *name, const char *qualifier, uint64_t *ret_fid, void *arg)
{
    (void)qualifier;
    (void)arg;
    const struct function *f = registry_get(sim.registry, name);
    if (f == NULL)
        return ERR_NOTFOUND;
    *ret_fid = f->fid;
    function_unref(f);
    return 0;
}

static void replayed_one(int err, const struct dlq_replay_result *r, void *arg)
{
    (void)err;
    (void)r;
    (void)arg;
    model_removal_answer();
}

struct redrive {
    struct dlq_filter f;
    char name[8];
};

static void redrive_next(struct redrive *r, uint64_t cursor);

static void redriven(int err, const struct dlq_replay_result *at, void *arg)
{
    struct redrive *r = arg;
    if (err == 0 && at->cursor != 0) {
        r->f.until = at->until;
        redrive_next(r, at->cursor);
        return;
    }
    model_removal_answer();
    free(r);
}

static void redrive_next(struct redrive *r, uint64_t cursor)
{
    if (dlq_replay_chunk(sim.dlq, &r->f, cursor, CHUNK, resolve, NULL, redriven, r) == 0)
        return;
    model_removal_answer();
    free(r);
}

static void replay(void)
{
    struct id id;
    bool again = sim_one_in(4);
    if (sim.totals.events > 2 * sim.plan.events)
        return; /* enough of them */
    if (!model_pick(1 << EVENT_DEAD | 1 << EVENT_REPLAYED, &id))
        return;
    model_removal_asked();
    if (sim_one_in(4)) {
        struct redrive *r = calloc(1, sizeof *r);
        (void)snprintf(r->name, sizeof r->name, "f%u", sim_below(SIM_FNS));
        r->f = (struct dlq_filter){.function = r->name};
        redrive_next(r, 0);
    } else if (dlq_replay_one(sim.dlq, &id, again, resolve, NULL, replayed_one, NULL) < 0) {
        model_removal_answer();
    }
}

static void removed(int err, uint64_t n, uint64_t cursor, void *arg)
{
    (void)err;
    (void)n;
    (void)cursor;
    (void)arg;
    model_removal_answer();
}

static void remove_letters(bool many)
{
    struct id id;
    struct dlq_filter all = {.replayed_too = true};
    model_removal_asked();
    int rc = ERR_NOTFOUND;
    if (many)
        rc = dlq_remove_chunk(sim.dlq, &all, 0, CHUNK * 2, removed, NULL);
    else if (sim_one_in(2))
        rc = dlq_retention(sim.dlq, CHUNK, removed, NULL);
    else if (model_pick(1 << EVENT_DEAD | 1 << EVENT_REPLAYED, &id))
        rc = dlq_remove_one(sim.dlq, &id, removed, NULL);
    if (rc < 0)
        model_removal_answer();
}

static void evicted(int err, uint64_t n, void *arg)
{
    removed(err, n, 0, arg);
}

static void evict(void)
{
    model_removal_asked();
    if (queue_evict_history(sim.queue, CHUNK * 2, evicted, NULL) < 0)
        model_removal_answer();
}

/* --- operators: functions -------------------------------------------------------------------------------------------
 */

static void changed(int err, const struct err *e, const struct function *f, void *arg)
{
    (void)e;
    (void)f;
    if (err != ERR_IO) /* nobody knows */
        model_function_answer(arg);
    free(arg);
}

static uint32_t next_handler = 1;

static void change(uint32_t index, bool calm)
{
    char name[8], handler[16];
    struct code code = {.zip_bytes = 1};
    (void)snprintf(name, sizeof name, "f%u", index);
    (void)snprintf(handler, sizeof handler, "h%u", next_handler);
    memcpy(code.sha256, life_package, sizeof code.sha256);
    struct function_spec spec = {.runtime = "exec",
                                 .role = "arn:aws:iam::000000000000:role/default",
                                 .handler = handler,
                                 .architecture = "x86_64",
                                 .timeout_s = 60,
                                 .memory_mb = sim_one_in(2) ? 128 : 512,
                                 .tmp_mb = 512};
    struct invoke_config cfg = {.max_retries = (int32_t)sim_below(4) - 1,
                                .max_age_s = sim_one_in(2) ? -1 : 60 + (int32_t)sim_below(600)};
    const struct function *f = registry_get(sim.registry, name);
    char *kept = strdup(name);
    int rc;
    model_function_asked(name);
    if (f == NULL) {
        next_handler++;
        spec.code = &code;
        rc = registry_create(sim.registry, name, &spec, changed, kept);
    } else if (calm) {
        rc = f->paused ? registry_set_paused(sim.registry, name, false, changed, kept)
                       : registry_set_reserved(sim.registry, name, -1, changed, kept);
    } else {
        switch (sim_below(10)) {
        case 0:
            rc = registry_delete(sim.registry, name, changed, kept);
            break;
        case 1:
        case 2:
            next_handler++;
            rc = registry_update(sim.registry, name, &spec, changed, kept);
            break;
        case 3:
        case 4:
            rc = registry_set_invoke_config(sim.registry, name, &cfg, sim_one_in(2), changed, kept);
            break;
        case 5:
            rc = registry_set_invoke_config(sim.registry, name, NULL, false, changed, kept);
            break;
        case 6:
        case 7:
            rc = registry_set_reserved(sim.registry, name, (int32_t)sim_below(5) - 1, changed, kept);
            break;
        default:
            rc = registry_set_paused(sim.registry, name, !f->paused && sim_one_in(2), changed, kept);
        }
    }
    if (rc < 0) {
        model_function_answer(name);
        free(kept);
    }
    function_unref(f);
}

void steps_first(void)
{
    for (uint32_t i = 0; i < SIM_FNS; i++)
        change(i, true);
}

static void operator_acts(void)
{
    switch (sim_below(20)) {
    case 0:
    case 1:
    case 2:
        cancel_one();
        break;
    case 3:
    case 4:
        retry_one();
        break;
    case 5:
        sweep(false);
        break;
    case 6:
        sweep(true);
        break;
    case 7:
    case 8:
    case 9:
        replay();
        break;
    case 10:
        remove_letters(false);
        break;
    case 11:
        remove_letters(true);
        break;
    case 12:
    case 13:
        evict();
        break;
    default:
        change(sim_below(SIM_FNS), false);
    }
}

/* --- what breaks ----------------------------------------------------------------------------------------------------
 */

static void step_clock(void)
{
    static const int64_t sizes_s[] = {1, 9, 61, 3600, 86400, 365LL * 86400};
    const int64_t most_us = 5LL * 366 * 86400 * 1000000;
    int64_t size_ms = 1000 * sizes_s[sim_below(6)], by_ms = (int64_t)((double)size_ms * (1 + sim_below(1000)) / 1000);
    if (sim_one_in(2))
        by_ms = -by_ms;
    if (sim.wall_offset_us + by_ms * 1000 > SIM_EPOCH_US + most_us ||
        sim.wall_offset_us + by_ms * 1000 < SIM_EPOCH_US - most_us)
        by_ms = -by_ms;
    int64_t now = sim_wall_ms();
    if (now > sim.wall_high_ms)
        sim.wall_high_ms = now;
    sim.wall_offset_us += by_ms * 1000;
    sim.totals.clock_steps++;
    SIM_TRACE("clock: set %s by %lld ms", by_ms < 0 ? "back" : "forward", (long long)by_ms);
    model_clock_step(by_ms);
    bugs_clock_stepped(by_ms);
}

static void break_something(void)
{
    if (sim_one_in(sim.plan.step_in))
        step_clock();
    if (sim_one_in(sim.plan.kill_in))
        exec_kill_one();
    if (sim_one_in(sim.plan.lose_in))
        exec_lose();
    if (sim.crash == NULL && sim.plan.crash_in > 0 && sim_one_in(20 * sim.plan.crash_in))
        sim.crash = "killed";
}

static void end_life(void)
{
    if (sim.crash != NULL)
        life_crash();
    life_start();
    life_verify();
}

void steps_one(void)
{
    uint32_t r = sim_below(1000);
    if (r < 30 && model_open_events() < sim.plan.open_max && model_known_events() < sim.plan.events)
        submit();
    else if (r < 120 && model_open_events() < sim.plan.open_max / 2 && model_known_events() < sim.plan.events)
        submit();
    else if (r >= 120 && r < 125)
        call();
    else
        steps_work();
    if (sim.crash == NULL && sim_one_in(sim.plan.operator_in))
        operator_acts();
    if (sim.crash == NULL)
        break_something();
    if (sim.crash == NULL && sim_one_in(sim.plan.stop_in)) {
        life_stop();
        end_life();
    } else if (sim.crash != NULL) {
        end_life();
    }
}

/* --- the end --------------------------------------------------------------------------------------------------------
 */

static bool quiet(void)
{
    return fiber_next_us() == INT64_MAX && !loop_busy() && !loop_timer_due() && !exec_due();
}

/* Faults are over: everything comes to its end. */
void steps_drain(void)
{
    sim.calm = true;
    uint64_t open = model_open_events(), steps = 0;
    for (uint32_t i = 0; steps < STUCK_STEPS && (open > 0 || !quiet() || exec_next_us() != INT64_MAX); i++) {
        steps = model_open_events() == open ? steps + 1 : 0;
        open = model_open_events();
        if (i % 200 == 0) {
            remove_letters(true);
            evict();
        }
        if (i % 2000 == 0)
            change((i / 2000) % SIM_FNS, true);
        sim_step_begins();
        steps_work();
        if (sim.crash != NULL)
            sim_violation("the engine ends without a cause: %s", sim.crash);
    }
    model_quiet();
    model_end();
    life_verify();
    life_stop();
}
