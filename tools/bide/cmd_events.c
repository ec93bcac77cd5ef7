/* What is done to events that are not over: cancel, retry. */
#include <stdio.h>
#include <string.h>

#include "show.h"

static json_t *post(struct call *c, const char *path, json_t *body)
{
    json_t *r = show_call(c, "POST", path, body);
    json_decref(body);
    if (r != NULL && c->json)
        show_json(r);
    return r;
}

/* Ids or --function, one of the two. */
static bool check_choice(struct call *c)
{
    bool function = call_opt(c, "function") != NULL;
    if ((c->n_args > 0) != function)
        return true;
    (void)call_usage(c, function ? "name ids, or --function: one of them" : "which ones? Name ids, or --function NAME");
    return false;
}

static void print_one(const json_t *ev)
{
    const char *state = show_str(ev, "state");
    (void)printf("%s %s\n", show_str(ev, "id"), strcmp(state, "running") == 0 ? "is being stopped" : state);
}

static int each(struct call *c, const char *path)
{
    int status = EXIT_DONE;
    for (size_t i = 0; i < c->n_args; i++) {
        json_t *ev = post(c, path, json_pack("{s:s}", "id", c->args[i]));
        if (ev == NULL)
            status = EXIT_FAILED;
        else if (!c->json)
            print_one(ev);
        json_decref(ev);
    }
    return status;
}

static json_t *of_function(struct call *c)
{
    return json_pack("{s:s}", "function", call_opt(c, "function"));
}

static void print_corrupt(const json_t *r)
{
    if (show_int(r, "corrupt") > 0)
        (void)fprintf(stderr, "%lld could not be read and are dead letters (Corrupt) now\n", show_int(r, "corrupt"));
}

int cmd_events_cancel(struct call *c)
{
    if (!check_choice(c))
        return EXIT_USAGE;
    if (c->n_args > 0 && call_opt(c, "state") != NULL)
        return call_usage(c, "--state belongs to --function");
    if (c->n_args > 0)
        return each(c, "/bide/v1/events/cancel");
    json_t *body = of_function(c);
    if (call_opt(c, "state") != NULL)
        (void)json_object_set_new(body, "state", json_string(call_opt(c, "state")));
    json_t *r = post(c, "/bide/v1/events/cancel", body);
    if (r == NULL)
        return EXIT_FAILED;
    if (!c->json)
        (void)printf("%s: %lld cancelled, %lld running ones are being stopped\n", show_str(r, "function"),
                     show_int(r, "cancelled"), show_int(r, "cancelling"));
    print_corrupt(r);
    json_decref(r);
    return EXIT_DONE;
}

int cmd_events_retry(struct call *c)
{
    if (!check_choice(c))
        return EXIT_USAGE;
    if (c->n_args > 0)
        return each(c, "/bide/v1/events/retry");
    json_t *r = post(c, "/bide/v1/events/retry", of_function(c));
    if (r == NULL)
        return EXIT_FAILED;
    if (!c->json)
        (void)printf("%s: %lld queued\n", show_str(r, "function"), show_int(r, "retried"));
    print_corrupt(r);
    json_decref(r);
    return EXIT_DONE;
}
