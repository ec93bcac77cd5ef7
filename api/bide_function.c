/* /bide/v1/functions: what Lambda has no word for about one function. */
#include "build.h"
#include "route.h"

enum { NAME_LEN_MAX = 170 };

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
        out_begin(o, "events", '{');
        out_uint(o, "queued", st.queued);
        out_uint(o, "running", st.running);
        out_uint(o, "waiting", st.waiting);
        out_uint(o, "dead", st.dead);
        out_end(o, '}');
        out_end(o, '}');
    }
    function_unref(fn);
}

void bide_function_books(struct call *c)
{
    if (call_name(c, NAME_LEN_MAX) == 0)
        build_answer(c, build_books);
}
