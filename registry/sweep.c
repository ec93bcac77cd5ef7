/* Removing packages that nothing names. At start only: no worker runs yet, so nothing can be using them. */
#include "priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fdutil.h"

/* "<64 hex>", "<64 hex>.zip", or what a durable write leaves beside them; ".new-..." is an unpacking cut short.
 * Anything else was not put there by us and is not ours to remove. */
static bool is_ours(const char *name)
{
    return strncmp(name, ".new-", 5) == 0 || strspn(name, "0123456789abcdef") >= SHA256_HEX_LEN ||
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
