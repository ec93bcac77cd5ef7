/* Runtime and handler of a folder that says them by itself. */
#ifndef BIDE_GUESS_H
#define BIDE_GUESS_H

#include <stdbool.h>

struct guess {
    char runtime[32];
    char handler[160];
};

/* True when exactly one file at the top of the folder (or the one file that path is) defines a handler as Lambda's
 * runtimes look for it: `def handler` or `def lambda_handler` in a *.py, `handler` exported by a *.js, *.mjs or *.cjs,
 * an executable named bootstrap. Never for a zip. */
bool guess_function(const char *path, struct guess *ret);

#endif
