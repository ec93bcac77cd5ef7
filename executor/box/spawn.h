/* The parent's half of starting a box: what all boxes share, and one clone. Nothing here waits for the child; how it
 * got on comes over the control socket (ctl.h).
 */
#ifndef BOX_SPAWN_H
#define BOX_SPAWN_H

#include <linux/limits.h>
#include <stdbool.h>

#include "box.h"
#include "ctl.h"
#include "executor_proto/proto.h"
#include "filter.h"
#include "limiter.h"
#include "profile.h"

struct spawner {
    const struct box_config *c;
    struct limiter *limits;
    struct filter filter;
    struct host host;
    int init_fd; /* sealed memfd */
    bool as_root;
    bool no_proc, no_seccomp; /* relaxed, after a probe that found them missing */
    char code_path[PATH_MAX], runtimes_path[PATH_MAX];
};

int spawner_init(struct spawner *s, const struct box_config *c, pid_t engine, struct err *e) BIDE_MUST_USE;
void spawner_done(struct spawner *s);

struct spawned {
    pid_t pid;
    uid_t uid; /* the host's */
    int pidfd, ctl, log_fd;
};

/* Clone a box in slot; start NULL makes a trial box: all fences, no code, and a program that cannot be executed
 * (EACCES). On failure nothing is left, and *ret_step names the step (static storage). */
int spawn(struct spawner *s, uint32_t slot, const struct proto_start *start, struct spawned *ret, const char **ret_step,
          struct err *e) BIDE_MUST_USE;

/* The CPU share that MemorySize buys (Lambda: one core at 1769 MB), in thousandths of a core; boost: at least one core.
 */
uint64_t spawn_millicpus(uint32_t memory_mb, bool boost);

/* The role's network; the profile `default`, and without one network none, for a role that is not configured. */
enum box_network spawn_network(const struct box_config *c, const char *role);

#endif
