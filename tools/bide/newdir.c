#include "newdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdutil.h"

static const char marker[] = "incomplete";

static bool is_empty(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (d == NULL) {
        fd_close(&copy);
        return false;
    }
    int n = 0;
    struct dirent *de;
    while ((de = readdir(d)) != NULL)
        n += strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
    (void)closedir(d);
    return n == 0;
}

/* The path as it will be: without slashes at its end, and when it is there, the folder itself and not a link to it. */
static int settle_path(struct newdir *d, const char *path, struct err *e)
{
    struct stat st, parent;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0 || n >= sizeof d->path)
        return err_set(e, ERR_INVALID, "\"%s\" is not the name of a folder", path);
    memcpy(d->path, path, n);
    d->path[n] = '\0';
    int fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT    ? 0
               : errno == ENOTDIR ? err_set(e, ERR_EXISTS, "%s is there and is no folder; name a new one", d->path)
                                  : err_sys(e, ERR_IO, errno, "%s", d->path);
    char *real = realpath(d->path, NULL);
    int rc = 0;
    if (real == NULL || strlen(real) >= sizeof d->path)
        rc = err_set(e, ERR_IO, "%s cannot be resolved", d->path);
    else if (!is_empty(fd))
        rc = err_set(e, ERR_EXISTS, "%s is there and is not empty; name a new folder", d->path);
    else if (fstat(fd, &st) == 0 && fstatat(fd, "..", &parent, 0) == 0 && st.st_dev != parent.st_dev)
        rc = err_set(e, ERR_EXISTS, "%s is where something is mounted; name a new folder below it", d->path);
    else
        memcpy(d->path, real, strlen(real) + 1);
    free(real);
    close(fd);
    return rc;
}

/* PATH.partial is there: only what an interrupted run left is removed. */
static int clear_partial(struct newdir *d, struct err *e)
{
    struct stat st;
    int fd = open(d->partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_sys(e, ERR_EXISTS, errno, "%s is in the way", d->partial);
    int rc = 0;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        rc = err_set(e, ERR_BUSY, "%s is being written by another run", d->partial);
    else if (fstatat(fd, marker, &st, AT_SYMLINK_NOFOLLOW) < 0 && !is_empty(fd))
        rc = err_set(e, ERR_EXISTS, "%s is in the way, and is not what an interrupted run left; remove it yourself",
                     d->partial);
    else if (file_remove_tree(AT_FDCWD, d->partial) < 0)
        rc = err_sys(e, ERR_IO, errno, "%s cannot be removed", d->partial);
    close(fd);
    return rc;
}

int newdir_open(struct newdir *d, const char *path, struct err *e)
{
    *d = (struct newdir){.fd = -1};
    int rc = settle_path(d, path, e);
    if (rc < 0)
        return rc;
    (void)snprintf(d->partial, sizeof d->partial, "%s.partial", d->path);
    if (mkdir(d->partial, 0700) < 0) {
        if (errno != EEXIST)
            return err_sys(e, ERR_IO, errno, "%s cannot be made", d->partial);
        rc = clear_partial(d, e);
        if (rc == 0 && mkdir(d->partial, 0700) < 0)
            rc = err_sys(e, ERR_IO, errno, "%s cannot be made", d->partial);
        if (rc < 0)
            return rc;
    }
    d->fd = open(d->partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (d->fd < 0 || flock(d->fd, LOCK_EX | LOCK_NB) < 0)
        rc = err_sys(e, ERR_IO, errno, "%s cannot be opened", d->partial);
    else
        rc = file_write_durable(d->fd, marker, "", 0, 0600, e);
    if (rc < 0)
        newdir_discard(d);
    return rc;
}

static int sync_parent(const char *path)
{
    char copy[PATH_MAX];
    (void)snprintf(copy, sizeof copy, "%s", path);
    char *slash = strrchr(copy, '/');
    if (slash == copy)
        slash++;
    if (slash != NULL)
        *slash = '\0';
    int fd = open(slash != NULL ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) < 0 ? ERR_IO : 0;
    fd_close(&fd);
    return rc;
}

int newdir_publish(struct newdir *d, struct err *e)
{
    int rc = 0;
    if (unlinkat(d->fd, marker, 0) < 0 || fsync(d->fd) < 0)
        rc = err_sys(e, ERR_IO, errno, "%s", d->partial);
    else if (rename(d->partial, d->path) < 0)
        rc = err_sys(e, ERR_IO, errno, "%s cannot be named %s", d->partial, d->path);
    else if (sync_parent(d->path) < 0)
        rc = err_sys(e, ERR_IO, errno, "%s: its folder cannot be synced", d->path);
    if (rc < 0)
        newdir_discard(d);
    else
        fd_close(&d->fd);
    return rc;
}

void newdir_discard(struct newdir *d)
{
    if (d->fd >= 0 && file_remove_tree(AT_FDCWD, d->partial) < 0)
        (void)fprintf(stderr, "bide: %s could not be removed; it holds no whole backup\n", d->partial);
    fd_close(&d->fd);
}
