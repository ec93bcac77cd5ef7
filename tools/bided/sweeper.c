#include "sweeper.h"

#include <signal.h>

static void *run(void *arg)
{
    struct sweeper *s = arg;
    pthread_mutex_lock(&s->mu);
    while (!s->stop) {
        if (!s->round) {
            pthread_cond_wait(&s->wake, &s->mu);
            continue;
        }
        s->round = false;
        pthread_mutex_unlock(&s->mu);
        registry_sweep(s->registry);
        pthread_mutex_lock(&s->mu);
    }
    pthread_mutex_unlock(&s->mu);
    return NULL;
}

int sweeper_start(struct sweeper *s, struct registry *r, struct err *e)
{
    sigset_t all, old;
    *s = (struct sweeper){.registry = r};
    pthread_mutex_init(&s->mu, NULL);
    pthread_cond_init(&s->wake, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the threads that wait for them */
    int sys = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (sys != 0)
        return err_sys(e, ERR_NOMEM, sys, "sweeper thread");
    s->started = true;
    return 0;
}

void sweeper_round(struct sweeper *s)
{
    if (!registry_sweep_due(s->registry))
        return;
    pthread_mutex_lock(&s->mu);
    s->round = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mu);
}

void sweeper_stop(struct sweeper *s)
{
    if (!s->started)
        return;
    pthread_mutex_lock(&s->mu);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mu);
    (void)pthread_join(s->thread, NULL);
    s->started = false;
}
