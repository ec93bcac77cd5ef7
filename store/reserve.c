/* How much room is left, and when new work has to be refused so that old work can be finished: even a delete takes
 * pages.
 *
 * Room is the smaller of free map (its unused tail and the free list) and free disk, to which the free list counts too:
 * the file never shrinks, and its free pages are written again without asking the disk for more. Measuring means two
 * system calls and, when the tail or the disk is short, a walk over the free list; so it is done at most every
 * MEASURE_MS or MEASURE_COMMITS, and what is put in between is taken off the last figure.
 */
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"

#include "priv.h"

enum { MEASURE_MS = 100, MEASURE_COMMITS = 64 };

/* Less free disk than this and a short write was a full disk: file systems keep a little back. */
static const uint64_t exhausted_bytes = (uint64_t)1 << 20;

void store_room_init(struct store *s)
{
    pthread_mutex_init(&s->room.mu, NULL);
}

int store_free_pages(struct store *s, size_t first, uint64_t *ret)
{
    MDB_txn *txn;
    MDB_cursor *c = NULL;
    MDB_val key, val;
    *ret = 0;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_open(txn, 0, &c); /* database 0 is the free list: each value a count, then so many page numbers */
    if (rc != 0)
        goto out;
    while ((rc = mdb_cursor_get(c, &key, &val, MDB_NEXT)) == 0) {
        size_t n, page;
        memcpy(&n, val.mv_data, sizeof n);
        if (first == 0) {
            *ret += n;
            continue;
        }
        for (size_t i = 1; i <= n && (i + 1) * sizeof page <= val.mv_size; i++) {
            memcpy(&page, (const char *)val.mv_data + i * sizeof page, sizeof page);
            *ret += page >= first;
        }
    }
    if (rc == MDB_NOTFOUND)
        rc = 0;
out:
    if (c != NULL)
        mdb_cursor_close(c);
    mdb_txn_abort(txn);
    return rc;
}

static uint64_t disk_free(struct store *s)
{
    struct statvfs v;
    if (fstatvfs(s->data_fd, &v) < 0)
        return UINT64_MAX; /* unknown is not full: a write will tell */
    return (uint64_t)v.f_bavail * v.f_frsize;
}

bool store_disk_exhausted(struct store *s)
{
    return disk_free(s) < exhausted_bytes;
}

static void measure(struct store *s, int64_t now_ms, bool count_free_list)
{
    struct room *room = &s->room;
    MDB_envinfo info;
    mdb_env_info(s->env, &info);
    uint64_t used = (uint64_t)(info.me_last_pgno + 1) * s->page_len;
    uint64_t tail = s->map_bytes > used ? s->map_bytes - used : 0;
    room->free_list = 0;
    room->free_list_counted = false;
    room->disk_free = disk_free(s);
    if (count_free_list || tail < 2 * s->opts.reserve_bytes || room->disk_free < 2 * s->opts.reserve_bytes) {
        uint64_t pages;
        room->free_list_counted = store_free_pages(s, 0, &pages) == 0;
        if (room->free_list_counted)
            room->free_list = pages * s->page_len;
    }
    room->map_free = tail + room->free_list;
    room->put = 0;
    room->commits = 0;
    room->at_ms = now_ms;
}

static bool is_short(const struct store *s, uint64_t pending)
{
    const struct room *room = &s->room;
    uint64_t disk = room->disk_free > UINT64_MAX - room->free_list ? UINT64_MAX : room->disk_free + room->free_list;
    uint64_t left = room->map_free < disk ? room->map_free : disk;
    uint64_t spent = room->put + pending;
    return left < spent || left - spent < s->opts.reserve_bytes;
}

bool store_room_refuses(struct store *s, uint64_t pending)
{
    struct room *room = &s->room;
    if (s->opts.reserve_bytes == 0)
        return false;
    pthread_mutex_lock(&room->mu);
    int64_t now_ms = clock_mono_ms();
    bool stale = room->at_ms == 0 || now_ms - room->at_ms >= MEASURE_MS || room->commits >= MEASURE_COMMITS;
    if (stale || (!room->full && is_short(s, pending)))
        measure(s, now_ms, false);
    room->full = is_short(s, pending);
    bool full = room->full;
    pthread_mutex_unlock(&room->mu);
    return full;
}

void store_room_committed(struct store *s, uint64_t put_bytes)
{
    pthread_mutex_lock(&s->room.mu);
    s->room.put += put_bytes;
    s->room.commits++;
    pthread_mutex_unlock(&s->room.mu);
}

void store_stats(struct store *s, struct store_stats *ret)
{
    struct room *room = &s->room;
    pthread_mutex_lock(&s->mu);
    *ret = s->stats;
    pthread_mutex_unlock(&s->mu);
    pthread_mutex_lock(&room->mu);
    int64_t now_ms = clock_mono_ms();
    if (!room->free_list_counted || now_ms - room->at_ms >= MEASURE_MS || room->commits >= MEASURE_COMMITS)
        measure(s, now_ms, true);
    room->full = s->opts.reserve_bytes > 0 && is_short(s, 0);
    ret->map_bytes = s->map_bytes;
    ret->map_used_bytes = s->map_bytes > room->map_free ? s->map_bytes - room->map_free : 0;
    ret->disk_free_bytes = room->disk_free;
    ret->full = room->full;
    pthread_mutex_unlock(&room->mu);
}
