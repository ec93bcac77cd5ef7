/* cgroup v2: one group per slot, below a group of ours, below the group that this process was started in. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend.h"
#include "base/fdutil.h"

static const char controllers[] = "+memory +pids +cpu";

/* Is name one of the blank-separated words of text? */
static bool has_word(const char *text, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = text; (at = strstr(at, name)) != NULL; at += len)
        if ((at == text || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\n' || at[len] == '\0'))
            return true;
    return false;
}

/* A group with processes of its own may not give controllers to groups below it: move out of the way. */
static int move_daemon(struct limiter *l, const char *own, const struct limiter_where *w, struct err *e)
{
    char leaf_name[CGROUP_NAME_MAX + 16];
    (void)snprintf(leaf_name, sizeof leaf_name, "%s-daemon", l->name);
    cgroup_join(l->leaf, own, leaf_name);
    int rc = cgroup_make(l->leaf, e);
    if (rc == 0)
        rc = cgroup_write_u64(l->leaf, "cgroup.procs", (uint64_t)w->self, e);
    if (rc == 0 && w->engine > 0)
        rc = cgroup_write_u64(l->leaf, "cgroup.procs", (uint64_t)w->engine, e);
    return rc;
}

/* Back to where we were found: an emptied leaf can be removed. */
static void move_back(struct limiter *l, const char *own, const struct limiter_where *w)
{
    (void)cgroup_write_u64(own, "cgroup.procs", (uint64_t)w->self, NULL);
    if (w->engine > 0)
        (void)cgroup_write_u64(own, "cgroup.procs", (uint64_t)w->engine, NULL);
    (void)rmdir(l->leaf);
    l->leaf[0] = '\0';
}

/* When we were opened before in this process's life, it sits in the leaf: the place meant is the one above. */
static void strip_leaf(const struct limiter *l, char *own)
{
    char leaf_name[CGROUP_NAME_MAX + 16];
    (void)snprintf(leaf_name, sizeof leaf_name, "%s-daemon", l->name);
    char *last = strrchr(own, '/');
    if (last != NULL && strcmp(last + 1, leaf_name) == 0)
        *last = '\0';
}

static int v2_open(struct limiter *l, const struct limiter_where *w, struct err *e)
{
    char own[CGROUP_PATH_MAX], text[512];
    if (cgroup_own_dir(w, NULL, own) < 0)
        return err_set(e, ERR_NOTFOUND, "no hierarchy is mounted");
    strip_leaf(l, own);
    if (cgroup_read(own, "cgroup.controllers", text, sizeof text) < 0)
        return err_set(e, ERR_NOTFOUND, "%s/cgroup.controllers cannot be read", own);
    if (!has_word(text, "memory") || !has_word(text, "pids") || !has_word(text, "cpu"))
        return err_set(e, ERR_NOTFOUND, "memory, pids and cpu are not all offered (Delegate=yes in a systemd unit)");
    cgroup_join(l->base[0], own, l->name);
    cgroup_remove_tree(l->base[0]);
    int rc = cgroup_make(l->base[0], e);
    if (rc < 0)
        return ERR_NOTFOUND;
    rc = cgroup_write(own, "cgroup.subtree_control", controllers, e);
    if (rc < 0) {
        rc = move_daemon(l, own, w, e);
        if (rc == 0)
            rc = cgroup_write(own, "cgroup.subtree_control", controllers, e);
    }
    if (rc == 0)
        rc = cgroup_write(l->base[0], "cgroup.subtree_control", controllers, e);
    if (rc < 0) {
        if (l->leaf[0] != '\0')
            move_back(l, own, w);
        (void)rmdir(l->base[0]);
        return ERR_NOTFOUND;
    }
    l->features = LIMITER_MEMORY | LIMITER_PIDS | LIMITER_CPU;
    if (cgroup_has(l->base[0], "cgroup.freeze"))
        l->features |= LIMITER_FREEZE;
    if (cgroup_has(l->base[0], "cgroup.kill"))
        l->features |= LIMITER_KILL;
    return 0;
}

static void v2_close(struct limiter *l)
{
    cgroup_remove_tree(l->base[0]);
}

static int v2_cpu(struct limiter *l, uint32_t slot, uint64_t millicpus, struct err *e)
{
    char dir[CGROUP_PATH_MAX], text[64];
    limiter_slot_dir(l, 0, slot, dir);
    (void)snprintf(text, sizeof text, "%llu %d", (unsigned long long)cgroup_quota_us(millicpus),
                   CGROUP_QUOTA_PERIOD_US);
    return cgroup_write(dir, "cpu.max", text, e);
}

static uint64_t oom_kills(const char *dir)
{
    char text[512];
    return cgroup_read(dir, "memory.events", text, sizeof text) == 0 ? cgroup_field(text, "oom_kill") : 0;
}

/* Newer kernels forget the peak for an open file that is written to; on older ones only a new group has a new peak. */
static bool forget_peak(struct limiter_slot *s, const char *dir)
{
    char path[CGROUP_PATH_MAX];
    cgroup_join(path, dir, "memory.peak");
    fd_close(&s->peak_fd);
    s->peak_fd = open(path, O_RDWR | O_CLOEXEC);
    return s->peak_fd >= 0 && write(s->peak_fd, "reset", 5) == 5;
}

static int make_slot(struct limiter *l, uint32_t slot, const char *dir, struct err *e)
{
    struct limiter_slot *s = &l->slot[slot];
    int rc = cgroup_make(dir, e);
    if (rc == 0 && !forget_peak(s, dir) && s->made) {
        fd_close(&s->clone_fd);
        if (rmdir(dir) == 0)
            rc = cgroup_make(dir, e);
        (void)forget_peak(s, dir);
    }
    if (rc == 0 && s->clone_fd < 0) {
        s->clone_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->clone_fd < 0)
            rc = err_sys(e, ERR_IO, errno, "open %s", dir);
    }
    s->made = s->made || rc == 0;
    return rc;
}

static int v2_prepare(struct limiter *l, uint32_t slot, const struct limiter_set *s, struct err *e)
{
    char dir[CGROUP_PATH_MAX];
    limiter_slot_dir(l, 0, slot, dir);
    int rc = make_slot(l, slot, dir, e);
    if (rc == 0)
        rc = cgroup_write_u64(dir, "memory.max", s->memory_bytes, e);
    if (rc == 0 && cgroup_has(dir, "memory.swap.max"))
        rc = cgroup_write(dir, "memory.swap.max", "0", e);
    if (rc == 0 && cgroup_has(dir, "memory.oom.group"))
        rc = cgroup_write(dir, "memory.oom.group", "1", e);
    if (rc == 0)
        rc = cgroup_write_u64(dir, "pids.max", s->pids, e);
    if (rc == 0)
        rc = v2_cpu(l, slot, s->cpu_millicpus, e);
    l->slot[slot].oom_base = oom_kills(dir);
    return rc;
}

static int v2_freeze(struct limiter *l, uint32_t slot, bool frozen, struct err *e)
{
    char dir[CGROUP_PATH_MAX];
    limiter_slot_dir(l, 0, slot, dir);
    return cgroup_write(dir, "cgroup.freeze", frozen ? "1" : "0", e);
}

static void v2_stat(struct limiter *l, uint32_t slot, struct limiter_stat *ret)
{
    char dir[CGROUP_PATH_MAX], text[4096];
    limiter_slot_dir(l, 0, slot, dir);
    if (cgroup_read(dir, "memory.stat", text, sizeof text) == 0)
        ret->anon_bytes = cgroup_field(text, "anon");
    ret->oom_kills = oom_kills(dir) - l->slot[slot].oom_base;
    int fd = l->slot[slot].peak_fd;
    ssize_t n = fd >= 0 ? pread(fd, text, 31, 0) : -1;
    if (n > 0) {
        text[n] = '\0';
        ret->peak_bytes = strtoull(text, NULL, 10);
    }
}

static int v2_peak_fd(struct limiter *l, uint32_t slot)
{
    return l->slot[slot].peak_fd >= 0 ? fcntl(l->slot[slot].peak_fd, F_DUPFD_CLOEXEC, 0) : -1;
}

static void v2_kill(struct limiter *l, uint32_t slot)
{
    char dir[CGROUP_PATH_MAX];
    limiter_slot_dir(l, 0, slot, dir);
    (void)cgroup_write(dir, "cgroup.kill", "1", NULL);
}

static void v2_reset(struct limiter *l, uint32_t slot)
{
    char dir[CGROUP_PATH_MAX];
    if ((l->features & LIMITER_FREEZE) != 0)
        (void)v2_freeze(l, slot, false, NULL);
    limiter_slot_dir(l, 0, slot, dir);
    if (cgroup_has(dir, "memory.reclaim"))
        (void)cgroup_write(dir, "memory.reclaim", "64M", NULL); /* page cache only: nobody is left in it */
}

static bool v2_populated(struct limiter *l, uint32_t slot)
{
    char dir[CGROUP_PATH_MAX];
    limiter_slot_dir(l, 0, slot, dir);
    return cgroup_populated(dir);
}

const struct limiter_ops limiter_v2 = {
    .name = "v2",
    .open = v2_open,
    .close = v2_close,
    .prepare = v2_prepare,
    .cpu = v2_cpu,
    .freeze = v2_freeze,
    .stat = v2_stat,
    .peak_fd = v2_peak_fd,
    .kill = v2_kill,
    .reset = v2_reset,
    .populated = v2_populated,
};
