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
};

static bool ask(struct call *c, const char *path, struct left *ret)
{
    json_t *r = show_call(c, "GET", path, NULL);
    if (r == NULL)
        return false;
    const json_t *events = json_object_get(r, "events");
    *ret = (struct left){show_int(events, "queued"), show_int(events, "running"), show_int(events, "waiting")};
    json_decref(r);
    return true;
}

int cmd_wait(struct call *c)
{
    char path[512] = "/bide/v1/status";
    const char *name = call_opt(c, "function"), *text = call_opt(c, "timeout");
    int64_t limit_ms = DEFAULT_LIMIT_MS, step_ms = FIRST_STEP_MS;
    bool settled = call_flag(c, "settled");
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
        if (tick_ms() >= until) {
            progress_clear();
            return call_fail("still queued %lld, running %lld, waiting %lld after %lld ms", left.queued, left.running,
                             left.waiting, (long long)limit_ms);
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
