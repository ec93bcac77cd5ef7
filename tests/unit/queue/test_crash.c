/* Crashes: a child process accepts, starts and settles at random and is ended by _exit at a step of the store drawn
 * beforehand. It tells each acknowledged accept and settle through a pipe, as a client would know it; the parent opens
 * the directory again and holds the queue to it. Also: each step of a fixed script failing in turn, without a crash.
 *
 * BIDE_SEED=N repeats a run.
 */
#include "fixture.h"

#include <sys/wait.h>

enum { ROUNDS = 40, OPS = 120, EVENTS_MAX = 8192 };

/* --- the child ---------------------------------------------------------------------------------------------------- */

static int64_t steps_left; /* in the child, on the store thread only, once it runs */
static bool armed;

static int count_down(enum store_fault at, void *arg)
{
    (void)at;
    (void)arg;
    if (armed && --steps_left <= 0)
        _exit(99);
    return 0;
}

struct told {
    uint64_t seq;
    struct id id;
    char what; /* 'a' accepted, 'd' done, 'x' dead, 'c' cancelled, or will be */
};

static int tell_fd;

static void tell(char what, const struct event *ev)
{
    struct told t;
    memset(&t, 0, sizeof t);
    t.seq = ev->seq;
    t.id = ev->id;
    t.what = what;
    if (write(tell_fd, &t, sizeof t) != (ssize_t)sizeof t) /* below PIPE_BUF: whole or not at all */
        _exit(98);
}

static void on_accept(int err, const struct event *ev, void *arg)
{
    (void)arg;
    if (err == 0)
        tell('a', ev);
}

static void on_settle(int err, const struct event *ev, void *arg)
{
    (void)arg;
    if (err == 0 && ev->state == EVENT_DONE)
        tell('d', ev);
    if (err == 0 && ev->state == EVENT_DEAD)
        tell('x', ev);
}

static void on_cancel(int err, const struct event *ev, void *arg)
{
    (void)arg;
    if (err == 0)
        tell('c', ev);
}

static void on_sweep(int err, const struct queue_sweep *at, void *arg)
{
    (void)err;
    (void)at;
    (void)arg;
}

/* One event of an earlier round, or some of a function's. */
static void operate(struct fix *f, uint64_t *seed, const struct id *id)
{
    struct queue_sweep all = {.fid = test_rand(seed) % 3 + 1, .queued = true, .waiting = true, .running = true};
    int rc = 0;
    switch (test_rand(seed) % 8) {
    case 0:
        rc = queue_cancel_chunk(f->q, &all, 3, on_sweep, NULL);
        break;
    case 1:
        rc = queue_retry_chunk(f->q, &all, 3, on_sweep, NULL);
        break;
    case 2:
        rc = queue_retry(f->q, id, NULL, NULL);
        break;
    default:
        rc = queue_cancel(f->q, id, on_cancel, NULL);
        break;
    }
    if (rc < 0)
        _exit(93);
}

/* A verb or two on one event the round has at hand; nothing waits for a completion, so that batches form. */
static void run_one(struct fix *f, uint64_t *seed, uint64_t seq)
{
    uint64_t run = f->next_run++;
    if (queue_start(f->q, seq, run, test_rand(seed) % 8 == 0, NULL, NULL) < 0)
        _exit(97);
    if (test_rand(seed) % 5 == 0)
        return; /* still running at the crash, or to the end of the round */
    const enum verdict verdicts[] = {VERDICT_DONE, VERDICT_DONE, VERDICT_WAIT, VERDICT_DEAD, VERDICT_REQUEUE};
    enum verdict v = verdicts[test_rand(seed) % 5];
    struct settle s = a_failure(seq, seq % 3 + 1, run, v);
    s.counts = v != VERDICT_REQUEUE;
    s.wait_ms = 10;
    s.due_at_ms = clock_now_ms(&f->clock) + 10;
    if (queue_settle(f->q, &s, on_settle, NULL) < 0)
        _exit(96);
}

static void accept_one(struct fix *f, uint64_t *seed, uint64_t seq)
{
    static char payload[6000];
    memset(payload, 'p', sizeof payload);
    struct queue_new in = {.id = id_new(&f->ids, clock_now_ms(&f->clock)),
                           .fid = seq % 3 + 1,
                           .name = "f",
                           .payload = payload,
                           .payload_len = test_rand(seed) % 4 == 0 ? test_rand(seed) % sizeof payload : 20};
    if (queue_accept(f->q, &in, on_accept, NULL) < 0)
        _exit(95);
}

static const struct id *known_id(uint64_t seq);

static _Noreturn void child(struct fix *f, uint64_t seed, uint64_t first_seq)
{
    steps_left = (int64_t)(test_rand(&seed) % 700) + 1;
    f->fault = count_down;
    armed = test_rand(&seed) % 4 == 0; /* now and then already in recovery */
    fix_start(f);
    armed = true;
    uint64_t next = first_seq; /* what the store will give: only this thread accepts */
    for (int i = 0; i < OPS; i++) {
        switch (test_rand(&seed) % 5) {
        case 0:
        case 1:
            accept_one(f, &seed, next++);
            break;
        case 2:
            if (next > 1)
                run_one(f, &seed, test_rand(&seed) % (next - 1) + 1);
            break;
        case 3:
            (void)clock_advance(&f->clock, 5);
            if (queue_promote_due(f->q, clock_now_ms(&f->clock), 10, NULL, NULL) < 0 ||
                queue_evict_history(f->q, 2, NULL, NULL) < 0)
                _exit(94);
            break;
        case 4: /* mostly one that a run of this round may be on its way with */
            if (first_seq > 1)
                operate(f, &seed, known_id(test_rand(&seed) % (first_seq - 1) + 1));
            break;
        }
    }
    store_stop(f->store);
    _exit(0);
}

/* --- the parent --------------------------------------------------------------------------------------------------- */

struct ledger_line {
    struct id id;
    char what;
};

static struct ledger_line known[EVENTS_MAX];

static const struct id *known_id(uint64_t seq)
{
    return &known[seq].id;
}

static void hear(int fd)
{
    struct told t;
    while (read(fd, &t, sizeof t) == (ssize_t)sizeof t) {
        assert_true(t.seq < EVENTS_MAX);
        assert_true(known[t.seq].what == 0 || id_cmp(&known[t.seq].id, &t.id) == 0);
        known[t.seq].id = t.id;
        known[t.seq].what = t.what;
    }
}

static void hold_to_it(struct fix *f)
{
    for (uint64_t seq = 1; seq < EVENTS_MAX; seq++) {
        struct event ev;
        if (known[seq].what == 0)
            continue;
        assert_rc(queue_find(f->q, &known[seq].id, &ev, NULL, NULL), 0); /* history outlives this test */
        assert_int_equal(ev.seq, seq);
        if (known[seq].what == 'd')
            assert_int_equal(ev.state, EVENT_DONE);
        if (known[seq].what == 'x')
            assert_int_equal(ev.state, EVENT_DEAD);
        if (known[seq].what == 'c') /* flagged and running: the restart has ended it */
            assert_int_equal(ev.state, EVENT_CANCELLED);
        struct buf b;
        buf_init(&b, 8192);
        if (ev.state != EVENT_DONE && ev.payload_len > 0) {
            assert_rc(queue_payload(f->q, seq, &b), 0);
            assert_int_equal(b.len, ev.payload_len);
        }
        buf_done(&b);
    }
}

static uint64_t seed_of_run(void)
{
    const char *text = getenv("BIDE_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)clock_mono_us();
    print_message("repeat with BIDE_SEED=%" PRIu64 "\n", seed);
    return seed;
}

static void crash_and_reopen(uint64_t seed)
{
    struct fix f;
    int crashes = 0;
    memset(known, 0, sizeof known);
    fix_open(&f);
    fix_stop(&f);
    uint64_t next_seq = 1;
    for (int round = 0; round < ROUNDS; round++) {
        int fds[2], status;
        uint64_t child_seed = test_rand(&seed);
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            (void)close(fds[0]);
            tell_fd = fds[1];
            child(&f, child_seed, next_seq);
        }
        (void)close(fds[1]);
        hear(fds[0]);
        (void)close(fds[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 99);
        crashes += WEXITSTATUS(status) == 99;
        (void)clock_advance(&f.clock, OPS * 5);
        id_gen_done(&f.ids);
        id_gen_init(&f.ids); /* the child's ids went on from the same state */
        fix_start(&f);
        assert_int_equal(see_books(&f).running, 0);
        assert_sound(&f);
        hold_to_it(&f);
        next_seq = f.q->saved.next_seq;
        fix_stop(&f);
    }
    assert_true(crashes > ROUNDS / 4);
    fix_start(&f);
    fix_close(&f);
}

static void crashes_fixed(void **state)
{
    (void)state;
    crash_and_reopen(20260101);
}

static void crashes_fresh(void **state)
{
    (void)state;
    crash_and_reopen(seed_of_run());
}

/* --- every step failing in turn ----------------------------------------------------------------------------------- */

static int64_t fail_at;
static bool failed;

static int fail_once(enum store_fault at, void *arg)
{
    (void)arg;
    if (at != STORE_FAULT_PUT && at != STORE_FAULT_DEL && at != STORE_FAULT_COMMIT)
        return 0;
    if (!armed || fail_at < 0 || --fail_at >= 0)
        return 0;
    failed = true;
    return ERR_NOMEM; /* neither full nor broken: this op fails, the store goes on */
}

/* Each verb until it works: a refused one must have changed nothing, so the second try is the first. */
static void script(struct fix *f)
{
    struct event ev;
    int rc, tries = 0;
    uint64_t run = f->next_run++;
    while ((rc = try_accept(f, 1, "x", 1, &ev)) != 0)
        assert_true(rc == ERR_NOMEM && tries++ == 0);
    while ((rc = try_start(f, ev.seq, run, false)) != 0)
        assert_true(rc == ERR_NOMEM && tries++ == 0);
    struct settle s = a_failure(ev.seq, 1, run, VERDICT_WAIT);
    s.wait_ms = 10;
    s.due_at_ms = clock_now_ms(&f->clock) + 10;
    while ((rc = try_settle(f, &s, NULL)) != 0)
        assert_true(rc == ERR_NOMEM && tries++ == 0);
    (void)clock_advance(&f->clock, 10);
    struct wait w;
    do {
        wait_init(&w);
        rc = wait_end(&w, queue_promote_due(f->q, clock_now_ms(&f->clock), 10, wait_count, &w));
        assert_true(rc == 0 || (rc == ERR_NOMEM && tries++ == 0));
    } while (rc != 0);
    assert_int_equal(w.n, 1);
    run = f->next_run++;
    while ((rc = try_start(f, ev.seq, run, false)) != 0)
        assert_true(rc == ERR_NOMEM && tries++ == 0);
    s = a_failure(ev.seq, 1, run, VERDICT_DEAD);
    while ((rc = try_settle(f, &s, NULL)) != 0)
        assert_true(rc == ERR_NOMEM && tries++ == 0);
    struct event got = see(f, &ev.id);
    assert_int_equal(got.state, EVENT_DEAD);
    assert_int_equal(got.attempts, 2);
}

static void every_step_fails_once(void **state)
{
    (void)state;
    struct fix f;
    armed = false;
    fix_open(&f);
    fix_stop(&f);
    f.fault = fail_once;
    fix_start(&f);
    armed = true;
    int64_t step = 0;
    do {
        failed = false;
        fail_at = step++;
        script(&f);
        fail_at = -1;
        assert_sound(&f);
        assert_int_equal(see_books(&f).dead, step);
    } while (failed);
    assert_true(step > 30); /* the script's writes and commits, each failed once */
    armed = false;
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crashes_fixed),
        cmocka_unit_test(crashes_fresh),
        cmocka_unit_test(every_step_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
