/* Making the zip that a function is deployed from. */
#ifndef BIDE_PACK_ZIP_H
#define BIDE_PACK_ZIP_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* PATH is a zip file (taken as it is), a folder (everything below it, names relative to it) or any other file (alone in
 * the zip, under its own name). Modes are kept. Links are followed only for PATH itself and refused below it. The same
 * files give the same bytes. */
int pack_zip(const char *path, struct buf *out, struct err *e) BIDE_MUST_USE;

/* What is left out of a folder: version control, caches, what editors leave. path is a name, or several of them. */
bool pack_leaves_out(const char *path);

#endif
