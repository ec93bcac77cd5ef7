#include "pack.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

/* --- writing ------------------------------------------------------------------------------------------------------ */

static int write_piece(void *data, const char *p, size_t n)
{
    struct pack *k = data;
    if (k->error == 0)
        k->error = buf_append(k->out, p, n);
    return k->error == 0 ? 0 : -1;
}

static msgpack_packer packer(struct pack *p)
{
    return (msgpack_packer){.data = p, .callback = write_piece};
}

void pack_init(struct pack *p, struct buf *out)
{
    p->out = out;
    p->error = 0;
}

void pack_array(struct pack *p, size_t n)
{
    msgpack_packer k = packer(p);
    (void)msgpack_pack_array(&k, n);
}

void pack_uint(struct pack *p, uint64_t v)
{
    msgpack_packer k = packer(p);
    (void)msgpack_pack_uint64(&k, v);
}

void pack_int(struct pack *p, int64_t v)
{
    msgpack_packer k = packer(p);
    (void)msgpack_pack_int64(&k, v);
}

void pack_bool(struct pack *p, bool v)
{
    msgpack_packer k = packer(p);
    (void)(v ? msgpack_pack_true(&k) : msgpack_pack_false(&k));
}

void pack_nil(struct pack *p)
{
    msgpack_packer k = packer(p);
    (void)msgpack_pack_nil(&k);
}

void pack_str(struct pack *p, const char *s)
{
    if (s == NULL)
        pack_nil(p);
    else
        pack_strn(p, s, strlen(s));
}

void pack_strn(struct pack *p, const char *s, size_t n)
{
    msgpack_packer k = packer(p);
    (void)msgpack_pack_str(&k, n);
    (void)msgpack_pack_str_body(&k, s, n);
}

void pack_bin(struct pack *p, const void *d, size_t n)
{
    msgpack_packer k = packer(p);
    (void)msgpack_pack_bin(&k, n);
    (void)msgpack_pack_bin_body(&k, d, n);
}

int pack_error(const struct pack *p)
{
    return p->error;
}

/* --- checking before the library allocates ------------------------------------------------------------------------ */

struct scan {
    const uint8_t *p;
    size_t left;
};

static bool scan_take(struct scan *s, size_t n)
{
    if (n > s->left)
        return false;
    s->p += n;
    s->left -= n;
    return true;
}

static bool scan_length(struct scan *s, size_t bytes, size_t *ret)
{
    if (bytes > s->left)
        return false;
    *ret = 0;
    for (size_t i = 0; i < bytes; i++)
        *ret = *ret << 8 | s->p[i];
    return scan_take(s, bytes);
}

/* One value: what the format bytes claim must fit what is there. A container's claim is bounded by the bytes left,
 * since every member needs at least one; maps and extensions are not in our records. */
static bool scan_value(struct scan *s, int depth)
{
    if (s->left == 0 || depth > UNPACK_DEPTH)
        return false;
    uint8_t b = *s->p;
    size_t n = 0;
    (void)scan_take(s, 1);
    if (b <= 0x7f || b >= 0xe0 || b == 0xc0 || b == 0xc2 || b == 0xc3)
        return true;
    if ((b & 0xe0) == 0xa0)
        return scan_take(s, b & 0x1f);
    switch (b) {
    case 0xc4:
    case 0xd9:
        return scan_length(s, 1, &n) && scan_take(s, n);
    case 0xc5:
    case 0xda:
        return scan_length(s, 2, &n) && scan_take(s, n);
    case 0xc6:
    case 0xdb:
        return scan_length(s, 4, &n) && scan_take(s, n);
    case 0xcc:
    case 0xd0:
        return scan_take(s, 1);
    case 0xcd:
    case 0xd1:
        return scan_take(s, 2);
    case 0xce:
    case 0xd2:
        return scan_take(s, 4);
    case 0xcf:
    case 0xd3:
        return scan_take(s, 8);
    case 0xdc:
        if (!scan_length(s, 2, &n))
            return false;
        break;
    case 0xdd:
        if (!scan_length(s, 4, &n))
            return false;
        break;
    default:
        if ((b & 0xf0) != 0x90)
            return false;
        n = b & 0x0f;
    }
    if (n > s->left)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!scan_value(s, depth + 1))
            return false;
    return true;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

int unpack_init(struct unpack *u, const void *data, size_t len)
{
    memset(u, 0, sizeof *u);
    struct scan s = {.p = data, .left = len};
    if (!scan_value(&s, 0) || s.left != 0)
        return ERR_CORRUPT;
    msgpack_unpacked *m = calloc(1, sizeof *m);
    if (m == NULL)
        return ERR_NOMEM;
    msgpack_unpacked_init(m);
    size_t off = 0;
    msgpack_unpack_return rc = msgpack_unpack_next(m, data, len, &off);
    if (rc != MSGPACK_UNPACK_SUCCESS || off != len || m->data.type != MSGPACK_OBJECT_ARRAY) {
        msgpack_unpacked_destroy(m);
        free(m);
        /* The form is right, the scan has said so: what the library calls an error of it is that it had no memory. A
         * record must not pass for damaged because of that. */
        return rc != MSGPACK_UNPACK_SUCCESS ? ERR_NOMEM : ERR_CORRUPT;
    }
    u->zone = m;
    u->item[0] = &m->data;
    return 0;
}

void unpack_done(struct unpack *u)
{
    if (u->zone != NULL) {
        msgpack_unpacked_destroy(u->zone);
        free(u->zone);
    }
    memset(u, 0, sizeof *u);
}

static const msgpack_object *take(struct unpack *u)
{
    const msgpack_object *a = u->item[u->depth];
    if (u->error != 0 || a == NULL || u->next[u->depth] >= a->via.array.size) {
        u->error = ERR_CORRUPT;
        return NULL;
    }
    return &a->via.array.ptr[u->next[u->depth]++];
}

static const msgpack_object *take_type(struct unpack *u, msgpack_object_type type)
{
    const msgpack_object *o = take(u);
    if (o != NULL && o->type != type) {
        u->error = ERR_CORRUPT;
        return NULL;
    }
    return o;
}

uint64_t unpack_uint(struct unpack *u)
{
    const msgpack_object *o = take_type(u, MSGPACK_OBJECT_POSITIVE_INTEGER);
    return o != NULL ? o->via.u64 : 0;
}

int64_t unpack_int(struct unpack *u)
{
    const msgpack_object *o = take(u);
    if (o != NULL && o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        return o->via.i64;
    if (o != NULL && o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= INT64_MAX)
        return (int64_t)o->via.u64;
    u->error = ERR_CORRUPT;
    return 0;
}

bool unpack_bool(struct unpack *u)
{
    const msgpack_object *o = take_type(u, MSGPACK_OBJECT_BOOLEAN);
    return o != NULL && o->via.boolean;
}

struct slice unpack_bin(struct unpack *u)
{
    const msgpack_object *o = take(u);
    if (o != NULL && o->type == MSGPACK_OBJECT_BIN)
        return (struct slice){.p = o->via.bin.ptr, .len = o->via.bin.size};
    if (o == NULL || o->type != MSGPACK_OBJECT_NIL)
        u->error = ERR_CORRUPT;
    return (struct slice){0};
}

struct slice unpack_strn(struct unpack *u)
{
    const msgpack_object *o = take(u);
    if (o != NULL && o->type == MSGPACK_OBJECT_STR)
        return (struct slice){.p = o->via.str.ptr, .len = o->via.str.size};
    if (o == NULL || o->type != MSGPACK_OBJECT_NIL)
        u->error = ERR_CORRUPT;
    return (struct slice){0};
}

void unpack_str(struct unpack *u, char *out, size_t cap)
{
    struct slice s = unpack_strn(u);
    out[0] = '\0';
    if (s.p == NULL)
        return;
    if (s.len >= cap || memchr(s.p, '\0', s.len) != NULL) {
        u->error = ERR_CORRUPT;
        return;
    }
    memcpy(out, s.p, s.len);
    out[s.len] = '\0';
}

size_t unpack_enter(struct unpack *u)
{
    const msgpack_object *o = take_type(u, MSGPACK_OBJECT_ARRAY);
    if (o == NULL || u->depth + 1 == UNPACK_DEPTH) {
        u->error = ERR_CORRUPT;
        return 0;
    }
    u->depth++;
    u->item[u->depth] = o;
    u->next[u->depth] = 0;
    return o->via.array.size;
}

void unpack_leave(struct unpack *u)
{
    if (u->depth == 0) {
        u->error = ERR_CORRUPT;
        return;
    }
    u->depth--;
}

size_t unpack_left(const struct unpack *u)
{
    const msgpack_object *a = u->item[u->depth];
    return u->error != 0 || a == NULL ? 0 : a->via.array.size - u->next[u->depth];
}

void unpack_skip(struct unpack *u)
{
    (void)take(u);
}

int unpack_finish(struct unpack *u)
{
    if (u->error == 0 && (u->depth != 0 || unpack_left(u) != 0))
        u->error = ERR_CORRUPT;
    return u->error;
}

int unpack_error(const struct unpack *u)
{
    return u->error;
}
