/* The packages as a whole: walking them, and keeping all of them while a copy of the store is made. */
#include "priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdutil.h"

void registry_code_hold(struct registry *r)
{
    pthread_mutex_lock(&r->code_mu); /* a removal that has begun ends first */
    pthread_mutex_lock(&r->mu);
    r->holds++;
    pthread_mutex_unlock(&r->mu);
    pthread_mutex_unlock(&r->code_mu);
}

void registry_code_unhold(struct registry *r)
{
    pthread_mutex_lock(&r->mu);
    BIDE_ASSERT(r->holds > 0, "packages released more often than held");
    r->holds--;
    pthread_mutex_unlock(&r->mu);
}

/* name is "<64 hex>.zip": its SHA-256 into out. */
static bool is_package(const char *name, char out[SHA256_HEX_LEN + 1])
{
    size_t n = strspn(name, "0123456789abcdef");
    if (n != SHA256_HEX_LEN || strcmp(name + n, ".zip") != 0)
        return false;
    memcpy(out, name, n);
    out[n] = '\0';
    return true;
}

int registry_code_each(struct registry *r, registry_package_cb *cb, void *arg)
{
    char sha256[SHA256_HEX_LEN + 1];
    struct stat st;
    int fd = openat(r->code_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        fd_close(&fd);
        return ERR_IO;
    }
    int rc = 0;
    struct dirent *de;
    while (rc == 0 && (errno = 0, de = readdir(d)) != NULL) {
        if (!is_package(de->d_name, sha256))
            continue;
        int zip = openat(r->code_fd, de->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (zip < 0 || fstat(zip, &st) < 0)
            rc = ERR_IO;
        else if (S_ISREG(st.st_mode))
            rc = cb(sha256, zip, st.st_size, arg);
        fd_close(&zip);
    }
    if (rc == 0 && errno != 0)
        rc = ERR_IO;
    closedir(d);
    return rc;
}

int registry_walk(struct store *s, registry_walk_cb *cb, void *arg, struct err *e)
{
    struct store_table *tab;
    struct store_txn *t;
    struct store_cursor *c;
    struct slice key, val;
    int rc = store_table(s, "function", &tab, e);
    if (rc < 0)
        return rc;
    rc = store_read_begin(s, &t);
    if (rc < 0)
        return err_set(e, rc, "functions: %s", err_name(rc));
    rc = store_cursor_open(t, tab, &c);
    if (rc == 0) {
        for (rc = store_cursor_seek(c, NULL, 0, &key, &val); rc == 0; rc = store_cursor_next(c, &key, &val)) {
            const struct function *f = NULL;
            char name[FUNCTION_NAME_MAX + 1];
            size_t n = key.len < sizeof(name) ? key.len : sizeof(name) - 1;
            memcpy(name, key.p, n);
            name[n] = '\0';
            rc = function_decode(val.p, val.len, &f);
            if (rc < 0 && rc != ERR_CORRUPT)
                break;
            cb(name, rc == 0 ? f : NULL, arg);
            function_unref(f);
        }
        store_cursor_close(c);
    }
    store_read_end(t);
    if (rc == ERR_NOTFOUND)
        return 0;
    return err_set(e, rc, rc == ERR_VERSION ? "functions: written by a newer bide" : "functions cannot be read (%s)",
                   err_name(rc));
}
