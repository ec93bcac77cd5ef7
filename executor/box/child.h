/* What runs between clone and exec: the operations of a profile, in order, then the exec of bide-init. The child is a
 * copy of a single-threaded process, so it may use memory; it never returns and never runs anybody's exit handlers.
 */
#ifndef BOX_CHILD_H
#define BOX_CHILD_H

#include <stdint.h>
#include <sys/types.h>

#include "filter.h"
#include "limiter.h"
#include "profile.h"

/* Everything the child needs, made by the parent before the clone. Descriptors are the child's copies. */
struct child {
    const struct profile *profile;
    const struct filter *filter; /* NULL = none */
    int ctl;                     /* our end of the socket pair (ctl.h) */
    int log;                     /* write end of the log pipe */
    int init;                    /* sealed memfd of bide-init */
    int lock;                    /* workers.lock, or -1 */
    int join[LIMITER_JOIN_MAX];  /* limiter_join_fds */
    int freezer;                 /* limiter_freezer_fd, or -1 */
    int code_dir;                /* sandbox = off: working directory; else -1 */
    int lower[PROTO_LAYERS_MAX]; /* OP_LOWER's, n_lower of them */
    size_t n_lower;
    int tree[PROFILE_TREES_MAX]; /* -1 where the child grabs it itself */
    uid_t uid;                   /* sandbox = off */
    gid_t gid;
    uint32_t job_flags; /* JOB_x */
    const char *const *argv;
    size_t n_argv;
    const char *const *env;
    size_t n_env;
    /* sandbox = off: what stands for /var/task and /var/runtime in arguments and environment; else NULL */
    const char *code_path, *runtime_path;
};

_Noreturn void child_main(struct child *c);

/* Replace /var/task and /var/runtime where they begin a path in text (at its start, after '=' or ':'). ERR_TOOBIG,
 * ERR_NOMEM from out. */
int child_outside_paths(const char *text, const char *code_path, const char *runtime_path,
                        struct buf *out) BIDE_MUST_USE;

#endif
