#include "watch.h"

#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "pack_zip.h"

enum {
    STILL_MS = 150, /* without a change: an editor writes, renames and sets modes in one go */
    RETRY_MS = 500, /* looking for a path that was taken away */
    EVENTS =
        IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF
};

struct watch {
    const char *path;
    char folder[PATH_MAX]; /* what is watched: path, or the folder that holds the file */
    const char *only;      /* name of the file, NULL for a folder */
    int fd, signals;
    int root; /* watch of the folder itself, -1: it is gone */
};

/* *ret_wd is -1 when there is no such folder (any more). */
static int add(struct watch *w, const char *path, int *ret_wd, struct err *e)
{
    *ret_wd = inotify_add_watch(w->fd, path, EVENTS | IN_ONLYDIR);
    if (*ret_wd >= 0 || errno == ENOENT || errno == ENOTDIR)
        return 0;
    if (errno == ENOSPC)
        return err_set(e, ERR_FULL, "%s: no more folders can be watched; raise it: sysctl fs.inotify.max_user_watches",
                       path);
    return err_sys(e, ERR_IO, errno, "%s", path);
}

/* Watch every folder; those that are watched already stay so. */
static int scan(struct watch *w, struct err *e)
{
    char *const roots[] = {w->folder, NULL};
    int wd, rc = add(w, w->folder, &w->root, e);
    if (rc < 0 || w->root < 0 || w->only != NULL)
        return rc;
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, NULL);
    if (fts == NULL)
        return err_sys(e, ERR_IO, errno, "%s", w->folder);
    for (FTSENT *ent; rc == 0 && (ent = fts_read(fts)) != NULL;) {
        if (ent->fts_info != FTS_D || ent->fts_level == 0)
            continue;
        if (pack_leaves_out(ent->fts_path + strlen(w->folder)))
            (void)fts_set(fts, ent, FTS_SKIP);
        else
            rc = add(w, ent->fts_path, &wd, e);
    }
    (void)fts_close(fts);
    return rc;
}

int watch_open(struct watch **ret, const char *path, struct err *e)
{
    struct stat st;
    sigset_t set;
    struct watch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return err_set(e, ERR_NOMEM, "out of memory");
    *w = (struct watch){.path = path, .fd = -1, .signals = -1};
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    int rc = 0;
    if (stat(path, &st) < 0)
        rc = err_sys(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, errno, "%s", path);
    else if ((w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) < 0)
        rc = err_sys(e, ERR_IO, errno, "inotify");
    else if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || (w->signals = signalfd(-1, &set, SFD_CLOEXEC)) < 0)
        rc = err_sys(e, ERR_IO, errno, "signalfd");
    if (rc == 0) {
        const char *slash = strrchr(path, '/');
        bool folder = S_ISDIR(st.st_mode);
        w->only = folder ? NULL : slash != NULL ? slash + 1 : path;
        if (folder)
            (void)snprintf(w->folder, sizeof w->folder, "%s", path);
        else if (slash == NULL)
            (void)snprintf(w->folder, sizeof w->folder, ".");
        else
            (void)snprintf(w->folder, sizeof w->folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
        for (size_t n = strlen(w->folder); n > 1 && w->folder[n - 1] == '/'; n--)
            w->folder[n - 1] = '\0';
        rc = scan(w, e);
    }
    if (rc < 0) {
        watch_close(w);
        return rc;
    }
    *ret = w;
    return 0;
}

void watch_close(struct watch *w)
{
    if (w == NULL)
        return;
    fd_close(&w->fd);
    fd_close(&w->signals);
    free(w);
}

/* Whether it is about what will be deployed; *ret_scan when folders came or went. */
static bool matters(struct watch *w, const struct inotify_event *ev, bool *ret_scan)
{
    if ((ev->mask & IN_Q_OVERFLOW) != 0) {
        *ret_scan = true;
        return true;
    }
    if (ev->wd == w->root && (ev->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0) {
        w->root = -1;
        return true;
    }
    if (ev->len == 0)
        return false;
    if (w->only != NULL)
        return strcmp(ev->name, w->only) == 0;
    if (pack_leaves_out(ev->name))
        return false;
    *ret_scan |= (ev->mask & IN_ISDIR) != 0 && (ev->mask & (IN_CREATE | IN_MOVED_TO)) != 0;
    return true;
}

/* Takes what has come: 1 when something that matters was among it. */
static int drain(struct watch *w, struct err *e)
{
    char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool changed = false, rescan = false;
    for (ssize_t n; (n = read(w->fd, buf, sizeof buf)) > 0;)
        for (const char *p = buf; p < buf + n;) {
            const struct inotify_event *ev = (const struct inotify_event *)(const void *)p;
            changed |= matters(w, ev, &rescan);
            p += sizeof *ev + ev->len;
        }
    int rc = rescan ? scan(w, e) : 0;
    return rc < 0 ? rc : changed;
}

int watch_wait(struct watch *w, struct err *e)
{
    bool changed = false;
    for (;;) {
        struct pollfd p[] = {{.fd = w->fd, .events = POLLIN}, {.fd = w->signals, .events = POLLIN}};
        int n = poll(p, 2, w->root < 0 ? RETRY_MS : changed ? STILL_MS : -1);
        if (n < 0 && errno != EINTR)
            return err_sys(e, ERR_IO, errno, "poll");
        if (n > 0 && p[1].revents != 0)
            return 0;
        int rc = n > 0 ? drain(w, e) : 0;
        if (rc < 0)
            return rc;
        changed |= rc > 0;
        if (w->root < 0) {
            if ((rc = scan(w, e)) < 0)
                return rc;
            continue; /* there again: what it holds is deployed once it is still */
        }
        if (n == 0 && changed)
            return 1;
    }
}
