/* Free space: of the map and of the disk. New work is refused while either is under the reserve, so that what was
 * accepted can be finished: even a delete needs pages in a copy-on-write tree.
 */
#include "priv.h"

#include <sys/statvfs.h>

#include "base/clock.h"

enum { CHECK_EVERY_MS = 100, CHECK_EVERY_COMMITS = 64 };

/* Pages on LMDB's free list, which lives in its table 0: entries are arrays of size_t, the first of which counts the others. */
static uint64_t free_pages(const struct store *s)
{
    MDB_txn *txn;
    MDB_cursor *cur;
    MDB_val k, v;
    uint64_t n = 0;
    if (mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn) != 0)
        return 0;
    if (mdb_cursor_open(txn, 0, &cur) == 0) {
        while (mdb_cursor_get(cur, &k, &v, MDB_NEXT) == 0)
            n += *(const size_t *)v.mv_data;
        mdb_cursor_close(cur);
    }
    mdb_txn_abort(txn);
    return n;
}

void reserve_check(struct store *s, bool now)
{
    int64_t mono = clock_mono_ms();
    uint64_t commits = atomic_load(&s->commits);
    if (!now && mono - s->reserve_checked_ms < CHECK_EVERY_MS && commits - s->reserve_commits < CHECK_EVERY_COMMITS)
        return;
    s->reserve_checked_ms = mono;
    s->reserve_commits = commits;

    MDB_envinfo info;
    struct statvfs vfs;
    (void)mdb_env_info(s->env, &info);
    uint64_t used = (uint64_t)(info.me_last_pgno + 1) * s->page_size;
    uint64_t reserve = s->opts.reserve_bytes;
    /* Walking the free list costs time in proportion to it: only when the file has grown so far that it decides. */
    bool near = used + 2 * reserve > s->opts.max_bytes;
    uint64_t free_bytes = near || now ? free_pages(s) * s->page_size : 0;
    used = free_bytes < used ? used - free_bytes : 0;
    uint64_t disk = UINT64_MAX;
    if (s->dir_fd >= 0 && fstatvfs(s->dir_fd, &vfs) == 0)
        disk = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    atomic_store(&s->used_bytes, used);
    atomic_store(&s->disk_free_bytes, disk);
    bool map_full = s->opts.max_bytes < used + reserve;
    atomic_store(&s->full, map_full || disk < reserve);
}

void store_stats(struct store *s, struct store_stats *ret)
{
    *ret = (struct store_stats){.map_bytes = s->opts.max_bytes,
                                .map_used_bytes = atomic_load(&s->used_bytes),
                                .disk_free_bytes = atomic_load(&s->disk_free_bytes),
                                .full = atomic_load(&s->full),
                                .commits = atomic_load(&s->commits),
                                .ops = atomic_load(&s->ops),
                                .ops_failed = atomic_load(&s->ops_failed),
                                .last_commit_us = atomic_load(&s->last_commit_us)};
}
