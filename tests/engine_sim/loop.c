/* The dispatcher's loop: the interface of base/loop.h on the simulation's clock. Posted work runs in its order; how
 * much of it before something else happens is the simulation's choice, as it is the system's in production. */
#include <stdlib.h>

#include "base/loop.h"
#include "sim.h"

struct posted {
    struct posted *next;
    loop_cb *cb;
    void *arg;
};

struct loop_timer {
    struct loop_timer *next;
    struct loop *loop;
    int64_t at_us; /* INT64_MAX: idle */
    loop_cb *cb;
    void *arg;
};

struct loop {
    struct posted *head, **tail;
    struct loop_timer *timers;
    uint64_t n_posted, n_done;
};

int loop_new(struct loop **ret, struct err *e)
{
    struct loop *l = calloc(1, sizeof *l);
    if (l == NULL)
        return err_set(e, ERR_NOMEM, "loop");
    l->tail = &l->head;
    *ret = l;
    return 0;
}

void loop_free(struct loop *l)
{
    while (l != NULL && l->head != NULL) {
        struct posted *p = l->head;
        l->head = p->next;
        free(p);
    }
    free(l);
}

int loop_post(struct loop *l, loop_cb *cb, void *arg)
{
    struct posted *p = malloc(sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    *p = (struct posted){.cb = cb, .arg = arg};
    *l->tail = p;
    l->tail = &p->next;
    l->n_posted++;
    if (fiber_here() && sim_one_in(8))
        fiber_yield(); /* its reader may be faster than the thread that posts */
    return 0;
}

bool loop_busy(void)
{
    return sim.loop->head != NULL;
}

uint64_t loop_posted(void)
{
    return sim.loop->n_posted;
}

uint64_t loop_done(void)
{
    return sim.loop->n_done;
}

void loop_turn(void)
{
    struct loop *l = sim.loop;
    uint32_t n = sim_one_in(2) ? UINT32_MAX : 1 + sim_below(4);
    struct posted *last = (struct posted *)((char *)l->tail - offsetof(struct posted, next));
    while (n-- > 0 && l->head != NULL && sim.crash == NULL) {
        struct posted *p = l->head;
        bool end = p == last; /* what these post waits for the next turn */
        l->head = p->next;
        if (l->head == NULL)
            l->tail = &l->head;
        p->cb(p->arg);
        l->n_done++;
        free(p);
        if (end)
            break;
    }
}

int loop_timer_new(struct loop *l, loop_cb *cb, void *arg, struct loop_timer **ret)
{
    struct loop_timer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    *t = (struct loop_timer){.next = l->timers, .loop = l, .at_us = INT64_MAX, .cb = cb, .arg = arg};
    l->timers = t;
    *ret = t;
    return 0;
}

void loop_timer_arm(struct loop_timer *t, int64_t delay_ms)
{
    const int64_t year_ms = 366LL * 86400 * 1000;
    t->at_us = sim.mono_us + 1000 * (delay_ms < 0 ? 0 : delay_ms > year_ms ? year_ms : delay_ms);
}

void loop_timer_cancel(struct loop_timer *t)
{
    t->at_us = INT64_MAX;
}

void loop_timer_free(struct loop_timer *t)
{
    if (t == NULL)
        return;
    struct loop_timer **at = &t->loop->timers;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    free(t);
}

int64_t loop_next_timer_us(void)
{
    int64_t at = INT64_MAX;
    for (const struct loop_timer *t = sim.loop->timers; t != NULL; t = t->next)
        at = t->at_us < at ? t->at_us : at;
    return at;
}

bool loop_timer_due(void)
{
    return loop_next_timer_us() <= sim.mono_us;
}

void loop_timers(void)
{
    for (struct loop_timer *t = sim.loop->timers; t != NULL; t = t->next)
        if (t->at_us <= sim.mono_us && t->at_us == loop_next_timer_us()) {
            t->at_us = INT64_MAX;
            t->cb(t->arg);
            return;
        }
}
