#include "model.h"

#include <stdlib.h>

int model_init(struct model *m, uint64_t n_events_max, uint32_t lone_from)
{
    *m = (struct model){.cap = n_events_max + 1, .n_events = 1, .lone_from = lone_from};
    m->events = calloc(m->cap, sizeof *m->events);
    m->ops = calloc(MODEL_OPS_MAX, sizeof *m->ops);
    return m->events != NULL && m->ops != NULL ? 0 : -1;
}

void model_done(struct model *m)
{
    free(m->events);
    free(m->ops);
}

bool model_is_final(const struct model_event *e)
{
    return e->state == M_DONE || e->state == M_DEAD || e->state == M_CANCELLED;
}

uint64_t model_new_event(struct model *m, uint32_t fn, uint64_t fid, int64_t now, int64_t max_age_ms,
                         uint32_t max_attempts)
{
    if (m->n_events >= m->cap)
        sim_violation("the simulation made more events than it was told to");
    uint64_t seq = m->n_events++;
    m->events[seq] = (struct model_event){
        .fn = fn, .fid = fid, .accepted_at = now, .max_age_ms = max_age_ms, .max_attempts = max_attempts};
    return seq;
}

void model_submit(struct model *m, const struct op *o)
{
    if (m->n_ops >= MODEL_OPS_MAX)
        sim_violation("too many ops outstanding");
    m->ops[m->n_ops++] = *o;
}

static void move(struct model *m, struct model_event *e, enum model_state to)
{
    m->by_state[e->state]--;
    m->by_state[to]++;
    e->state = to;
    if (!e->true_final && model_is_final(e)) {
        e->true_final = true;
        m->n_final++;
        m->n_lone -= e->disruptions >= m->lone_from;
    }
}

static void count_disruption(struct model *m, struct model_event *e)
{
    e->true_disruptions++;
    e->disruptions++;
    e->lone_runs += e->lone;
    m->n_lone += e->disruptions == m->lone_from;
}

static void settle(struct model *m, struct model_event *e, const struct op *o)
{
    if (o->counts) {
        e->attempts++;
        e->true_attempts++;
        if (m->broken == BREAK_COUNT_TWICE && !m->broke && e->true_attempts == 2) {
            e->attempts++;
            m->broke = true;
        }
    }
    if (o->disruption)
        count_disruption(m, e);
    e->why = o->why;
    e->due_at = e->true_due_at = o->to == M_WAITING ? o->due_at : 0;
    e->wait_ms = o->wait_ms;
    if (e->cancel_asked) {
        e->why = WHY_NONE;
        e->due_at = e->true_due_at = 0;
    }
    move(m, e, e->cancel_asked ? M_CANCELLED : o->to);
}

/* Queued or waiting: over at once; running: when that run is over, however it ends. */
static bool cancel(struct model *m, struct model_event *e, bool running_too)
{
    if (e->state == M_RUNNING && running_too) {
        e->cancel_asked = e->true_cancelled = true;
        return true;
    }
    if (e->state != M_QUEUED && e->state != M_WAITING)
        return false;
    e->true_cancelled = true;
    e->due_at = e->true_due_at = 0;
    move(m, e, M_CANCELLED);
    return true;
}

/* A chunk of what is queued or waits of a function. What was accepted after the purge began is left alone. */
static void purge(struct model *m, struct op *o)
{
    uint64_t until = o->until;
    if (m->broken == BREAK_PURGE_YOUNG)
        until = m->n_events;
    o->n_seqs = 0;
    for (uint64_t seq = 1; seq < until && o->n_seqs < PURGE_CHUNK; seq++) {
        struct model_event *e = &m->events[seq];
        if (!e->exists || e->fid != o->fid || !cancel(m, e, false))
            continue;
        e->true_young = seq >= o->until;
        o->seqs[o->n_seqs++] = seq;
    }
}

bool model_apply(struct model *m, struct op *o, int64_t now)
{
    struct model_event *e = &m->events[o->seq];
    if (o->kind == OP_PURGE) {
        purge(m, o);
        return true;
    }
    if (o->kind == OP_ACCEPT) {
        e->exists = true;
        m->accepted++;
        m->by_state[M_QUEUED]++;
        return true;
    }
    if (!e->exists)
        return false;
    bool open = e->state == M_QUEUED || e->state == M_WAITING;
    switch (o->kind) {
    case OP_ACCEPT:
        break;
    case OP_START:
        if (e->state != M_QUEUED)
            return false;
        e->run = o->run;
        e->lone = o->lone;
        move(m, e, M_RUNNING);
        return true;
    case OP_SETTLE:
        if (e->state != M_RUNNING || e->run != o->run)
            return false;
        settle(m, e, o);
        return true;
    case OP_EXPIRE:
    case OP_DELETED:
        if (!open)
            return false;
        e->why = o->why;
        move(m, e, M_DEAD);
        return true;
    case OP_CANCEL:
        return cancel(m, e, true);
    case OP_RETRY:
        if (e->state != M_WAITING)
            return false;
        e->due_at = e->true_due_at = now;
        move(m, e, M_QUEUED);
        return true;
    case OP_PURGE:
        break;
    case OP_PROMOTE:
        if (e->state != M_WAITING)
            return false;
        move(m, e, M_QUEUED);
        return true;
    }
    return false;
}

static void recover_running(struct model *m, struct model_event *e, uint32_t max_disruptions)
{
    if (e->cancel_asked && m->broken != BREAK_FORGET_CANCEL) {
        move(m, e, M_CANCELLED);
        return;
    }
    e->cancel_asked = false;
    if (m->broken == BREAK_NO_DISRUPTION && !m->broke) {
        m->broke = true;
        e->true_disruptions++;
    } else {
        count_disruption(m, e);
    }
    if (e->lone_runs >= max_disruptions) {
        e->why = WHY_DISRUPTED;
        move(m, e, M_DEAD);
    } else {
        move(m, e, M_QUEUED);
    }
}

void model_recover(struct model *m, uint32_t max_disruptions, int64_t now)
{
    for (uint64_t seq = 1; seq < m->n_events; seq++) {
        struct model_event *e = &m->events[seq];
        e->in_window = e->in_hand = e->executing = e->promoting = false;
        if (!e->exists)
            continue;
        if (e->state == M_RUNNING)
            recover_running(m, e, max_disruptions);
        else if (e->state == M_WAITING && m->broken == BREAK_RESTART_WAIT && e->due_at != now + e->wait_ms) {
            e->due_at = now + e->wait_ms;
            m->broke = true;
        } else if (e->state == M_QUEUED && m->broken == BREAK_LOSE_EVENT && !m->broke) {
            e->exists = false;
            m->by_state[M_QUEUED]--;
            m->broke = true;
        }
    }
}

void model_check_event(const struct model *m, uint64_t seq)
{
    const struct model_event *e = &m->events[seq];
    unsigned long long n = seq;
    if (!e->exists)
        return;
    if (e->attempts != e->true_attempts)
        sim_violation("event %llu: %u attempts on record, %u happened", n, e->attempts, e->true_attempts);
    if (e->disruptions != e->true_disruptions)
        sim_violation("event %llu: %u disruptions on record, %u happened", n, e->disruptions, e->true_disruptions);
    if (e->attempts > e->max_attempts)
        sim_violation("event %llu: %u attempts, at most %u allowed", n, e->attempts, e->max_attempts);
    if (e->state == M_WAITING && e->due_at != e->true_due_at)
        sim_violation("event %llu: due at %lld, was to be due at %lld", n, (long long)e->due_at,
                      (long long)e->true_due_at);
    if (e->true_final && !model_is_final(e))
        sim_violation("event %llu was final and is not any more", n);
    if (e->true_cancelled && e->state != M_CANCELLED && !(e->state == M_RUNNING && e->cancel_asked))
        sim_violation("event %llu was cancelled and is in state %d", n, (int)e->state);
    if (e->true_young)
        sim_violation("event %llu was purged and was accepted after the purge began", n);
    if (e->state == M_DEAD && e->why == WHY_NONE)
        sim_violation("event %llu is dead without a condition", n);
}

void model_check_all(const struct model *m)
{
    uint64_t count[M_STATES] = {0}, all = 0;
    for (uint64_t seq = 1; seq < m->n_events; seq++) {
        model_check_event(m, seq);
        if (m->events[seq].exists) {
            count[m->events[seq].state]++;
            all++;
        }
    }
    for (int i = 0; i < M_STATES; i++)
        if (count[i] != m->by_state[i])
            sim_violation("books: state %d holds %llu, the books say %llu", i, (unsigned long long)count[i],
                          (unsigned long long)m->by_state[i]);
    if (all != m->accepted)
        sim_violation("books: %llu accepted, %llu there", (unsigned long long)m->accepted, (unsigned long long)all);
}
