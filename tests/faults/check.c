#include "check.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "base/hash.h"
#include "datadir.h"
#include "dlq/dlq.h"
#include "queue/queue.h"
#include "registry/registry.h"
#include "scenario.h"

enum { PAYLOAD_MAX = 1 << 20, EPOCH_S = 1700000000 };

struct checked {
    const struct ledger *l;
    uint64_t pos;
    check_report *report;
    void *arg;
    unsigned findings;
    struct datadir dir;
    struct api_key key;
    struct clock clock;
    struct id_gen ids;
    struct store *store;
    struct queue *queue;
    struct dlq *dlq;
    struct registry *registry;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    int waiting; /* completions still to come */
    int rc;      /* of the last */
    uint64_t seq;
};

BIDE_PRINTF(2, 3) static void found(struct checked *c, const char *fmt, ...)
{
    char line[600];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    c->findings++;
    c->report(line, c->arg);
}

/* --- opening ---------------------------------------------------------------------------------------------------------
 */

static int open_parts(struct checked *c, struct err *e)
{
    uint64_t recovered;
    int64_t stored = 0;
    struct store_opts so = {.max_bytes = 64u << 20};
    struct queue_opts qo = {
        .clock = &c->clock, .history_retention_ms = 3600000, .history_max_bytes = 1u << 30, .max_disruptions = 5};
    struct registry_opts ro = {
        .clock = &c->clock, .code_fd = c->dir.code_fd, .account_concurrency = 1000, .unreserved_minimum = 100};
    struct dlq_opts dopts = {
        .clock = &c->clock, .ids = &c->ids, .retention_ms = 14 * INT64_C(86400000), .max_bytes = 16u << 20};
    int rc = datadir_credentials(&c->dir, &c->key, e);
    if (rc == 0 && fchdir(c->dir.fd) < 0)
        rc = err_set(e, ERR_IO, "data directory");
    if (rc == 0)
        rc = store_open(&c->store, "queue", &so, e);
    if (rc == 0)
        rc = queue_open(&c->queue, c->store, &qo, e);
    if (rc == 0) {
        (void)!queue_meta_get(c->queue, "clock_ms", &stored);
        rc = registry_open(&c->registry, c->store, &ro, e);
    }
    if (rc == 0)
        rc = dlq_open(&c->dlq, c->queue, &dopts, e);
    if (rc == 0)
        rc = queue_recover(c->queue, &recovered, e);
    return rc;
}

static void close_parts(struct checked *c)
{
    dlq_close(c->dlq);
    queue_close(c->queue);
    registry_close(c->registry);
    store_close(c->store);
    datadir_close(&c->dir);
    id_gen_done(&c->ids);
}

/* --- as `bide verify` ------------------------------------------------------------------------------------------------
 */

static void verify_says(const char *line, void *arg)
{
    found(arg, "verify: %s", line);
}

static void recount(struct checked *c)
{
    struct store_txn *t;
    struct books b;
    uint64_t in_queue = 0, in_dlq = 0;
    int rc = store_read_begin(c->store, &t);
    if (rc == 0) {
        rc = queue_verify(c->queue, t, verify_says, c, &in_queue);
        if (rc == 0)
            rc = dlq_verify(c->dlq, t, verify_says, c, &in_dlq);
        if (rc == 0)
            rc = queue_books_in(c->queue, t, &b);
        store_read_end(t);
    }
    if (rc < 0) {
        found(c, "verify cannot read it: %s", err_name(rc));
        return;
    }
    if (b.accepted != b.queued + b.running + b.waiting + b.done + b.dead + b.cancelled + b.removed + b.replayed)
        found(c, "the books do not add up");
    if (b.running != 0)
        found(c, "%llu events run after a start", (unsigned long long)b.running);
}

/* --- the ledger ------------------------------------------------------------------------------------------------------
 */

static bool is_allowed(const struct answers *a, uint32_t state)
{
    for (uint32_t i = 0; i < a->n; i++)
        if (a->state[i] == state)
            return true;
    return false;
}

static void complain(struct checked *c, uint32_t thing, const struct answers *a, uint32_t state)
{
    const struct thing *t = &c->l->things[thing];
    char want[200] = "", id[ID_TEXT_LEN + 1];
    id_format(&t->id, id);
    for (uint32_t i = 0; i < a->n; i++) {
        size_t n = strlen(want);
        if (t->kind == THING_EVENT)
            (void)snprintf(want + n, sizeof want - n, "%s%s", n > 0 ? " or " : "",
                           a->state[i] == 0 ? "gone" : event_state_name(a->state[i]));
        else
            (void)snprintf(want + n, sizeof want - n, "%s%#x", n > 0 ? " or " : "", a->state[i]);
    }
    if (t->kind == THING_EVENT)
        found(c, "LOST: event %u %s is %s, and was told to be %s", thing, id,
              state == 0 ? "not there" : event_state_name(state), want);
    else
        found(c, "LOST: %s %s is %#x, and was told to be %s",
              t->kind == THING_FUNCTION      ? "function"
              : t->kind == THING_CREDENTIALS ? "credentials"
                                             : "clock",
              t->name, state, want);
}

static void note_nothing(const struct dead_letter *dl, void *arg)
{
    (void)dl;
    (void)arg;
}

static void check_payload(struct checked *c, uint32_t thing, const struct event *ev)
{
    const struct thing *t = &c->l->things[thing];
    struct buf b;
    char *want = malloc(t->payload_len + 1);
    buf_init(&b, PAYLOAD_MAX);
    int rc = queue_payload(c->queue, ev->seq, &b);
    if (want != NULL)
        ledger_payload(t->payload_seed, want, t->payload_len);
    if (rc < 0 || b.len != t->payload_len || want == NULL || memcmp(b.data, want, b.len) != 0)
        found(c, "LOST: event %u: its payload is not what was sent (%s, %zu bytes of %u)", thing, err_name(rc), b.len,
              t->payload_len);
    free(want);
    buf_done(&b);
}

static void check_event(struct checked *c, uint32_t thing)
{
    struct answers a;
    struct event ev = {0}, copy;
    const struct thing *t = &c->l->things[thing];
    ledger_allowed(c->l, thing, c->pos, &a);
    if (a.n == 0)
        return;
    int rc = queue_find(c->queue, &t->id, &ev, NULL, NULL);
    uint32_t state = rc == 0 ? ev.state : EVENT_NONE;
    if (rc < 0 && rc != ERR_NOTFOUND)
        found(c, "event %u cannot be read: %s", thing, err_name(rc));
    if (!is_allowed(&a, state))
        complain(c, thing, &a, state);
    if (rc < 0)
        return;
    if (ev.attempts < a.tries_min || ev.attempts > a.tries_max)
        found(c, "event %u has %u attempts, and was given %u to %u", thing, ev.attempts, a.tries_min, a.tries_max);
    if (state == EVENT_QUEUED || state == EVENT_WAITING || state == EVENT_DEAD || state == EVENT_REPLAYED)
        check_payload(c, thing, &ev);
    if ((state == EVENT_DEAD || state == EVENT_REPLAYED) && dlq_find(c->dlq, &t->id, note_nothing, NULL) < 0)
        found(c, "event %u is %s and has no letter", thing, event_state_name(state));
    if (state == EVENT_REPLAYED && queue_find(c->queue, &ev.replayed_as, &copy, NULL, NULL) < 0) {
        struct answers of_copy = {0};
        for (uint32_t i = 0; i < atomic_load(&c->l->n_things); i++)
            if (id_cmp(&c->l->things[i].id, &ev.replayed_as) == 0)
                ledger_allowed(c->l, i, c->pos, &of_copy);
        if (!is_allowed(&of_copy, EVENT_NONE)) /* it may have run, and been evicted since */
            found(c, "LOST: event %u is replayed, and its copy is not there", thing);
    }
}

static void check_package(struct checked *c, const char *name, const char *sha256)
{
    uint32_t n = scenario_package(sha256);
    uint8_t digest[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1] = "", path[200];
    struct buf b;
    buf_init(&b, PAYLOAD_MAX);
    if (registry_code_read(c->registry, sha256, &b) == 0) {
        sha256_sum(b.data, b.len, digest);
        hex_encode(digest, sizeof digest, hex);
    }
    if (n == 0 || strcmp(hex, sha256) != 0)
        found(c, "LOST: function %s: its package is not what was sent", name);
    for (int i = 0; n != 0 && i < SCENARIO_FILES; i++) {
        const char *want = scenario_file_text(n, i);
        (void)snprintf(path, sizeof path, "%s/%s", sha256, scenario_file_name(i));
        buf_clear(&b);
        int rc = file_read(c->dir.code_fd, path, &b);
        if (rc < 0 || b.len != strlen(want) || memcmp(b.data, want, b.len) != 0)
            found(c, "LOST: function %s: file %s of its package is not what was sent", name, scenario_file_name(i));
    }
    buf_done(&b);
}

static void check_function(struct checked *c, uint32_t thing)
{
    struct answers a;
    ledger_allowed(c->l, thing, c->pos, &a);
    if (a.n == 0)
        return;
    const struct function *f = registry_get(c->registry, c->l->things[thing].name);
    uint32_t state = scenario_function_state(f);
    if (!is_allowed(&a, state))
        complain(c, thing, &a, state);
    if (f != NULL && f->state != FUNCTION_ACTIVE)
        found(c, "function %s does not become active: %s", f->name, f->state_reason);
    if (f != NULL)
        check_package(c, f->name, f->code_sha256);
    function_unref(f);
}

static void check_number(struct checked *c, uint32_t thing, uint32_t state)
{
    struct answers a;
    ledger_allowed(c->l, thing, c->pos, &a);
    if (a.n > 0 && !is_allowed(&a, state))
        complain(c, thing, &a, state);
}

/* The same number as the scenario makes of it; 0: never set. */
static uint32_t clock_state(struct checked *c)
{
    int64_t ms;
    return queue_meta_get(c->queue, "clock_ms", &ms) < 0 ? 0 : (uint32_t)(ms / 1000 - EPOCH_S + 1);
}

static void check_things(struct checked *c)
{
    for (uint32_t i = 0; i < atomic_load(&c->l->n_things); i++)
        switch (c->l->things[i].kind) {
        case THING_EVENT:
            check_event(c, i);
            break;
        case THING_FUNCTION:
            check_function(c, i);
            break;
        case THING_CREDENTIALS:
            check_number(c, i, crc32c(0, &c->key, sizeof c->key) | 1u);
            break;
        case THING_CLOCK:
            check_number(c, i, clock_state(c));
            break;
        }
}

/* --- nothing else ----------------------------------------------------------------------------------------------------
 */

static bool is_known(const struct checked *c, const struct id *id)
{
    for (uint32_t i = 0; i < atomic_load(&c->l->n_things); i++)
        if (c->l->things[i].kind == THING_EVENT && id_cmp(&c->l->things[i].id, id) == 0)
            return true;
    return false;
}

static void check_listed(const struct event *ev, void *arg)
{
    struct checked *c = arg;
    char id[ID_TEXT_LEN + 1];
    id_format(&ev->id, id);
    /* A copy whose replay was not answered has a name that nobody was told. */
    if (!is_known(c, &ev->id) && (id_is_zero(&ev->replay_of) || !is_known(c, &ev->replay_of)))
        found(c, "INVENTED: event %s was never sent", id);
}

static void check_nothing_invented(struct checked *c)
{
    uint64_t cursor = 0;
    struct queue_filter all = {0};
    do {
        int rc = queue_list(c->queue, &all, cursor, 1000, check_listed, c, &cursor);
        if (rc < 0) {
            found(c, "the events cannot be listed: %s", err_name(rc));
            return;
        }
    } while (cursor != 0);
}

/* --- it goes on ------------------------------------------------------------------------------------------------------
 */

static void tell(struct checked *c, int rc)
{
    pthread_mutex_lock(&c->mu);
    c->rc = rc;
    c->waiting--;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->mu);
}

/* submitted: what the submitting call gave. */
static int await(struct checked *c, int submitted)
{
    pthread_mutex_lock(&c->mu);
    if (submitted < 0)
        c->waiting--;
    while (c->waiting > 0)
        pthread_cond_wait(&c->cond, &c->mu);
    pthread_mutex_unlock(&c->mu);
    return submitted < 0 ? submitted : c->rc;
}

static void on_event(int err, const struct event *ev, void *arg)
{
    struct checked *c = arg;
    if (err == 0)
        c->seq = ev->seq;
    tell(c, err);
}

static void on_count(int err, uint64_t n, void *arg)
{
    (void)n;
    tell(arg, err);
}

static void bury(uint64_t fid, const char *name, void *arg)
{
    struct checked *c = arg;
    c->waiting = 1;
    int rc = await(c, queue_function_deleted(c->queue, fid, 1000, on_count, c));
    if (rc < 0 || registry_forget(c->registry, fid) < 0)
        found(c, "what %s left cannot be buried: %s", name, err_name(rc));
}

static void go_on(struct checked *c)
{
    struct queue_new in = {.id = id_new(&c->ids, clock_now_ms(&c->clock)),
                           .fid = 9999,
                           .name = "later",
                           .payload = "{}",
                           .payload_len = 2};
    c->waiting = 1;
    int rc = await(c, queue_accept(c->queue, &in, on_event, c));
    struct settle s = {.seq = c->seq,
                       .fid = 9999,
                       .run = 1,
                       .verdict = VERDICT_DONE,
                       .counts = true,
                       .attempt = {.outcome = OUTCOME_SUCCESS, .exit_code = -1, .version = "$LATEST"}};
    c->waiting = 1;
    if (rc == 0)
        rc = await(c, queue_start(c->queue, c->seq, 1, false, on_event, c));
    c->waiting = 1;
    if (rc == 0)
        rc = await(c, queue_settle(c->queue, &s, on_event, c));
    if (rc < 0)
        found(c, "it does not go on: %s", err_name(rc));
    rc = registry_tombstones(c->registry, bury, c);
    if (rc < 0)
        found(c, "tombstones cannot be read: %s", err_name(rc));
}

void (*check_recovered)(void);

unsigned check_directory(const char *data, const struct ledger *l, uint64_t pos, check_report *report, void *arg)
{
    struct checked c = {.l = l, .pos = pos, .report = report, .arg = arg};
    struct err e = {0};
    pthread_mutex_init(&c.mu, NULL);
    pthread_cond_init(&c.cond, NULL);
    clock_init_virtual(&c.clock, atomic_load(&l->clock_ms));
    id_gen_init(&c.ids);
    int rc = datadir_open(&c.dir, data, geteuid(), getegid(), &e);
    if (rc == 0)
        rc = open_parts(&c, &e);
    if (rc < 0) {
        found(&c, "LOST: it does not open: %s (%s)", e.text, err_name(rc));
        close_parts(&c);
        return c.findings;
    }
    if (check_recovered != NULL)
        check_recovered();
    recount(&c);
    check_things(&c);
    check_nothing_invented(&c);
    rc = store_start(c.store, &e);
    if (rc < 0) {
        found(&c, "the store does not start: %s", e.text);
    } else {
        go_on(&c);
        store_stop(c.store);
        recount(&c);
    }
    close_parts(&c);
    return c.findings;
}
