#include "proto.h"

#include <stdio.h>
#include <string.h>

#include "base/pack.h"

enum { SYS_MAX = 4095, SIGNAL_MAX = 64 };

/* One table says what the two directions share: the name, the side and the number of items in the array. */
static const struct {
    enum proto_type type;
    const char *name;
    enum proto_from from;
    size_t n_items; /* with type and worker */
} kinds[] = {
    {PROTO_START, "START", PROTO_FROM_ENGINE, 12},
    {PROTO_RESET, "RESET", PROTO_FROM_ENGINE, 2},
    {PROTO_STOP, "STOP", PROTO_FROM_ENGINE, 2},
    {PROTO_FREEZE, "FREEZE", PROTO_FROM_ENGINE, 2},
    {PROTO_THAW, "THAW", PROTO_FROM_ENGINE, 2},
    {PROTO_READY, "READY", PROTO_FROM_ENGINE, 2},
    {PROTO_HELLO, "HELLO", PROTO_FROM_EXECUTOR, 6},
    {PROTO_STARTED, "STARTED", PROTO_FROM_EXECUTOR, 4},
    {PROTO_START_FAILED, "START_FAILED", PROTO_FROM_EXECUTOR, 5},
    {PROTO_EXITED, "EXITED", PROTO_FROM_EXECUTOR, 7},
    {PROTO_RESET_DONE, "RESET_DONE", PROTO_FROM_EXECUTOR, 2},
    {PROTO_DEAD, "DEAD", PROTO_FROM_EXECUTOR, 5},
};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

static size_t kind_of(uint64_t type)
{
    size_t i = 0;
    while (i < N_KINDS && (uint64_t)kinds[i].type != type)
        i++;
    return i;
}

const char *proto_type_name(enum proto_type t)
{
    size_t i = kind_of((uint64_t)t);
    return i < N_KINDS ? kinds[i].name : "?";
}

/* --- what a message may say: asked by both directions, so that neither sends what the other refuses ------------------
 */

static bool is_sha256_hex(const char *s)
{
    return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

/* The name becomes a path component opened by a process with privileges. */
static bool is_runtime_name(const char *s)
{
    return s[0] != '.' && strlen(s) <= PROTO_RUNTIME_MAX &&
           strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._-") == strlen(s);
}

static bool in_range(int64_t v, int64_t min, int64_t max)
{
    return v >= min && v <= max;
}

static const char *wrong_env(const struct proto_start *s)
{
    for (size_t i = 0; i < s->n_env; i++) {
        const char *eq = strchr(s->env[i], '=');
        if (eq == NULL || eq == s->env[i])
            return "env";
    }
    return NULL;
}

static bool layers_ok(const struct proto_start *s)
{
    for (size_t i = 0; i < s->n_layers; i++) {
        if (i == PROTO_LAYERS_MAX || !is_sha256_hex(s->layers[i]))
            return false;
        for (size_t j = 0; j < i; j++)
            if (strcmp(s->layers[i], s->layers[j]) == 0)
                return false;
    }
    return true;
}

/* The first field that is wrong, or NULL. */
static const char *wrong_start(const struct proto_start *s)
{
    if (!is_sha256_hex(s->code_sha256))
        return "code_sha256";
    if (!is_runtime_name(s->runtime_dir))
        return "runtime_dir";
    if (!in_range(s->memory_mb, PROTO_MEMORY_MB_MIN, PROTO_MEMORY_MB_MAX))
        return "memory_mb";
    if (!in_range(s->tmp_mb, PROTO_TMP_MB_MIN, PROTO_TMP_MB_MAX))
        return "tmp_mb";
    if (!in_range(s->nproc, PROTO_NPROC_MIN, PROTO_NPROC_MAX))
        return "nproc";
    if (s->n_argv < 1 || s->n_argv > PROTO_ARGV_MAX || s->argv[0][0] != '/')
        return "argv";
    if (!layers_ok(s))
        return "layers";
    if (s->n_env > PROTO_ENV_MAX)
        return "env";
    return wrong_env(s);
}

static const char *wrong(const struct proto_msg *m)
{
    if ((m->worker == 0) != (m->type == PROTO_HELLO))
        return "worker";
    switch (m->type) {
    case PROTO_START:
        return wrong_start(&m->u.start);
    case PROTO_HELLO:
        return m->u.hello.n_degraded > PROTO_DEGRADED_MAX ? "degraded" : NULL;
    case PROTO_START_FAILED:
        return !in_range(m->u.failed.sys, 0, SYS_MAX) ? "errno" : NULL;
    case PROTO_EXITED:
        if (!in_range(m->u.exited.exec_errno, 0, SYS_MAX))
            return "exec_errno";
        if (!in_range(m->u.exited.exit_code, -1, 255))
            return "exit_code";
        return !in_range(m->u.exited.signal, 0, SIGNAL_MAX) ? "signal" : NULL;
    case PROTO_DEAD:
        return !in_range(m->u.dead.signal, 0, SIGNAL_MAX) ? "signal" : NULL;
    case PROTO_RESET:
    case PROTO_STOP:
    case PROTO_FREEZE:
    case PROTO_THAW:
    case PROTO_READY:
    case PROTO_STARTED:
    case PROTO_RESET_DONE:
        return NULL;
    }
    return "type";
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void pack_list(struct pack *p, const char *const *list, size_t n)
{
    pack_array(p, n);
    for (size_t i = 0; i < n; i++)
        pack_str(p, list[i]);
}

static size_t text_size(const char *const *list, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += strlen(list[i]) + 1;
    return sum;
}

static void pack_start(struct pack *p, const struct proto_start *s)
{
    pack_str(p, s->code_sha256);
    pack_str(p, s->runtime_dir);
    pack_str(p, s->role);
    pack_uint(p, s->memory_mb);
    pack_uint(p, s->tmp_mb);
    pack_uint(p, s->nproc);
    pack_bool(p, s->cpu_boost);
    pack_list(p, s->argv, s->n_argv);
    pack_list(p, s->env, s->n_env);
    pack_list(p, s->layers, s->n_layers);
}

static void pack_body(struct pack *p, const struct proto_msg *m)
{
    switch (m->type) {
    case PROTO_START:
        pack_start(p, &m->u.start);
        break;
    case PROTO_HELLO:
        pack_uint(p, m->u.hello.version);
        pack_str(p, m->u.hello.limits);
        pack_str(p, m->u.hello.sandbox);
        pack_list(p, m->u.hello.degraded, m->u.hello.n_degraded);
        break;
    case PROTO_STARTED:
        pack_uint(p, m->u.started.uid);
        pack_bool(p, m->u.started.has_peak);
        break;
    case PROTO_START_FAILED:
        pack_str(p, m->u.failed.step);
        pack_int(p, m->u.failed.sys);
        pack_str(p, m->u.failed.text);
        break;
    case PROTO_EXITED:
        pack_int(p, m->u.exited.exec_errno);
        pack_int(p, m->u.exited.exit_code);
        pack_int(p, m->u.exited.signal);
        pack_bool(p, m->u.exited.oom);
        pack_uint(p, m->u.exited.peak_kb);
        break;
    case PROTO_DEAD:
        pack_bool(p, m->u.dead.oom);
        pack_int(p, m->u.dead.signal);
        pack_uint(p, m->u.dead.peak_kb);
        break;
    case PROTO_RESET:
    case PROTO_STOP:
    case PROTO_FREEZE:
    case PROTO_THAW:
    case PROTO_READY:
    case PROTO_RESET_DONE:
        break;
    }
}

int proto_encode(const struct proto_msg *m, struct buf *out, struct err *e)
{
    size_t kind = kind_of((uint64_t)m->type);
    const char *field = wrong(m);
    if (kind == N_KINDS || field != NULL)
        return err_set(e, ERR_INVALID, "message %s: %s is out of range", proto_type_name(m->type),
                       field != NULL ? field : "type");
    if (m->type == PROTO_START &&
        text_size(m->u.start.argv, m->u.start.n_argv) + text_size(m->u.start.env, m->u.start.n_env) > PROTO_TEXT_MAX)
        return err_set(e, ERR_TOOBIG, "arguments and environment are over %d bytes", PROTO_TEXT_MAX);
    struct pack p;
    pack_init(&p, out);
    pack_array(&p, kinds[kind].n_items);
    pack_uint(&p, (uint64_t)m->type);
    pack_uint(&p, m->worker);
    pack_body(&p, m);
    int rc = pack_error(&p);
    return rc < 0 ? err_set(e, rc, "message %s: does not fit a datagram", kinds[kind].name) : 0;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* A number that does not fit its field becomes one that wrong() refuses, or the flag *bad. */
static uint32_t take_u32(struct unpack *u, bool *bad)
{
    uint64_t v = unpack_uint(u);
    if (v > UINT32_MAX)
        *bad = true;
    return (uint32_t)v;
}

static int32_t take_i32(struct unpack *u, bool *bad)
{
    int64_t v = unpack_int(u);
    if (v < INT32_MIN || v > INT32_MAX)
        *bad = true;
    return (int32_t)v;
}

/* An array of strings, copied into in->text up to room; the list that in->list then holds is NULL-terminated. */
static const char *const *take_list(struct proto_in *in, struct unpack *u, size_t max, size_t room, size_t *ret_n,
                                    bool *bad)
{
    const char **first = in->list + in->n_list;
    size_t n = unpack_enter(u);
    if (n > max) {
        *bad = true;
        n = 0;
    }
    for (size_t i = 0; i < n; i++) {
        struct slice s = unpack_strn(u);
        if (s.p == NULL || s.len >= room - in->text_len || memchr(s.p, '\0', s.len) != NULL) {
            *bad = true;
            n = i;
            break;
        }
        char *to = in->text + in->text_len;
        memcpy(to, s.p, s.len);
        to[s.len] = '\0';
        in->text_len += s.len + 1;
        first[i] = to;
    }
    unpack_leave(u);
    first[n] = NULL;
    in->n_list += n + 1;
    *ret_n = n;
    return first;
}

static void take_body(struct proto_in *in, struct unpack *u, bool *bad)
{
    struct proto_msg *m = &in->msg;
    switch (m->type) {
    case PROTO_START:
        unpack_str(u, m->u.start.code_sha256, sizeof m->u.start.code_sha256);
        unpack_str(u, m->u.start.runtime_dir, sizeof m->u.start.runtime_dir);
        unpack_str(u, m->u.start.role, sizeof m->u.start.role);
        m->u.start.memory_mb = take_u32(u, bad);
        m->u.start.tmp_mb = take_u32(u, bad);
        m->u.start.nproc = take_u32(u, bad);
        m->u.start.cpu_boost = unpack_bool(u);
        m->u.start.argv = take_list(in, u, PROTO_ARGV_MAX, PROTO_TEXT_MAX, &m->u.start.n_argv, bad);
        m->u.start.env = take_list(in, u, PROTO_ENV_MAX, PROTO_TEXT_MAX, &m->u.start.n_env, bad);
        m->u.start.layers = take_list(in, u, PROTO_LAYERS_MAX, sizeof in->text, &m->u.start.n_layers, bad);
        break;
    case PROTO_HELLO:
        m->u.hello.version = take_u32(u, bad);
        unpack_str(u, m->u.hello.limits, sizeof m->u.hello.limits);
        unpack_str(u, m->u.hello.sandbox, sizeof m->u.hello.sandbox);
        m->u.hello.degraded = take_list(in, u, PROTO_DEGRADED_MAX, PROTO_TEXT_MAX, &m->u.hello.n_degraded, bad);
        break;
    case PROTO_STARTED:
        m->u.started.uid = take_u32(u, bad);
        m->u.started.has_peak = unpack_bool(u);
        break;
    case PROTO_START_FAILED:
        unpack_str(u, m->u.failed.step, sizeof m->u.failed.step);
        m->u.failed.sys = take_i32(u, bad);
        unpack_str(u, m->u.failed.text, sizeof m->u.failed.text);
        break;
    case PROTO_EXITED:
        m->u.exited.exec_errno = take_i32(u, bad);
        m->u.exited.exit_code = take_i32(u, bad);
        m->u.exited.signal = take_i32(u, bad);
        m->u.exited.oom = unpack_bool(u);
        m->u.exited.peak_kb = unpack_uint(u);
        break;
    case PROTO_DEAD:
        m->u.dead.oom = unpack_bool(u);
        m->u.dead.signal = take_i32(u, bad);
        m->u.dead.peak_kb = unpack_uint(u);
        break;
    case PROTO_RESET:
    case PROTO_STOP:
    case PROTO_FREEZE:
    case PROTO_THAW:
    case PROTO_READY:
    case PROTO_RESET_DONE:
        break;
    }
}

static int take_msg(struct proto_in *in, enum proto_from from, struct unpack *u, struct err *e)
{
    size_t n_items = unpack_left(u);
    uint64_t type = unpack_uint(u);
    size_t kind = kind_of(type);
    if (kind == N_KINDS || kinds[kind].from != from)
        return err_set(e, ERR_CORRUPT, "message of unknown type %llu", (unsigned long long)type);
    const char *name = kinds[kind].name;
    in->msg.type = kinds[kind].type;
    in->msg.worker = unpack_uint(u);
    if (in->msg.type == PROTO_HELLO && n_items > 2) {
        /* Another version may have another shape: look at the version first, on its own. */
        struct unpack ahead = *u;
        uint64_t version = unpack_uint(&ahead);
        if (unpack_error(&ahead) == 0 && version != PROTO_VERSION)
            return err_set(e, ERR_VERSION, "the other process speaks version %llu of the protocol, this one %d",
                           (unsigned long long)version, PROTO_VERSION);
    }
    bool bad = false;
    if (n_items == kinds[kind].n_items)
        take_body(in, u, &bad);
    if (n_items != kinds[kind].n_items || unpack_finish(u) < 0)
        return err_set(e, ERR_CORRUPT, "message %s: malformed", name);
    const char *field = bad ? "a field" : wrong(&in->msg);
    return field != NULL ? err_set(e, ERR_CORRUPT, "message %s: %s is out of range", name, field) : 0;
}

int proto_decode(struct proto_in *in, enum proto_from from, const void *data, size_t len, struct err *e)
{
    memset(&in->msg, 0, sizeof in->msg);
    in->text_len = 0;
    in->n_list = 0;
    if (len > PROTO_MSG_MAX)
        return err_set(e, ERR_CORRUPT, "message of %zu bytes", len);
    struct unpack u;
    int rc = unpack_init(&u, data, len);
    rc = rc < 0 ? err_set(e, rc, "message of %zu bytes that is not msgpack", len) : take_msg(in, from, &u, e);
    unpack_done(&u);
    return rc;
}
