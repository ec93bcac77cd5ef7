#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "datadir.h"
#include "housekeeper.h"
#include "logs/logs.h"
#include "notify.h"
#include "watchdog.h"

enum { EXIT_CANNOT_START = 1 };

struct engine {
    const struct engine_opts *o;
    struct clock clock;
    struct id_gen ids;
    struct store *store;
    struct queue *queue;
    struct dlq *dlq;
    struct registry *registry;
    struct logs *logs;
    struct dispatcher *dispatcher;
    struct api *api;
    struct loop *api_loop;
    struct loop *dispatch_loop;
    struct loop_watch *reloads;
    struct housekeeper housekeeper;
    struct watchdog watchdog;
    pthread_t dispatch_thread;
    bool dispatching;
    uint64_t recovered; /* events found running at this start */
    bool stopping;
    int drained; /* of the two halves that must drain before the end */
};

static int64_t setting(const struct engine *g, enum setting k)
{
    return settings_int(g->o->settings, k);
}

static void lost_executor(void *arg)
{
    (void)arg;
    log_error("engine", "the executor process is gone; ending (a supervisor starts both anew)");
    _exit(EXIT_LOST_PEER);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

/* A virtual clock goes on where it stood, or at real time if that is later; and a directory that was ahead of real time
 * refuses the real clock, since every due time in it would lie in the future (the design, section 8). */
static int set_clock(struct engine *g, struct err *e)
{
    int64_t stored = 0, real = clock_real_ms();
    int rc = queue_meta_get(g->queue, "clock_ms", &stored);
    if (rc < 0 && rc != ERR_NOTFOUND)
        return err_set(e, rc, "the stored clock cannot be read (%s)", err_name(rc));
    if (strcmp(settings_str(g->o->settings, SET_CLOCK), "virtual") == 0) {
        clock_init_virtual(&g->clock, stored > real ? stored : real);
        return queue_meta_put_now(g->queue, "clock_ms", clock_now_ms(&g->clock), e);
    }
    if (stored > real)
        return err_set(e, ERR_CONFLICT,
                       "this data directory was used with clock = virtual and its clock is %lld s ahead of real time; "
                       "start with --set clock=virtual, or wait until then",
                       (long long)((stored - real) / 1000));
    return 0;
}

static int open_queue(struct engine *g, struct err *e)
{
    struct queue_opts qo = {.clock = &g->clock,
                            .history_payload = setting(g, SET_HISTORY_PAYLOAD) != 0,
                            .history_retention_ms = setting(g, SET_HISTORY_RETENTION),
                            .history_max_bytes = (uint64_t)setting(g, SET_HISTORY_MAX_BYTES),
                            .max_disruptions = (uint32_t)setting(g, SET_ASYNC_MAX_DISRUPTIONS)};
    clock_init_real(&g->clock);
    int rc = queue_open(&g->queue, g->store, &qo, e);
    return rc < 0 ? rc : set_clock(g, e);
}

static int open_stores(struct engine *g, bool *ret_unclean, struct err *e)
{
    struct store_opts so = {.max_bytes = (uint64_t)setting(g, SET_QUEUE_MAX_BYTES),
                            .reserve_bytes = (uint64_t)setting(g, SET_QUEUE_RESERVE_BYTES)};
    struct registry_opts ro = {.clock = &g->clock,
                               .code_fd = g->o->code_fd,
                               .account_concurrency = (int32_t)setting(g, SET_ACCOUNT_CONCURRENCY),
                               .unreserved_minimum = (int32_t)setting(g, SET_ACCOUNT_UNRESERVED_MINIMUM),
                               .on_sweep_due = housekeeper_stir,
                               .arg = &g->housekeeper};
    struct dlq_opts dopts = {.clock = &g->clock,
                             .ids = &g->ids,
                             .retention_ms = setting(g, SET_DLQ_RETENTION),
                             .max_bytes = (uint64_t)setting(g, SET_DLQ_MAX_BYTES)};
    int64_t clean = 1;
    struct store_hooks hooks = housekeeper_hooks(&g->housekeeper);
    int rc = store_open(&g->store, "queue", &so, e);
    if (rc == 0)
        rc = store_add_hooks(g->store, &hooks);
    if (rc == 0)
        rc = open_queue(g, e);
    if (rc == 0)
        rc = registry_open(&g->registry, g->store, &ro, e);
    if (rc == 0)
        rc = dlq_open(&g->dlq, g->queue, &dopts, e);
    if (rc == 0)
        rc = queue_recover(g->queue, &g->recovered, e);
    if (rc < 0)
        return rc;
    int got = queue_meta_get(g->queue, "clean_stop", &clean);
    *ret_unclean = g->recovered > 0 || (got == 0 && clean == 0);
    if (g->recovered > 0)
        log_info("engine", "recovered events=%llu: they were running when the last bided ended, and are queued again",
                 (unsigned long long)g->recovered);
    return queue_meta_put_now(g->queue, "clean_stop", 0, e);
}

static struct logs_opts logs_settings(struct engine *g)
{
    return (struct logs_opts){.on = setting(g, SET_LOGS) != 0,
                              .rate = (uint64_t)setting(g, SET_LOGS_RATE),
                              .function_max_bytes = (uint64_t)setting(g, SET_LOGS_FUNCTION_MAX_BYTES),
                              .max_bytes = (uint64_t)setting(g, SET_LOGS_MAX_BYTES),
                              .retention_ms = setting(g, SET_LOGS_RETENTION),
                              .reserve_bytes = (uint64_t)setting(g, SET_QUEUE_RESERVE_BYTES),
                              .on_stopped = housekeeper_stir,
                              .arg = &g->housekeeper};
}

static int open_logs(struct engine *g, struct err *e)
{
    struct logs_opts lo = logs_settings(g);
    int fd = open("logs", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_sys(e, ERR_IO, errno, "data directory: cannot open logs/");
    return logs_open(&g->logs, fd, &lo, e);
}

static int open_front(struct engine *g, bool unclean, struct err *e)
{
    const struct engine_opts *o = g->o;
    int rc = open_logs(g, e);
    if (rc == 0)
        rc = loop_new(&g->api_loop, e);
    if (rc == 0)
        rc = loop_new(&g->dispatch_loop, e);
    if (rc < 0)
        return rc;
    struct dispatcher_deps dd = {.loop = g->dispatch_loop,
                                 .clock = &g->clock,
                                 .settings = o->settings,
                                 .registry = g->registry,
                                 .queue = g->queue,
                                 .dlq = g->dlq,
                                 .executor_sock = o->executor_sock,
                                 .runtimes_fd = o->runtimes_fd,
                                 .logs = g->logs,
                                 .unclean = unclean,
                                 .on_lost = lost_executor};
    rc = dispatcher_new(&g->dispatcher, &dd, e);
    if (rc < 0)
        return rc;
    struct api_deps ad = {.loop = g->api_loop,
                          .clock = &g->clock,
                          .ids = &g->ids,
                          .settings = o->settings,
                          .registry = g->registry,
                          .queue = g->queue,
                          .dlq = g->dlq,
                          .dispatcher = g->dispatcher,
                          .logs = g->logs,
                          .runtimes_fd = o->runtimes_fd,
                          .keys = &o->key,
                          .n_keys = 1,
                          .version = o->version,
                          .n_unix_uids = o->n_unix_uids,
                          .executor_pid = getppid(),
                          .recovered_events = g->recovered};
    memcpy(ad.unix_uids, o->unix_uids, sizeof ad.unix_uids);
    rc = api_new(&g->api, &ad, e);
    for (size_t i = 0; i < o->listen->n && rc == 0; i++) {
        const struct listen_socket *s = &o->listen->sock[i];
        rc = s->is_unix ? api_listen_unix(g->api, s->fd, e) : api_listen_tcp(g->api, s->fd, e);
    }
    return rc;
}

/* --- running ------------------------------------------------------------------------------------------------------ */

static void *dispatch_main(void *arg)
{
    struct engine *g = arg;
    loop_run(g->dispatch_loop);
    return NULL;
}

static int64_t store_busy(void *arg)
{
    const struct engine *g = arg;
    return store_busy_ms(g->store);
}

static void beat(void *arg)
{
    (void)arg;
    notify_tell("WATCHDOG=1");
}

static void half_drained(void *arg)
{
    struct engine *g = arg;
    if (++g->drained == 2)
        loop_stop(g->api_loop);
}

static void dispatcher_drained(void *arg)
{
    struct engine *g = arg;
    if (loop_post(g->api_loop, half_drained, g) < 0)
        loop_stop(g->api_loop);
}

static void on_stop_signal(int signo, void *arg)
{
    struct engine *g = arg;
    if (g->stopping) {
        /* Ctrl-C and a shell's kill %1 go to the whole process group, so one stop comes here twice: not worth a line.
         */
        log_debug("engine", "still draining signal=%d", signo);
        return;
    }
    g->stopping = true;
    log_info("engine", "stopping signal=%d grace_ms=%lld", signo, (long long)setting(g, SET_SHUTDOWN_GRACE));
    notify_tell("STOPPING=1\nSTATUS=Stopping: no new work, running work ends");
    (void)unlinkat(g->o->dir_fd, "endpoint", 0);
    api_drain(g->api, half_drained, g);
    dispatcher_shutdown(g->dispatcher, setting(g, SET_SHUTDOWN_GRACE), dispatcher_drained, g);
}

/* --- SIGHUP ------------------------------------------------------------------------------------------------------- */

static void tell_difference(enum setting k, const char *text, void *arg)
{
    int *n_live = arg;
    *n_live += setting_live(k);
    if (setting_live(k))
        log_info("engine", "setting %s is now %s", setting_info(k)->key, text);
    else
        log_warn("engine", "setting %s: %s takes effect at the next start", setting_info(k)->key, text);
}

static void apply_settings(struct engine *g)
{
    struct logs_opts lo = logs_settings(g);
    logs_set(g->logs, &lo);
    queue_set_history(g->queue, setting(g, SET_HISTORY_PAYLOAD) != 0, setting(g, SET_HISTORY_RETENTION),
                      (uint64_t)setting(g, SET_HISTORY_MAX_BYTES));
    dlq_set_retention(g->dlq, setting(g, SET_DLQ_RETENTION));
    housekeeper_stir(&g->housekeeper);
    api_reload(g->api);
    if (dispatcher_reload(g->dispatcher) < 0)
        log_error("engine", "out of memory: waits and workers go by the old settings until the next reload");
}

static void on_reload(int fd, int what, void *arg)
{
    (void)fd;
    (void)what;
    struct engine *g = arg;
    struct settings *fresh = NULL;
    struct err e = {0};
    int n_live = 0;
    int rc = reload_receive(&g->o->reload, &fresh, &e);
    if (rc == ERR_AGAIN)
        return;
    if (rc == ERR_SHUTDOWN) { /* the executor process is gone: its other socket ends this one */
        loop_unwatch(g->reloads);
        g->reloads = NULL;
        return;
    }
    if (rc == 0) {
        settings_log(fresh);
        rc = settings_update(g->o->settings, fresh, tell_difference, &n_live);
        apply_settings(g);
    }
    settings_free(fresh);
    if (rc < 0)
        log_error("engine", "SIGHUP: the settings were not taken over: %s", e.text[0] != '\0' ? e.text : err_name(rc));
    else
        log_info("engine", "settings reloaded changed=%d", n_live);
}

/* Held since before the fork (bided.c). For this thread only: those that exist already do not want them. */
static void let_stop_in(void)
{
    sigset_t s;
    (void)sigemptyset(&s);
    (void)sigaddset(&s, SIGTERM);
    (void)sigaddset(&s, SIGINT);
    (void)pthread_sigmask(SIG_UNBLOCK, &s, NULL);
}

static int start(struct engine *g, bool unclean, struct err *e)
{
    int rc = open_front(g, unclean, e);
    if (rc == 0)
        rc = store_start(g->store, e);
    if (rc < 0)
        return rc;
    if (loop_signal(g->api_loop, SIGTERM, on_stop_signal, g) < 0 ||
        loop_signal(g->api_loop, SIGINT, on_stop_signal, g) < 0 ||
        loop_watch(g->api_loop, g->o->reload.sock, LOOP_READ, on_reload, g, &g->reloads) < 0)
        return err_set(e, ERR_NOMEM, "out of memory");
    struct housekeeper_about round = {.loop = g->api_loop,
                                      .clock = &g->clock,
                                      .store = g->store,
                                      .queue = g->queue,
                                      .dlq = g->dlq,
                                      .registry = g->registry,
                                      .logs = g->logs,
                                      .url = g->o->listen->url};
    rc = housekeeper_start(&g->housekeeper, &round, e);
    if (rc < 0)
        return rc;
    dispatcher_begin(g->dispatcher);
    int err = pthread_create(&g->dispatch_thread, NULL, dispatch_main, g);
    if (err != 0)
        return err_sys(e, ERR_IO, err, "dispatcher thread");
    g->dispatching = true;
    struct watchdog_about about = {g->api_loop, g->dispatch_loop, store_busy, beat, g};
    rc = watchdog_start(&g->watchdog, notify_watchdog_ms(), &about);
    if (rc < 0)
        return err_set(e, rc, "out of memory");
    rc = datadir_endpoint(g->o->dir_fd, g->o->listen->url, e);
    let_stop_in();
    return rc;
}

static void shut(struct engine *g)
{
    if (g->dispatching) {
        loop_stop(g->dispatch_loop);
        (void)pthread_join(g->dispatch_thread, NULL);
    }
    housekeeper_stop(&g->housekeeper);
    store_stop(g->store);
    struct err e = {0};
    if (queue_meta_put_now(g->queue, "clean_stop", 1, &e) < 0)
        log_warn("engine", "the clean stop could not be noted: %s", e.text);
    watchdog_stop(&g->watchdog);
    loop_unwatch(g->reloads);
    api_free(g->api);
    dispatcher_free(g->dispatcher);
    logs_close(g->logs);
    loop_free(g->dispatch_loop);
    loop_free(g->api_loop);
    dlq_close(g->dlq);
    queue_close(g->queue);
    registry_close(g->registry);
    store_close(g->store);
    id_gen_done(&g->ids);
}

int engine_main(const struct engine_opts *o)
{
    struct engine g = {.o = o};
    struct err e = {0};
    bool unclean = false;
    loop_global_init();
    (void)signal(SIGHUP, SIG_IGN); /* the executor process reads the settings again and sends them */
    id_gen_init(&g.ids);
    int rc = open_stores(&g, &unclean, &e);
    if (rc == 0)
        rc = start(&g, unclean, &e);
    if (rc < 0) {
        /* Nothing was served yet: leaving everything to the kernel is the safe way out. */
        (void)fprintf(stderr, "bided: %s\n", e.text[0] != '\0' ? e.text : err_name(rc));
        return EXIT_CANNOT_START;
    }
    (void)printf("bided ready %s\n", o->listen->url);
    (void)fflush(stdout);
    log_info("engine", "ready url=%s version=%s", o->listen->url, o->version);
    notify_tell("READY=1\nSTATUS=Serving %s", o->listen->url);
    loop_run(g.api_loop);
    shut(&g);
    log_info("engine", "stopped");
    return 0;
}
