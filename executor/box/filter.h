/* The system call filter of a box, built once in the executor process and loaded raw by each program's own process just
 * before its exec. A deny-list: kernel surface that functions have no use for and that a network namespace, a pid
 * namespace or missing capabilities do not close by themselves.
 */
#ifndef BOX_FILTER_H
#define BOX_FILTER_H

#include <linux/filter.h>
#include <stddef.h>

#include "base/err.h"

struct filter {
    struct sock_filter *insn; /* heap; filter_done frees */
    size_t n;
};

int filter_build(struct filter *ret, struct err *e) BIDE_MUST_USE;
void filter_done(struct filter *p);

#endif
