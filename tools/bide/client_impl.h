/* What client.c, client_batch.c and client_stream.c share: how a request is put to libcurl. */
#ifndef BIDE_CLIENT_IMPL_H
#define BIDE_CLIENT_IMPL_H

#include <curl/curl.h>
#include <stdbool.h>

#include "client.h"

struct client {
    CURL *curl;
    char base[512];
    char socket[512]; /* "" over TCP */
    char sigv4[128];
    char user[512];
};

/* One request on one handle. Everything lives until it has ended. */
struct request {
    CURL *curl;
    struct curl_slist *headers;
    const char *body;
    size_t len, sent;
    struct reply *reply;
    char problem[CURL_ERROR_SIZE];
};

/* Sets rq->curl up for the call; rq->headers is made here. once: the body is handed out one time only, so that libcurl
 * cannot send the request again by itself when a connection that was open before turns out to be dead. */
int client_prepare(const struct client *c, struct request *rq, const char *method, const char *path,
                   const char *const *extra, bool once, struct err *e) BIDE_MUST_USE;

/* What libcurl's result means; 0 with rq->reply complete, or ERR_IO with e, or ERR_NOTFOUND: nobody could be reached,
 * so that nothing was sent. Frees rq->headers. */
int client_finish(const struct client *c, struct request *rq, CURLcode done, struct err *e) BIDE_MUST_USE;

#endif
