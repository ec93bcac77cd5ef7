#include "gather.h"

void gather_committed(struct gather *g, size_t ops, size_t waiting, int64_t took_us)
{
    g->population = ops + waiting;
    g->commit_us = g->commit_us == 0 ? took_us : (7 * g->commit_us + took_us) / 8;
}

size_t gather_missing(struct gather *g, size_t n)
{
    if (n >= g->population || g->population > GATHER_CROWD)
        return 0;
    if (g->skip > 0) {
        g->skip--;
        return 0;
    }
    return g->population - n;
}

int64_t gather_patience_us(const struct gather *g)
{
    int64_t half = g->commit_us / 2;
    return half < GATHER_PATIENCE_MAX_US ? half : GATHER_PATIENCE_MAX_US;
}

/* Three of four must come: of clients that ask again once they are answered nearly all do, of arrivals at random, in
 * half of a commit's time, about half. */
void gather_learn(struct gather *g, size_t missing, size_t came)
{
    if (4 * came >= 3 * missing) {
        g->failures = 0;
        return;
    }
    unsigned skip = 1u << g->failures;
    g->skip = skip < GATHER_SKIP_MAX ? skip : GATHER_SKIP_MAX;
    if (skip < GATHER_SKIP_MAX)
        g->failures++;
}
