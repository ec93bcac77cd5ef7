/* Snapshots: one block holds the count, the function, its pairs and their text. */
#include "function.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct box {
    _Atomic uint32_t refs;
    struct function f;
    /* struct pair[n_env + n_tags], then their strings */
};

static struct box *box_of(const struct function *f)
{
    return (struct box *)(void *)((char *)(uintptr_t)f - offsetof(struct box, f));
}

static size_t pairs_size(const struct pair *v, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += sizeof(struct pair) + strlen(v[i].key) + strlen(v[i].value) + 2;
    return size;
}

static const char *copy_text(char **at, const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = *at;
    memcpy(p, s, n);
    *at += n;
    return p;
}

static int cmp_pair(const void *a, const void *b)
{
    return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static void copy_pairs(struct pair *to, const struct pair *from, size_t n, char **text)
{
    for (size_t i = 0; i < n; i++) {
        to[i].key = copy_text(text, from[i].key);
        to[i].value = copy_text(text, from[i].value);
    }
    if (n > 1)
        qsort(to, n, sizeof(*to), cmp_pair);
}

const struct function *function_build(const struct function *src)
{
    struct box *b = malloc(sizeof(*b) + pairs_size(src->env, src->n_env) + pairs_size(src->tags, src->n_tags));
    if (!b)
        return NULL;
    atomic_init(&b->refs, 1);
    b->f = *src;
    struct pair *env = (struct pair *)(void *)(b + 1);
    struct pair *tags = env + src->n_env;
    char *text = (char *)(tags + src->n_tags);
    copy_pairs(env, src->env, src->n_env, &text);
    copy_pairs(tags, src->tags, src->n_tags, &text);
    b->f.env = env;
    b->f.tags = tags;
    return &b->f;
}

void function_defaults(struct function *f)
{
    *f = (struct function){
        .timeout_s = 3,
        .memory_mb = 128,
        .tmp_mb = 512,
        .architecture = "x86_64",
        .reserved = -1,
        .async = {.max_retries = -1, .max_age_s = -1},
    };
}

const struct function *function_ref(const struct function *f)
{
    atomic_fetch_add_explicit(&box_of(f)->refs, 1, memory_order_relaxed);
    return f;
}

void function_unref(const struct function *f)
{
    if (!f)
        return;
    struct box *b = box_of(f);
    uint32_t before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    BIDE_ASSERT(before > 0, "function %s", f->name);
    if (before == 1)
        free(b);
}
