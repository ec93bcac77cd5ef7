/* Opening, the map of snapshots, and reading. */
#include "priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* --- the map: two arrays, sorted by name and by fid; functions are few and change rarely ----- */

static size_t find_name(const struct registry *r, const char *name, bool *ret_hit)
{
    size_t lo = 0, hi = r->n;
    *ret_hit = false;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(r->by_name[mid]->name, name);
        if (c == 0) {
            *ret_hit = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static size_t find_fid(const struct registry *r, uint64_t fid)
{
    size_t lo = 0, hi = r->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (r->by_fid[mid]->fid < fid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The mutex is held. */
static int grow(struct registry *r, size_t need)
{
    if (need <= r->cap)
        return 0;
    size_t cap = r->cap ? 2 * r->cap : 64;
    while (cap < need)
        cap *= 2;
    const struct function **a = realloc(r->by_name, cap * sizeof(*a));
    if (!a)
        return ERR_NOMEM;
    r->by_name = a;
    a = realloc(r->by_fid, cap * sizeof(*a));
    if (!a)
        return ERR_NOMEM;
    r->by_fid = a;
    r->cap = cap;
    return 0;
}

int map_reserve(struct registry *r)
{
    /* Creates wait for their commit while others are reserved: leave room for as many as one batch could hold. */
    pthread_mutex_lock(&r->mu);
    int rc = grow(r, r->n + 4096);
    pthread_mutex_unlock(&r->mu);
    return rc;
}

static void insert(const struct function **v, size_t n, size_t at, const struct function *f)
{
    memmove(v + at + 1, v + at, (n - at) * sizeof(*v));
    v[at] = f;
}

static void take_out(const struct function **v, size_t n, size_t at)
{
    memmove(v + at, v + at + 1, (n - at - 1) * sizeof(*v));
}

void map_put(struct registry *r, const struct function *f)
{
    const struct function *old = NULL;
    bool hit;
    pthread_mutex_lock(&r->mu);
    size_t i = find_name(r, f->name, &hit);
    size_t j = find_fid(r, f->fid);
    if (hit) {
        old = r->by_name[i];
        BIDE_ASSERT(old->fid == f->fid, "%s: fid %llu replaced by %llu", f->name, (unsigned long long)old->fid,
                    (unsigned long long)f->fid);
        r->by_name[i] = f;
        r->by_fid[j] = f;
    } else {
        int rc = grow(r, r->n + 1);
        BIDE_ASSERT(rc == 0, "no room for %s", f->name);
        insert(r->by_name, r->n, i, f);
        insert(r->by_fid, r->n, j, f);
        r->n++;
    }
    for (struct pin *p = r->pins; p; p = p->next)
        if (strcmp(p->sha256, f->code_sha256) == 0)
            p->fresh = false; /* a worker may come to use it: only the sweep removes it from now on */
    pthread_mutex_unlock(&r->mu);
    function_unref(old);
}

const struct function *map_del(struct registry *r, const char *name)
{
    const struct function *f = NULL;
    bool hit;
    pthread_mutex_lock(&r->mu);
    size_t i = find_name(r, name, &hit);
    if (hit) {
        f = r->by_name[i];
        take_out(r->by_fid, r->n, find_fid(r, f->fid));
        take_out(r->by_name, r->n, i);
        r->n--;
    }
    pthread_mutex_unlock(&r->mu);
    return f;
}

/* --- reading ----- */

const struct function *registry_get(struct registry *r, const char *name)
{
    bool hit;
    pthread_mutex_lock(&r->mu);
    size_t i = find_name(r, name, &hit);
    const struct function *f = hit ? function_ref(r->by_name[i]) : NULL;
    pthread_mutex_unlock(&r->mu);
    return f;
}

const struct function *registry_get_fid(struct registry *r, uint64_t fid)
{
    pthread_mutex_lock(&r->mu);
    size_t i = find_fid(r, fid);
    const struct function *f = i < r->n && r->by_fid[i]->fid == fid ? function_ref(r->by_fid[i]) : NULL;
    pthread_mutex_unlock(&r->mu);
    return f;
}

size_t registry_list(struct registry *r, const char *after, const struct function **out, size_t max_n)
{
    bool hit;
    size_t n = 0;
    pthread_mutex_lock(&r->mu);
    size_t i = find_name(r, after, &hit);
    for (i += hit; i < r->n && n < max_n; i++)
        out[n++] = function_ref(r->by_name[i]);
    pthread_mutex_unlock(&r->mu);
    return n;
}

size_t registry_count(struct registry *r)
{
    pthread_mutex_lock(&r->mu);
    size_t n = r->n;
    pthread_mutex_unlock(&r->mu);
    return n;
}

void registry_totals(struct registry *r, int64_t *ret_reserved, int64_t *ret_code_bytes)
{
    int64_t reserved = 0, bytes = 0;
    pthread_mutex_lock(&r->mu);
    for (size_t i = 0; i < r->n; i++) {
        if (r->by_fid[i]->reserved > 0)
            reserved += r->by_fid[i]->reserved;
        bytes += r->by_fid[i]->code_size;
    }
    pthread_mutex_unlock(&r->mu);
    *ret_reserved = reserved;
    *ret_code_bytes = bytes;
}

void registry_on_change(struct registry *r, registry_change_cb *cb, void *arg)
{
    BIDE_ASSERT(r->n_listeners < REGISTRY_LISTENERS_MAX, "%zu listeners", r->n_listeners);
    r->listeners[r->n_listeners++] = (struct listener){cb, arg};
}

/* --- opening ----- */

struct load {
    struct registry *r;
    bool any_corrupt;
    struct err *e;
};

/* A crash between a create or an update and its completion leaves the function pending: finish it here. The package was
 * durable before the record that names it, so it is missing only if somebody removed it. */
static const struct function *finish_interrupted(struct registry *r, const struct function *f)
{
    struct function g = *f;
    struct id id = id_random();
    if (code_present(r, f->code_sha256)) {
        if (g.state == FUNCTION_PENDING)
            g.state = FUNCTION_ACTIVE;
        if (g.update == UPDATE_IN_PROGRESS)
            g.update = UPDATE_SUCCESSFUL;
    } else {
        if (g.update == UPDATE_IN_PROGRESS)
            g.update = UPDATE_FAILED;
        g.state = FUNCTION_FAILED;
        (void)snprintf(g.state_reason, sizeof(g.state_reason), "The code package %s is missing.", g.code_sha256);
    }
    id_format(&id, g.revision_id);
    return function_build(&g);
}

/* A record that cannot be read costs itself only: the function is not served, its events stay where they are, and no
 * package is swept (this record may name it). A record of a newer program stops the start. */
static int load_one(struct load *l, struct slice key, struct slice val)
{
    const struct function *f;
    int rc = function_decode(val.p, val.len, &f);
    if (rc == ERR_CORRUPT || (rc == 0 && (strlen(f->name) != key.len || memcmp(f->name, key.p, key.len) != 0))) {
        log_error("registry", "the record of a function cannot be read; it is not served name=%.*s", (int)key.len,
                  (const char *)key.p);
        l->any_corrupt = true;
        if (rc == 0)
            function_unref(f);
        return 0;
    }
    if (rc < 0)
        return err_set(l->e, rc, "function %.*s: %s", (int)key.len, (const char *)key.p,
                       rc == ERR_VERSION ? "its record was written by a newer bide" : err_name(rc));
    rc = grow(l->r, l->r->n + 1);
    if (rc < 0) {
        function_unref(f);
        return rc;
    }
    map_put(l->r, f);
    return 0;
}

static int load(struct store_txn *t, void *arg)
{
    struct load *l = arg;
    struct registry *r = l->r;
    struct store_cursor *c;
    struct slice key, val;
    int rc = store_cursor_open(t, r->functions, &c);
    if (rc < 0)
        return rc;
    for (rc = store_cursor_seek(c, NULL, 0, &key, &val); rc == 0; rc = store_cursor_next(c, &key, &val)) {
        rc = load_one(l, key, val);
        if (rc < 0)
            break;
    }
    store_cursor_close(c);
    if (rc != ERR_NOTFOUND)
        return rc;
    code_restore(r); /* nobody else writes yet: the transaction may stay open for as long as it takes */
    for (size_t i = 0; i < r->n; i++) {
        const struct function *f = r->by_fid[i];
        if (f->state != FUNCTION_PENDING && f->update != UPDATE_IN_PROGRESS)
            continue;
        const struct function *g = finish_interrupted(r, f);
        if (!g)
            return ERR_NOMEM;
        rc = record_put(t, r, g);
        if (rc < 0) {
            function_unref(g);
            return rc;
        }
        map_put(r, g);
    }
    return 0;
}

int registry_open(struct registry **ret, struct store *s, const struct registry_opts *o, struct err *e)
{
    struct registry *r = calloc(1, sizeof(*r));
    if (!r)
        return err_set(e, ERR_NOMEM, "registry: out of memory");
    r->store = s;
    r->clock = o->clock;
    r->code_fd = o->code_fd;
    r->account_concurrency = o->account_concurrency;
    r->unreserved_minimum = o->unreserved_minimum;
    r->on_sweep_due = o->on_sweep_due;
    r->on_sweep_due_arg = o->arg;
    pthread_mutex_init(&r->mu, NULL);
    pthread_mutex_init(&r->code_mu, NULL);
    struct load l = {.r = r, .e = e};
    int rc = store_table(s, "function", &r->functions, e);
    if (rc == 0)
        rc = store_table(s, "function_tombstone", &r->tombstones, e);
    if (rc == 0)
        rc = store_table(s, "registry_meta", &r->meta, e);
    if (rc == 0)
        rc = store_write_now(s, load, &l, e);
    r->keep_all = l.any_corrupt;
    if (rc == 0 && !r->keep_all)
        rc = sweep(r, e);
    if (rc < 0) {
        registry_close(r);
        return rc;
    }
    *ret = r;
    return 0;
}

bool registry_whole(const struct registry *r)
{
    return !r->keep_all;
}

void registry_close(struct registry *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++)
        function_unref(r->by_fid[i]);
    while (r->pins) {
        struct pin *p = r->pins;
        r->pins = p->next;
        free(p);
    }
    free(r->by_name);
    free(r->by_fid);
    free(r->doubtful);
    pthread_mutex_destroy(&r->mu);
    pthread_mutex_destroy(&r->code_mu);
    free(r);
}
