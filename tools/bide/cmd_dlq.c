/* Dead letters: ls, show, replay, rm. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "detail.h"
#include "show.h"

static void print_letter(const json_t *dl, bool json)
{
    if (json) {
        show_json(dl);
        return;
    }
    const char *type = show_text(show_str(dl, "error_type"), 40),
               *message = show_text(show_str(dl, "error_message"), 80);
    (void)printf("%-36s  %-20s %-24s %8lld  %s  %s%s%s\n", show_str(dl, "id"), show_str(dl, "function"),
                 show_str(dl, "condition"), show_int(dl, "attempt_count"), show_time(show_int(dl, "dead_at_ms")), type,
                 type[0] != '\0' && message[0] != '\0' ? ": " : "", message);
}

int cmd_dlq_ls(struct call *c)
{
    char path[1024] = "/bide/v1/dlq";
    uint64_t limit;
    if (!show_limit(c, &limit) || !show_times(c, path, sizeof path))
        return EXIT_USAGE;
    show_query(path, sizeof path, "error_type", call_opt(c, "error-type"));
    show_query(path, sizeof path, "condition", call_opt(c, "condition"));
    show_query(path, sizeof path, "function", call_opt(c, "function"));
    show_query(path, sizeof path, "replayed", call_flag(c, "replayed") ? "1" : NULL);
    return show_pages(c, path, limit,
                      "ID                                    FUNCTION             CONDITION                ATTEMPTS  "
                      "DIED                     ERROR",
                      print_letter);
}

int cmd_dlq_show(struct call *c)
{
    char path[256];
    struct reply r;
    (void)snprintf(path, sizeof path, "/bide/v1/dlq/%.64s", c->args[0]);
    bool ok = show_raw(c, "GET", path, &r);
    if (ok)
        show_detail(r.body.data, r.body.len, c->json);
    reply_done(&r);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

/* Exactly one of ids, --function, --all must be given. */
static bool check_choice(struct call *c)
{
    int given = (c->n_args > 0) + (call_opt(c, "function") != NULL) + call_flag(c, "all");
    if (given == 1)
        return true;
    (void)call_usage(c, given == 0 ? "which ones? Name ids, or --function NAME, or --all"
                                   : "name ids, or --function, or --all: one of them");
    return false;
}

static int act(struct call *c, const char *path, json_t *body, const char *count, uint64_t *total, uint64_t *skipped)
{
    json_t *r = show_call(c, "POST", path, body);
    json_decref(body);
    if (r == NULL)
        return EXIT_FAILED;
    if (c->json) {
        show_json(r);
    } else if (show_str(r, "new_id")[0] != '\0') {
        (void)printf("%s\n", show_str(r, "new_id"));
    }
    *total += (uint64_t)show_int(r, count);
    *skipped += (uint64_t)show_int(r, "skipped");
    json_decref(r);
    return EXIT_DONE;
}

static int each(struct call *c, const char *path, bool again, const char *count, const char *done)
{
    uint64_t total = 0, skipped = 0;
    int status = EXIT_DONE;
    if (!check_choice(c))
        return EXIT_USAGE;
    if (c->n_args == 0) {
        json_t *body = json_object();
        if (call_opt(c, "function") != NULL)
            (void)json_object_set_new(body, "function", json_string(call_opt(c, "function")));
        else
            (void)json_object_set_new(body, "all", json_true());
        if (call_opt(c, "condition") != NULL)
            (void)json_object_set_new(body, "condition", json_string(call_opt(c, "condition")));
        if (again)
            (void)json_object_set_new(body, "again", json_true());
        status = act(c, path, body, count, &total, &skipped);
    }
    for (size_t i = 0; i < c->n_args; i++) {
        json_t *body = json_pack("{s:s}", "id", c->args[i]);
        if (again)
            (void)json_object_set_new(body, "again", json_true());
        if (act(c, path, body, count, &total, &skipped) != EXIT_DONE)
            status = EXIT_FAILED;
    }
    if (status == EXIT_DONE || total > 0)
        (void)fprintf(stderr, "%llu %s", (unsigned long long)total, done);
    if (skipped > 0)
        (void)fprintf(stderr, ", %llu left alone (replayed before, or their function is gone)",
                      (unsigned long long)skipped);
    if (status == EXIT_DONE || total > 0)
        (void)fputc('\n', stderr);
    return status;
}

int cmd_dlq_replay(struct call *c)
{
    return each(c, "/bide/v1/dlq/replay", call_flag(c, "again"), "replayed", "replayed");
}

int cmd_dlq_rm(struct call *c)
{
    return each(c, "/bide/v1/dlq/rm", false, "removed", "removed");
}
