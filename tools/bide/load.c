#include "load.h"

#include <string.h>

#include "base/err.h"

void load_init(struct load *l)
{
    buf_init(&l->body, SIZE_MAX);
    l->n = 0;
}

void load_done(struct load *l)
{
    buf_done(&l->body);
}

void load_clear(struct load *l)
{
    buf_clear(&l->body);
    l->n = 0;
}

bool load_takes(const struct load *l, size_t len)
{
    return l->n == 0 || (l->n < LOAD_EVENTS && l->body.len + 1 + len <= LOAD_BYTES);
}

void load_add(struct load *l, uint64_t tag, const void *p, size_t len)
{
    BIDE_ASSERT((l->n == 0 || buf_append(&l->body, "\n", 1) == 0) && buf_append(&l->body, p, len) == 0,
                "no memory for %zu bytes", len);
    l->tags[l->n++] = tag;
}

json_t *load_ids(const struct load *l, const struct buf *answer)
{
    json_t *o = json_loadb(answer->data, answer->len, 0, NULL);
    json_t *ids = json_incref(json_object_get(o, "ids"));
    json_decref(o);
    bool whole = json_array_size(ids) == l->n;
    for (size_t i = 0; whole && i < l->n; i++)
        whole = json_is_string(json_array_get(ids, i));
    if (whole)
        return ids;
    json_decref(ids);
    return NULL;
}

/* Without the lines that are bad. */
static void keep(struct load *l, const bool bad[LOAD_EVENTS])
{
    char *to = l->body.data;
    const char *from = to, *end = from + l->body.len;
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        const char *nl = memchr(from, '\n', (size_t)(end - from));
        size_t len = (size_t)((nl != NULL ? nl : end) - from);
        if (!bad[i]) {
            if (n > 0)
                *to++ = '\n';
            memmove(to, from, len);
            to += len;
            l->tags[n++] = l->tags[i];
        }
        from += len + (nl != NULL);
    }
    l->n = n;
    l->body.len = (size_t)(to - l->body.data);
    *to = '\0';
}

size_t load_refuse(struct load *l, const struct buf *answer, load_refused_cb *cb, void *arg)
{
    bool bad[LOAD_EVENTS] = {false};
    size_t i, n = 0;
    const json_t *e;
    json_t *o = json_loadb(answer->data, answer->len, 0, NULL);
    json_array_foreach(json_object_get(o, "Errors"), i, e)
    {
        json_int_t line = json_integer_value(json_object_get(e, "Line"));
        const char *why = json_string_value(json_object_get(e, "Message"));
        if (line < 1 || (size_t)line > l->n || bad[line - 1])
            continue;
        bad[line - 1] = true;
        n++;
        cb(l->tags[line - 1], why != NULL ? why : "no reason is given", arg);
    }
    json_decref(o);
    if (n > 0)
        keep(l, bad);
    return n;
}
