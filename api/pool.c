#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

enum { THREADS_MAX = 8, KINDS = POOL_READ + 1 };

struct job {
    struct job *next;
    struct pool *w;
    enum pool_kind kind;
    uint64_t nr;
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
    struct lane {
        struct job *head, **tail; /* waiting */
        size_t n_jobs;            /* waiting, running or finished */
        unsigned running;
    } lanes[KINDS];
    struct job *finished; /* posted to the loop, their done not called yet */
    uint64_t next_nr;
    bool stopping;
};

/* The longest waiting job that may run now, taken out; NULL if there is none. */
static struct job *take(struct pool *w)
{
    struct lane *reads = &w->lanes[POOL_READ], *from = &w->lanes[POOL_WORK];
    bool may_read = reads->head && (w->n_threads == 1 || reads->running < w->n_threads - 1);
    if (may_read && (!from->head || reads->head->nr < from->head->nr))
        from = reads;
    struct job *j = from->head;
    if (!j)
        return NULL;
    from->head = j->next;
    if (!from->head)
        from->tail = &from->head;
    from->running++;
    return j;
}

static void on_finished(void *arg)
{
    struct job *j = arg;
    struct pool *w = j->w;
    pthread_mutex_lock(&w->mu);
    struct job **at = &w->finished;
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    w->lanes[j->kind].n_jobs--;
    pthread_mutex_unlock(&w->mu);
    j->done(j->arg);
    free(j);
}

static void *run_jobs(void *arg)
{
    struct pool *w = arg;
    pthread_mutex_lock(&w->mu);
    for (;;) {
        struct job *j = NULL;
        while (!w->stopping && !(j = take(w)))
            pthread_cond_wait(&w->cond, &w->mu);
        if (w->stopping)
            break;
        pthread_mutex_unlock(&w->mu);
        j->run(j->arg);
        pthread_mutex_lock(&w->mu);
        w->lanes[j->kind].running--;
        j->next = w->finished;
        w->finished = j;
        /* Without memory to post it the client would wait for ever: better to end, the store makes that safe. */
        int r = loop_post(w->loop, on_finished, j);
        if (r < 0)
            bide_no_memory("completion");
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
    for (int k = 0; k < KINDS; k++)
        w->lanes[k].tail = &w->lanes[k].head;
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
    for (int k = 0; k < KINDS; k++)
        free_jobs(w->lanes[k].head);
    free_jobs(w->finished);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->mu);
    free(w);
}

int pool_submit(struct pool *w, enum pool_kind kind, pool_cb *run, pool_cb *done, pool_cb *drop, void *arg)
{
    struct lane *l = &w->lanes[kind];
    struct job *j = calloc(1, sizeof(*j));
    if (!j)
        return ERR_NOMEM;
    *j = (struct job){.w = w, .kind = kind, .run = run, .done = done, .drop = drop, .arg = arg};
    pthread_mutex_lock(&w->mu);
    bool full = w->lanes[POOL_WORK].n_jobs + w->lanes[POOL_READ].n_jobs >= w->max_jobs ||
                (kind == POOL_READ && l->n_jobs >= w->max_jobs / 2);
    int r = full ? ERR_FULL : 0;
    if (r == 0) {
        j->nr = w->next_nr++;
        *l->tail = j;
        l->tail = &j->next;
        l->n_jobs++;
        pthread_cond_signal(&w->cond);
    }
    pthread_mutex_unlock(&w->mu);
    if (r < 0)
        free(j);
    return r;
}
