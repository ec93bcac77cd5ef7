/* What the files of this folder share: the registry itself, its map, its tables. */
#ifndef REGISTRY_PRIV_H
#define REGISTRY_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "codec.h"
#include "function.h"
#include "registry.h"

enum { REGISTRY_LISTENERS_MAX = 4, CODE_NAME_MAX = SHA256_HEX_LEN + 8 };

/* Code somebody is about to name, or runs: kept from removal. */
struct pin {
    struct pin *next;
    char sha256[SHA256_HEX_LEN + 1];
    unsigned count;
    bool fresh; /* unpacked by this process and never named by a function: removed with the last pin */
};

struct listener {
    registry_change_cb *cb;
    void *arg;
};

struct registry {
    struct store *store;
    struct clock *clock;
    int code_fd;
    int32_t account_concurrency;
    int32_t unreserved_minimum;
    void (*on_sweep_due)(void *arg);
    void *on_sweep_due_arg;
    struct store_table *functions;                     /* name -> record */
    struct store_table *tombstones;                    /* fid -> name */
    struct store_table *meta;                          /* "next_fid" -> u64 */
    struct listener listeners[REGISTRY_LISTENERS_MAX]; /* fixed before store_start */
    size_t n_listeners;

    pthread_mutex_t code_mu; /* held while a package is unpacked or removed; taken before mu */
    pthread_mutex_t mu;      /* guards what follows; never held over input or output */
    const struct function **by_name;
    const struct function **by_fid;
    size_t n;
    size_t cap;
    struct pin *pins;
    unsigned holds; /* while there is one no package is removed */

    bool keep_all;          /* a record cannot be read, so nobody knows which package it names; set at open */
    atomic_bool unfinished; /* a create or an update could not be completed: the next sweep does it */
    atomic_bool sweep_due;  /* a package may have lost the last that needed it */
    char (*doubtful)[SHA256_HEX_LEN + 1]; /* found unneeded by the last registry_sweep; only its own */
    size_t n_doubtful;
};

/* A package may have lost the last that needed it. Any thread. */
void sweep_wanted(struct registry *r);

/* Room for one more function, so that map_put cannot fail after a commit. ERR_NOMEM. */
int map_reserve(struct registry *r) BIDE_MUST_USE;
/* The new snapshot replaces the one with its fid, or is added; takes the reference. Needs an earlier map_reserve. */
void map_put(struct registry *r, const struct function *f);
/* The snapshot taken out, with its reference; NULL if there was none. */
const struct function *map_del(struct registry *r, const char *name);

/* Write the function's record. */
int record_put(struct store_txn *t, struct registry *r, const struct function *f) BIDE_MUST_USE;

/* Submit the op that makes a pending function active, or an update successful. */
void change_complete(struct registry *r, const struct function *f);
/* The same for each that is left pending. */
void change_complete_all(struct registry *r);

/* Is the unpacked code there? */
bool code_present(struct registry *r, const char *sha256);
/* Remove code/<sha256> and its zip; what cannot be removed now is swept at the next start. */
void code_remove(struct registry *r, const char *sha256);

/* At open: unpack what functions name and of which only the zip is there. What cannot be is logged; its functions
 * cannot run. */
void code_restore(struct registry *r);

/* One more, one less that keeps the package. ERR_NOMEM. r->mu is not held. */
int pin(struct registry *r, const char *sha256) BIDE_MUST_USE;
/* True: nothing was ever made of it, and it is to be removed. r->mu is held. */
bool unpin(struct registry *r, const char *sha256);

/* At open, nothing running yet: remove every package no function names, and what an interrupted unpacking left. */
int sweep(struct registry *r, struct err *e) BIDE_MUST_USE;

#endif
