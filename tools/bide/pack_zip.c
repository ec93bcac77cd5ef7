#include "pack_zip.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "base/fdutil.h"

static bool is_zip(const char *path)
{
    char head[4] = "";
    FILE *f = fopen(path, "rbe");
    bool yes = f != NULL && fread(head, 1, sizeof head, f) == sizeof head && memcmp(head, "PK\3\4", sizeof head) == 0;
    if (f != NULL)
        (void)fclose(f);
    return yes;
}

static int add_file(zip_t *z, const char *path, const char *name, mode_t mode, struct err *e)
{
    zip_source_t *src = zip_source_file(z, path, 0, -1);
    zip_int64_t at = src != NULL ? zip_file_add(z, name, src, ZIP_FL_ENC_UTF_8) : -1;
    if (at < 0) {
        if (src != NULL)
            zip_source_free(src);
        return err_set(e, ERR_IO, "%s: %s", path, zip_strerror(z));
    }
    zip_uint32_t attributes = (zip_uint32_t)mode << 16;
    /* One fixed time: the same files give the same zip, and the same code is stored once. */
    if (zip_file_set_external_attributes(z, (zip_uint64_t)at, 0, ZIP_OPSYS_UNIX, attributes) < 0 ||
        zip_file_set_mtime(z, (zip_uint64_t)at, 946684800, 0) < 0)
        return err_set(e, ERR_IO, "%s: %s", path, zip_strerror(z));
    return 0;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

bool pack_leaves_out(const char *path)
{
    static const char *const patterns[] = {".git",      ".hg", ".svn",   "__pycache__", "*.pyc",
                                           ".DS_Store", "*~",  ".*.swp", ".#*"};
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
        if (fnmatch(patterns[i], name, 0) == 0)
            return true;
    return strcmp(name, ".cache") == 0 && slash != NULL && slash - path >= 12 &&
           strncmp(slash - 12, "node_modules", 12) == 0;
}

static int add_tree(zip_t *z, const char *root, struct err *e)
{
    char *const roots[] = {(char *)(uintptr_t)root, NULL};
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, by_name);
    if (fts == NULL)
        return err_sys(e, ERR_IO, errno, "%s", root);
    int rc = 0;
    size_t skip = strlen(root);
    while (skip > 0 && root[skip - 1] == '/')
        skip--;
    for (FTSENT *ent; rc == 0 && (errno = 0, ent = fts_read(fts)) != NULL;) {
        if (ent->fts_level > 0 && pack_leaves_out(ent->fts_path + skip))
            (void)fts_set(fts, ent, FTS_SKIP);
        else if (ent->fts_info == FTS_F)
            rc = add_file(z, ent->fts_path, ent->fts_path + skip + 1, ent->fts_statp->st_mode, e);
        else if (ent->fts_info == FTS_DNR || ent->fts_info == FTS_ERR || ent->fts_info == FTS_NS)
            rc = err_sys(e, ERR_IO, ent->fts_errno, "%s", ent->fts_path);
        else if (ent->fts_info != FTS_D && ent->fts_info != FTS_DP)
            rc = err_set(e, ERR_INVALID,
                         "%s: a symbolic link or a special file; copy what it stands for (cp -rL) and deploy the copy",
                         ent->fts_path);
    }
    (void)fts_close(fts);
    return rc;
}

int pack_zip(const char *path, struct buf *out, struct err *e)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_sys(e, ERR_IO, errno, "%s", path);
    size_t len = strlen(path);
    if (!S_ISDIR(st.st_mode) && (!S_ISREG(st.st_mode) || st.st_size == 0))
        return err_set(e, ERR_INVALID, "%s: is empty, or not a file", path);
    if (!S_ISDIR(st.st_mode) && len > 4 && strcmp(path + len - 4, ".zip") == 0 && !is_zip(path))
        return err_set(e, ERR_INVALID, "%s: is named like a zip and is none", path);
    char tmp[] = "/tmp/bide-zip-XXXXXX";
    int rc = 0;
    if (!S_ISDIR(st.st_mode) && is_zip(path)) {
        rc = file_read(AT_FDCWD, path, out);
        return rc < 0 ? err_set(e, rc, "%s: cannot be read, or is too large", path) : 0;
    }
    int fd = mkstemp(tmp);
    if (fd < 0)
        return err_sys(e, ERR_IO, errno, "temporary file");
    close(fd);
    int zerr = 0;
    zip_t *z = zip_open(tmp, ZIP_CREATE | ZIP_TRUNCATE, &zerr);
    if (z == NULL)
        rc = err_set(e, ERR_IO, "zip: cannot be made");
    else if (S_ISDIR(st.st_mode))
        rc = add_tree(z, path, e);
    else
        rc = add_file(z, path, strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path, st.st_mode, e);
    if (rc == 0 && zip_get_num_entries(z, 0) == 0)
        rc = err_set(e, ERR_INVALID, "%s: there is no file in it", path);
    if (rc == 0 && zip_close(z) < 0)
        rc = err_set(e, ERR_IO, "zip: %s", zip_strerror(z));
    else if (rc == 0)
        z = NULL;
    if (z != NULL)
        zip_discard(z);
    if (rc == 0) {
        rc = file_read(AT_FDCWD, tmp, out);
        if (rc < 0)
            (void)err_set(e, rc, "%s: the zip is too large for a direct upload (50 MB)", path);
    }
    (void)unlink(tmp);
    return rc;
}
