/* /bide/v1/dlq: looking at dead letters, replaying and removing them. */
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "json_in.h"
#include "route.h"

enum { CHUNK = 256 /* letters in one transaction of a bulk operation */ };

/* --- looking ----- */

static void put_letter(struct json_out *o, const struct dead_letter *dl)
{
    build_put_event(o, &dl->ev);
    out_int(o, "dead_at_ms", dl->ev.ended_at_ms);
    out_str(o, "error_type", dl->error_type && *dl->error_type ? dl->error_type : NULL);
    out_str(o, "error_message", dl->error_message && *dl->error_message ? dl->error_message : NULL);
}

static void put_item(const struct dead_letter *dl, void *arg)
{
    struct json_out *o = arg;
    out_begin(o, NULL, '{');
    put_letter(o, dl);
    out_end(o, '}');
}

/* "" is every condition. ERR_INVALID: no such one. */
static int parse_condition(const char *v, enum condition *ret)
{
    *ret = CONDITION_NONE;
    if (!*v)
        return 0;
    for (int k = CONDITION_NONE + 1; k < CONDITIONS; k++) {
        if (strcmp(condition_name((enum condition)k), v) == 0) {
            *ret = (enum condition)k;
            return 0;
        }
    }
    return ERR_INVALID;
}

int bide_dlq_filter(struct call *c, struct dlq_filter *ret, char *name, size_t cap, struct fault *f)
{
    char condition[64], replayed[8];
    *ret = (struct dlq_filter){.function = name};
    if (build_filter(c, "function", name, cap, f) < 0 ||
        build_filter(c, "condition", condition, sizeof(condition), f) < 0 ||
        build_filter(c, "replayed", replayed, sizeof(replayed), f) < 0 ||
        build_times(c, &ret->since_ms, &ret->until_ms, f) < 0)
        return ERR_INVALID;
    ret->replayed_too = strcmp(replayed, "1") == 0;
    if (parse_condition(condition, &ret->condition) < 0)
        return fault_set(f, FAULT_VALIDATION, "'%s' is not a condition", condition);
    return 0;
}

static void build_list(struct call *c, struct json_out *o, struct fault *f)
{
    char name[SEGMENT_MAX], type[BUILD_TYPE_MAX];
    uint32_t limit;
    uint64_t cursor, next = 0;
    struct dlq_filter filter;
    if (build_page(c, &limit, &cursor, f) < 0 || bide_dlq_filter(c, &filter, name, sizeof(name), f) < 0 ||
        build_filter(c, "error_type", type, sizeof(type), f) < 0)
        return;
    filter.error_type = type;
    out_begin(o, NULL, '{');
    out_begin(o, "items", '[');
    int r = dlq_list(c->api->d.dlq, &filter, cursor, limit, put_item, o, &next);
    if (r < 0)
        (void)fault_set(f, FAULT_SERVICE, "dead letters: %s", err_name(r));
    out_end(o, ']');
    build_put_cursor(o, next);
    out_end(o, '}');
}

void bide_dlq_list(struct call *c)
{
    build_answer(c, build_list);
}

struct found {
    struct json_out *o;
    uint64_t seq;
};

static void put_found(const struct dead_letter *dl, void *arg)
{
    struct found *x = arg;
    put_letter(x->o, dl);
    x->seq = dl->ev.seq;
}

static void put_attempt(const struct attempt *a, void *arg)
{
    build_put_attempt(arg, a);
}

static void build_get(struct call *c, struct json_out *o, struct fault *f)
{
    struct id id;
    struct event ev;
    struct found x = {.o = o};
    if (build_id(c, &id, f) < 0)
        return;
    out_begin(o, NULL, '{');
    int r = dlq_find(c->api->d.dlq, &id, put_found, &x);
    if (r == 0) {
        out_begin(o, "attempts", '[');
        r = queue_find(c->api->d.queue, &id, &ev, put_attempt, o);
        out_end(o, ']');
    }
    if (r == ERR_NOTFOUND)
        (void)fault_set(f, FAULT_NOT_FOUND, "Dead letter not found: %s", c->arg);
    else if (r < 0)
        (void)fault_set(f, FAULT_SERVICE, "dead letter %s: %s", c->arg, err_name(r));
    build_put_payload(o, c->api->d.queue, x.seq);
    out_end(o, '}');
}

void bide_dlq_get(struct call *c)
{
    build_answer(c, build_get);
}

/* --- replaying and removing ----- */

/* One letter by id, or all that match, chunk by chunk. */
struct bulk {
    struct call *c;
    bool remove;
    bool one;
    bool again;
    struct id id;
    char function[FUNCTION_NAME_MAX + 1];
    struct dlq_filter filter;
    uint64_t cursor;
    uint64_t done; /* replayed or removed */
    uint64_t skipped;
    struct id new_id;
    int err;
};

static void bulk_next(void *arg);

/* The incarnation that has the name now. Versions and aliases are not there yet. */
static int resolve(const char *name, const char *qualifier, uint64_t *ret_fid, void *arg)
{
    if (*qualifier && strcmp(qualifier, "$LATEST") != 0)
        return ERR_NOTFOUND;
    const struct function *f = registry_get(arg, name);
    if (!f)
        return ERR_NOTFOUND;
    *ret_fid = f->fid;
    function_unref(f);
    return 0;
}

static void bulk_answer(struct bulk *x)
{
    struct call *c = x->c;
    struct buf b;
    struct json_out o;
    char id[ID_TEXT_LEN + 1];
    id_format(&x->id, id);
    if (x->err == ERR_NOTFOUND && x->one) {
        call_fault(c, FAULT_NOT_FOUND,
                   x->remove ? "Dead letter not found: %s" : "Dead letter not found, or its function is gone: %s", id);
        return;
    }
    if (x->err == ERR_CONFLICT) {
        call_fault(c, FAULT_CONFLICT, "Dead letter %s was replayed before; say \"again\" to replay it once more", id);
        return;
    }
    if (x->err < 0) {
        call_error(c, x->err, NULL);
        return;
    }
    call_json(&b, &o);
    out_begin(&o, NULL, '{');
    out_uint(&o, x->remove ? "removed" : "replayed", x->done);
    if (!x->remove)
        out_uint(&o, "skipped", x->skipped);
    if (!x->remove && x->one)
        build_put_id(&o, "new_id", &x->new_id);
    out_end(&o, '}');
    call_reply_json(c, 200, &o);
}

/* The loop's thread, after each chunk. A client that went away stops a bulk operation between two chunks. */
static void bulk_after(void *arg)
{
    struct call *c = arg;
    struct bulk *x = c->state;
    if (x->err < 0 || x->one || x->cursor == 0 || httpd_req_gone(c->req))
        bulk_answer(x);
    else
        bulk_next(x);
}

static void on_replayed(int err, const struct dlq_replay_result *r, void *arg)
{
    struct bulk *x = arg;
    x->err = err;
    if (err == 0) {
        x->done += r->replayed;
        x->skipped += r->skipped;
        x->cursor = r->cursor;
        x->filter.until = r->until;
        x->new_id = r->new_id;
    }
    call_post(x->c, bulk_after);
}

static void on_removed(int err, uint64_t removed, uint64_t cursor, void *arg)
{
    struct bulk *x = arg;
    x->err = err;
    if (err == 0) {
        x->done += removed;
        x->cursor = cursor;
    }
    call_post(x->c, bulk_after);
}

static void bulk_next(void *arg)
{
    struct bulk *x = arg;
    const struct api_deps *d = &x->c->api->d;
    int r;
    if (x->remove)
        r = x->one ? dlq_remove_one(d->dlq, &x->id, on_removed, x)
                   : dlq_remove_chunk(d->dlq, &x->filter, x->cursor, CHUNK, on_removed, x);
    else
        r = x->one ? dlq_replay_one(d->dlq, &x->id, x->again, resolve, d->registry, on_replayed, x)
                   : dlq_replay_chunk(d->dlq, &x->filter, x->cursor, CHUNK, resolve, d->registry, on_replayed, x);
    if (r < 0)
        call_error(x->c, r, NULL);
}

static int read_selection(struct bulk *x, struct json_in *in, struct fault *f)
{
    bool all = false;
    const char *id = json_in_str(in, in->root, "id");
    const char *function = json_in_str(in, in->root, "function");
    const char *condition = json_in_str(in, in->root, "condition");
    (void)json_in_bool(in, in->root, "all", &all);
    (void)json_in_bool(in, in->root, "again", &x->again);
    if (in->type.code < 0)
        return fault_set(f, FAULT_SERIALIZATION, "%s", in->type.text);
    if ((id != NULL) + (function != NULL) + all != 1)
        return fault_set(f, FAULT_VALIDATION, "give one of \"id\", \"function\" and \"all\"");
    if (id && (condition || id_parse(id, strlen(id), &x->id) < 0))
        return fault_set(f, FAULT_VALIDATION, "'%s' is not an event id, or comes with a condition", id);
    if (function && (!*function || strlen(function) > FUNCTION_NAME_MAX))
        return fault_set(f, FAULT_VALIDATION, "'%.80s' is not the name of a function", function);
    if (parse_condition(condition ? condition : "", &x->filter.condition) < 0)
        return fault_set(f, FAULT_VALIDATION, "'%s' is not a condition", condition);
    if (function)
        memcpy(x->function, function, strlen(function) + 1);
    x->one = id != NULL;
    x->filter.function = x->function;
    x->filter.replayed_too = x->again || x->remove;
    return 0;
}

static void bulk(struct call *c, bool remove)
{
    struct json_in in;
    struct fault f = {0};
    struct err e;
    struct bulk *x = calloc(1, sizeof(*x));
    if (!x) {
        call_error(c, ERR_NOMEM, NULL);
        return;
    }
    x->c = c;
    x->remove = remove;
    c->state = x;
    c->free_state = free;
    int r = json_in_parse(&in, c->body, c->body_len, &e);
    if (r < 0)
        r = fault_set(&f, FAULT_INVALID_CONTENT, "Could not parse request body into json: %s", e.text);
    else {
        r = read_selection(x, &in, &f);
        json_in_done(&in);
    }
    if (r < 0)
        call_fault_take(c, &f);
    else
        bulk_next(x);
}

void bide_dlq_replay(struct call *c)
{
    bulk(c, false);
}

void bide_dlq_remove(struct call *c)
{
    bulk(c, true);
}
