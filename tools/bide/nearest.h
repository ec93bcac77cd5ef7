/* "Did you mean": the known word nearest to what was typed. */
#ifndef BIDE_NEAREST_H
#define BIDE_NEAREST_H

#include <stddef.h>

/* The best match so far; start with {.typed = word, .len = its length}. */
struct nearest {
    const char *typed;
    size_t len;
    const char *word; /* NULL: nothing is near enough */
    unsigned distance;
};

enum { NEAREST_WORD_MAX = 48 }; /* longer words are never near */

/* Consider one known word. It lives as long as n. */
void nearest_offer(struct nearest *n, const char *known);

#endif
