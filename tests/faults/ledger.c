#include "ledger.h"

#include <string.h>
#include <sys/mman.h>

#include "base/err.h"

struct ledger *ledger_new(void)
{
    void *p = mmap(NULL, sizeof(struct ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void ledger_free(struct ledger *l)
{
    if (l != NULL)
        (void)munmap(l, sizeof *l);
}

void ledger_clear(struct ledger *l)
{
    atomic_store(&l->n_things, 0);
    atomic_store(&l->n_lines, 0);
    atomic_store(&l->clock_ms, 0);
}

uint32_t ledger_thing(struct ledger *l, enum thing_kind kind)
{
    uint32_t n = atomic_load(&l->n_things);
    BIDE_ASSERT(n < LEDGER_THINGS_MAX, "%u things", n);
    l->things[n] = (struct thing){.kind = kind};
    atomic_store(&l->n_things, n + 1);
    return n;
}

/* Lines are taken by several threads at a time: one that is taken and not filled yet is an intention for no thing. */
static uint32_t put(struct ledger *l, const struct line *line)
{
    static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mu);
    uint32_t n = atomic_load(&l->n_lines);
    BIDE_ASSERT(n < LEDGER_LINES_MAX, "%u lines", n);
    l->lines[n] = *line;
    atomic_store(&l->n_lines, n + 1);
    pthread_mutex_unlock(&mu);
    return n;
}

uint32_t ledger_intend(struct ledger *l, uint32_t thing, uint32_t state, uint32_t tries, uint64_t pos)
{
    return put(l, &(struct line){.kind = LINE_INTENDED, .thing = thing, .state = state, .tries = tries, .pos = pos});
}

void ledger_answer(struct ledger *l, uint32_t intent, bool kept, uint64_t pos)
{
    const struct line *i = &l->lines[intent];
    (void)put(l, &(struct line){.kind = kept ? LINE_KEPT : LINE_BROKEN_OFF,
                                .thing = i->thing,
                                .state = i->state,
                                .tries = i->tries,
                                .intent = intent,
                                .pos = pos});
}

static void allow(struct answers *a, const struct line *line)
{
    BIDE_ASSERT(a->n < LEDGER_ANSWERS_MAX, "more states in doubt than %d", LEDGER_ANSWERS_MAX);
    a->state[a->n++] = line->state;
    if (line->tries > a->tries_max)
        a->tries_max = line->tries;
}

static bool is_answered(const struct ledger *l, uint32_t intent, uint32_t n, uint64_t pos)
{
    for (uint32_t i = intent + 1; i < n; i++)
        if (l->lines[i].pos <= pos && l->lines[i].kind != LINE_INTENDED && l->lines[i].intent == intent)
            return true;
    return false;
}

void ledger_allowed(const struct ledger *l, uint32_t thing, uint64_t pos, struct answers *ret)
{
    uint32_t n = atomic_load(&l->n_lines);
    const struct line *kept = NULL, not_there = {0};
    bool known = false;
    *ret = (struct answers){0};
    for (uint32_t i = 0; i < n; i++) {
        const struct line *x = &l->lines[i];
        if (x->thing != thing || x->pos > pos)
            continue;
        known = true;
        if (x->kind == LINE_KEPT && (kept == NULL || x->intent > kept->intent))
            kept = x;
    }
    if (!known)
        return;
    allow(ret, kept != NULL ? kept : &not_there);
    ret->tries_min = ret->tries_max;
    for (uint32_t i = kept != NULL ? kept->intent + 1 : 0; i < n; i++) {
        const struct line *x = &l->lines[i];
        if (x->thing == thing && x->pos <= pos && x->kind == LINE_INTENDED && !is_answered(l, i, n, pos))
            allow(ret, x);
    }
}

uint32_t ledger_kept(const struct ledger *l, uint32_t thing)
{
    struct answers a;
    ledger_allowed(l, thing, UINT64_MAX, &a);
    return a.state[0];
}

void ledger_payload(uint32_t seed, char *out, uint32_t len)
{
    uint32_t x = seed * 2654435761u + 1;
    for (uint32_t i = 0; i < len; i++) {
        x = x * 1664525u + 1013904223u;
        out[i] = (char)('a' + (x >> 24) % 26);
    }
    if (len >= 2)
        out[0] = out[len - 1] = '"';
}
