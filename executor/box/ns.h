/* Namespaces: the clone, the id maps, identity, hostname. */
#ifndef BOX_NS_H
#define BOX_NS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* fork with namespaces, into a cgroup when cgroup_fd >= 0. In the parent the child's pid, with *ret_pidfd
 * close-on-exec; in the child 0; -1 with errno. */
pid_t ns_clone(uint64_t flags, int cgroup_fd, int *ret_pidfd);

/* Parent, while the child waits: exactly one id exists inside, for users and for groups alike. */
int ns_map(pid_t child, uint32_t inside, uint32_t outside_uid, uint32_t outside_gid, struct err *e) BIDE_MUST_USE;

/* Child. */
int ns_become(uint32_t uid, uint32_t gid, struct err *e) BIDE_MUST_USE;
int ns_hostname(const char *name, struct err *e) BIDE_MUST_USE;
int ns_parent_death(struct err *e) BIDE_MUST_USE;

#endif
