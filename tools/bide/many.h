/* Many events in one go, several requests with many each in flight: `bide invoke --count` and `--file`. */
#ifndef BIDE_MANY_H
#define BIDE_MANY_H

#include "cmd.h"

/* Sends payload count times, made a line of first. The exit status. path: of the function's events, as for many_file.
 */
int many_count(struct call *c, const char *path, struct buf *payload, uint64_t count);
/* Sends each line of a JSON Lines file ("-": standard input). A plain file is read through before anything is sent, and
 * nothing is sent when one of its lines is no JSON. */
int many_file(struct call *c, const char *path, const char *file);

#endif
