/* A queue on a store of its own, driven synchronously: each do_x() submits and waits for the completion.
 *
 *   struct fix f;
 *   fix_open(&f);                 // a new folder, a virtual clock at FIX_EPOCH
 *   do_accept(&f, 1, "x", &ev);
 *   fix_reopen(&f);               // as a restart: stop, close, open, recover
 *   fix_close(&f);                // verifies, then removes the folder
 */
#ifndef TESTS_UNIT_QUEUE_FIXTURE_H
#define TESTS_UNIT_QUEUE_FIXTURE_H

#include "testutil.h"

#include <inttypes.h>
#include <pthread.h>

#include "priv.h"

#define FIX_EPOCH INT64_C(1700000000000)

enum { FIX_READY_MAX = 8192, FIX_KEPT = 64 };

struct fix {
    struct tmpdir dir;
    struct clock clock;
    struct id_gen ids;
    struct store *store;
    struct queue *q;
    struct queue_opts opts;
    int (*fault)(enum store_fault at, void *arg);
    uint64_t reserve_bytes;
    uint64_t recovered;
    uint64_t next_run;
    /* What on_ready told; written on the store thread before the completion that is waited for, or right behind it. */
    pthread_mutex_t mu;
    uint64_t ready[FIX_READY_MAX];
    size_t n_ready;
    char last_payload[FIX_KEPT];
    size_t last_payload_len;
    bool last_had_payload;
    size_t n_cancelled; /* told by on_cancelled */
    /* The dead-letter writer. */
    bool dead_full;
    uint64_t n_dead;
    struct event last_dead;
    size_t last_dead_attempts;
    char last_dead_type[QUEUE_TYPE_MAX + 1];
};

static TEST_UNUSED void fix_on_ready(const struct event *ev, const void *payload, size_t len, void *arg)
{
    struct fix *f = arg;
    pthread_mutex_lock(&f->mu);
    if (f->n_ready < FIX_READY_MAX)
        f->ready[f->n_ready++] = ev->seq;
    f->last_had_payload = payload != NULL;
    f->last_payload_len = len;
    if (payload != NULL)
        memcpy(f->last_payload, payload, len < FIX_KEPT ? len : FIX_KEPT);
    pthread_mutex_unlock(&f->mu);
}

static TEST_UNUSED void fix_on_cancelled(const uint64_t *seqs, size_t n, void *arg)
{
    struct fix *f = arg;
    (void)seqs;
    f->n_cancelled += n;
}

static TEST_UNUSED int fix_on_dead(struct store_txn *t, const struct event *ev, const struct attempt *a, size_t n,
                                   void *arg)
{
    struct fix *f = arg;
    (void)t;
    if (f->dead_full)
        return ERR_FULL;
    f->n_dead++;
    f->last_dead = *ev;
    f->last_dead_attempts = n;
    (void)snprintf(f->last_dead_type, sizeof f->last_dead_type, "%s",
                   n > 0 && a[n - 1].error_type != NULL ? a[n - 1].error_type : "");
    return 0;
}

static TEST_UNUSED void fix_fatal(const struct err *e, void *arg)
{
    (void)arg;
    (void)e;
}

static TEST_UNUSED void fix_start(struct fix *f)
{
    struct err e = {0};
    struct store_opts so = {.max_bytes = 256u << 20,
                            .reserve_bytes = f->reserve_bytes,
                            .unsafe_nosync = true,
                            .fault = f->fault,
                            .on_fatal = fix_fatal,
                            .arg = f};
    assert_ok(store_open(&f->store, tmpdir_path(&f->dir, "queue"), &so, &e), &e);
    f->opts.clock = &f->clock;
    assert_ok(queue_open(&f->q, f->store, &f->opts, &e), &e);
    queue_set_dead_writer(f->q, fix_on_dead, f);
    queue_on_ready(f->q, fix_on_ready, f);
    queue_on_cancelled(f->q, fix_on_cancelled, f);
    assert_ok(queue_recover(f->q, &f->recovered, &e), &e);
    assert_ok(store_start(f->store, &e), &e);
}

static TEST_UNUSED void fix_stop(struct fix *f)
{
    store_stop(f->store);
    queue_close(f->q);
    store_close(f->store);
}

static TEST_UNUSED void fix_open(struct fix *f)
{
    memset(f, 0, sizeof *f);
    tmpdir_make(&f->dir);
    clock_init_virtual(&f->clock, FIX_EPOCH);
    id_gen_init(&f->ids);
    pthread_mutex_init(&f->mu, NULL);
    f->next_run = 1;
    f->opts = (struct queue_opts){.history_retention_ms = 1000000, .history_max_bytes = 1u << 30, .max_disruptions = 5};
    fix_start(f);
}

static TEST_UNUSED void fix_reopen(struct fix *f)
{
    fix_stop(f);
    f->n_ready = 0;
    fix_start(f);
}

/* --- waiting for one completion ----------------------------------------------------------------------------------- */

struct wait {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool called;
    int err;
    uint64_t n;
    struct event ev;
};

static TEST_UNUSED void wait_init(struct wait *w)
{
    memset(w, 0, sizeof *w);
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->cond, NULL);
}

static TEST_UNUSED void wait_tell(struct wait *w, int err)
{
    pthread_mutex_lock(&w->mu);
    w->called = true;
    w->err = err;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mu);
}

static TEST_UNUSED void wait_event(int err, const struct event *ev, void *arg)
{
    struct wait *w = arg;
    if (err == 0)
        w->ev = *ev;
    wait_tell(w, err);
}

/* The event also when nothing was done to it. */
static TEST_UNUSED void wait_found(int err, const struct event *ev, void *arg)
{
    struct wait *w = arg;
    w->ev = *ev;
    wait_tell(w, err);
}

static TEST_UNUSED void wait_count(int err, uint64_t n, void *arg)
{
    struct wait *w = arg;
    w->n = n;
    wait_tell(w, err);
}

static TEST_UNUSED void wait_done(int err, void *arg)
{
    wait_tell(arg, err);
}

/* rc: what the submitting call gave. */
static TEST_UNUSED int wait_end(struct wait *w, int rc)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TEST_PATIENCE_MS / 1000;
    pthread_mutex_lock(&w->mu);
    while (rc == 0 && !w->called)
        if (pthread_cond_timedwait(&w->cond, &w->mu, &until) == ETIMEDOUT)
            fail_msg("no completion");
    pthread_mutex_unlock(&w->mu);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->mu);
    return rc < 0 ? rc : w->err;
}

/* --- the queue's verbs -------------------------------------------------------------------------------------------- */

static TEST_UNUSED int try_accept(struct fix *f, uint64_t fid, const void *p, size_t len, struct event *ret)
{
    struct wait w;
    wait_init(&w);
    char name[32];
    (void)snprintf(name, sizeof name, "f%" PRIu64, fid);
    struct queue_new in = {.id = id_new(&f->ids, clock_now_ms(&f->clock)),
                           .fid = fid,
                           .name = name,
                           .qualifier = "live",
                           .payload = p,
                           .payload_len = len};
    int rc = wait_end(&w, queue_accept(f->q, &in, wait_event, &w));
    if (ret != NULL)
        *ret = w.ev;
    return rc;
}

static TEST_UNUSED struct event do_accept(struct fix *f, uint64_t fid, const char *payload)
{
    struct event ev;
    assert_rc(try_accept(f, fid, payload, strlen(payload), &ev), 0);
    return ev;
}

static TEST_UNUSED int try_start(struct fix *f, uint64_t seq, uint64_t run, bool lone)
{
    struct wait w;
    wait_init(&w);
    return wait_end(&w, queue_start(f->q, seq, run, lone, wait_event, &w));
}

static TEST_UNUSED uint64_t do_start(struct fix *f, uint64_t seq)
{
    uint64_t run = f->next_run++;
    assert_rc(try_start(f, seq, run, false), 0);
    return run;
}

static TEST_UNUSED int try_settle(struct fix *f, const struct settle *s, struct event *ret)
{
    struct wait w;
    wait_init(&w);
    int rc = wait_end(&w, queue_settle(f->q, s, wait_event, &w));
    if (ret != NULL)
        *ret = w.ev;
    return rc;
}

static TEST_UNUSED struct settle a_failure(uint64_t seq, uint64_t fid, uint64_t run, enum verdict v)
{
    return (struct settle){.seq = seq,
                           .fid = fid,
                           .run = run,
                           .verdict = v,
                           .condition = v == VERDICT_DEAD ? CONDITION_RETRIES_EXHAUSTED : CONDITION_NONE,
                           .counts = true,
                           .attempt = {.started_at_ms = FIX_EPOCH,
                                       .ended_at_ms = FIX_EPOCH + 5,
                                       .outcome = OUTCOME_FUNCTION_ERROR,
                                       .error_type = "Boom",
                                       .error_message = "it broke",
                                       .exit_code = -1,
                                       .version = "$LATEST"}};
}

static TEST_UNUSED void do_done(struct fix *f, uint64_t seq, uint64_t fid, uint64_t run)
{
    struct settle s = {.seq = seq,
                       .fid = fid,
                       .run = run,
                       .verdict = VERDICT_DONE,
                       .counts = true,
                       .attempt = {.outcome = OUTCOME_SUCCESS, .exit_code = -1, .version = "$LATEST"}};
    assert_rc(try_settle(f, &s, NULL), 0);
}

static TEST_UNUSED void do_fail_and_wait(struct fix *f, uint64_t seq, uint64_t fid, int64_t wait_ms)
{
    struct settle s = a_failure(seq, fid, do_start(f, seq), VERDICT_WAIT);
    s.wait_ms = wait_ms;
    s.due_at_ms = clock_now_ms(&f->clock) + wait_ms;
    assert_rc(try_settle(f, &s, NULL), 0);
}

static TEST_UNUSED void do_die(struct fix *f, uint64_t seq, uint64_t fid)
{
    struct settle s = a_failure(seq, fid, do_start(f, seq), VERDICT_DEAD);
    assert_rc(try_settle(f, &s, NULL), 0);
}

static TEST_UNUSED int try_expire(struct fix *f, uint64_t seq, enum condition c)
{
    struct wait w;
    wait_init(&w);
    return wait_end(&w, queue_expire(f->q, seq, c, wait_event, &w));
}

static TEST_UNUSED uint64_t do_promote(struct fix *f, uint32_t max_n)
{
    struct wait w;
    wait_init(&w);
    assert_rc(wait_end(&w, queue_promote_due(f->q, clock_now_ms(&f->clock), max_n, wait_count, &w)), 0);
    return w.n;
}

static TEST_UNUSED uint64_t do_delete_function(struct fix *f, uint64_t fid, uint32_t max_n)
{
    struct wait w;
    wait_init(&w);
    assert_rc(wait_end(&w, queue_function_deleted(f->q, fid, max_n, wait_count, &w)), 0);
    return w.n;
}

static TEST_UNUSED uint64_t do_evict(struct fix *f, uint32_t max_n)
{
    struct wait w;
    wait_init(&w);
    assert_rc(wait_end(&w, queue_evict_history(f->q, max_n, wait_count, &w)), 0);
    return w.n;
}

struct txn_call {
    struct wait w;
    store_run_cb *fn;
    void *arg;
};

static TEST_UNUSED int txn_call_run(struct store_txn *t, void *arg)
{
    struct txn_call *x = arg;
    return x->fn(t, x->arg);
}

static TEST_UNUSED void txn_call_done(int err, void *arg)
{
    struct txn_call *x = arg;
    wait_tell(&x->w, err);
}

/* fn inside a write transaction of the store thread. */
static TEST_UNUSED int try_txn(struct fix *f, store_run_cb *fn, void *arg)
{
    struct txn_call x = {.fn = fn, .arg = arg};
    struct store_op op = {.run = txn_call_run, .done = txn_call_done, .arg = &x};
    wait_init(&x.w);
    return wait_end(&x.w, store_submit(f->store, &op));
}

/* Every completion and every on_ready submitted before is over. */
static TEST_UNUSED void barrier(struct fix *f)
{
    struct wait w;
    wait_init(&w);
    assert_rc(wait_end(&w, queue_meta_put(f->q, "barrier", 1, wait_done, &w)), 0);
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

static TEST_UNUSED struct event see(struct fix *f, const struct id *id)
{
    struct event ev;
    assert_rc(queue_find(f->q, id, &ev, NULL, NULL), 0);
    return ev;
}

static TEST_UNUSED struct books see_books(struct fix *f)
{
    struct books b;
    assert_rc(queue_books(f->q, &b), 0);
    return b;
}

static TEST_UNUSED void report(const char *line, void *arg)
{
    if (arg != NULL)
        print_error("%s\n", line);
}

static TEST_UNUSED uint64_t findings(struct fix *f, bool loud)
{
    struct store_txn *t;
    uint64_t n = 0;
    assert_rc(store_read_begin(f->store, &t), 0);
    assert_rc(queue_verify(f->q, t, report, loud ? f : NULL, &n), 0);
    store_read_end(t);
    return n;
}

static TEST_UNUSED void assert_sound(struct fix *f)
{
    assert_int_equal(findings(f, true), 0);
    struct books b = see_books(f);
    assert_int_equal(b.accepted,
                     b.queued + b.running + b.waiting + b.done + b.dead + b.cancelled + b.removed + b.replayed);
}

/* Without the verification, for a queue that was damaged on purpose. */
static TEST_UNUSED void fix_discard(struct fix *f)
{
    fix_stop(f);
    id_gen_done(&f->ids);
    pthread_mutex_destroy(&f->mu);
    tmpdir_remove(&f->dir);
}

static TEST_UNUSED void fix_close(struct fix *f)
{
    assert_sound(f);
    fix_discard(f);
}

#endif
