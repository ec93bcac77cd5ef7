#include "boxenv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"

/* Names a function's own configuration never sets (Lambda: reserved environment variables). */
static const char *const reserved[] = {
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
};

struct building {
    struct buf b;
    size_t at[BOXENV_MAX]; /* where each variable begins */
    size_t n;
    int rc; /* the first failure sticks */
};

static bool same_name(const char *var, const char *name, size_t len)
{
    return strncmp(var, name, len) == 0 && var[len] == '=';
}

static bool is_reserved(const char *name)
{
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (strcmp(reserved[i], name) == 0)
            return true;
    return false;
}

static void add(struct building *g, const char *name, const char *value)
{
    if (g->rc == 0 && g->n == BOXENV_MAX)
        g->rc = ERR_TOOBIG;
    if (g->rc < 0)
        return;
    g->at[g->n] = g->b.len;
    g->rc = buf_printf(&g->b, "%s=%s", name, value);
    if (g->rc == 0)
        g->rc = buf_putc(&g->b, '\0');
    if (g->rc == 0)
        g->n++;
}

/* The user's value wins over one of ours, so ours is added only without it. */
static void add_default(struct building *g, const struct executor_spec *s, const char *name, const char *value)
{
    for (size_t i = 0; i < s->n_env; i++)
        if (strcmp(s->env_keys[i], name) == 0)
            return;
    add(g, name, value);
}

static void add_names(struct building *g, const struct executor_spec *s, const struct runtime *r, int64_t now_ms)
{
    char text[256], day[16] = "";
    uint8_t rnd[16];
    char hex[2 * sizeof rnd + 1];
    struct tm tm;
    time_t sec = (time_t)(now_ms / 1000);
    add(g, "_HANDLER", s->handler);
    add(g, "AWS_LAMBDA_FUNCTION_NAME", s->function_name);
    add(g, "AWS_LAMBDA_FUNCTION_VERSION", s->version);
    (void)snprintf(text, sizeof text, "%d", (int)s->memory_mb);
    add(g, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", text);
    (void)snprintf(text, sizeof text, "/aws/lambda/%s", s->function_name);
    add(g, "AWS_LAMBDA_LOG_GROUP_NAME", text);
    rng_bytes(rnd, sizeof rnd);
    hex_encode(rnd, sizeof rnd, hex);
    if (gmtime_r(&sec, &tm) != NULL)
        (void)strftime(day, sizeof day, "%Y/%m/%d", &tm);
    (void)snprintf(text, sizeof text, "%s/[%s]%s", day, s->version, hex);
    add(g, "AWS_LAMBDA_LOG_STREAM_NAME", text);
    add(g, "AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
    add(g, "AWS_REGION", s->region);
    add(g, "AWS_DEFAULT_REGION", s->region);
    if (r->execution_env) {
        (void)snprintf(text, sizeof text, "AWS_Lambda_%s", r->name);
        add(g, "AWS_EXECUTION_ENV", text);
    }
    add(g, "LAMBDA_TASK_ROOT", "/var/task");
    add(g, "LAMBDA_RUNTIME_DIR", "/var/runtime");
}

static void add_credentials(struct building *g, const struct executor_spec *s)
{
    if (s->access_key_id[0] == '\0')
        return;
    add(g, "AWS_ACCESS_KEY_ID", s->access_key_id);
    add(g, "AWS_SECRET_ACCESS_KEY", s->secret_access_key);
    if (s->session_token[0] != '\0')
        add(g, "AWS_SESSION_TOKEN", s->session_token);
}

static void add_defaults(struct building *g, const struct executor_spec *s, const struct runtime *r)
{
    static const char *const defaults[][2] = {
        {"LANG", "en_US.UTF-8"},
        {"TZ", ":UTC"},
        {"PATH", "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"},
        {"LD_LIBRARY_PATH",
         "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"},
        {"AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"},
        {"AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000"},
        {"_AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1"},
        {"_AWS_XRAY_DAEMON_PORT", "2000"},
    };
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        add_default(g, s, defaults[i][0], defaults[i][1]);
    for (size_t i = 0; i < r->n_env; i++) {
        char name[128];
        size_t n = strcspn(r->env[i], "=");
        (void)snprintf(name, sizeof name, "%.*s", (int)n, r->env[i]);
        add_default(g, s, name, r->env[i] + n + 1);
    }
}

int boxenv_build(struct boxenv *ret, const struct executor_spec *s, const struct runtime *r, int64_t now_ms,
                 struct err *e)
{
    struct building g = {.n = 0};
    memset(ret, 0, sizeof *ret);
    buf_init(&g.b, BOXENV_TEXT_MAX);
    add_names(&g, s, r, now_ms);
    add_credentials(&g, s);
    add_defaults(&g, s, r);
    for (size_t i = 0; i < s->n_env; i++)
        if (!is_reserved(s->env_keys[i]))
            add(&g, s->env_keys[i], s->env_values[i]);
    if (g.rc == 0)
        ret->text = buf_take(&g.b, &ret->len);
    if (g.rc == 0 && ret->text == NULL)
        g.rc = ERR_NOMEM;
    buf_done(&g.b);
    if (g.rc < 0)
        return err_set(e, g.rc, g.rc == ERR_NOMEM ? "out of memory" : "the environment variables are too large");
    for (size_t i = 0; i < g.n; i++)
        ret->v[i] = ret->text + g.at[i];
    ret->n = g.n;
    return 0;
}

void boxenv_done(struct boxenv *env)
{
    free(env->text);
    memset(env, 0, sizeof *env);
}

const char *boxenv_get(const struct boxenv *env, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < env->n; i++)
        if (same_name(env->v[i], name, len))
            return env->v[i] + len + 1;
    return NULL;
}
