#include "priv.h"

#include <string.h>

int letter_encode(struct buf *b, const struct letter *l)
{
    struct pack p;
    bool kept = l->kept_from_ms != 0; /* version 1 says all of the others, and an older bided can read it */
    record_begin(b, &p, kept ? 2 : 1);
    pack_array(&p, kept ? 5 : 4);
    pack_uint(&p, l->seq);
    pack_uint(&p, l->bytes);
    /* Text from a function may hold anything: stored as bytes. */
    pack_bin(&p, l->error_type, strlen(l->error_type));
    pack_bin(&p, l->error_message, strlen(l->error_message));
    if (kept)
        pack_int(&p, l->kept_from_ms);
    return record_end(b, &p);
}

static void get_text(struct unpack *u, char *out, size_t cap)
{
    struct slice s = unpack_bin(u);
    size_t n = s.len < cap ? s.len : cap - 1;
    if (s.p != NULL)
        memcpy(out, s.p, n);
    out[s.p != NULL ? n : 0] = '\0';
}

int letter_decode(struct slice key, struct slice val, struct letter *ret)
{
    struct unpack u;
    uint8_t version;
    if (key.len != 8)
        return ERR_CORRUPT;
    int rc = record_open(val.p, val.len, LETTER_RECORD_VERSION, &version, &u);
    if (rc < 0)
        return rc;
    ret->place = store_get_u64(key.p);
    ret->seq = unpack_uint(&u);
    ret->bytes = unpack_uint(&u);
    get_text(&u, ret->error_type, sizeof ret->error_type);
    get_text(&u, ret->error_message, sizeof ret->error_message);
    ret->kept_from_ms = version >= 2 ? unpack_int(&u) : 0;
    rc = unpack_finish(&u);
    unpack_done(&u);
    return rc;
}

int totals_encode(struct buf *b, const struct totals *t)
{
    struct pack p;
    record_begin(b, &p, TOTALS_RECORD_VERSION);
    pack_array(&p, 4);
    pack_uint(&p, t->next_place);
    pack_uint(&p, t->letters);
    pack_uint(&p, t->replayed);
    pack_uint(&p, t->bytes);
    return record_end(b, &p);
}

int totals_decode(struct slice val, struct totals *ret)
{
    struct unpack u;
    uint8_t version;
    int rc = record_open(val.p, val.len, TOTALS_RECORD_VERSION, &version, &u);
    if (rc < 0)
        return rc;
    ret->next_place = unpack_uint(&u);
    ret->letters = unpack_uint(&u);
    ret->replayed = unpack_uint(&u);
    ret->bytes = unpack_uint(&u);
    rc = unpack_finish(&u);
    unpack_done(&u);
    return rc;
}
