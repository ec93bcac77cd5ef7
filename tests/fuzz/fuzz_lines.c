/* Events as lines of JSON: what a request may hold, and what the client sends. The first two bytes of an input are the
 * ceilings, of events and of bytes of one. Each line that is not blank is an event or a fault, in order, as a second,
 * simpler walk over the lines finds; and the client calls JSON what the daemon does.
 */
#include "event_lines.h"
#include "fuzz.h"
#include "json_in.h"
#include "lines.h"

/* The line without its end, or NULL when it is blank. */
static const char *strip(struct slice line, size_t *ret_len)
{
    const char *p = line.p;
    bool blank = true;
    for (size_t i = 0; i < line.len; i++)
        blank = blank && strchr(" \t\r", p[i]) != NULL && p[i] != '\0';
    *ret_len = line.len - (line.len > 0 && p[line.len - 1] == '\r');
    return blank ? NULL : p;
}

/* Walks over all lines; false: there are more than max_events. */
static bool agrees(const struct event_lines *l, struct feed body, size_t max_events, size_t max_event)
{
    char why[400];
    size_t events = 0, faults = 0, len;
    for (uint64_t number = 1; body.left > 0; number++) {
        const char *p = strip(feed_until(&body, '\n'), &len);
        if (p == NULL)
            continue;
        if (events + faults == max_events)
            return false;
        bool json = json_check_line(p, len, NULL) == 0;
        BIDE_ASSERT(json == lines_is_json(p, len, why, sizeof why), "line %zu: JSON to one of them", (size_t)number);
        if (json && len <= max_event) {
            BIDE_ASSERT(events < l->n && l->events[events].p == p && l->events[events].len == len, "line %zu: no event",
                        (size_t)number);
            events++;
        } else {
            BIDE_ASSERT(faults < l->n_faults && (faults >= LINE_FAULTS_MAX || l->faults[faults].line == number),
                        "line %zu: no fault", (size_t)number);
            faults++;
        }
    }
    BIDE_ASSERT(events == l->n && faults == l->n_faults, "more than there are");
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed f = {data, size};
    struct event_lines l;
    size_t max_events = (size_t)feed_byte(&f) + 1, max_event = (size_t)feed_byte(&f) * 16;
    char *body = exact(f.p, f.left);
    int r = event_lines_read(&l, body, f.left, max_events, max_event);
    BIDE_ASSERT(r == 0 || r == ERR_TOOBIG, "event_lines_read: %s", err_name(r));
    bool few = agrees(&l, (struct feed){(const uint8_t *)body, f.left}, max_events, max_event);
    BIDE_ASSERT(few == (r == 0), "%s", few ? "too many, it says" : "too many, and it does not say so");
    event_lines_done(&l);
    free(body);
    return 0;
}
