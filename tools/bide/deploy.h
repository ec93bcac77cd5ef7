/* Making a function what it should be: the calls behind `bide deploy`. */
#ifndef BIDE_DEPLOY_H
#define BIDE_DEPLOY_H

#include "show.h"

enum { DEPLOY_KEEP = -2, DEPLOY_NONE = -1 };

/* What the function should be. */
struct deploy {
    struct call *c;
    const char *name;
    json_t *config;        /* members of the configuration to set; the caller's */
    int64_t concurrency;   /* reserved; DEPLOY_NONE: none, DEPLOY_KEEP: as it is */
    int64_t retries;       /* or DEPLOY_KEEP */
    int64_t max_age_s;     /* or DEPLOY_KEEP */
    bool created, changed; /* out */
};

/* Creates the function, or updates it where it differs, and waits until it is ready; code is sent only when the
 * function does not have it. The exit status, what is wrong on stderr. */
int deploy_run(struct deploy *d, const struct buf *zip);

/* The function is there: 1, 0, or -1 after a message. */
int deploy_exists(struct call *c, const char *name);

#endif
