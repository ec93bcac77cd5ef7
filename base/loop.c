#include "loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct posted {
    struct posted *next;
    loop_cb *cb;
    void *arg;
};

struct signal_watch {
    struct signal_watch *next;
    struct event *ev;
    loop_signal_cb *cb;
    void *arg;
};

struct loop {
    struct event_base *base;
    int wake_fd;
    struct event *wake_ev;
    pthread_mutex_t mu; /* guards head, tail */
    struct posted *head;
    struct posted *tail;
    struct signal_watch *signals;
};

struct loop_watch {
    struct event *ev;
    loop_watch_cb *cb;
    void *arg;
};

struct loop_timer {
    struct event *ev;
    loop_cb *cb;
    void *arg;
};

void loop_global_init(void)
{
    BIDE_ASSERT(evthread_use_pthreads() == 0, "libevent has no thread support");
}

/* Runs what was posted before this turn; what these callbacks post waits for the next one, so that a callback which
 * posts itself cannot starve the descriptors. */
static void run_posted(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct loop *l = arg;
    uint64_t n;
    (void)!read(fd, &n, sizeof n); /* only resets the counter; the list is the truth */
    pthread_mutex_lock(&l->mu);
    struct posted *p = l->head;
    l->head = l->tail = NULL;
    pthread_mutex_unlock(&l->mu);
    while (p != NULL) {
        struct posted *next = p->next;
        p->cb(p->arg);
        free(p);
        p = next;
    }
}

int loop_new(struct loop **ret, struct err *e)
{
    struct loop *l = calloc(1, sizeof *l);
    if (l == NULL)
        return err_set(e, ERR_NOMEM, "event loop: out of memory");
    pthread_mutex_init(&l->mu, NULL);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake_fd < 0) {
        int sys = errno;
        loop_free(l);
        return err_sys(e, ERR_IO, sys, "event loop: eventfd");
    }
    struct event_config *cfg = event_config_new();
    if (cfg != NULL) {
        (void)event_config_set_flag(cfg, EVENT_BASE_FLAG_PRECISE_TIMER);
        l->base = event_base_new_with_config(cfg);
        event_config_free(cfg);
    }
    if (l->base != NULL)
        l->wake_ev = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, run_posted, l);
    if (l->wake_ev == NULL || event_add(l->wake_ev, NULL) < 0) {
        loop_free(l);
        return err_set(e, ERR_NOMEM, "event loop: out of memory");
    }
    *ret = l;
    return 0;
}

void loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    while (l->signals != NULL) {
        struct signal_watch *s = l->signals;
        l->signals = s->next;
        event_free(s->ev);
        free(s);
    }
    if (l->wake_ev != NULL)
        event_free(l->wake_ev);
    if (l->base != NULL)
        event_base_free(l->base);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    while (l->head != NULL) {
        struct posted *p = l->head;
        l->head = p->next;
        free(p);
    }
    pthread_mutex_destroy(&l->mu);
    free(l);
}

void loop_run(struct loop *l)
{
    /* NO_EXIT_ON_EMPTY: a loop with nothing to watch still waits for posted work. */
    (void)event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

static void stop_here(void *arg)
{
    struct loop *l = arg;
    (void)event_base_loopbreak(l->base);
}

void loop_stop(struct loop *l)
{
    if (loop_post(l, stop_here, l) < 0)
        (void)event_base_loopbreak(l->base);
}

int loop_post(struct loop *l, loop_cb *cb, void *arg)
{
    struct posted *p = malloc(sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->next = NULL;
    p->cb = cb;
    p->arg = arg;
    pthread_mutex_lock(&l->mu);
    bool first = l->head == NULL;
    if (first)
        l->head = p;
    else
        l->tail->next = p;
    l->tail = p;
    pthread_mutex_unlock(&l->mu);
    if (first) {
        uint64_t one = 1;
        (void)!write(l->wake_fd, &one, sizeof one); /* EAGAIN means it is awake already */
    }
    return 0;
}

static void watch_trampoline(evutil_socket_t fd, short what, void *arg)
{
    struct loop_watch *w = arg;
    w->cb(fd, ((what & EV_READ) != 0 ? LOOP_READ : 0) | ((what & EV_WRITE) != 0 ? LOOP_WRITE : 0), w->arg);
}

int loop_watch(struct loop *l, int fd, int what, loop_watch_cb *cb, void *arg, struct loop_watch **ret)
{
    struct loop_watch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    w->cb = cb;
    w->arg = arg;
    int bits = EV_PERSIST | ((what & LOOP_READ) != 0 ? EV_READ : 0) | ((what & LOOP_WRITE) != 0 ? EV_WRITE : 0);
    w->ev = event_new(l->base, fd, (short)bits, watch_trampoline, w);
    if (w->ev == NULL || event_add(w->ev, NULL) < 0) {
        loop_unwatch(w);
        return ERR_NOMEM;
    }
    *ret = w;
    return 0;
}

void loop_unwatch(struct loop_watch *w)
{
    if (w == NULL)
        return;
    if (w->ev != NULL)
        event_free(w->ev);
    free(w);
}

static void timer_trampoline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop_timer *t = arg;
    t->cb(t->arg);
}

int loop_timer_new(struct loop *l, loop_cb *cb, void *arg, struct loop_timer **ret)
{
    struct loop_timer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    t->cb = cb;
    t->arg = arg;
    t->ev = evtimer_new(l->base, timer_trampoline, t);
    if (t->ev == NULL) {
        free(t);
        return ERR_NOMEM;
    }
    *ret = t;
    return 0;
}

void loop_timer_arm(struct loop_timer *t, int64_t delay_ms)
{
    /* The library keeps time in struct timeval; a year is as good as never. */
    int64_t ms = delay_ms < 0 ? 0 : delay_ms;
    if (ms > 366LL * 86400 * 1000)
        ms = 366LL * 86400 * 1000;
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    BIDE_ASSERT(evtimer_add(t->ev, &tv) == 0, "timer cannot be armed");
}

void loop_timer_cancel(struct loop_timer *t)
{
    (void)evtimer_del(t->ev);
}

void loop_timer_free(struct loop_timer *t)
{
    if (t == NULL)
        return;
    event_free(t->ev);
    free(t);
}

static void signal_trampoline(evutil_socket_t signo, short what, void *arg)
{
    (void)what;
    struct signal_watch *s = arg;
    s->cb((int)signo, s->arg);
}

int loop_signal(struct loop *l, int signo, loop_signal_cb *cb, void *arg)
{
    struct signal_watch *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->cb = cb;
    s->arg = arg;
    s->ev = evsignal_new(l->base, signo, signal_trampoline, s);
    if (s->ev == NULL || evsignal_add(s->ev, NULL) < 0) {
        if (s->ev != NULL)
            event_free(s->ev);
        free(s);
        return ERR_NOMEM;
    }
    s->next = l->signals;
    l->signals = s;
    return 0;
}

struct event_base *loop_event_base(struct loop *l)
{
    return l->base;
}
