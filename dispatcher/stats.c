/* What /metrics tells of running work: counted on the dispatcher's thread, read by any. A function's numbers live as
 * long as the function; those of calls and events that outlast it go nowhere. */
#include <stdlib.h>

#include "priv.h"

static const struct hist_scale wait_ms = {13,
                                          {1, 5, 10, 50, 100, 500, 1000, 5000, 10000, 60000, 300000, 1800000, 3600000}};
static const struct hist_scale start_ms = {11, {10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000}};
static const struct hist_scale age_ms = {
    12, {10, 100, 1000, 10000, 60000, 120000, 300000, 600000, 1800000, 3600000, 10800000, 21600000}};
static const struct hist_scale duration_us = {
    12, {1000, 5000, 10000, 50000, 100000, 500000, 1000000, 5000000, 10000000, 60000000, 300000000, 900000000}};

static void init_function(struct fn_stats *s)
{
    hist_init(&s->age_ms, &age_ms);
    hist_init(&s->duration_us, &duration_us);
}

void stats_init(struct dispatcher *d)
{
    pthread_mutex_init(&d->stats.mu, NULL);
    hist_init(&d->stats.wait_ms, &wait_ms);
    hist_init(&d->stats.start_ms, &start_ms);
    init_function(&d->stats.nobody);
}

void stats_done(struct dispatcher *d)
{
    struct fn_stats *s, *next;
    HASH_ITER (hh, d->stats.functions, s, next) {
        HASH_DEL(d->stats.functions, s);
        free(s);
    }
    pthread_mutex_destroy(&d->stats.mu);
}

static struct fn_stats *find(const struct dispatcher *d, uint64_t fid)
{
    struct fn_stats *s = NULL;
    HASH_FIND(hh, d->stats.functions, &fid, sizeof fid, s);
    return s;
}

struct fn_stats *stats_of(struct dispatcher *d, uint64_t fid)
{
    struct fn_stats *s = find(d, fid);
    return s != NULL ? s : &d->stats.nobody;
}

void stats_add_function(struct dispatcher *d, uint64_t fid)
{
    if (find(d, fid) != NULL)
        return;
    struct fn_stats *s = calloc(1, sizeof *s);
    if (s == NULL)
        return; /* it works all the same, uncounted */
    s->fid = fid;
    init_function(s);
    pthread_mutex_lock(&d->stats.mu);
    HASH_ADD(hh, d->stats.functions, fid, sizeof s->fid, s);
    pthread_mutex_unlock(&d->stats.mu);
}

void stats_del_function(struct dispatcher *d, uint64_t fid)
{
    struct fn_stats *s = find(d, fid);
    if (s == NULL)
        return;
    pthread_mutex_lock(&d->stats.mu);
    HASH_DEL(d->stats.functions, s);
    pthread_mutex_unlock(&d->stats.mu);
    free(s);
}

void stats_handed_over(struct dispatcher *d, const struct job *j)
{
    if (j->ev == NULL)
        return;
    int64_t now = clock_now_ms(d->deps.clock);
    hist_add(&stats_of(d, j->fid)->age_ms, now - j->ev->accepted_at_ms);
    if (j->ev->ready_at_ms >= 0)
        hist_add(&d->stats.wait_ms, now - j->ev->ready_at_ms);
}

void stats_ended(struct dispatcher *d, uint64_t fid, bool sync, enum outcome outcome, bool disrupted)
{
    struct fn_stats *s = stats_of(d, fid);
    if (disrupted) {
        counter_add(&s->disruptions, 1);
        return;
    }
    counter_add(sync ? &s->sync_runs : &s->async_runs, 1);
    if (outcome != OUTCOME_SUCCESS)
        counter_add(&s->errors[outcome], 1);
}

bool dispatcher_function_stats(struct dispatcher *d, uint64_t fid, struct dispatcher_function_stats *ret)
{
    *ret = (struct dispatcher_function_stats){0};
    pthread_mutex_lock(&d->stats.mu);
    const struct fn_stats *s = find(d, fid);
    const struct fn_stats *from = s != NULL ? s : &d->stats.nobody;
    hist_read(&from->age_ms, &ret->age_ms);
    hist_read(&from->duration_us, &ret->duration_us);
    if (s != NULL) {
        ret->running = counter_read(&s->running);
        ret->sync_runs = counter_read(&s->sync_runs);
        ret->async_runs = counter_read(&s->async_runs);
        ret->disruptions = counter_read(&s->disruptions);
        ret->start_failures = counter_read(&s->start_failures);
        ret->init_failures = counter_read(&s->init_failures);
        ret->throttled_reserved = counter_read(&s->throttled_reserved);
        ret->throttled_account = counter_read(&s->throttled_account);
        for (size_t i = 0; i < OUTCOMES; i++)
            ret->errors[i] = counter_read(&s->errors[i]);
    }
    pthread_mutex_unlock(&d->stats.mu);
    return s != NULL;
}

void dispatcher_stats(struct dispatcher *d, struct dispatcher_stats *ret)
{
    hist_read(&d->stats.wait_ms, &ret->wait_ms);
    hist_read(&d->stats.start_ms, &ret->start_ms);
    ret->clock_steps = counter_read(&d->stats.clock_steps);
}
