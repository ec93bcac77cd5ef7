/* When to wait for company before a commit, as a pure policy: no clock, no lock.
 *
 * Whoever waits for an answer before he asks again comes back a moment after his commit. Commit at once what gathered
 * meanwhile, and the clients fall into two halves that wait for each other's commits: each is answered after two of
 * them. So a batch waits a little for those of the commit before, if they have come back in time when that was last
 * tried; one client alone is never waited for, and who comes at random is found out and left alone.
 */
#ifndef STORE_GATHER_H
#define STORE_GATHER_H

#include <stddef.h>
#include <stdint.h>

enum {
    GATHER_CROWD = 32,            /* of more, reading the requests takes as long as a commit: better both at once */
    GATHER_SKIP_MAX = 64,         /* batches that go at once, at most, after a wait in vain */
    GATHER_PATIENCE_MAX_US = 2000 /* the longest wait; otherwise half of what commits take */
};

struct gather {
    size_t population; /* ops of the last commit, and those that waited when it was done */
    unsigned skip;     /* batches that go at once */
    unsigned failures; /* waits in vain, one after the other */
    int64_t commit_us; /* what a commit takes, smoothed */
};

/* A commit is done: `ops` were in it, `waiting` had gathered meanwhile. */
void gather_committed(struct gather *g, size_t ops, size_t waiting, int64_t took_us);

/* How many more to wait for with n ops at hand; 0: commit. */
size_t gather_missing(struct gather *g, size_t n);

/* How long, in microseconds. */
int64_t gather_patience_us(const struct gather *g);

/* What came of waiting for `missing` of them. */
void gather_learn(struct gather *g, size_t missing, size_t came);

#endif
