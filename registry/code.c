/* Code packages: a zip becomes code/<sha256>/ and code/<sha256>.zip, or nothing.
 *
 * Unpacking goes into a fresh folder of its own below code/, every step through openat2 with RESOLVE_BENEATH and
 * RESOLVE_NO_SYMLINKS, so a name cannot lead out of it even if the checks of zipdir.c let one through. What is inflated
 * is counted, not what the archive declares.
 */
#include "priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zip.h>

#include "base/fdutil.h"
#include "zipdir.h"

enum {
    UNZIPPED_MAX = 262144000, /* Lambda: 3.2 */
    INODES_MAX = 100000,      /* files and folders of one package */
    CHUNK = 64 * 1024,
};

struct unpacker {
    int root; /* the fresh folder */
    zip_t *za;
    struct zipdir dir;
    int64_t bytes;
    unsigned inodes;
    int parent; /* the folder the last file went into: entries come grouped */
    char parent_path[ZIPDIR_PATH_MAX + 1];
    char chunk[CHUNK];
    struct err *e;
};

static int open_beneath(int root, const char *path, uint64_t flags, uint64_t mode)
{
    struct open_how how = {
        .flags = flags | O_CLOEXEC,
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    };
    return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

static int count_inode(struct unpacker *u)
{
    if (++u->inodes > INODES_MAX)
        return err_set(u->e, ERR_TOOBIG, "more than %d files and folders", (int)INODES_MAX);
    return 0;
}

/* Its parent is there. A folder that is there already is fine: the package itself is all that can have made it. */
static int make_one_dir(struct unpacker *u, const char *path)
{
    char parent[ZIPDIR_PATH_MAX + 1];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    int fd = u->root, r = 0;
    if (n > 0) {
        memcpy(parent, path, n);
        parent[n] = '\0';
        fd = open_beneath(u->root, parent, O_PATH | O_DIRECTORY, 0);
        if (fd < 0)
            return errno == ENOTDIR ? err_set(u->e, ERR_INVALID, "Entry '%s': a file is in the way", path)
                                    : err_sys(u->e, ERR_IO, errno, "unpacking %s", path);
    }
    if (mkdirat(fd, slash ? slash + 1 : path, 0755) < 0) {
        if (errno != EEXIST)
            r = err_sys(u->e, errno == ENOSPC ? ERR_FULL : ERR_IO, errno, "unpacking %s", path);
    } else {
        r = fchmodat(fd, slash ? slash + 1 : path, 0755, 0) < 0 ? err_sys(u->e, ERR_IO, errno, "unpacking %s", path)
                                                                : count_inode(u);
    }
    if (fd != u->root)
        fd_close(&fd);
    return r;
}

/* u->parent becomes the folder path ("" = the root), made with all above it. */
static int enter_dir(struct unpacker *u, const char *path)
{
    char part[ZIPDIR_PATH_MAX + 1];
    if (u->parent >= 0 && strcmp(path, u->parent_path) == 0)
        return 0;
    fd_close(&u->parent);
    const char *name = *path ? path : ".";
    u->parent = open_beneath(u->root, name, O_PATH | O_DIRECTORY, 0);
    if (u->parent < 0 && errno == ENOENT) {
        size_t n = 0;
        do {
            n += strcspn(path + n, "/");
            memcpy(part, path, n);
            part[n] = '\0';
            int r = make_one_dir(u, part);
            if (r < 0)
                return r;
        } while (path[n++] != '\0');
        u->parent = open_beneath(u->root, name, O_PATH | O_DIRECTORY, 0);
    }
    if (u->parent < 0)
        return errno == ENOTDIR ? err_set(u->e, ERR_INVALID, "Entry '%s': a file is in the way", path)
                                : err_sys(u->e, ERR_IO, errno, "unpacking %s", path);
    memcpy(u->parent_path, path, strlen(path) + 1);
    return 0;
}

static int inflate_to(struct unpacker *u, size_t index, int fd, const char *path)
{
    uint64_t declared = u->dir.v[index].size, got_all = 0;
    zip_file_t *zf = zip_fopen_index(u->za, index, 0);
    if (!zf)
        return err_set(u->e, ERR_INVALID, "Entry '%s': %s", path, zip_strerror(u->za));
    zip_int64_t got;
    int r = 0;
    while (r == 0 && (got = zip_fread(zf, u->chunk, sizeof(u->chunk))) != 0) {
        if (got < 0) {
            r = err_set(u->e, ERR_INVALID, "Entry '%s': %s", path, zip_file_strerror(zf));
            break;
        }
        u->bytes += got;
        got_all += (uint64_t)got;
        if (u->bytes > UNZIPPED_MAX)
            r = err_set(u->e, ERR_TOOBIG, "Unzipped size must be smaller than %d bytes", (int)UNZIPPED_MAX);
        else if (got_all > declared)
            break;
        else if (fd_write_all(fd, u->chunk, (size_t)got) < 0)
            r = err_sys(u->e, errno == ENOSPC ? ERR_FULL : ERR_IO, errno, "unpacking %s", path);
    }
    zip_fclose(zf);
    if (r == 0 && got_all != declared)
        r = err_set(u->e, ERR_INVALID, "Entry '%s': its size is not what it says", path);
    return r;
}

static int unpack_file(struct unpacker *u, size_t i, const char *path)
{
    char folder[ZIPDIR_PATH_MAX + 1];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    const char *leaf = slash ? slash + 1 : path;
    mode_t mode = u->dir.v[i].executable ? 0755 : 0644;
    memcpy(folder, path, n);
    folder[n] = '\0';
    int r = *leaf ? enter_dir(u, folder) : err_set(u->e, ERR_INVALID, "Entry %zu: its name is empty", i);
    if (r == 0)
        r = count_inode(u);
    if (r < 0)
        return r;
    int fd = open_beneath(u->parent, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    if (fd < 0 && (errno == EEXIST || errno == EISDIR))
        return err_set(u->e, ERR_INVALID, "Entry '%s': it is there twice", path);
    if (fd < 0)
        return err_sys(u->e, errno == ENOSPC ? ERR_FULL : ERR_IO, errno, "unpacking %s", path);
    r = inflate_to(u, i, fd, path);
    if (r == 0 && fchmod(fd, mode) < 0)
        r = err_sys(u->e, ERR_IO, errno, "unpacking %s", path);
    if (close(fd) < 0 && r == 0)
        r = err_sys(u->e, ERR_IO, errno, "unpacking %s", path);
    return r;
}

static int unpack_entry(struct unpacker *u, size_t i)
{
    char path[ZIPDIR_PATH_MAX + 1];
    const struct zipdir_entry *en = &u->dir.v[i];
    const char *seen = zip_get_name(u->za, i, ZIP_FL_ENC_RAW);
    if (!seen || strlen(seen) != en->raw_len || memcmp(seen, en->raw, en->raw_len) != 0)
        return err_set(u->e, ERR_INVALID, "not a zip file: its directory reads in two ways");
    zipdir_path(en, path);
    return en->is_dir ? enter_dir(u, path) : unpack_file(u, i, path);
}

static int unpack_into(int root, const void *zip, size_t len, struct err *e)
{
    struct unpacker *u = calloc(1, sizeof(*u));
    if (!u)
        return err_set(e, ERR_NOMEM, "unpacking");
    zip_error_t ze;
    zip_error_init(&ze);
    u->root = root;
    u->parent = -1;
    u->e = e;
    zip_source_t *src = NULL;
    int r = zipdir_read(&u->dir, zip, len, e);
    if (r < 0)
        goto out;
    src = zip_source_buffer_create(zip, len, 0, &ze);
    u->za = src ? zip_open_from_source(src, ZIP_RDONLY, &ze) : NULL;
    if (!u->za) {
        r = err_set(e, ERR_INVALID, "not a zip file: %s", zip_error_strerror(&ze));
        goto out;
    }
    src = NULL; /* the archive's now */
    if (zip_get_num_entries(u->za, 0) != (zip_int64_t)u->dir.n)
        r = err_set(e, ERR_INVALID, "not a zip file: its directory reads in two ways");
    for (size_t i = 0; i < u->dir.n && r == 0; i++)
        r = unpack_entry(u, i);
out:
    if (src)
        zip_source_free(src);
    if (u->za)
        zip_discard(u->za);
    zip_error_fini(&ze);
    zipdir_done(&u->dir);
    fd_close(&u->parent);
    free(u);
    return r;
}

/* --- the folder ----- */

static void zip_name(const char *sha256, char out[CODE_NAME_MAX])
{
    (void)snprintf(out, CODE_NAME_MAX, "%s.zip", sha256);
}

bool code_present(struct registry *r, const char *sha256)
{
    struct stat st;
    char zip[CODE_NAME_MAX];
    zip_name(sha256, zip);
    return fstatat(r->code_fd, sha256, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
           fstatat(r->code_fd, zip, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

void code_remove(struct registry *r, const char *sha256)
{
    char zip[CODE_NAME_MAX];
    zip_name(sha256, zip);
    (void)!file_remove_tree(r->code_fd, zip);
    (void)!file_remove_tree(r->code_fd, sha256);
}

int registry_code_read(struct registry *r, const char *sha256, struct buf *b)
{
    char zip[CODE_NAME_MAX];
    if (strlen(sha256) != SHA256_HEX_LEN || strspn(sha256, "0123456789abcdef") != SHA256_HEX_LEN)
        return ERR_INVALID;
    zip_name(sha256, zip);
    return file_read(r->code_fd, zip, b);
}

/* Everything below the new folder to the disk in one go: one sync of the file system costs less than one per file, and
 * a package has thousands. Then the name, and the name's folder. */
static int publish(struct registry *r, int root, const char *temp, const char *sha256, struct err *e)
{
    if (fchmod(root, 0755) < 0 || syncfs(root) < 0)
        return err_sys(e, errno == ENOSPC ? ERR_FULL : ERR_IO, errno, "code package");
    if (renameat(r->code_fd, temp, r->code_fd, sha256) < 0 && errno != EEXIST && errno != ENOTEMPTY)
        return err_sys(e, ERR_IO, errno, "code package");
    if (fsync(r->code_fd) < 0)
        return err_sys(e, ERR_IO, errno, "code package");
    return 0;
}

static int unpack_new(struct registry *r, const void *zip, size_t len, const char *sha256, struct err *e)
{
    char temp[CODE_NAME_MAX], name[CODE_NAME_MAX];
    (void)snprintf(temp, sizeof(temp), ".new-%.32s", sha256); /* one unpacking at a time: code_mu */
    if (file_remove_tree(r->code_fd, temp) < 0 || mkdirat(r->code_fd, temp, 0700) < 0)
        return err_sys(e, ERR_IO, errno, "code folder");
    int root = openat(r->code_fd, temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc = root < 0 ? err_sys(e, ERR_IO, errno, "code folder") : unpack_into(root, zip, len, e);
    zip_name(sha256, name);
    if (rc == 0)
        rc = file_write_durable(r->code_fd, name, zip, len, 0644, e);
    if (rc == 0)
        rc = publish(r, root, temp, sha256, e);
    fd_close(&root);
    (void)!file_remove_tree(r->code_fd, temp); /* gone when it was renamed; else the sweep gets a second chance */
    return rc;
}

/* --- pins ----- */

static struct pin *find_pin(struct registry *r, const char *sha256)
{
    struct pin *p = r->pins;
    while (p && strcmp(p->sha256, sha256) != 0)
        p = p->next;
    return p;
}

static int pin(struct registry *r, const char *sha256)
{
    int rc = 0;
    pthread_mutex_lock(&r->mu);
    struct pin *p = find_pin(r, sha256);
    if (p) {
        p->count++;
    } else if ((p = calloc(1, sizeof(*p))) != NULL) {
        memcpy(p->sha256, sha256, sizeof(p->sha256));
        p->count = 1;
        p->next = r->pins;
        r->pins = p;
    } else {
        rc = ERR_NOMEM;
    }
    pthread_mutex_unlock(&r->mu);
    return rc;
}

void registry_code_release(struct registry *r, const struct code *c)
{
    bool remove = false;
    pthread_mutex_lock(&r->code_mu); /* the same bytes added meanwhile are not found half removed */
    pthread_mutex_lock(&r->mu);
    struct pin **at = &r->pins;
    while (*at && strcmp((*at)->sha256, c->sha256) != 0)
        at = &(*at)->next;
    struct pin *p = *at;
    BIDE_ASSERT(p && p->count > 0, "code %s released twice", c->sha256);
    if (--p->count == 0) {
        remove = p->fresh;
        *at = p->next;
        free(p);
    }
    pthread_mutex_unlock(&r->mu);
    if (remove)
        code_remove(r, c->sha256);
    pthread_mutex_unlock(&r->code_mu);
}

int registry_code_add(struct registry *r, const void *zip, size_t len, struct code *ret, struct err *e)
{
    struct code c = {.zip_bytes = (int64_t)len};
    sha256_sum(zip, len, c.digest);
    hex_encode(c.digest, sizeof(c.digest), c.sha256);
    pthread_mutex_lock(&r->code_mu);
    int rc = pin(r, c.sha256);
    if (rc < 0) {
        pthread_mutex_unlock(&r->code_mu);
        return err_set(e, rc, "code package");
    }
    if (!code_present(r, c.sha256)) {
        rc = unpack_new(r, zip, len, c.sha256, e);
        pthread_mutex_lock(&r->mu);
        find_pin(r, c.sha256)->fresh = true;
        pthread_mutex_unlock(&r->mu);
    }
    pthread_mutex_unlock(&r->code_mu);
    if (rc < 0) {
        registry_code_release(r, &c);
        return rc;
    }
    *ret = c;
    return 0;
}
