/* GET /bide/v1/backup: the stream of backup.h as a chunked reply. One at a time. The loop only moves bytes from a pipe
 * to the connection, when the client has taken what it got before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup.h"
#include "base/log.h"
#include "route.h"

enum { MOVE_MAX = 64 * 1024 };

struct sending {
    struct call *c;
    struct backup *b;
    struct loop_watch *watch;
    bool over; /* the thread has written its last byte */
    bool eof;  /* and all of them were read, */
    bool cut;  /* or nobody wants them any more */
    char credentials[400];
    char piece[MOVE_MAX];
};

static void free_sending(void *arg)
{
    struct sending *s = arg;
    s->c->api->backup = NULL;
    loop_unwatch(s->watch);
    if (s->b)
        backup_stop(s->b);
    backup_free(s->b);
    explicit_bzero(s->credentials, sizeof(s->credentials));
    free(s);
}

static void finish(struct sending *s)
{
    struct err e = {0};
    if (!s->over || !(s->eof || s->cut))
        return;
    int rc = backup_result(s->b, &e);
    if (rc < 0)
        log_warn("api", "the backup was broken off: %s", e.text);
    if (rc == 0 && !s->cut)
        call_reply_end(s->c);
    else
        call_reply_abort(s->c);
}

static void unwatch(struct sending *s)
{
    loop_unwatch(s->watch);
    s->watch = NULL;
}

static void cut(struct sending *s)
{
    if (s->eof || s->cut)
        return;
    s->cut = true;
    unwatch(s);
    backup_stop(s->b);
    finish(s);
}

static void on_gone(struct httpd_req *req, void *arg)
{
    (void)req;
    cut(arg);
}

static void on_readable(int fd, int what, void *arg)
{
    struct sending *s = arg;
    (void)what;
    ssize_t n = read(fd, s->piece, sizeof(s->piece));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        unwatch(s);
        s->eof = true;
        finish(s);
        return;
    }
    int rc = httpd_reply_chunk(s->c->req, s->piece, (size_t)n);
    if (rc == ERR_AGAIN)
        unwatch(s);
    else if (rc < 0)
        cut(s);
}

static void on_writable(struct httpd_req *req, void *arg)
{
    struct sending *s = arg;
    (void)req;
    if (s->watch || s->eof || s->cut)
        return;
    if (loop_watch(s->c->api->d.loop, backup_fd(s->b), LOOP_READ, on_readable, s, &s->watch) < 0)
        cut(s);
}

static void on_over(void *arg)
{
    struct sending *s = arg;
    s->over = true;
    finish(s);
}

static void on_done(void *arg)
{
    struct sending *s = arg;
    int r = loop_post(s->c->api->d.loop, on_over, s);
    if (r < 0)
        bide_no_memory("completion");
}

/* The keys go over the Unix socket only, which does not leave the machine. A client that signs has its own. */
static void put_credentials(struct sending *s, struct backup_opts *o)
{
    const struct api_deps *d = &s->c->api->d;
    if (s->c->must_verify || d->n_keys == 0)
        return;
    (void)snprintf(s->credentials, sizeof(s->credentials),
                   "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", d->keys[0].id, d->keys[0].secret);
    o->credentials = s->credentials;
}

void bide_backup(struct call *c)
{
    struct api *a = c->api;
    struct err e = {0};
    char copy[16] = "";
    int r = call_query(c, "copy", copy, sizeof(copy));
    if (r != ERR_NOTFOUND && (r < 0 || (strcmp(copy, "compact") != 0 && strcmp(copy, "pages") != 0))) {
        call_fault(c, FAULT_VALIDATION, "copy must be compact or pages");
        return;
    }
    if (httpd_req_head(c->req)->method == HTTP1_HEAD) {
        call_reply_empty(c, 200);
        return;
    }
    if (a->backup) {
        call_fault(c, FAULT_CONFLICT, "A backup is running already.");
        return;
    }
    struct sending *s = calloc(1, sizeof(*s));
    if (!s) {
        call_error(c, ERR_NOMEM, NULL);
        return;
    }
    s->c = c;
    struct backup_opts o = {.store = queue_store(a->d.queue),
                            .registry = a->d.registry,
                            .compact = strcmp(copy, "pages") != 0,
                            .on_done = on_done,
                            .arg = s};
    put_credentials(s, &o);
    r = backup_start(&s->b, &o, &e);
    if (r < 0) {
        free(s);
        call_error(c, r, &e);
        return;
    }
    a->backup = s;
    c->state = s;
    c->free_state = free_sending;
    static const struct call_extra type = {"Content-Type", "application/x-bide-backup"};
    call_reply_start(c, 200, &type, 1);
    httpd_req_on_close(c->req, on_gone, s);
    httpd_req_on_writable(c->req, on_writable, s);
    on_writable(c->req, s);
}

void bide_backup_cut(struct api *a)
{
    if (a->backup)
        cut(a->backup);
}
