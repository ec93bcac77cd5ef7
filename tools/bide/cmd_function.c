/* Functions as a whole: functions, pause, resume, purge. */
#include <stdio.h>

#include "show.h"

static void print_function(const json_t *f, bool json)
{
    const json_t *ev = json_object_get(f, "Events");
    if (json) {
        show_json(f);
        return;
    }
    (void)printf("%-32s %-16s %-24s %5lld MB %6lld s %8lld %8lld %8lld %8lld%s\n", show_str(f, "FunctionName"),
                 show_str(f, "Runtime"), show_text(show_str(f, "Handler"), 24), show_int(f, "MemorySize"),
                 show_int(f, "Timeout"), show_int(ev, "queued"), show_int(ev, "running"), show_int(ev, "waiting"),
                 show_int(ev, "dead"), json_is_true(json_object_get(f, "Paused")) ? "  paused" : "");
}

int cmd_functions(struct call *c)
{
    uint64_t limit;
    if (!show_limit(c, &limit))
        return EXIT_USAGE;
    return show_pages(c, "/bide/v1/functions", limit,
                      "NAME                             RUNTIME          HANDLER                    MEMORY  TIMEOUT   "
                      "QUEUED  RUNNING  WAITING     DEAD",
                      print_function);
}

/* POST to a function's own path; the answer, or NULL with *ret_status set. */
static json_t *act(struct call *c, const char *verb, int *ret_status)
{
    char path[512], after[16];
    *ret_status = EXIT_FAILED;
    if (c->args[0][0] == '\0') {
        *ret_status = call_usage(c, "NAME is empty");
        return NULL;
    }
    (void)snprintf(after, sizeof after, "/%s", verb);
    show_path(path, sizeof path, "/bide/v1/functions/", c->args[0], after);
    json_t *r = show_call(c, "POST", path, NULL);
    if (r != NULL && c->json)
        show_json(r);
    if (r != NULL)
        *ret_status = EXIT_DONE;
    return r;
}

int cmd_pause(struct call *c)
{
    int status;
    json_t *r = act(c, "pause", &status);
    if (r != NULL && !c->json)
        (void)printf("%s paused\n", show_str(r, "function"));
    json_decref(r);
    return status;
}

int cmd_resume(struct call *c)
{
    int status;
    json_t *r = act(c, "resume", &status);
    if (r != NULL && !c->json)
        (void)printf("%s resumed\n", show_str(r, "function"));
    json_decref(r);
    return status;
}

int cmd_purge(struct call *c)
{
    int status;
    json_t *r = act(c, "purge", &status);
    if (r != NULL && !c->json)
        (void)printf("%s: %lld cancelled\n", show_str(r, "function"), show_int(r, "cancelled"));
    if (r != NULL && show_int(r, "corrupt") > 0)
        (void)fprintf(stderr, "%lld could not be read and are dead letters (Corrupt) now\n", show_int(r, "corrupt"));
    json_decref(r);
    return status;
}
