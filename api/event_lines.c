#include "event_lines.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "json_in.h"

/* Lines, blank ones too, but not beyond max. */
static size_t count(const char *p, const char *end, size_t max)
{
    size_t n = 0;
    while (p < end && n < max) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        p = nl ? nl + 1 : end;
        n++;
    }
    return n;
}

static bool is_blank(const char *p, size_t len)
{
    while (len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t' || p[len - 1] == '\r'))
        len--;
    return len == 0;
}

static int check(const char *p, size_t len, uint64_t max_event, struct err *e)
{
    if (len > max_event)
        return err_set(e, ERR_TOOBIG,
                       "%zu byte payload is too large for the Event invocation type (limit %" PRIu64 " bytes)", len,
                       max_event);
    return json_check_line(p, len, e);
}

static int add_fault(struct event_lines *l, uint64_t line, const struct err *why)
{
    if (l->faults == NULL)
        l->faults = calloc(LINE_FAULTS_MAX, sizeof(*l->faults));
    if (l->faults == NULL)
        return ERR_NOMEM;
    if (l->n_faults < LINE_FAULTS_MAX)
        l->faults[l->n_faults] = (struct line_fault){line, *why};
    l->n_faults++;
    return 0;
}

static int add(struct event_lines *l, uint64_t line, const char *p, size_t len, uint64_t max_event)
{
    struct err e = {0};
    if (len > 0 && p[len - 1] == '\r')
        len--;
    if (check(p, len, max_event, &e) < 0)
        return add_fault(l, line, &e);
    l->events[l->n++] = (struct slice){p, len};
    return 0;
}

int event_lines_read(struct event_lines *ret, const char *body, size_t len, size_t max_events, uint64_t max_event)
{
    const char *p = body, *end = body + len;
    int r = 0;
    *ret = (struct event_lines){0};
    size_t room = count(p, end, max_events);
    ret->events = calloc(room ? room : 1, sizeof(*ret->events));
    if (ret->events == NULL)
        return ERR_NOMEM;
    for (uint64_t line = 1; r == 0 && p < end; line++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((nl ? nl : end) - p);
        if (!is_blank(p, n))
            r = ret->n + ret->n_faults == max_events ? ERR_TOOBIG : add(ret, line, p, n, max_event);
        p += n + (nl != NULL);
    }
    return r;
}

void event_lines_done(struct event_lines *l)
{
    free(l->events);
    free(l->faults);
    *l = (struct event_lines){0};
}
