#include "client.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/hash.h"
#include "client_impl.h"

enum { REPLY_MAX = 64 * 1024 * 1024, LOG_RESULT_MAX = 64 * 1024 };

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
    r->later |= len > 12 && strncasecmp(p, "retry-after:", 12) == 0;
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

int client_unreachable(const char *data, const char *path, int errnum, struct err *e)
{
    if (errnum == ENOENT)
        return err_set(e, ERR_NOTFOUND,
                       "no daemon at %s (there is no %s); start `bided --data %s`, or name the data directory with "
                       "--data or BIDE_DATA",
                       data, path, data);
    /* Whether a daemon runs there cannot be seen, so none is said to be missing. */
    return err_set(e, ERR_INVALID, "%s: %s%s", path, strerror(errnum),
                   errnum == EACCES ? "; run bide as root or as the user whose daemon it is" : "");
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
            rc = client_unreachable(data, c->socket, errno, e);
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

static size_t on_read(char *p, size_t size, size_t n, void *arg)
{
    struct request *rq = arg;
    size_t take = rq->len - rq->sent < size * n ? rq->len - rq->sent : size * n;
    memcpy(p, rq->body + rq->sent, take);
    rq->sent += take;
    return take;
}

static bool add_header(struct request *rq, const char *line)
{
    struct curl_slist *longer = curl_slist_append(rq->headers, line);
    if (longer != NULL)
        rq->headers = longer;
    return longer != NULL;
}

/* libcurl signs the body only when it holds it whole. */
static bool add_digest(struct request *rq)
{
    uint8_t sum[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1], line[128];
    sha256_sum(rq->body, rq->len, sum);
    hex_encode(sum, sizeof sum, hex);
    (void)snprintf(line, sizeof line, "x-amz-content-sha256: %s", hex);
    return add_header(rq, line);
}

static bool add_headers(const struct client *c, struct request *rq, const char *const *extra, bool once)
{
    /* An empty value removes the header that libcurl would add: no form type for JSON, no waiting for a 100. */
    bool ok = add_header(rq, "Content-Type: application/json") && add_header(rq, "Expect:");
    for (size_t i = 0; ok && extra != NULL && extra[i] != NULL; i++)
        ok = add_header(rq, extra[i]);
    return ok && (!once || c->socket[0] != '\0' || add_digest(rq));
}

int client_prepare(const struct client *c, struct request *rq, const char *method, const char *path,
                   const char *const *extra, bool once, struct err *e)
{
    char url[2048];
    int n = snprintf(url, sizeof url, "%s%s", c->base, path);
    rq->headers = NULL;
    rq->sent = 0;
    rq->problem[0] = '\0';
    reply_done(rq->reply);
    reply_init(rq->reply);
    if (n < 0 || (size_t)n >= sizeof url)
        return err_set(e, ERR_TOOBIG, "the request's address is too long");
    curl_easy_reset(rq->curl);
    CURLcode rc = add_headers(c, rq, extra, once) ? CURLE_OK : CURLE_OUT_OF_MEMORY;
#define SET(opt_, val_) rc = rc == CURLE_OK ? curl_easy_setopt(rq->curl, opt_, val_) : rc
    SET(CURLOPT_URL, url);
    SET(CURLOPT_ERRORBUFFER, rq->problem);
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, (void *)rq->reply);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, (void *)rq->reply);
    SET(CURLOPT_HTTPHEADER, rq->headers);
    if (c->socket[0] != '\0') {
        SET(CURLOPT_UNIX_SOCKET_PATH, c->socket);
    } else {
        SET(CURLOPT_AWS_SIGV4, c->sigv4);
        SET(CURLOPT_USERPWD, c->user);
    }
    if (rq->body != NULL) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->len);
        if (once) {
            SET(CURLOPT_READFUNCTION, on_read);
            SET(CURLOPT_READDATA, (void *)rq);
        } else {
            SET(CURLOPT_POSTFIELDS, rq->body);
        }
    }
    SET(CURLOPT_CUSTOMREQUEST, method);
#undef SET
    if (rc == CURLE_OK)
        return 0;
    curl_slist_free_all(rq->headers);
    rq->headers = NULL;
    return err_set(e, ERR_NOMEM, "out of memory");
}

int client_finish(const struct client *c, struct request *rq, CURLcode done, struct err *e)
{
    curl_slist_free_all(rq->headers);
    rq->headers = NULL;
    if (done == CURLE_OK) {
        (void)curl_easy_getinfo(rq->curl, CURLINFO_RESPONSE_CODE, &rq->reply->status);
        return 0;
    }
    const char *why = rq->problem[0] != '\0' ? rq->problem : curl_easy_strerror(done);
    bool unsent = rq->sent == 0 && (done == CURLE_COULDNT_CONNECT || done == CURLE_COULDNT_RESOLVE_HOST);
    int code = unsent ? ERR_NOTFOUND : ERR_IO;
    if (c->socket[0] != '\0' && done == CURLE_COULDNT_CONNECT) {
        /* curl's own text names a host and a port, which a socket has not. */
        long errnum = 0;
        (void)curl_easy_getinfo(rq->curl, CURLINFO_OS_ERRNO, &errnum);
        return err_set(e, code, "the daemon does not answer on %s (is bided running?): %s", c->socket,
                       errnum != 0 ? strerror((int)errnum) : why);
    }
    return err_set(e, code, "%s: %s", c->socket[0] != '\0' ? c->socket : c->base, why);
}

int client_call(struct client *c, const char *method, const char *path, const char *const *extra, const void *body,
                size_t len, struct reply *r, struct err *e)
{
    struct request rq = {.curl = c->curl, .body = body, .len = len, .reply = r};
    int rc = client_prepare(c, &rq, method, path, extra, false, e);
    return rc < 0 ? rc : client_finish(c, &rq, curl_easy_perform(c->curl), e);
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
