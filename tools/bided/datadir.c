#include "datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdutil.h"
#include "base/hash.h"
#include "base/num.h"

/* The folder in which a folder was made, to disk: else a power cut may take the whole directory away, with all that was
 * synced in it. */
static int sync_above(const char *made, struct err *e)
{
    int fd = open(made, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int above = fd < 0 ? -1 : openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc =
        above < 0 || fsync(above) < 0 ? err_sys(e, ERR_IO, errno, "data directory: cannot sync above %s", made) : 0;
    fd_close(&above);
    fd_close(&fd);
    return rc;
}

/* mkdir -p, each new folder 0700. */
static int make_path(const char *path, struct err *e)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return err_set(e, ERR_NOMEM, "%s: out of memory", path);
    int rc = 0;
    for (char *p = copy + 1; rc == 0; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char keep = *p;
        *p = '\0';
        if (mkdir(copy, 0700) == 0)
            rc = sync_above(copy, e);
        else if (errno != EEXIST)
            rc = err_sys(e, ERR_IO, errno, "data directory: cannot make %s", copy);
        *p = keep;
        if (keep == '\0')
            break;
    }
    free(copy);
    return rc;
}

static int own(const struct datadir *d, int fd, const char *what, struct err *e)
{
    if (geteuid() != 0)
        return 0;
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_uid == d->uid)
        return 0;
    if (fchown(fd, d->uid, d->gid) < 0)
        return err_sys(e, ERR_IO, errno, "data directory: cannot give %s to uid %u", what, (unsigned)d->uid);
    return 0;
}

static int make_folder(const struct datadir *d, const char *name, int *ret_fd, struct err *e)
{
    if (mkdirat(d->fd, name, 0700) < 0 && errno != EEXIST)
        return err_sys(e, ERR_IO, errno, "data directory: cannot make %s/", name);
    int fd = openat(d->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_sys(e, ERR_IO, errno, "data directory: cannot open %s/", name);
    int rc = own(d, fd, name, e);
    if (rc < 0 || ret_fd == NULL)
        close(fd);
    else
        *ret_fd = fd;
    return rc;
}

/* A file that the engine must be able to open. With a second name it may be somebody else's, linked to here. */
static int own_file(const struct datadir *d, int folder_fd, const char *name, struct err *e)
{
    int rc = 0;
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
        rc = own(d, fd, name, e);
    fd_close(&fd);
    return rc;
}

/* What lies in queue/ and code/ too: a backup that root has copied back belongs to root. */
static int own_content(const struct datadir *d, struct err *e)
{
    int rc = own_file(d, d->fd, "queue/data.mdb", e);
    if (rc == 0)
        rc = own_file(d, d->fd, "queue/lock.mdb", e);
    int fd = openat(d->code_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *code = fd < 0 ? NULL : fdopendir(fd);
    if (code == NULL) {
        fd_close(&fd);
        return rc < 0 ? rc : err_sys(e, ERR_IO, errno, "data directory: cannot read code/");
    }
    const struct dirent *de;
    while (rc == 0 && (de = readdir(code)) != NULL) {
        const char *dot = strrchr(de->d_name, '.');
        if (dot != NULL && strcmp(dot, ".zip") == 0)
            rc = own_file(d, d->code_fd, de->d_name, e);
    }
    (void)closedir(code);
    return rc;
}

static int open_lock(const struct datadir *d, const char *name, int *ret_fd, struct err *e)
{
    int fd = openat(d->fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_sys(e, ERR_IO, errno, "data directory: cannot open %s", name);
    *ret_fd = fd;
    return 0;
}

/* flock with a deadline: the kernel has no timed form, and a signal-driven one would race. */
static int lock_within(int fd, int64_t deadline_ms)
{
    for (;;) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return ERR_IO;
        if (clock_mono_ms() >= deadline_ms)
            return ERR_BUSY;
        struct timespec ts = {.tv_nsec = 10 * 1000 * 1000};
        (void)nanosleep(&ts, NULL);
    }
}

static void holder(int fd, char *out, size_t cap)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    uint64_t pid;
    while (n > 0 && text[n - 1] == '\n')
        n--;
    if (n > 0 && num_parse_u64(text, (size_t)n, &pid) == 0)
        (void)snprintf(out, cap, "another bided (pid %llu) is running on it", (unsigned long long)pid);
    else
        (void)snprintf(out, cap, "another bided is running on it");
}

static int take_locks(struct datadir *d, const char *path, struct err *e)
{
    int64_t deadline = clock_mono_ms() + DATADIR_LOCK_WAIT_MS;
    char who[96];
    int rc = open_lock(d, "lock", &d->lock_fd, e);
    if (rc < 0)
        return rc;
    rc = lock_within(d->lock_fd, deadline);
    if (rc < 0) {
        holder(d->lock_fd, who, sizeof who);
        return rc == ERR_BUSY ? err_set(e, rc, "%s is in use: %s; stop it first", path, who)
                              : err_sys(e, rc, errno, "%s/lock cannot be locked", path);
    }
    rc = open_lock(d, "workers.lock", &d->workers_fd, e);
    if (rc < 0)
        return rc;
    rc = lock_within(d->workers_fd, deadline);
    if (rc < 0)
        return rc == ERR_BUSY
                   ? err_set(e, rc, "%s/workers.lock is still held: workers of an earlier bided live on", path)
                   : err_sys(e, rc, errno, "%s/workers.lock cannot be locked", path);
    (void)flock(d->workers_fd, LOCK_UN);

    char pid[24];
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    errno = ENOSPC; /* what a write that stops halfway does not say */
    if (ftruncate(d->lock_fd, 0) < 0 || pwrite(d->lock_fd, pid, (size_t)n, 0) != n)
        return err_sys(e, ERR_IO, errno, "%s/lock cannot be written", path);
    return 0;
}

int datadir_open(struct datadir *d, const char *path, uid_t uid, gid_t gid, struct err *e)
{
    *d = (struct datadir){.fd = -1, .code_fd = -1, .lock_fd = -1, .workers_fd = -1, .uid = uid, .gid = gid};
    int rc = make_path(path, e);
    if (rc < 0)
        return rc;
    d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->fd < 0)
        return err_sys(e, ERR_IO, errno, "data directory %s cannot be opened", path);
    if (faccessat(d->fd, ".", W_OK | X_OK, AT_EACCESS) < 0) {
        rc = err_sys(e, ERR_IO, errno, "data directory %s cannot be written to", path);
        goto fail;
    }
    if (faccessat(d->fd, "incomplete", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        rc =
            err_set(e, ERR_CORRUPT, "%s is what an interrupted `bide backup` has left, and not whole: remove it", path);
        goto fail;
    }
    /* Locks before anything is touched: the other daemon's endpoint file must survive a second start. */
    rc = take_locks(d, path, e);
    if (rc == 0)
        rc = own(d, d->fd, path, e);
    if (rc == 0)
        rc = make_folder(d, "queue", NULL, e);
    if (rc == 0 && file_remove_tree(d->fd, "queue.compact") < 0) /* of a `bide compact` that was killed */
        rc = err_sys(e, ERR_IO, errno, "data directory: cannot remove queue.compact");
    if (rc == 0)
        rc = make_folder(d, "code", &d->code_fd, e);
    if (rc == 0)
        rc = own_content(d, e);
    if (rc == 0)
        rc = make_folder(d, "logs", NULL, e);
    if (rc == 0 && unlinkat(d->fd, "endpoint", 0) < 0 && errno != ENOENT)
        rc = err_sys(e, ERR_IO, errno, "data directory: cannot remove the old endpoint file");
    if (rc < 0)
        goto fail;
    return 0;
fail:
    datadir_close(d);
    return rc;
}

void datadir_close(struct datadir *d)
{
    fd_close(&d->code_fd);
    fd_close(&d->workers_fd);
    fd_close(&d->lock_fd);
    fd_close(&d->fd);
}

/* The value of `key = value` within text, or false. */
static bool ini_value(const char *text, const char *key, char *out, size_t cap)
{
    size_t key_len = strlen(key);
    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        size_t len = end != NULL ? (size_t)(end - line) : strlen(line);
        const char *eq = memchr(line, '=', len);
        if (eq != NULL) {
            const char *k = line, *k_end = eq, *v = eq + 1, *v_end = line + len;
            while (k < k_end && (*k == ' ' || *k == '\t'))
                k++;
            while (k_end > k && (k_end[-1] == ' ' || k_end[-1] == '\t'))
                k_end--;
            while (v < v_end && (*v == ' ' || *v == '\t'))
                v++;
            while (v_end > v && (v_end[-1] == ' ' || v_end[-1] == '\t' || v_end[-1] == '\r'))
                v_end--;
            if ((size_t)(k_end - k) == key_len && memcmp(k, key, key_len) == 0 && (size_t)(v_end - v) < cap &&
                v_end > v) {
                memcpy(out, v, (size_t)(v_end - v));
                out[v_end - v] = '\0';
                return true;
            }
        }
        line = end != NULL ? end + 1 : NULL;
    }
    return false;
}

/* n characters drawn evenly from alphabet (64 or 32 letters, so that a byte needs no rejection). */
static void random_text(char *out, size_t n, const char *alphabet, unsigned mask)
{
    uint8_t raw[64];
    rng_bytes(raw, n);
    for (size_t i = 0; i < n; i++)
        out[i] = alphabet[raw[i] & mask];
    out[n] = '\0';
}

static int make_credentials(const struct datadir *d, struct err *e)
{
    char id[17], secret[41], text[256];
    random_text(id, 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 31);
    random_text(secret, 40, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 63);
    int n =
        snprintf(text, sizeof text, "[default]\naws_access_key_id = AKIA%s\naws_secret_access_key = %s\n", id, secret);
    return file_write_durable(d->fd, "credentials", text, (size_t)n, 0600, e);
}

int datadir_credentials(const struct datadir *d, struct api_key *ret, struct err *e)
{
    struct buf text;
    buf_init(&text, 65536);
    int rc = file_read(d->fd, "credentials", &text);
    if (rc == ERR_NOTFOUND) {
        rc = make_credentials(d, e);
        if (rc < 0)
            goto out;
        rc = file_read(d->fd, "credentials", &text);
    }
    if (rc < 0)
        (void)err_sys(e, rc, errno, "data directory: cannot read credentials");
    if (rc == 0 && (!ini_value(text.data, "aws_access_key_id", ret->id, sizeof ret->id) ||
                    !ini_value(text.data, "aws_secret_access_key", ret->secret, sizeof ret->secret)))
        rc = err_set(e, ERR_INVALID,
                     "data directory: the file credentials has no aws_access_key_id and aws_secret_access_key; "
                     "mend it, or remove it to have a new pair made");
out:
    explicit_bzero(text.data, text.len);
    buf_done(&text);
    return rc;
}

int datadir_endpoint(int dir_fd, const char *url, struct err *e)
{
    char line[512];
    int n = snprintf(line, sizeof line, "%s\n", url);
    return file_write_durable(dir_fd, "endpoint", line, (size_t)n, 0644, e);
}
