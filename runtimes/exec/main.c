/* The runtime `exec`: the handler is a program of the package, run once per event. The event is its stdin, its stdout
 * the result, its stderr the log; an exit status that is not 0 is a function error
 * (docs/decisions/009-exec-runtime.md).
 *
 * This is the box's bootstrap: it asks the Runtime API for an event, runs the program, posts what came of it. Static
 * and free of dependencies, like bide-init: it runs where nothing of the host need be.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "answer.h"
#include "api.h"
#include "handler.h"
#include "run.h"

extern char **environ;

enum { ENV_MAX = 512, ENV_OWN_MAX = 8, VALUE_MAX = 8 * 1024, PATH_TEXT_MAX = 160 };

/* What the program is told about its event. The Runtime API is ours alone: its address is not passed on. */
static const struct {
    const char *name, *header;
} told[] = {
    {"AWS_LAMBDA_REQUEST_ID", "lambda-runtime-aws-request-id"},
    {"AWS_LAMBDA_DEADLINE_MS", "lambda-runtime-deadline-ms"},
    {"AWS_LAMBDA_INVOKED_FUNCTION_ARN", "lambda-runtime-invoked-function-arn"},
    {"AWS_LAMBDA_CLIENT_CONTEXT", "lambda-runtime-client-context"},
    {"_X_AMZN_TRACE_ID", "lambda-runtime-trace-id"},
};
enum { N_TOLD = sizeof told / sizeof told[0] };

static const char *env_or(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value != NULL ? value : otherwise;
}

static size_t is_told(const char *var)
{
    for (size_t i = 0; i < N_TOLD; i++) {
        size_t len = strlen(told[i].name);
        if (strncmp(var, told[i].name, len) == 0 && var[len] == '=')
            return 1;
    }
    return 0;
}

static void make_env(struct event *e, char *env[ENV_MAX + ENV_OWN_MAX + 1])
{
    static char values[N_TOLD][VALUE_MAX];
    size_t n = 0;
    for (char **at = environ; *at != NULL && n < ENV_MAX; at++)
        if (strncmp(*at, "AWS_LAMBDA_RUNTIME_API=", 23) != 0 && !is_told(*at))
            env[n++] = *at;
    for (size_t i = 0; i < N_TOLD; i++) {
        const char *value = event_header(e, told[i].header);
        if (value[0] == '\0')
            continue;
        (void)snprintf(values[i], VALUE_MAX, "%s=%s", told[i].name, value);
        env[n++] = values[i];
    }
    env[n] = NULL;
}

/* Killed outright: when memory ran out, only the platform knows, and it words the end of whoever dies. */
static void die_alike(const struct run *r)
{
    if (r->exec_errno == 0 && WIFSIGNALED(r->status) && WTERMSIG(r->status) == SIGKILL)
        (void)raise(SIGKILL);
}

static void serve(struct api *a, const char *path, const char *handler)
{
    static struct event e;
    static struct run r;
    char *env[ENV_MAX + ENV_OWN_MAX + 1], where[PATH_TEXT_MAX];
    for (;;) {
        struct text body = {0};
        api_next(a, &e);
        make_env(&e, env);
        run_program(&r, path, env, e.body, e.len);
        die_alike(&r);
        const char *type = answer_make(&body, &r, handler);
        (void)snprintf(where, sizeof where, "invocation/%s/%s", event_header(&e, told[0].header),
                       type != NULL ? "error" : "response");
        api_post(a, where, type, body.p, body.len);
        text_done(&body);
        free(r.out);
    }
}

int main(void)
{
    static struct api a;
    char path[HANDLER_PATH_MAX], why[HANDLER_WHY_MAX];
    const char *handler = env_or("_HANDLER", "");
    api_init(&a, env_or("AWS_LAMBDA_RUNTIME_API", ""));
    run_init();
    const char *type = handler_find(env_or("LAMBDA_TASK_ROOT", "/var/task"), handler, path, why);
    if (type != NULL) {
        struct text body = {0};
        dprintf(STDERR_FILENO, "%s: %s\n", type, why);
        answer_error(&body, type, why);
        api_post(&a, "init/error", type, body.p, body.len);
        return 1;
    }
    serve(&a, path, handler);
}
