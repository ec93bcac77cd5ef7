#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "queue/keys.h"
#include "scheduler/scheduler.h"

enum {
    NONE = 0,
    TOUCHED_MAX = 4096,
    FIDS_MAX = 4096,
    PURGES_MAX = 16,
    CALLS_MAX = 4096,
    STEPS_MAX = 64,  /* forward steps of the clock remembered */
    STEP_MS = 10000, /* a forward step by more holds ages for HOLD_MS */
    HOLD_MS = 60000,
    HELD_MS = 60000,   /* an event for which there is no room among the dead letters waits so long */
    SYNCED_STARTS = 8, /* of each function after a crash */
    PASSED_MAX = 400,  /* hand-overs to others while a function could run */
    DEFAULT_RETRIES = 2,
    RETRY_FIRST_MS = 60000,
    RETRY_MAX_MS = 300000,
};

enum { DONE_BIT = 1 << EVENT_DONE | 1 << EVENT_DEAD | 1 << EVENT_CANCELLED | 1 << EVENT_REPLAYED | 1 << EVENT_REMOVED };

/* --- what is known of an event --------------------------------------------------------------------------------------
 */

struct record { /* as the last commit left it */
    struct id id, replayed_as, replay_of;
    uint64_t fid, run;
    int64_t accepted_at_ms, due_at_ms, wait_ms, ended_at_ms;
    enum event_state state;
    enum condition condition;
    uint32_t attempts, disruptions, lone_runs;
    bool lone, cancel_asked;
};

struct known {
    bool exists;
    struct record r;
    uint64_t token;
    uint32_t at_live;    /* its place in m.live */
    bool executing;      /* a worker has it */
    uint64_t handed_run; /* the latest run a worker was given */
    struct {
        bool fresh; /* an outcome that no commit has recorded */
        uint64_t run;
        enum model_end end;
        int64_t wall_ms, trusted_ms;
    } out;
    bool cancel, retry;      /* asked for */
    uint64_t cancelled_post; /* posted work up to here may not know that it is cancelled */
    uint64_t moved;          /* number of the commit that moved it last */
};

enum answer { OPEN, ACKNOWLEDGED, REFUSED, UNKNOWN };

struct submission {
    struct id id;
    uint64_t fid;
    uint32_t payload_len;
    enum answer answer;
};

struct version {
    uint32_t handler;
    int32_t reserved, max_retries, max_age_s;
    bool paused;
    uint64_t until_post;  /* the dispatcher goes by a newer one once this work is done; UINT64_MAX: it is the newest */
    uint64_t until_pause; /* what it decided by this one has come to the store by then; UINT64_MAX: it goes by it */
};

struct func {
    bool known, deleted;
    char name[FUNCTION_NAME_MAX + 1];
    struct version v[SIM_VERSIONS];
    uint32_t n;
    uint32_t executing, queued;
    int64_t ceiling; /* of its runs: highest that was reserved since nothing of it was under way */
    bool may_run;    /* it was not paused at some time since then */
    int64_t
        least_age_ms; /* that events were given since this engine began: one keeps what it had when it became ready */
    uint32_t init_failures; /* that no commit has recorded */
    uint32_t started;       /* in this engine's life: hand-overs, and what may have counted as one */
    uint32_t passed;
};

struct purge {
    bool used, retry, begun, complete;
    uint64_t fid, began, until;
    struct queue_sweep asked;
};

struct touched {
    uint64_t seq;
    bool exists;
    struct record r;
};

static struct {
    struct known *ev; /* by seq */
    struct submission *sub;
    uint64_t cap, next_seq, n_sub;
    uint32_t *by_id; /* tokens, n_by_id places of them */
    uint64_t n_by_id;
    uint64_t *live, n_live; /* seqs that are on disk */
    uint64_t count[EVENT_STATES], accepted, open;
    uint64_t commit;
    struct func *fn; /* by fid */
    uint64_t n_fn;   /* one above the highest that was seen */
    struct purge purges[PURGES_MAX];
    uint32_t removals_asked; /* of letters or history, and replays */
    uint64_t pauses;         /* how often all threads had nothing to do */
    uint32_t asked[SIM_FNS]; /* changes of functions that have no answer */
    uint32_t idle_gone; /* workers that went without a run; a start that waited for the disk may have been theirs */
    uint32_t executing, executing_lone;
    struct {
        bool open;
        struct id id;
    } calls[CALLS_MAX];
    struct {
        int64_t mono_ms, by_ms;
    } steps[STEPS_MAX];
    uint32_t n_steps;
    /* the transaction */
    uint64_t touched[TOUCHED_MAX];
    uint32_t n_touched, n_pending;
    struct touched pending[TOUCHED_MAX];
    struct books books;
} m;

#define ULL(x_) ((unsigned long long)(x_))

void model_init(void)
{
    m.cap = sim.plan.events * 4 + 1024;
    m.ev = sim_alloc(m.cap * sizeof *m.ev);
    m.sub = sim_alloc(m.cap * sizeof *m.sub);
    m.live = sim_alloc(m.cap * sizeof *m.live);
    m.fn = sim_alloc(FIDS_MAX * sizeof *m.fn);
    m.n_by_id = 1024;
    while (m.n_by_id < 2 * m.cap)
        m.n_by_id *= 2;
    m.by_id = sim_alloc(m.n_by_id * sizeof *m.by_id);
    m.next_seq = 1;
    m.n_sub = 1;
}

/* The place of the submission with this id, or the one it would have. */
static uint32_t *place_of(const struct id *id)
{
    uint64_t at;
    memcpy(&at, id->b + 8, sizeof at);
    for (at *= 0x9e3779b97f4a7c15, at >>= 20;; at++) {
        uint32_t *p = &m.by_id[at & (m.n_by_id - 1)];
        if (*p == NONE || id_cmp(&m.sub[*p].id, id) == 0)
            return p;
    }
}

uint64_t model_open_events(void)
{
    return m.open;
}

uint64_t model_known_events(void)
{
    return m.n_sub - 1;
}

static bool is_over(enum event_state s)
{
    return (DONE_BIT & 1 << s) != 0;
}

static struct func *func(uint64_t fid)
{
    if (fid >= FIDS_MAX)
        sim_violation("function %llu: the simulation has no room for it", ULL(fid));
    if (fid >= m.n_fn)
        m.n_fn = fid + 1;
    return &m.fn[fid];
}

/* --- versions of functions ------------------------------------------------------------------------------------------
 */

static uint32_t most_attempts(const struct version *v)
{
    return 1 + (uint32_t)(v->max_retries >= 0 ? v->max_retries : DEFAULT_RETRIES);
}

static int64_t most_age_ms(const struct version *v)
{
    return 1000LL * (v->max_age_s >= 0 ? v->max_age_s : DISPATCHER_DEFAULT_AGE_S);
}

/* Forget the versions that nothing can go by any more. */
static void prune(struct func *f)
{
    uint32_t gone = 0;
    while (gone + 1 < f->n && f->v[gone].until_post <= loop_done()) {
        if (f->v[gone].until_pause == UINT64_MAX)
            f->v[gone].until_pause = m.pauses + 1;
        if (f->v[gone].until_pause > m.pauses && f->n < SIM_VERSIONS)
            break;
        gone++;
    }
    memmove(f->v, f->v + gone, (f->n - gone) * sizeof f->v[0]);
    f->n -= gone;
}

void model_pause(void)
{
    m.pauses++;
}

static void allow(struct func *f, bool anew)
{
    const struct version *v = &f->v[f->n - 1];
    int64_t ceiling = v->reserved < 0 ? INT64_MAX : v->reserved;
    f->ceiling = anew || ceiling > f->ceiling ? ceiling : f->ceiling;
    f->may_run = (f->may_run && !anew) || !v->paused;
    f->least_age_ms = most_age_ms(v) < f->least_age_ms ? most_age_ms(v) : f->least_age_ms;
}

void model_function(const struct function *fn, bool deleted)
{
    struct func *f = func(fn->fid);
    if (!f->known)
        f->least_age_ms = INT64_MAX;
    f->known = true;
    memcpy(f->name, fn->name, sizeof f->name);
    SIM_TRACE("function %s (%llu): version %s reserved=%d paused=%d%s", fn->name, ULL(fn->fid), fn->handler,
              fn->reserved, fn->paused, deleted ? " deleted" : "");
    if (deleted) {
        f->deleted = true;
        return;
    }
    prune(f);
    if (f->n == SIM_VERSIONS)
        sim_violation("function %s: more changes under way than the simulation has room for", f->name);
    if (f->n > 0)
        f->v[f->n - 1].until_post = loop_posted() + 1; /* what the dispatcher is told next is this change */
    f->v[f->n++] = (struct version){.handler = (uint32_t)strtoul(fn->handler + 1, NULL, 10),
                                    .reserved = fn->reserved,
                                    .max_retries = fn->async.present ? fn->async.max_retries : -1,
                                    .max_age_s = fn->async.present ? fn->async.max_age_s : -1,
                                    .paused = fn->paused,
                                    .until_post = UINT64_MAX,
                                    .until_pause = UINT64_MAX};
    allow(f, f->n == 1);
}

static uint32_t name_index(const char *name)
{
    return (uint32_t)strtoul(name + 1, NULL, 10) % SIM_FNS;
}

void model_function_asked(const char *name)
{
    m.asked[name_index(name)]++;
}

void model_function_answer(const char *name)
{
    m.asked[name_index(name)]--;
}

#define ANY_VERSION(f_, v_, cond_)                                                                                     \
    ({                                                                                                                 \
        bool any_ = false;                                                                                             \
        prune(f_);                                                                                                     \
        for (const struct version *v_ = (f_)->v; v_ < (f_)->v + (f_)->n; v_++)                                         \
            any_ = any_ || (cond_);                                                                                    \
        any_;                                                                                                          \
    })

/* --- time -----------------------------------------------------------------------------------------------------------
 */

void model_clock_step(int64_t by_ms)
{
    if (by_ms < 0)
        m.n_steps = 0; /* it may be the step forward that is taken back: nothing is held against it */
    if (by_ms <= STEP_MS || loop_done() == 0)
        return;
    m.steps[m.n_steps++ % STEPS_MAX].mono_ms = sim.mono_us / 1000;
    m.steps[(m.n_steps - 1) % STEPS_MAX].by_ms = by_ms;
}

/* The clock, as far as ages may go by it: what it was set forward by counts only after a minute. */
static int64_t trusted(int64_t wall_ms)
{
    for (uint32_t i = 0; i < STEPS_MAX && i < m.n_steps; i++)
        if (sim.mono_us / 1000 - m.steps[i].mono_ms < HOLD_MS)
            wall_ms -= m.steps[i].by_ms;
    return wall_ms;
}

/* The clock may have been set back since somebody read it. */
static int64_t latest_wall(void)
{
    int64_t now = sim_wall_ms();
    return sim.wall_high_ms > now ? sim.wall_high_ms : now;
}

/* --- a transaction --------------------------------------------------------------------------------------------------
 */

void model_txn_begin(void)
{
    m.n_touched = m.n_pending = 0;
}

void model_touch(const char *table, const void *key, size_t key_len)
{
    if ((strcmp(table, "event") != 0 && strcmp(table, "running") != 0) || key_len != KEY_SEQ)
        return;
    uint64_t seq = store_get_u64(key);
    for (uint32_t i = m.n_touched; i-- > 0 && m.n_touched - i < 8;)
        if (m.touched[i] == seq)
            return;
    if (m.n_touched == TOUCHED_MAX)
        sim_violation("a transaction is larger than the simulation has room for");
    m.touched[m.n_touched++] = seq;
}

static struct record record_of(const struct event *ev)
{
    return (struct record){.id = ev->id,
                           .replayed_as = ev->replayed_as,
                           .replay_of = ev->replay_of,
                           .fid = ev->fid,
                           .run = ev->run,
                           .accepted_at_ms = ev->accepted_at_ms,
                           .due_at_ms = ev->due_at_ms,
                           .wait_ms = ev->wait_ms,
                           .ended_at_ms = ev->ended_at_ms,
                           .state = ev->state,
                           .condition = ev->condition,
                           .attempts = ev->attempts,
                           .disruptions = ev->disruptions,
                           .lone_runs = ev->lone_runs,
                           .lone = ev->lone,
                           .cancel_asked = ev->cancel_asked};
}

static bool same_record(const struct record *a, const struct record *b)
{
    return id_cmp(&a->id, &b->id) == 0 && id_cmp(&a->replayed_as, &b->replayed_as) == 0 &&
           id_cmp(&a->replay_of, &b->replay_of) == 0 && a->fid == b->fid && a->run == b->run &&
           a->accepted_at_ms == b->accepted_at_ms && a->due_at_ms == b->due_at_ms && a->wait_ms == b->wait_ms &&
           a->ended_at_ms == b->ended_at_ms && a->state == b->state && a->condition == b->condition &&
           a->attempts == b->attempts && a->disruptions == b->disruptions && a->lone_runs == b->lone_runs &&
           a->lone == b->lone && a->cancel_asked == b->cancel_asked;
}

static bool has(struct store_txn *t, const char *table, struct key k)
{
    struct slice v;
    return store_get(t, disk_table(table), k.b, k.len, &v) == 0;
}

/* Every index names it that its state wants, and no other. */
static void check_places(struct store_txn *t, uint64_t seq, const struct record *r)
{
    struct key pair = key_pair(r->fid, seq), one = key_u64(seq), due = key_pair(key_time(r->due_at_ms), seq);
    bool waits = r->state == EVENT_WAITING, dead = r->state == EVENT_DEAD || r->state == EVENT_REPLAYED;
    bool letter = has(t, "deadseq", one);
    if (dead && !letter)
        sim_violation("event %llu is %s and has no letter", ULL(seq), event_state_name(r->state));
    if (!dead && letter)
        sim_violation("event %llu is %s and has a dead letter", ULL(seq), event_state_name(r->state));
    if (has(t, "ready", pair) != (r->state == EVENT_QUEUED) || has(t, "waiting", pair) != waits ||
        has(t, "running", one) != (r->state == EVENT_RUNNING) || (waits && !has(t, "due", due)))
        sim_violation("event %llu is %s and stands in other places", ULL(seq), event_state_name(r->state));
}

static uint64_t token_in(const void *payload, size_t len)
{
    static const char head[] = "{\"token\":";
    char text[32] = "";
    if (len < sizeof head || memcmp(payload, head, sizeof head - 1) != 0)
        return NONE;
    size_t n = len - (sizeof head - 1);
    memcpy(text, (const char *)payload + sizeof head - 1, n < sizeof text - 1 ? n : sizeof text - 1);
    return strtoull(text, NULL, 10);
}

void model_payload(uint64_t token, uint32_t len, char *out)
{
    int n = snprintf(out, len + 1, "{\"token\":%llu,\"pad\":\"", ULL(token));
    for (uint32_t i = (uint32_t)n; i < len; i++)
        out[i] = (char)('a' + (token + i) % 26);
    memcpy(out + len - 2, "\"}", 3);
}

/* Whose payload is it? 0: nobody's. */
static uint64_t whose(const void *payload, size_t len)
{
    uint64_t token = token_in(payload, len);
    if (token == NONE || token >= m.n_sub || m.sub[token].payload_len != len)
        return NONE;
    char *want = malloc(len + 1);
    model_payload(token, (uint32_t)len, want);
    bool same = memcmp(want, payload, len) == 0;
    free(want);
    return same ? token : NONE;
}

/* A seq that is new, or is given again because the transaction that had it was lost. */
static void check_new(struct store_txn *t, uint64_t seq, const struct record *r)
{
    struct buf b;
    uint64_t token = *place_of(&r->id);
    for (uint64_t i = 0; i < m.n_live && !id_is_zero(&r->replay_of) && token == NONE; i++)
        if (id_cmp(&m.ev[m.live[i]].r.id, &r->replay_of) == 0)
            token = m.ev[m.live[i]].token;
    if (token == NONE)
        sim_violation("event %llu is accepted, and nobody submitted it", ULL(seq));
    if (id_is_zero(&r->replay_of) && m.sub[token].fid != r->fid)
        sim_violation("event %llu was submitted to another function", ULL(seq));
    m.ev[seq].token = token;
    if (r->state == EVENT_CANCELLED)
        return; /* at once: its payload may be gone again */
    buf_init(&b, 1 << 20);
    if (queue_payload_in(sim.queue, t, seq, &b) < 0 || whose(b.data, b.len) != token)
        sim_violation("event %llu is accepted with another payload than was submitted", ULL(seq));
    buf_done(&b);
}

int model_before_commit(struct store_txn *t, void *arg)
{
    (void)arg;
    m.n_pending = 0;
    for (uint32_t i = 0; i < m.n_touched; i++) {
        struct event ev;
        struct touched *p = &m.pending[m.n_pending];
        bool again = false;
        for (uint32_t j = 0; j < m.n_pending && !again; j++)
            again = m.pending[j].seq == m.touched[i];
        if (again)
            continue;
        *p = (struct touched){.seq = m.touched[i]};
        if (p->seq >= m.cap)
            sim_violation("event %llu: more events than the simulation has room for", ULL(p->seq));
        int rc = queue_event_in(sim.queue, t, p->seq, &ev);
        if (rc < 0 && rc != ERR_NOTFOUND)
            sim_violation("event %llu cannot be read (%s)", ULL(p->seq), err_name(rc));
        p->exists = rc == 0;
        if (rc == 0) {
            p->r = record_of(&ev);
            check_places(t, p->seq, &p->r);
            if (!m.ev[p->seq].exists)
                check_new(t, p->seq, &p->r);
        }
        m.n_pending++;
    }
    return queue_books_in(sim.queue, t, &m.books);
}

/* --- moves ----------------------------------------------------------------------------------------------------------
 */

static int64_t retry_wait_ms(uint32_t attempts)
{
    int64_t wait = RETRY_FIRST_MS;
    for (uint32_t i = 1; i < attempts; i++)
        wait *= 2;
    return wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS;
}

struct move {
    uint64_t seq;
    struct known *k;
    const struct record *was, *is;
    struct func *f;
    bool attempt, disruption;
    bool attempt_failed;
    int64_t wall_ms, trusted_ms; /* of the attempt's end */
};

/* An attempt more on the record: one that came to its end, and not counted before. */
static void take_attempt(struct move *v)
{
    struct known *k = v->k;
    v->attempt = true;
    v->attempt_failed = true;
    v->wall_ms = sim_wall_ms();
    v->trusted_ms = trusted(v->wall_ms);
    if (k->out.fresh && k->out.end != MODEL_BROKEN) {
        k->out.fresh = false;
        v->attempt_failed = k->out.end == MODEL_FAILED;
        v->wall_ms = k->out.wall_ms;
        v->trusted_ms = k->out.trusted_ms;
    } else if (v->f->init_failures > 0) {
        v->f->init_failures--;
        v->wall_ms = -1; /* some time ago */
    } else {
        sim_violation("event %llu: %u attempts on record, %u happened", ULL(v->seq), v->is->attempts,
                      v->is->attempts - 1);
    }
}

static void take_disruption(struct move *v)
{
    struct known *k = v->k;
    v->disruption = true;
    if (sim.recovering && v->was->state == EVENT_RUNNING)
        return;
    if (k->out.fresh && k->out.end == MODEL_BROKEN)
        k->out.fresh = false;
    else if (m.idle_gone > 0)
        m.idle_gone--;
    else
        sim_violation("event %llu: %u disruptions on record, %u happened", ULL(v->seq), v->is->disruptions,
                      v->is->disruptions - 1);
}

static void check_counts(struct move *v)
{
    const struct record *was = v->was, *is = v->is;
    if (is->attempts != was->attempts && is->attempts != was->attempts + 1)
        sim_violation("event %llu: %u attempts on record, %u happened", ULL(v->seq), is->attempts, was->attempts + 1);
    if (is->disruptions != was->disruptions && is->disruptions != was->disruptions + 1)
        sim_violation("event %llu: %u disruptions on record, %u happened", ULL(v->seq), is->disruptions,
                      was->disruptions + 1);
    if (is->attempts > was->attempts)
        take_attempt(v);
    if (is->disruptions > was->disruptions)
        take_disruption(v);
    if (v->attempt && v->disruption)
        sim_violation("event %llu: one run is on record as an attempt and as a disruption", ULL(v->seq));
}

static bool too_old(const struct move *v, int64_t now_ms, int64_t wait_ms)
{
    int64_t age = now_ms > v->was->accepted_at_ms ? now_ms - v->was->accepted_at_ms : 0; /* the clock was set back */
    return age + wait_ms >= v->f->least_age_ms;
}

/* Why an event may become dead (or wait for room among the dead letters). */
static void check_death(struct move *v)
{
    const struct record *is = v->is;
    unsigned long long n = ULL(v->seq);
    bool held = v->was->state == EVENT_WAITING && v->was->condition != CONDITION_NONE;
    if (held) {
        if (v->was->condition != is->condition)
            sim_violation("event %llu was to be dead with %s and is with %s", n, condition_name(v->was->condition),
                          condition_name(is->condition));
        return;
    }
    switch (is->condition) {
    case CONDITION_RETRIES_EXHAUSTED:
        if (!v->attempt || !v->attempt_failed || !ANY_VERSION(v->f, x, is->attempts >= most_attempts(x)))
            sim_violation("event %llu is given up after %u attempts", n, is->attempts);
        return;
    case CONDITION_EVENT_AGE_EXCEEDED:
        if (v->attempt &&
            (!v->attempt_failed || !(v->wall_ms < 0 || too_old(v, v->trusted_ms, retry_wait_ms(is->attempts)))))
            sim_violation("event %llu is given up after its attempt for an age that is not its own", n);
        if (!v->attempt && (v->disruption || !too_old(v, trusted(latest_wall()), 0)))
            sim_violation("event %llu is given up for an age of %lld ms", n,
                          (long long)(trusted(latest_wall()) - is->accepted_at_ms));
        return;
    case CONDITION_ZERO_RESERVED_CONCURRENCY:
        if (v->attempt || !ANY_VERSION(v->f, x, x->reserved == 0))
            sim_violation("event %llu is given up for a reserved concurrency that is not 0", n);
        return;
    case CONDITION_DISRUPTED:
        if (!v->disruption || is->lone_runs < SIM_MAX_DISRUPTIONS)
            sim_violation("event %llu is given up after %u lone runs", n, is->lone_runs);
        return;
    case CONDITION_FUNCTION_DELETED:
        if (!v->f->deleted)
            sim_violation("event %llu is given up for its function, which is there", n);
        return;
    case CONDITION_NONE:
    case CONDITION_CORRUPT:
    case CONDITIONS:
        break;
    }
    sim_violation("event %llu is dead with condition %s", n, condition_name(is->condition));
}

static void check_wait(struct move *v)
{
    const struct record *was = v->was, *is = v->is;
    unsigned long long n = ULL(v->seq);
    if (is->condition != CONDITION_NONE) {
        check_death(v);
        if (is->due_at_ms > latest_wall() + HELD_MS)
            sim_violation("event %llu waits too long for room among the dead letters", n);
        return;
    }
    if (was->state == EVENT_WAITING && !v->attempt) {
        /* A start after the clock was set back: nobody waits longer than the wait he was given. */
        if (!sim.recovering || is->due_at_ms > was->due_at_ms || is->wait_ms != was->wait_ms ||
            is->due_at_ms != sim_wall_ms() + is->wait_ms)
            sim_violation("event %llu: due at %lld, was to be due at %lld", n, (long long)is->due_at_ms,
                          (long long)was->due_at_ms);
        return;
    }
    if (!v->attempt || !v->attempt_failed)
        sim_violation("event %llu waits without a failed attempt", n);
    if (ANY_VERSION(v->f, x, is->attempts < most_attempts(x)) == false && v->f->n > 0)
        sim_violation("event %llu is to be tried again after %u attempts", n, is->attempts);
    int64_t due = v->wall_ms + retry_wait_ms(is->attempts);
    if (is->wait_ms != retry_wait_ms(is->attempts) || (v->wall_ms >= 0 && is->due_at_ms != due))
        sim_violation("event %llu: due at %lld, was to be due at %lld", n, (long long)is->due_at_ms, (long long)due);
}

/* It is taken by a purge, or by a retry of all. */
static bool swept(const struct move *v, bool retry)
{
    bool younger = false;
    for (const struct purge *p = m.purges; p < m.purges + PURGES_MAX; p++) {
        if (!p->used || p->retry != retry || p->fid != v->is->fid)
            continue;
        if (p->until == 0 || v->seq < p->until)
            return true;
        younger = true;
    }
    if (younger && !v->k->cancel && !v->k->retry)
        sim_violation("event %llu was accepted after the %s began that takes it", ULL(v->seq),
                      retry ? "retry" : "purge");
    return false;
}

static void check_queued(struct move *v)
{
    const struct record *was = v->was;
    unsigned long long n = ULL(v->seq);
    bool retried = v->attempt && v->attempt_failed && (v->k->retry || swept(v, true)); /* as soon as it waited */
    if (retried)
        return;
    if ((was->state == EVENT_RUNNING || v->attempt) && !v->disruption)
        sim_violation("event %llu ran and is queued again, and nothing is on record", n);
    if (was->state != EVENT_WAITING)
        return;
    if (was->condition != CONDITION_NONE)
        sim_violation("event %llu is queued and has failed for good", n);
    bool set_back = was->due_at_ms > sim_wall_ms() + was->wait_ms;
    if (was->due_at_ms > latest_wall() && !set_back && !v->k->retry && !swept(v, true))
        sim_violation("event %llu is queued %lld ms before it is due", n, (long long)(was->due_at_ms - latest_wall()));
}

static void check_running(struct move *v)
{
    const struct record *was = v->was, *is = v->is;
    unsigned long long n = ULL(v->seq);
    if (was->state == EVENT_RUNNING) {
        if (is->run != was->run || (is->cancel_asked && !was->cancel_asked && !v->k->cancel && !swept(v, false)))
            sim_violation("event %llu runs and is changed", n);
        return;
    }
    if (was->state != EVENT_QUEUED)
        sim_violation("event %llu runs and was %s", n, event_state_name(was->state));
    if (is->lone != (is->disruptions >= SCHED_LONE_DISRUPTIONS))
        sim_violation("event %llu with %u disruptions: lone=%d", n, is->disruptions, is->lone);
}

/* What one transaction may do to an event before it removes or replays it. */
static bool may_die(const struct move *v)
{
    const struct known *k = v->k;
    bool held = v->was->state == EVENT_WAITING && v->was->condition != CONDITION_NONE;
    return held || v->attempt || v->disruption || v->f->deleted || k->out.fresh || v->f->init_failures > 0 ||
           k->cancel || swept(v, false) || ANY_VERSION(v->f, x, x->reserved == 0) ||
           too_old(v, trusted(latest_wall()), 0);
}

static void check_replayed(struct move *v)
{
    unsigned long long n = ULL(v->seq);
    if (v->was->state != EVENT_DEAD && v->was->state != EVENT_REPLAYED && !may_die(v))
        sim_violation("event %llu was %s and is replayed", n, event_state_name(v->was->state));
    if (m.removals_asked == 0)
        sim_violation("event %llu is replayed, and nobody asked for it", n);
    for (uint32_t i = 0; i < m.n_pending; i++)
        if (m.pending[i].exists && id_cmp(&m.pending[i].r.id, &v->is->replayed_as) == 0)
            return;
    sim_violation("event %llu is replayed and its copy is not there", n);
}

static const struct touched *pending_of(const struct id *id)
{
    for (uint32_t i = 0; i < m.n_pending; i++)
        if (id_cmp(m.pending[i].exists ? &m.pending[i].r.id : &m.ev[m.pending[i].seq].r.id, id) == 0)
            return &m.pending[i];
    return NULL;
}

/* A copy and its letter's mark are one commit. The letter may be gone at once, or have got another copy. */
static void check_copy(const struct touched *p)
{
    const struct touched *of = pending_of(&p->r.replay_of);
    const struct touched *as = of != NULL && of->exists ? pending_of(&of->r.replayed_as) : NULL;
    bool replayed = as != NULL && of->r.state == EVENT_REPLAYED && id_cmp(&as->r.replay_of, &of->r.id) == 0;
    if (of == NULL || (of->exists && !replayed))
        sim_violation("event %llu is the copy of a letter that is not replayed", ULL(p->seq));
}

static void check_gone(const struct move *v)
{
    enum event_state s = v->was->state;
    if (m.removals_asked == 0 || (!is_over(s) && !may_die(v)))
        sim_violation("event %llu was %s and is gone", ULL(v->seq), event_state_name(s));
}

static void check_move(struct move *v)
{
    const struct record *was = v->was, *is = v->is;
    unsigned long long n = ULL(v->seq);
    check_counts(v);
    if (is_over(was->state) && is->state != was->state && is->state != EVENT_REPLAYED)
        sim_violation("event %llu was %s and is %s", n, event_state_name(was->state), event_state_name(is->state));
    if (was->state == EVENT_RUNNING && was->cancel_asked && is->state != EVENT_RUNNING && is->state != EVENT_CANCELLED)
        sim_violation("event %llu was cancelled and is %s", n, event_state_name(is->state));
    switch (is->state) {
    case EVENT_QUEUED:
        check_queued(v);
        break;
    case EVENT_RUNNING:
        check_running(v);
        break;
    case EVENT_WAITING:
        check_wait(v);
        break;
    case EVENT_DONE:
        if (was->state != EVENT_DONE && (!v->attempt || v->attempt_failed))
            sim_violation("event %llu is done, and no attempt of it succeeded", n);
        break;
    case EVENT_DEAD:
        if (was->state != EVENT_DEAD)
            check_death(v);
        break;
    case EVENT_CANCELLED:
        if (was->state != EVENT_CANCELLED && !was->cancel_asked && !v->k->cancel && !swept(v, false))
            sim_violation("event %llu is cancelled, and nobody asked for it", n);
        v->k->out.fresh = false;
        break;
    case EVENT_REPLAYED:
        check_replayed(v);
        break;
    case EVENT_NONE:
    case EVENT_REMOVED:
    case EVENT_STATES:
        sim_violation("event %llu is in state %d", n, (int)is->state);
    }
    if (!v->attempt && v->attempt_failed == false && is->state == EVENT_DONE && v->k->out.fresh)
        sim_violation("event %llu is done twice", n);
}

static void enter(uint64_t seq, struct known *k, const struct record *r)
{
    k->exists = true;
    k->at_live = (uint32_t)m.n_live;
    m.live[m.n_live++] = seq;
    m.accepted++;
    m.count[r->state]++;
    m.open++;
    func(r->fid)->queued++;
    if (seq >= m.next_seq)
        m.next_seq = seq + 1;
}

static void leave(struct known *k)
{
    uint64_t last = m.live[--m.n_live];
    m.live[k->at_live] = last;
    m.ev[last].at_live = k->at_live;
    m.open -= !is_over(k->r.state);
    func(k->r.fid)->queued -= k->r.state == EVENT_QUEUED;
    m.count[k->r.state]--;
    m.count[EVENT_REMOVED]++;
    k->exists = false;
}

static void apply(const struct touched *p)
{
    struct known *k = &m.ev[p->seq];
    struct record before = k->r;
    if (!k->exists && !p->exists) {
        if (p->seq < m.next_seq)
            return;              /* removed again: nothing to be seen */
        m.next_seq = p->seq + 1; /* accepted and removed in one transaction */
        m.accepted++;
        m.count[EVENT_REMOVED]++;
        return;
    }
    if (!p->exists) {
        check_gone(&(struct move){.seq = p->seq, .k = k, .was = &k->r, .is = &k->r, .f = func(k->r.fid)});
        leave(k);
        return;
    }
    if (!k->exists) {
        uint64_t token = k->token;
        if (p->seq < m.next_seq)
            sim_violation("event %llu has a number that was given before", ULL(p->seq));
        *k = (struct known){.token = token};
        before = (struct record){.id = p->r.id,
                                 .replay_of = p->r.replay_of,
                                 .fid = p->r.fid,
                                 .accepted_at_ms = p->r.accepted_at_ms,
                                 .state = EVENT_QUEUED};
        enter(p->seq, k, &before);
        k->r = before;
        if (!id_is_zero(&p->r.replay_of))
            check_copy(p);
    }
    struct move v = {.seq = p->seq, .k = k, .was = &before, .is = &p->r, .f = func(p->r.fid)};
    if (memcmp(&before.id, &p->r.id, sizeof before.id) != 0 || before.fid != p->r.fid ||
        before.accepted_at_ms != p->r.accepted_at_ms)
        sim_violation("event %llu has another id, function or time than it had", ULL(p->seq));
    check_move(&v);
    m.count[before.state]--;
    m.count[p->r.state]++;
    m.open -= !is_over(before.state) && is_over(p->r.state);
    v.f->queued += p->r.state == EVENT_QUEUED;
    v.f->queued -= before.state == EVENT_QUEUED;
    sim.totals.dead += p->r.state == EVENT_DEAD && before.state != EVENT_DEAD;
    sim.totals.cancelled += p->r.state == EVENT_CANCELLED && before.state != EVENT_CANCELLED;
    sim.totals.replayed += p->r.state == EVENT_REPLAYED;
    if (before.state != p->r.state) {
        k->moved = m.commit;
        k->retry = false;
        if (p->r.state == EVENT_CANCELLED)
            k->cancelled_post = UINT64_MAX;
    }
    k->r = p->r;
    SIM_TRACE("disk: event %llu is %s%s attempts=%u disruptions=%u due=%lld run=%llu", ULL(p->seq),
              event_state_name(p->r.state), p->r.cancel_asked ? " (cancel asked)" : "", p->r.attempts, p->r.disruptions,
              (long long)p->r.due_at_ms, ULL(p->r.run));
}

static void check_books(const struct books *b)
{
    const uint64_t *c = m.count;
    if (b->accepted != m.accepted || b->queued != c[EVENT_QUEUED] || b->running != c[EVENT_RUNNING] ||
        b->waiting != c[EVENT_WAITING] || b->done != c[EVENT_DONE] || b->dead != c[EVENT_DEAD] ||
        b->cancelled != c[EVENT_CANCELLED] || b->replayed != c[EVENT_REPLAYED] || b->removed != c[EVENT_REMOVED])
        sim_violation("books: accepted %llu queued %llu running %llu waiting %llu done %llu dead %llu, there are %llu, "
                      "%llu %llu %llu %llu %llu",
                      ULL(b->accepted), ULL(b->queued), ULL(b->running), ULL(b->waiting), ULL(b->done), ULL(b->dead),
                      ULL(m.accepted), ULL(c[EVENT_QUEUED]), ULL(c[EVENT_RUNNING]), ULL(c[EVENT_WAITING]),
                      ULL(c[EVENT_DONE]), ULL(c[EVENT_DEAD]));
}

static int by_seq(const void *a, const void *b)
{
    const struct touched *x = a, *y = b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

void model_committed(void)
{
    m.commit++;
    sim.totals.commits++;
    if (m.n_pending == 0)
        return;
    qsort(m.pending, m.n_pending, sizeof m.pending[0], by_seq);
    for (uint32_t i = 0; i < m.n_pending; i++) {
        apply(&m.pending[i]);
        sim_note(m.pending[i].seq << 8 | (uint64_t)m.pending[i].r.state);
    }
    check_books(&m.books);
}

/* --- an engine begins -----------------------------------------------------------------------------------------------
 */

/* The disk is as the last commit left it. */
void model_engine_opened(void)
{
    struct store_txn *t;
    struct books b;
    if (store_read_begin(sim.store, &t) < 0 || queue_books_in(sim.queue, t, &b) < 0)
        sim_violation("the store cannot be read after a start");
    for (uint64_t i = 0; i < m.n_live; i++) {
        struct event ev;
        const struct known *k = &m.ev[m.live[i]];
        int rc = queue_event_in(sim.queue, t, m.live[i], &ev);
        if (rc < 0)
            sim_violation("event %llu (%s) is lost after a crash (%s)", ULL(m.live[i]),
                          m.sub[k->token].answer == ACKNOWLEDGED ? "acknowledged" : "committed", err_name(rc));
        struct record r = record_of(&ev);
        if (!same_record(&r, &k->r))
            sim_violation("event %llu is %s after a crash and was %s when it was committed", ULL(m.live[i]),
                          event_state_name(r.state), event_state_name(k->r.state));
    }
    store_read_end(t);
    check_books(&b);
    for (uint64_t i = 0; i < m.n_live; i++) {
        struct known *k = &m.ev[m.live[i]];
        k->executing = k->out.fresh = k->cancel = k->retry = false;
        k->cancelled_post = 0;
    }
    for (uint64_t i = 1; i < m.n_sub; i++)
        if (m.sub[i].answer == OPEN)
            m.sub[i].answer = UNKNOWN;
    memset(m.purges, 0, sizeof m.purges);
    memset(m.calls, 0, sizeof m.calls);
    m.removals_asked = m.idle_gone = m.executing = m.executing_lone = m.n_steps = 0;
    for (struct func *f = m.fn; f < m.fn + m.n_fn; f++)
        f->executing = f->init_failures = f->started = f->passed = 0;
}

static bool same_version(const struct version *a, const struct version *b)
{
    return a->handler == b->handler && a->reserved == b->reserved && a->max_retries == b->max_retries &&
           a->max_age_s == b->max_age_s && a->paused == b->paused;
}

/* Functions are as they were last told to be; only a change that has no answer may be there or not. */
void model_engine_started(void)
{
    const struct function *all[2 * SIM_FNS];
    size_t n = registry_list(sim.registry, "", all, 2 * SIM_FNS);
    for (size_t i = 0; i < n; i++) {
        (void)func(all[i]->fid);
        function_unref(all[i]);
    }
    for (uint64_t fid = 1; fid < m.n_fn; fid++) {
        struct func *f = &m.fn[fid];
        const struct function *now = registry_get_fid(sim.registry, fid);
        if (!f->known && now == NULL)
            continue;
        struct func was = *f;
        uint32_t asked = m.asked[name_index(now != NULL ? now->name : f->name)];
        f->n = 0;
        f->least_age_ms = INT64_MAX;
        if (now != NULL)
            model_function(now, false);
        bool same = now != NULL && was.known && !was.deleted && was.n > 0 && same_version(&f->v[0], &was.v[was.n - 1]);
        bool both_gone = now == NULL && was.deleted;
        if (!same && !both_gone && asked == 0)
            sim_violation("function %s is not as it was answered to be before the engine ended", f->name);
        f->deleted = now == NULL;
        function_unref(now);
    }
    memset(m.asked, 0, sizeof m.asked);
}

/* --- clients --------------------------------------------------------------------------------------------------------
 */

uint64_t model_submit(const struct id *id, uint64_t fid, uint32_t payload_len)
{
    if (m.n_sub == m.cap)
        sim_violation("more submissions than the simulation has room for");
    uint32_t *place = place_of(id);
    if (*place != NONE)
        sim_violation("two ids are the same");
    *place = (uint32_t)m.n_sub;
    m.sub[m.n_sub] = (struct submission){.id = *id, .fid = fid, .payload_len = payload_len};
    return m.n_sub++;
}

static uint64_t find_seq(const struct id *id)
{
    struct event ev;
    struct store_txn *t;
    if (store_read_begin(sim.store, &t) < 0)
        sim_violation("the store cannot be read");
    int rc = queue_find_in(sim.queue, t, id, &ev);
    store_read_end(t);
    return rc == 0 ? ev.seq : NONE;
}

void model_answer(uint64_t token, int err)
{
    struct submission *s = &m.sub[token];
    uint64_t seq = find_seq(&s->id);
    s->answer = err == 0 ? ACKNOWLEDGED : err == ERR_IO ? UNKNOWN : REFUSED;
    SIM_TRACE("client: submission %llu is answered %s, event %llu", ULL(token), err_name(err), ULL(seq));
    if (err == 0 && (seq == NONE || !m.ev[seq].exists || m.ev[seq].token != token))
        sim_violation("submission %llu is acknowledged and not on disk", ULL(token));
    if (s->answer == REFUSED && seq != NONE)
        sim_violation("submission %llu is refused (%s) and on disk as event %llu", ULL(token), err_name(err), ULL(seq));
}

uint64_t model_call(const struct id *id)
{
    for (uint64_t i = 0; i < CALLS_MAX; i++)
        if (!m.calls[i].open) {
            m.calls[i].open = true;
            m.calls[i].id = *id;
            return i;
        }
    sim_violation("more calls than the simulation has room for");
}

void model_call_answer(uint64_t call)
{
    if (!m.calls[call].open)
        sim_violation("call %llu is answered twice", ULL(call));
    m.calls[call].open = false;
}

/* --- operators ------------------------------------------------------------------------------------------------------
 */

bool model_pick(uint32_t states, struct id *ret)
{
    for (uint32_t tries = 0; tries < 16 && m.n_live > 0; tries++) {
        const struct known *k = &m.ev[m.live[sim_below((uint32_t)m.n_live)]];
        if ((states & 1u << k->r.state) == 0)
            continue;
        *ret = k->r.id;
        return true;
    }
    return false;
}

void model_cancel(const struct id *id)
{
    uint64_t seq = find_seq(id);
    if (seq == NONE)
        return;
    m.ev[seq].cancel = true;
    func(m.ev[seq].r.fid)->started++; /* a start that finds it cancelled counts as one */
}

void model_cancel_answer(const struct id *id, int err)
{
    uint64_t seq = find_seq(id);
    const struct known *k = &m.ev[seq];
    if (err == 0 && seq != NONE && k->r.state != EVENT_CANCELLED && !(k->r.state == EVENT_RUNNING && k->r.cancel_asked))
        sim_violation("event %llu was cancelled and is %s", ULL(seq), event_state_name(k->r.state));
    if (seq != NONE && m.ev[seq].cancelled_post == UINT64_MAX)
        m.ev[seq].cancelled_post = loop_posted();
}

void model_retry(const struct id *id)
{
    uint64_t seq = find_seq(id);
    if (seq != NONE)
        m.ev[seq].retry = true;
}

void model_removal_asked(void)
{
    m.removals_asked++;
}

void model_removal_answer(void)
{
    m.removals_asked--;
}

struct purge *purge_begin(uint64_t fid, const struct queue_sweep *s, bool retry)
{
    for (struct purge *p = m.purges; p < m.purges + PURGES_MAX; p++)
        if (!p->used) {
            *p = (struct purge){.used = true, .retry = retry, .fid = fid, .began = m.commit, .asked = *s};
            return p;
        }
    return NULL;
}

void purge_chunk(struct purge *p, const struct queue_sweep *at)
{
    if (p->until == 0) {
        p->until = at->until;
        if (p->until > m.next_seq)
            sim_violation("a purge goes up to event %llu, and the next is %llu", ULL(p->until), ULL(m.next_seq));
    }
}

void purge_end(struct purge *p, bool complete)
{
    for (uint64_t i = 0; i < m.n_live; i++) {
        struct known *k = &m.ev[m.live[i]];
        if (k->r.fid != p->fid)
            continue;
        if (k->cancelled_post == UINT64_MAX)
            k->cancelled_post = loop_posted();
        bool asked = (k->r.state == EVENT_QUEUED && p->asked.queued) ||
                     (k->r.state == EVENT_WAITING && p->asked.waiting && k->r.condition == CONDITION_NONE);
        if (complete && asked && m.live[i] < p->until && k->moved <= p->began)
            sim_violation("event %llu is %s and was missed by a %s", ULL(m.live[i]), event_state_name(k->r.state),
                          p->retry ? "retry" : "purge");
    }
    func(p->fid)->started += SYNCED_STARTS;
    p->used = false;
}

/* --- workers --------------------------------------------------------------------------------------------------------
 */

static struct model_run call_of(const struct id *id)
{
    for (uint64_t i = 0; i < CALLS_MAX; i++)
        if (m.calls[i].open && id_cmp(&m.calls[i].id, id) == 0)
            return (struct model_run){.seq = i, .sync = true};
    return (struct model_run){0};
}

static uint64_t fid_of_handler(uint32_t handler)
{
    for (uint64_t fid = 1; fid < m.n_fn; fid++)
        for (uint32_t i = 0; i < m.fn[fid].n; i++)
            if (m.fn[fid].v[i].handler == handler)
                return fid;
    return 0;
}

static void check_slot(struct func *f, const char *what, uint64_t n)
{
    if (!f->deleted && f->executing >= f->ceiling)
        sim_violation("%s %llu runs beside %u others of function %s, which has a reserved concurrency of %d", what,
                      ULL(n), f->executing, f->name, f->v[f->n - 1].reserved);
    if (m.executing >= sim.plan.account)
        sim_violation("%s %llu runs beside %u others, all of the account's concurrency", what, ULL(n), m.executing);
}

static void check_start(const struct known *k, uint64_t seq, uint64_t token, struct func *f)
{
    const struct record *r = &k->r;
    unsigned long long n = ULL(seq);
    bool on_disk = r->state == EVENT_RUNNING && r->run == token;
    if (k->executing)
        sim_violation("event %llu is handed over and runs already", n);
    if (r->state == EVENT_CANCELLED ? loop_done() >= k->cancelled_post : is_over(r->state))
        sim_violation("event %llu is handed over and was %s", n, event_state_name(r->state));
    if (r->state == EVENT_WAITING)
        sim_violation("event %llu is handed over while it waits, %lld ms before it is due", n,
                      (long long)(r->due_at_ms - sim_wall_ms()));
    if (!on_disk && r->state != EVENT_CANCELLED && r->disruptions > 0)
        sim_violation("event %llu has %u disruptions and is handed over before its start is on disk", n,
                      r->disruptions);
    if (!on_disk && r->state != EVENT_CANCELLED && sim.unclean && f->started == 0 && m.idle_gone == 0)
        sim_violation("event %llu is handed over before its start is on disk, first after a crash", n);
    if (k->out.fresh)
        sim_violation("an outcome of event %llu is not recorded, and it runs again", n);
    if (r->attempts > DEFAULT_RETRIES) /* fewer may be allowed by now: that it is tried again was decided before */
        sim_violation("event %llu runs again after %u attempts", n, r->attempts);
    if (!f->deleted && !f->may_run)
        sim_violation("event %llu of a paused function runs (%s, function %llu)", n, f->name, ULL(r->fid));
    if (m.executing_lone > 0)
        sim_violation("event %llu runs beside one that is to run alone", n);
    if (r->disruptions >= SCHED_LONE_DISRUPTIONS && m.executing > 0)
        sim_violation("event %llu with %u disruptions runs beside %u others", n, r->disruptions, m.executing);
}

/* Somebody else could run and does not. */
static void check_fair(uint64_t chosen)
{
    for (uint64_t fid = 1; fid < m.n_fn; fid++) {
        struct func *f = &m.fn[fid];
        if (!f->known)
            continue;
        if (fid == chosen || f->deleted || f->queued == 0 || f->n != 1 || f->v[0].paused || m.executing_lone > 0 ||
            (f->v[0].reserved >= 0 && (int64_t)f->executing >= f->v[0].reserved) || exec_idle(f->v[0].handler) == 0) {
            f->passed = 0;
            continue;
        }
        if (++f->passed > sim.totals.passed_most)
            sim.totals.passed_most = f->passed;
        if (f->passed > PASSED_MAX)
            sim_violation("function %s has events and an idle worker and was passed over %u times", f->name, f->passed);
    }
}

struct model_run model_hand_over(uint32_t handler, uint64_t token, const char *request_id, const void *payload,
                                 size_t len, uint32_t executing)
{
    struct id id;
    m.executing = executing;
    if (id_parse(request_id, strlen(request_id), &id) < 0)
        sim_violation("a run of request %s", request_id);
    struct model_run run = call_of(&id);
    uint64_t fid = fid_of_handler(handler);
    if (run.sync) {
        run.fid = fid;
        check_slot(func(fid), "call", run.seq);
        func(fid)->executing++;
        return run;
    }
    uint64_t owner = whose(payload, len), seq = find_seq(&id);
    if (seq == NONE || owner == NONE)
        sim_violation("request %s runs, and nobody submitted it", request_id);
    struct known *k = &m.ev[seq];
    if (owner != k->token)
        sim_violation("event %llu runs with the payload of submission %llu", ULL(seq), ULL(owner));
    if (fid != k->r.fid && !func(k->r.fid)->deleted && fid != 0)
        sim_violation("event %llu runs on a worker of another function", ULL(seq));
    struct func *f = func(k->r.fid);
    check_start(k, seq, token, f);
    check_slot(f, "event", seq);
    check_fair(k->r.fid);
    k->executing = true;
    k->handed_run = token;
    f->executing++;
    f->started++;
    m.executing_lone += k->r.disruptions >= SCHED_LONE_DISRUPTIONS;
    run.seq = seq;
    run.fid = k->r.fid;
    return run;
}

void model_outcome(const struct model_run *r, uint64_t token, enum model_end end)
{
    func(r->fid)->executing--;
    if (r->sync)
        return;
    struct known *k = &m.ev[r->seq];
    k->executing = false;
    m.executing_lone = 0;
    if (!k->exists || is_over(k->r.state))
        return; /* cancelled while it was on its way to the worker */
    k->out.fresh = true;
    k->out.run = token;
    k->out.end = end;
    k->out.wall_ms = sim_wall_ms();
    k->out.trusted_ms = trusted(k->out.wall_ms);
}

void model_init_failed(uint32_t handler)
{
    uint64_t fid = fid_of_handler(handler);
    if (fid != 0)
        func(fid)->init_failures++;
}

void model_worker_gone(void)
{
    m.idle_gone++;
}

/* --- rest -----------------------------------------------------------------------------------------------------------
 */

/* Nothing is under way: what has happened is on record. */
void model_quiet(void)
{
    bool calls = false, owes = inside_owes();
    /* What has happened is not on record yet; at a stop what finds no room is given up, and those runs are repeated. */
    if (owes || sim.stopping)
        return;
    for (uint64_t i = 0; i < CALLS_MAX && !calls; i++)
        calls = m.calls[i].open;
    m.idle_gone = 0;
    sim.wall_high_ms = 0;
    for (struct func *f = m.fn; f < m.fn + m.n_fn; f++) {
        f->init_failures = 0;
        prune(f);
        bool under_way = f->executing > 0 || calls; /* a call has its slot before it has a worker */
        for (uint32_t i = 0; i < f->n; i++)
            under_way = under_way || exec_busy(f->v[i].handler);
        if (f->n > 0 && !under_way)
            allow(f, true);
    }
    for (uint64_t i = 0; i < m.n_live; i++) {
        struct known *k = &m.ev[m.live[i]];
        if (k->out.fresh)
            sim_violation("an outcome of event %llu (run %llu) is not recorded", ULL(m.live[i]), ULL(k->out.run));
        if (k->r.state == EVENT_RUNNING && !k->executing)
            sim_violation("event %llu is running, and no worker has it", ULL(m.live[i]));
        k->cancel = false;
    }
}

void model_end(void)
{
    for (uint64_t i = 0; i < m.n_live; i++) {
        const struct known *k = &m.ev[m.live[i]];
        if (!is_over(k->r.state))
            sim_violation("event %llu is stuck: %s, attempts %u, disruptions %u, its function %s", ULL(m.live[i]),
                          event_state_name(k->r.state), k->r.attempts, k->r.disruptions,
                          func(k->r.fid)->deleted ? "deleted" : "there");
    }
    for (uint64_t i = 0; i < CALLS_MAX; i++)
        if (m.calls[i].open)
            sim_violation("call %llu has no answer", ULL(i));
    for (uint64_t i = 1; i < m.n_sub; i++)
        if (m.sub[i].answer == OPEN)
            sim_violation("submission %llu has no answer", ULL(i));
}
