/* An engine's life, as tools/bided/engine.c leads it but for the API, the logs and the housekeeper. */
#include "life.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "model.h"

const char life_package[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void on_lost(void *arg)
{
    (void)arg;
    sim.crash = "the executor process is gone";
}

/* A package that is never looked into: no worker is real. */
static void put_package(void)
{
    char zip[SHA256_HEX_LEN + 8];
    (void)snprintf(zip, sizeof zip, "%s.zip", life_package);
    (void)mkdirat(sim.code_fd, life_package, 0755);
    int fd = openat(sim.code_fd, zip, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0)
        sim_violation("the simulation cannot write its package");
    fd_close(&fd);
}

static int open_queue(struct err *e)
{
    struct queue_opts o = {.clock = &sim.clock,
                           .history_payload = sim.plan.history_payload,
                           .history_retention_ms = 7LL * 86400 * 1000,
                           .history_max_bytes = sim.plan.history_bytes,
                           .max_disruptions = SIM_MAX_DISRUPTIONS};
    clock_init_real(&sim.clock);
    return queue_open(&sim.queue, sim.store, &o, e);
}

static int open_dlq(struct err *e)
{
    struct dlq_opts o = {
        .clock = &sim.clock, .ids = &sim.ids, .retention_ms = 14LL * 86400 * 1000, .max_bytes = sim.plan.dlq_bytes};
    struct store_hooks hooks = {.before_commit = model_before_commit};
    int rc = dlq_open(&sim.dlq, sim.queue, &o, e);
    return rc < 0 ? rc : store_add_hooks(sim.store, &hooks);
}

static int recover(struct err *e)
{
    uint64_t recovered = 0;
    int64_t clean = 1;
    model_engine_opened();
    sim.recovering = true;
    int rc = queue_recover(sim.queue, &recovered, e);
    sim.recovering = false;
    if (rc < 0)
        return rc;
    int got = queue_meta_get(sim.queue, "clean_stop", &clean);
    sim.unclean = recovered > 0 || (got == 0 && clean == 0);
    return queue_meta_put_now(sim.queue, "clean_stop", 0, e);
}

static void on_change(const struct function *f, bool deleted, void *arg)
{
    (void)arg;
    model_function(f, deleted);
}

static int open_all(struct err *e)
{
    struct store_opts so = {.max_bytes = sim.plan.map_bytes,
                            .reserve_bytes = sim.plan.reserve_bytes,
                            .unsafe_nosync = true,
                            .fault = disk_fault,
                            .on_fatal = disk_fatal};
    struct registry_opts ro = {.clock = &sim.clock,
                               .code_fd = sim.code_fd,
                               .account_concurrency = (int32_t)sim.plan.account,
                               .unreserved_minimum = 1};
    put_package();
    int rc = store_open(&sim.store, "queue", &so, e);
    if (rc == 0)
        rc = open_queue(e);
    if (rc == 0)
        rc = registry_open(&sim.registry, sim.store, &ro, e);
    if (rc == 0)
        rc = open_dlq(e);
    if (rc == 0)
        rc = recover(e);
    if (rc == 0) {
        registry_on_change(sim.registry, on_change, NULL); /* before the dispatcher's: it is not to know more */
        rc = loop_new(&sim.loop, e);
    }
    struct dispatcher_deps dd = {.loop = sim.loop,
                                 .clock = &sim.clock,
                                 .settings = sim.settings,
                                 .registry = sim.registry,
                                 .queue = sim.queue,
                                 .dlq = sim.dlq,
                                 .executor_sock = -1,
                                 .runtimes_fd = -1,
                                 .unclean = sim.unclean,
                                 .on_lost = on_lost};
    if (rc == 0)
        rc = dispatcher_new(&sim.dispatcher, &dd, e);
    return rc;
}

/* The engine is gone without a word; its disk stays. */
static void vanish(void)
{
    disk_crash();
    host_end(false);
    sim.store = NULL;
    sim.queue = NULL;
    sim.dlq = NULL;
    sim.registry = NULL;
    sim.loop = NULL;
    sim.dispatcher = NULL;
}

void life_start(void)
{
    struct err e = {0};
    for (uint32_t tries = 0;; tries++) {
        host_begin();
        sim.stopping = false;
        id_gen_init(&sim.ids);
        int rc = open_all(&e);
        if (rc == 0)
            break;
        SIM_TRACE("engine: cannot start: %s", e.text);
        if (rc != ERR_IO || tries > 100)
            sim_violation("the engine cannot start: %s (%s)", e.text, err_name(rc));
        sim.totals.crashes++;
        sim.recovering = false;
        vanish();
    }
    model_engine_started();
    if (store_start(sim.store, &e) < 0)
        sim_violation("the store thread cannot start: %s", e.text);
    dispatcher_begin(sim.dispatcher);
    SIM_TRACE("engine: started%s", sim.unclean ? " after a crash" : "");
}

void life_crash(void)
{
    SIM_TRACE("engine: crash (%s)", sim.crash);
    sim.totals.crashes++;
    sim.crash = NULL;
    vanish();
}

static void drained(void *arg)
{
    *(bool *)arg = true;
}

void life_stop(void)
{
    struct err e = {0};
    bool is_drained = false;
    SIM_TRACE("engine: stop");
    sim.stopping = true;
    dispatcher_shutdown(sim.dispatcher, 30000, drained, &is_drained);
    for (uint32_t i = 0; !is_drained && sim.crash == NULL; i++) {
        if (i == 1000000)
            sim_violation("the engine does not come to its stop");
        steps_work();
    }
    if (sim.crash != NULL)
        return;
    while (loop_busy())
        loop_turn();
    store_stop(sim.store);
    if (sim.crash != NULL)
        return;
    while (loop_busy())
        loop_turn();
    if (queue_meta_put_now(sim.queue, "clean_stop", 1, &e) < 0)
        SIM_TRACE("engine: the clean stop could not be noted: %s", e.text);
    dispatcher_free(sim.dispatcher);
    loop_free(sim.loop);
    dlq_close(sim.dlq);
    queue_close(sim.queue);
    registry_close(sim.registry);
    store_close(sim.store);
    sim.totals.stops++;
    host_end(true);
}

static void finding(const char *line, void *arg)
{
    (void)arg;
    sim_violation("verify: %s", line);
}

void life_verify(void)
{
    struct store_txn *t;
    uint64_t n;
    if (store_read_begin(sim.store, &t) < 0 || queue_verify(sim.queue, t, finding, NULL, &n) < 0 ||
        dlq_verify(sim.dlq, t, finding, NULL, &n) < 0)
        sim_violation("verify cannot read the store");
    store_read_end(t);
    sim.totals.verified++;
}
