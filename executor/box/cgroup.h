/* Files of cgroup file systems: the few operations that both back ends of limiter.h share. Knows formats, no policy.
 * Every path is absolute and ours; works on a tree of plain files too, which is how it is tested.
 */
#ifndef BOX_CGROUP_H
#define BOX_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "limiter.h"

enum { CGROUP_PATH_MAX = 768, CGROUP_NAME_MAX = 64, CGROUP_QUOTA_PERIOD_US = 20000, CGROUP_QUOTA_MIN_US = 1000 };

/* The directory of the cgroup that this process is in, for a v1 controller, or for v2 with controller NULL.
 * ERR_NOTFOUND: no such hierarchy, not mounted, or our group lies outside what is mounted. */
int cgroup_own_dir(const struct limiter_where *w, const char *controller, char out[CGROUP_PATH_MAX]) BIDE_MUST_USE;

/* A group's file as DIR/FILE. ERR_IO with path and errno. Cleaning up may ignore the result. */
int cgroup_write(const char *dir, const char *file, const char *text, struct err *e);
int cgroup_write_u64(const char *dir, const char *file, uint64_t v, struct err *e);
/* At most cap - 1 bytes, NUL-terminated. */
int cgroup_read(const char *dir, const char *file, char *out, size_t cap) BIDE_MUST_USE;
uint64_t cgroup_read_u64(const char *dir, const char *file); /* 0 when it cannot be read */
/* The number behind `key ` at the start of a line, or 0. */
uint64_t cgroup_field(const char *text, const char *key);
bool cgroup_has(const char *dir, const char *file);

int cgroup_make(const char *dir, struct err *e) BIDE_MUST_USE; /* there already is fine */
/* Join DIR/NAME into out; asserts that it fits, since every part is ours. */
void cgroup_join(char out[CGROUP_PATH_MAX], const char *dir, const char *name);

/* Kill what is in the group and every group below it (thawing first when it is a frozen one), then remove them all;
 * bounded: up to half a second for processes to go. */
void cgroup_remove_tree(const char *dir);
bool cgroup_populated(const char *dir);
void cgroup_kill_procs(const char *dir); /* one SIGKILL for each process listed */

/* Quota of one period in microseconds for so many thousandths of a core. */
uint64_t cgroup_quota_us(uint64_t millicpus);

#endif
