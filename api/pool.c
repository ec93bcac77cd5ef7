#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

enum { THREADS_MAX = 8 };

struct job {
    struct job *next;
    struct pool *w;
    pool_cb *run;
    pool_cb *done;
    pool_cb *drop;
    void *arg;
};

struct pool {
    struct loop *loop;
    size_t max_jobs;
    pthread_t threads[THREADS_MAX];
    unsigned n_threads;
    pthread_mutex_t mu; /* guards what follows */
    pthread_cond_t cond;
    struct job *head, **tail;
    struct job *finished; /* posted to the loop, their done not called yet */
    size_t n_jobs;        /* waiting, running or finished */
    bool stopping;
};

static void on_finished(void *arg)
{
    struct job *j = arg;
    struct pool *w = j->w;
    pthread_mutex_lock(&w->mu);
    struct job **at = &w->finished;
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    w->n_jobs--;
    pthread_mutex_unlock(&w->mu);
    j->done(j->arg);
    free(j);
}

static void *run_jobs(void *arg)
{
    struct pool *w = arg;
    pthread_mutex_lock(&w->mu);
    for (;;) {
        while (!w->head && !w->stopping)
            pthread_cond_wait(&w->cond, &w->mu);
        if (w->stopping)
            break;
        struct job *j = w->head;
        w->head = j->next;
        if (!w->head)
            w->tail = &w->head;
        pthread_mutex_unlock(&w->mu);
        j->run(j->arg);
        pthread_mutex_lock(&w->mu);
        j->next = w->finished;
        w->finished = j;
        /* Without memory to post it the client would wait for ever: better to end, the store makes that safe. */
        int r = loop_post(w->loop, on_finished, j);
        BIDE_ASSERT(r == 0, "loop_post: %s", err_name(r));
    }
    pthread_mutex_unlock(&w->mu);
    return NULL;
}

int api_pool_new(struct pool **ret, struct loop *l, unsigned n_threads, size_t max_jobs, struct err *e)
{
    struct pool *w = calloc(1, sizeof(*w));
    sigset_t all, old;
    if (!w)
        return err_set(e, ERR_NOMEM, "worker threads");
    w->loop = l;
    w->max_jobs = max_jobs;
    w->tail = &w->head;
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->cond, NULL);
    sigfillset(&all); /* signals are the loops' business */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = 0;
    while (rc == 0 && w->n_threads < n_threads && w->n_threads < THREADS_MAX) {
        rc = pthread_create(&w->threads[w->n_threads], NULL, run_jobs, w);
        if (rc == 0)
            w->n_threads++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        api_pool_free(w);
        return err_sys(e, ERR_IO, rc, "worker threads");
    }
    *ret = w;
    return 0;
}

static void free_jobs(struct job *j)
{
    while (j) {
        struct job *next = j->next;
        if (j->drop)
            j->drop(j->arg);
        free(j);
        j = next;
    }
}

void api_pool_free(struct pool *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->mu);
    w->stopping = true;
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->mu);
    for (unsigned i = 0; i < w->n_threads; i++)
        pthread_join(w->threads[i], NULL);
    free_jobs(w->head);
    free_jobs(w->finished);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->mu);
    free(w);
}

int pool_submit(struct pool *w, pool_cb *run, pool_cb *done, pool_cb *drop, void *arg)
{
    struct job *j = calloc(1, sizeof(*j));
    if (!j)
        return ERR_NOMEM;
    *j = (struct job){.w = w, .run = run, .done = done, .drop = drop, .arg = arg};
    pthread_mutex_lock(&w->mu);
    int r = w->n_jobs < w->max_jobs ? 0 : ERR_FULL;
    if (r == 0) {
        *w->tail = j;
        w->tail = &j->next;
        w->n_jobs++;
        pthread_cond_signal(&w->cond);
    }
    pthread_mutex_unlock(&w->mu);
    if (r < 0)
        free(j);
    return r;
}
