/* Waiting for a folder, with all below it, or a file to change. */
#ifndef BIDE_WATCH_H
#define BIDE_WATCH_H

#include "base/err.h"

struct watch;

/* path must outlive it. ERR_NOTFOUND, ERR_FULL (no more watches to be had: e says what to raise), ERR_IO. SIGINT and
 * SIGTERM are taken over: they end watch_wait. */
int watch_open(struct watch **ret, const char *path, struct err *e) BIDE_MUST_USE;
void watch_close(struct watch *w);

/* Until something changed and was then still for a moment: 1. 0: SIGINT or SIGTERM came. What pack_zip leaves out is
 * not looked at. A path that is taken away is waited for. */
int watch_wait(struct watch *w, struct err *e) BIDE_MUST_USE;

#endif
