#include "show.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { RING = 4, PAGE = 500, SCREEN = 50 };

bool show_raw(struct call *c, const char *method, const char *path, struct reply *r)
{
    struct err e = {0};
    reply_init(r);
    struct client *cl = call_client(c);
    if (cl == NULL)
        return false;
    if (client_call(cl, method, path, NULL, NULL, 0, r, &e) < 0) {
        (void)call_fail("%s", e.text);
        return false;
    }
    if (r->status < 200 || r->status > 299) {
        (void)call_fail("%s", reply_why(r));
        return false;
    }
    return true;
}

json_t *show_call(struct call *c, const char *method, const char *path, const json_t *body)
{
    struct err e = {0};
    struct client *cl = call_client(c);
    if (cl == NULL)
        return NULL;
    struct reply r;
    reply_init(&r);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_t *out = NULL;
    json_error_t je;
    if (client_call(cl, method, path, NULL, text, text != NULL ? strlen(text) : 0, &r, &e) < 0)
        (void)call_fail("%s", e.text);
    else if (r.status < 200 || r.status > 299)
        (void)call_fail("%s", reply_why(&r));
    else if ((out = json_loadb(r.body.data, r.body.len, JSON_ALLOW_NUL, &je)) == NULL)
        (void)call_fail("the daemon's answer to %s is not JSON: %s", path, je.text);
    free(text);
    reply_done(&r);
    return out;
}

static void append_encoded(char *path, size_t cap, const char *value)
{
    size_t n = strlen(path);
    for (const unsigned char *p = (const unsigned char *)value; *p != '\0' && n + 4 < cap; p++) {
        if (isalnum(*p) || strchr("-_.~", *p) != NULL)
            path[n++] = (char)*p;
        else
            n += (size_t)snprintf(path + n, cap - n, "%%%02X", *p);
    }
    path[n] = '\0';
}

void show_query(char *path, size_t cap, const char *name, const char *value)
{
    if (value == NULL)
        return;
    size_t n = strlen(path);
    (void)snprintf(path + n, cap - n, "%c%s=", strchr(path, '?') != NULL ? '&' : '?', name);
    append_encoded(path, cap, value);
}

void show_path(char *path, size_t cap, const char *before, const char *value, const char *after)
{
    (void)snprintf(path, cap, "%s", before);
    append_encoded(path, cap - strlen(after), value);
    size_t n = strlen(path);
    (void)snprintf(path + n, cap - n, "%s", after);
}

bool show_limit(struct call *c, uint64_t *ret)
{
    bool person = !c->json && isatty(STDOUT_FILENO);
    return call_number(c, "limit", 0, UINT32_MAX, person ? SCREEN : 0, ret);
}

bool show_times(struct call *c, char *path, size_t cap)
{
    static const char *const names[] = {"since", "until"};
    for (size_t i = 0; i < 2; i++) {
        const char *text = call_opt(c, names[i]);
        int64_t ms;
        /* The daemon reads it again, by its own clock. */
        if (text != NULL && clock_parse_when(text, strlen(text), clock_real_ms(), &ms) < 0) {
            (void)call_usage(c,
                             "--%s takes a duration (2h, 7d) or a time (2026-01-02, 2026-01-02T03:04:05Z), not \"%s\"",
                             names[i], text);
            return false;
        }
        show_query(path, cap, names[i], text);
    }
    return true;
}

/* Where the next page starts, as text; "" when there is none. */
static void next_page(const json_t *page, char *out, size_t cap)
{
    const json_t *next = json_object_get(page, "cursor");
    out[0] = '\0';
    if (json_is_string(next))
        (void)snprintf(out, cap, "%s", json_string_value(next));
    else if (json_is_integer(next) && json_integer_value(next) != 0)
        (void)snprintf(out, cap, "%lld", (long long)json_integer_value(next));
}

int show_pages(struct call *c, const char *path, uint64_t limit, const char *heading, show_item_cb *print)
{
    uint64_t shown = 0;
    char cursor[256] = "";
    bool headed = c->json;
    do {
        char url[1536], number[32];
        uint64_t want = limit > 0 && limit - shown < PAGE ? limit - shown : PAGE;
        (void)snprintf(url, sizeof url, "%s", path);
        show_query(url, sizeof url, "cursor", cursor[0] != '\0' ? cursor : NULL);
        (void)snprintf(number, sizeof number, "%llu", (unsigned long long)want);
        show_query(url, sizeof url, "limit", number);
        json_t *page = show_call(c, "GET", url, NULL);
        if (page == NULL)
            return EXIT_FAILED;
        if (!headed)
            (void)puts(heading);
        headed = true;
        size_t i;
        const json_t *item;
        json_array_foreach(json_object_get(page, "items"), i, item)
        {
            print(item, c->json);
            shown++;
        }
        next_page(page, cursor, sizeof cursor);
        json_decref(page);
    } while (cursor[0] != '\0' && (limit == 0 || shown < limit));
    if (cursor[0] != '\0' && call_opt(c, "limit") == NULL)
        (void)fprintf(stderr, "the first %llu; --limit 0 shows all\n", (unsigned long long)shown);
    return EXIT_DONE;
}

void show_json(const json_t *o)
{
    (void)json_dumpf(o, stdout, JSON_COMPACT);
    (void)putchar('\n');
}

const char *show_str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s != NULL ? s : "";
}

long long show_int(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

const char *show_time(long long ms)
{
    static char ring[RING][40];
    static unsigned next;
    char *out = ring[next++ % RING];
    if (ms == 0)
        return "-";
    time_t sec = (time_t)(ms / 1000);
    struct tm tm;
    char text[32];
    if (gmtime_r(&sec, &tm) == NULL || strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        return "?";
    (void)snprintf(out, sizeof ring[0], "%s.%03lld", text, ms % 1000);
    return out;
}

const char *show_text(const char *s, size_t max)
{
    static char ring[RING][512];
    static unsigned next;
    char *out = ring[next++ % RING];
    size_t n = 0;
    if (max > sizeof ring[0] - 4)
        max = sizeof ring[0] - 4;
    for (; *s != '\0' && n < max; s++)
        out[n++] = (unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s;
    if (*s != '\0')
        n += (size_t)snprintf(out + n, 4, "...");
    out[n] = '\0';
    return out;
}
