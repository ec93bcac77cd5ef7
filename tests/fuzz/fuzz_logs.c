/* The functions' logs: lines, names of files, cursors, and the reader over a file of any bytes. Of a file whose times
 * do not fall, as those that are written here, the reader gives every line exactly once, in order, page by page.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdutil.h"
#include "fuzz.h"
#include "line.h"
#include "logs.h"
#include "name.h"

#define BASE "2001-01-01-LATEST-0123456789abcdef0123456789abcdef"
enum { PAGE = 3, LINES_MAX = 4096, TEXT_MAX = 1 << 20 };
static const int64_t first_ms = 978307200000, last_ms = 1577836800000; /* 2001 to 2019 */

static void check_line(const char *p, size_t n)
{
    struct line x, y;
    char stamp[CLOCK_ISO_LEN];
    struct buf b;
    if (!line_parse(p, n, &x))
        return;
    BIDE_ASSERT(x.text >= p && x.text + x.len == p + n && strlen(x.request_id) < LINE_REQUEST_MAX,
                "text from elsewhere");
    clock_format_iso(x.time_ms, stamp);
    buf_init(&b, TEXT_MAX);
    BIDE_ASSERT(line_put(&b, stamp, x.request_id, x.text, x.len) == 0, "a line cannot be written");
    BIDE_ASSERT(b.data[b.len - 1] == '\n' && line_parse(b.data, b.len - 1, &y) && x.time_ms == y.time_ms &&
                    strcmp(x.request_id, y.request_id) == 0 && x.len == y.len && memcmp(x.text, y.text, x.len) == 0,
                "another line: %s", b.data);
    buf_done(&b);
}

static void check_names(const char *p, size_t n)
{
    char *text = exact_text(p, n), base[NAME_BASE_MAX], again[NAME_BASE_MAX], file[NAME_FILE_MAX],
         stream[LOGS_STREAM_NAME_MAX + 8];
    uint32_t segment;
    if (name_parse_file(text, base, &segment)) {
        name_file(base, segment, file);
        BIDE_ASSERT(strcmp(file, text) == 0 && segment >= 1 && segment <= NAME_SEGMENT_MAX, "%s is written %s", text,
                    file);
        name_stream(base, stream, sizeof stream);
        BIDE_ASSERT(name_base(stream, again) && strcmp(base, again) == 0, "%s is of the stream %s", text, stream);
    }
    if (name_base(text, base)) {
        name_stream(base, stream, sizeof stream);
        BIDE_ASSERT(name_base_ok(base, strlen(base)) && strcmp(stream, text) == 0, "%s is written %s", text, stream);
    }
    BIDE_ASSERT(!name_function_ok(text) || (strchr(text, '/') == NULL && text[0] != '.'), "function %s", text);
    free(text);
}

/* --- the reader --------------------------------------------------------------------------------------------------- */

static struct {
    char folder[128];
    int fd;
    struct logs *logs;
} here = {.fd = -1};

static void leave(void)
{
    logs_close(here.logs);
    (void)!file_remove_tree(AT_FDCWD, here.folder);
}

static void write_file(const char *p, size_t n)
{
    int fd = openat(here.fd, "f/" BASE ".log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    BIDE_ASSERT(fd >= 0 && fd_write_all(fd, p, n) == 0 && close(fd) == 0, "the file cannot be written");
}

static void enter(void)
{
    const char *base = getenv("TMPDIR");
    const struct logs_opts o = {.function_max_bytes = 64 << 20, .max_bytes = 1 << 30, .retention_ms = INT64_MAX / 4};
    struct err e = {0};
    (void)snprintf(here.folder, sizeof here.folder, "%s/bide-fuzz-XXXXXX", base != NULL ? base : "/tmp");
    BIDE_ASSERT(mkdtemp(here.folder) != NULL, "%s", here.folder);
    here.fd = open(here.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    BIDE_ASSERT(here.fd >= 0 && mkdirat(here.fd, "f", 0700) == 0, "%s", here.folder);
    write_file("2001-01-01T00:00:00.000Z - x\n", 29); /* a folder without files would be swept */
    BIDE_ASSERT(logs_open(&here.logs, here.fd, &o, &e) == 0, "%s", e.text);
    (void)atexit(leave);
}

struct got {
    struct buf text; /* what was given, a line each, as it is in the file */
    size_t n;
    int64_t behind_ms;
};

static void on_line(const struct logs_line *l, void *arg)
{
    struct got *g = arg;
    char stamp[CLOCK_ISO_LEN];
    clock_format_iso(l->time_ms, stamp);
    BIDE_ASSERT(l->time_ms >= g->behind_ms &&
                    strcmp(l->stream, "2001/01/01/[$LATEST]0123456789abcdef0123456789abcdef") == 0,
                "a line out of order, or of %s", l->stream);
    g->behind_ms = l->time_ms;
    g->n++;
    BIDE_ASSERT(line_put(&g->text, stamp, l->request_id, l->text, l->len) == 0, "no room");
}

/* What the file holds, by a walk over its lines. False: its times are not such as are written. */
static bool expected(const char *p, size_t n, struct buf *b)
{
    struct feed f = {(const uint8_t *)p, n};
    int64_t behind_ms = first_ms;
    struct line l;
    char stamp[CLOCK_ISO_LEN];
    while (f.left > 0) {
        bool whole = memchr(f.p, '\n', f.left) != NULL;
        struct slice s = feed_until(&f, '\n');
        if (!whole || !line_parse(s.p, s.len, &l))
            continue;
        if (l.time_ms < behind_ms || l.time_ms > last_ms)
            return false;
        behind_ms = l.time_ms;
        clock_format_iso(l.time_ms, stamp);
        BIDE_ASSERT(line_put(b, stamp, l.request_id, l.text, l.len) == 0, "no room");
    }
    return true;
}

static void read_all(struct got *g, uint32_t page)
{
    char cursor[LOGS_CURSOR_MAX] = "", next[LOGS_CURSOR_MAX];
    bool more = true;
    for (size_t turns = 0; more; turns++) {
        struct logs_query q = {.function = "f", .request_id = "", .cursor = cursor, .limit = page};
        struct err e = {0};
        int rc = logs_read(here.logs, &q, on_line, g, next, &more, &e);
        BIDE_ASSERT(rc == 0, "the logs cannot be read: %s", e.text);
        BIDE_ASSERT(turns < LINES_MAX && g->n <= LINES_MAX, "no end after %s", next);
        memcpy(cursor, next, sizeof cursor);
    }
}

static void check_file(const char *p, size_t n)
{
    struct got g = {.behind_ms = INT64_MIN};
    struct buf want;
    if (here.fd < 0)
        enter();
    write_file(p, n);
    buf_init(&want, TEXT_MAX);
    if (expected(p, n, &want)) {
        buf_init(&g.text, TEXT_MAX);
        read_all(&g, PAGE);
        BIDE_ASSERT(g.text.len == want.len && memcmp(g.text.data, want.data, want.len) == 0, "read:\n%s\nwanted:\n%s",
                    g.text.data, want.data);
        buf_done(&g.text);
    }
    buf_done(&want);
}

static void ignore(const struct logs_line *l, void *arg)
{
    (void)l;
    (void)arg;
}

static void check_cursor(const char *p, size_t n)
{
    char *text = exact_text(p, n), next[LOGS_CURSOR_MAX];
    bool more;
    struct err e = {0};
    struct logs_query q = {.function = "f", .request_id = "", .cursor = text, .limit = PAGE};
    if (here.fd < 0)
        enter();
    int rc = logs_read(here.logs, &q, ignore, NULL, next, &more, &e);
    BIDE_ASSERT(rc == 0 || (rc == ERR_INVALID && e.text[0] != '\0'), "cursor %s: %s", text, err_name(rc));
    BIDE_ASSERT(rc != 0 || strlen(next) > 0, "no cursor after %s", text);
    free(text);
}

/* The first byte: what the rest is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed f = {data, size};
    uint8_t what = feed_byte(&f);
    char *p = exact(f.p, f.left);
    switch (what % 4) {
    case 0:
        check_line(p, f.left);
        break;
    case 1:
        check_names(p, f.left);
        break;
    case 2:
        check_cursor(p, f.left);
        break;
    default:
        check_file(p, f.left);
    }
    free(p);
    return 0;
}
