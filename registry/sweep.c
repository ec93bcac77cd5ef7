/* Removing packages that nothing needs: at start, when no worker runs yet, and again and again as functions change. */
#include "priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdutil.h"

enum { SWEEP_MAX = 256 }; /* packages one registry_sweep looks at */

/* "<64 hex>", "<64 hex>.zip", or what a durable write leaves beside them; ".new-..." is an unpacking cut short,
 * ".old-..." a removal. Anything else was not put there by us and is not ours to remove. */
static bool is_ours(const char *name)
{
    return strncmp(name, ".new-", 5) == 0 || strncmp(name, ".old-", 5) == 0 ||
           strspn(name, "0123456789abcdef") >= SHA256_HEX_LEN ||
           (name[0] == '.' && strspn(name + 1, "0123456789abcdef") >= SHA256_HEX_LEN);
}

static bool is_named(struct registry *r, const char *name)
{
    size_t n = strspn(name, "0123456789abcdef");
    if (n != SHA256_HEX_LEN || (name[n] != '\0' && strcmp(name + n, ".zip") != 0))
        return false;
    for (size_t i = 0; i < r->n; i++)
        if (memcmp(r->by_fid[i]->code_sha256, name, SHA256_HEX_LEN) == 0)
            return true;
    return false;
}

int sweep(struct registry *r, struct err *e)
{
    int fd = openat(r->code_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        int sys = errno;
        fd_close(&fd);
        return err_sys(e, ERR_IO, sys, "code folder");
    }
    int rc = 0;
    struct dirent *de;
    while (rc == 0 && (errno = 0, de = readdir(d)) != NULL) {
        if (!is_ours(de->d_name) || is_named(r, de->d_name))
            continue;
        if (file_remove_tree(r->code_fd, de->d_name) < 0)
            rc = err_sys(e, ERR_IO, errno, "code folder: removing %s", de->d_name);
    }
    if (rc == 0 && errno != 0)
        rc = err_sys(e, ERR_IO, errno, "code folder");
    closedir(d);
    return rc;
}

/* --- while functions change ----- */

int registry_code_use(struct registry *r, const char *sha256)
{
    return pin(r, sha256);
}

void registry_code_unuse(struct registry *r, const char *sha256)
{
    pthread_mutex_lock(&r->mu);
    (void)unpin(r, sha256); /* it was named once: the sweep sees to it */
    pthread_mutex_unlock(&r->mu);
}

static bool is_needed(struct registry *r, const char *sha256)
{
    pthread_mutex_lock(&r->mu);
    bool needed = r->holds > 0 || is_named(r, sha256);
    for (const struct pin *p = r->pins; p && !needed; p = p->next)
        needed = strcmp(p->sha256, sha256) == 0;
    pthread_mutex_unlock(&r->mu);
    return needed;
}

static bool is_listed(char (*list)[SHA256_HEX_LEN + 1], size_t n, const char *sha256)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(list[i], sha256, SHA256_HEX_LEN) == 0)
            return true;
    return false;
}

/* The unneeded packages among those there are, at most SWEEP_MAX: what is left is found by a later call. */
static size_t find_unneeded(struct registry *r, char (*list)[SHA256_HEX_LEN + 1])
{
    char sha256[SHA256_HEX_LEN + 1] = "";
    size_t n = 0;
    int fd = openat(r->code_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        fd_close(&fd);
        return 0;
    }
    struct dirent *de;
    while (n < SWEEP_MAX && (de = readdir(d)) != NULL) {
        size_t len = strspn(de->d_name, "0123456789abcdef");
        if (len != SHA256_HEX_LEN || (de->d_name[len] != '\0' && strcmp(de->d_name + len, ".zip") != 0))
            continue;
        memcpy(sha256, de->d_name, len);
        if (!is_listed(list, n, sha256) && !is_needed(r, sha256))
            memcpy(list[n++], sha256, sizeof(sha256));
    }
    closedir(d);
    return n;
}

static void remove_unneeded(struct registry *r, const char *sha256)
{
    pthread_mutex_lock(&r->code_mu); /* the same bytes may be added just now */
    if (!is_needed(r, sha256))
        code_remove(r, sha256);
    pthread_mutex_unlock(&r->code_mu);
}

void sweep_wanted(struct registry *r)
{
    atomic_store(&r->sweep_due, true);
    if (r->on_sweep_due)
        r->on_sweep_due(r->on_sweep_due_arg);
}

bool registry_sweep_due(const struct registry *r)
{
    return atomic_load(&r->sweep_due);
}

void registry_sweep(struct registry *r)
{
    if (!atomic_exchange(&r->sweep_due, false))
        return;
    if (atomic_exchange(&r->unfinished, false))
        change_complete_all(r);
    if (r->keep_all)
        return;
    char(*now)[SHA256_HEX_LEN + 1] = calloc(SWEEP_MAX, sizeof(*now));
    size_t n = now ? find_unneeded(r, now) : 0, kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (is_listed(r->doubtful, r->n_doubtful, now[i]))
            remove_unneeded(r, now[i]);
        else
            memmove(now[kept++], now[i], sizeof(*now));
    }
    free(r->doubtful);
    r->doubtful = now;
    r->n_doubtful = kept;
    pthread_mutex_lock(&r->mu);
    bool again = kept > 0 || n == SWEEP_MAX || r->holds > 0 || !now;
    pthread_mutex_unlock(&r->mu);
    if (again)
        sweep_wanted(r);
}
