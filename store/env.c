#include "priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fdutil.h"

int store_error(int mdb, struct err *e, const char *what)
{
    switch (mdb) {
    case MDB_SUCCESS:
        return 0;
    case MDB_NOTFOUND:
        return err_set(e, ERR_NOTFOUND, "%s: not found", what);
    case MDB_KEYEXIST:
        return err_set(e, ERR_EXISTS, "%s: exists", what);
    case MDB_MAP_FULL:
        return err_set(e, ERR_FULL, "%s: the store has reached queue.max_bytes", what);
    case MDB_TXN_FULL:
        return err_set(e, ERR_FULL, "%s: the transaction is too large", what);
    case ENOSPC:
    case EDQUOT:
        return err_sys(e, ERR_FULL, mdb, "%s", what);
    case ENOMEM:
        return err_set(e, ERR_NOMEM, "%s: out of memory", what);
    case MDB_READERS_FULL:
        return err_set(e, ERR_BUSY, "%s: too many readers at once", what);
    case MDB_VERSION_MISMATCH:
        return err_set(e, ERR_VERSION, "%s: written by another version of LMDB", what);
    case MDB_INVALID:
        return err_set(e, ERR_CORRUPT, "%s: not an LMDB file, or its head is damaged", what);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
        return err_set(e, ERR_CORRUPT, "%s: %s", what, mdb_strerror(mdb));
    default:
        if (mdb > 0)
            return err_sys(e, ERR_IO, mdb, "%s", what);
        return err_set(e, ERR_INTERNAL, "%s: %s", what, mdb_strerror(mdb));
    }
}

int store_fault_at(const struct store *s, enum store_fault at)
{
    return s->opts.fault != NULL ? s->opts.fault(at, s->opts.arg) : 0;
}

/* LMDB is a shared map with record locks: neither holds across a network. */
static int check_file_system(const char *path, struct err *e)
{
    struct statfs fs;
    enum { CIFS = (int)0xff534d42, SMB2 = (int)0xfe534d42, NINEP = 0x01021997 };
    if (statfs(path, &fs) < 0)
        return err_sys(e, ERR_IO, errno, "store %s", path);
    int type = (int)fs.f_type;
    if (type == NFS_SUPER_MAGIC || type == CIFS || type == SMB2 || type == NINEP)
        return err_set(e, ERR_INVALID, "store %s: is on a network file system; it must be on a local disk", path);
    return 0;
}

static int sync_folder(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) < 0 ? err_sys(e, ERR_IO, errno, "store: cannot sync the folder %s", path) : 0;
    fd_close(&fd);
    return rc;
}

static int make_folder(const char *path, bool read_only, struct err *e)
{
    if (read_only || mkdir(path, 0700) < 0) {
        if (!read_only && errno != EEXIST)
            return err_sys(e, ERR_IO, errno, "store: cannot make the folder %s", path);
        return 0;
    }
    char parent[300];
    const char *slash = strrchr(path, '/');
    (void)snprintf(parent, sizeof parent, "%.*s", slash != NULL ? (int)(slash - path) : 1, slash != NULL ? path : ".");
    return sync_folder(parent[0] != '\0' ? parent : "/", e);
}

/* A file cut short would be found by a SIGBUS in the middle of the night; find it at the door. */
static int check_length(const struct store *s, struct err *e)
{
    char file[300];
    struct stat st;
    MDB_envinfo info;
    (void)snprintf(file, sizeof file, "%s/data.mdb", s->path);
    (void)mdb_env_info(s->env, &info);
    if (stat(file, &st) < 0)
        return err_sys(e, ERR_IO, errno, "store: %s", file);
    uint64_t want = (uint64_t)(info.me_last_pgno + 1) * s->page_size;
    if ((uint64_t)st.st_size < want)
        return err_set(e, ERR_CORRUPT, "store: %s is %llu bytes long and should be at least %llu: it was cut short",
                       file, (unsigned long long)st.st_size, (unsigned long long)want);
    return 0;
}

static int open_env(struct store *s, struct err *e)
{
    const struct store_opts *o = &s->opts;
    char what[300];
    (void)snprintf(what, sizeof what, "store %s", s->path);
    int rc = mdb_env_create(&s->env);
    if (rc == 0)
        rc = mdb_env_set_mapsize(s->env, o->max_bytes);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(s->env, STORE_TABLES_MAX);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(s->env, READERS_MAX);
    if (rc == 0)
        rc = mdb_env_open(s->env, s->path,
                          MDB_NOTLS | (o->read_only ? MDB_RDONLY : 0) | (o->unsafe_nosync ? MDB_NOSYNC : 0), 0600);
    if (rc != 0)
        return store_error(rc, e, what);
    int fd, dead = 0;
    /* LMDB 0.9 leaves this one descriptor open across exec: a function would inherit a handle on the whole queue. */
    if (mdb_env_get_fd(s->env, &fd) != 0 || fd_set_cloexec(fd) < 0)
        return err_sys(e, ERR_IO, errno, "%s: close-on-exec", what);
    (void)mdb_reader_check(s->env, &dead);
    MDB_stat st;
    (void)mdb_env_stat(s->env, &st);
    s->page_size = st.ms_psize;
    return check_length(s, e);
}

int store_open(struct store **ret, const char *path, const struct store_opts *opts, struct err *e)
{
    struct store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return err_set(e, ERR_NOMEM, "store: out of memory");
    s->opts = *opts;
    s->dir_fd = -1;
    if (s->opts.batch_ops == 0)
        s->opts.batch_ops = BATCH_DEFAULT;
    pthread_mutex_init(&s->mu, NULL);
    pthread_cond_init(&s->wake, NULL);
    int rc = strlen(path) < sizeof s->path ? 0 : err_set(e, ERR_INVALID, "store: the path %s is too long", path);
    if (rc == 0) {
        memcpy(s->path, path, strlen(path) + 1);
        rc = make_folder(path, opts->read_only, e);
    }
    if (rc == 0)
        rc = check_file_system(path, e);
    if (rc == 0)
        rc = open_env(s, e);
    if (rc == 0 && !opts->read_only)
        rc = sync_folder(path, e);
    if (rc == 0) {
        s->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->dir_fd < 0)
            rc = err_sys(e, ERR_IO, errno, "store %s", path);
    }
    if (rc < 0) {
        store_close(s);
        return rc;
    }
    reserve_check(s, true);
    *ret = s;
    return 0;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    BIDE_ASSERT(!s->started || s->stopped, "store closed while its thread runs");
    if (s->env != NULL)
        mdb_env_close(s->env);
    fd_close(&s->dir_fd);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->mu);
    free(s);
}

int store_table(struct store *s, const char *name, struct store_table **ret, struct err *e)
{
    MDB_txn *txn;
    char what[128];
    (void)snprintf(what, sizeof what, "store: table %s", name);
    if (s->n_tables == STORE_TABLES_MAX)
        return err_set(e, ERR_FULL, "%s: there are %d already", what, STORE_TABLES_MAX);
    struct store_table *t = &s->tables[s->n_tables];
    int rc = mdb_txn_begin(s->env, NULL, s->opts.read_only ? MDB_RDONLY : 0, &txn);
    if (rc != 0)
        return store_error(rc, e, what);
    rc = mdb_dbi_open(txn, name, s->opts.read_only ? 0 : MDB_CREATE, &t->dbi);
    if (rc == 0)
        rc = mdb_txn_commit(txn); /* also of a reading one: the handle is private to it otherwise */
    else
        mdb_txn_abort(txn);
    if (rc != 0)
        return store_error(rc, e, what);
    t->store = s;
    s->n_tables++;
    *ret = t;
    return 0;
}

int store_add_hooks(struct store *s, const struct store_hooks *h)
{
    if (s->n_hooks == HOOKS_MAX)
        return ERR_FULL;
    s->hooks[s->n_hooks++] = *h;
    return 0;
}

void store_put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (56 - 8 * i));
}

void store_put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

uint64_t store_get_u64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

uint32_t store_get_u32(const uint8_t *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 8 | p[i];
    return v;
}
