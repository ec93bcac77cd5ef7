/* Several calls in flight, on libcurl's multi interface. */
#include <stdlib.h>
#include <string.h>

#include "client_impl.h"

enum { BODY_MAX = 8 << 20 };

struct place {
    struct request rq;
    struct reply reply;
    struct buf body;
    uint64_t tag;
    bool busy;
};

struct client_batch {
    struct client *client;
    CURLM *multi;
    client_ended_cb *cb;
    void *arg;
    size_t n, busy;
    struct place place[CLIENT_BATCH_MAX];
};

int client_batch_new(struct client_batch **ret, struct client *c, size_t n, client_ended_cb *cb, void *arg,
                     struct err *e)
{
    struct client_batch *b = calloc(1, sizeof *b);
    bool ok = b != NULL && n >= 1 && n <= CLIENT_BATCH_MAX && (b->multi = curl_multi_init()) != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        struct place *p = &b->place[i];
        buf_init(&p->body, BODY_MAX);
        reply_init(&p->reply);
        b->n = i + 1;
        ok = (p->rq.curl = curl_easy_init()) != NULL;
    }
    if (!ok) {
        client_batch_free(b);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    (void)curl_multi_setopt(b->multi, CURLMOPT_MAXCONNECTS, (long)n);
    b->client = c;
    b->cb = cb;
    b->arg = arg;
    *ret = b;
    return 0;
}

void client_batch_free(struct client_batch *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->n; i++) {
        struct place *p = &b->place[i];
        if (p->busy)
            (void)curl_multi_remove_handle(b->multi, p->rq.curl);
        curl_easy_cleanup(p->rq.curl);
        curl_slist_free_all(p->rq.headers);
        reply_done(&p->reply);
        buf_done(&p->body);
    }
    (void)curl_multi_cleanup(b->multi);
    free(b);
}

size_t client_batch_busy(const struct client_batch *b)
{
    return b->busy;
}

int client_batch_send(struct client_batch *b, uint64_t tag, const char *method, const char *path,
                      const char *const *extra, const void *body, size_t len, struct err *e)
{
    struct place *p = NULL;
    for (size_t i = 0; i < b->n && p == NULL; i++)
        if (!b->place[i].busy)
            p = &b->place[i];
    if (p == NULL)
        return err_set(e, ERR_BUSY, "%zu calls are in flight", b->n);
    buf_clear(&p->body);
    if (buf_append(&p->body, body, len) < 0)
        return err_set(e, ERR_TOOBIG, "the body is too large");
    p->tag = tag;
    p->rq.body = p->body.data;
    p->rq.len = len;
    p->rq.reply = &p->reply;
    int rc = client_prepare(b->client, &p->rq, method, path, extra, true, e);
    if (rc < 0)
        return rc;
    (void)curl_easy_setopt(p->rq.curl, CURLOPT_PRIVATE, (void *)p);
    if (curl_multi_add_handle(b->multi, p->rq.curl) != CURLM_OK)
        return err_set(e, ERR_NOMEM, "out of memory");
    p->busy = true;
    b->busy++;
    return 0;
}

static void finish(struct client_batch *b, CURL *curl, CURLcode done)
{
    char *private = NULL;
    struct err e = {0};
    (void)curl_easy_getinfo(curl, CURLINFO_PRIVATE, &private);
    struct place *p = (struct place *)(void *)private;
    int rc = client_finish(b->client, &p->rq, done, &e);
    (void)curl_multi_remove_handle(b->multi, curl);
    p->busy = false;
    b->busy--;
    const struct client_ended ended = {p->tag, rc, &p->reply, e.text, {p->body.data, p->body.len}};
    b->cb(&ended, b->arg);
}

int client_batch_turn(struct client_batch *b, int timeout_ms, int input_fd, struct err *e)
{
    int running, left;
    struct curl_waitfd input = {.fd = input_fd, .events = CURL_WAIT_POLLIN};
    CURLMcode rc = curl_multi_perform(b->multi, &running);
    if (rc == CURLM_OK && (size_t)running == b->busy)
        rc = curl_multi_poll(b->multi, &input, input_fd >= 0, timeout_ms, NULL);
    if (rc == CURLM_OK)
        rc = curl_multi_perform(b->multi, &running);
    if (rc != CURLM_OK)
        return err_set(e, ERR_IO, "%s", curl_multi_strerror(rc));
    for (const CURLMsg *m; (m = curl_multi_info_read(b->multi, &left)) != NULL;)
        if (m->msg == CURLMSG_DONE)
            finish(b, m->easy_handle, m->data.result);
    return 0;
}
