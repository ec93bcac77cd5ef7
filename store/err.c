#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "priv.h"

int store_errcode(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return 0;
    case MDB_NOTFOUND:
        return ERR_NOTFOUND;
    case MDB_KEYEXIST:
        return ERR_EXISTS;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_FULL;
    case MDB_TXN_FULL:
    case MDB_CURSOR_FULL:
        return ERR_TOOBIG;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_PAGE_FULL:
        return ERR_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return ERR_VERSION;
    case MDB_READERS_FULL:
        return ERR_BUSY;
    case MDB_BAD_VALSIZE:
        return ERR_INVALID;
    case ENOMEM:
        return ERR_NOMEM;
    case MDB_BAD_TXN:
    case MDB_BAD_DBI:
    case MDB_INCOMPATIBLE:
    case MDB_DBS_FULL:
    case EINVAL:
        return ERR_INTERNAL;
    default:
        return ERR_IO; /* MDB_PANIC and every errno left */
    }
}

int store_fail(struct err *e, int rc, const char *step, const char *path)
{
    err_set(e, store_errcode(rc), "%s: %s: %s", path, step, mdb_strerror(rc));
    if (e != NULL && rc > 0)
        e->sys = rc;
    return store_errcode(rc);
}

int store_fault_at(struct store *s, enum store_fault at)
{
    return s->opts.fault == NULL ? 0 : s->opts.fault(at, s->opts.arg);
}

void store_fatal(struct store *s, const struct err *e)
{
    if (s->opts.on_fatal != NULL) {
        s->opts.on_fatal(e, s->opts.arg);
        return;
    }
    fprintf(stderr, "store: %s; stopping, because nothing more can be promised\n", e->text);
    _exit(STORE_EXIT_FATAL);
}
