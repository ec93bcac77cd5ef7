/* The executor: the interface of executor/executor.h with workers that do what the script of the seed says. What it
 * reports is the only truth there is about runs; the model is told before the dispatcher is. */
#include <stdlib.h>
#include <string.h>

#include "executor/executor.h"
#include "model.h"
#include "sim.h"

enum { WORKERS_MAX = 512 };

enum state {
    W_NONE,
    W_STARTING,  /* then ready, start_failed, init_failed */
    W_IDLE,      /* due only when it is to die */
    W_BUSY,      /* then a result */
    W_RESETTING, /* then ready */
    W_LEAVING,   /* then gone */
};

enum end { READY, START_FAILED, INIT_FAILED, RESULT, GONE };

struct worker {
    uint64_t id;
    enum state state;
    uint32_t handler; /* which version of which function: see model_function */
    int64_t due_us;   /* INT64_MAX: nothing is to come by itself */
    enum end next;
    enum executor_end how; /* of a result */
    bool killed;           /* executor_stop while it was busy */
    uint64_t token;
    struct model_run run;
};

struct executor {
    const struct executor_cbs *cbs;
    void *arg;
};

static struct executor only;
static struct worker workers[WORKERS_MAX];
static uint32_t n_workers; /* places in use, free ones between them too */
static uint32_t n_executing;

static void reset(void)
{
    memset(workers, 0, sizeof workers);
    n_workers = n_executing = 0;
}

int executor_new(struct executor **ret, struct loop *l, int sock, const struct executor_opts *o,
                 const struct executor_cbs *cbs, void *arg, struct err *e)
{
    (void)l;
    (void)sock;
    (void)o;
    (void)e;
    reset();
    only = (struct executor){cbs, arg};
    *ret = &only;
    return 0;
}

void executor_free(struct executor *x)
{
    (void)x;
    reset();
}

int executor_runtime_check(int runtimes_fd, const char *runtime, struct err *e)
{
    (void)runtimes_fd;
    (void)runtime;
    (void)e;
    return 0;
}

size_t executor_degradations(const struct executor *x, const char *const **ret)
{
    (void)x;
    *ret = NULL;
    return 0;
}

int executor_init_body(const struct executor_result *r, const char *request_id, struct buf *out)
{
    (void)r;
    return buf_printf(out, "{\"errorMessage\":\"RequestId: %s\"}", request_id);
}

static struct worker *find(uint64_t id)
{
    for (uint32_t i = 0; i < n_workers; i++)
        if (workers[i].state != W_NONE && workers[i].id == id)
            return &workers[i];
    return NULL;
}

size_t executor_workers(const struct executor *x)
{
    size_t n = 0;
    (void)x;
    for (uint32_t i = 0; i < n_workers; i++)
        n += workers[i].state != W_NONE;
    return n;
}

static int64_t in_ms(uint32_t least, uint32_t most)
{
    return sim.mono_us + 1000LL * least + 1000LL * sim_below(most - least + 1);
}

void executor_start(struct executor *x, uint64_t id, const struct executor_spec *spec)
{
    (void)x;
    struct worker *w = workers;
    while (w < workers + WORKERS_MAX && w->state != W_NONE)
        w++;
    if (w == workers + WORKERS_MAX)
        sim_violation("there are %d workers, and one more is started", WORKERS_MAX);
    if (w == workers + n_workers)
        n_workers++;
    *w = (struct worker){.id = id,
                         .state = W_STARTING,
                         .handler = (uint32_t)strtoul(spec->handler + 1, NULL, 10),
                         .due_us = in_ms(1, sim_one_in(20) ? 5000 : 300),
                         .next = READY};
    if (!sim.calm && sim_percent(sim.plan.start_failed_pct))
        w->next = START_FAILED;
    else if (!sim.calm && sim_percent(sim.plan.init_failed_pct))
        w->next = INIT_FAILED;
    SIM_TRACE("executor: start worker %llu for version %u", (unsigned long long)id, w->handler);
}

static enum executor_end choose_end(void)
{
    static const enum executor_end failures[] = {EXECUTOR_FN_ERROR, EXECUTOR_FN_ERROR, EXECUTOR_TIMEOUT,
                                                 EXECUTOR_OUT_OF_MEMORY, EXECUTOR_EXITED};
    if (!sim.calm && sim_percent(sim.plan.disrupted_pct))
        return EXECUTOR_DISRUPTED;
    if (sim_percent(sim.plan.failed_pct))
        return failures[sim_below(sizeof failures / sizeof failures[0])];
    return EXECUTOR_OK;
}

void executor_invoke(struct executor *x, uint64_t id, const struct executor_invocation *inv)
{
    (void)x;
    struct worker *w = find(id);
    if (w != NULL && w->state == W_LEAVING && w->next == GONE) {
        /* It has died, and the dispatcher has not been told yet. */
        w->run = model_hand_over(w->handler, inv->token, inv->request_id, inv->payload, inv->payload_len, n_executing);
    } else if (w == NULL || w->state != W_IDLE) {
        sim_violation("run %llu is handed to a worker that is not idle", (unsigned long long)inv->token);
    } else {
        w->run = model_hand_over(w->handler, inv->token, inv->request_id, inv->payload, inv->payload_len, n_executing);
    }
    n_executing++;
    sim.totals.runs++;
    SIM_TRACE("executor: run %llu goes to worker %llu", (unsigned long long)inv->token, (unsigned long long)id);
    w->how = w->state == W_LEAVING ? EXECUTOR_DISRUPTED : choose_end();
    w->state = W_BUSY;
    w->token = inv->token;
    w->next = RESULT;
    w->due_us = in_ms(0, sim_one_in(50) ? 60000 : sim_one_in(4) ? 2000 : 20);
    SIM_TRACE("executor: run %llu (%s %llu) on worker %llu", (unsigned long long)w->token,
              w->run.sync ? "call" : "event", (unsigned long long)w->run.seq, (unsigned long long)id);
}

void executor_stop(struct executor *x, uint64_t id)
{
    (void)x;
    struct worker *w = find(id);
    if (w == NULL || w->state == W_LEAVING)
        return;
    SIM_TRACE("executor: stop worker %llu", (unsigned long long)id);
    if (w->state == W_BUSY) {
        w->how = EXECUTOR_DISRUPTED; /* whatever it was about to answer */
        w->killed = true;
        w->due_us = in_ms(0, 20);
        return;
    }
    w->state = W_LEAVING;
    w->next = GONE;
    w->due_us = in_ms(0, 20);
}

/* --- what comes from workers ----------------------------------------------------------------------------------------
 */

static void result(struct worker *w)
{
    static const char tail[] = "START RequestId\nwhat the function said\nEND RequestId\nREPORT RequestId\n";
    bool failed = w->how != EXECUTOR_OK, usable = w->how == EXECUTOR_OK || w->how == EXECUTOR_FN_ERROR;
    bool dies = w->how == EXECUTOR_DISRUPTED || w->how == EXECUTOR_OUT_OF_MEMORY || w->how == EXECUTOR_EXITED;
    if (usable && sim_one_in(10))
        usable = false; /* ready a little later */
    struct executor_result r = {.token = w->token,
                                .end = w->how,
                                .body = failed ? "{\"errorType\":\"E\",\"errorMessage\":\"m\"}" : "null",
                                .error_type = failed ? "E" : "",
                                .error_message = failed ? "m" : "",
                                .log_tail = failed ? tail : "",
                                .log_tail_len = failed ? sizeof tail - 1 : 0,
                                .exit_code = w->how == EXECUTOR_EXITED ? 1 : -1,
                                .peak_kb = 1000,
                                .worker_survives = !dies,
                                .usable_now = usable};
    r.body_len = strlen(r.body);
    w->state = usable ? W_IDLE : dies ? W_LEAVING : W_RESETTING;
    w->next = dies ? GONE : READY;
    w->due_us = usable ? INT64_MAX : in_ms(0, 30);
    n_executing--;
    SIM_TRACE("executor: run %llu ends (%d)", (unsigned long long)w->token, (int)w->how);
    model_outcome(&w->run, w->token,
                  w->how == EXECUTOR_OK          ? MODEL_OK
                  : w->how == EXECUTOR_DISRUPTED ? MODEL_BROKEN
                                                 : MODEL_FAILED);
    only.cbs->on_result(w->id, &r, only.arg);
}

static void init_failed(struct worker *w)
{
    struct executor_result r = {.end = EXECUTOR_INIT_ERROR,
                                .body = "{}",
                                .body_len = 2,
                                .error_type = "Runtime.ImportModuleError",
                                .error_message = "m",
                                .log_tail = "",
                                .exit_code = 1};
    w->state = W_LEAVING;
    w->next = GONE;
    w->due_us = in_ms(0, 30);
    model_init_failed(w->handler);
    only.cbs->on_init_failed(w->id, &r, only.arg);
}

static void turn(struct worker *w)
{
    uint64_t id = w->id;
    sim_note(id << 8 | w->next);
    switch (w->next) {
    case READY:
        w->state = W_IDLE;
        w->due_us = INT64_MAX;
        SIM_TRACE("executor: worker %llu is ready", (unsigned long long)id);
        only.cbs->on_ready(id, only.arg);
        break;
    case START_FAILED:
        w->state = W_NONE;
        SIM_TRACE("executor: worker %llu cannot be started", (unsigned long long)id);
        only.cbs->on_start_failed(id, "the simulation says so", only.arg);
        break;
    case INIT_FAILED:
        SIM_TRACE("executor: worker %llu fails to initialise", (unsigned long long)id);
        init_failed(w);
        break;
    case RESULT:
        result(w);
        break;
    case GONE:
        w->state = W_NONE;
        SIM_TRACE("executor: worker %llu is gone", (unsigned long long)id);
        model_worker_gone();
        only.cbs->on_gone(id, only.arg);
        break;
    }
}

int64_t exec_next_us(void)
{
    int64_t at = INT64_MAX;
    for (uint32_t i = 0; i < n_workers; i++)
        if (workers[i].state != W_NONE && workers[i].due_us < at)
            at = workers[i].due_us;
    return at;
}

bool exec_due(void)
{
    return exec_next_us() <= sim.mono_us;
}

void exec_turn(void)
{
    uint32_t due[WORKERS_MAX], n = 0;
    for (uint32_t i = 0; i < n_workers; i++)
        if (workers[i].state != W_NONE && workers[i].due_us <= sim.mono_us)
            due[n++] = i;
    if (n > 0)
        turn(&workers[due[sim_below(n)]]);
}

void exec_kill_one(void)
{
    uint32_t alive[WORKERS_MAX], n = 0;
    for (uint32_t i = 0; i < n_workers; i++)
        if (workers[i].state == W_IDLE || workers[i].state == W_BUSY)
            alive[n++] = i;
    if (n == 0)
        return;
    struct worker *w = &workers[alive[sim_below(n)]];
    SIM_TRACE("executor: worker %llu dies", (unsigned long long)w->id);
    executor_stop(&only, w->id);
}

void exec_lose(void)
{
    SIM_TRACE("executor: the executor process dies");
    only.cbs->on_lost(only.arg);
}

uint32_t exec_idle(uint32_t handler)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_workers; i++)
        n += workers[i].state == W_IDLE && workers[i].handler == handler;
    return n;
}

bool exec_busy(uint32_t handler)
{
    for (uint32_t i = 0; i < n_workers; i++)
        if (workers[i].handler == handler && workers[i].state != W_NONE && workers[i].state != W_IDLE)
            return true;
    return false;
}
