/* What keeps work from being done, as `bide status` shows it: written on the dispatcher's thread, read by any. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

void faults_set(struct dispatcher *d, const struct function *f, const char *why, int64_t retry_at_mono_ms)
{
    struct fault *place = NULL;
    pthread_mutex_lock(&d->mu);
    for (size_t i = 0; i < FAULTS_MAX; i++) {
        if (d->faults[i].fid == f->fid) {
            place = &d->faults[i];
            break;
        }
        if (place == NULL && d->faults[i].fid == 0)
            place = &d->faults[i];
    }
    if (place != NULL) {
        place->fid = f->fid;
        place->retry_at_mono_ms = retry_at_mono_ms;
        (void)snprintf(place->name, sizeof place->name, "%s", f->name);
        (void)snprintf(place->why, sizeof place->why, "%s", why);
    }
    pthread_mutex_unlock(&d->mu);
}

void faults_clear(struct dispatcher *d, uint64_t fid)
{
    pthread_mutex_lock(&d->mu);
    for (size_t i = 0; i < FAULTS_MAX; i++)
        if (d->faults[i].fid == fid)
            d->faults[i].fid = 0;
    pthread_mutex_unlock(&d->mu);
}

bool faults_why(struct dispatcher *d, uint64_t fid, char *out, size_t cap)
{
    bool found = false;
    out[0] = '\0';
    pthread_mutex_lock(&d->mu);
    for (size_t i = 0; i < FAULTS_MAX && !found; i++) {
        found = d->faults[i].fid == fid;
        if (found)
            (void)snprintf(out, cap, "%s", d->faults[i].why);
    }
    pthread_mutex_unlock(&d->mu);
    return found;
}

/* The executor process says hello once, shortly after the start. */
void faults_degradations(struct dispatcher *d)
{
    const char *const *texts;
    size_t n = executor_degradations(d->executor, &texts);
    if (n <= d->n_degradations || d->n_degradations == DEGRADATIONS_MAX)
        return;
    pthread_mutex_lock(&d->mu);
    while (d->n_degradations < n && d->n_degradations < DEGRADATIONS_MAX) {
        d->degradations[d->n_degradations] = strdup(texts[d->n_degradations]);
        if (d->degradations[d->n_degradations] == NULL)
            break;
        d->n_degradations++;
    }
    pthread_mutex_unlock(&d->mu);
}

void dispatcher_faults(struct dispatcher *d, dispatcher_fault_cb *cb, void *arg)
{
    int64_t mono = clock_mono_ms();
    pthread_mutex_lock(&d->mu);
    for (size_t i = 0; i < FAULTS_MAX; i++) {
        const struct fault *f = &d->faults[i];
        if (f->fid != 0)
            cb(f->name, f->why, f->retry_at_mono_ms > mono ? f->retry_at_mono_ms - mono : 0, arg);
    }
    pthread_mutex_unlock(&d->mu);
}

void dispatcher_degradations(struct dispatcher *d, dispatcher_text_cb *cb, void *arg)
{
    pthread_mutex_lock(&d->mu);
    for (size_t i = 0; i < d->n_degradations; i++)
        cb(d->degradations[i], arg);
    pthread_mutex_unlock(&d->mu);
}
