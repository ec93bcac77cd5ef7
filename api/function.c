/* Functions but for their code: configuration, reading, listing, deletion (Lambda: section 3). */
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "function_in.h"
#include "function_out.h"
#include "route.h"

enum { GET_LEN_MAX = 170, CONTROL_LEN_MAX = 140, PAGE_MAX = 50, ITEMS_MAX = 10000 };

static struct function_out shown_as(const struct call *c, bool listed)
{
    return (struct function_out){
        .region = c->api->region, .account = c->api->account, .qualifier = c->fn.qualifier, .listed = listed};
}

/* --- reading ----- */

static void put_code(struct json_out *o, const struct call *c, const struct function *f)
{
    out_begin(o, "Code", '{');
    out_str(o, "RepositoryType", "S3");
    location_put(o, "Location", c, f->code_sha256);
    out_end(o, '}');
}

void function_get(struct call *c)
{
    struct buf b;
    struct json_out o;
    if (call_name(c, GET_LEN_MAX) < 0)
        return;
    const struct function *f = call_must_function(c, "");
    if (!f)
        return;
    struct function_out how = shown_as(c, false);
    call_json(&b, &o);
    out_begin(&o, NULL, '{');
    function_out_config(&o, "Configuration", f, &how);
    put_code(&o, c, f);
    if (f->n_tags > 0 && !*c->fn.qualifier) {
        out_begin(&o, "Tags", '{');
        for (size_t i = 0; i < f->n_tags; i++)
            out_str(&o, f->tags[i].key, f->tags[i].value);
        out_end(&o, '}');
    }
    if (f->reserved >= 0)
        function_out_concurrency(&o, "Concurrency", f);
    out_end(&o, '}');
    function_unref(f);
    call_reply_json(c, 200, &o);
}

void function_get_config(struct call *c)
{
    struct buf b;
    struct json_out o;
    if (call_name(c, GET_LEN_MAX) < 0)
        return;
    const struct function *f = call_must_function(c, "");
    if (!f)
        return;
    struct function_out how = shown_as(c, false);
    call_json(&b, &o);
    function_out_config(&o, NULL, f, &how);
    function_unref(f);
    call_reply_json(c, 200, &o);
}

/* --- listing ----- */

/* The page's query. The marker is the base64 of the last name given: opaque, and good across deletions. */
static int read_page(struct call *c, struct check *ck, struct buf *after, size_t *ret_max, bool *ret_all)
{
    char v[SEGMENT_MAX + 1];
    int64_t n = PAGE_MAX;
    *ret_all = false;
    int r = call_query(c, "MaxItems", v, sizeof(v));
    if (r != ERR_NOTFOUND && (r < 0 || num_parse_i64(v, strlen(v), &n) < 0))
        check_other(ck, "maxItems", r < 0 ? "" : v, false, "Member must be an integer");
    check_range(ck, "maxItems", n, 1, ITEMS_MAX);
    *ret_max = n > PAGE_MAX ? PAGE_MAX : n < 1 ? 1 : (size_t)n;
    r = call_query(c, "FunctionVersion", v, sizeof(v));
    if (r != ERR_NOTFOUND) {
        *ret_all = r == 0 && strcmp(v, "ALL") == 0;
        check_enum(ck, "functionVersion", r < 0 ? "" : v, *ret_all, "ALL");
    }
    r = call_query(c, "Marker", v, sizeof(v));
    if (r == ERR_NOTFOUND || (r == 0 && !*v))
        return 0;
    return r < 0 || base64_decode(v, strlen(v), after) < 0 || strlen(after->data) != after->len ? ERR_INVALID : 0;
}

void function_list(struct call *c)
{
    const struct function *page[PAGE_MAX + 1];
    struct buf after, b, marker;
    struct json_out o;
    struct check ck;
    size_t max;
    bool all;
    check_init(&ck);
    buf_init(&after, FUNCTION_NAME_MAX + 1);
    buf_init(&marker, 256);
    int r = read_page(c, &ck, &after, &max, &all);
    if (check_failed(&ck) || r < 0) {
        if (check_failed(&ck))
            call_fault(c, FAULT_VALIDATION, "%s", check_message(&ck));
        else
            call_fault(c, FAULT_INVALID_PARAMETER, "Invalid Marker");
        goto out;
    }
    size_t n = registry_list(c->api->d.registry, after.data, page, max + 1);
    size_t shown = n > max ? max : n;
    struct function_out how = {
        .region = c->api->region, .account = c->api->account, .qualifier = all ? "$LATEST" : "", .listed = true};
    call_json(&b, &o);
    out_begin(&o, NULL, '{');
    out_begin(&o, "Functions", '[');
    for (size_t i = 0; i < shown; i++)
        function_out_config(&o, NULL, page[i], &how);
    out_end(&o, ']');
    if (n > max && base64_encode(page[max - 1]->name, strlen(page[max - 1]->name), &marker) == 0)
        out_strn(&o, "NextMarker", marker.data, marker.len);
    out_end(&o, '}');
    for (size_t i = 0; i < n; i++)
        function_unref(page[i]);
    call_reply_json(c, 200, &o);
out:
    buf_done(&marker);
    buf_done(&after);
    check_done(&ck);
}

/* --- changing ----- */

void function_update_fault(struct registry_wait *w)
{
    struct call *c = w->c;
    char arn[ARN_MAX];
    arn_format(c->api->region, c->api->account, c->fn.name, "", arn);
    if (w->err == ERR_NOTFOUND)
        call_fault(c, FAULT_NOT_FOUND, "Function not found: %s", arn);
    else if (w->err != ERR_CONFLICT)
        call_error(c, w->err, &w->e);
    else if (strcmp(w->e.text, "revision") == 0)
        call_fault(
            c, FAULT_PRECONDITION,
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
            "retrieve the latest Revision Id");
    else if (strcmp(w->e.text, "pending") == 0)
        call_fault(c, FAULT_CONFLICT,
                   "The operation cannot be performed at this time. The function is currently in the following state: "
                   "Pending");
    else
        call_fault(c, FAULT_CONFLICT,
                   "The operation cannot be performed at this time. An update is in progress for resource: %s", arn);
}

static void on_config_updated(struct registry_wait *w)
{
    struct buf b;
    struct json_out o;
    if (w->err < 0) {
        function_update_fault(w);
        return;
    }
    struct function_out how = shown_as(w->c, false);
    call_json(&b, &o);
    function_out_config(&o, NULL, w->f, &how);
    call_reply_json(w->c, 200, &o);
}

static int read_update(struct call *c, struct function_in *in, struct fault *fault)
{
    struct check ck;
    check_init(&ck);
    call_check_name(c, &ck, CONTROL_LEN_MAX);
    int r = function_in_read(in, FUNCTION_UPDATE_CONFIG, c->fn.name, c->body, c->body_len, &ck, fault);
    check_done(&ck);
    if (r == 0)
        r = call_check_place(c, fault);
    return r == 0 ? call_check_runtime(c, in->spec.runtime, fault) : r;
}

void function_update_config(struct call *c)
{
    struct function_in in;
    struct fault fault = {0};
    if (read_update(c, &in, &fault) < 0) {
        function_in_done(&in);
        call_fault_take(c, &fault);
        return;
    }
    const struct function *f = call_must_function(c, "");
    struct registry_wait *w = f ? call_wait(c, on_config_updated) : NULL;
    if (w)
        call_started(w, registry_update(c->api->d.registry, c->fn.name, &in.spec, call_on_registry, w));
    function_unref(f);
    function_in_done(&in);
}

static void on_deleted(struct registry_wait *w)
{
    if (w->err == ERR_NOTFOUND)
        function_update_fault(w);
    else if (w->err < 0)
        call_error(w->c, w->err, &w->e);
    else
        call_reply_empty(w->c, 204);
}

void function_delete(struct call *c)
{
    char arn[ARN_MAX];
    if (call_name(c, CONTROL_LEN_MAX) < 0)
        return;
    const char *q = c->fn.qualifier;
    if (strcmp(q, "$LATEST") == 0) {
        call_fault(c, FAULT_INVALID_PARAMETER, "$LATEST version cannot be deleted without deleting the function.");
        return;
    }
    const struct function *f = registry_get(c->api->d.registry, c->fn.name);
    bool is_version = *q && strspn(q, "0123456789") == strlen(q);
    if (*q && !is_version) {
        call_fault(c, FAULT_INVALID_PARAMETER, "Deletion of aliases is not currently supported.");
    } else if (!f) {
        arn_format(c->api->region, c->api->account, c->fn.name, "", arn);
        call_fault(c, FAULT_NOT_FOUND, "Function not found: %s", arn);
    } else if (is_version) {
        call_reply_empty(c, 204); /* there is no such version: as good as deleted */
    } else {
        struct registry_wait *w = call_wait(c, on_deleted);
        if (w)
            call_started(w, registry_delete(c->api->d.registry, c->fn.name, call_on_registry, w));
    }
    function_unref(f);
}
