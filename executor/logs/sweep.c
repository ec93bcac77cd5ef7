/* Age and size: what is past retention goes, and of a function that is over its size the oldest files do. When all
 * together are too much, those that have the most give first: a flood never costs another function its logs. On the
 * writing thread.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "priv.h"

/* --- listing ------------------------------------------------------------------------------------------------------ */

static int add_segment(struct segments *v, const struct segment *s)
{
    if (v->n == v->cap) {
        size_t cap = v->cap > 0 ? 2 * v->cap : 32;
        struct segment *more = realloc(v->v, cap * sizeof *more);
        if (more == NULL)
            return ERR_NOMEM;
        v->v = more;
        v->cap = cap;
    }
    v->v[v->n++] = *s;
    return 0;
}

int segments_list(int dir_fd, const char *function, struct segments *ret)
{
    *ret = (struct segments){0};
    int fd = logs_open_beneath(dir_fd, function, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
    DIR *d = fdopendir(fd);
    if (d == NULL) {
        close(fd);
        return ERR_NOMEM;
    }
    int rc = 0;
    for (struct dirent *e; rc == 0 && (e = readdir(d)) != NULL;) {
        struct segment s;
        struct stat st;
        if (!name_parse_file(e->d_name, s.base, &s.n) || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode))
            continue; /* nothing of ours, or gone meanwhile */
        s.mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
        s.size = (uint64_t)st.st_size;
        s.disk = (uint64_t)st.st_blocks * 512;
        rc = add_segment(ret, &s);
    }
    (void)closedir(d);
    return rc;
}

/* --- one function ------------------------------------------------------------------------------------------------- */

static int by_age(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;
    if (x->mtime_ms != y->mtime_ms)
        return x->mtime_ms < y->mtime_ms ? -1 : 1;
    int c = strcmp(x->base, y->base);
    return c != 0 ? c : x->n < y->n ? -1 : x->n > y->n;
}

/* An empty file still takes its place in the folder. */
static uint64_t weight(const struct segment *s)
{
    return s->disk > s->size ? s->disk : s->size;
}

static void drop(struct logs *l, const char *function, const struct segment *s)
{
    char file[NAME_FILE_MAX], path[80 + NAME_FILE_MAX];
    name_file(s->base, s->n, file);
    (void)snprintf(path, sizeof path, "%.64s/%s", function, file);
    write_forget(l, function, s->base, s->n);
    (void)unlinkat(l->dir_fd, path, 0);
}

/* Remove what is too old, and then the oldest until `most` bytes are left. What is left. */
static uint64_t trim(struct logs *l, const char *function, uint64_t most)
{
    struct segments v;
    uint64_t left = 0;
    int64_t oldest = l->io.real_ms(l->io.arg) - l->w.retention_ms;
    if (segments_list(l->dir_fd, function, &v) == 0) {
        if (v.n > 0)
            qsort(v.v, v.n, sizeof *v.v, by_age);
        for (size_t i = 0; i < v.n; i++)
            left += weight(&v.v[i]);
        for (size_t i = 0; i < v.n; i++) {
            if (v.v[i].mtime_ms >= oldest && left <= most && v.n - i <= FILES_MAX)
                break;
            drop(l, function, &v.v[i]);
            left -= weight(&v.v[i]);
        }
        if (left == 0)
            (void)unlinkat(l->dir_fd, function, AT_REMOVEDIR); /* refused while there is anything in it */
    }
    free(v.v);
    return left;
}

/* A little more than needed, so that the next line does not bring us back. */
static uint64_t below(uint64_t most)
{
    return most - most / 8;
}

void sweep_function(struct logs *l, struct logs_fn *f)
{
    if (!f->counted) {
        f->bytes = trim(l, f->name, l->w.function_max_bytes);
        f->counted = true;
    }
    if (f->bytes <= l->w.function_max_bytes)
        return;
    uint64_t had = f->bytes;
    f->bytes = trim(l, f->name, below(l->w.function_max_bytes));
    l->total -= had - f->bytes < l->total ? had - f->bytes : l->total;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

struct share {
    char name[65];
    uint64_t bytes;
};

struct shares {
    struct share *v;
    size_t n, cap;
};

static bool add_share(struct shares *all, const char *name)
{
    if (all->n == all->cap) {
        size_t cap = all->cap > 0 ? 2 * all->cap : 64;
        struct share *more = realloc(all->v, cap * sizeof *more);
        if (more == NULL)
            return false;
        all->v = more;
        all->cap = cap;
    }
    struct share *s = &all->v[all->n++];
    (void)snprintf(s->name, sizeof s->name, "%s", name);
    s->bytes = 0;
    return true;
}

/* Every folder that can be a function's; there are as many as functions that have logged within the retention. */
static void list_shares(struct logs *l, struct shares *all)
{
    int fd = logs_open_beneath(l->dir_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (d == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (name_function_ok(e->d_name) && !add_share(all, e->d_name))
            break;
    (void)closedir(d);
}

static int most_first(const void *a, const void *b)
{
    const struct share *x = a, *y = b;
    return x->bytes > y->bytes ? -1 : x->bytes < y->bytes;
}

/* The most that one may keep so that all keep no more than max together: those that have less keep all they have. */
static uint64_t level(const struct shares *all, uint64_t total, uint64_t max)
{
    uint64_t rest = total; /* of those not looked at yet */
    for (size_t i = 0; i < all->n; i++) {
        rest -= all->v[i].bytes;
        uint64_t each = rest < max ? (max - rest) / (i + 1) : 0;
        uint64_t next = i + 1 < all->n ? all->v[i + 1].bytes : 0;
        if (each >= next)
            return each;
    }
    return 0;
}

static void forget_idle_functions(struct logs *l)
{
    struct logs_fn *f, *next;
    int64_t now = l->io.mono_ms(l->io.arg);
    pthread_mutex_lock(&l->mu);
    HASH_ITER (hh, l->fns, f, next) {
        f->counted = false;
        if (f->streams > 0 || now - f->used_at_ms < SWEEP_MS)
            continue;
        HASH_DEL(l->fns, f);
        free(f);
    }
    l->stats.bytes = l->total;
    pthread_mutex_unlock(&l->mu);
}

void sweep_all(struct logs *l)
{
    struct shares all = {0};
    uint64_t total = 0;
    list_shares(l, &all);
    for (size_t i = 0; i < all.n; i++)
        total += all.v[i].bytes = trim(l, all.v[i].name, l->w.function_max_bytes);
    if (total > l->w.max_bytes) {
        qsort(all.v, all.n, sizeof *all.v, most_first);
        uint64_t most = level(&all, total, below(l->w.max_bytes));
        for (size_t i = 0; i < all.n && all.v[i].bytes > most; i++) {
            total -= all.v[i].bytes;
            total += trim(l, all.v[i].name, most);
        }
    }
    free(all.v);
    l->total = total;
    l->wrote = false;
    (void)write_disk_has_room(l); /* so that a disk that has room again is not called full while nobody logs */
    l->swept_ms = l->io.mono_ms(l->io.arg);
    forget_idle_functions(l);
}
