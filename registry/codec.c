/* The function record. Fields are in the order written here, for ever; new ones are appended under a new version. */
#include "codec.h"

#include <stdlib.h>
#include <string.h>

#include "base/record.h"

enum { FIELDS = 24, ASYNC_FIELDS = 4, PAIRS_MAX = 4096 };

static void encode_pairs(struct pack *p, const struct pair *v, size_t n)
{
    pack_array(p, 2 * n);
    for (size_t i = 0; i < n; i++) {
        pack_str(p, v[i].key);
        pack_str(p, v[i].value);
    }
}

int function_encode(const struct function *f, struct buf *out)
{
    struct pack p;
    record_begin(out, &p, FUNCTION_RECORD_VERSION);
    pack_array(&p, FIELDS);
    pack_uint(&p, f->fid);
    pack_uint(&p, f->generation);
    pack_str(&p, f->name);
    pack_str(&p, f->runtime);
    pack_str(&p, f->role);
    pack_str(&p, f->handler);
    pack_str(&p, f->description);
    pack_int(&p, f->timeout_s);
    pack_int(&p, f->memory_mb);
    pack_int(&p, f->tmp_mb);
    pack_bool(&p, f->has_env);
    encode_pairs(&p, f->env, f->n_env);
    encode_pairs(&p, f->tags, f->n_tags);
    pack_str(&p, f->architecture);
    pack_str(&p, f->code_sha256);
    pack_int(&p, f->code_size);
    pack_int(&p, f->modified_at_ms);
    pack_str(&p, f->revision_id);
    pack_uint(&p, f->state);
    pack_uint(&p, f->update);
    pack_str(&p, f->state_reason);
    pack_int(&p, f->reserved);
    pack_bool(&p, f->paused);
    pack_array(&p, ASYNC_FIELDS);
    pack_bool(&p, f->async.present);
    pack_int(&p, f->async.max_retries);
    pack_int(&p, f->async.max_age_s);
    pack_int(&p, f->async.modified_at_ms);
    return record_end(out, &p);
}

/* Pairs into malloc'ed memory (*ret_mem) that lives until the snapshot is built. */
static int decode_pairs(struct unpack *u, const struct pair **ret, size_t *ret_n, void **ret_mem)
{
    size_t items = unpack_enter(u);
    if (unpack_error(u) < 0 || items % 2 || items > PAIRS_MAX)
        return ERR_CORRUPT;
    size_t n = items / 2;
    struct slice *raw = calloc(items ? items : 1, sizeof(*raw));
    if (!raw)
        return ERR_NOMEM;
    size_t bytes = 0;
    for (size_t i = 0; i < items; i++) {
        raw[i] = unpack_strn(u);
        bytes += raw[i].len + 1;
    }
    unpack_leave(u);
    struct pair *v = unpack_error(u) < 0 ? NULL : malloc(n * sizeof(*v) + bytes + 1);
    if (!v) {
        free(raw);
        return unpack_error(u) < 0 ? ERR_CORRUPT : ERR_NOMEM;
    }
    char *text = (char *)(v + n);
    for (size_t i = 0; i < items; i++) {
        *(i % 2 ? &v[i / 2].value : &v[i / 2].key) = text;
        if (raw[i].len)
            memcpy(text, raw[i].p, raw[i].len);
        text[raw[i].len] = '\0';
        text += raw[i].len + 1;
    }
    free(raw);
    *ret = v;
    *ret_n = n;
    *ret_mem = v;
    return 0;
}

static void decode_tail(struct unpack *u, struct function *f)
{
    unpack_str(u, f->architecture, sizeof(f->architecture));
    unpack_str(u, f->code_sha256, sizeof(f->code_sha256));
    f->code_size = unpack_int(u);
    f->modified_at_ms = unpack_int(u);
    unpack_str(u, f->revision_id, sizeof(f->revision_id));
    f->state = (enum function_state)unpack_uint(u);
    f->update = (enum update_status)unpack_uint(u);
    unpack_str(u, f->state_reason, sizeof(f->state_reason));
    f->reserved = (int32_t)unpack_int(u);
    f->paused = unpack_bool(u);
    unpack_enter(u);
    f->async.present = unpack_bool(u);
    f->async.max_retries = (int32_t)unpack_int(u);
    f->async.max_age_s = (int32_t)unpack_int(u);
    f->async.modified_at_ms = unpack_int(u);
    unpack_leave(u);
}

int function_decode(const void *data, size_t len, const struct function **ret)
{
    struct function f = {0};
    struct unpack u;
    uint8_t version;
    void *env_mem = NULL, *tags_mem = NULL;
    int r = record_open(data, len, FUNCTION_RECORD_VERSION, &version, &u);
    if (r < 0)
        return r;
    f.fid = unpack_uint(&u);
    f.generation = unpack_uint(&u);
    unpack_str(&u, f.name, sizeof(f.name));
    unpack_str(&u, f.runtime, sizeof(f.runtime));
    unpack_str(&u, f.role, sizeof(f.role));
    unpack_str(&u, f.handler, sizeof(f.handler));
    unpack_str(&u, f.description, sizeof(f.description));
    f.timeout_s = (int32_t)unpack_int(&u);
    f.memory_mb = (int32_t)unpack_int(&u);
    f.tmp_mb = (int32_t)unpack_int(&u);
    f.has_env = unpack_bool(&u);
    r = decode_pairs(&u, &f.env, &f.n_env, &env_mem);
    if (r == 0)
        r = decode_pairs(&u, &f.tags, &f.n_tags, &tags_mem);
    if (r == 0) {
        decode_tail(&u, &f);
        r = unpack_finish(&u);
    }
    if (r == 0 && (f.state > FUNCTION_FAILED || f.update > UPDATE_FAILED || f.fid == 0 || !f.name[0]))
        r = ERR_CORRUPT;
    if (r == 0) {
        *ret = function_build(&f);
        r = *ret ? 0 : ERR_NOMEM;
    }
    unpack_done(&u);
    free(env_mem);
    free(tags_mem);
    return r;
}
