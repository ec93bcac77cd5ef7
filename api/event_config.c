/* The asynchronous settings of a function (Lambda: 5.2). */
#include <string.h>

#include "function_out.h"
#include "json_in.h"
#include "route.h"

enum { NAME_LEN_MAX = 140 };

static void no_config(struct call *c)
{
    char arn[ARN_MAX];
    arn_format(c->api->region, c->api->account, c->fn.name, *c->fn.qualifier ? c->fn.qualifier : "$LATEST", arn);
    call_fault(c, FAULT_NOT_FOUND, "The function %s doesn't have an EventInvokeConfig", arn);
}

static void answer(struct call *c, const struct function *f)
{
    struct buf b;
    struct json_out o;
    struct function_out how = {.region = c->api->region, .account = c->api->account, .qualifier = "$LATEST"};
    call_json(&b, &o);
    function_out_invoke_config(&o, NULL, f, &how);
    call_reply_json(c, 200, &o);
}

static void on_set(struct registry_wait *w)
{
    if (w->err == ERR_NOTFOUND && strcmp(w->e.text, "config") == 0)
        no_config(w->c);
    else if (w->err == ERR_NOTFOUND)
        call_fault(w->c, FAULT_NOT_FOUND, "The function doesn't exist.");
    else if (w->err < 0)
        call_error(w->c, w->err, &w->e);
    else if (!w->f->async.present)
        call_reply_empty(w->c, 204);
    else
        answer(w->c, w->f);
}

/* --- the document ----- */

static int32_t read_number(struct json_in *in, struct check *ck, const char *key, const char *member, int64_t min,
                           int64_t max)
{
    int64_t n;
    if (!json_in_int(in, in->root, key, &n))
        return -1;
    check_range(ck, member, n, min, max);
    return n >= min && n <= max ? (int32_t)n : -1;
}

/* A destination that is named; NULL if there is none, or it is empty, which removes it. */
static const char *destination(struct json_in *in, const char *key)
{
    const json_t *d = json_in_object(in, in->root, "DestinationConfig");
    const char *arn = json_in_str(in, json_in_object(in, d, key), "Destination");
    return arn && *arn ? arn : NULL;
}

static int read_config(struct call *c, bool merge, struct invoke_config *ret, struct fault *fault)
{
    struct json_in in;
    struct check ck;
    struct err e;
    if (json_in_parse(&in, c->body, c->body_len, &e) < 0)
        return fault_set(fault, FAULT_INVALID_CONTENT, "Could not parse request body into json: %s", e.text);
    check_init(&ck);
    call_check_name(c, &ck, NAME_LEN_MAX);
    ret->max_retries = read_number(&in, &ck, "MaximumRetryAttempts", "maximumRetryAttempts", 0, 2);
    ret->max_age_s = read_number(&in, &ck, "MaximumEventAgeInSeconds", "maximumEventAgeInSeconds", 60, 21600);
    const char *success = destination(&in, "OnSuccess"), *failure = destination(&in, "OnFailure");
    bool any = ret->max_retries >= 0 || ret->max_age_s >= 0 || json_object_get(in.root, "DestinationConfig");
    int r = 0;
    if (in.type.code < 0)
        r = fault_set(fault, FAULT_SERIALIZATION, "%s", in.type.text);
    else if (check_failed(&ck))
        r = fault_set(fault, FAULT_VALIDATION, "%s", check_message(&ck));
    else if (success || failure)
        r = fault_set(
            fault, FAULT_INVALID_PARAMETER,
            "DestinationConfig is not supported by bide: it does not deliver to destinations yet. Events that "
            "fail for good are kept in its dead-letter store (%s)",
            success ? success : failure);
    else if (!merge && !any)
        r = fault_set(fault, FAULT_INVALID_PARAMETER,
                      "You must specify at least one of error handling or destination setting.");
    else
        r = call_check_place(c, fault);
    check_done(&ck);
    json_in_done(&in);
    return r;
}

static void put(struct call *c, bool merge)
{
    struct fault fault = {0};
    struct invoke_config cfg = {0};
    if (read_config(c, merge, &cfg, &fault) < 0) {
        call_fault_take(c, &fault);
        return;
    }
    const struct function *f = call_function(c);
    if (!f) {
        call_fault(c, FAULT_NOT_FOUND, "The function doesn't exist.");
        return;
    }
    function_unref(f);
    struct registry_wait *w = call_wait(c, on_set);
    if (w)
        call_started(w, registry_set_invoke_config(c->api->d.registry, c->fn.name, &cfg, merge, call_on_registry, w));
}

void event_config_put(struct call *c)
{
    put(c, false);
}

void event_config_update(struct call *c)
{
    put(c, true);
}

/* --- reading and removing ----- */

/* The function with a configuration, a reference; answers otherwise. */
static const struct function *configured(struct call *c)
{
    if (call_name(c, NAME_LEN_MAX) < 0)
        return NULL;
    const struct function *f = call_function(c);
    if (f && f->async.present)
        return f;
    function_unref(f);
    no_config(c);
    return NULL;
}

void event_config_get(struct call *c)
{
    const struct function *f = configured(c);
    if (f)
        answer(c, f);
    function_unref(f);
}

static void on_removed(struct registry_wait *w)
{
    if (w->err == ERR_NOTFOUND)
        no_config(w->c);
    else
        on_set(w);
}

void event_config_delete(struct call *c)
{
    const struct function *f = configured(c);
    struct registry_wait *w = f ? call_wait(c, on_removed) : NULL;
    if (w)
        call_started(w, registry_set_invoke_config(c->api->d.registry, c->fn.name, NULL, false, call_on_registry, w));
    function_unref(f);
}

void event_config_list(struct call *c)
{
    struct buf b;
    struct json_out o;
    if (call_name(c, NAME_LEN_MAX) < 0)
        return;
    const struct function *f = call_function(c);
    if (!f) {
        call_fault(c, FAULT_NOT_FOUND, "The function doesn't exist.");
        return;
    }
    struct function_out how = {.region = c->api->region, .account = c->api->account, .qualifier = "$LATEST"};
    call_json(&b, &o);
    out_begin(&o, NULL, '{');
    out_begin(&o, "FunctionEventInvokeConfigs", '[');
    if (f->async.present)
        function_out_invoke_config(&o, NULL, f, &how);
    out_end(&o, ']');
    out_end(&o, '}');
    function_unref(f);
    call_reply_json(c, 200, &o);
}
