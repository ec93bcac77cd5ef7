/* Code packages: a zip becomes code/<sha256>/ and code/<sha256>.zip, or nothing.
 *
 * Unpacking goes into a fresh folder of its own below code/, every step through openat2 with RESOLVE_BENEATH and
 * RESOLVE_NO_SYMLINKS, so a name cannot lead out of it even if the checks of zipdir.c let one through. What is inflated
 * is counted, not what the archive declares.
 */
#include "priv.h"

#include <dirent.h>
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
#include "base/log.h"
#include "zipdir.h"

enum {
    UNZIPPED_MAX = 262144000, /* Lambda: 3.2 */
    FOLDERS_MAX = 16384,      /* a few entries with deep names would otherwise make millions */
    SYNC_ONE_BY_ONE = 128,
    CHUNK = 64 * 1024,
    ZIP_BYTES_MAX = 52428800, /* Lambda: 3.2 */
};

struct unpacker {
    int root; /* the fresh folder */
    zip_t *za;
    struct zipdir dir;
    int64_t bytes;
    unsigned inodes; /* files and folders */
    unsigned folders;
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

static int count_folder(struct unpacker *u)
{
    u->inodes++;
    if (++u->folders > FOLDERS_MAX)
        return err_set(u->e, ERR_TOOBIG, "more than %d folders", (int)FOLDERS_MAX);
    return 0;
}

static int not_made(struct unpacker *u, const char *path)
{
    int sys = errno;
    if (sys == ENOTDIR)
        return err_set(u->e, ERR_INVALID, "Entry '%s': a file is in the way", path);
    return err_sys(u->e, sys == ENOSPC ? ERR_FULL : ERR_IO, sys, "unpacking %s", path);
}

/* One folder below fd, made if it is not there. A descriptor of it, or a negative ERR_x. */
static int step_into(struct unpacker *u, int fd, const char *name, const char *path)
{
    if (mkdirat(fd, name, 0755) == 0) {
        int r = fchmodat(fd, name, 0755, 0) < 0 ? not_made(u, path) : count_folder(u);
        if (r < 0)
            return r;
    } else if (errno != EEXIST) {
        return not_made(u, path);
    }
    int sub = open_beneath(fd, name, O_PATH | O_DIRECTORY, 0);
    return sub < 0 ? not_made(u, path) : sub;
}

/* u->parent becomes the folder path ("" = the root), made with all above it. */
static int enter_dir(struct unpacker *u, const char *path)
{
    char name[ZIPDIR_COMPONENT_MAX + 1];
    if (u->parent >= 0 && strcmp(path, u->parent_path) == 0)
        return 0;
    fd_close(&u->parent);
    int fd = open_beneath(u->root, *path ? path : ".", O_PATH | O_DIRECTORY, 0);
    if (fd < 0 && errno == ENOENT) {
        fd = open_beneath(u->root, ".", O_PATH | O_DIRECTORY, 0);
        for (const char *p = path; *p && fd >= 0; p += *p == '/') {
            size_t n = strcspn(p, "/");
            memcpy(name, p, n);
            name[n] = '\0';
            int sub = step_into(u, fd, name, path);
            fd_close(&fd);
            if (sub < 0)
                return sub;
            fd = sub;
            p += n;
        }
    }
    if (fd < 0)
        return not_made(u, path);
    u->parent = fd;
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
    if (r < 0)
        return r;
    u->inodes++;
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

static int unpack_into(int root, const void *zip, size_t len, unsigned *ret_inodes, struct err *e)
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
    *ret_inodes = u->inodes;
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

/* The folder loses its name first, and in one step: were it taken apart under it and the disk failed halfway, the same
 * bytes added again would find it there and take it for whole. What is left of it goes at the next start. */
void code_remove(struct registry *r, const char *sha256)
{
    char zip[CODE_NAME_MAX], old[CODE_NAME_MAX];
    zip_name(sha256, zip);
    (void)snprintf(old, sizeof(old), ".old-%.32s", sha256);
    (void)!file_remove_tree(r->code_fd, zip);
    if (file_remove_tree(r->code_fd, old) == 0 && renameat(r->code_fd, sha256, r->code_fd, old) == 0)
        (void)!file_remove_tree(r->code_fd, old);
}

int registry_code_read(struct registry *r, const char *sha256, struct buf *b)
{
    char zip[CODE_NAME_MAX];
    if (strlen(sha256) != SHA256_HEX_LEN || strspn(sha256, "0123456789abcdef") != SHA256_HEX_LEN)
        return ERR_INVALID;
    zip_name(sha256, zip);
    return file_read(r->code_fd, zip, b);
}

/* Everything below the folder fd, files before the folders that name them. fd is closed. */
static int sync_tree(int fd)
{
    DIR *d = fdopendir(fd);
    struct dirent *de;
    int rc = 0;
    if (!d) {
        fd_close(&fd);
        return ERR_IO;
    }
    while (rc == 0 && (errno = 0, de = readdir(d)) != NULL) {
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        int sub = openat(fd, de->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (sub < 0) {
            rc = ERR_IO;
        } else if (de->d_type == DT_DIR) {
            rc = sync_tree(sub);
        } else {
            rc = fsync(sub) < 0 ? ERR_IO : 0;
            fd_close(&sub);
        }
    }
    if (rc == 0 && (errno != 0 || fsync(fd) < 0))
        rc = ERR_IO;
    int sys = errno;
    closedir(d);
    errno = sys;
    return rc;
}

/* The unpacked files to the disk. Few are synced one by one; thousands cost less in one sync of the file system,
 * although that also waits for what others have written. */
static int sync_package(int root, unsigned inodes)
{
    if (inodes > SYNC_ONE_BY_ONE)
        return syncfs(root) < 0 ? ERR_IO : 0;
    int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? ERR_IO : sync_tree(fd);
}

/* On disk first, then the name, then the name's folder. */
static int publish(struct registry *r, int root, unsigned inodes, const char *temp, const char *sha256, struct err *e)
{
    if (fchmod(root, 0755) < 0 || sync_package(root, inodes) < 0)
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
    unsigned inodes = 0;
    (void)snprintf(temp, sizeof(temp), ".new-%.32s", sha256); /* one unpacking at a time: code_mu */
    if (file_remove_tree(r->code_fd, temp) < 0 || mkdirat(r->code_fd, temp, 0700) < 0)
        return err_sys(e, ERR_IO, errno, "code folder");
    int root = openat(r->code_fd, temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc = root < 0 ? err_sys(e, ERR_IO, errno, "code folder") : unpack_into(root, zip, len, &inodes, e);
    zip_name(sha256, name);
    if (rc == 0)
        rc = file_write_durable(r->code_fd, name, zip, len, 0644, e);
    if (rc == 0)
        rc = publish(r, root, inodes, temp, sha256, e);
    fd_close(&root);
    (void)!file_remove_tree(r->code_fd, temp); /* gone when it was renamed; else the sweep gets a second chance */
    return rc;
}

/* A package of which only the zip is there, as in a restored backup. */
static int unpack_again(struct registry *r, const char *sha256, struct err *e)
{
    struct buf zip;
    uint8_t digest[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1];
    buf_init(&zip, ZIP_BYTES_MAX);
    int rc = registry_code_read(r, sha256, &zip);
    if (rc < 0) {
        (void)err_set(e, rc, "its zip cannot be read (%s)", err_name(rc));
    } else {
        sha256_sum(zip.data, zip.len, digest);
        hex_encode(digest, sizeof(digest), hex);
        rc = strcmp(hex, sha256) == 0 ? unpack_new(r, zip.data, zip.len, sha256, e)
                                      : err_set(e, ERR_CORRUPT, "its zip is not what its name says");
    }
    buf_done(&zip);
    return rc;
}

void code_restore(struct registry *r)
{
    for (size_t i = 0; i < r->n; i++) {
        struct err e = {0};
        struct stat st;
        const char *sha256 = r->by_fid[i]->code_sha256;
        if (fstatat(r->code_fd, sha256, &st, AT_SYMLINK_NOFOLLOW) == 0)
            continue;
        if (unpack_again(r, sha256, &e) < 0)
            log_error("registry", "the code of a function is not there: it cannot run name=%s package=%s why=\"%s\"",
                      r->by_fid[i]->name, sha256, e.text);
        else
            log_info("registry", "package unpacked package=%s", sha256);
    }
}

/* --- pins ----- */

static struct pin *find_pin(struct registry *r, const char *sha256)
{
    struct pin *p = r->pins;
    while (p && strcmp(p->sha256, sha256) != 0)
        p = p->next;
    return p;
}

int pin(struct registry *r, const char *sha256)
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

bool unpin(struct registry *r, const char *sha256)
{
    struct pin **at = &r->pins;
    while (*at && strcmp((*at)->sha256, sha256) != 0)
        at = &(*at)->next;
    struct pin *p = *at;
    BIDE_ASSERT(p && p->count > 0, "code %s released twice", sha256);
    if (--p->count > 0)
        return false;
    bool fresh = p->fresh;
    *at = p->next;
    free(p);
    sweep_wanted(r);
    return fresh && r->holds == 0;
}

void registry_code_release(struct registry *r, const struct code *c)
{
    pthread_mutex_lock(&r->code_mu); /* the same bytes added meanwhile are not found half removed */
    pthread_mutex_lock(&r->mu);
    bool remove = unpin(r, c->sha256);
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
