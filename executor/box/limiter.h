/* Limits of a box as a whole: memory, processes, CPU share, freezing. Three back ends with one face, chosen by what can
 * really be written here, never by version numbers: cgroup v2, cgroup v1 (each controller on its own), none.
 *
 *   limiter_open(&l, &where, "bide-803-1f2", n_slots, &err);   // sweeps what a killed predecessor left under that name
 *   limiter_prepare(l, slot, &set, &err);       // before the clone
 *   clone3 with limiter_clone_fd(l, slot); the child first writes "0" to each of limiter_join_fds(l, slot, ...)
 *   limiter_stat(l, slot, &st); limiter_freeze(l, slot, true); ...
 *   limiter_reset(l, slot);                     // the box is dead: the slot's groups are kept for the next one
 *   limiter_close(l);                           // removes them
 *
 * Groups have fixed names below the cgroup that this process is in (below, so that limits set on the daemon hold for
 * workers too; fixed, so that leftovers are found) and are reused, because removed v1 memory groups linger in the
 * kernel. Only what carries the given name is ever touched.
 */
#ifndef BOX_LIMITER_H
#define BOX_LIMITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct limiter;

/* Where the kernel describes cgroups. Tests point these at plain files. */
struct limiter_where {
    const char *self_cgroup; /* "/proc/self/cgroup" */
    const char *mountinfo;   /* "/proc/self/mountinfo" */
    pid_t self, engine;      /* v2 moves them into a leaf of their own; engine 0 = none */
};

enum limiter_feature {
    LIMITER_MEMORY = 1,
    LIMITER_PIDS = 2,
    LIMITER_CPU = 4,
    LIMITER_FREEZE = 8,
    LIMITER_KILL = 16, /* the kernel can kill a whole group */
};

struct limiter_set {
    uint64_t memory_bytes;  /* hard limit of everything charged, /tmp included */
    uint32_t pids;          /* processes and threads */
    uint64_t cpu_millicpus; /* 1000 = one core */
};

struct limiter_stat {
    uint64_t oom_kills;  /* since limiter_prepare */
    uint64_t anon_bytes; /* what programs allocated: without /tmp and page cache */
    uint64_t peak_bytes; /* highest charge since limiter_prepare; 0 unknown */
};

/* Never fails for want of cgroups (that is the back end "none"); ERR_NOMEM. */
int limiter_open(struct limiter **ret, const struct limiter_where *w, const char *name, uint32_t n_slots,
                 struct err *e) BIDE_MUST_USE;
void limiter_close(struct limiter *l);

const char *limiter_name(const struct limiter *l);    /* "v2", "v1", "none" */
unsigned limiter_features(const struct limiter *l);   /* enum limiter_feature, or-ed */
const char *limiter_why_not(const struct limiter *l); /* what stood in the way of more; "" when nothing did */

/* ERR_IO with file and errno in e. */
int limiter_prepare(struct limiter *l, uint32_t slot, const struct limiter_set *s, struct err *e) BIDE_MUST_USE;
int limiter_clone_fd(const struct limiter *l, uint32_t slot); /* borrowed, for CLONE_INTO_CGROUP; -1 = join instead */

/* v1: a process moved by another makes that other wait, 10 ms and more, until the kernel has seen every processor; one
 * that moves itself, having one thread, waits for nobody. So the child joins by writing "0" to these new descriptors,
 * its rights being those of who opened them. The unused ones are -1. ERR_IO. */
enum { LIMITER_JOIN_MAX = 3 };
int limiter_join_fds(const struct limiter *l, uint32_t slot, int fds[LIMITER_JOIN_MAX], struct err *e) BIDE_MUST_USE;
int limiter_cpu(struct limiter *l, uint32_t slot, uint64_t millicpus, struct err *e) BIDE_MUST_USE;

/* Asks; the kernel freezes as soon as every process has reached a safe point. A back end without LIMITER_FREEZE does
 * nothing. Killing a frozen box takes a thaw. */
int limiter_freeze(struct limiter *l, uint32_t slot, bool frozen, struct err *e);

/* A v1 freezer holds even against SIGKILL, so a box's init must not be in the group that is frozen: it could not die
 * with the executor process. limiter_join_fds leaves that group out, and each program joins it by this descriptor
 * before its exec. New, or -1 when the back end needs none of this. */
int limiter_freezer_fd(const struct limiter *l, uint32_t slot);

void limiter_stat(struct limiter *l, uint32_t slot, struct limiter_stat *ret);

/* A new read-only descriptor of the peak (bytes, decimal, at offset 0), or -1. */
int limiter_peak_fd(struct limiter *l, uint32_t slot);

/* Belt to the pid namespace's braces: kill what is in the slot's group, where the kernel can. */
void limiter_kill(struct limiter *l, uint32_t slot);

/* The box is dead: thaw, drop its page cache, be ready for the next. */
void limiter_reset(struct limiter *l, uint32_t slot);

/* Is a process left in the slot's group? False without groups. */
bool limiter_populated(struct limiter *l, uint32_t slot);

#endif
