/* The daemon's command line: one table drives parsing, --help and the manual. */
#ifndef BIDED_OPTIONS_H
#define BIDED_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum { SETS_MAX = 128, EXIT_BAD_USAGE = 2 };

struct option_row {
    const char *name; /* without the dashes; NULL ends the table */
    const char *arg;  /* name of its value; NULL: a flag */
    const char *help;
};
extern const struct option_row option_rows[];

struct options {
    const char *data;
    const char *config; /* NULL: none */
    const char *sets[SETS_MAX];
    size_t n_sets;
    bool check;
};

/* 0, or -1 with *ret_exit set: the program is to end with it, what there was to say is said. */
int options_parse(int argc, char **argv, const char *version, struct options *o, int *ret_exit);

#endif
