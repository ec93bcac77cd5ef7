#include "id.h"

#include <string.h>

#include "hash.h"

enum { COUNTER_BITS = 26, COUNTER_SEED_BITS = 25 };

void id_gen_init(struct id_gen *g)
{
    pthread_mutex_init(&g->mu, NULL);
    g->left = 0;
    g->last_ms = 0;
    g->counter = 0;
}

void id_gen_done(struct id_gen *g)
{
    pthread_mutex_destroy(&g->mu);
}

/* RFC 9562, 6.2, method 1: a counter of fixed length right after the time. It starts at a random value with its top bit
 * clear in each new millisecond; when it runs over, the time is moved on instead. */
struct id id_new(struct id_gen *g, int64_t now_ms)
{
    uint8_t r[10];
    pthread_mutex_lock(&g->mu);
    if (g->left < sizeof r) {
        rng_bytes(g->random, sizeof g->random);
        g->left = sizeof g->random;
    }
    memcpy(r, g->random + sizeof g->random - g->left, sizeof r);
    g->left -= sizeof r;
    if (now_ms > g->last_ms) {
        g->last_ms = now_ms;
        g->counter = ((uint32_t)r[0] << 24 | (uint32_t)r[1] << 16 | (uint32_t)r[2] << 8 | r[3]) &
                     ((1u << COUNTER_SEED_BITS) - 1);
    } else if (++g->counter >> COUNTER_BITS != 0) {
        g->last_ms++;
        g->counter = 0;
    }
    uint64_t ms = (uint64_t)g->last_ms;
    uint32_t c = g->counter;
    pthread_mutex_unlock(&g->mu);

    struct id id;
    for (int i = 0; i < 6; i++)
        id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
    id.b[6] = (uint8_t)(0x70 | (c >> 22 & 0x0f));
    id.b[7] = (uint8_t)(c >> 14);
    id.b[8] = (uint8_t)(0x80 | (c >> 8 & 0x3f));
    id.b[9] = (uint8_t)c;
    memcpy(id.b + 10, r + 4, 6);
    return id;
}

struct id id_random(void)
{
    struct id id;
    rng_bytes(id.b, sizeof id.b);
    id.b[6] = (uint8_t)(0x40 | (id.b[6] & 0x0f));
    id.b[8] = (uint8_t)(0x80 | (id.b[8] & 0x3f));
    return id;
}

static bool is_dash(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

void id_format(const struct id *id, char out[ID_TEXT_LEN + 1])
{
    char hex[33];
    hex_encode(id->b, sizeof id->b, hex);
    for (size_t i = 0, k = 0; i < ID_TEXT_LEN; i++)
        out[i] = is_dash(i) ? '-' : hex[k++];
    out[ID_TEXT_LEN] = '\0';
}

int id_parse(const char *text, size_t len, struct id *ret)
{
    char hex[32];
    if (len != ID_TEXT_LEN)
        return ERR_INVALID;
    for (size_t i = 0, k = 0; i < ID_TEXT_LEN; i++) {
        if (is_dash(i) != (text[i] == '-'))
            return ERR_INVALID;
        if (!is_dash(i))
            hex[k++] = text[i];
    }
    struct id id;
    int rc = hex_decode(hex, sizeof hex, id.b);
    if (rc == 0)
        *ret = id;
    return rc;
}

int64_t id_time_ms(const struct id *id)
{
    int64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id->b[i];
    return ms;
}

int id_cmp(const struct id *a, const struct id *b)
{
    return memcmp(a->b, b->b, sizeof a->b);
}

bool id_is_zero(const struct id *id)
{
    static const struct id zero;
    return id_cmp(id, &zero) == 0;
}
