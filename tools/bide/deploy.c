#include "deploy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tick.h"

enum { BODY_MAX = 70167211, FIRST_STEP_MS = 10, LAST_STEP_MS = 250, READY_LIMIT_MS = 60000 };

#define FUNCTIONS "/2015-03-31/functions"

/* --- one call ----------------------------------------------------------------------------------------------------- */

/* *ret_status is the HTTP status; 409 is for the caller to judge. *ret_json, when asked for, is the answer. */
static int send_json(struct call *c, const char *method, const char *path, const json_t *body, long *ret_status,
                     json_t **ret_json)
{
    struct client *cl = call_client(c);
    struct err e = {0};
    struct reply r;
    if (cl == NULL)
        return EXIT_FAILED;
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    reply_init(&r);
    int rc = client_call(cl, method, path, NULL, text, text != NULL ? strlen(text) : 0, &r, &e);
    free(text);
    *ret_status = r.status;
    int status = EXIT_DONE;
    if (rc < 0)
        status = call_fail("%s", e.text);
    else if (r.status != 409 && (r.status < 200 || r.status > 299))
        status = call_fail("%s", reply_why(&r));
    else if (ret_json != NULL && (*ret_json = json_loadb(r.body.data, r.body.len, JSON_ALLOW_NUL, NULL)) == NULL)
        status = call_fail("the daemon's answer to %s is not JSON", path);
    reply_done(&r);
    return status;
}

/* A change of the function; 409 means that another one is being made. */
static int change(struct deploy *d, const char *method, const char *version, const char *what, const json_t *body)
{
    char path[512];
    long http = 0;
    (void)snprintf(path, sizeof path, "/%s/functions/%s/%s", version, d->name, what);
    int status = send_json(d->c, method, path, body, &http, NULL);
    if (status == EXIT_DONE && http == 409)
        return call_fail("%s: another change of it is in progress; try again", d->name);
    d->changed |= status == EXIT_DONE;
    return status;
}

static json_t *configuration(struct call *c, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, FUNCTIONS "/%s/configuration", name);
    return show_call(c, "GET", path, NULL);
}

/* What is at path: 1 something, 0 nothing, -1 after a message. */
static int exists(struct call *c, const char *path)
{
    struct err e = {0};
    struct reply r;
    struct client *cl = call_client(c);
    int there = -1;
    if (cl == NULL)
        return -1;
    reply_init(&r);
    if (client_call(cl, "GET", path, NULL, NULL, 0, &r, &e) < 0)
        (void)call_fail("%s", e.text);
    else if (r.status == 200 || r.status == 404)
        there = r.status == 200;
    else
        (void)call_fail("%s", reply_why(&r));
    reply_done(&r);
    return there;
}

int deploy_exists(struct call *c, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, FUNCTIONS "/%s/configuration", name);
    return exists(c, path);
}

/* --- ready -------------------------------------------------------------------------------------------------------- */

static bool is(const json_t *f, const char *key, const char *value)
{
    return strcmp(show_str(f, key), value) == 0;
}

static int wait_ready(struct deploy *d)
{
    int64_t step_ms = FIRST_STEP_MS;
    for (int64_t until = tick_ms() + READY_LIMIT_MS; tick_ms() < until; tick_sleep(step_ms)) {
        json_t *f = configuration(d->c, d->name);
        if (f == NULL)
            return EXIT_FAILED;
        bool failed = is(f, "State", "Failed") || is(f, "LastUpdateStatus", "Failed");
        bool pending = is(f, "State", "Pending") || is(f, "LastUpdateStatus", "InProgress");
        if (failed)
            (void)call_fail("%s: %s", d->name,
                            show_str(f, is(f, "State", "Failed") ? "StateReason" : "LastUpdateStatusReason"));
        json_decref(f);
        if (failed)
            return EXIT_FAILED;
        if (!pending)
            return EXIT_DONE;
        step_ms = step_ms * 2 < LAST_STEP_MS ? step_ms * 2 : LAST_STEP_MS;
    }
    return call_fail("%s: not ready after %d s", d->name, READY_LIMIT_MS / 1000);
}

/* --- code --------------------------------------------------------------------------------------------------------- */

/* {"ZipFile": base64}; NULL after a message. */
static json_t *code_body(const struct buf *zip)
{
    struct buf text;
    buf_init(&text, BODY_MAX);
    json_t *body = base64_encode(zip->data, zip->len, &text) == 0 ? json_pack("{s:s}", "ZipFile", text.data) : NULL;
    buf_done(&text);
    if (body == NULL)
        (void)call_fail("the code is too large");
    return body;
}

static bool has_code(const json_t *f, const struct buf *zip)
{
    uint8_t sum[SHA256_LEN];
    struct buf text;
    sha256_sum(zip->data, zip->len, sum);
    buf_init(&text, 128);
    bool same = base64_encode(sum, sizeof sum, &text) == 0 && is(f, "CodeSha256", text.data);
    buf_done(&text);
    return same;
}

static int update_code(struct deploy *d, const struct buf *zip)
{
    json_t *f = configuration(d->c, d->name);
    if (f == NULL)
        return EXIT_FAILED;
    bool same = has_code(f, zip);
    json_decref(f);
    if (same)
        return EXIT_DONE;
    json_t *body = code_body(zip);
    if (body == NULL)
        return EXIT_FAILED;
    int status = change(d, "PUT", "2015-03-31", "code", body);
    json_decref(body);
    return status == EXIT_DONE ? wait_ready(d) : status;
}

static int create(struct deploy *d, const struct buf *zip)
{
    long http = 0;
    json_t *code = code_body(zip);
    if (code == NULL)
        return EXIT_FAILED;
    json_t *body = json_copy(d->config);
    (void)json_object_set_new(body, "FunctionName", json_string(d->name));
    (void)json_object_set_new(body, "Code", code);
    if (json_object_get(body, "Role") == NULL)
        (void)json_object_set_new(body, "Role", json_string("arn:aws:iam::000000000000:role/default"));
    int status = send_json(d->c, "POST", FUNCTIONS, body, &http, NULL);
    json_decref(body);
    if (status == EXIT_DONE && http == 409)
        return call_fail("%s: somebody else has just created it; try again", d->name);
    d->created = d->changed = status == EXIT_DONE;
    return status == EXIT_DONE ? wait_ready(d) : status;
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

static int set_concurrency(struct deploy *d)
{
    if (d->concurrency == DEPLOY_KEEP)
        return EXIT_DONE;
    if (d->concurrency == DEPLOY_NONE)
        return change(d, "DELETE", "2017-10-31", "concurrency", NULL);
    json_t *body = json_pack("{s:I}", "ReservedConcurrentExecutions", (json_int_t)d->concurrency);
    int status = change(d, "PUT", "2017-10-31", "concurrency", body);
    json_decref(body);
    return status;
}

static int set_async(struct deploy *d)
{
    char path[512];
    if (d->retries == DEPLOY_KEEP && d->max_age_s == DEPLOY_KEEP)
        return EXIT_DONE;
    (void)snprintf(path, sizeof path, "/2019-09-25/functions/%s/event-invoke-config", d->name);
    int there = exists(d->c, path);
    if (there < 0)
        return EXIT_FAILED;
    json_t *body = json_object();
    if (d->retries != DEPLOY_KEEP)
        (void)json_object_set_new(body, "MaximumRetryAttempts", json_integer(d->retries));
    if (d->max_age_s != DEPLOY_KEEP)
        (void)json_object_set_new(body, "MaximumEventAgeInSeconds", json_integer(d->max_age_s));
    /* POST keeps what is not named, and wants something to keep. */
    int status = change(d, there ? "POST" : "PUT", "2019-09-25", "event-invoke-config", body);
    json_decref(body);
    return status;
}

int deploy_run(struct deploy *d, const struct buf *zip)
{
    d->created = d->changed = false;
    int there = deploy_exists(d->c, d->name), status = EXIT_DONE;
    if (there < 0)
        return EXIT_FAILED;
    if (!there) {
        status = create(d, zip);
    } else {
        status = update_code(d, zip);
        if (status == EXIT_DONE && json_object_size(d->config) > 0)
            status = change(d, "PUT", "2015-03-31", "configuration", d->config);
        if (status == EXIT_DONE && json_object_size(d->config) > 0)
            status = wait_ready(d);
    }
    if (status == EXIT_DONE)
        status = set_concurrency(d);
    return status == EXIT_DONE ? set_async(d) : status;
}
