#include "nearest.h"

#include <string.h>

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edits (insert, drop, change, swap of two neighbours) that make b of a. */
static unsigned edits(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][NEAREST_WORD_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_len; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            row[j] = least(last[j - 1] + (a[i - 1] != b[j - 1]), least(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        unsigned *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b_len];
}

void nearest_offer(struct nearest *n, const char *known)
{
    size_t len = strlen(known);
    if (n->len == 0 || n->len > NEAREST_WORD_MAX || len > NEAREST_WORD_MAX)
        return;
    /* The beginning of a word stands for it; else a third of the letters may be wrong. */
    unsigned d = len > n->len && strncmp(known, n->typed, n->len) == 0 ? 1 : edits(n->typed, n->len, known, len);
    if (d > 1 && d > len / 3)
        return;
    if (d >= len || (n->word != NULL && d >= n->distance))
        return;
    n->word = known;
    n->distance = d;
}
