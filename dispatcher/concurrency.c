#include "concurrency.h"

#include "base/err.h"

void concurrency_set_reserved(struct concurrency *c, struct concurrency_share *f, int64_t reserved)
{
    if (f->reserved >= 0)
        c->reserved_sum -= f->reserved;
    else
        c->pool_busy -= f->busy;
    f->reserved = reserved;
    if (reserved >= 0)
        c->reserved_sum += reserved;
    else
        c->pool_busy += f->busy;
}

enum concurrency_answer concurrency_check(const struct concurrency *c, const struct concurrency_share *f)
{
    if (f->reserved >= 0 && f->busy >= f->reserved)
        return CONCURRENCY_RESERVED_FULL;
    if (c->busy >= c->account)
        return CONCURRENCY_ACCOUNT_FULL;
    return f->reserved >= 0 || c->pool_busy < c->account - c->reserved_sum ? CONCURRENCY_FREE
                                                                           : CONCURRENCY_ACCOUNT_FULL;
}

void concurrency_take(struct concurrency *c, struct concurrency_share *f)
{
    f->busy++;
    c->busy++;
    if (f->reserved < 0)
        c->pool_busy++;
}

void concurrency_give(struct concurrency *c, struct concurrency_share *f)
{
    BIDE_ASSERT(f->busy > 0, "a slot given back that was not taken");
    f->busy--;
    c->busy--;
    if (f->reserved < 0)
        c->pool_busy--;
}
