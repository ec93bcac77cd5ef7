/* wait: until nothing is queued or running, so that scripts need not sleep. */
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "progress.h"
#include "show.h"
#include "tick.h"

enum { FIRST_STEP_MS = 10, LAST_STEP_MS = 250, DEFAULT_LIMIT_MS = 60000 };

struct left {
    long long queued, running, waiting;
    char paused[256]; /* names of functions, for people; "": none */
};

static void add_name(char *out, size_t cap, const char *name)
{
    size_t at = strlen(out);
    (void)snprintf(out + at, cap - at, "%s%s", at > 0 ? ", " : "", show_text(name, 170));
}

/* One function's answer says whether it is; everybody's has the names of the first few. */
static void read_paused(const json_t *r, struct left *l)
{
    const json_t *paused = json_object_get(r, "paused"), *name;
    size_t i;
    if (json_is_true(paused))
        add_name(l->paused, sizeof l->paused, show_str(r, "function"));
    json_array_foreach(paused, i, name)
        add_name(l->paused, sizeof l->paused, json_is_string(name) ? json_string_value(name) : "");
}

static bool ask(struct call *c, const char *path, struct left *ret)
{
    json_t *r = show_call(c, "GET", path, NULL);
    if (r == NULL)
        return false;
    const json_t *events = json_object_get(r, "events");
    *ret = (struct left){.queued = show_int(events, "queued"),
                         .running = show_int(events, "running"),
                         .waiting = show_int(events, "waiting")};
    read_paused(r, ret);
    json_decref(r);
    return true;
}

int cmd_wait(struct call *c)
{
    char path[512] = "/bide/v1/status";
    const char *name = call_opt(c, "function"), *text = call_opt(c, "timeout");
    int64_t limit_ms = DEFAULT_LIMIT_MS, step_ms = FIRST_STEP_MS;
    bool settled = call_flag(c, "settled"), warned = false;
    struct left left;
    if (text != NULL && num_parse_duration_ms(text, strlen(text), &limit_ms) < 0)
        return call_usage(c, "--timeout \"%s\" is not a duration: write 500ms, 10s, 2m or 1h", text);
    if (name != NULL)
        (void)snprintf(path, sizeof path, "/bide/v1/functions/%.200s/books", name);
    for (int64_t until = tick_ms() + limit_ms;;) {
        if (!ask(c, path, &left))
            return EXIT_FAILED;
        if (left.queued == 0 && left.running == 0 && (!settled || left.waiting == 0))
            break;
        if (left.paused[0] != '\0' && left.queued > 0 && !warned) {
            warned = true;
            progress_clear();
            (void)fprintf(stderr,
                          "bide: events of a paused function stay queued until `bide resume NAME`; paused: %s\n",
                          left.paused);
        }
        if (tick_ms() >= until) {
            progress_clear();
            return call_fail("still queued %lld, running %lld, waiting %lld after %lld ms%s%s", left.queued,
                             left.running, left.waiting, (long long)limit_ms,
                             left.paused[0] != '\0' ? "; paused: " : "", left.paused);
        }
        progress_show("queued %lld  running %lld  waiting %lld", left.queued, left.running, left.waiting);
        tick_sleep(step_ms);
        step_ms = step_ms * 2 < LAST_STEP_MS ? step_ms * 2 : LAST_STEP_MS;
    }
    progress_clear();
    if (c->json)
        (void)printf("{\"queued\":0,\"running\":0,\"waiting\":%lld}\n", left.waiting);
    return EXIT_DONE;
}
