/* A copy of the whole store, taken while the writer goes on. */
#include <errno.h>

#include "priv.h"

int store_copy(struct store *s, int fd, unsigned flags, struct err *e)
{
    bool compact = (flags & STORE_COPY_COMPACT) != 0;
    atomic_fetch_add(&s->readers, 1);
    int rc = mdb_env_copyfd2(s->env, fd, compact ? MDB_CP_COMPACT : 0);
    atomic_fetch_sub(&s->readers, 1);
    if (rc == MDB_INCOMPATIBLE)
        return err_set(e, ERR_CORRUPT,
                       "%s: its pages do not add up (some belong to no table and are not free either): it can be "
                       "copied page by page, but not compacted",
                       s->path);
    if (rc == ENOSPC)
        return err_sys(e, ERR_FULL, rc, "%s: copy", s->path);
    return rc == 0 ? 0 : store_fail(e, rc, "copy", s->path);
}
