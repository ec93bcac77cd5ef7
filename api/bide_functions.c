/* /bide/v1/functions: what Lambda's listing does not show, how many events one has, and pausing. */
#include <string.h>

#include "build.h"
#include "function_out.h"
#include "route.h"

enum { READ_LEN_MAX = 170, CONTROL_LEN_MAX = 140 }; /* of a name in the path */

/* --- listing ----- */

static int put_function(struct call *c, struct json_out *o, const struct function *f)
{
    struct queue_function_stats st;
    int r = queue_function_stats(c->api->d.queue, f->fid, &st);
    struct function_out how = {
        .region = c->api->region, .account = c->api->account, .qualifier = "", .listed = true, .stats = &st};
    if (r == 0)
        function_out_config(o, NULL, f, &how);
    return r;
}

static void build_list(struct call *c, struct json_out *o, struct fault *f)
{
    const struct function *page[BUILD_PAGE_MAX + 1];
    char after[FUNCTION_NAME_MAX + 1];
    uint32_t limit;
    int r = 0;
    if (build_limit(c, BUILD_PAGE, BUILD_PAGE_MAX, &limit, f) < 0 ||
        build_filter(c, "cursor", after, sizeof(after), f) < 0)
        return;
    size_t n = registry_list(c->api->d.registry, after, page, limit + 1);
    size_t shown = n > limit ? limit : n;
    out_begin(o, NULL, '{');
    out_begin(o, "items", '[');
    for (size_t i = 0; i < shown && r == 0; i++)
        r = put_function(c, o, page[i]);
    out_end(o, ']');
    out_str(o, "cursor", n > shown ? page[shown - 1]->name : NULL);
    out_end(o, '}');
    for (size_t i = 0; i < n; i++)
        function_unref(page[i]);
    if (r < 0)
        (void)fault_set(f, FAULT_SERVICE, "functions: %s", err_name(r));
}

void bide_functions_list(struct call *c)
{
    build_answer(c, build_list);
}

/* --- one function's books ----- */

static void build_books(struct call *c, struct json_out *o, struct fault *f)
{
    struct queue_function_stats st;
    const struct function *fn = call_function(c);
    if (fn == NULL) {
        (void)fault_set(f, FAULT_NOT_FOUND, "Function not found: %s", c->arg);
        return;
    }
    int r = queue_function_stats(c->api->d.queue, fn->fid, &st);
    if (r < 0) {
        (void)fault_set(f, FAULT_SERVICE, "the books cannot be read: %s", err_name(r));
    } else {
        out_begin(o, NULL, '{');
        out_str(o, "function", fn->name);
        out_bool(o, "paused", fn->paused);
        function_out_events(o, "events", &st);
        out_end(o, '}');
    }
    function_unref(fn);
}

void bide_function_books(struct call *c)
{
    if (call_name(c, READ_LEN_MAX) == 0)
        build_answer(c, build_books);
}

/* --- pausing ----- */

static void on_paused(struct registry_wait *w)
{
    struct buf b;
    struct json_out o;
    if (w->err < 0) {
        function_update_fault(w);
        return;
    }
    call_json(&b, &o);
    out_begin(&o, NULL, '{');
    out_str(&o, "function", w->f->name);
    out_bool(&o, "paused", w->f->paused);
    out_end(&o, '}');
    call_reply_json(w->c, 200, &o);
}

static void set_paused(struct call *c, bool paused)
{
    const struct function *f = call_name(c, CONTROL_LEN_MAX) == 0 ? call_must_function(c, "") : NULL;
    struct registry_wait *w = f ? call_wait(c, on_paused) : NULL;
    if (w)
        call_started(w, registry_set_paused(c->api->d.registry, c->fn.name, paused, call_on_registry, w));
    function_unref(f);
}

void bide_function_pause(struct call *c)
{
    set_paused(c, true);
}

void bide_function_resume(struct call *c)
{
    set_paused(c, false);
}
