/* Reserved concurrency and the account's limits (Lambda: 6.1, 3.12). */
#include <stdio.h>

#include "function_out.h"
#include "json_in.h"
#include "route.h"

enum { NAME_LEN_MAX = 140 };

static void answer(struct call *c, const struct function *f)
{
    struct buf b;
    struct json_out o;
    call_json(&b, &o);
    function_out_concurrency(&o, NULL, f);
    call_reply_json(c, 200, &o);
}

/* The function, when the name is a plain one; answers otherwise. */
static const struct function *plain_function(struct call *c, const char *shown)
{
    if (call_name(c, NAME_LEN_MAX) < 0)
        return NULL;
    if (*c->fn.qualifier) {
        call_fault(c, FAULT_INVALID_PARAMETER,
                   "This operation is permitted on Lambda functions only. Aliases and versions do not support this "
                   "operation. Please specify either a function name or an unqualified function ARN.");
        return NULL;
    }
    return call_must_function(c, shown);
}

static void on_set(struct registry_wait *w)
{
    struct api *a = w->c->api;
    char arn[ARN_MAX];
    arn_format(a->region, a->account, w->c->fn.name, "$LATEST", arn);
    if (w->err == ERR_FULL)
        call_fault(w->c, FAULT_INVALID_PARAMETER,
                   "Specified ReservedConcurrentExecutions for function decreases account's "
                   "UnreservedConcurrentExecution below its minimum value of [%lld].",
                   (long long)settings_int(a->d.settings, SET_ACCOUNT_UNRESERVED_MINIMUM));
    else if (w->err == ERR_NOTFOUND)
        call_fault(w->c, FAULT_NOT_FOUND, "Function not found: %s", arn);
    else if (w->err < 0)
        call_error(w->c, w->err, &w->e);
    else if (w->f->reserved < 0)
        call_reply_empty(w->c, 204);
    else
        answer(w->c, w->f);
}

static void set(struct call *c, int32_t n)
{
    struct registry_wait *w = call_wait(c, on_set);
    if (w)
        call_started(w, registry_set_reserved(c->api->d.registry, c->fn.name, n, call_on_registry, w));
}

/* The number, checked as the model says; ERR_INVALID with fault set. */
static int read_number(struct call *c, int32_t *ret, struct fault *fault)
{
    struct json_in in;
    struct check ck;
    struct err e;
    int64_t n = 0;
    if (json_in_parse(&in, c->body, c->body_len, &e) < 0)
        return fault_set(fault, FAULT_INVALID_CONTENT, "Could not parse request body into json: %s", e.text);
    check_init(&ck);
    bool given = json_in_int(&in, in.root, "ReservedConcurrentExecutions", &n);
    check_present(&ck, "reservedConcurrentExecutions", given || in.type.code < 0);
    if (given)
        check_range(&ck, "reservedConcurrentExecutions", n, 0, INT32_MAX);
    int r = 0;
    if (in.type.code < 0)
        r = fault_set(fault, FAULT_SERIALIZATION, "%s", in.type.text);
    else if (check_failed(&ck))
        r = fault_set(fault, FAULT_VALIDATION, "%s", check_message(&ck));
    check_done(&ck);
    json_in_done(&in);
    *ret = (int32_t)n;
    return r;
}

void concurrency_put(struct call *c)
{
    struct fault fault = {0};
    int32_t n;
    const struct function *f = NULL;
    if (read_number(c, &n, &fault) < 0)
        call_fault_take(c, &fault);
    else if ((f = plain_function(c, "$LATEST")) != NULL)
        set(c, n);
    function_unref(f);
}

void concurrency_delete(struct call *c)
{
    const struct function *f = plain_function(c, "$LATEST");
    if (f)
        set(c, -1);
    function_unref(f);
}

void concurrency_get(struct call *c)
{
    const struct function *f = plain_function(c, "");
    if (f)
        answer(c, f);
    function_unref(f);
}

void account_get(struct call *c)
{
    struct buf b;
    struct json_out o;
    int64_t reserved, bytes, all = settings_int(c->api->d.settings, SET_ACCOUNT_CONCURRENCY);
    registry_totals(c->api->d.registry, &reserved, &bytes);
    call_json(&b, &o);
    out_begin(&o, NULL, '{');
    out_begin(&o, "AccountLimit", '{');
    out_int(&o, "TotalCodeSize", 80530636800);
    out_int(&o, "CodeSizeUnzipped", 262144000);
    out_int(&o, "CodeSizeZipped", 52428800);
    out_int(&o, "ConcurrentExecutions", all);
    out_int(&o, "UnreservedConcurrentExecutions", all - reserved);
    out_end(&o, '}');
    out_begin(&o, "AccountUsage", '{');
    out_int(&o, "TotalCodeSize", bytes);
    out_uint(&o, "FunctionCount", registry_count(c->api->d.registry));
    out_end(&o, '}');
    out_end(&o, '}');
    call_reply_json(c, 200, &o);
}
