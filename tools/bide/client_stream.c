/* Answers too long to be held, taken piece by piece. */
#include "client_impl.h"

struct stream {
    struct request rq;
    client_piece_cb *cb;
    void *arg;
    int rc; /* the callback's last */
};

static size_t on_piece(char *p, size_t size, size_t n, void *arg)
{
    struct stream *s = arg;
    long status = 0;
    (void)curl_easy_getinfo(s->rq.curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return buf_append(&s->rq.reply->body, p, size * n) == 0 ? size * n : 0;
    s->rc = s->cb(p, size * n, s->arg);
    return s->rc < 0 ? 0 : size * n;
}

static int on_progress(void *arg, curl_off_t dl_total, curl_off_t dl_now, curl_off_t ul_total, curl_off_t ul_now)
{
    struct stream *s = arg;
    (void)dl_total;
    (void)dl_now;
    (void)ul_total;
    (void)ul_now;
    if (s->rc == 0)
        s->rc = s->cb(NULL, 0, s->arg);
    return s->rc < 0;
}

int client_stream(struct client *c, const char *path, client_piece_cb *cb, void *arg, struct reply *r, struct err *e)
{
    struct stream s = {.rq = {.curl = c->curl, .reply = r}, .cb = cb, .arg = arg};
    int rc = client_prepare(c, &s.rq, "GET", path, NULL, false, e);
    if (rc < 0)
        return rc;
    CURLcode done = CURLE_OK;
#define SET(opt_, val_) done = done == CURLE_OK ? curl_easy_setopt(c->curl, opt_, val_) : done
    SET(CURLOPT_WRITEFUNCTION, on_piece);
    SET(CURLOPT_WRITEDATA, (void *)&s);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, (void *)&s);
    SET(CURLOPT_NOPROGRESS, 0L);
#undef SET
    if (done == CURLE_OK)
        done = curl_easy_perform(c->curl);
    rc = client_finish(c, &s.rq, done, s.rc < 0 ? NULL : e); /* the callback has said why */
    return s.rc < 0 ? s.rc : rc;
}
