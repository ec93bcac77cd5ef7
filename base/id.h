/* Ids: UUID version 7 (RFC 9562): 48 bits of milliseconds, then a counter seeded with randomness, then randomness, so
 * that ids made by one generator always grow, also when the clock stands still or steps back.
 */
#ifndef BASE_ID_H
#define BASE_ID_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum { ID_TEXT_LEN = 36 };

struct id {
    uint8_t b[16];
};

struct id_gen {
    pthread_mutex_t mu;
    uint8_t random[640]; /* the last `left` bytes are not used yet */
    size_t left;
    int64_t last_ms;
    uint32_t counter; /* the 12 bits of rand_a and 14 more of rand_b */
};

void id_gen_init(struct id_gen *g);
void id_gen_done(struct id_gen *g);

/* A new id for the given time. Any thread. Never fails: aborts if the kernel has no randomness. */
struct id id_new(struct id_gen *g, int64_t now_ms);

/* A version 4 (random) UUID, for revision ids. */
struct id id_random(void);

void id_format(const struct id *id, char out[ID_TEXT_LEN + 1]);           /* lower case, NUL-terminated */
int id_parse(const char *text, size_t len, struct id *ret) BIDE_MUST_USE; /* ERR_INVALID; either case */
int64_t id_time_ms(const struct id *id);                                  /* of a UUIDv7: when it was made */
int id_cmp(const struct id *a, const struct id *b);
bool id_is_zero(const struct id *id);

#endif
