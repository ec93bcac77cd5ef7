/* Fetching JSON and printing it for people: what the listing verbs share. */
#ifndef BIDE_SHOW_H
#define BIDE_SHOW_H

#include <jansson.h>
#include <stdbool.h>

#include "cmd.h"

/* GET or POST path and parse the answer. NULL after a message on stderr. body may be NULL. */
json_t *show_call(struct call *c, const char *method, const char *path, const json_t *body);

/* The same, but the answer's bytes: for payloads that must stay verbatim. r is reply_init'ed here; done by the caller.
 */
bool show_raw(struct call *c, const char *method, const char *path, struct reply *r);

/* Append ?name=value or &name=value, percent-encoded. value NULL: nothing. */
void show_query(char *path, size_t cap, const char *name, const char *value);

/* BEFORE + value as one percent-encoded segment + AFTER. */
void show_path(char *path, size_t cap, const char *before, const char *value, const char *after);

/* --limit of a listing; when it is not given 50 for a person at a terminal, else 0 = all. False: bad, and said so. */
bool show_limit(struct call *c, uint64_t *ret);

/* --since and --until into the query. False: not times, and said so. */
bool show_times(struct call *c, char *path, size_t cap);

/* Walk a paged listing: base path with its query; each item is given to print until limit items (0 = all). The heading
 * is printed for people only. */
typedef void show_item_cb(const json_t *item, bool json);
int show_pages(struct call *c, const char *path, uint64_t limit, const char *heading, show_item_cb *print);

void show_json(const json_t *o); /* one line on stdout */

/* Members with defaults, for printing. */
const char *show_str(const json_t *o, const char *key); /* "" when absent or null */
long long show_int(const json_t *o, const char *key);   /* 0 when absent */
/* "2026-01-02 03:04:05.678" in UTC, or "-" for 0; static storage, four at a time. */
const char *show_time(long long ms);
/* Text from outside with control characters made harmless, cut at max columns; static storage, four at a time. */
const char *show_text(const char *s, size_t max);

#endif
