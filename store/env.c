#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fdutil.h"

#include "priv.h"

/* File systems on which a shared memory map and its locks cannot be trusted, or that do not keep what they synced.
 * Numbers: statfs(2). */
static const struct {
    unsigned long magic;
    bool refuse;
    const char *name;
} file_systems[] = {
    {0x6969, true, "NFS"},        {0x517B, true, "SMB"},        {0xFE534D42, true, "SMB2"},
    {0xFF534D42, true, "CIFS"},   {0x01021997, true, "9p"},     {0x00C36400, true, "Ceph"},
    {0x5346414F, true, "AFS"},    {0x0BD00BD0, true, "Lustre"}, {0x73757245, true, "Coda"},
    {0x01161970, true, "GFS2"},   {0x65735546, false, "FUSE"},  {0x794C7630, false, "overlay"},
    {0x01021994, false, "tmpfs"}, {0x858458F6, false, "ramfs"},
};

static const struct hist_scale commit_us = {
    12, {250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000}};
static const struct hist_scale commit_ops = {11, {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}};

int store_check_place(int dir_fd, const char *path, char *warning, size_t cap, struct err *e)
{
    struct statfs fs;
    if (fstatfs(dir_fd, &fs) < 0)
        return err_sys(e, ERR_IO, errno, "%s: statfs", path);
    for (size_t i = 0; i < sizeof file_systems / sizeof file_systems[0]; i++) {
        if ((unsigned long)fs.f_type != file_systems[i].magic)
            continue;
        if (file_systems[i].refuse)
            return err_set(e, ERR_IO, "%s: is on a network file system (%s), where a memory map is not safe", path,
                           file_systems[i].name);
        snprintf(warning, cap, "%s: %s: what is stored here may not survive a restart of the machine", path,
                 file_systems[i].name);
    }
    return 0;
}

/* The folder, created with its name on disk when it is missing. */
static int open_folder(struct store *s, int *ret_fd, struct err *e)
{
    int r = 0;
    bool created = false;
    if (!s->opts.read_only) {
        created = mkdir(s->path, 0700) == 0;
        if (!created && errno != EEXIST)
            return err_sys(e, ERR_IO, errno, "%s: cannot create the folder", s->path);
    }
    int fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, ERR_IO, errno, "%s: cannot open the folder", s->path);
    if (created) {
        int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (parent < 0 || fsync(parent) < 0)
            r = err_sys(e, ERR_IO, errno, "%s: cannot sync the parent folder", s->path);
        fd_close(&parent);
    }
    if (r < 0)
        fd_close(&fd);
    *ret_fd = fd;
    return r;
}

/* LMDB opens a file whose end is missing and dies of SIGBUS when it reads there. A file may rightly be a few pages
 * short, though: pages that were taken and given back inside one transaction are never written, and are in the free
 * list. So the file is made long enough to be looked at, and put back as it was when a page in use turns out to be
 * missing. */
static int check_length(struct store *s, struct err *e)
{
    struct stat st;
    MDB_envinfo info;
    if (fstat(s->data_fd, &st) < 0)
        return err_sys(e, ERR_IO, errno, "%s: data.mdb", s->path);
    mdb_env_info(s->env, &info);
    uint64_t have = (uint64_t)st.st_size / s->page_len;
    uint64_t want = info.me_last_pgno + 1;
    if (have >= want)
        return 0;
    uint64_t n_free = 0;
    int rc = MDB_CORRUPTED;
    if (!s->opts.read_only) {
        if (ftruncate(s->data_fd, (off_t)(want * s->page_len)) < 0)
            return err_sys(e, ERR_IO, errno, "%s: data.mdb is too short and cannot be lengthened", s->path);
        rc = store_free_pages(s, have, &n_free);
        if (rc == 0 && n_free >= want - have)
            return 0;
        if (ftruncate(s->data_fd, st.st_size) < 0)
            return err_sys(e, ERR_IO, errno, "%s: data.mdb", s->path);
    }
    return err_set(e, ERR_CORRUPT, "%s: data.mdb is truncated: %lld bytes, its index says %llu%s", s->path,
                   (long long)st.st_size, (unsigned long long)(want * s->page_len),
                   s->opts.read_only ? " (a start of the daemon looks closer)" : "");
}

/* LMDB found its own structure broken in the middle of a call that cannot return. */
static void on_assert(MDB_env *env, const char *text)
{
    struct err e;
    struct store *s = mdb_env_get_userctx(env);
    err_set(&e, ERR_CORRUPT, "%s: data.mdb is damaged: %s", s->path, text);
    store_fatal(s, &e);
    abort();
}

/* An empty store under another name, whole and on disk before it is called data.mdb. LMDB would make it in place, and a
 * power cut in the middle of its first two pages leaves a file that it refuses for ever. */
static int make_data(struct store *s, int dir_fd, struct err *e)
{
    static const char temp[] = "data.mdb.new";
    char path[sizeof s->path + sizeof temp + 1];
    MDB_env *env;
    int fd;
    snprintf(path, sizeof path, "%s/%s", s->path, temp);
    if (unlinkat(dir_fd, temp, 0) < 0 && errno != ENOENT)
        return err_sys(e, ERR_IO, errno, "%s: cannot be removed", path);
    int rc = mdb_env_create(&env);
    if (rc != 0)
        return store_fail(e, rc, "mdb_env_create", s->path);
    rc = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
    if (rc == 0)
        rc = mdb_env_get_fd(env, &fd);
    if (rc == 0 && fsync(fd) < 0)
        rc = errno;
    mdb_env_close(env);
    if (rc == 0 && (renameat(dir_fd, temp, dir_fd, "data.mdb") < 0 || fsync(dir_fd) < 0))
        rc = errno;
    return rc == 0 ? 0 : store_fail(e, rc, "making a new store", s->path);
}

static int open_env(struct store *s, int dir_fd, struct err *e)
{
    struct stat st;
    MDB_envinfo info;
    MDB_stat env_stat;
    const char *step = "open";
    unsigned flags = MDB_NOTLS;
    flags |= s->opts.read_only ? MDB_RDONLY : 0;
    flags |= s->opts.unsafe_nosync ? MDB_NOSYNC : 0;
    int rc = !s->opts.read_only && fstatat(dir_fd, "data.mdb", &st, 0) < 0 ? make_data(s, dir_fd, e) : 0;
    if (rc < 0)
        return rc;
    rc = mdb_env_create(&s->env);
    if (rc != 0)
        return store_fail(e, rc, "mdb_env_create", s->path);
    mdb_env_set_userctx(s->env, s);
    mdb_env_set_assert(s->env, on_assert);
    rc = mdb_env_set_maxdbs(s->env, STORE_TABLES_MAX);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(s->env, STORE_READERS_MAX);
    if (rc == 0 && s->opts.max_bytes > 0)
        rc = mdb_env_set_mapsize(s->env, (size_t)s->opts.max_bytes);
    if (rc == 0)
        rc = mdb_env_open(s->env, s->path, flags, 0600);
    if (rc == MDB_INVALID)
        return err_set(e, ERR_CORRUPT, "%s: data.mdb is not a store, or its first pages are damaged", s->path);
    if (rc == MDB_VERSION_MISMATCH)
        return err_set(e, ERR_VERSION, "%s: data.mdb was written by another version of LMDB", s->path);
    if (rc == 0) {
        step = "mdb_env_get_fd";
        rc = mdb_env_get_fd(s->env, &s->data_fd);
    }
    if (rc != 0)
        return store_fail(e, rc, step, s->path);
    /* LMDB 0.9.24 leaves this one descriptor inheritable: every function would get it. */
    if (fd_set_cloexec(s->data_fd) < 0)
        return err_sys(e, ERR_IO, errno, "%s: close-on-exec", s->path);
    mdb_env_info(s->env, &info);
    mdb_env_stat(s->env, &env_stat);
    s->map_bytes = info.me_mapsize;
    s->page_len = env_stat.ms_psize;
    int r = check_length(s, e);
    if (r < 0 || s->opts.read_only)
        return r;
    int dead;
    rc = mdb_reader_check(s->env, &dead);
    if (rc != 0)
        return store_fail(e, rc, "mdb_reader_check", s->path);
    return 0;
}

int store_open(struct store **ret, const char *path, const struct store_opts *opts, struct err *e)
{
    int dir_fd = -1;
    pthread_condattr_t mono;
    *ret = NULL;
    if (strlen(path) >= sizeof((struct store *)0)->path)
        return err_set(e, ERR_TOOBIG, "%s: path too long", path);
    struct store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return err_set(e, ERR_NOMEM, "store: out of memory");
    s->opts = *opts;
    s->data_fd = -1;
    if (s->opts.batch_ops == 0)
        s->opts.batch_ops = STORE_BATCH_OPS;
    if (s->opts.lazy_us == 0)
        s->opts.lazy_us = STORE_LAZY_US;
    snprintf(s->path, sizeof s->path, "%s", path);
    s->wake_at = SIZE_MAX;
    pthread_mutex_init(&s->mu, NULL);
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &mono);
    pthread_condattr_destroy(&mono);
    store_room_init(s);
    hist_init(&s->commit_us, &commit_us);
    hist_init(&s->commit_ops, &commit_ops);
    int r;
    s->batch = calloc(s->opts.batch_ops, sizeof *s->batch);
    if (s->batch == NULL) {
        r = err_set(e, ERR_NOMEM, "store: out of memory");
        goto out;
    }
    r = open_folder(s, &dir_fd, e);
    if (r == 0)
        r = store_check_place(dir_fd, s->path, s->warning, sizeof s->warning, e);
    if (r == 0)
        r = open_env(s, dir_fd, e);
out:
    fd_close(&dir_fd);
    if (r < 0)
        store_close(s);
    else
        *ret = s;
    return r;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    BIDE_ASSERT(!s->started, "store_close before store_stop");
    unsigned readers = atomic_load(&s->readers);
    BIDE_ASSERT(readers == 0, "%u read transactions are open", readers);
    store_stop(s); /* ops of a store that was never started */
    if (s->env != NULL)
        mdb_env_close(s->env);
    pthread_mutex_destroy(&s->room.mu);
    pthread_mutex_destroy(&s->mu);
    pthread_cond_destroy(&s->wake);
    free(s->batch);
    free(s);
}

const char *store_warning(const struct store *s)
{
    return s->warning;
}

int store_table(struct store *s, const char *name, struct store_table **ret, struct err *e)
{
    BIDE_ASSERT(!s->started, "store_table(%s) after store_start", name);
    if (s->n_tables == STORE_TABLES_MAX)
        return err_set(e, ERR_FULL, "%s: no room for table %s", s->path, name);
    struct store_table *tab = &s->tables[s->n_tables];
    BIDE_ASSERT(strlen(name) < sizeof tab->name, "table name %s is too long", name);
    snprintf(tab->name, sizeof tab->name, "%s", name);
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, s->opts.read_only ? MDB_RDONLY : 0, &txn);
    if (rc != 0)
        return store_fail(e, rc, name, s->path);
    rc = mdb_dbi_open(txn, name, s->opts.read_only ? 0 : MDB_CREATE, &tab->dbi);
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
    if (rc != 0)
        return store_fail(e, rc, name, s->path);
    s->n_tables++;
    *ret = tab;
    return 0;
}
