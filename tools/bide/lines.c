#include "lines.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/jscan.h"

enum {
    PLAIN_DEPTH_MAX = 2047, /* nesting that jansson is sure to take */
    LINE_MAX_BYTES = 12 << 20 /* the largest payload, as base64, with the rest of a dead letter */,
    READ_BYTES = 64 * 1024
};

int lines_open(struct lines *l, const char *path, struct err *e)
{
    struct stat st;
    bool in = strcmp(path, "-") == 0;
    *l = (struct lines){.fd = in ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC),
                        .name = in ? "standard input" : path};
    buf_init(&l->in, LINE_MAX_BYTES + READ_BYTES);
    if (l->fd < 0 || fstat(l->fd, &st) < 0)
        return err_sys(e, ERR_IO, errno, "%s", l->name);
    if (S_ISDIR(st.st_mode)) {
        lines_close(l);
        return err_set(e, ERR_INVALID, "%s is a folder", path);
    }
    l->plain = S_ISREG(st.st_mode);
    l->size = (uint64_t)st.st_size;
    return 0;
}

void lines_close(struct lines *l)
{
    if (l->fd > STDIN_FILENO)
        (void)close(l->fd);
    l->fd = -1;
    buf_done(&l->in);
}

int lines_rewind(struct lines *l, struct err *e)
{
    if (lseek(l->fd, 0, SEEK_SET) < 0)
        return err_sys(e, ERR_IO, errno, "%s", l->name);
    buf_clear(&l->in);
    l->at = 0;
    l->number = 0;
    l->read = 0;
    l->end = false;
    return 0;
}

/* More bytes behind those that are there. */
static int fill(struct lines *l, struct err *e)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    if (!l->plain && poll(&p, 1, 0) <= 0)
        return ERR_AGAIN;
    buf_consume(&l->in, l->at);
    l->at = 0;
    if (l->in.len > LINE_MAX_BYTES || buf_reserve(&l->in, READ_BYTES) < 0)
        return err_set(e, ERR_TOOBIG, "%s, line %llu: longer than %d MiB", l->name, (unsigned long long)l->number + 1,
                       LINE_MAX_BYTES >> 20);
    ssize_t n = read(l->fd, l->in.data + l->in.len, READ_BYTES);
    if (n < 0)
        return errno == EINTR ? ERR_AGAIN : err_sys(e, ERR_IO, errno, "%s", l->name);
    l->end = n == 0;
    l->read += (uint64_t)n;
    l->in.len += (size_t)n;
    l->in.data[l->in.len] = '\0';
    return 0;
}

/* One line without its end, blank or not: 1, or 0 at the end. */
static int take_line(struct lines *l, struct err *e)
{
    for (size_t looked = 0;;) {
        const char *from = l->in.data + l->at;
        size_t have = l->in.len - l->at;
        const char *nl = memchr(from + looked, '\n', have - looked);
        if (nl == NULL && !l->end) {
            looked = have;
            int rc = fill(l, e);
            if (rc < 0)
                return rc;
            continue;
        }
        if (nl == NULL && have == 0)
            return 0;
        size_t len = nl != NULL ? (size_t)(nl - from) : have;
        l->line = (struct slice){from, len};
        l->at += len + (nl != NULL);
        l->number++;
        return 1;
    }
}

static bool is_blank(struct slice s)
{
    const char *p = s.p;
    for (size_t i = 0; i < s.len; i++)
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r')
            return false;
    return true;
}

unsigned lines_percent(const struct lines *l)
{
    return l->read < l->size ? (unsigned)(l->read * 100 / l->size) : 100;
}

bool lines_is_json(const void *p, size_t len, char *why, size_t cap)
{
    json_error_t je;
    if (jscan_plain(p, len, PLAIN_DEPTH_MAX))
        return true; /* as most is, and then no tree of it is needed */
    const char *nul = memchr(p, '\0', len);
    if (nul != NULL) { /* which jansson would take for the end of the text */
        (void)snprintf(why, cap, "a NUL (column %zu)", (size_t)(nul - (const char *)p) + 1);
        return false;
    }
    json_t *v = json_loadb(p, len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &je);
    if (v == NULL)
        (void)snprintf(why, cap, "%s (column %d)", je.text, je.column);
    json_decref(v);
    return v != NULL;
}

int lines_next(struct lines *l, struct err *e)
{
    int rc;
    char why[JSON_ERROR_TEXT_LENGTH + 32];
    while ((rc = take_line(l, e)) > 0 && is_blank(l->line))
        ;
    if (rc <= 0)
        return rc;
    if (lines_is_json(l->line.p, l->line.len, why, sizeof why))
        return 1;
    return err_set(e, ERR_INVALID, "%s, line %llu is no JSON: %s", l->name, (unsigned long long)l->number, why);
}
