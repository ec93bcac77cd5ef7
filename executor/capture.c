#include "capture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fdutil.h"

void capture_init(struct capture *c)
{
    c->fd = -1;
    c->loop = NULL;
    c->watch = NULL;
    c->pause = NULL;
    c->stream = NULL;
    c->request_id = "";
    c->total = 0;
}

static void end(struct capture *c)
{
    loop_unwatch(c->watch);
    c->watch = NULL;
    loop_timer_free(c->pause);
    c->pause = NULL;
    fd_close(&c->fd);
}

static void on_readable(int fd, int what, void *arg);

static void pause_over(void *arg)
{
    struct capture *c = arg;
    /* Without memory for a watch the pause goes on. */
    if (loop_watch(c->loop, c->fd, LOOP_READ, on_readable, c, &c->watch) < 0) {
        c->watch = NULL;
        loop_timer_arm(c->pause, CAPTURE_PAUSE_MS);
    }
}

static void on_readable(int fd, int what, void *arg)
{
    struct capture *c = arg;
    (void)fd;
    (void)what;
    if (capture_drain(c) < CAPTURE_TURN || c->fd < 0)
        return;
    if (c->pause == NULL && loop_timer_new(c->loop, pause_over, c, &c->pause) < 0) {
        c->pause = NULL; /* read on at full speed: the better of two evils */
        return;
    }
    loop_unwatch(c->watch);
    c->watch = NULL;
    loop_timer_arm(c->pause, CAPTURE_PAUSE_MS);
}

int capture_open(struct capture *c, struct loop *l, int fd)
{
    c->fd = fd;
    c->loop = l;
    int rc = loop_watch(l, fd, LOOP_READ, on_readable, c, &c->watch);
    if (rc < 0) {
        c->watch = NULL;
        fd_close(&c->fd);
    }
    return rc;
}

void capture_close(struct capture *c)
{
    (void)capture_drain(c);
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

size_t capture_drain(struct capture *c)
{
    char piece[16 * 1024];
    size_t got = 0;
    while (c->fd >= 0 && got < CAPTURE_TURN) {
        ssize_t n = read(c->fd, piece, sizeof piece);
        if (n > 0) {
            capture_add(c, piece, (size_t)n);
            got += (size_t)n;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else {
            end(c); /* end of file: every writer is gone, and a watch would spin */
        }
    }
    return got;
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
