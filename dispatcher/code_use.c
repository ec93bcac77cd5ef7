/* Which package each worker runs: it stays on disk until the worker is gone, whatever becomes of the function. */
#include <stdlib.h>

#include "priv.h"

struct code_use {
    UT_hash_handle hh; /* by worker */
    uint64_t worker;
    char sha256[SHA256_HEX_LEN + 1];
};

static void end(struct dispatcher *d, struct code_use *u)
{
    HASH_DEL(d->code_uses, u);
    registry_code_unuse(d->deps.registry, u->sha256);
    free(u);
}

void code_use(struct dispatcher *d, uint64_t worker, const char *sha256)
{
    struct code_use *u = calloc(1, sizeof *u);
    if (u == NULL || registry_code_use(d->deps.registry, sha256) != 0)
        bide_no_memory("worker");
    u->worker = worker;
    memcpy(u->sha256, sha256, sizeof u->sha256);
    HASH_ADD(hh, d->code_uses, worker, sizeof u->worker, u);
}

void code_unuse(struct dispatcher *d, uint64_t worker)
{
    struct code_use *u = NULL;
    HASH_FIND(hh, d->code_uses, &worker, sizeof worker, u);
    if (u != NULL)
        end(d, u);
}

void code_unuse_all(struct dispatcher *d)
{
    struct code_use *u, *next;
    HASH_ITER (hh, d->code_uses, u, next)
        end(d, u);
}
