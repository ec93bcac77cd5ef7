/* Changes: one op each, and the second op that completes a create or an update.
 *
 * An op reads the record inside its transaction, never the map: another op of the same batch may have changed it. What
 * it made is put into the map after the commit, in the order of commits, because completions come in that order.
 */
#include "priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum kind { CREATE, UPDATE, DELETE, RESERVE, ASYNC_SET, ASYNC_MERGE, ASYNC_REMOVE, PAUSE, COMPLETE };

/* Which members of the patch were given. */
enum {
    G_RUNTIME = 1,
    G_ROLE = 2,
    G_HANDLER = 4,
    G_DESCRIPTION = 8,
    G_ARCHITECTURE = 16,
    G_TIMEOUT = 32,
    G_MEMORY = 64,
    G_TMP = 128,
    G_ENV = 256,
    G_TAGS = 512,
    G_CODE = 1024,
    G_REVISION = 2048,
};

struct change {
    struct store_op op;
    struct registry *r;
    enum kind kind;
    uint64_t fid; /* COMPLETE: the incarnation meant */
    int64_t now_ms;
    char name[FUNCTION_NAME_MAX + 1];
    const struct function *patch; /* values given; NULL where the kind has none */
    unsigned given;
    int32_t reserved;
    bool paused;
    struct invoke_config async;
    registry_cb *cb;
    void *arg;
    /* made by run, again at each repetition */
    const struct function *made;
    struct err err;
};

static int read_record(struct store_txn *t, struct registry *r, const char *name, const struct function **ret)
{
    struct slice val;
    int rc = store_get(t, r->functions, name, strlen(name), &val);
    return rc < 0 ? rc : function_decode(val.p, val.len, ret);
}

static int next_fid(struct store_txn *t, struct registry *r, uint64_t *ret)
{
    static const char key[] = "next_fid";
    struct slice val;
    uint8_t raw[8];
    uint64_t fid = 1;
    int rc = store_get(t, r->meta, key, sizeof(key) - 1, &val);
    if (rc == 0 && val.len == sizeof(raw))
        fid = store_get_u64(val.p);
    else if (rc == 0)
        return ERR_CORRUPT;
    else if (rc != ERR_NOTFOUND)
        return rc;
    store_put_u64(raw, fid + 1);
    *ret = fid;
    return store_put(t, r->meta, key, sizeof(key) - 1, raw, sizeof(raw), 0);
}

static void new_revision(struct function *f)
{
    struct id id = id_random();
    id_format(&id, f->revision_id);
}

static void apply_patch(struct function *f, const struct function *p, unsigned given)
{
    if (given & G_RUNTIME)
        memcpy(f->runtime, p->runtime, sizeof(f->runtime));
    if (given & G_ROLE)
        memcpy(f->role, p->role, sizeof(f->role));
    if (given & G_HANDLER)
        memcpy(f->handler, p->handler, sizeof(f->handler));
    if (given & G_DESCRIPTION)
        memcpy(f->description, p->description, sizeof(f->description));
    if (given & G_ARCHITECTURE)
        memcpy(f->architecture, p->architecture, sizeof(f->architecture));
    if (given & G_TIMEOUT)
        f->timeout_s = p->timeout_s;
    if (given & G_MEMORY)
        f->memory_mb = p->memory_mb;
    if (given & G_TMP)
        f->tmp_mb = p->tmp_mb;
    if (given & G_ENV) {
        f->env = p->env;
        f->n_env = p->n_env;
        f->has_env = true;
    }
    if (given & G_TAGS) {
        f->tags = p->tags;
        f->n_tags = p->n_tags;
    }
    if (given & G_CODE) {
        memcpy(f->code_sha256, p->code_sha256, sizeof(f->code_sha256));
        f->code_size = p->code_size;
    }
}

static int apply_create(struct store_txn *t, struct change *c, struct function *f)
{
    function_defaults(f);
    memcpy(f->name, c->name, sizeof(f->name));
    apply_patch(f, c->patch, c->given);
    f->state = FUNCTION_PENDING;
    f->generation = 1;
    f->modified_at_ms = c->now_ms;
    new_revision(f);
    return next_fid(t, c->r, &f->fid);
}

static int apply_update(struct change *c, struct function *f)
{
    if ((c->given & G_REVISION) && strcmp(f->revision_id, c->patch->revision_id) != 0)
        return err_set(&c->err, ERR_CONFLICT, "revision");
    if (f->state == FUNCTION_PENDING)
        return err_set(&c->err, ERR_CONFLICT, "pending");
    if (f->update == UPDATE_IN_PROGRESS)
        return err_set(&c->err, ERR_CONFLICT, "update");
    apply_patch(f, c->patch, c->given);
    f->update = UPDATE_IN_PROGRESS;
    f->generation++;
    f->modified_at_ms = c->now_ms;
    new_revision(f);
    return 0;
}

/* The function was pending, or its update in progress, and its code is in place: that is all there is to wait for. */
static int apply_complete(struct change *c, struct function *f)
{
    if (f->fid != c->fid)
        return ERR_NOTFOUND;
    if (f->state != FUNCTION_PENDING && f->update != UPDATE_IN_PROGRESS)
        return ERR_CONFLICT;
    if (f->state != FUNCTION_FAILED || code_present(c->r, f->code_sha256)) {
        f->state = FUNCTION_ACTIVE;
        f->state_reason[0] = '\0';
    }
    if (f->update == UPDATE_IN_PROGRESS)
        f->update = UPDATE_SUCCESSFUL;
    new_revision(f);
    return 0;
}

/* What all others have reserved, read in the transaction. */
static int sum_reserved(struct store_txn *t, struct registry *r, const char *but, int64_t *ret)
{
    struct store_cursor *cur;
    struct slice key, val;
    int rc = store_cursor_open(t, r->functions, &cur);
    if (rc < 0)
        return rc;
    *ret = 0;
    for (rc = store_cursor_seek(cur, NULL, 0, &key, &val); rc == 0; rc = store_cursor_next(cur, &key, &val)) {
        const struct function *f;
        rc = function_decode(val.p, val.len, &f);
        if (rc == ERR_NOMEM)
            break;
        if (rc < 0)
            continue; /* unreadable: not served, so it holds no concurrency */
        if (f->reserved > 0 && strcmp(f->name, but) != 0)
            *ret += f->reserved;
        function_unref(f);
    }
    store_cursor_close(cur);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

static int apply_reserved(struct store_txn *t, struct change *c, struct function *f)
{
    int64_t others;
    /* Less than before, none, or nothing takes from nobody, whatever the quota is by now. */
    if (c->reserved > 0 && c->reserved > f->reserved) {
        int rc = sum_reserved(t, c->r, c->name, &others);
        if (rc < 0)
            return rc;
        if (others + c->reserved > (int64_t)c->r->account_concurrency - c->r->unreserved_minimum)
            return err_set(&c->err, ERR_FULL, "fewer than %d would stay unreserved", (int)c->r->unreserved_minimum);
    }
    f->reserved = c->reserved;
    return 0;
}

static int apply_async(struct change *c, struct function *f)
{
    struct invoke_config *a = &f->async;
    if (c->kind != ASYNC_SET && !a->present)
        return err_set(&c->err, ERR_NOTFOUND, "config");
    if (c->kind != ASYNC_MERGE)
        *a = (struct invoke_config){.max_retries = -1, .max_age_s = -1};
    if (c->kind == ASYNC_REMOVE)
        return 0;
    a->present = true;
    if (c->async.max_retries >= 0)
        a->max_retries = c->async.max_retries;
    if (c->async.max_age_s >= 0)
        a->max_age_s = c->async.max_age_s;
    a->modified_at_ms = c->now_ms;
    return 0;
}

static int apply(struct store_txn *t, struct change *c, struct function *f)
{
    switch (c->kind) {
    case CREATE:
        return apply_create(t, c, f);
    case UPDATE:
        return apply_update(c, f);
    case COMPLETE:
        return apply_complete(c, f);
    case RESERVE:
        return apply_reserved(t, c, f);
    case ASYNC_SET:
    case ASYNC_MERGE:
    case ASYNC_REMOVE:
        return apply_async(c, f);
    case PAUSE:
        f->paused = c->paused;
        return 0;
    case DELETE:
        break;
    }
    return ERR_INTERNAL;
}

int record_put(struct store_txn *t, struct registry *r, const struct function *f)
{
    struct buf b;
    buf_init(&b, FUNCTION_RECORD_MAX);
    int rc = function_encode(f, &b);
    if (rc == 0)
        rc = store_put(t, r->functions, f->name, strlen(f->name), b.data, b.len, 0);
    buf_done(&b);
    return rc;
}

static int run_change(struct store_txn *t, void *arg)
{
    struct change *c = arg;
    const struct function *old = NULL;
    struct function f;
    function_unref(c->made);
    c->made = NULL;
    c->err = (struct err){0};
    int rc = read_record(t, c->r, c->name, &old);
    if (c->kind == CREATE) {
        if (rc != ERR_NOTFOUND)
            goto out_exists;
    } else {
        if (rc < 0)
            return rc;
        f = *old;
    }
    rc = apply(t, c, &f);
    if (rc == 0) {
        c->made = function_build(&f);
        rc = c->made ? record_put(t, c->r, c->made) : ERR_NOMEM;
    }
    function_unref(old);
    return rc;
out_exists:
    function_unref(old);
    return rc == 0 ? ERR_EXISTS : rc;
}

/* A record that cannot be read can still be deleted: its incarnation is unknown, so it leaves no tombstone. */
static int run_delete(struct store_txn *t, void *arg)
{
    struct change *c = arg;
    const struct function *f;
    uint8_t key[8];
    int rc = read_record(t, c->r, c->name, &f);
    if (rc < 0 && rc != ERR_CORRUPT)
        return rc;
    if (rc == 0) {
        store_put_u64(key, f->fid);
        function_unref(f);
        rc = store_put(t, c->r->tombstones, key, sizeof(key), c->name, strlen(c->name), 0);
        if (rc < 0)
            return rc;
    }
    return store_del(t, c->r->functions, c->name, strlen(c->name));
}

static void tell(struct registry *r, const struct function *f, bool deleted)
{
    for (size_t i = 0; i < r->n_listeners; i++)
        r->listeners[i].cb(f, deleted, r->listeners[i].arg);
}

static void change_free(struct change *c)
{
    function_unref(c->made);
    function_unref(c->patch);
    free(c);
}

/* No room, or no memory: it is tried again with each sweep. */
static void complete_later(struct registry *r, const char *name, int err)
{
    log_warn("registry", "a function stays pending for now name=%s err=%s", name, err_name(err));
    atomic_store(&r->unfinished, true);
    sweep_wanted(r);
}

/* The store thread, after the commit. */
static void on_done(int err, void *arg)
{
    struct change *c = arg;
    struct registry *r = c->r;
    if (err == 0 && c->kind == DELETE) {
        const struct function *gone = map_del(r, c->name);
        sweep_wanted(r);
        if (gone)
            tell(r, gone, true);
        function_unref(gone);
    } else if (err == 0) {
        map_put(r, function_ref(c->made));
        if (c->kind == UPDATE)
            sweep_wanted(r); /* there may be new code instead of old */
        tell(r, c->made, false);
    }
    if (c->kind == COMPLETE && err < 0 && err != ERR_NOTFOUND && err != ERR_CONFLICT)
        complete_later(r, c->name, err);
    if (err < 0 && c->err.code == 0)
        (void)err_set(&c->err, err, "function %s: %s", c->name, err_name(err));
    if (c->cb)
        c->cb(err, err < 0 ? &c->err : NULL, err == 0 ? c->made : NULL, c->arg);
    if (err == 0 && (c->kind == CREATE || c->kind == UPDATE))
        change_complete(r, c->made);
    change_free(c);
}

static int change_new(struct registry *r, const char *name, enum kind kind, registry_cb *cb, void *arg,
                      struct change **ret)
{
    size_t len = strlen(name);
    if (len == 0 || len > FUNCTION_NAME_MAX)
        return kind == CREATE ? ERR_INVALID : ERR_NOTFOUND;
    struct change *c = calloc(1, sizeof(*c));
    if (!c)
        return ERR_NOMEM;
    c->r = r;
    c->kind = kind;
    c->now_ms = clock_now_ms(r->clock);
    memcpy(c->name, name, len);
    c->cb = cb;
    c->arg = arg;
    c->op = (struct store_op){.run = kind == DELETE ? run_delete : run_change, .done = on_done, .arg = c};
    if (kind == CREATE)
        c->op.flags = STORE_OP_NEW;
    *ret = c;
    return 0;
}

static int submit(struct change *c)
{
    int rc = store_submit(c->r->store, &c->op);
    if (rc < 0)
        change_free(c);
    return rc;
}

void change_complete(struct registry *r, const struct function *f)
{
    struct change *c;
    int rc = change_new(r, f->name, COMPLETE, NULL, NULL, &c);
    if (rc == 0) {
        c->fid = f->fid;
        rc = submit(c);
    }
    /* Closing: the next registry_open completes it. */
    if (rc < 0 && rc != ERR_SHUTDOWN)
        complete_later(r, f->name, rc);
}

void change_complete_all(struct registry *r)
{
    char after[FUNCTION_NAME_MAX + 1] = "";
    const struct function *f;
    while (registry_list(r, after, &f, 1) == 1) {
        memcpy(after, f->name, sizeof(after));
        if (f->state == FUNCTION_PENDING || f->update == UPDATE_IN_PROGRESS)
            change_complete(r, f);
        function_unref(f);
    }
}

static int set_text(char *out, size_t cap, const char *s, unsigned bit, unsigned *given)
{
    if (!s)
        return 0;
    size_t n = strlen(s);
    if (n >= cap)
        return ERR_INVALID;
    memcpy(out, s, n + 1);
    *given |= bit;
    return 0;
}

static void set_number(int32_t *out, int32_t v, unsigned bit, unsigned *given)
{
    if (v < 0)
        return;
    *out = v;
    *given |= bit;
}

static int patch_new(const struct function_spec *s, const struct function **ret, unsigned *given)
{
    struct function p;
    function_defaults(&p);
    *given = 0;
    if (set_text(p.runtime, sizeof(p.runtime), s->runtime, G_RUNTIME, given) < 0 ||
        set_text(p.role, sizeof(p.role), s->role, G_ROLE, given) < 0 ||
        set_text(p.handler, sizeof(p.handler), s->handler, G_HANDLER, given) < 0 ||
        set_text(p.description, sizeof(p.description), s->description, G_DESCRIPTION, given) < 0 ||
        set_text(p.architecture, sizeof(p.architecture), s->architecture, G_ARCHITECTURE, given) < 0 ||
        set_text(p.revision_id, sizeof(p.revision_id), s->revision_id, G_REVISION, given) < 0)
        return ERR_INVALID;
    set_number(&p.timeout_s, s->timeout_s, G_TIMEOUT, given);
    set_number(&p.memory_mb, s->memory_mb, G_MEMORY, given);
    set_number(&p.tmp_mb, s->tmp_mb, G_TMP, given);
    if (s->env_given) {
        p.env = s->env;
        p.n_env = s->n_env;
        *given |= G_ENV;
    }
    if (s->tags) {
        p.tags = s->tags;
        p.n_tags = s->n_tags;
        *given |= G_TAGS;
    }
    if (s->code) {
        memcpy(p.code_sha256, s->code->sha256, sizeof(p.code_sha256));
        p.code_size = s->code->zip_bytes;
        *given |= G_CODE;
    }
    *ret = function_build(&p);
    return *ret ? 0 : ERR_NOMEM;
}

static int change_spec(struct registry *r, const char *name, const struct function_spec *spec, enum kind kind,
                       registry_cb *cb, void *arg)
{
    struct change *c;
    int rc = change_new(r, name, kind, cb, arg, &c);
    if (rc < 0)
        return rc;
    rc = patch_new(spec, &c->patch, &c->given);
    if (rc == 0 && kind == CREATE)
        rc = !(c->given & G_CODE) ? ERR_INVALID : map_reserve(r);
    if (rc < 0) {
        change_free(c);
        return rc;
    }
    return submit(c);
}

int registry_create(struct registry *r, const char *name, const struct function_spec *spec, registry_cb *cb, void *arg)
{
    return change_spec(r, name, spec, CREATE, cb, arg);
}

int registry_update(struct registry *r, const char *name, const struct function_spec *spec, registry_cb *cb, void *arg)
{
    return change_spec(r, name, spec, UPDATE, cb, arg);
}

int registry_delete(struct registry *r, const char *name, registry_cb *cb, void *arg)
{
    struct change *c;
    int rc = change_new(r, name, DELETE, cb, arg, &c);
    return rc < 0 ? rc : submit(c);
}

int registry_set_reserved(struct registry *r, const char *name, int32_t reserved, registry_cb *cb, void *arg)
{
    struct change *c;
    int rc = change_new(r, name, RESERVE, cb, arg, &c);
    if (rc < 0)
        return rc;
    c->reserved = reserved < 0 ? -1 : reserved;
    return submit(c);
}

int registry_set_invoke_config(struct registry *r, const char *name, const struct invoke_config *cfg, bool merge,
                               registry_cb *cb, void *arg)
{
    struct change *c;
    int rc = change_new(r, name, !cfg ? ASYNC_REMOVE : merge ? ASYNC_MERGE : ASYNC_SET, cb, arg, &c);
    if (rc < 0)
        return rc;
    if (cfg)
        c->async = *cfg;
    return submit(c);
}

int registry_set_paused(struct registry *r, const char *name, bool paused, registry_cb *cb, void *arg)
{
    struct change *c;
    int rc = change_new(r, name, PAUSE, cb, arg, &c);
    if (rc < 0)
        return rc;
    c->paused = paused;
    return submit(c);
}
