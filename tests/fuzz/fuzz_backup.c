/* A backup as it comes over the wire, into files. However the stream is cut, the same is said of it; what is taken has
 * exactly the files that a second reader finds in it, byte for byte, and what is refused left nothing outside of the
 * folder's own names.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "base/hash.h"
#include "fuzz.h"
#include "intake.h"

enum { FILES_MAX = 64, NAME_MAX_LEN = 128, TEXT_MAX = 1 << 20 };

/* --- the second reader -------------------------------------------------------------------------------------------- */

struct file {
    char name[NAME_MAX_LEN];
    struct buf bytes;
};

struct found {
    struct file v[FILES_MAX];
    size_t n;
    uint64_t bytes;
};

static bool name_ok(const struct found *x, const char *name)
{
    for (size_t i = 0; i < x->n; i++)
        if (strcmp(x->v[i].name, name) == 0)
            return false;
    if (strcmp(name, "credentials") == 0 || strcmp(name, "queue/data.mdb") == 0)
        return true;
    return strlen(name) == 5 + 64 + 4 && strncmp(name, "code/", 5) == 0 && strcmp(name + 69, ".zip") == 0 &&
           strspn(name + 5, "0123456789abcdef") == 64;
}

static bool content_ok(const struct file *f)
{
    uint8_t sum[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1];
    sha256_sum(f->bytes.data, f->bytes.len, sum);
    hex_encode(sum, sizeof sum, hex);
    return strncmp(f->name, "code/", 5) != 0 || strncmp(f->name + 5, hex, 64) == 0;
}

static bool take_data(struct found *x, struct feed *f, const char *digits)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(digits, &end, 10);
    if (*digits == '\0' || strspn(digits, "0123456789") != strlen(digits) || errno != 0 || n > f->left ||
        (n > 0 && x->n == 0))
        return false;
    if (n > 0)
        BIDE_ASSERT(buf_append(&x->v[x->n - 1].bytes, f->p, n) == 0, "no room");
    x->bytes += n;
    f->p += n;
    f->left -= n;
    return true;
}

static bool take_file(struct found *x, const char *name)
{
    if (!name_ok(x, name) || (x->n > 0 && !content_ok(&x->v[x->n - 1])))
        return false;
    struct file *f = &x->v[x->n++];
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    buf_init(&f->bytes, TEXT_MAX);
    return true;
}

static bool find(struct found *x, const uint8_t *data, size_t size)
{
    struct feed f = {data, size};
    bool begun = false;
    while (f.left > 0) {
        char line[NAME_MAX_LEN], want[NAME_MAX_LEN];
        bool ended = memchr(f.p, '\n', f.left) != NULL;
        struct slice s = feed_until(&f, '\n');
        if (!ended || s.len >= sizeof line)
            return false;
        memcpy(line, s.p, s.len);
        line[s.len] = '\0';
        (void)snprintf(want, sizeof want, "end %zu %llu", x->n, (unsigned long long)x->bytes);
        if (!begun) {
            begun = strcmp(line, "bide-backup 1") == 0;
            if (!begun)
                return false;
        } else if (strcmp(line, want) == 0) {
            return f.left == 0 && (x->n == 0 || content_ok(&x->v[x->n - 1]));
        } else if (!(strncmp(line, "data ", 5) == 0 && take_data(x, &f, line + 5)) &&
                   !(strncmp(line, "file ", 5) == 0 && take_file(x, line + 5))) {
            return false;
        }
    }
    return false;
}

/* --- the module --------------------------------------------------------------------------------------------------- */

/* step: bytes given at a time. */
static int take(const char *folder, const uint8_t *data, size_t size, size_t step, struct err *e)
{
    struct intake *x = NULL;
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    BIDE_ASSERT(dir >= 0 && intake_new(&x, dir, e) == 0, "%s: %s", folder, e->text);
    int rc = 0;
    for (size_t at = 0; at < size && rc == 0; at += step) {
        size_t n = size - at < step ? size - at : step;
        char *piece = exact(data + at, n);
        rc = intake_take(x, piece, n, e);
        free(piece);
    }
    if (rc == 0)
        rc = intake_end(x, e);
    intake_free(x);
    (void)close(dir);
    bool twice = rc == ERR_IO && e->sys == EEXIST; /* a file that was there */
    BIDE_ASSERT(rc == 0 || ((rc == ERR_INVALID || rc == ERR_CORRUPT || twice) && e->text[0] != '\0'),
                "refused with %s: %s", err_name(rc), e->text);
    return rc;
}

static size_t count_files(const char *folder, const char *sub)
{
    char path[256];
    size_t n = 0;
    (void)snprintf(path, sizeof path, "%s/%s", folder, sub);
    DIR *d = opendir(path);
    BIDE_ASSERT(d != NULL, "%s", path);
    for (struct dirent *f; (f = readdir(d)) != NULL;)
        n += f->d_type == DT_REG;
    (void)closedir(d);
    return n;
}

static void check_files(const char *folder, struct found *x)
{
    struct buf b;
    char path[256];
    size_t n = count_files(folder, "") + count_files(folder, "queue") + count_files(folder, "code");
    BIDE_ASSERT(n == x->n, "%zu files, and %zu in the stream", n, x->n);
    for (size_t i = 0; i < x->n; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, x->v[i].name);
        buf_init(&b, TEXT_MAX);
        BIDE_ASSERT(file_read(AT_FDCWD, path, &b) == 0 && b.len == x->v[i].bytes.len &&
                        memcmp(b.data, x->v[i].bytes.data, b.len) == 0,
                    "%s is another file", x->v[i].name);
        buf_done(&b);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct found x;
    const size_t steps[] = {size + 1, 1, 7};
    bool ok = find(&x, data, size);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const char *base = getenv("TMPDIR");
        char folder[128];
        struct err e = {0};
        (void)snprintf(folder, sizeof folder, "%s/bide-fuzz-XXXXXX", base != NULL ? base : "/tmp");
        BIDE_ASSERT(mkdtemp(folder) != NULL, "%s", folder);
        int rc = take(folder, data, size, steps[i], &e);
        BIDE_ASSERT((rc == 0) == ok, "%zu at a time: %s (%s), and the second reader takes it: %d", steps[i],
                    err_name(rc), e.text, ok);
        if (ok)
            check_files(folder, &x);
        BIDE_ASSERT(file_remove_tree(AT_FDCWD, folder) == 0, "%s", folder);
    }
    for (size_t i = 0; i < x.n; i++)
        buf_done(&x.v[i].bytes);
    x.n = 0;
    x.bytes = 0;
    return 0;
}
