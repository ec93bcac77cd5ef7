/* cgroup v1: four hierarchies, each of which may be missing on its own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend.h"
#include "base/fdutil.h"

static const struct {
    const char *controller;
    unsigned feature;
    const char *file; /* its presence in a new group shows that the controller is really there */
} kinds[V1_N] = {
    [V1_MEMORY] = {"memory", LIMITER_MEMORY, "memory.limit_in_bytes"},
    [V1_PIDS] = {"pids", LIMITER_PIDS, "pids.max"},
    [V1_CPU] = {"cpu", LIMITER_CPU, "cpu.cfs_quota_us"},
    [V1_FREEZER] = {"freezer", LIMITER_FREEZE, "freezer.state"},
};

static int v1_open(struct limiter *l, const struct limiter_where *w, struct err *e)
{
    /* The freezer, which is the last, first: what a killed predecessor left frozen cannot die before it is thawed, and
     * the other hierarchies would be waited for in vain. */
    for (int i = V1_N - 1; i >= 0; i--) {
        char own[CGROUP_PATH_MAX];
        struct err why = {0};
        l->base[i][0] = '\0';
        if (cgroup_own_dir(w, kinds[i].controller, own) < 0) {
            (void)err_set(&why, ERR_NOTFOUND, "no %s hierarchy", kinds[i].controller);
        } else {
            cgroup_join(l->base[i], own, l->name);
            cgroup_remove_tree(l->base[i]); /* what a killed predecessor left */
            if (cgroup_make(l->base[i], &why) == 0 && cgroup_has(l->base[i], kinds[i].file)) {
                l->features |= kinds[i].feature;
                continue;
            }
            (void)rmdir(l->base[i]);
            l->base[i][0] = '\0';
        }
        (void)err_set(e, ERR_NOTFOUND, "%s", why.text);
    }
    return l->features != 0 ? 0 : ERR_NOTFOUND;
}

static void v1_close(struct limiter *l)
{
    for (int i = V1_N - 1; i >= 0; i--)
        if (l->base[i][0] != '\0')
            cgroup_remove_tree(l->base[i]);
}

/* The plain limit may not be above the one with swap at any moment, so it is opened, set, and closed from above. */
static int set_memory(const char *dir, uint64_t bytes, struct err *e)
{
    bool swap = cgroup_has(dir, "memory.memsw.limit_in_bytes");
    int rc = swap ? cgroup_write(dir, "memory.memsw.limit_in_bytes", "-1", e) : 0;
    if (rc == 0)
        rc = cgroup_write_u64(dir, "memory.limit_in_bytes", bytes, e);
    if (rc == 0 && swap)
        rc = cgroup_write_u64(dir, "memory.memsw.limit_in_bytes", bytes, e);
    if (rc == 0)
        rc = cgroup_write(dir, "memory.max_usage_in_bytes", "0", e);
    return rc;
}

static uint64_t oom_kills(const char *dir)
{
    char text[512];
    return cgroup_read(dir, "memory.oom_control", text, sizeof text) == 0 ? cgroup_field(text, "oom_kill") : 0;
}

static int v1_cpu(struct limiter *l, uint32_t slot, uint64_t millicpus, struct err *e)
{
    char dir[CGROUP_PATH_MAX];
    limiter_slot_dir(l, V1_CPU, slot, dir);
    return cgroup_write_u64(dir, "cpu.cfs_quota_us", cgroup_quota_us(millicpus), e);
}

static int v1_prepare(struct limiter *l, uint32_t slot, const struct limiter_set *s, struct err *e)
{
    char dir[CGROUP_PATH_MAX];
    int rc = 0;
    for (int i = 0; i < V1_N && rc == 0; i++)
        if (l->base[i][0] != '\0') {
            limiter_slot_dir(l, i, slot, dir);
            rc = cgroup_make(dir, e);
        }
    if (rc < 0)
        return rc;
    l->slot[slot].made = true;
    if ((l->features & LIMITER_MEMORY) != 0) {
        limiter_slot_dir(l, V1_MEMORY, slot, dir);
        rc = set_memory(dir, s->memory_bytes, e);
        l->slot[slot].oom_base = oom_kills(dir);
    }
    if (rc == 0 && (l->features & LIMITER_PIDS) != 0) {
        limiter_slot_dir(l, V1_PIDS, slot, dir);
        rc = cgroup_write_u64(dir, "pids.max", s->pids, e);
    }
    if (rc == 0 && (l->features & LIMITER_CPU) != 0) {
        limiter_slot_dir(l, V1_CPU, slot, dir);
        rc = cgroup_write_u64(dir, "cpu.cfs_period_us", CGROUP_QUOTA_PERIOD_US, e);
        if (rc == 0)
            rc = v1_cpu(l, slot, s->cpu_millicpus, e);
    }
    return rc;
}

static int open_tasks(const struct limiter *l, int controller, uint32_t slot, int *ret_fd, struct err *e)
{
    char dir[CGROUP_PATH_MAX], path[CGROUP_PATH_MAX];
    limiter_slot_dir(l, controller, slot, dir);
    cgroup_join(path, dir, "tasks");
    *ret_fd = open(path, O_WRONLY | O_CLOEXEC);
    return *ret_fd < 0 ? err_sys(e, ERR_IO, errno, "open %s", path) : 0;
}

static int v1_join_fds(const struct limiter *l, uint32_t slot, int fds[LIMITER_JOIN_MAX], struct err *e)
{
    static const int joined[LIMITER_JOIN_MAX] = {V1_MEMORY, V1_PIDS, V1_CPU};
    int rc = 0;
    for (int i = 0; i < LIMITER_JOIN_MAX && rc == 0; i++)
        if (l->base[joined[i]][0] != '\0')
            rc = open_tasks(l, joined[i], slot, &fds[i], e);
    for (int i = 0; i < LIMITER_JOIN_MAX && rc < 0; i++)
        fd_close(&fds[i]);
    return rc;
}

static int v1_freeze(struct limiter *l, uint32_t slot, bool frozen, struct err *e)
{
    char dir[CGROUP_PATH_MAX];
    limiter_slot_dir(l, V1_FREEZER, slot, dir);
    return cgroup_write(dir, "freezer.state", frozen ? "FROZEN" : "THAWED", e);
}

static int v1_freezer_fd(const struct limiter *l, uint32_t slot)
{
    int fd;
    (void)open_tasks(l, V1_FREEZER, slot, &fd, NULL);
    return fd;
}

static void v1_stat(struct limiter *l, uint32_t slot, struct limiter_stat *ret)
{
    char dir[CGROUP_PATH_MAX], text[4096];
    limiter_slot_dir(l, V1_MEMORY, slot, dir);
    if (cgroup_read(dir, "memory.stat", text, sizeof text) == 0)
        ret->anon_bytes = cgroup_field(text, "total_rss");
    ret->peak_bytes = cgroup_read_u64(dir, "memory.max_usage_in_bytes");
    ret->oom_kills = oom_kills(dir) - l->slot[slot].oom_base;
}

static int v1_peak_fd(struct limiter *l, uint32_t slot)
{
    char dir[CGROUP_PATH_MAX], path[CGROUP_PATH_MAX];
    limiter_slot_dir(l, V1_MEMORY, slot, dir);
    cgroup_join(path, dir, "memory.max_usage_in_bytes");
    return open(path, O_RDONLY | O_CLOEXEC);
}

static void v1_reset(struct limiter *l, uint32_t slot)
{
    char dir[CGROUP_PATH_MAX];
    if ((l->features & LIMITER_FREEZE) != 0)
        (void)v1_freeze(l, slot, false, NULL);
    if ((l->features & LIMITER_MEMORY) != 0) {
        limiter_slot_dir(l, V1_MEMORY, slot, dir);
        (void)cgroup_write(dir, "memory.force_empty", "0", NULL);
    }
}

static bool v1_populated(struct limiter *l, uint32_t slot)
{
    for (int i = 0; i < V1_N; i++)
        if (l->base[i][0] != '\0') {
            char dir[CGROUP_PATH_MAX];
            limiter_slot_dir(l, i, slot, dir);
            if (cgroup_populated(dir))
                return true;
        }
    return false;
}

const struct limiter_ops limiter_v1 = {
    .name = "v1",
    .open = v1_open,
    .close = v1_close,
    .prepare = v1_prepare,
    .join_fds = v1_join_fds,
    .cpu = v1_cpu,
    .freeze = v1_freeze,
    .freezer_fd = v1_freezer_fd,
    .stat = v1_stat,
    .peak_fd = v1_peak_fd,
    .reset = v1_reset,
    .populated = v1_populated,
};
