/* The Runtime API as the runtime `exec` speaks it: one keep-alive connection, one request at a time (Lambda: section
 * 9). Every answer of this API has a Content-Length. Blocks. What cannot be mended ends the process with a line in the
 * log.
 */
#ifndef EXEC_API_H
#define EXEC_API_H

#include <stddef.h>
#include <stdint.h>

enum {
    API_HEAD_MAX = 32 * 1024,               /* of an answer */
    API_EVENT_MAX = 6 * 1024 * 1024 + 1024, /* Lambda's largest payload is 6 MB */
    API_ADDRESS_MAX = 64,
};

struct api {
    char address[API_ADDRESS_MAX]; /* "127.0.0.1:9001" */
    int fd;                        /* -1 not connected */
};

struct event {
    char head[API_HEAD_MAX + 1];
    char *body; /* heap */
    size_t len;
};

void api_init(struct api *a, const char *address);

/* Wait for the next event. The body of the one before is freed: e must be zero the first time. */
void api_next(struct api *a, struct event *e);

/* The value of a header, "" when it is not there; in e, until the next event. name in lower case. */
const char *event_header(struct event *e, const char *name);

/* error_type NULL: no error. A refusal in mid-body (too large) is no failure: the other side has settled it. */
void api_post(struct api *a, const char *path, const char *error_type, const void *body, size_t len);

#endif
