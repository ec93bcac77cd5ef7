#include "limiter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "base/fdutil.h"

void limiter_slot_dir(const struct limiter *l, int controller, uint32_t slot, char out[CGROUP_PATH_MAX])
{
    int n = snprintf(out, CGROUP_PATH_MAX, "%s/slot-%u", l->base[controller], slot);
    BIDE_ASSERT(n > 0 && n < CGROUP_PATH_MAX, "%s", l->base[controller]);
}

int limiter_open(struct limiter **ret, const struct limiter_where *w, const char *name, uint32_t n_slots, struct err *e)
{
    static const struct limiter_ops *const backends[] = {&limiter_v2, &limiter_v1};
    BIDE_ASSERT(strlen(name) < CGROUP_NAME_MAX && strchr(name, '/') == NULL, "%s", name);
    struct limiter *l = calloc(1, sizeof *l + n_slots * sizeof l->slot[0]);
    if (l == NULL)
        return err_set(e, ERR_NOMEM, "limits of %u slots", n_slots);
    l->n_slots = n_slots;
    (void)snprintf(l->name, sizeof l->name, "%s", name);
    for (uint32_t i = 0; i < n_slots; i++)
        l->slot[i].clone_fd = l->slot[i].peak_fd = -1;
    for (size_t i = 0; i < sizeof backends / sizeof backends[0] && l->ops == NULL; i++) {
        struct err why = {0};
        if (backends[i]->open(l, w, &why) == 0) {
            l->ops = backends[i];
            break;
        }
        size_t at = strlen(l->why_not);
        (void)snprintf(l->why_not + at, sizeof l->why_not - at, "%scgroup %s: %.140s", at > 0 ? "; " : "",
                       backends[i]->name, why.text);
    }
    *ret = l;
    return 0;
}

void limiter_close(struct limiter *l)
{
    if (l == NULL)
        return;
    for (uint32_t i = 0; i < l->n_slots; i++) {
        fd_close(&l->slot[i].clone_fd);
        fd_close(&l->slot[i].peak_fd);
    }
    if (l->ops != NULL)
        l->ops->close(l);
    free(l);
}

const char *limiter_name(const struct limiter *l)
{
    return l->ops != NULL ? l->ops->name : "none";
}

unsigned limiter_features(const struct limiter *l)
{
    return l->ops != NULL ? l->features : 0;
}

const char *limiter_why_not(const struct limiter *l)
{
    return l->why_not;
}

int limiter_prepare(struct limiter *l, uint32_t slot, const struct limiter_set *s, struct err *e)
{
    return l->ops != NULL ? l->ops->prepare(l, slot, s, e) : 0;
}

int limiter_clone_fd(const struct limiter *l, uint32_t slot)
{
    return l->slot[slot].clone_fd;
}

int limiter_join_fds(const struct limiter *l, uint32_t slot, int fds[LIMITER_JOIN_MAX], struct err *e)
{
    for (int i = 0; i < LIMITER_JOIN_MAX; i++)
        fds[i] = -1;
    return l->ops != NULL && l->ops->join_fds != NULL ? l->ops->join_fds(l, slot, fds, e) : 0;
}

int limiter_cpu(struct limiter *l, uint32_t slot, uint64_t millicpus, struct err *e)
{
    return (limiter_features(l) & LIMITER_CPU) != 0 ? l->ops->cpu(l, slot, millicpus, e) : 0;
}

int limiter_freeze(struct limiter *l, uint32_t slot, bool frozen, struct err *e)
{
    return (limiter_features(l) & LIMITER_FREEZE) != 0 ? l->ops->freeze(l, slot, frozen, e) : 0;
}

int limiter_freezer_fd(const struct limiter *l, uint32_t slot)
{
    if ((limiter_features(l) & LIMITER_FREEZE) == 0 || l->ops->freezer_fd == NULL)
        return -1;
    return l->ops->freezer_fd(l, slot);
}

void limiter_stat(struct limiter *l, uint32_t slot, struct limiter_stat *ret)
{
    memset(ret, 0, sizeof *ret);
    if ((limiter_features(l) & LIMITER_MEMORY) != 0)
        l->ops->stat(l, slot, ret);
}

int limiter_peak_fd(struct limiter *l, uint32_t slot)
{
    return (limiter_features(l) & LIMITER_MEMORY) != 0 ? l->ops->peak_fd(l, slot) : -1;
}

void limiter_kill(struct limiter *l, uint32_t slot)
{
    if ((limiter_features(l) & LIMITER_KILL) != 0)
        l->ops->kill(l, slot);
}

void limiter_reset(struct limiter *l, uint32_t slot)
{
    if (l->ops != NULL && l->slot[slot].made)
        l->ops->reset(l, slot);
}

bool limiter_populated(struct limiter *l, uint32_t slot)
{
    return l->ops != NULL && l->slot[slot].made && l->ops->populated(l, slot);
}
