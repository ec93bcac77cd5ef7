#include "client.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { REPLY_MAX = 64 * 1024 * 1024, LOG_RESULT_MAX = 64 * 1024 };

struct client {
    CURL *curl;
    char base[512];
    char socket[512]; /* "" over TCP */
    char sigv4[128];
    char user[512];
    char problem[CURL_ERROR_SIZE];
};

void reply_init(struct reply *r)
{
    *r = (struct reply){0};
    buf_init(&r->body, REPLY_MAX);
}

void reply_done(struct reply *r)
{
    buf_done(&r->body);
    free(r->log_result);
    r->log_result = NULL;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct reply *r = arg;
    return buf_append(&r->body, p, size * n) == 0 ? size * n : 0;
}

/* If line is the header NAME, copy its trimmed value into out. */
static void header_value(const char *line, size_t len, const char *name, char *out, size_t cap)
{
    size_t n = strlen(name);
    if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
        return;
    const char *v = line + n + 1, *end = line + len;
    while (v < end && *v == ' ')
        v++;
    while (end > v && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    size_t value_len = (size_t)(end - v) < cap ? (size_t)(end - v) : cap - 1;
    memcpy(out, v, value_len);
    out[value_len] = '\0';
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct reply *r = arg;
    size_t len = size * n;
    header_value(p, len, "x-amzn-requestid", r->request_id, sizeof r->request_id);
    header_value(p, len, "x-amz-function-error", r->function_error, sizeof r->function_error);
    if (len > 17 && len < LOG_RESULT_MAX && strncasecmp(p, "x-amz-log-result:", 17) == 0) {
        free(r->log_result);
        r->log_result = calloc(1, len);
        if (r->log_result != NULL)
            header_value(p, len, "x-amz-log-result", r->log_result, len);
    }
    return len;
}

static int set_endpoint(struct client *c, const char *endpoint, struct err *e)
{
    const char *id = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");
    const char *region = getenv("AWS_REGION");
    if (region == NULL)
        region = getenv("AWS_DEFAULT_REGION");
    if (id == NULL || secret == NULL)
        return err_set(e, ERR_INVALID,
                       "--endpoint needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment; "
                       "on the daemon's machine `bide env` prints them");
    (void)snprintf(c->base, sizeof c->base, "%s", endpoint);
    size_t n = strlen(c->base);
    while (n > 0 && c->base[n - 1] == '/')
        c->base[--n] = '\0';
    (void)snprintf(c->sigv4, sizeof c->sigv4, "aws:amz:%s:lambda", region != NULL ? region : "us-east-1");
    (void)snprintf(c->user, sizeof c->user, "%s:%s", id, secret);
    return 0;
}

int client_open(struct client **ret, const char *data, const char *endpoint, struct err *e)
{
    struct client *c = calloc(1, sizeof *c);
    if (c == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (c->curl = curl_easy_init()) == NULL) {
        free(c);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    int rc = 0;
    if (endpoint != NULL) {
        rc = set_endpoint(c, endpoint, e);
    } else {
        int n = snprintf(c->socket, sizeof c->socket, "%s/bide.sock", data);
        (void)snprintf(c->base, sizeof c->base, "http://bide");
        if (n < 0 || (size_t)n >= 108)
            rc = err_set(e, ERR_INVALID, "%s/bide.sock: the path is too long for a socket; change to a nearer folder",
                         data);
        else if (access(c->socket, F_OK) < 0)
            rc = err_set(
                e, ERR_NOTFOUND,
                "no daemon at %s (there is no %s); start `bided --data %s`, or name the data directory with --data "
                "or BIDE_DATA",
                data, c->socket, data);
    }
    if (rc < 0) {
        client_close(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void client_close(struct client *c)
{
    if (c == NULL)
        return;
    curl_easy_cleanup(c->curl);
    explicit_bzero(c, sizeof *c);
    free(c);
}

static int prepare(struct client *c, const char *method, const char *url, const void *body, size_t len,
                   struct curl_slist *headers, struct reply *r)
{
    curl_easy_reset(c->curl);
    CURLcode rc = CURLE_OK;
#define SET(opt_, val_) rc = rc == CURLE_OK ? curl_easy_setopt(c->curl, opt_, val_) : rc
    SET(CURLOPT_URL, url);
    SET(CURLOPT_CUSTOMREQUEST, method);
    SET(CURLOPT_ERRORBUFFER, c->problem);
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, (void *)r);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, (void *)r);
    SET(CURLOPT_HTTPHEADER, headers);
    if (c->socket[0] != '\0') {
        SET(CURLOPT_UNIX_SOCKET_PATH, c->socket);
    } else {
        SET(CURLOPT_AWS_SIGV4, c->sigv4);
        SET(CURLOPT_USERPWD, c->user);
    }
    if (body != NULL) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
        SET(CURLOPT_POSTFIELDS, body);
    }
#undef SET
    return rc == CURLE_OK ? 0 : ERR_NOMEM;
}

int client_call(struct client *c, const char *method, const char *path, const char *const *extra, const void *body,
                size_t len, struct reply *r, struct err *e)
{
    char url[2048];
    int n = snprintf(url, sizeof url, "%s%s", c->base, path);
    if (n < 0 || (size_t)n >= sizeof url)
        return err_set(e, ERR_TOOBIG, "the request's address is too long");
    struct curl_slist *headers = NULL;
    /* An empty value removes the header that libcurl would add: no form type for JSON, no waiting for a 100. */
    const char *const fixed[] = {"Content-Type: application/json", "Expect:"};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        headers = curl_slist_append(headers, fixed[i]);
    for (size_t i = 0; extra != NULL && extra[i] != NULL; i++)
        headers = curl_slist_append(headers, extra[i]);
    reply_done(r);
    reply_init(r);
    int rc = headers == NULL ? ERR_NOMEM : prepare(c, method, url, body, len, headers, r);
    CURLcode done = rc == 0 ? curl_easy_perform(c->curl) : CURLE_OUT_OF_MEMORY;
    curl_slist_free_all(headers);
    if (done != CURLE_OK) {
        const char *why = c->problem[0] != '\0' ? c->problem : curl_easy_strerror(done);
        if (c->socket[0] != '\0' && done == CURLE_COULDNT_CONNECT)
            return err_set(e, ERR_IO, "the daemon does not answer on %s (is bided running?): %s", c->socket, why);
        return err_set(e, ERR_IO, "%s: %s", c->socket[0] != '\0' ? c->socket : c->base, why);
    }
    (void)curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &r->status);
    return 0;
}

const char *reply_why(const struct reply *r)
{
    static char why[1200];
    json_t *body = json_loadb(r->body.data, r->body.len, 0, NULL);
    const char *text = json_string_value(json_object_get(body, "message"));
    if (text == NULL)
        text = json_string_value(json_object_get(body, "Message"));
    if (text != NULL)
        (void)snprintf(why, sizeof why, "%s", text);
    else
        (void)snprintf(why, sizeof why, "the daemon answered with HTTP status %ld", r->status);
    json_decref(body);
    return why;
}
