#include "compact.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "offline.h"

static const char beside[] = "queue.compact"; /* bided removes what is left of it */

enum { MAP_BYTES = 1 << 30, SLACK_BYTES = 16 << 20 };

struct compaction {
    const char *data;
    compact_step_cb *step;
    void *arg;
    int dir_fd, lock_fd, queue_fd, copy_dir_fd, copy_fd;
    struct stat was;
    struct books books;
};

static void reached(const struct compaction *c, enum compact_step at)
{
    if (c->step != NULL)
        c->step(at, c->arg);
}

static int take_lock(struct compaction *c, struct err *e)
{
    c->dir_fd = open(c->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->dir_fd < 0)
        return err_sys(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, errno, "%s", c->data);
    c->queue_fd = openat(c->dir_fd, "queue", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (c->queue_fd < 0 || fstatat(c->queue_fd, "data.mdb", &c->was, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, errno, "%s is no data directory: queue/data.mdb",
                       c->data);
    c->lock_fd = openat(c->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (c->lock_fd < 0)
        return err_sys(e, ERR_IO, errno, "%s/lock", c->data);
    if (flock(c->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(e, ERR_BUSY, "a bided runs on %s: stop it first", c->data);
    return 0;
}

static int make_copy_file(struct compaction *c, struct err *e)
{
    if (file_remove_tree(c->dir_fd, beside) < 0 || mkdirat(c->dir_fd, beside, 0700) < 0)
        return err_sys(e, ERR_IO, errno, "%s/%s", c->data, beside);
    c->copy_dir_fd = openat(c->dir_fd, beside, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (c->copy_dir_fd >= 0)
        c->copy_fd = openat(c->copy_dir_fd, "data.mdb", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    /* As root, for a daemon that is not: the new file is to be whose the old one is. */
    if (c->copy_fd < 0 || fchmod(c->copy_fd, c->was.st_mode & 07777) < 0 ||
        (geteuid() == 0 && fchown(c->copy_fd, c->was.st_uid, c->was.st_gid) < 0))
        return err_sys(e, ERR_IO, errno, "%s/%s/data.mdb", c->data, beside);
    return 0;
}

static int check_room(const struct compaction *c, struct store *s, struct err *e)
{
    struct statvfs v;
    struct store_stats st;
    store_stats(s, &st);
    if (fstatvfs(c->dir_fd, &v) < 0)
        return err_sys(e, ERR_IO, errno, "%s", c->data);
    uint64_t have = (uint64_t)v.f_bavail * v.f_frsize, want = st.map_used_bytes + SLACK_BYTES;
    if (have >= want)
        return 0;
    return err_set(e, ERR_FULL, "the copy needs %" PRIu64 " MB beside the store, and %s has %" PRIu64 " MB free",
                   want / 1000000, c->data, have / 1000000);
}

static int copy(struct compaction *c, struct err *e)
{
    char path[PATH_MAX];
    struct store *s = NULL;
    struct queue *q = NULL;
    struct store_opts o = {.max_bytes = MAP_BYTES};
    (void)snprintf(path, sizeof path, "%s/queue", c->data);
    /* Not read-only: what a crash left of the file's length is put right first, as by a start. */
    int rc = store_open(&s, path, &o, e);
    if (rc == 0)
        rc = queue_open_read_only(&q, s, e);
    if (rc == 0)
        rc = queue_books(q, &c->books) < 0 ? err_set(e, ERR_CORRUPT, "the books cannot be read") : 0;
    if (rc == 0)
        rc = check_room(c, s, e);
    if (rc == 0)
        rc = make_copy_file(c, e);
    if (rc == 0)
        rc = store_copy(s, c->copy_fd, STORE_COPY_COMPACT, e);
    if (rc == 0 && (fsync(c->copy_fd) < 0 || fsync(c->copy_dir_fd) < 0))
        rc = err_sys(e, ERR_IO, errno, "%s/%s", c->data, beside);
    queue_close(q);
    store_close(s);
    return rc;
}

static void print_finding(const char *line, void *arg)
{
    (void)arg;
    (void)fprintf(stderr, "%s\n", line);
}

static int check(const struct compaction *c, struct err *e)
{
    struct offline_found found;
    int rc = offline_check(c->data, beside, print_finding, NULL, &found, e);
    if (rc == 0 && found.findings > 0)
        rc = err_set(e, ERR_CORRUPT,
                     "the copy does not hold (%" PRIu64 " findings); `bide verify` says whether the "
                     "store does",
                     found.findings);
    if (rc == 0 && memcmp(&found.books, &c->books, sizeof found.books) != 0)
        rc = err_set(e, ERR_CORRUPT, "the copy has other books than the store");
    return rc;
}

static int put_in_place(const struct compaction *c, struct err *e)
{
    if (renameat(c->copy_dir_fd, "data.mdb", c->queue_fd, "data.mdb") < 0)
        return err_sys(e, ERR_IO, errno, "%s/queue/data.mdb", c->data);
    reached(c, COMPACT_RENAMED);
    if (fsync(c->queue_fd) < 0)
        return err_sys(e, ERR_IO, errno, "%s/queue", c->data);
    return 0;
}

int compact_store(const char *data, compact_step_cb *step, void *arg, struct compacted *ret, struct err *e)
{
    struct compaction c = {.data = data, .step = step, .arg = arg};
    struct stat is;
    c.dir_fd = c.lock_fd = c.queue_fd = c.copy_dir_fd = c.copy_fd = -1;
    int rc = take_lock(&c, e);
    if (rc == 0) {
        reached(&c, COMPACT_LOCKED);
        rc = copy(&c, e);
    }
    if (rc == 0) {
        reached(&c, COMPACT_COPIED);
        rc = check(&c, e);
    }
    if (rc == 0 && fstat(c.copy_fd, &is) < 0)
        rc = err_sys(e, ERR_IO, errno, "%s", data);
    if (rc == 0) {
        reached(&c, COMPACT_CHECKED);
        rc = put_in_place(&c, e);
    }
    if (c.copy_dir_fd >= 0)
        (void)!file_remove_tree(c.dir_fd, beside); /* else the next start of the daemon removes it */
    if (rc == 0)
        *ret = (struct compacted){(uint64_t)c.was.st_size, (uint64_t)is.st_size, c.books.accepted};
    fd_close(&c.copy_fd);
    fd_close(&c.copy_dir_fd);
    fd_close(&c.queue_fd);
    fd_close(&c.lock_fd);
    fd_close(&c.dir_fd);
    return rc;
}
