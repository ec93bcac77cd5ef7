#include "scenario.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "datadir.h"
#include "dlq/dlq.h"
#include "queue/queue.h"
#include "registry/registry.h"
#include "zipmake.h"

#define EPOCH INT64_C(1700000000000)

enum {
    TRIES = 4,
    TARGETS_MAX = 24,
    GROUP_MAX = 12,
    RETRY_WAIT_MS = 60000,
    RETENTION_MS = 3600000,
    PATIENCE_S = 30,
};

struct scenario {
    const struct scenario_opts *o;
    struct datadir dir;
    struct clock clock;
    struct id_gen ids;
    struct store *store;
    struct queue *queue;
    struct dlq *dlq;
    struct registry *registry;
    uint64_t next_run;
    uint64_t rng;
    uint32_t clock_thing;
    pthread_mutex_t mu; /* guards the jobs' outcomes */
    pthread_cond_t cond;
};

struct ev {
    uint32_t thing;
    uint64_t seq, fid, run;
    uint32_t tries;
    char name[32];
};

struct target {
    uint32_t thing, state, tries;
};

struct job;
typedef int submit_cb(struct job *j);

/* An op on its way: what it is going to change, and how it ended. */
struct job {
    struct scenario *s;
    const char *what;
    submit_cb *submit;
    struct ev *ev;
    struct target to[TARGETS_MAX];
    size_t n;
    uint32_t intents[TARGETS_MAX];
    /* for submit */
    enum verdict verdict;
    bool lone;
    const char *function;
    const struct function_spec *spec;
    int32_t number;
    uint64_t fid;
    int64_t value;
    bool flag;
    /* the answer */
    bool over;
    int rc;
    uint64_t count;
    struct id made;
};

static uint64_t draw(struct scenario *s, uint64_t below)
{
    return test_rand(&s->rng) % below;
}

static uint64_t pos(const struct scenario *s)
{
    return s->o->region != NULL ? atomic_load(&s->o->region->trace_len) : 0;
}

/* --- packages ------------------------------------------------------------------------------------------------------
 */

static struct zm zips[SCENARIO_PACKAGES];
static char package_names[SCENARIO_PACKAGES][SHA256_HEX_LEN + 1];
static char long_text[20001];

const char *scenario_file_name(int i)
{
    static const char *const name[SCENARIO_FILES] = {"app.txt", "lib/a.txt", "lib/deep/b.txt"};
    return name[i];
}

const char *scenario_file_text(uint32_t n, int i)
{
    static const char *const text[SCENARIO_PACKAGES][SCENARIO_FILES] = {{"the first", "one a", "one b"},
                                                                        {long_text, "two a", "two b"}};
    return text[n - 1][i];
}

void scenario_prepare(void)
{
    memset(long_text, 'x', sizeof long_text - 1);
    for (uint32_t n = 0; n < SCENARIO_PACKAGES; n++) {
        uint8_t digest[SHA256_LEN];
        zm_init(&zips[n]);
        for (int i = 0; i < SCENARIO_FILES; i++)
            zm_file(&zips[n], scenario_file_name(i), scenario_file_text(n + 1, i));
        zm_end(&zips[n]);
        sha256_sum(zips[n].body.data, zips[n].body.len, digest);
        hex_encode(digest, sizeof digest, package_names[n]);
    }
}

uint32_t scenario_package(const char *sha256)
{
    for (uint32_t n = 0; n < SCENARIO_PACKAGES; n++)
        if (strcmp(sha256, package_names[n]) == 0)
            return n + 1;
    return 0;
}

uint32_t scenario_function_state(const struct function *f)
{
    if (f == NULL)
        return 0;
    return 1u | scenario_package(f->code_sha256) << 1 | (uint32_t)f->paused << 3 | (uint32_t)(f->reserved + 1) << 4 |
           (uint32_t)(f->async.present ? f->async.max_retries + 1 : 0) << 12;
}

const char *scenario_unseen(const struct fault_region *r)
{
    static const enum fault_call all[] = {FAULT_WRITE,     FAULT_PWRITE, FAULT_WRITEV,    FAULT_LSEEK,
                                          FAULT_FDATASYNC, FAULT_FSYNC,  FAULT_FTRUNCATE, FAULT_MMAP,
                                          FAULT_OPEN,      FAULT_MKDIR,  FAULT_RENAME,    FAULT_UNLINK,
                                          FAULT_THREAD,    FAULT_MALLOC, FAULT_CALLOC,    FAULT_REALLOC};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (atomic_load(&r->counts[all[i]]) == 0 && (all[i] < FAULT_MALLOC || fault_sees_memory()))
            return fault_call_name(all[i]);
    return atomic_load(&r->dsync_writes) == 0 ? "write to an O_DSYNC descriptor" : NULL;
}

/* --- jobs ----------------------------------------------------------------------------------------------------------
 */

static void target(struct job *j, uint32_t thing, uint32_t state, uint32_t tries)
{
    BIDE_ASSERT(j->n < TARGETS_MAX, "%s has too many targets", j->what);
    j->to[j->n++] = (struct target){thing, state, tries};
}

static void answer(struct job *j, bool kept)
{
    for (size_t i = 0; i < j->n; i++)
        ledger_answer(j->s->o->ledger, j->intents[i], kept, pos(j->s));
}

/* On the store thread. ERR_IO says nothing of what is on disk, and is the last thing it says. */
static void finish(struct job *j, int rc)
{
    struct scenario *s = j->s;
    if (!s->o->early_ack && rc != ERR_IO)
        answer(j, rc == 0);
    pthread_mutex_lock(&s->mu);
    j->rc = rc;
    j->over = true;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->mu);
}

static void send_off(struct job *j)
{
    struct scenario *s = j->s;
    j->over = false;
    for (size_t i = 0; i < j->n; i++)
        j->intents[i] = ledger_intend(s->o->ledger, j->to[i].thing, j->to[i].state, j->to[i].tries, pos(s));
    int rc = j->submit(j);
    if (rc < 0)
        finish(j, rc);
    else if (s->o->early_ack)
        answer(j, true);
}

static void wait_for(struct job *j)
{
    struct scenario *s = j->s;
    pthread_mutex_lock(&s->mu);
    while (!j->over)
        pthread_cond_wait(&s->cond, &s->mu);
    pthread_mutex_unlock(&s->mu);
    while (j->rc == ERR_IO)
        (void)pause(); /* the store thread is about to end the process; a hang is ended by the alarm */
}

static _Noreturn void give_up(int status, const char *what, const char *why)
{
    (void)fprintf(stderr, "scenario: %s: %s\n", what, why);
    _exit(status);
}

/* All at once, then again those that were refused. */
static void do_jobs(struct job *j, size_t n)
{
    for (int tries = 0; tries < TRIES; tries++) {
        bool all = true;
        for (size_t i = 0; i < n; i++)
            if (!j[i].over || j[i].rc < 0)
                send_off(&j[i]);
        for (size_t i = 0; i < n; i++) {
            wait_for(&j[i]);
            all &= j[i].rc == 0;
        }
        if (all)
            return;
        registry_sweep(j->s->registry); /* the housekeeper would by now: a function left pending is completed */
    }
    for (size_t i = 0; i < n; i++)
        if (j[i].rc < 0)
            give_up(SCENARIO_REFUSED, j[i].what, err_name(j[i].rc));
}

static struct job job(struct scenario *s, const char *what, submit_cb *submit)
{
    return (struct job){.s = s, .what = what, .submit = submit};
}

static void do_job(struct job *j)
{
    do_jobs(j, 1);
}

/* --- events --------------------------------------------------------------------------------------------------------
 */

static void on_event(int err, const struct event *ev, void *arg)
{
    struct job *j = arg;
    if (err == 0 && j->ev != NULL)
        j->ev->seq = ev->seq;
    finish(j, err);
}

static void on_plain(int err, const struct event *ev, void *arg)
{
    (void)ev;
    finish(arg, err);
}

static void on_count(int err, uint64_t n, void *arg)
{
    struct job *j = arg;
    j->count = n;
    finish(j, err);
}

static void on_done(int err, void *arg)
{
    finish(arg, err);
}

static int submit_accept(struct job *j)
{
    static char payload[16384]; /* copied by the call; one thread accepts */
    const struct thing *t = &j->s->o->ledger->things[j->ev->thing];
    ledger_payload(t->payload_seed, payload, t->payload_len);
    struct queue_new in = {.id = t->id,
                           .fid = j->ev->fid,
                           .name = j->ev->name,
                           .qualifier = "live",
                           .payload = payload,
                           .payload_len = t->payload_len};
    return queue_accept(j->s->queue, &in, on_event, j);
}

static void on_events(int err, const struct event *ev, void *arg)
{
    struct job *j = arg;
    for (size_t i = 0; err == 0 && i < j->n; i++)
        j->ev[i].seq = ev->seq + i;
    finish(j, err);
}

/* All that the job is about, in one transaction. */
static int submit_accept_many(struct job *j)
{
    static char payload[GROUP_MAX][4096];
    struct queue_new in[GROUP_MAX];
    for (size_t i = 0; i < j->n; i++) {
        const struct thing *t = &j->s->o->ledger->things[j->ev[i].thing];
        BIDE_ASSERT(t->payload_len <= sizeof payload[i], "%u bytes", t->payload_len);
        ledger_payload(t->payload_seed, payload[i], t->payload_len);
        in[i] = (struct queue_new){.id = t->id,
                                   .fid = j->ev[i].fid,
                                   .name = j->ev[i].name,
                                   .qualifier = "live",
                                   .payload = payload[i],
                                   .payload_len = t->payload_len};
    }
    return queue_accept_many(j->s->queue, in, j->n, on_events, j);
}

static int submit_start(struct job *j)
{
    return queue_start(j->s->queue, j->ev->seq, j->ev->run, j->lone, on_plain, j);
}

static int submit_settle(struct job *j)
{
    enum verdict v = j->verdict;
    bool good = v == VERDICT_DONE;
    struct settle x = {.seq = j->ev->seq,
                       .fid = j->ev->fid,
                       .run = j->ev->run,
                       .verdict = v,
                       .condition = v == VERDICT_DEAD ? CONDITION_RETRIES_EXHAUSTED : CONDITION_NONE,
                       .wait_ms = v == VERDICT_WAIT ? RETRY_WAIT_MS : 0,
                       .due_at_ms = v == VERDICT_WAIT ? clock_now_ms(&j->s->clock) + RETRY_WAIT_MS : 0,
                       .counts = v != VERDICT_REQUEUE,
                       .attempt = {.outcome = good ? OUTCOME_SUCCESS : OUTCOME_FUNCTION_ERROR,
                                   .error_type = good ? NULL : "Boom",
                                   .error_message = good ? NULL : "it broke",
                                   .exit_code = -1,
                                   .version = "$LATEST"}};
    return queue_settle(j->s->queue, &x, on_plain, j);
}

static int submit_expire(struct job *j)
{
    return queue_expire(j->s->queue, j->ev->seq, CONDITION_EVENT_AGE_EXCEEDED, on_plain, j);
}

static int submit_promote(struct job *j)
{
    return queue_promote_due(j->s->queue, clock_now_ms(&j->s->clock), 100, on_count, j);
}

static const struct id *id_of(const struct job *j)
{
    return &j->s->o->ledger->things[j->ev->thing].id;
}

static int submit_cancel(struct job *j)
{
    return queue_cancel(j->s->queue, id_of(j), on_plain, j);
}

static int submit_retry(struct job *j)
{
    return queue_retry(j->s->queue, id_of(j), on_plain, j);
}

static void on_sweep(int err, const struct queue_sweep *at, void *arg)
{
    struct job *j = arg;
    if (err == 0)
        j->count = at->n;
    finish(j, err);
}

static int submit_purge(struct job *j)
{
    struct queue_sweep all = {.fid = j->fid, .queued = true, .waiting = true, .running = true};
    return queue_cancel_chunk(j->s->queue, &all, 1000, on_sweep, j);
}

static int submit_evict(struct job *j)
{
    return queue_evict_history(j->s->queue, 1000, on_count, j);
}

static int submit_bury(struct job *j)
{
    return queue_function_deleted(j->s->queue, j->fid, 1000, on_count, j);
}

static int submit_clock(struct job *j)
{
    return queue_meta_put(j->s->queue, "clock_ms", j->value, on_done, j);
}

/* --- dead letters --------------------------------------------------------------------------------------------------
 */

static int resolve(const char *name, const char *qualifier, uint64_t *ret_fid, void *arg)
{
    struct scenario *s = arg;
    (void)qualifier;
    const struct function *f = registry_get(s->registry, name);
    if (f == NULL)
        return ERR_NOTFOUND;
    *ret_fid = f->fid;
    function_unref(f);
    return 0;
}

static void on_replay(int err, const struct dlq_replay_result *r, void *arg)
{
    struct job *j = arg;
    j->count = r->replayed;
    j->made = r->new_id;
    finish(j, err);
}

static int submit_replay(struct job *j)
{
    return dlq_replay_one(j->s->dlq, id_of(j), false, resolve, j->s, on_replay, j);
}

static int submit_replay_chunk(struct job *j)
{
    struct dlq_filter f = {.function = j->function};
    return dlq_replay_chunk(j->s->dlq, &f, 0, 1000, resolve, j->s, on_replay, j);
}

static void on_removed(int err, uint64_t removed, uint64_t cursor, void *arg)
{
    struct job *j = arg;
    (void)cursor;
    j->count = removed;
    finish(j, err);
}

static int submit_remove(struct job *j)
{
    return dlq_remove_one(j->s->dlq, id_of(j), on_removed, j);
}

/* --- functions -----------------------------------------------------------------------------------------------------
 */

static void on_function(int err, const struct err *e, const struct function *f, void *arg)
{
    (void)e;
    (void)f;
    finish(arg, err);
}

static int submit_create(struct job *j)
{
    return registry_create(j->s->registry, j->function, j->spec, on_function, j);
}

static int submit_update(struct job *j)
{
    return registry_update(j->s->registry, j->function, j->spec, on_function, j);
}

static int submit_reserve(struct job *j)
{
    return registry_set_reserved(j->s->registry, j->function, j->number, on_function, j);
}

static int submit_async(struct job *j)
{
    struct invoke_config c = {.present = true, .max_retries = j->number, .max_age_s = -1};
    return registry_set_invoke_config(j->s->registry, j->function, &c, false, on_function, j);
}

static int submit_pause(struct job *j)
{
    return registry_set_paused(j->s->registry, j->function, j->flag, on_function, j);
}

static int submit_delete(struct job *j)
{
    return registry_delete(j->s->registry, j->function, on_function, j);
}

/* The function after a change that patch makes to its present state. */
static void change_function(struct scenario *s, uint32_t thing, struct job j, uint32_t clear, uint32_t set)
{
    uint32_t state = (ledger_kept(s->o->ledger, thing) & ~clear) | set;
    j.function = s->o->ledger->things[thing].name;
    target(&j, thing, state, 0);
    do_job(&j);
}

static struct code add_code(struct scenario *s, uint32_t package)
{
    struct code c;
    struct err e = {0};
    for (int tries = 0; tries < TRIES; tries++)
        if (registry_code_add(s->registry, zips[package - 1].body.data, zips[package - 1].body.len, &c, &e) == 0)
            return c;
    give_up(SCENARIO_REFUSED, "code", e.text);
}

static uint32_t make_function(struct scenario *s, const char *name, uint32_t package)
{
    struct code c = add_code(s, package);
    struct function_spec spec = {
        .runtime = "exec", .role = "r", .handler = "h", .timeout_s = 3, .memory_mb = 128, .tmp_mb = 512, .code = &c};
    uint32_t thing = ledger_thing(s->o->ledger, THING_FUNCTION);
    (void)snprintf(s->o->ledger->things[thing].name, sizeof s->o->ledger->things[thing].name, "%s", name);
    struct job j = job(s, "create a function", submit_create);
    j.spec = &spec;
    change_function(s, thing, j, 0, 1u | package << 1);
    registry_code_release(s->registry, &c);
    return thing;
}

static void update_code(struct scenario *s, uint32_t thing, uint32_t package)
{
    struct code c = add_code(s, package);
    struct function_spec spec = {.timeout_s = -1, .memory_mb = -1, .tmp_mb = -1, .code = &c};
    struct job j = job(s, "update the code", submit_update);
    j.spec = &spec;
    change_function(s, thing, j, 3u << 1, package << 1);
    registry_code_release(s->registry, &c);
    registry_sweep(s->registry);
    registry_sweep(s->registry); /* what the first has found unneeded goes */
}

static uint64_t fid_of(struct scenario *s, uint32_t thing)
{
    const struct function *f = registry_get(s->registry, s->o->ledger->things[thing].name);
    if (f == NULL)
        give_up(SCENARIO_WRONG, s->o->ledger->things[thing].name, "was made and is not there");
    uint64_t fid = f->fid;
    function_unref(f);
    return fid;
}

/* --- verbs of the story ----------------------------------------------------------------------------------------------
 */

static struct ev new_event(struct scenario *s, uint32_t function, uint32_t len_max)
{
    uint32_t at = ledger_thing(s->o->ledger, THING_EVENT);
    struct thing *t = &s->o->ledger->things[at];
    t->id = id_new(&s->ids, clock_now_ms(&s->clock));
    t->payload_seed = at;
    t->payload_len = 2 + (uint32_t)draw(s, len_max);
    struct ev ev = {.thing = at, .fid = fid_of(s, function)};
    memcpy(ev.name, s->o->ledger->things[function].name, sizeof ev.name);
    return ev;
}

static void accept_some(struct scenario *s, uint32_t function, struct ev *ev, size_t n, uint32_t len_max)
{
    struct job j[GROUP_MAX];
    for (size_t i = 0; i < n; i++) {
        ev[i] = new_event(s, function, len_max);
        j[i] = job(s, "accept", submit_accept);
        j[i].ev = &ev[i];
        target(&j[i], ev[i].thing, EVENT_QUEUED, 0);
    }
    do_jobs(j, n);
}

static void accept_together(struct scenario *s, uint32_t function, struct ev *ev, size_t n, uint32_t len_max)
{
    struct job j = job(s, "accept many", submit_accept_many);
    j.ev = ev;
    for (size_t i = 0; i < n; i++) {
        ev[i] = new_event(s, function, len_max);
        target(&j, ev[i].thing, EVENT_QUEUED, 0);
    }
    do_job(&j);
}

/* An event found running by the next start is queued again. */
static struct job start_of(struct scenario *s, struct ev *ev, bool lone)
{
    struct job j = job(s, "start", submit_start);
    ev->run = s->next_run++;
    j.ev = ev;
    j.lone = lone;
    target(&j, ev->thing, EVENT_QUEUED, ev->tries);
    return j;
}

static void start(struct scenario *s, struct ev *ev, bool lone)
{
    struct job j = start_of(s, ev, lone);
    do_job(&j);
}

static struct job settle_of(struct scenario *s, struct ev *ev, enum verdict v)
{
    static const uint32_t becomes[] = {[VERDICT_DONE] = EVENT_DONE,
                                       [VERDICT_WAIT] = EVENT_WAITING,
                                       [VERDICT_DEAD] = EVENT_DEAD,
                                       [VERDICT_REQUEUE] = EVENT_QUEUED};
    struct job j = job(s, "settle", submit_settle);
    j.ev = ev;
    j.verdict = v;
    ev->tries += v != VERDICT_REQUEUE;
    target(&j, ev->thing, becomes[v], ev->tries);
    return j;
}

static void settle(struct scenario *s, struct ev *ev, enum verdict v)
{
    struct job j = settle_of(s, ev, v);
    do_job(&j);
}

static void one(struct scenario *s, struct ev *ev, const char *what, submit_cb *submit, uint32_t state)
{
    struct job j = job(s, what, submit);
    j.ev = ev;
    target(&j, ev->thing, state, ev->tries);
    do_job(&j);
}

/* Starts and their ends in one breath, so that they share commits. */
static void run_group(struct scenario *s, struct ev *ev, const enum verdict *v, size_t n)
{
    struct job j[2 * GROUP_MAX];
    for (size_t i = 0; i < n; i++) {
        j[2 * i] = start_of(s, &ev[i], false);
        j[2 * i + 1] = settle_of(s, &ev[i], v[i]);
    }
    do_jobs(j, 2 * n);
}

static void expect_count(const struct job *j, uint64_t want)
{
    char text[80];
    (void)snprintf(text, sizeof text, "%llu instead of %llu", (unsigned long long)j->count, (unsigned long long)want);
    if (j->count != want)
        give_up(SCENARIO_WRONG, j->what, text);
}

/* Several events that one op moves. */
static void many(struct scenario *s, struct ev *const *ev, size_t n, uint32_t state, struct job j)
{
    (void)s;
    for (size_t i = 0; i < n; i++)
        target(&j, ev[i]->thing, state, ev[i]->tries);
    do_job(&j);
    expect_count(&j, n);
}

static void set_clock(struct scenario *s, int64_t by_ms)
{
    struct job j = job(s, "clock", submit_clock);
    int64_t now = clock_advance(&s->clock, by_ms);
    atomic_store(&s->o->ledger->clock_ms, now);
    j.value = now;
    target(&j, s->clock_thing, (uint32_t)((now - EPOCH) / 1000 + 1), 0);
    do_job(&j);
}

/* The copy gets its name with the answer: it enters the ledger as a thing that is there. */
static struct ev replay(struct scenario *s, struct ev *dead)
{
    struct job j = job(s, "replay", submit_replay);
    j.ev = dead;
    target(&j, dead->thing, EVENT_REPLAYED, dead->tries);
    do_job(&j);
    uint32_t at = ledger_thing(s->o->ledger, THING_EVENT);
    struct thing *t = &s->o->ledger->things[at];
    *t = s->o->ledger->things[dead->thing];
    t->id = j.made;
    ledger_answer(s->o->ledger, ledger_intend(s->o->ledger, at, EVENT_QUEUED, 0, pos(s)), true, pos(s));
    struct ev copy = {.thing = at, .fid = dead->fid};
    struct event found;
    int rc = ERR_NOMEM;
    for (int tries = 0; tries < TRIES && rc == ERR_NOMEM; tries++)
        rc = queue_find(s->queue, &j.made, &found, NULL, NULL);
    if (rc < 0)
        give_up(rc == ERR_NOMEM ? SCENARIO_REFUSED : SCENARIO_WRONG, "replay, its copy", err_name(rc));
    copy.seq = found.seq;
    memcpy(copy.name, dead->name, sizeof copy.name);
    return copy;
}

/* --- the story -------------------------------------------------------------------------------------------------------
 */

static void functions_come(struct scenario *s, uint32_t *alpha)
{
    *alpha = make_function(s, "alpha", 1);
    struct job j = job(s, "asynchronous settings", submit_async);
    j.number = 2;
    change_function(s, *alpha, j, 0xffu << 12, 3u << 12);
    j = job(s, "reserved concurrency", submit_reserve);
    j.number = 7;
    change_function(s, *alpha, j, 0xffu << 4, 8u << 4);
    j = job(s, "pause", submit_pause);
    j.flag = true;
    change_function(s, *alpha, j, 0, 1u << 3);
    j.flag = false;
    change_function(s, *alpha, j, 1u << 3, 0);
}

static void one_by_one(struct scenario *s, uint32_t alpha)
{
    struct ev e[5];
    for (int i = 0; i < 5; i++)
        accept_some(s, alpha, &e[i], 1, i == 1 ? 6000 : 300);
    start(s, &e[0], false);
    settle(s, &e[0], VERDICT_DONE);
    start(s, &e[1], false);
    settle(s, &e[1], VERDICT_WAIT);
    start(s, &e[2], false);
    settle(s, &e[2], VERDICT_REQUEUE);
    set_clock(s, RETRY_WAIT_MS);
    struct ev *due[] = {&e[1]};
    many(s, due, 1, EVENT_QUEUED, job(s, "promote", submit_promote));
    start(s, &e[1], false);
    settle(s, &e[1], VERDICT_DEAD);
    start(s, &e[2], true);
    settle(s, &e[2], VERDICT_DONE);
    one(s, &e[3], "cancel", submit_cancel, EVENT_CANCELLED);
    start(s, &e[4], false);
    one(s, &e[4], "cancel while it runs", submit_cancel, EVENT_CANCELLED);
    struct job j = settle_of(s, &e[4], VERDICT_WAIT);
    j.to[0].state = EVENT_CANCELLED;
    do_job(&j);
    struct ev copy = replay(s, &e[1]);
    start(s, &copy, false);
    settle(s, &copy, VERDICT_DONE);
}

static void in_groups(struct scenario *s, uint32_t alpha)
{
    struct ev e[GROUP_MAX];
    enum verdict v[GROUP_MAX] = {VERDICT_DONE, VERDICT_DEAD, VERDICT_WAIT, VERDICT_DEAD};
    size_t n = 8 + draw(s, GROUP_MAX - 7);
    accept_some(s, alpha, e, n, 2500);
    for (size_t i = 4; i < n; i++)
        v[i] = draw(s, 2) ? VERDICT_DONE : VERDICT_REQUEUE;
    run_group(s, e, v, n);
    one(s, &e[2], "try now", submit_retry, EVENT_QUEUED);
    one(s, &e[2], "expire", submit_expire, EVENT_DEAD);
    one(s, &e[3], "remove a letter", submit_remove, EVENT_NONE);
    struct job j = job(s, "replay of all", submit_replay_chunk);
    j.function = "alpha";
    struct ev *dead[] = {&e[1], &e[2]};
    many(s, dead, 2, EVENT_REPLAYED, j);
}

static void functions_go(struct scenario *s, uint32_t alpha)
{
    struct ev e[6];
    update_code(s, alpha, 2);
    uint32_t beta = make_function(s, "beta", 1);
    uint64_t fid = fid_of(s, beta);
    accept_some(s, beta, e, 3, 100);
    struct job j = job(s, "delete the function", submit_delete);
    change_function(s, beta, j, UINT32_MAX, 0);
    j = job(s, "bury its events", submit_bury);
    j.fid = fid;
    struct ev *buried[] = {&e[0], &e[1], &e[2]};
    many(s, buried, 3, EVENT_DEAD, j);
    (void)!registry_forget(s->registry, fid); /* left over, it is looked at again by the next start */
    registry_sweep(s->registry);
    registry_sweep(s->registry);
}

/* Queued, running and waiting at the end, and history that is over its time. */
static void last_things(struct scenario *s, uint32_t alpha)
{
    struct ev e[GROUP_MAX];
    uint32_t gamma = make_function(s, "gamma", 1);
    accept_some(s, gamma, e, 4, 100);
    start(s, &e[0], false);
    settle(s, &e[0], VERDICT_WAIT);
    struct job j = job(s, "purge", submit_purge);
    j.fid = fid_of(s, gamma);
    struct ev *purged[] = {&e[0], &e[1], &e[2], &e[3]};
    many(s, purged, 4, EVENT_CANCELLED, j);
    accept_together(s, alpha, e, 5, 3000);
    start(s, &e[0], false);
    settle(s, &e[0], VERDICT_WAIT);
    start(s, &e[1], false);
    start(s, &e[2], false);
}

/* History that is over its time goes: those of the ledger that are done or cancelled. */
static void forget_old(struct scenario *s)
{
    const struct ledger *l = s->o->ledger;
    struct job j = job(s, "evict", submit_evict);
    set_clock(s, RETENTION_MS + 1);
    for (uint32_t i = 0; i < atomic_load(&l->n_things); i++) {
        struct answers a;
        ledger_allowed(l, i, UINT64_MAX, &a);
        if (l->things[i].kind == THING_EVENT && (a.state[0] == EVENT_DONE || a.state[0] == EVENT_CANCELLED))
            target(&j, i, EVENT_NONE, 0);
    }
    do_job(&j);
    if (!s->o->early_ack) /* else what was called done may not be */
        expect_count(&j, j.n);
}

/* --- opening, as bided does it ---------------------------------------------------------------------------------------
 */

static int open_parts(struct scenario *s, struct err *e)
{
    uint64_t recovered;
    struct store_opts so = {.max_bytes = 64u << 20, .unsafe_nosync = s->o->no_sync};
    struct queue_opts qo = {
        .clock = &s->clock, .history_retention_ms = RETENTION_MS, .history_max_bytes = 1u << 30, .max_disruptions = 5};
    struct registry_opts ro = {
        .clock = &s->clock, .code_fd = s->dir.code_fd, .account_concurrency = 1000, .unreserved_minimum = 100};
    struct dlq_opts dopts = {
        .clock = &s->clock, .ids = &s->ids, .retention_ms = 14 * INT64_C(86400000), .max_bytes = 16u << 20};
    int rc = store_open(&s->store, "queue", &so, e);
    if (rc == 0)
        rc = queue_open(&s->queue, s->store, &qo, e);
    uint32_t intent = ledger_intend(s->o->ledger, s->clock_thing, 1, 0, pos(s));
    if (rc == 0)
        rc = queue_meta_put_now(s->queue, "clock_ms", clock_now_ms(&s->clock), e);
    if (rc == 0) {
        ledger_answer(s->o->ledger, intent, true, pos(s));
        rc = registry_open(&s->registry, s->store, &ro, e);
    }
    if (rc == 0)
        rc = dlq_open(&s->dlq, s->queue, &dopts, e);
    if (rc == 0)
        rc = queue_recover(s->queue, &recovered, e);
    if (rc == 0)
        rc = queue_meta_put_now(s->queue, "clean_stop", 0, e);
    return rc == 0 ? store_start(s->store, e) : rc;
}

static int open_directory(struct scenario *s, struct err *e)
{
    struct api_key key = {0};
    uint32_t thing = ledger_thing(s->o->ledger, THING_CREDENTIALS);
    int rc = datadir_open(&s->dir, s->o->data, geteuid(), getegid(), e);
    if (rc == 0)
        rc = datadir_credentials(&s->dir, &key, e);
    if (rc < 0)
        return rc;
    if (fchdir(s->dir.fd) < 0)
        return err_sys(e, ERR_IO, errno, "data directory");
    /* From the endpoint file on there are clients who have read the key. */
    rc = open_parts(s, e);
    if (rc == 0)
        rc = datadir_endpoint(s->dir.fd, "http://127.0.0.1:1", e);
    if (rc == 0)
        ledger_answer(s->o->ledger, ledger_intend(s->o->ledger, thing, crc32c(0, &key, sizeof key) | 1u, 0, pos(s)),
                      true, pos(s));
    return rc;
}

static int shut(struct scenario *s)
{
    struct err e = {0};
    store_stop(s->store);
    int rc = queue_meta_put_now(s->queue, "clean_stop", 1, &e);
    if (rc < 0)
        (void)fprintf(stderr, "scenario: the clean stop could not be noted: %s\n", e.text);
    dlq_close(s->dlq);
    queue_close(s->queue);
    registry_close(s->registry);
    store_close(s->store);
    id_gen_done(&s->ids);
    datadir_close(&s->dir);
    return rc == ERR_IO ? SCENARIO_FATAL : SCENARIO_DONE;
}

int scenario_run(const struct scenario_opts *o)
{
    struct scenario s = {.o = o, .next_run = 1, .rng = o->seed};
    struct err e = {0};
    uint32_t alpha;
    (void)alarm(PATIENCE_S);
    pthread_mutex_init(&s.mu, NULL);
    pthread_cond_init(&s.cond, NULL);
    clock_init_virtual(&s.clock, EPOCH);
    atomic_store(&o->ledger->clock_ms, EPOCH);
    id_gen_init(&s.ids);
    s.clock_thing = ledger_thing(o->ledger, THING_CLOCK);
    int rc = open_directory(&s, &e);
    if (rc < 0) {
        (void)fprintf(stderr, "scenario: %s\n", e.text[0] != '\0' ? e.text : err_name(rc));
        return SCENARIO_NO_START;
    }
    functions_come(&s, &alpha);
    one_by_one(&s, alpha);
    in_groups(&s, alpha);
    functions_go(&s, alpha);
    forget_old(&s);
    last_things(&s, alpha);
    return shut(&s);
}
