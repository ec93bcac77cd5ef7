#include "json_in.h"

#include <string.h>

#include "base/jscan.h"

/* Deepest nesting that jansson is sure to take. */
enum { PLAIN_DEPTH_MAX = 2047 };

/* jansson takes a NUL behind the value for the end of the text, and never looks at what follows. */
static json_t *load(const char *p, size_t len, size_t flags, json_error_t *je)
{
    const char *nul = memchr(p, '\0', len), *line = p, *nl;
    if (nul == NULL)
        return json_loadb(p, len, flags, je);
    *je = (json_error_t){.line = 1, .text = "a NUL"};
    for (; (nl = memchr(line, '\n', (size_t)(nul - line))) != NULL; line = nl + 1)
        je->line++;
    je->column = (int)(nul - line) + 1;
    return NULL;
}

/* Most texts are plain, and then no tree of them is needed. */
static bool is_json(const void *p, size_t len, json_error_t *je)
{
    if (jscan_plain(p, len, PLAIN_DEPTH_MAX))
        return true;
    json_t *j = load(p, len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, je);
    json_decref(j);
    return j != NULL;
}

int json_check_payload(const void *p, size_t len, struct err *e)
{
    json_error_t je;
    if (len == 0 || is_json(p, len, &je))
        return 0;
    return err_set(e, ERR_INVALID, "%s at line %d, column %d", je.text, je.line, je.column);
}

int json_check_line(const void *p, size_t len, struct err *e)
{
    json_error_t je;
    if (is_json(p, len, &je))
        return 0;
    return err_set(e, ERR_INVALID, "%s at column %d", je.text, je.column);
}

int json_in_parse(struct json_in *in, const void *p, size_t len, struct err *e)
{
    json_error_t je;
    *in = (struct json_in){0};
    in->root = len ? load(p, len, JSON_REJECT_DUPLICATES, &je) : json_object();
    if (!in->root)
        return len ? err_set(e, ERR_INVALID, "%s at line %d, column %d", je.text, je.line, je.column)
                   : err_set(e, ERR_NOMEM, "request body");
    if (!json_is_object(in->root)) {
        json_in_done(in);
        return err_set(e, ERR_INVALID, "the body is not an object");
    }
    return 0;
}

void json_in_done(struct json_in *in)
{
    json_decref(in->root);
    in->root = NULL;
}

static const json_t *member(struct json_in *in, const json_t *o, const char *key, bool (*is)(const json_t *),
                            const char *type)
{
    const json_t *v = o ? json_object_get(o, key) : NULL;
    if (!v || json_is_null(v))
        return NULL;
    if (is(v))
        return v;
    if (in->type.code == 0)
        (void)err_set(&in->type, ERR_INVALID, "%s must be %s", key, type);
    return NULL;
}

static bool is_string(const json_t *v)
{
    return json_is_string(v);
}

static bool is_integer(const json_t *v)
{
    return json_is_integer(v);
}

static bool is_boolean(const json_t *v)
{
    return json_is_boolean(v);
}

static bool is_object(const json_t *v)
{
    return json_is_object(v);
}

static bool is_array(const json_t *v)
{
    return json_is_array(v);
}

const char *json_in_strn(struct json_in *in, const json_t *o, const char *key, size_t *ret_len)
{
    const json_t *v = member(in, o, key, is_string, "a string");
    *ret_len = v ? json_string_length(v) : 0;
    return v ? json_string_value(v) : NULL;
}

const char *json_in_str(struct json_in *in, const json_t *o, const char *key)
{
    size_t len;
    return json_in_strn(in, o, key, &len);
}

bool json_in_int(struct json_in *in, const json_t *o, const char *key, int64_t *ret)
{
    const json_t *v = member(in, o, key, is_integer, "an integer");
    if (v)
        *ret = json_integer_value(v);
    return v != NULL;
}

bool json_in_bool(struct json_in *in, const json_t *o, const char *key, bool *ret)
{
    const json_t *v = member(in, o, key, is_boolean, "a boolean");
    if (v)
        *ret = json_is_true(v);
    return v != NULL;
}

const json_t *json_in_object(struct json_in *in, const json_t *o, const char *key)
{
    return member(in, o, key, is_object, "an object");
}

const json_t *json_in_array(struct json_in *in, const json_t *o, const char *key)
{
    return member(in, o, key, is_array, "a list");
}
