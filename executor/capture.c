#include "capture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fdutil.h"

void capture_init(struct capture *c)
{
    c->fd = -1;
    c->watch = NULL;
    c->stream = NULL;
    c->request_id = "";
    c->total = 0;
}

static void on_readable(int fd, int what, void *arg)
{
    (void)fd;
    (void)what;
    capture_drain(arg);
}

int capture_open(struct capture *c, struct loop *l, int fd)
{
    c->fd = fd;
    int rc = loop_watch(l, fd, LOOP_READ, on_readable, c, &c->watch);
    if (rc < 0) {
        c->watch = NULL;
        fd_close(&c->fd);
    }
    return rc;
}

static void end(struct capture *c)
{
    loop_unwatch(c->watch);
    c->watch = NULL;
    fd_close(&c->fd);
}

void capture_close(struct capture *c)
{
    capture_drain(c);
    end(c);
}

void capture_done(struct capture *c)
{
    capture_close(c);
    logs_stream_close(c->stream);
    c->stream = NULL;
}

void capture_clear(struct capture *c)
{
    c->total = 0;
}

static void keep(struct capture *c, const char *s, size_t n)
{
    if (n > CAPTURE_TAIL) {
        c->total += n - CAPTURE_TAIL;
        s += n - CAPTURE_TAIL;
        n = CAPTURE_TAIL;
    }
    size_t at = (size_t)(c->total % CAPTURE_TAIL);
    size_t first = n < CAPTURE_TAIL - at ? n : CAPTURE_TAIL - at;
    memcpy(c->ring + at, s, first);
    memcpy(c->ring, s + first, n - first);
    c->total += n;
}

void capture_add(struct capture *c, const void *p, size_t n)
{
    keep(c, p, n);
    (void)logs_output(c->stream, c->request_id, p, n); /* over the rate or not: it is read and thrown away */
}

void capture_line(struct capture *c, const char *text)
{
    size_t n = strlen(text);
    keep(c, text, n);
    logs_platform(c->stream, c->request_id, text, n);
}

void capture_drain(struct capture *c)
{
    char piece[16 * 1024];
    for (size_t got = 0; c->fd >= 0 && got < CAPTURE_TURN;) {
        ssize_t n = read(c->fd, piece, sizeof piece);
        if (n > 0) {
            capture_add(c, piece, (size_t)n);
            got += (size_t)n;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && errno == EAGAIN) {
            return;
        } else {
            end(c); /* end of file: every writer is gone, and a watch would spin */
        }
    }
}

size_t capture_tail(const struct capture *c, char out[CAPTURE_TAIL])
{
    if (c->total <= CAPTURE_TAIL) {
        memcpy(out, c->ring, (size_t)c->total);
        return (size_t)c->total;
    }
    size_t at = (size_t)(c->total % CAPTURE_TAIL);
    memcpy(out, c->ring + at, CAPTURE_TAIL - at);
    memcpy(out + CAPTURE_TAIL - at, c->ring, at);
    return CAPTURE_TAIL;
}
