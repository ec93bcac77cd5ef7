/* The central directory, read by the book (PKWARE's APPNOTE 6.3, sections 4.3 and 4.4). */
#include "zipdir.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    SIG_LOCAL = 0x04034b50,
    SIG_CENTRAL = 0x02014b50,
    SIG_END = 0x06054b50,
    LOCAL_LEN = 30,
    CENTRAL_LEN = 46,
    END_LEN = 22,
    COMMENT_MAX = 65535,
    FLAG_ENCRYPTED = 0x1,
    FLAG_STRONG = 0x40,
    FLAG_MASKED = 0x2000,
    METHOD_STORED = 0,
    METHOD_DEFLATED = 8,
    MADE_BY_UNIX = 3,
    MADE_BY_DARWIN = 19,
    NAME_SHOWN = 100, /* bytes of a bad name in a message */
};

static uint16_t le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The entry's name for a message: printable ASCII, the rest as '?', cut. */
static int bad(struct err *e, const struct zipdir_entry *en, const char *why)
{
    char name[NAME_SHOWN + 1];
    size_t n = en->raw_len < NAME_SHOWN ? en->raw_len : NAME_SHOWN;
    for (size_t i = 0; i < n; i++)
        name[i] = en->raw[i] >= 0x20 && en->raw[i] < 0x7f ? en->raw[i] : '?';
    name[n] = '\0';
    return err_set(e, ERR_INVALID, "Entry '%s': %s", name, why);
}

static int not_a_zip(struct err *e, const char *why)
{
    return err_set(e, ERR_INVALID, "not a zip file: %s", why);
}

/* The end record whose comment ends exactly at the end of the bytes. */
static const uint8_t *find_end(const uint8_t *zip, size_t len)
{
    if (len < END_LEN)
        return NULL;
    size_t lowest = len - END_LEN > COMMENT_MAX ? len - END_LEN - COMMENT_MAX : 0;
    for (size_t at = len - END_LEN + 1; at-- > lowest;)
        if (le32(zip + at) == SIG_END && at + END_LEN + le16(zip + at + 20) == len)
            return zip + at;
    return NULL;
}

static int check_name(const struct zipdir_entry *en, struct err *e)
{
    const char *p = en->raw, *end = p + en->raw_len;
    size_t depth = 0;
    if (en->raw_len == 0 || en->raw_len > ZIPDIR_PATH_MAX)
        return bad(e, en, en->raw_len ? "its name is too long" : "it has no name");
    if (memchr(p, '\0', en->raw_len) || memchr(p, '\\', en->raw_len))
        return bad(e, en, "its name holds a NUL or a backslash");
    if (*p == '/')
        return bad(e, en, "its name is absolute");
    while (p < end) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        size_t n = (size_t)((slash ? slash : end) - p);
        if (n == 2 && memcmp(p, "..", 2) == 0)
            return bad(e, en, "its name leaves the package");
        if (n > ZIPDIR_COMPONENT_MAX || ++depth > ZIPDIR_DEPTH_MAX)
            return bad(e, en, "its name is too long or too deep");
        p += n + (slash != NULL);
    }
    return 0;
}

/* What kind of file the archive says it is: folders and regular files, nothing else. */
static int check_kind(struct zipdir_entry *en, uint16_t made_by, uint32_t attributes, struct err *e)
{
    mode_t mode = (mode_t)(attributes >> 16);
    bool named_dir = en->raw[en->raw_len - 1] == '/';
    int host = made_by >> 8;
    en->is_dir = named_dir;
    en->executable = false;
    if (host != MADE_BY_UNIX && host != MADE_BY_DARWIN)
        mode = 0; /* DOS and the rest have no mode there */
    if (S_ISLNK(mode))
        return bad(e, en, "symbolic links are not supported");
    if ((mode & S_IFMT) != 0 && !S_ISREG(mode) && !S_ISDIR(mode))
        return bad(e, en, "it is neither a file nor a folder");
    if ((mode & S_IFMT) != 0 && S_ISDIR(mode) != named_dir)
        return bad(e, en, "its name and its type do not agree");
    en->executable = !named_dir && (mode & 0111) != 0;
    return 0;
}

static int check_local(struct zipdir_entry *en, const uint8_t *zip, uint64_t dir_start, uint32_t packed, struct err *e)
{
    if (en->data_start + LOCAL_LEN > dir_start)
        return bad(e, en, "its data lies outside the archive");
    const uint8_t *p = zip + en->data_start;
    uint64_t head = LOCAL_LEN + (uint64_t)le16(p + 26) + le16(p + 28);
    if (le32(p) != SIG_LOCAL || en->data_start + head + packed > dir_start)
        return bad(e, en, "its data lies outside the archive");
    if (le16(p + 26) != en->raw_len || memcmp(p + LOCAL_LEN, en->raw, en->raw_len) != 0)
        return bad(e, en, "its two headers give different names");
    en->data_end = en->data_start + head + packed;
    return 0;
}

/* One central header at p, with left bytes of directory; *ret_len is its length. */
static int read_entry(struct zipdir_entry *en, const uint8_t *zip, const uint8_t *p, uint64_t left, uint64_t dir_start,
                      size_t *ret_len, struct err *e)
{
    if (left < CENTRAL_LEN || le32(p) != SIG_CENTRAL)
        return not_a_zip(e, "the directory is broken");
    size_t total = (size_t)CENTRAL_LEN + le16(p + 28) + le16(p + 30) + le16(p + 32);
    if (left < total)
        return not_a_zip(e, "the directory is cut");
    uint16_t flags = le16(p + 8), method = le16(p + 10);
    uint32_t packed = le32(p + 20);
    en->raw = (const char *)p + CENTRAL_LEN;
    en->raw_len = le16(p + 28);
    en->size = le32(p + 24);
    en->data_start = le32(p + 42);
    int r = check_name(en, e);
    if (r < 0)
        return r;
    if (flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED))
        return bad(e, en, "it is encrypted");
    if (method != METHOD_STORED && method != METHOD_DEFLATED)
        return bad(e, en, "its compression method is not supported");
    if (packed == UINT32_MAX || en->size == UINT32_MAX || en->data_start == UINT32_MAX)
        return bad(e, en, "zip64 is not supported");
    if (le16(p + 34) != 0)
        return not_a_zip(e, "it is one of several parts");
    r = check_kind(en, le16(p + 4), le32(p + 38), e);
    if (r == 0)
        r = check_local(en, zip, dir_start, packed, e);
    *ret_len = total;
    return r;
}

static int cmp_start(const void *a, const void *b)
{
    const struct zipdir_entry *x = *(const struct zipdir_entry *const *)a;
    const struct zipdir_entry *y = *(const struct zipdir_entry *const *)b;
    return x->data_start < y->data_start ? -1 : x->data_start > y->data_start;
}

/* No byte belongs to two entries: the way to make a small archive of many huge files. */
static int check_overlap(const struct zipdir *d, struct err *e)
{
    const struct zipdir_entry **order = malloc(d->n * sizeof(*order));
    if (!order)
        return err_set(e, ERR_NOMEM, "zip directory");
    for (size_t i = 0; i < d->n; i++)
        order[i] = &d->v[i];
    qsort(order, d->n, sizeof(*order), cmp_start);
    int r = 0;
    for (size_t i = 1; i < d->n && r == 0; i++)
        if (order[i]->data_start < order[i - 1]->data_end)
            r = bad(e, order[i], "its data overlaps another entry's");
    free(order);
    return r;
}

int zipdir_read(struct zipdir *ret, const void *bytes, size_t len, struct err *e)
{
    const uint8_t *zip = bytes;
    struct zipdir d = {0};
    const uint8_t *end = find_end(zip, len);
    if (!end)
        return not_a_zip(e, "no end of directory");
    size_t n = le16(end + 10);
    uint64_t start = le32(end + 16), size = le32(end + 12);
    if (n == 0)
        return err_set(e, ERR_INVALID, "Uploaded file must be a non-empty zip");
    if (n > ZIPDIR_ENTRIES_MAX)
        return err_set(e, ERR_TOOBIG, "more than %d entries", (int)ZIPDIR_ENTRIES_MAX);
    if (le16(end + 4) != 0 || le16(end + 6) != 0 || le16(end + 8) != n)
        return not_a_zip(e, "it is one of several parts");
    if (start + size > (uint64_t)(end - zip) || size < n * CENTRAL_LEN)
        return not_a_zip(e, "the directory lies outside the file");
    d.v = calloc(n, sizeof(*d.v));
    if (!d.v)
        return err_set(e, ERR_NOMEM, "zip directory");
    const uint8_t *p = zip + start, *stop = p + size;
    int r = 0;
    for (d.n = 0; d.n < n && r == 0; d.n++) {
        size_t used = 0;
        r = read_entry(&d.v[d.n], zip, p, (uint64_t)(stop - p), start, &used, e);
        p += used;
    }
    if (r == 0 && p != stop)
        r = not_a_zip(e, "the directory does not end where it says");
    if (r == 0)
        r = check_overlap(&d, e);
    if (r < 0) {
        zipdir_done(&d);
        return r;
    }
    *ret = d;
    return 0;
}

void zipdir_done(struct zipdir *d)
{
    free(d->v);
    *d = (struct zipdir){0};
}

void zipdir_path(const struct zipdir_entry *en, char *out)
{
    const char *p = en->raw, *end = p + en->raw_len;
    char *to = out;
    while (p < end) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        size_t n = (size_t)((slash ? slash : end) - p);
        if (n > 0 && !(n == 1 && *p == '.')) {
            if (to != out)
                *to++ = '/';
            memcpy(to, p, n);
            to += n;
        }
        p += n + (slash != NULL);
    }
    *to = '\0';
}
