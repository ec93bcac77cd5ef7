/* The scheduler alone, for counting its instructions: events of many functions, one after the other, each started on a
 * warm worker, ended, settled. Nothing else of the engine is in it.
 *
 *   bench_sched FUNCTIONS RESERVED EVENTS        RESERVED: of each function, -1 none
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "scheduler/scheduler.h"

enum { IN_FLIGHT = 8, ACCOUNT = 1 << 20, HOUR_MS = 3600000 };

struct run {
    struct sched *s;
    uint64_t worker[IN_FLIGHT], seq[IN_FLIGHT]; /* a ring of what runs, the oldest at `first` */
    unsigned first, n;
    uint64_t runs;
    int64_t ms;
};

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "bench_sched: %s\n", what);
    exit(1);
}

static void end_oldest(struct run *r)
{
    unsigned at = r->first;
    r->first = (at + 1) % IN_FLIGHT;
    r->n--;
    sched_job_done(r->s, r->worker[at], true, r->ms);
    sched_event_settled(r->s, r->seq[at]);
}

static void decide(struct run *r)
{
    struct sched_decision d;
    while (sched_next(r->s, r->ms, r->ms, &d)) {
        if (d.kind == SCHED_START_WORKER) {
            (void)sched_worker_ready(r->s, d.worker, r->ms);
        } else if (d.kind == SCHED_RUN) {
            if (r->n == IN_FLIGHT)
                end_oldest(r);
            unsigned at = (r->first + r->n++) % IN_FLIGHT;
            r->worker[at] = d.worker;
            r->seq[at] = d.job.key;
            r->runs++;
        } else {
            must(d.kind == SCHED_REFILL, "a decision that has no place here");
            sched_refilled(r->s, d.fid, false);
        }
    }
}

int main(int argc, char **argv)
{
    must(argc == 4, "usage: bench_sched FUNCTIONS RESERVED EVENTS");
    uint64_t functions = strtoull(argv[1], NULL, 10), events = strtoull(argv[3], NULL, 10), lcg = 1;
    int32_t reserved = (int32_t)strtol(argv[2], NULL, 10);
    struct sched_limits limits = {.account = ACCOUNT,
                                  .worker_memory_mb = 1LL << 40,
                                  .worker_starts = UINT32_MAX,
                                  .worker_idle_ms = HOUR_MS,
                                  .requeue_first_ms = 1000,
                                  .requeue_max_ms = 300000};
    struct run r = {.ms = 1};
    must(functions > 0 && sched_new(&r.s, &limits) == 0, "no memory");
    for (uint64_t f = 1; f <= functions; f++)
        must(sched_function_put(r.s, &(struct sched_function){.fid = f, .reserved = reserved, .memory_mb = 128}) == 0,
             "no memory");
    for (uint64_t seq = 1; seq <= events; seq++) {
        lcg = lcg * 6364136223846793005u + 1442695040888963407u;
        uint64_t out = 0, fid = seq <= functions ? seq : 1 + (lcg >> 33) % functions; /* each has a worker first */
        must(sched_event_add(r.s, fid, &(struct sched_event){.seq = seq, .max_age_ms = HOUR_MS, .accepted_at_ms = r.ms},
                             &out),
             "an event is not taken");
        decide(&r);
    }
    while (r.n > 0) {
        end_oldest(&r);
        decide(&r);
    }
    must(r.runs == events, "not every event ran");
    sched_free(r.s);
    return 0;
}
