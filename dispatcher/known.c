/* The functions the dispatcher knows: from the registry at start, then as they change, and deleted ones until nothing
 * of theirs is left. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "priv.h"

struct known *known_find(struct dispatcher *d, uint64_t fid)
{
    struct known *k = NULL;
    HASH_FIND(hh, d->known, &fid, sizeof fid, k);
    return k;
}

struct change_note {
    struct dispatcher *d;
    const struct function *fn;
    uint64_t fid;
    bool deleted;
};

static void tell_scheduler(struct dispatcher *d, const struct function *f)
{
    struct sched_function sf = {.fid = f->fid,
                                .generation = f->generation,
                                .reserved = f->reserved,
                                .memory_mb = f->memory_mb,
                                .paused = f->paused};
    if (sched_function_put(d->sched, &sf) < 0)
        log_error("dispatcher", "out of memory for function %s: its events wait until it is changed or bided restarts",
                  f->name);
    if (f->memory_mb > settings_int(d->deps.settings, SET_WORKER_MEMORY) >> 20)
        faults_set(d, f, "its MemorySize is more than all workers together may have (worker.memory)", 0);
}

static struct known *know(struct dispatcher *d, const struct function *fn, uint64_t fid)
{
    struct known *k = known_find(d, fid);
    if (k == NULL) {
        k = calloc(1, sizeof *k);
        if (k == NULL)
            bide_no_memory("function");
        k->fid = fid;
        k->synced_starts = d->deps.unclean ? SYNCED_STARTS : 0;
        HASH_ADD(hh, d->known, fid, sizeof k->fid, k);
        stats_add_function(d, fid);
    }
    function_unref(k->fn);
    k->fn = function_ref(fn);
    return k;
}

static void unknow(struct dispatcher *d, struct known *k)
{
    HASH_DEL(d->known, k);
    function_unref(k->fn);
    free(k);
}

static bool has_calls(const struct dispatcher *d, uint64_t fid)
{
    const struct call *c = d->calls;
    while (c != NULL && c->fn->fid != fid)
        c = c->hh.next;
    return c != NULL;
}

void known_busy(struct dispatcher *d, struct known *k)
{
    if (k->jobs++ > 0 || !k->buried)
        return;
    TAILQ_REMOVE(&d->buried, k, link);
    d->n_buried--;
}

void known_idle(struct dispatcher *d, struct known *k)
{
    if (!k->buried || k->jobs > 0)
        return;
    TAILQ_INSERT_TAIL(&d->buried, k, link);
    if (++d->n_buried <= BURIED_MAX)
        return;
    k = TAILQ_FIRST(&d->buried);
    TAILQ_REMOVE(&d->buried, k, link);
    if (has_calls(d, k->fid)) {
        TAILQ_INSERT_TAIL(&d->buried, k, link); /* made before the deletion, still waiting for a worker */
        return;
    }
    d->n_buried--;
    unknow(d, k);
}

struct deletion {
    struct dispatcher *d;
    uint64_t fid;
    int err;
    uint64_t n;
    bool told;                  /* that there is no room */
    TAILQ_ENTRY(deletion) link; /* dispatcher.unburied */
};

static void bury_chunk(struct deletion *x);

/* Without room its events stay where they are, and are tried again until there is. */
static void keep_unburied(struct deletion *x)
{
    struct dispatcher *d = x->d;
    if (!x->told)
        log_error("dispatcher",
                  "events of a deleted function cannot be made dead letters: no room is left; trying again");
    x->told = true;
    TAILQ_INSERT_TAIL(&d->unburied, x, link);
    loop_timer_arm(d->bury, BURY_AGAIN_MS);
}

void known_bury_again(void *arg)
{
    struct dispatcher *d = arg;
    struct deletion *x;
    TAILQ_HEAD(, deletion) todo = TAILQ_HEAD_INITIALIZER(todo);
    if (d->draining)
        return; /* a restart goes on with it */
    TAILQ_CONCAT(&todo, &d->unburied, link);
    while ((x = TAILQ_FIRST(&todo)) != NULL) {
        TAILQ_REMOVE(&todo, x, link);
        bury_chunk(x);
    }
}

static void buried_here(void *arg)
{
    struct deletion *x = arg;
    struct dispatcher *d = x->d;
    bool more = x->err == 0 && x->n == DELETE_AT_ONCE;
    if (x->err == ERR_FULL) {
        keep_unburied(x);
        dispatcher_op_done(d);
        return;
    }
    if (x->err < 0 && x->err != ERR_SHUTDOWN)
        log_error("dispatcher",
                  "events of a deleted function cannot be made dead letters err=%s; a restart goes on with it",
                  err_name(x->err));
    if (more)
        known_bury(d, x->fid);
    else if (x->err == 0 && registry_forget(d->deps.registry, x->fid) < 0)
        log_debug("dispatcher", "tombstone kept fid=%llu", (unsigned long long)x->fid);
    struct known *k = known_find(d, x->fid);
    if (!more && x->err == 0 && k != NULL && k->deleted && !k->buried) {
        k->buried = true;
        known_idle(d, k);
    }
    free(x);
    dispatcher_op_done(d);
}

static void buried(int err, uint64_t n, void *arg)
{
    struct deletion *x = arg;
    x->err = err;
    x->n = n;
    if (loop_post(x->d->loop, buried_here, x) != 0)
        bide_no_memory("completion");
}

static void bury_chunk(struct deletion *x)
{
    struct dispatcher *d = x->d;
    if (queue_function_deleted(d->deps.queue, x->fid, DELETE_AT_ONCE, buried, x) < 0) {
        free(x);
        return;
    }
    d->ops++;
}

void known_bury(struct dispatcher *d, uint64_t fid)
{
    struct deletion *x = calloc(1, sizeof *x);
    if (x == NULL)
        return; /* the tombstone stays: a restart goes on */
    x->d = d;
    x->fid = fid;
    bury_chunk(x);
}

static void forget_events_of(struct dispatcher *d, uint64_t fid)
{
    struct cached *c, *next;
    HASH_ITER (hh, d->cached, c, next)
        if (c->fid == fid) {
            HASH_DEL(d->cached, c);
            cached_free(d, c);
        }
}

static void change_here(void *arg)
{
    struct change_note *n = arg;
    struct dispatcher *d = n->d;
    struct known *k = know(d, n->fn, n->fid);
    faults_clear(d, n->fid); /* whatever it was, the next start tells anew */
    if (n->deleted) {
        k->deleted = true;
        stats_del_function(d, n->fid);
        sched_function_del(d->sched, n->fid);
        forget_events_of(d, n->fid);
        known_bury(d, n->fid);
    } else {
        tell_scheduler(d, n->fn);
    }
    function_unref(n->fn);
    free(n);
    dispatcher_pump(d);
}

void known_changed(const struct function *f, bool deleted, void *arg)
{
    struct dispatcher *d = arg;
    struct change_note *n = malloc(sizeof *n);
    if (n == NULL)
        bide_no_memory("function's change");
    *n = (struct change_note){.d = d, .fn = function_ref(f), .fid = f->fid, .deleted = deleted};
    if (loop_post(d->loop, change_here, n) != 0)
        bide_no_memory("function's change");
}

/* --- its life ----------------------------------------------------------------------------------------------------- */

void known_begin(struct dispatcher *d)
{
    const struct function *page[64];
    char after[FUNCTION_NAME_MAX + 1] = "";
    size_t n;
    while ((n = registry_list(d->deps.registry, after, page, 64)) > 0) {
        memcpy(after, page[n - 1]->name, sizeof after);
        for (size_t i = 0; i < n; i++) {
            (void)know(d, page[i], page[i]->fid);
            tell_scheduler(d, page[i]);
            function_unref(page[i]);
        }
    }
}

static void go_on(uint64_t fid, const char *name, void *arg)
{
    struct dispatcher *d = arg;
    log_info("dispatcher", "going on with the deletion of function %s", name);
    known_bury(d, fid);
}

int known_go_on_burying(struct dispatcher *d)
{
    return registry_tombstones(d->deps.registry, go_on, d);
}

void known_done(struct dispatcher *d)
{
    struct known *k, *next;
    struct deletion *x;
    while ((x = TAILQ_FIRST(&d->unburied)) != NULL) {
        TAILQ_REMOVE(&d->unburied, x, link);
        free(x);
    }
    HASH_ITER (hh, d->known, k, next)
        unknow(d, k);
}
