#include "intake.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "base/hash.h"
#include "base/num.h"

/* So much at a time goes to the disk: what gathers in memory would be written in one burst, for which every sync of the
 * daemon on the same disk would have to wait. */
enum { HEAD_MAX = 128, SPILL_BYTES = 4 << 20 };

struct intake {
    int dir_fd, queue_fd, code_fd;
    char head[HEAD_MAX];
    size_t head_len;
    uint64_t left; /* of the data line in hand */
    bool begun, ended;
    uint64_t files, bytes, packages;
    /* the file in hand */
    int fd;
    char name[HEAD_MAX];
    uint64_t at, spilled;
    struct sha256 *hash; /* of a package */
};

static int cannot_write(const struct intake *x, struct err *e)
{
    int sys = errno;
    return err_sys(e, sys == ENOSPC || sys == EDQUOT ? ERR_FULL : ERR_IO, sys, "%s cannot be written", x->name);
}

/* --- one file ----- */

/* NAME may be in a backup: its folder and its name there. */
static bool place(const struct intake *x, const char *name, int *ret_fd, const char **ret_leaf, bool *ret_package)
{
    *ret_package = false;
    *ret_fd = x->dir_fd;
    *ret_leaf = name;
    if (strcmp(name, "credentials") == 0)
        return true;
    if (strcmp(name, "queue/data.mdb") == 0) {
        *ret_fd = x->queue_fd;
        *ret_leaf = name + 6;
        return true;
    }
    if (strncmp(name, "code/", 5) != 0)
        return false;
    *ret_fd = x->code_fd;
    *ret_leaf = name + 5;
    *ret_package = true;
    return strspn(*ret_leaf, "0123456789abcdef") == SHA256_HEX_LEN && strcmp(*ret_leaf + SHA256_HEX_LEN, ".zip") == 0;
}

static int begin_file(struct intake *x, const char *name, struct err *e)
{
    int folder;
    const char *leaf;
    bool package;
    if (!place(x, name, &folder, &leaf, &package))
        return err_set(e, ERR_INVALID, "the answer names a file that no backup has: %s", name);
    (void)snprintf(x->name, sizeof x->name, "%s", name);
    x->at = x->spilled = 0;
    x->files++;
    x->fd = openat(folder, leaf, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, package ? 0644 : 0600);
    if (x->fd < 0)
        return cannot_write(x, e);
    if (package && sha256_new(&x->hash) < 0)
        return err_set(e, ERR_NOMEM, "out of memory");
    return 0;
}

/* What was written up to now to the disk, and out of memory: nobody will read it soon. */
static int spill(struct intake *x, struct err *e)
{
    if (fdatasync(x->fd) < 0)
        return cannot_write(x, e);
    (void)posix_fadvise(x->fd, (off_t)x->spilled, (off_t)(x->at - x->spilled), POSIX_FADV_DONTNEED);
    x->spilled = x->at;
    return 0;
}

static int write_data(struct intake *x, const void *p, size_t len, struct err *e)
{
    if (x->fd < 0)
        return err_set(e, ERR_INVALID, "the answer is not a backup: data of no file");
    if (fd_write_all(x->fd, p, len) < 0)
        return cannot_write(x, e);
    if (x->hash != NULL)
        sha256_update(x->hash, p, len);
    x->at += len;
    x->bytes += len;
    return x->at - x->spilled >= SPILL_BYTES ? spill(x, e) : 0;
}

static int end_file(struct intake *x, struct err *e)
{
    uint8_t sum[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1];
    int rc = 0;
    if (x->fd < 0)
        return 0;
    if (x->hash != NULL) {
        sha256_final(x->hash, sum);
        sha256_free(x->hash);
        x->hash = NULL;
        hex_encode(sum, sizeof sum, hex);
        if (strncmp(x->name + 5, hex, SHA256_HEX_LEN) != 0)
            rc = err_set(e, ERR_CORRUPT,
                         "%s is not what its name says: the package is damaged in the daemon's own "
                         "data directory",
                         x->name);
        x->packages++;
    }
    if (rc == 0 && (fsync(x->fd) < 0 || posix_fadvise(x->fd, 0, 0, POSIX_FADV_DONTNEED) != 0))
        rc = cannot_write(x, e);
    fd_close(&x->fd);
    return rc;
}

/* --- the stream ----- */

static bool number_after(const char *line, const char *word, uint64_t *ret)
{
    size_t n = strlen(word);
    return strncmp(line, word, n) == 0 && num_parse_u64(line + n, strlen(line + n), ret) == 0;
}

static int take_end(struct intake *x, const char *line, struct err *e)
{
    char want[HEAD_MAX];
    (void)snprintf(want, sizeof want, "end %" PRIu64 " %" PRIu64, x->files, x->bytes);
    if (strcmp(line, want) != 0)
        return err_set(e, ERR_CORRUPT, "the backup is not whole: \"%s\", but \"%s\" came", line, want);
    x->ended = true;
    return end_file(x, e);
}

static int take_line(struct intake *x, const char *line, struct err *e)
{
    if (!x->begun) {
        x->begun = strcmp(line, "bide-backup 1") == 0;
        return x->begun ? 0
                        : err_set(e, ERR_INVALID, "the answer is not a backup that this version can read: %s", line);
    }
    if (number_after(line, "data ", &x->left))
        return 0;
    if (strncmp(line, "file ", 5) == 0) {
        int rc = end_file(x, e);
        return rc < 0 ? rc : begin_file(x, line + 5, e);
    }
    if (strncmp(line, "end ", 4) == 0)
        return take_end(x, line, e);
    return err_set(e, ERR_INVALID, "the answer is not a backup: \"%s\"", line);
}

int intake_take(struct intake *x, const void *p, size_t len, struct err *e)
{
    const char *at = p, *end = at + len;
    while (at < end) {
        int rc = 0;
        if (x->ended)
            return err_set(e, ERR_INVALID, "the answer goes on after its end");
        if (x->left > 0) {
            size_t n = (size_t)(end - at) < x->left ? (size_t)(end - at) : (size_t)x->left;
            rc = write_data(x, at, n, e);
            x->left -= n;
            at += n;
        } else if (*at++ != '\n') {
            if (x->head_len == sizeof x->head - 1)
                return err_set(e, ERR_INVALID, "the answer is not a backup: it has no lines");
            x->head[x->head_len++] = at[-1];
        } else {
            x->head[x->head_len] = '\0';
            x->head_len = 0;
            rc = take_line(x, x->head, e);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

int intake_end(struct intake *x, struct err *e)
{
    if (!x->ended)
        return err_set(e, ERR_CORRUPT, "the backup was cut after %" PRIu64 " bytes", x->bytes);
    if (fsync(x->queue_fd) < 0 || fsync(x->code_fd) < 0 || fsync(x->dir_fd) < 0)
        return err_sys(e, ERR_IO, errno, "the backup's folders cannot be synced");
    return 0;
}

/* --- its life ----- */

static int make_folder(int dir_fd, const char *name, int *ret_fd, struct err *e)
{
    if (mkdirat(dir_fd, name, 0700) == 0)
        *ret_fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return *ret_fd < 0 ? err_sys(e, ERR_IO, errno, "%s/ cannot be made", name) : 0;
}

int intake_new(struct intake **ret, int dir_fd, struct err *e)
{
    struct intake *x = calloc(1, sizeof *x);
    if (x == NULL)
        return err_set(e, ERR_NOMEM, "out of memory");
    x->dir_fd = dir_fd;
    x->queue_fd = x->code_fd = x->fd = -1;
    int rc = make_folder(dir_fd, "queue", &x->queue_fd, e);
    if (rc == 0)
        rc = make_folder(dir_fd, "code", &x->code_fd, e);
    if (rc < 0)
        intake_free(x);
    else
        *ret = x;
    return rc;
}

void intake_free(struct intake *x)
{
    if (x == NULL)
        return;
    sha256_free(x->hash);
    fd_close(&x->fd);
    fd_close(&x->queue_fd);
    fd_close(&x->code_fd);
    free(x);
}

uint64_t intake_bytes(const struct intake *x)
{
    return x->bytes;
}

uint64_t intake_packages(const struct intake *x)
{
    return x->packages;
}
