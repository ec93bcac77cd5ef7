/* A queue with its dead-letter store on a store of its own, driven synchronously.
 *
 *   struct fix f;
 *   fix_open(&f);                    // a new folder, a virtual clock
 *   struct event ev = die(&f, "hello", "payload", CONDITION_RETRIES_EXHAUSTED);
 *   fix_reopen(&f);                  // as a restart
 *   fix_close(&f);                   // verifies both halves, then removes the folder
 */
#ifndef TESTS_DLQ_TEST_H
#define TESTS_DLQ_TEST_H

#include "testutil.h"

#include <inttypes.h>
#include <pthread.h>

#include "priv.h"

#define FIX_EPOCH INT64_C(1700000000000)

struct fix {
    struct tmpdir dir;
    struct clock clock;
    struct id_gen ids;
    struct store *store;
    struct queue *q;
    struct dlq *d;
    struct dlq_opts opts;
    struct store_table *payload; /* the queue's, to damage it */
    int (*fault)(enum store_fault at, void *arg);
    uint64_t next_run;
    uint64_t n_ready;              /* events told to be ready; read it after a completion */
    const char *gone;              /* a function that does not exist any more */
    void (*opened)(struct fix *f); /* called before the store starts, when set */
};

static TEST_UNUSED void fix_on_ready(const struct event *ev, const void *payload, size_t len, void *arg)
{
    struct fix *f = arg;
    (void)payload;
    (void)len;
    assert_int_equal(ev->state, EVENT_QUEUED);
    __atomic_add_fetch(&f->n_ready, 1, __ATOMIC_SEQ_CST);
}

static TEST_UNUSED void fix_fatal(const struct err *e, void *arg)
{
    (void)e;
    (void)arg;
}

static TEST_UNUSED void fix_start(struct fix *f)
{
    struct err e;
    uint64_t recovered;
    struct store_opts so = {
        .max_bytes = 256u << 20, .unsafe_nosync = true, .fault = f->fault, .on_fatal = fix_fatal, .arg = f};
    struct queue_opts qo = {
        .clock = &f->clock, .history_retention_ms = 1000000, .history_max_bytes = 1u << 30, .max_disruptions = 5};
    assert_ok(store_open(&f->store, tmpdir_path(&f->dir, "queue"), &so, &e), &e);
    assert_ok(queue_open(&f->q, f->store, &qo, &e), &e);
    f->opts.clock = &f->clock;
    f->opts.ids = &f->ids;
    assert_ok(dlq_open(&f->d, f->q, &f->opts, &e), &e);
    assert_ok(store_table(f->store, "payload", &f->payload, &e), &e);
    queue_on_ready(f->q, fix_on_ready, f);
    assert_ok(queue_recover(f->q, &recovered, &e), &e);
    if (f->opened != NULL)
        f->opened(f);
    assert_ok(store_start(f->store, &e), &e);
}

static TEST_UNUSED void fix_stop(struct fix *f)
{
    store_stop(f->store);
    dlq_close(f->d);
    queue_close(f->q);
    store_close(f->store);
}

static TEST_UNUSED void fix_open(struct fix *f)
{
    memset(f, 0, sizeof *f);
    tmpdir_make(&f->dir);
    clock_init_virtual(&f->clock, FIX_EPOCH);
    id_gen_init(&f->ids);
    f->next_run = 1;
    f->opts = (struct dlq_opts){.retention_ms = 1000000, .max_bytes = 64u << 20};
    fix_start(f);
}

static TEST_UNUSED void fix_reopen(struct fix *f)
{
    fix_stop(f);
    fix_start(f);
}

/* --- waiting for one completion ----------------------------------------------------------------------------------- */

struct wait {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool called;
    int err;
    uint64_t n, cursor;
    struct event ev;
    struct dlq_replay_result r;
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

static TEST_UNUSED void on_event(int err, const struct event *ev, void *arg)
{
    struct wait *w = arg;
    if (err == 0)
        w->ev = *ev;
    wait_tell(w, err);
}

static TEST_UNUSED void on_count(int err, uint64_t n, void *arg)
{
    struct wait *w = arg;
    w->n = n;
    wait_tell(w, err);
}

static TEST_UNUSED void on_replay(int err, const struct dlq_replay_result *r, void *arg)
{
    struct wait *w = arg;
    w->r = *r;
    wait_tell(w, err);
}

static TEST_UNUSED void on_removed(int err, uint64_t removed, uint64_t cursor, void *arg)
{
    struct wait *w = arg;
    w->n = removed;
    w->cursor = cursor;
    wait_tell(w, err);
}

static TEST_UNUSED void on_done(int err, void *arg)
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
    return rc < 0 ? rc : w->err;
}

/* --- events that die ---------------------------------------------------------------------------------------------- */

static TEST_UNUSED struct event accept_event(struct fix *f, const char *name, const void *p, size_t len)
{
    struct wait w;
    struct queue_new in = {.id = id_new(&f->ids, clock_now_ms(&f->clock)),
                           .fid = 7,
                           .name = name,
                           .qualifier = "live",
                           .trace = "Root=1-2-3",
                           .payload = p,
                           .payload_len = len};
    wait_init(&w);
    assert_rc(wait_end(&w, queue_accept(f->q, &in, on_event, &w)), 0);
    return w.ev;
}

/* One failed attempt, and what the verdict made of the event. */
static TEST_UNUSED struct event fail_for_good(struct fix *f, const struct event *ev, enum condition c,
                                              const char *log_tail)
{
    struct wait w;
    uint64_t run = f->next_run++;
    wait_init(&w);
    assert_rc(wait_end(&w, queue_start(f->q, ev->seq, run, false, on_event, &w)), 0);
    struct settle s = {.seq = ev->seq,
                       .fid = ev->fid,
                       .run = run,
                       .verdict = VERDICT_DEAD,
                       .condition = c,
                       .counts = true,
                       .attempt = {.started_at_ms = FIX_EPOCH,
                                   .ended_at_ms = FIX_EPOCH + 5,
                                   .outcome = OUTCOME_FUNCTION_ERROR,
                                   .error_type = "Boom",
                                   .error_message = "it broke \xff\x01",
                                   .log_tail = log_tail,
                                   .log_tail_len = log_tail != NULL ? strlen(log_tail) : 0,
                                   .exit_code = -1,
                                   .version = "$LATEST"}};
    wait_init(&w);
    assert_rc(wait_end(&w, queue_settle(f->q, &s, on_event, &w)), 0);
    return w.ev;
}

static TEST_UNUSED struct event die(struct fix *f, const char *name, const char *payload, enum condition c)
{
    struct event ev = accept_event(f, name, payload, strlen(payload));
    ev = fail_for_good(f, &ev, c, NULL);
    assert_int_equal(ev.state, EVENT_DEAD);
    return ev;
}

/* --- the dead-letter store's verbs -------------------------------------------------------------------------------- */

static TEST_UNUSED int resolve(const char *name, const char *qualifier, uint64_t *ret_fid, void *arg)
{
    const struct fix *f = arg;
    assert_string_equal(qualifier, "live");
    if (f->gone != NULL && strcmp(name, f->gone) == 0)
        return ERR_NOTFOUND;
    *ret_fid = 8; /* another incarnation than the one it died in */
    return 0;
}

static TEST_UNUSED int replay_one(struct fix *f, const struct id *id, bool again, struct id *ret_new)
{
    struct wait w;
    wait_init(&w);
    int rc = wait_end(&w, dlq_replay_one(f->d, id, again, resolve, f, on_replay, &w));
    if (ret_new != NULL)
        *ret_new = w.r.new_id;
    return rc;
}

static TEST_UNUSED int replay_chunk(struct fix *f, const struct dlq_filter *filter, uint64_t cursor, uint32_t max_n,
                                    struct dlq_replay_result *ret)
{
    struct wait w;
    wait_init(&w);
    int rc = wait_end(&w, dlq_replay_chunk(f->d, filter, cursor, max_n, resolve, f, on_replay, &w));
    *ret = w.r;
    return rc;
}

static TEST_UNUSED int remove_one(struct fix *f, const struct id *id)
{
    struct wait w;
    wait_init(&w);
    int rc = wait_end(&w, dlq_remove_one(f->d, id, on_removed, &w));
    assert_int_equal(w.n, rc == 0);
    return rc;
}

static TEST_UNUSED uint64_t remove_chunk(struct fix *f, const struct dlq_filter *filter, uint64_t cursor,
                                         uint32_t max_n, uint64_t *ret_cursor)
{
    struct wait w;
    wait_init(&w);
    assert_rc(wait_end(&w, dlq_remove_chunk(f->d, filter, cursor, max_n, on_removed, &w)), 0);
    *ret_cursor = w.cursor;
    return w.n;
}

static TEST_UNUSED uint64_t retention(struct fix *f, uint32_t max_n)
{
    struct wait w;
    wait_init(&w);
    assert_rc(wait_end(&w, dlq_retention(f->d, max_n, on_removed, &w)), 0);
    return w.n;
}

static TEST_UNUSED uint64_t promote(struct fix *f)
{
    struct wait w;
    wait_init(&w);
    assert_rc(wait_end(&w, queue_promote_due(f->q, clock_now_ms(&f->clock), 100, on_count, &w)), 0);
    return w.n;
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

enum { SEEN_MAX = 4096 };

struct seen {
    struct event ev[SEEN_MAX];
    char type[64], message[64]; /* of the last */
    size_t n;
};

static TEST_UNUSED void note_letter(const struct dead_letter *dl, void *arg)
{
    struct seen *s = arg;
    assert_true(s->n < SEEN_MAX);
    s->ev[s->n++] = dl->ev;
    (void)snprintf(s->type, sizeof s->type, "%s", dl->error_type);
    (void)snprintf(s->message, sizeof s->message, "%s", dl->error_message);
}

/* All pages; the number of them. */
static TEST_UNUSED int list_all(struct fix *f, const struct dlq_filter *filter, uint32_t page, struct seen *s)
{
    uint64_t cursor = 0;
    int pages = 0;
    s->n = 0;
    do {
        size_t before = s->n;
        assert_rc(dlq_list(f->d, filter, cursor, page, note_letter, s, &cursor), 0);
        assert_true(s->n - before <= page);
        pages++;
    } while (cursor != 0);
    return pages;
}

static TEST_UNUSED size_t count_letters(struct fix *f, const struct dlq_filter *filter)
{
    struct seen *s = malloc(sizeof *s);
    (void)list_all(f, filter, 1000, s);
    size_t n = s->n;
    free(s);
    return n;
}

static TEST_UNUSED struct dlq_stats stats(struct fix *f)
{
    struct dlq_stats st;
    assert_rc(dlq_stats(f->d, &st), 0);
    return st;
}

static TEST_UNUSED struct books books(struct fix *f)
{
    struct books b;
    assert_rc(queue_books(f->q, &b), 0);
    return b;
}

static TEST_UNUSED struct event see(struct fix *f, const struct id *id)
{
    struct event ev;
    assert_rc(queue_find(f->q, id, &ev, NULL, NULL), 0);
    return ev;
}

static TEST_UNUSED void assert_payload(struct fix *f, const struct event *ev, const void *want, size_t len)
{
    struct buf b;
    buf_init(&b, 16 << 20);
    assert_rc(queue_payload(f->q, ev->seq, &b), 0);
    assert_int_equal(b.len, len);
    assert_memory_equal(b.data, want, len);
    buf_done(&b);
}

struct findings {
    uint64_t n;
    char text[2000];
    bool loud;
};

static TEST_UNUSED void report(const char *line, void *arg)
{
    struct findings *x = arg;
    size_t used = strlen(x->text);
    (void)snprintf(x->text + used, sizeof x->text - used, "%s\n", line);
    if (x->loud)
        print_error("%s\n", line);
}

static TEST_UNUSED void find_dlq(struct fix *f, struct findings *x)
{
    struct store_txn *t;
    x->text[0] = '\0';
    assert_rc(store_read_begin(f->store, &t), 0);
    assert_rc(dlq_verify(f->d, t, report, x, &x->n), 0);
    store_read_end(t);
}

static TEST_UNUSED void assert_sound(struct fix *f)
{
    struct findings x = {.loud = true};
    struct store_txn *t;
    find_dlq(f, &x);
    assert_int_equal(x.n, 0);
    assert_rc(store_read_begin(f->store, &t), 0);
    assert_rc(queue_verify(f->q, t, report, &x, &x.n), 0);
    store_read_end(t);
    assert_int_equal(x.n, 0);
}

/* --- damage ------------------------------------------------------------------------------------------------------- */

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
static TEST_UNUSED void in_txn(struct fix *f, store_run_cb *fn, void *arg)
{
    struct txn_call x = {.fn = fn, .arg = arg};
    struct store_op op = {.run = txn_call_run, .done = txn_call_done, .arg = &x};
    wait_init(&x.w);
    assert_rc(wait_end(&x.w, store_submit(f->store, &op)), 0);
}

/* Without the verification, for a store that was damaged on purpose. */
static TEST_UNUSED void fix_discard(struct fix *f)
{
    fix_stop(f);
    id_gen_done(&f->ids);
    tmpdir_remove(&f->dir);
}

static TEST_UNUSED void fix_close(struct fix *f)
{
    assert_sound(f);
    fix_discard(f);
}

#endif
