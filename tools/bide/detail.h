/* One event in full, for `events show` and `dlq show`. */
#ifndef BIDE_DETAIL_H
#define BIDE_DETAIL_H

#include <stdbool.h>
#include <stddef.h>

/* json: the daemon's bytes as they came, so that the payload stays verbatim. */
void show_detail(const char *body, size_t len, bool json);

#endif
