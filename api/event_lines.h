/* The events of a request, a line of JSON each. Pure; any thread.
 *
 * Lines end with LF or CR LF, the last one need not end; blank ones are skipped and counted in the numbers. An event's
 * bytes are kept as they came, without the line's end.
 */
#ifndef API_EVENT_LINES_H
#define API_EVENT_LINES_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    LINE_FAULTS_MAX = 100, /* kept of one request; the others are counted */
};

struct line_fault {
    uint64_t line; /* from 1 in the request */
    struct err why;
};

struct event_lines {
    struct slice *events; /* in the body's memory */
    size_t n;
    struct line_fault *faults;
    uint64_t n_faults;
};

/* max_event: bytes that one may have. Lines that cannot be events are in faults, the result is 0 all the same.
 * ERR_TOOBIG: more than max_events lines. ERR_NOMEM. event_lines_done in any case. */
int event_lines_read(struct event_lines *ret, const char *body, size_t len, size_t max_events,
                     uint64_t max_event) BIDE_MUST_USE;
void event_lines_done(struct event_lines *l);

#endif
