/* Packages: the reader of a zip's directory, which decides what may be unpacked. Of what it takes, every entry lies
 * within the bytes and overlaps no other, and its path stays below the package's folder; libzip, which inflates, is
 * then asked for the same archive and must not fall over it.
 */
#include <zip.h>

#include "fuzz.h"
#include "zipdir.h"

enum { INFLATE_MAX = 1 << 20 };

static void check_path(const struct zipdir_entry *en)
{
    char path[ZIPDIR_PATH_MAX + 1];
    zipdir_path(en, path);
    BIDE_ASSERT(strlen(path) <= en->raw_len, "a path longer than its name: %s", path);
    struct feed f = {(const uint8_t *)path, strlen(path)};
    size_t depth = 0;
    bool goes_on = f.left > 0;
    while (goes_on) {
        struct slice s = feed_until(&f, '/');
        const char *p = s.p;
        BIDE_ASSERT(s.len > 0 && s.len <= ZIPDIR_COMPONENT_MAX && ++depth <= ZIPDIR_DEPTH_MAX, "path %s", path);
        BIDE_ASSERT(!(s.len == 1 && p[0] == '.') && !(s.len == 2 && p[0] == '.' && p[1] == '.'), "path %s", path);
        goes_on = f.left > 0;
    }
    BIDE_ASSERT(strchr(path, '\\') == NULL && (path[0] == '\0' || path[strlen(path) - 1] != '/'), "path %s", path);
}

static void check_entries(const struct zipdir *d, const char *zip, size_t len)
{
    BIDE_ASSERT(d->n > 0 && d->n <= ZIPDIR_ENTRIES_MAX, "%zu entries", d->n);
    for (size_t i = 0; i < d->n; i++) {
        const struct zipdir_entry *en = &d->v[i];
        BIDE_ASSERT(en->raw >= zip && en->raw + en->raw_len <= zip + len && en->raw_len > 0, "a name from elsewhere");
        BIDE_ASSERT(en->data_start < en->data_end && en->data_end <= len, "data from elsewhere");
        BIDE_ASSERT(en->is_dir == (en->raw[en->raw_len - 1] == '/') && !(en->is_dir && en->executable), "kind");
        for (size_t k = 0; k < i; k++)
            BIDE_ASSERT(en->data_end <= d->v[k].data_start || d->v[k].data_end <= en->data_start, "%zu in %zu", i, k);
        check_path(en);
    }
}

static void inflate_entry(zip_t *za, size_t i)
{
    static char chunk[4096];
    zip_file_t *zf = zip_fopen_index(za, i, 0);
    zip_int64_t got, all = 0;
    if (zf == NULL)
        return;
    while (all < INFLATE_MAX && (got = zip_fread(zf, chunk, sizeof chunk)) > 0)
        all += got;
    (void)zip_fclose(zf);
}

static void check_libzip(const struct zipdir *d, const char *zip, size_t len)
{
    zip_error_t ze;
    zip_error_init(&ze);
    zip_source_t *src = zip_source_buffer_create(zip, len, 0, &ze);
    zip_t *za = src != NULL ? zip_open_from_source(src, ZIP_RDONLY, &ze) : NULL;
    if (za != NULL) {
        for (size_t i = 0; i < d->n && zip_get_num_entries(za, 0) == (zip_int64_t)d->n; i++)
            inflate_entry(za, i);
        zip_discard(za);
    } else if (src != NULL) {
        zip_source_free(src);
    }
    zip_error_fini(&ze);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zipdir d = {0};
    struct err e = {0};
    char *zip = exact(data, size);
    int rc = zipdir_read(&d, zip, size, &e);
    if (rc == 0) {
        check_entries(&d, zip, size);
        check_libzip(&d, zip, size);
    } else {
        BIDE_ASSERT((rc == ERR_INVALID || rc == ERR_TOOBIG) && e.code == rc && e.text[0] != '\0' && d.v == NULL,
                    "refused with %s: %s", err_name(rc), e.text);
    }
    zipdir_done(&d);
    free(zip);
    return 0;
}
