/* The one table of what can be asked for. */
#ifndef API_ROUTE_H
#define API_ROUTE_H

#include "call.h"

enum {
    ROUTE_OPEN = 1, /* no signature */
    ROUTE_PAYLOAD =
        2,           /* the body is an event: kept as bytes, checked to be JSON; its cap follows the invocation type */
    ROUTE_CODE = 4,  /* the body may hold a package */
    ROUTE_LOCAL = 8, /* no signature from this host: the Unix socket, and loopback without a proxy in between */
    ROUTE_LETTERS = 16, /* the body is dead letters, a line of JSON each */
    ROUTE_EVENTS = 32,  /* the body is events, a line of JSON each */
};

struct route {
    enum http1_method method;
    const char *pattern; /* "/a/{}/b": {} takes one segment */
    void (*handler)(struct call *c);
    unsigned flags;
    const char *operation; /* Lambda's name, for messages */
};

/* The route of a request, NULL if there is none. arg gets the decoded {} segment ("" without one); ERR_TOOBIG in
 * *ret_err when it is over SEGMENT_MAX. */
const struct route *route_find(enum http1_method method, struct slice path, char arg[SEGMENT_MAX + 1], int *ret_err);

/* Handlers, one file per family. */
void invoke_handle(struct call *c);
void function_create(struct call *c);
void function_update_code(struct call *c);
void function_update_config(struct call *c);
/* What a failed registry_update is to the client. */
void function_update_fault(struct registry_wait *w);
void function_get(struct call *c);
void function_get_config(struct call *c);
void function_list(struct call *c);
void function_delete(struct call *c);
void concurrency_put(struct call *c);
void concurrency_get(struct call *c);
void concurrency_delete(struct call *c);
void event_config_put(struct call *c);
void event_config_update(struct call *c);
void event_config_get(struct call *c);
void event_config_delete(struct call *c);
void event_config_list(struct call *c);
void account_get(struct call *c);
void location_get_code(struct call *c);
/* A link to a package, signed as the caller's. */
void location_put(struct json_out *o, const char *key, const struct call *c, const char *sha256);
void health_get(struct call *c);
void bide_metrics(struct call *c);
void bide_status(struct call *c);
void bide_function_books(struct call *c);
void bide_functions_list(struct call *c);
void bide_function_pause(struct call *c);
void bide_function_resume(struct call *c);
void bide_function_purge(struct call *c);
void bide_logs_read(struct call *c);
void bide_events_accept(struct call *c);
void bide_events_list(struct call *c);
void bide_events_get(struct call *c);
void bide_events_cancel(struct call *c);
void bide_events_retry(struct call *c);
void bide_dlq_list(struct call *c);
void bide_dlq_get(struct call *c);
void bide_dlq_replay(struct call *c);
void bide_dlq_export(struct call *c);
void bide_dlq_import(struct call *c);
/* What the query says of which letters; name is where the function's goes. ERR_INVALID with f set. */
int bide_dlq_filter(struct call *c, struct dlq_filter *ret, char *name, size_t cap, struct fault *f) BIDE_MUST_USE;
void bide_dlq_remove(struct call *c);
void bide_clock_advance(struct call *c);
void bide_verify(struct call *c);
void bide_backup(struct call *c);
/* The backup being sent, if there is one, is cut: its client can see that it is not whole. */
void bide_backup_cut(struct api *a);

#endif
