/* deploy: a folder, a file or a zip becomes a function. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "deploy.h"
#include "guess.h"
#include "pack_zip.h"
#include "watch.h"

enum { ZIP_MAX = 52428800 };

static bool set_number(struct call *c, json_t *body, const char *opt, const char *member, uint64_t min, uint64_t max)
{
    uint64_t v;
    if (call_opt(c, opt) == NULL)
        return true;
    if (!call_number(c, opt, min, max, 0, &v))
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
    return set_number(c, body, "timeout", "Timeout", 1, 900) &&
           set_number(c, body, "memory", "MemorySize", 128, 10240) && set_env(c, body);
}

static bool set_tmp(struct call *c, json_t *body)
{
    uint64_t tmp;
    if (!call_number(c, "tmp", 512, 10240, 0, &tmp))
        return false;
    if (tmp > 0)
        (void)json_object_set_new(body, "EphemeralStorage", json_pack("{s:I}", "Size", (json_int_t)tmp));
    return true;
}

/* What is not of the configuration: concurrency, retries, age. */
static bool set_async(struct call *c, struct deploy *d)
{
    const char *concurrency = call_opt(c, "concurrency"), *age = call_opt(c, "max-age");
    uint64_t n;
    int64_t ms;
    d->concurrency = d->retries = d->max_age_s = DEPLOY_KEEP;
    if (concurrency != NULL && strcmp(concurrency, "none") == 0)
        d->concurrency = DEPLOY_NONE;
    else if (!call_number(c, "concurrency", 0, INT32_MAX, 0, &n))
        return false;
    else if (concurrency != NULL)
        d->concurrency = (int64_t)n;
    if (!call_number(c, "retries", 0, 2, 0, &n))
        return false;
    if (call_opt(c, "retries") != NULL)
        d->retries = (int64_t)n;
    if (age != NULL && (num_parse_duration_ms(age, strlen(age), &ms) < 0 || ms % 1000 != 0)) {
        (void)call_usage(c, "--max-age \"%s\" is not a duration in whole seconds: write 90s, 10m or 6h", age);
        return false;
    }
    if (age != NULL)
        d->max_age_s = ms / 1000;
    return true;
}

/* A new function needs a runtime and a handler: given, or plain from its files. */
static int complete(struct deploy *d, const char *path)
{
    struct guess g;
    bool runtime = json_object_get(d->config, "Runtime") != NULL,
         handler = json_object_get(d->config, "Handler") != NULL;
    int there = runtime && handler ? 1 : deploy_exists(d->c, d->name);
    if (there != 0)
        return there < 0 ? EXIT_FAILED : EXIT_DONE;
    if (runtime || handler || !guess_function(path, &g))
        return call_usage(d->c, "%s is new: --runtime and --handler are needed", d->name);
    (void)json_object_set_new(d->config, "Runtime", json_string(g.runtime));
    (void)json_object_set_new(d->config, "Handler", json_string(g.handler));
    (void)fprintf(stderr, "%s: taken to be --runtime %s --handler %s\n", d->name, g.runtime, g.handler);
    return EXIT_DONE;
}

static void tell(const struct deploy *d)
{
    if (d->c->json)
        (void)printf("{\"function\":\"%s\",\"created\":%s,\"changed\":%s}\n", d->name, d->created ? "true" : "false",
                     d->changed ? "true" : "false");
    else
        (void)fprintf(stderr, "%s %s\n", d->name, d->created ? "created" : d->changed ? "updated" : "unchanged");
    (void)fflush(stdout);
}

static int deploy_path(struct deploy *d, const char *path, bool quiet)
{
    struct err e = {0};
    struct buf zip;
    buf_init(&zip, ZIP_MAX);
    int status = pack_zip(path, &zip, &e) < 0 ? call_fail("%s", e.text) : deploy_run(d, &zip);
    buf_done(&zip);
    if (status == EXIT_DONE && (d->changed || !quiet))
        tell(d);
    return status;
}

/* Deploys again after each change; what goes wrong is told, and the next change is waited for. */
static int watch(struct deploy *d, const char *path)
{
    struct err e = {0};
    struct watch *w;
    if (watch_open(&w, path, &e) < 0)
        return call_fail("%s", e.text);
    (void)fprintf(stderr, "watching %s; stop with Ctrl-C\n", path);
    (void)deploy_path(d, path, false);
    /* Only the code follows the files: what was changed elsewhere meanwhile is left as it is. */
    int rc;
    while ((rc = watch_wait(w, &e)) > 0) {
        int there = deploy_exists(d->c, d->name);
        struct deploy code = *d;
        code.config = json_object();
        code.concurrency = code.retries = code.max_age_s = DEPLOY_KEEP;
        if (there >= 0)
            (void)deploy_path(there > 0 ? &code : d, path, true);
        json_decref(code.config);
    }
    watch_close(w);
    return rc < 0 ? call_fail("%s", e.text) : EXIT_DONE;
}

int cmd_deploy(struct call *c)
{
    struct deploy d = {.c = c, .name = call_opt(c, "name")};
    const char *path = c->args[0];
    if (d.name == NULL)
        return call_usage(c, "--name is missing");
    if (strspn(d.name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != strlen(d.name) ||
        d.name[0] == '\0')
        return call_usage(c, "--name \"%s\": a name is made of letters, digits, - and _", d.name);
    d.config = json_object();
    int status = EXIT_USAGE;
    if (set_texts(c, d.config) && set_tmp(c, d.config) && set_async(c, &d)) {
        status = access(path, R_OK) < 0 ? call_fail("%s: %s", path, strerror(errno)) : complete(&d, path);
        if (status == EXIT_DONE)
            status = call_flag(c, "watch") ? watch(&d, path) : deploy_path(&d, path, false);
    }
    json_decref(d.config);
    return status;
}
