/* Packages, unpacked for real: what registry_code_add makes of a zip on the disk. Of a package that is taken every
 * entry is there, a file of the size and the execute bit it declares, and nothing else is; of one that is refused
 * nothing is left. Checksums of stored entries are put right before, since no input would have them by chance.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/fdutil.h"
#include "fuzz.h"
#include "registry.h"
#include "zipdir.h"

enum { LOCAL_CRC = 14, CENTRAL_CRC = 16, CENTRAL_LEN = 46, MAP_BYTES = 64 << 20, PATH_CAP = 2048 };

static struct {
    char folder[128];
    int code_fd;
    struct clock clock;
    struct store *store;
    struct registry *registry;
} here = {.code_fd = -1};

static void leave(void)
{
    registry_close(here.registry);
    store_close(here.store);
    fd_close(&here.code_fd);
    (void)!file_remove_tree(AT_FDCWD, here.folder);
}

static void enter(void)
{
    const char *base = getenv("TMPDIR");
    const struct store_opts so = {.max_bytes = MAP_BYTES, .unsafe_nosync = true};
    struct err e = {0};
    char path[160];
    (void)snprintf(here.folder, sizeof here.folder, "%s/bide-fuzz-XXXXXX", base != NULL ? base : "/tmp");
    BIDE_ASSERT(mkdtemp(here.folder) != NULL, "%s", here.folder);
    (void)snprintf(path, sizeof path, "%s/code", here.folder);
    BIDE_ASSERT(mkdir(path, 0700) == 0, "%s", path);
    here.code_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(path, sizeof path, "%s/db", here.folder);
    clock_init_virtual(&here.clock, 1700000000000);
    const struct registry_opts ro = {.clock = &here.clock, .code_fd = here.code_fd, .account_concurrency = 1000};
    BIDE_ASSERT(store_open(&here.store, path, &so, &e) == 0, "%s", e.text);
    BIDE_ASSERT(registry_open(&here.registry, here.store, &ro, &e) == 0, "%s", e.text);
    (void)atexit(leave);
}

/* --- what is on the disk ------------------------------------------------------------------------------------------ */

static size_t n_files, n_odd;

static int count_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)path;
    (void)st;
    (void)where;
    n_files += kind == FTW_F && S_ISREG(st->st_mode);
    n_odd += kind != FTW_F && kind != FTW_D;
    return 0;
}

/* Regular files below the folder of packages, and other things that are no folders. */
static void count_files(void)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/code", here.folder);
    n_files = n_odd = 0;
    BIDE_ASSERT(nftw(path, count_one, 8, FTW_PHYS | FTW_MOUNT) == 0, "%s: %s", path, strerror(errno));
    BIDE_ASSERT(n_odd == 0, "%zu things that are neither files nor folders", n_odd);
}

static void check_package(const struct zipdir *d, const char *sha256)
{
    char path[PATH_CAP];
    struct stat st;
    size_t files = 1; /* the zip */
    for (size_t i = 0; i < d->n; i++) {
        const struct zipdir_entry *en = &d->v[i];
        int n = snprintf(path, sizeof path, "%s/", sha256);
        zipdir_path(en, path + n);
        BIDE_ASSERT(fstatat(here.code_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0, "%s is not there", path);
        BIDE_ASSERT(en->is_dir ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode), "%s is of another kind", path);
        if (!en->is_dir)
            BIDE_ASSERT(st.st_size == en->size && (st.st_mode & 07777) == (en->executable ? 0755 : 0644),
                        "%s: %lld bytes, mode %o", path, (long long)st.st_size, (unsigned)st.st_mode);
        files += !en->is_dir;
    }
    count_files();
    BIDE_ASSERT(n_files == files, "%zu files, and %zu in the package", n_files, files);
}

/* --- checksums ---------------------------------------------------------------------------------------------------- */

static void put_le32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static void mend(uint8_t *zip, const struct zipdir *d)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct zipdir_entry *en = &d->v[i];
        uint8_t *central = zip + ((const uint8_t *)en->raw - zip) - CENTRAL_LEN;
        if (en->data_end - en->data_start < en->size || central[10] != 0)
            continue; /* not stored */
        uint32_t crc = (uint32_t)crc32(0, zip + en->data_end - en->size, en->size);
        put_le32(central + CENTRAL_CRC, crc);
        put_le32(zip + en->data_start + LOCAL_CRC, crc);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zipdir d = {0};
    struct code c;
    struct err e = {0};
    uint8_t *zip = exact(data, size);
    if (here.code_fd < 0)
        enter();
    if (zipdir_read(&d, zip, size, NULL) == 0)
        mend(zip, &d);
    int rc = registry_code_add(here.registry, zip, size, &c, &e);
    if (rc == 0) {
        BIDE_ASSERT(d.n > 0, "taken, though its directory is refused");
        check_package(&d, c.sha256);
        registry_code_release(here.registry, &c);
    } else {
        BIDE_ASSERT((rc == ERR_INVALID || rc == ERR_TOOBIG) && e.code == rc && e.text[0] != '\0', "refused with %s: %s",
                    err_name(rc), e.text);
    }
    count_files();
    BIDE_ASSERT(n_files == 0, "%zu files are left", n_files);
    zipdir_done(&d);
    free(zip);
    return 0;
}
