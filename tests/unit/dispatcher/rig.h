/* A scheduler with a small machine round it: short verbs for facts, and decisions pulled one at a time. */
#ifndef DISPATCHER_RIG_H
#define DISPATCHER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/scheduler.h"

enum { RIG_AGE_MS = 21600000, RIG_START = 1000000 };

struct rig {
    struct sched *s;
    struct sched_limits limits;
    int64_t now, mono;
    struct sched_decision d; /* the last one pulled */
    uint64_t out;            /* what the last event added took the place of */
};

static inline int rig_setup(void **state)
{
    static struct rig rig;
    rig = (struct rig){.now = RIG_START,
                       .mono = 1000,
                       .limits = {.account = 10,
                                  .worker_memory_mb = 4096,
                                  .worker_starts = 4,
                                  .worker_idle_ms = 300000,
                                  .requeue_first_ms = 1000,
                                  .requeue_max_ms = 300000}};
    *state = &rig;
    return sched_new(&rig.s, &rig.limits);
}

static inline int rig_teardown(void **state)
{
    struct rig *r = *state;
    sched_free(r->s);
    return 0;
}

static inline void rig_limits(struct rig *r)
{
    sched_free(r->s);
    assert_int_equal(sched_new(&r->s, &r->limits), 0);
}

static inline void rig_fn(struct rig *r, struct sched_function f)
{
    f.memory_mb = f.memory_mb > 0 ? f.memory_mb : 128;
    assert_int_equal(sched_function_put(r->s, &f), 0);
}

/* A function without a reservation. */
static inline void rig_plain(struct rig *r, uint64_t fid)
{
    rig_fn(r, (struct sched_function){.fid = fid, .reserved = -1});
}

static inline bool rig_add(struct rig *r, uint64_t fid, uint64_t seq, uint32_t disruptions, bool from_disk)
{
    struct sched_event e = {.seq = seq,
                            .accepted_at_ms = r->now,
                            .max_age_ms = RIG_AGE_MS,
                            .disruptions = disruptions,
                            .from_disk = from_disk};
    return sched_event_add(r->s, fid, &e, &r->out);
}

static inline void rig_event(struct rig *r, uint64_t fid, uint64_t seq)
{
    assert_true(rig_add(r, fid, seq, 0, false));
}

static inline bool rig_next(struct rig *r)
{
    return sched_next(r->s, r->now, r->mono, &r->d);
}

static inline void rig_quiet(struct rig *r)
{
    assert_false(rig_next(r));
}

/* The next decision starts a worker of fid for the job key; its id. */
static inline uint64_t rig_start(struct rig *r, uint64_t fid, uint64_t key)
{
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_START_WORKER);
    assert_int_equal(r->d.fid, fid);
    assert_int_equal(r->d.job.key, key);
    return r->d.worker;
}

static inline void rig_run(struct rig *r, uint64_t worker, uint64_t key)
{
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_RUN);
    assert_int_equal(r->d.worker, worker);
    assert_int_equal(r->d.job.key, key);
}

static inline void rig_stop(struct rig *r, uint64_t worker, enum sched_stop why)
{
    assert_true(rig_next(r));
    assert_int_equal(r->d.kind, SCHED_STOP_WORKER);
    assert_int_equal(r->d.worker, worker);
    assert_int_equal(r->d.stop, why);
}

static inline void rig_ready(struct rig *r, uint64_t worker)
{
    sched_worker_ready(r->s, worker, r->mono);
}

static inline void rig_done(struct rig *r, uint64_t worker, uint64_t seq)
{
    sched_job_done(r->s, worker, true, r->mono);
    sched_event_settled(r->s, seq);
}

/* A worker of fid that is idle after it ran event seq. */
static inline uint64_t rig_warm(struct rig *r, uint64_t fid, uint64_t seq)
{
    rig_event(r, fid, seq);
    uint64_t w = rig_start(r, fid, seq);
    rig_ready(r, w);
    rig_run(r, w, seq);
    rig_done(r, w, seq);
    rig_quiet(r);
    return w;
}

#define RIG_TEST(fn_) cmocka_unit_test_setup_teardown(fn_, rig_setup, rig_teardown)

#endif
