/* A strict reader of a zip's central directory: pure, bytes in, entries out. It decides what may be unpacked; libzip
 * only inflates. Two readers that must agree leave no room for an archive that says one thing to each.
 *
 * Refused: several disks, zip64 (a package is far below 4 GiB), anything encrypted, methods other than stored and
 * deflated, links, devices and other special files, names that are absolute, hold "..", a backslash or a NUL, names
 * that are too long, local headers that name something else, and entries whose bytes overlap.
 */
#ifndef REGISTRY_ZIPDIR_H
#define REGISTRY_ZIPDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    ZIPDIR_ENTRIES_MAX = 65534, /* what a zip without zip64 can say */
    ZIPDIR_PATH_MAX = 1024,
    ZIPDIR_COMPONENT_MAX = 255,
    ZIPDIR_DEPTH_MAX = 32,
};

struct zipdir_entry {
    const char *raw; /* name as in the archive, points into it; not terminated */
    uint16_t raw_len;
    bool is_dir;
    bool executable;
    uint32_t size;       /* unzipped, as declared */
    uint64_t data_start; /* of the local header */
    uint64_t data_end;   /* end of the compressed bytes */
};

struct zipdir {
    struct zipdir_entry *v; /* in the archive's order */
    size_t n;
};

/* ERR_INVALID (e says why, naming the entry), ERR_TOOBIG (entries), ERR_NOMEM. The archive must outlive the result. */
int zipdir_read(struct zipdir *ret, const void *zip, size_t len, struct err *e) BIDE_MUST_USE;
void zipdir_done(struct zipdir *d);

/* The entry's name below the package's folder: "." and empty components dropped. out has ZIPDIR_PATH_MAX + 1 bytes; ""
 * for the folder itself. Names were checked by zipdir_read. */
void zipdir_path(const struct zipdir_entry *en, char *out);

#endif
