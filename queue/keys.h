/* Key layouts. Every integer is big-endian, so that keys sort as numbers do (docs/storage.md). */
#ifndef QUEUE_KEYS_H
#define QUEUE_KEYS_H

#include "store/store.h"

enum { KEY_SEQ = 8, KEY_PAIR = 16, KEY_PART = 12 };

struct key {
    uint8_t b[KEY_PAIR];
    size_t len;
};

static inline struct key key_u64(uint64_t v)
{
    struct key k = {.len = KEY_SEQ};
    store_put_u64(k.b, v);
    return k;
}

/* ready, waiting: (fid, seq); due: (due_at_ms, seq). Times before 1970 sort first: they are due at once. */
static inline struct key key_pair(uint64_t a, uint64_t b)
{
    struct key k = {.len = KEY_PAIR};
    store_put_u64(k.b, a);
    store_put_u64(k.b + 8, b);
    return k;
}

/* payload: (seq, chunk); attempt: (seq, n). */
static inline struct key key_part(uint64_t seq, uint32_t n)
{
    struct key k = {.len = KEY_PART};
    store_put_u64(k.b, seq);
    store_put_u32(k.b + 8, n);
    return k;
}

static inline uint64_t key_time(int64_t ms)
{
    return ms < 0 ? 0 : (uint64_t)ms;
}

#endif
