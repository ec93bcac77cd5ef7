/* Events that go to the daemon in one request, a line each, and what its answer says of them. */
#ifndef BIDE_LOAD_H
#define BIDE_LOAD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { LOAD_EVENTS = 200, LOAD_BYTES = 256 * 1024 };

struct load {
    struct buf body; /* the lines, with an end between them */
    uint64_t tags[LOAD_EVENTS];
    size_t n;
};

void load_init(struct load *l);
void load_done(struct load *l);
void load_clear(struct load *l);

/* Has it room for an event of len bytes? One event always has, however long. */
bool load_takes(const struct load *l, size_t len);
/* p: a JSON text without a line end. tag: the caller's name for it. */
void load_add(struct load *l, uint64_t tag, const void *p, size_t len);

/* The ids of an acceptance, in the order of the tags; json_decref them. NULL: it does not name one for each event. */
json_t *load_ids(const struct load *l, const struct buf *answer);

typedef void load_refused_cb(uint64_t tag, const char *why, void *arg);
/* Of a refusal: take the events out that it names, each is told to cb. How many; 0: it names none. */
size_t load_refuse(struct load *l, const struct buf *answer, load_refused_cb *cb, void *arg);

#endif
