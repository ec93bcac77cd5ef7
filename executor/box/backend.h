/* Private to limiter.c and its back ends. */
#ifndef BOX_BACKEND_H
#define BOX_BACKEND_H

#include "cgroup.h"
#include "limiter.h"

struct limiter_ops {
    const char *name;
    /* ERR_NOTFOUND: cannot be had here, e says why. Sets dir, features and priv; the ops below follow only after 0. */
    int (*open)(struct limiter *l, const struct limiter_where *w, struct err *e);
    void (*close)(struct limiter *l);
    int (*prepare)(struct limiter *l, uint32_t slot, const struct limiter_set *s, struct err *e);
    int (*join_fds)(const struct limiter *l, uint32_t slot, int fds[LIMITER_JOIN_MAX], struct err *e); /* may be NULL */
    int (*cpu)(struct limiter *l, uint32_t slot, uint64_t millicpus, struct err *e);
    int (*freeze)(struct limiter *l, uint32_t slot, bool frozen, struct err *e);
    int (*freezer_fd)(const struct limiter *l, uint32_t slot); /* may be NULL */
    void (*stat)(struct limiter *l, uint32_t slot, struct limiter_stat *ret);
    int (*peak_fd)(struct limiter *l, uint32_t slot);
    void (*kill)(struct limiter *l, uint32_t slot);
    void (*reset)(struct limiter *l, uint32_t slot);
    bool (*populated)(struct limiter *l, uint32_t slot);
};

enum { V1_MEMORY, V1_PIDS, V1_CPU, V1_FREEZER, V1_N };

struct limiter_slot {
    bool made;
    int clone_fd;      /* v2: the group's directory */
    int peak_fd;       /* v2: the peak is reset per open file, so this one is kept */
    uint64_t oom_base; /* the counter's value at prepare */
};

struct limiter {
    const struct limiter_ops *ops;
    char name[CGROUP_NAME_MAX];
    char base[V1_N][CGROUP_PATH_MAX]; /* our groups' parent: per v1 controller ("" = not to be had), or [0] for v2 */
    char leaf[CGROUP_PATH_MAX];       /* v2: where the daemon itself was moved; "" = it was not */
    unsigned features;
    uint32_t n_slots;
    char why_not[320];
    struct limiter_slot slot[];
};

extern const struct limiter_ops limiter_v1, limiter_v2;

/* BASE/slot-N */
void limiter_slot_dir(const struct limiter *l, int controller, uint32_t slot, char out[CGROUP_PATH_MAX]);

#endif
