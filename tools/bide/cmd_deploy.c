/* deploy: a folder, a file or a zip becomes a function. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "pack_zip.h"
#include "show.h"

enum { ZIP_MAX = 52428800, BODY_MAX = 70167211, WAIT_STEP_MS = 20, WAIT_MAX_MS = 60000 };

static bool set_number(struct call *c, json_t *body, const char *opt, const char *member, uint64_t max)
{
    uint64_t v;
    if (call_opt(c, opt) == NULL)
        return true;
    if (!call_number(c, opt, max, 0, &v))
        return false;
    (void)json_object_set_new(body, member, json_integer((json_int_t)v));
    return true;
}

static bool set_env(struct call *c, json_t *body)
{
    const char *text = call_opt(c, "env");
    if (text == NULL)
        return true;
    json_t *vars = json_object();
    for (const char *p = text; *p != '\0';) {
        size_t n = strcspn(p, ",");
        const char *eq = memchr(p, '=', n);
        if (eq == NULL || eq == p) {
            json_decref(vars);
            (void)call_usage(c, "--env takes KEY=VALUE,KEY=VALUE, not \"%s\"", text);
            return false;
        }
        char key[256];
        (void)snprintf(key, sizeof key, "%.*s", (int)(eq - p), p);
        (void)json_object_set_new(vars, key, json_stringn(eq + 1, n - (size_t)(eq + 1 - p)));
        p += n + (p[n] == ',');
    }
    (void)json_object_set_new(body, "Environment", json_pack("{s:o}", "Variables", vars));
    return true;
}

static bool set_texts(struct call *c, json_t *body)
{
    static const struct {
        const char *opt, *member;
    } texts[] = {{"runtime", "Runtime"}, {"handler", "Handler"}, {"role", "Role"}, {"description", "Description"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (call_opt(c, texts[i].opt) != NULL)
            (void)json_object_set_new(body, texts[i].member, json_string(call_opt(c, texts[i].opt)));
    return set_number(c, body, "timeout", "Timeout", 900) && set_number(c, body, "memory", "MemorySize", 10240) &&
           set_env(c, body);
}

/* State, LastUpdateStatus of the function; false when it cannot be asked. */
static json_t *configuration(struct call *c, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "/2015-03-31/functions/%s/configuration", name);
    return show_call(c, "GET", path, NULL);
}

static int wait_ready(struct call *c, const char *name)
{
    for (int waited = 0; waited < WAIT_MAX_MS; waited += WAIT_STEP_MS) {
        json_t *f = configuration(c, name);
        if (f == NULL)
            return EXIT_FAILED;
        bool pending =
            strcmp(show_str(f, "State"), "Pending") == 0 || strcmp(show_str(f, "LastUpdateStatus"), "InProgress") == 0;
        bool failed =
            strcmp(show_str(f, "State"), "Failed") == 0 || strcmp(show_str(f, "LastUpdateStatus"), "Failed") == 0;
        if (failed)
            (void)call_fail("%s: %s", name, show_str(f, "StateReason"));
        json_decref(f);
        if (failed)
            return EXIT_FAILED;
        if (!pending)
            return EXIT_DONE;
        struct timespec ts = {.tv_nsec = WAIT_STEP_MS * 1000000L};
        (void)nanosleep(&ts, NULL);
    }
    return call_fail("%s: not ready after %d s", name, WAIT_MAX_MS / 1000);
}

/* One call; *ret_status is the HTTP status. */
static int send_json(struct call *c, const char *method, const char *path, const json_t *body, long *ret_status)
{
    struct client *cl = call_client(c);
    struct err e = {0};
    struct reply r;
    if (cl == NULL)
        return EXIT_FAILED;
    char *text = json_dumps(body, JSON_COMPACT);
    reply_init(&r);
    int rc = text == NULL ? ERR_NOMEM : client_call(cl, method, path, NULL, text, strlen(text), &r, &e);
    free(text);
    *ret_status = r.status;
    int status = EXIT_DONE;
    if (rc < 0)
        status = call_fail("%s", e.text[0] != '\0' ? e.text : "out of memory");
    else if (r.status != 409 && (r.status < 200 || r.status > 299))
        status = call_fail("%s", reply_why(&r));
    reply_done(&r);
    return status;
}

static int update(struct call *c, const char *name, const char *zip64, json_t *config)
{
    char path[512];
    long status = 0;
    json_t *code = json_pack("{s:s}", "ZipFile", zip64);
    (void)snprintf(path, sizeof path, "/2015-03-31/functions/%s/code", name);
    int rc = send_json(c, "PUT", path, code, &status);
    json_decref(code);
    if (rc == EXIT_DONE && status == 409)
        rc = call_fail("%s: another change of it is in progress; try again", name);
    if (rc == EXIT_DONE)
        rc = wait_ready(c, name);
    if (rc != EXIT_DONE || json_object_size(config) == 0)
        return rc;
    (void)snprintf(path, sizeof path, "/2015-03-31/functions/%s/configuration", name);
    rc = send_json(c, "PUT", path, config, &status);
    if (rc == EXIT_DONE && status == 409)
        rc = call_fail("%s: another change of it is in progress; try again", name);
    return rc == EXIT_DONE ? wait_ready(c, name) : rc;
}

static int create(struct call *c, const char *name, const char *zip64, const json_t *config, long *ret_status)
{
    json_t *body = json_copy((json_t *)(uintptr_t)config);
    (void)json_object_set_new(body, "FunctionName", json_string(name));
    (void)json_object_set_new(body, "Code", json_pack("{s:s}", "ZipFile", zip64));
    if (json_object_get(body, "Role") == NULL)
        (void)json_object_set_new(body, "Role", json_string("arn:aws:iam::000000000000:role/default"));
    int rc = send_json(c, "POST", "/2015-03-31/functions", body, ret_status);
    json_decref(body);
    return rc == EXIT_DONE && *ret_status != 409 ? wait_ready(c, name) : rc;
}

static bool exists(struct call *c, const char *name)
{
    char path[512];
    struct err e = {0};
    struct reply r;
    struct client *cl = call_client(c);
    (void)snprintf(path, sizeof path, "/2015-03-31/functions/%s/configuration", name);
    reply_init(&r);
    bool yes = cl != NULL && client_call(cl, "GET", path, NULL, NULL, 0, &r, &e) == 0 && r.status == 200;
    reply_done(&r);
    return yes;
}

int cmd_deploy(struct call *c)
{
    const char *name = call_opt(c, "name");
    struct err e = {0};
    struct buf zip, text;
    if (name == NULL)
        return call_usage(c, "--name is missing");
    if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != strlen(name) ||
        name[0] == '\0')
        return call_usage(c, "--name \"%s\": a name is made of letters, digits, - and _", name);
    json_t *config = json_object();
    uint64_t tmp;
    if (!set_texts(c, config) || !call_number(c, "tmp", 10240, 0, &tmp)) {
        json_decref(config);
        return EXIT_USAGE;
    }
    if (tmp > 0)
        (void)json_object_set_new(config, "EphemeralStorage", json_pack("{s:I}", "Size", (json_int_t)tmp));
    buf_init(&zip, ZIP_MAX);
    buf_init(&text, BODY_MAX);
    int status = EXIT_DONE;
    long http = 0;
    if (pack_zip(c->args[0], &zip, &e) < 0)
        status = call_fail("%s", e.text);
    else if (base64_encode(zip.data, zip.len, &text) < 0)
        status = call_fail("%s: too large", c->args[0]);
    bool there = status == EXIT_DONE && call_client(c) != NULL && exists(c, name);
    if (status == EXIT_DONE && !there && (call_opt(c, "runtime") == NULL || call_opt(c, "handler") == NULL))
        status =
            call_client(c) == NULL ? EXIT_FAILED : call_usage(c, "%s is new: --runtime and --handler are needed", name);
    if (status == EXIT_DONE)
        status = there ? update(c, name, text.data, config) : create(c, name, text.data, config, &http);
    if (status == EXIT_DONE && http == 409)
        status = update(c, name, text.data, config);
    if (status == EXIT_DONE && c->json)
        (void)printf("{\"function\":\"%s\",\"created\":%s}\n", name, there ? "false" : "true");
    else if (status == EXIT_DONE)
        (void)fprintf(stderr, "%s %s\n", name, there ? "updated" : "created");
    buf_done(&zip);
    buf_done(&text);
    json_decref(config);
    return status;
}
