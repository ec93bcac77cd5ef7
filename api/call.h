/* One request in hand: from its head to its answer. Belongs to the loop's thread; what another thread finds out comes
 * back by loop_post.
 *
 * A handler (route.h) is called once the body is there and the signature is good. It answers with exactly one of the
 * call_reply... functions, at once or from a later callback on the loop; the call is gone when that returns.
 */
#ifndef API_CALL_H
#define API_CALL_H

#include "api.h"
#include "base/httpd.h"
#include "check.h"
#include "fault.h"
#include "json_out.h"
#include "names.h"
#include "pool.h"
#include "sigv4.h"
#include "tally.h"

enum {
    SEGMENT_MAX = 512,                   /* bytes of one decoded path argument */
    KEY_CACHE = 16,                      /* signing keys kept: a few clients, two days */
    INLINE_BODY_MAX = 64 * 1024,         /* longer bodies are hashed and parsed on the worker threads */
    EVENTS_BODY_MAX = 6291456,           /* lines of events: one may be as long as async.max_payload can be set to */
    CONTROL_BODY_MAX = 1024 * 1024,      /* control documents without code */
    LETTERS_BODY_MAX = 16 * 1024 * 1024, /* lines of an import: one line may be a long one */
    INVOKE_BODY_MAX = 6291456,           /* Lambda: 4.4 */
    CODE_BODY_MAX = 70167211,            /* Lambda: 3.2 */
    REPLY_MAX = 16 * 1024 * 1024,        /* a JSON answer of ours */
    POOL_JOBS_MAX = 64,
    POOL_THREADS = 2,
};

struct signing_key {
    size_t key; /* index in deps.keys */
    char date[9];
    uint8_t k[SHA256_LEN];
    bool used;
};

struct api {
    struct api_deps d;
    const char *region;
    const char *account;
    uint64_t max_event_payload;
    struct httpd *http;
    struct pool *pool;
    struct signing_key keys[KEY_CACHE];
    size_t next_key;
    struct call *calls;     /* all that are not answered yet */
    bool verifying;         /* one verify at a time */
    struct sending *backup; /* bide_backup.c's: one at a time */
    unsigned scrapes;       /* answers of /metrics being made */
    struct tally tally;
    int64_t began_ms; /* monotonic: the daemon's start */
};

struct route;

struct call {
    struct api *api;
    struct call *next, **link;
    struct httpd_req *req;
    const struct route *route;
    struct id id;
    char id_text[ID_TEXT_LEN + 1];
    int64_t began_us;          /* monotonic: its head was read */
    char arg[SEGMENT_MAX + 1]; /* the path's argument, decoded */

    bool must_verify;
    size_t key; /* index of the key it claims */
    struct sigv4 sig;
    struct buf canonical;

    const char *body; /* the request's own memory, until the answer */
    size_t body_len;
    uint8_t body_hash[SHA256_LEN];
    int payload_err; /* of a payload that was checked with the hash, on a worker thread */
    struct err payload_detail;
    bool payload_checked;

    int result;     /* of the op the call waits for, set on the store thread before it is posted back */
    struct name fn; /* set by call_name */
    bool is_verify; /* holds api.verifying */
    void *state;    /* the handler's, freed with the call by free_state */
    void (*free_state)(void *state);
};

/* --- reading the request ----- */

const char *call_header(const struct call *c, const char *name); /* NULL: absent */
/* A decoded query parameter; ERR_NOTFOUND, ERR_INVALID, ERR_TOOBIG. */
int call_query(const struct call *c, const char *name, char *out, size_t cap) BIDE_MUST_USE;

/* Check the path's function name and the query's Qualifier against the model; c->fn is what they say. */
void call_check_name(struct call *c, struct check *ck, int64_t max_len);
/* What comes after the model: derived qualifier, region, account. ERR_INVALID with f set. */
int call_check_place(struct call *c, struct fault *f) BIDE_MUST_USE;

/* May a function have this runtime (NULL: none is asked for)? ERR_INVALID with *f set. Any thread. */
int call_check_runtime(const struct call *c, const char *runtime, struct fault *f) BIDE_MUST_USE;
/* Both; answers the call itself when it gives ERR_INVALID. */
int call_name(struct call *c, int64_t max_len) BIDE_MUST_USE;

/* The function of that name and qualifier ($LATEST or none: there are no others yet), a reference; NULL if there is
 * none. */
const struct function *call_function(struct call *c);
/* The same, answering 404 with Lambda's text. shown: the qualifier to show when none was given ("" or "$LATEST"). */
const struct function *call_must_function(struct call *c, const char *shown);

/* --- answering; each ends the call ----- */

struct call_extra {
    const char *name, *value;
};

/* With each 429: what is short is a place, and one is free in a moment. */
extern const struct call_extra call_retry_soon;

enum { EXTRA_MAX = 8 };
void call_reply(struct call *c, int status, const struct call_extra *extra, size_t n_extra, const void *body,
                size_t len);
/* A reply of unknown length: start, then httpd_reply_chunk on c->req, then end or abort, which end the call. */
void call_reply_start(struct call *c, int status, const struct call_extra *extra, size_t n_extra);
void call_reply_end(struct call *c);
void call_reply_abort(struct call *c);
void call_reply_json(struct call *c, int status, struct json_out *o); /* and releases o's buffer */
void call_reply_empty(struct call *c, int status);
void call_fault(struct call *c, enum fault_type t, const char *fmt, ...) BIDE_PRINTF(3, 4);
void call_fault_take(struct call *c, struct fault *f); /* and fault_done */
/* An error code of a module, with the detail it gave, as the client should see it. */
void call_error(struct call *c, int err, const struct err *e);

/* A buffer for a JSON answer. */
void call_json(struct buf *b, struct json_out *o);

/* --- waiting for the registry ----- */

struct registry_wait {
    struct call *c;
    int err;
    struct err e;
    const struct function *f; /* a reference while then runs */
    void (*then)(struct registry_wait *w);
};

/* A wait whose result comes to then on the loop. Give call_on_registry and the wait to a registry_... change; if that
 * fails at once, call_registry_failed answers. NULL: answered already (no memory). */
struct registry_wait *call_wait(struct call *c, void (*then)(struct registry_wait *w));
void call_on_registry(int err, const struct err *e, const struct function *f, void *arg);
void call_started(struct registry_wait *w, int rc);

/* Post cb(c) to the loop from any thread; ends the process if there is no memory for it: the client would wait for
 * ever. */
void call_post(struct call *c, loop_cb *cb);

/* --- the life of a call: api.c is the only caller ----- */

void call_on_head(struct httpd_req *req, void *api);
void call_on_refuse(struct httpd_req *req, int status, const char *reason, void *api);
void call_free(struct call *c);

#endif
