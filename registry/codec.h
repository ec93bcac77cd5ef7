/* The function record: version 1, framed by base/record.h. A change of layout needs a new version and a reader for
 * every older one; the golden bytes in the tests hold it still. */
#ifndef REGISTRY_CODEC_H
#define REGISTRY_CODEC_H

#include "base/buf.h"
#include "function.h"

enum { FUNCTION_RECORD_VERSION = 1, FUNCTION_RECORD_MAX = 256 * 1024 };

/* Into out, which is cleared first. ERR_TOOBIG, ERR_NOMEM. */
int function_encode(const struct function *f, struct buf *out) BIDE_MUST_USE;

/* A new snapshot with one reference. ERR_CORRUPT, ERR_VERSION, ERR_NOMEM. */
int function_decode(const void *data, size_t len, const struct function **ret) BIDE_MUST_USE;

#endif
