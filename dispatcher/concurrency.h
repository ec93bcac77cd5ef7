/* Concurrency accounting (Lambda: section 6): who may take one more slot. A reserved number is both floor and ceiling;
 * all functions without one share what the reservations leave of the account's.
 */
#ifndef DISPATCHER_CONCURRENCY_H
#define DISPATCHER_CONCURRENCY_H

#include <stdbool.h>
#include <stdint.h>

struct concurrency {
    int64_t account;
    int64_t reserved_sum; /* of all functions' reservations */
    int64_t pool_busy;    /* slots taken by functions without one */
    int64_t busy;         /* slots taken by all */
};

struct concurrency_share {
    int64_t reserved; /* -1: none */
    int64_t busy;
};

enum concurrency_answer { CONCURRENCY_FREE, CONCURRENCY_RESERVED_FULL, CONCURRENCY_ACCOUNT_FULL };

/* A reservation made while the pool was busy does not lift the sum over the account's: its floor is reached as slots
 * come free (CONCURRENCY_ACCOUNT_FULL until then). A change of the reservation while slots are taken moves them between
 * the pool and the function's own. */
void concurrency_set_reserved(struct concurrency *c, struct concurrency_share *f, int64_t reserved);
enum concurrency_answer concurrency_check(const struct concurrency *c, const struct concurrency_share *f);
void concurrency_take(struct concurrency *c, struct concurrency_share *f);
void concurrency_give(struct concurrency *c, struct concurrency_share *f);

#endif
