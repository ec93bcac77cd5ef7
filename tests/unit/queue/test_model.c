/* Random verbs against a naive model in memory: after each, the event looks as the model says; now and then the queue
 * is opened again, and the books and the verification are compared.
 *
 * BIDE_SEED=N repeats a run.
 */
#include "fixture.h"

enum { EVENTS = 300, STEPS = 2500, FUNCTIONS = 3, MAX_LONE = 3 };

struct model {
    struct event ev; /* what is expected */
    bool there;      /* false: removed */
};

static struct model model[EVENTS];
static size_t n_model;
static struct books want;

static uint64_t *book_of(enum event_state s)
{
    switch (s) {
    case EVENT_QUEUED:
        return &want.queued;
    case EVENT_RUNNING:
        return &want.running;
    case EVENT_WAITING:
        return &want.waiting;
    case EVENT_DONE:
        return &want.done;
    case EVENT_DEAD:
        return &want.dead;
    case EVENT_REMOVED:
        return &want.removed;
    case EVENT_CANCELLED:
        return &want.cancelled;
    default:
        fail_msg("the model has no book of %s", event_state_name(s));
        return NULL;
    }
}

static void to(struct model *m, enum event_state s)
{
    (*book_of(m->ev.state))--;
    (*book_of(s))++;
    m->ev.state = s;
    m->ev.run = 0;
    m->ev.lone = m->ev.cancel_asked = false;
    m->ev.due_at_ms = 0;
    m->ev.condition = CONDITION_NONE;
}

/* A dead one, or one that waits until there is room. */
static void to_dead(struct fix *f, struct model *m, enum condition c)
{
    to(m, f->dead_full ? EVENT_WAITING : EVENT_DEAD);
    m->ev.condition = c;
    if (f->dead_full)
        m->ev.due_at_ms = clock_now_ms(&f->clock) + DEAD_PENDING_MS;
}

static void check(struct fix *f, const struct model *m)
{
    struct event got;
    int rc = queue_find(f->q, &m->ev.id, &got, NULL, NULL);
    assert_rc(rc, m->there ? 0 : ERR_NOTFOUND);
    if (rc < 0)
        return;
    assert_int_equal(got.seq, m->ev.seq);
    assert_int_equal(got.state, m->ev.state);
    assert_int_equal(got.condition, m->ev.condition);
    assert_int_equal(got.attempts, m->ev.attempts);
    assert_int_equal(got.disruptions, m->ev.disruptions);
    assert_int_equal(got.lone_runs, m->ev.lone_runs);
    assert_int_equal(got.run, m->ev.run);
    assert_int_equal(got.cancel_asked, m->ev.cancel_asked);
    assert_int_equal(got.due_at_ms, m->ev.due_at_ms);
}

static void check_all(struct fix *f)
{
    struct books got = see_books(f);
    assert_memory_equal(&got, &want, sizeof got);
    for (size_t i = 0; i < n_model; i++)
        check(f, &model[i]);
    assert_sound(f);
}

static void step_accept(struct fix *f, uint64_t *seed)
{
    if (n_model == EVENTS)
        return;
    struct model *m = &model[n_model++];
    *m = (struct model){.there = true};
    m->ev = do_accept(f, test_rand(seed) % FUNCTIONS + 1, "payload");
    want.accepted++;
    want.queued++;
    assert_int_equal(m->ev.seq, n_model);
    check(f, m);
}

static void step_start(struct fix *f, uint64_t *seed, struct model *m)
{
    uint64_t run = f->next_run++;
    bool lone = test_rand(seed) % 4 == 0;
    int rc = try_start(f, m->ev.seq, run, lone);
    assert_rc(rc, !m->there ? ERR_NOTFOUND : m->ev.state == EVENT_QUEUED ? 0 : ERR_CONFLICT);
    if (rc < 0)
        return;
    to(m, EVENT_RUNNING);
    m->ev.run = run;
    m->ev.lone = lone;
}

static void step_settle(struct fix *f, uint64_t *seed, struct model *m)
{
    const enum verdict verdicts[] = {VERDICT_DONE, VERDICT_WAIT, VERDICT_DEAD, VERDICT_REQUEUE};
    bool late = test_rand(seed) % 6 == 0, running = m->there && m->ev.state == EVENT_RUNNING;
    struct settle s = a_failure(m->ev.seq, m->ev.fid, late || !running ? f->next_run + 1000000 : m->ev.run,
                                verdicts[test_rand(seed) % 4]);
    s.counts = s.verdict != VERDICT_REQUEUE;
    s.wait_ms = (int64_t)(test_rand(seed) % 3) * 1000;
    s.due_at_ms = clock_now_ms(&f->clock) + s.wait_ms;
    assert_rc(try_settle(f, &s, NULL), late || !running ? ERR_CONFLICT : 0);
    if (late || !running)
        return;
    bool lone = m->ev.lone;
    m->ev.attempts += s.counts;
    if (m->ev.cancel_asked) {
        to(m, EVENT_CANCELLED);
        return;
    }
    m->ev.disruptions += !s.counts;
    m->ev.lone_runs += !s.counts && lone;
    if (s.verdict == VERDICT_DEAD) {
        to_dead(f, m, CONDITION_RETRIES_EXHAUSTED);
        return;
    }
    to(m, s.verdict == VERDICT_DONE ? EVENT_DONE : s.verdict == VERDICT_WAIT ? EVENT_WAITING : EVENT_QUEUED);
    if (s.verdict == VERDICT_WAIT)
        m->ev.due_at_ms = s.due_at_ms;
}

static void step_expire(struct fix *f, struct model *m)
{
    bool may = m->there && (m->ev.state == EVENT_QUEUED || m->ev.state == EVENT_WAITING);
    assert_rc(try_expire(f, m->ev.seq, CONDITION_EVENT_AGE_EXCEEDED), !m->there ? ERR_NOTFOUND
                                                                      : may     ? 0
                                                                                : ERR_CONFLICT);
    if (may)
        to_dead(f, m, CONDITION_EVENT_AGE_EXCEEDED);
}

static void step_time(struct fix *f, uint64_t *seed)
{
    (void)clock_advance(&f->clock, (int64_t)(test_rand(seed) % 20) * 500);
    uint64_t due = 0;
    for (size_t i = 0; i < n_model; i++) {
        struct model *m = &model[i];
        if (!m->there || m->ev.state != EVENT_WAITING || m->ev.due_at_ms > clock_now_ms(&f->clock))
            continue;
        due++;
        if (m->ev.condition != CONDITION_NONE)
            to_dead(f, m, m->ev.condition);
        else
            to(m, EVENT_QUEUED);
    }
    assert_int_equal(do_promote(f, EVENTS), due);
}

static void step_delete(struct fix *f, uint64_t *seed)
{
    uint64_t fid = test_rand(seed) % FUNCTIONS + 1, n = 0;
    for (size_t i = 0; i < n_model; i++) {
        struct model *m = &model[i];
        bool held = m->ev.state == EVENT_WAITING && m->ev.condition != CONDITION_NONE;
        if (!m->there || m->ev.fid != fid || held || (m->ev.state != EVENT_QUEUED && m->ev.state != EVENT_WAITING))
            continue;
        to_dead(f, m, CONDITION_FUNCTION_DELETED);
        n++;
    }
    assert_int_equal(do_delete_function(f, fid, EVENTS), n);
}

static bool is_open(const struct model *m)
{
    return m->there && m->ev.condition == CONDITION_NONE &&
           (m->ev.state == EVENT_QUEUED || m->ev.state == EVENT_WAITING);
}

static void step_cancel(struct fix *f, struct model *m)
{
    struct wait w;
    wait_init(&w);
    bool running = m->there && m->ev.state == EVENT_RUNNING, before = m->there && m->ev.state == EVENT_CANCELLED;
    assert_rc(wait_end(&w, queue_cancel(f->q, &m->ev.id, wait_event, &w)), !m->there ? ERR_NOTFOUND
                                                                           : is_open(m) || running || before
                                                                               ? 0
                                                                               : ERR_CONFLICT);
    if (running)
        m->ev.cancel_asked = true;
    else if (is_open(m))
        to(m, EVENT_CANCELLED);
}

static void step_retry(struct fix *f, struct model *m)
{
    struct wait w;
    wait_init(&w);
    bool may = is_open(m) && m->ev.state == EVENT_WAITING;
    assert_rc(wait_end(&w, queue_retry(f->q, &m->ev.id, wait_event, &w)), !m->there ? ERR_NOTFOUND
                                                                          : may     ? 0
                                                                                    : ERR_CONFLICT);
    if (may)
        to(m, EVENT_QUEUED);
}

struct swept {
    struct wait w;
    struct queue_sweep at;
};

static void on_sweep(int err, const struct queue_sweep *at, void *arg)
{
    struct swept *x = arg;
    x->at = *at;
    wait_tell(&x->w, err);
}

/* In chunks, with new events between them, and now and then a restart that ends it halfway. */
static void step_purge(struct fix *f, uint64_t *seed)
{
    struct queue_sweep s = {.fid = test_rand(seed) % FUNCTIONS + 1, .queued = true, .waiting = true};
    size_t began = n_model;
    do {
        struct swept x;
        wait_init(&x.w);
        assert_rc(wait_end(&x.w, queue_cancel_chunk(f->q, &s, 7, on_sweep, &x)), 0);
        s = x.at;
        uint64_t n = 0;
        for (enum event_state from = EVENT_QUEUED; from <= EVENT_WAITING; from += EVENT_WAITING - EVENT_QUEUED)
            for (size_t i = 0; i < began && n < s.n; i++) {
                struct model *m = &model[i];
                if (m->ev.fid != s.fid || !is_open(m) || m->ev.state != from)
                    continue;
                to(m, EVENT_CANCELLED);
                n++;
            }
        assert_int_equal(n, s.n);
        struct books got = see_books(f);
        assert_memory_equal(&got, &want, sizeof got);
        step_accept(f, seed);
        if (test_rand(seed) % 10 == 0)
            return;
    } while (s.more);
    for (size_t i = 0; i < began; i++)
        assert_false(model[i].ev.fid == s.fid && is_open(&model[i]));
}

struct leave {
    struct queue *q;
    uint64_t seq;
};

static int remove_dead(struct store_txn *t, void *arg)
{
    const struct leave *x = arg;
    return queue_dead_removed_in(x->q, t, x->seq);
}

static void step_remove(struct fix *f, struct model *m)
{
    struct leave x = {f->q, m->ev.seq};
    int rc = try_txn(f, remove_dead, &x);
    assert_rc(rc, !m->there ? ERR_NOTFOUND : m->ev.state == EVENT_DEAD ? 0 : ERR_CONFLICT);
    if (rc < 0)
        return;
    to(m, EVENT_REMOVED);
    m->there = false;
}

struct incoming {
    struct queue *q;
    struct queue_import in;
};

static int import_one(struct store_txn *t, void *arg)
{
    const struct incoming *x = arg;
    return queue_import_in(x->q, t, &x->in);
}

/* A letter from elsewhere, or one whose id is known. */
static void step_import(struct fix *f, uint64_t *seed, const struct model *known)
{
    bool again = known->there && test_rand(seed) % 2 == 0;
    static const struct attempt a = {.outcome = OUTCOME_EXITED, .error_type = "E", .exit_code = 1, .version = "1"};
    struct incoming x = {.q = f->q,
                         .in = {.ev = {.id = again ? known->ev.id : id_new(&f->ids, FIX_EPOCH),
                                       .fid = test_rand(seed) % (FUNCTIONS + 1),
                                       .state = EVENT_DEAD,
                                       .condition = CONDITION_DISRUPTED,
                                       .accepted_at_ms = 5,
                                       .ended_at_ms = 6,
                                       .attempts = 1,
                                       .disruptions = 2,
                                       .name = "elsewhere"},
                                .attempts = &a,
                                .n_attempts = 1,
                                .payload = "payload",
                                .payload_len = 7}};
    if (n_model == EVENTS)
        return;
    int rc = try_txn(f, import_one, &x);
    assert_rc(rc, again ? ERR_EXISTS : f->dead_full ? ERR_FULL : 0);
    if (rc < 0)
        return;
    struct model *m = &model[n_model++];
    *m = (struct model){.there = true, .ev = x.in.ev};
    m->ev.seq = n_model;
    want.accepted++;
    want.dead++;
    check(f, m);
}

static void step_restart(struct fix *f)
{
    uint64_t running = want.running;
    for (size_t i = 0; i < n_model; i++) {
        struct model *m = &model[i];
        if (!m->there || m->ev.state != EVENT_RUNNING)
            continue;
        if (m->ev.cancel_asked) {
            to(m, EVENT_CANCELLED);
            continue;
        }
        m->ev.disruptions++;
        m->ev.lone_runs += m->ev.lone;
        if (m->ev.lone_runs >= MAX_LONE)
            to_dead(f, m, CONDITION_DISRUPTED);
        else
            to(m, EVENT_QUEUED);
    }
    fix_reopen(f);
    assert_int_equal(f->recovered, running);
    check_all(f);
}

static void play(uint64_t seed)
{
    struct fix f;
    memset(model, 0, sizeof model);
    n_model = 0;
    memset(&want, 0, sizeof want);
    fix_open(&f);
    f.opts.max_disruptions = MAX_LONE;
    fix_reopen(&f);
    step_accept(&f, &seed);
    for (int i = 0; i < STEPS; i++) {
        struct model *m = &model[test_rand(&seed) % n_model];
        uint64_t dice = test_rand(&seed) % 100;
        if (dice < 20)
            step_accept(&f, &seed);
        else if (dice < 55)
            step_start(&f, &seed, m);
        else if (dice < 85)
            step_settle(&f, &seed, m);
        else if (dice < 88)
            step_expire(&f, m);
        else if (dice < 91)
            step_time(&f, &seed);
        else if (dice < 93)
            step_cancel(&f, m);
        else if (dice < 94)
            step_retry(&f, m);
        else if (dice < 96)
            step_remove(&f, m);
        else if (dice < 97)
            f.dead_full = !f.dead_full;
        else if (dice < 98)
            step_restart(&f);
        else if (i % 8 == 0)
            step_delete(&f, &seed);
        else if (i % 8 == 4)
            step_purge(&f, &seed);
        else
            step_import(&f, &seed, m);
        check(&f, m);
        if (i % 100 == 0)
            check_all(&f);
    }
    check_all(&f);
    fix_close(&f);
}

static void fixed_seed(void **state)
{
    (void)state;
    play(42);
}

static void fresh_seed(void **state)
{
    (void)state;
    const char *text = getenv("BIDE_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)clock_mono_us();
    print_message("repeat with BIDE_SEED=%" PRIu64 "\n", seed);
    play(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_seed),
        cmocka_unit_test(fresh_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
