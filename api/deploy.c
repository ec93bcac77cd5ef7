/* CreateFunction and UpdateFunctionCode: the document is parsed and the package unpacked on a worker thread, then the
 * registry is changed, then the client is answered and the package let go. */
#include <stdlib.h>
#include <string.h>

#include "function_in.h"
#include "function_out.h"
#include "route.h"

enum { ZIP_MAX = 52428800, NAME_LEN_MAX = 140 };

struct deploy {
    struct call *c;
    enum function_op op;
    struct check ck;
    struct fault fault;
    struct function_in in;
    bool has_code;
    struct code code;
};

/* --- letting go of the package, on a worker: it may remove files ----- */

struct release {
    struct registry *registry;
    struct code code;
};

static void run_release(void *arg)
{
    struct release *r = arg;
    registry_code_release(r->registry, &r->code);
}

static void free_deploy(void *arg)
{
    struct deploy *d = arg;
    struct api *a = d->c->api;
    struct release *r = d->has_code && a->pool ? calloc(1, sizeof(*r)) : NULL;
    if (r) {
        *r = (struct release){a->d.registry, d->code};
        if (pool_submit(a->pool, POOL_WORK, run_release, free, free, r) < 0)
            free(r); /* stays pinned, and is swept at the next start if nobody named it */
    }
    function_in_done(&d->in);
    fault_done(&d->fault);
    check_done(&d->ck);
    free(d);
}

/* --- on the worker ----- */

static int check_create_name(struct deploy *d)
{
    struct call *c = d->c;
    BIDE_ASSERT(d->in.name, "a document without a name was taken");
    if (name_parse(d->in.name, NAME_CREATE, &c->fn) < 0)
        return fault_set(&d->fault, FAULT_VALIDATION,
                         "1 validation error detected: Value '%s' at 'functionName' failed "
                         "to satisfy constraint: Member must have length less than or equal to %d",
                         d->in.name, NAME_LEN_MAX);
    int r = call_check_place(c, &d->fault);
    if (r < 0)
        return r;
    if (strlen(c->fn.name) > FUNCTION_NAME_MAX)
        return fault_set(
            &d->fault, FAULT_INVALID_PARAMETER,
            "1 validation error detected: Value '%s' at 'functionName' failed to satisfy constraint: Member "
            "must have length less than or equal to %d",
            c->fn.name, FUNCTION_NAME_MAX);
    const struct function *f = registry_get(c->api->d.registry, c->fn.name);
    if (!f)
        return 0;
    function_unref(f);
    return fault_set(&d->fault, FAULT_CONFLICT, "Function already exist: %s", c->fn.name);
}

/* What is wrong with a package, in Lambda's words, with the entry at fault where there is one. */
static int code_fault(struct deploy *d, int rc, const struct err *e)
{
    static const char unzip[] = "Could not unzip uploaded file. Please check your file, then try to upload again.";
    switch (rc) {
    case ERR_INVALID:
        if (strncmp(e->text, "not a zip", 9) == 0)
            return fault_set(&d->fault, FAULT_INVALID_PARAMETER, "%s", unzip);
        if (strncmp(e->text, "Entry", 5) == 0)
            return fault_set(&d->fault, FAULT_INVALID_PARAMETER, "%s %s.", unzip, e->text);
        return fault_set(&d->fault, FAULT_INVALID_PARAMETER, "%s", e->text);
    case ERR_TOOBIG:
        return fault_set(&d->fault, FAULT_INVALID_PARAMETER, "%s", e->text);
    case ERR_FULL:
        return fault_set(&d->fault, FAULT_SERVICE, "No room left for the package: %s", e->text);
    default:
        return fault_set(&d->fault, FAULT_SERVICE, "%s", e->text);
    }
}

static int unpack(struct deploy *d)
{
    struct buf zip;
    struct err e = {0};
    int rc;
    buf_init(&zip, ZIP_MAX);
    rc = base64_decode(d->in.zip, d->in.zip_len, &zip);
    if (rc == ERR_TOOBIG)
        rc = fault_set(&d->fault, FAULT_TOO_LARGE, "Zipped size must be smaller than %d bytes", (int)ZIP_MAX);
    else if (rc == ERR_INVALID)
        rc = fault_set(&d->fault, FAULT_SERIALIZATION, "ZipFile is not base64");
    else if (rc < 0)
        rc = fault_set(&d->fault, FAULT_SERVICE, "out of memory");
    else {
        rc = registry_code_add(d->c->api->d.registry, zip.data, zip.len, &d->code, &e);
        d->has_code = rc == 0;
        rc = rc < 0 ? code_fault(d, rc, &e) : 0;
    }
    buf_done(&zip);
    return rc;
}

static void run_deploy(void *arg)
{
    struct deploy *d = arg;
    struct call *c = d->c;
    const char *name = d->op == FUNCTION_CREATE ? NULL : c->fn.name;
    if (function_in_read(&d->in, d->op, name, c->body, c->body_len, &d->ck, &d->fault) < 0)
        return;
    if (d->op == FUNCTION_CREATE && check_create_name(d) < 0)
        return;
    if (call_check_runtime(c, d->in.spec.runtime, &d->fault) < 0)
        return;
    if (unpack(d) < 0)
        return;
    d->in.spec.code = &d->code;
    if (d->op == FUNCTION_CREATE && !d->in.spec.architecture)
        d->in.spec.architecture = machine_architecture();
}

/* --- back on the loop ----- */

static void answer_config(struct call *c, int status, const struct function *f)
{
    struct buf b;
    struct json_out o;
    struct function_out how = {.region = c->api->region, .account = c->api->account, .qualifier = c->fn.qualifier};
    call_json(&b, &o);
    function_out_config(&o, NULL, f, &how);
    call_reply_json(c, status, &o);
}

static void on_created(struct registry_wait *w)
{
    if (w->err == ERR_EXISTS)
        call_fault(w->c, FAULT_CONFLICT, "Function already exist: %s", w->c->fn.name);
    else if (w->err < 0)
        call_error(w->c, w->err, &w->e);
    else {
        w->c->fn.qualifier[0] = '\0'; /* a create answers the plain ARN */
        answer_config(w->c, 201, w->f);
    }
}

static void on_updated(struct registry_wait *w)
{
    if (w->err < 0)
        function_update_fault(w);
    else
        answer_config(w->c, 200, w->f);
}

/* Nothing is changed: the answer is the configuration as it would be. */
static void answer_dry_run(struct deploy *d)
{
    const struct function *f = call_must_function(d->c, "");
    if (!f)
        return;
    struct function would = *f;
    memcpy(would.code_sha256, d->code.sha256, sizeof(would.code_sha256));
    would.code_size = d->code.zip_bytes;
    answer_config(d->c, 200, &would);
    function_unref(f);
}

static void on_deployed(void *arg)
{
    struct deploy *d = arg;
    struct call *c = d->c;
    if (d->fault.type != FAULT_NONE) {
        struct fault f = d->fault;
        d->fault = (struct fault){0};
        call_fault_take(c, &f);
        return;
    }
    if (d->op == FUNCTION_UPDATE_CODE && d->in.dry_run) {
        answer_dry_run(d);
        return;
    }
    struct registry_wait *w = call_wait(c, d->op == FUNCTION_CREATE ? on_created : on_updated);
    if (!w)
        return;
    struct registry *r = c->api->d.registry;
    call_started(w, d->op == FUNCTION_CREATE ? registry_create(r, c->fn.name, &d->in.spec, call_on_registry, w)
                                             : registry_update(r, c->fn.name, &d->in.spec, call_on_registry, w));
}

static void deploy(struct call *c, struct deploy *d)
{
    if (pool_submit(c->api->pool, POOL_WORK, run_deploy, on_deployed, NULL, d) < 0)
        call_fault(c, FAULT_TOO_MANY, "Too many deployments at a time; try again.");
}

static struct deploy *deploy_new(struct call *c, enum function_op op)
{
    struct deploy *d = calloc(1, sizeof(*d));
    if (!d) {
        call_error(c, ERR_NOMEM, NULL);
        return NULL;
    }
    d->c = c;
    d->op = op;
    check_init(&d->ck);
    c->state = d;
    c->free_state = free_deploy;
    return d;
}

void function_create(struct call *c)
{
    struct deploy *d = deploy_new(c, FUNCTION_CREATE);
    if (d)
        deploy(c, d);
}

void function_update_code(struct call *c)
{
    if (call_name(c, NAME_LEN_MAX) < 0)
        return;
    const struct function *f = call_must_function(c, "");
    if (!f)
        return;
    function_unref(f);
    struct deploy *d = deploy_new(c, FUNCTION_UPDATE_CODE);
    if (d)
        deploy(c, d);
}
