/* The whole api on loopback and on a Unix socket, over the real store, registry, queue and dead-letter store; and a
 * client that sends what it is told and waits for the answer. */
#ifndef TESTS_API_FIXTURE_H
#define TESTS_API_FIXTURE_H

#include <jansson.h>

#include "../registry/zipmake.h"
#include "api.h"
#include "fake_dispatcher.h"
#include "logs/logs.h"
#include "testutil.h"

#define FIXTURE_KEY_ID "AKIDEXAMPLE"
#define FIXTURE_SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

struct fx {
    struct tmpdir dir;
    struct clock clock;
    struct id_gen ids;
    struct settings *settings;
    struct store *store;
    struct registry *registry;
    struct queue *queue;
    struct dlq *dlq;
    struct logs *logs;
    struct dispatcher dispatcher;
    struct loop *loop;
    struct api *api;
    pthread_t thread;
    int code_fd;
    unsigned port;
    bool distrust; /* no uid is trusted on the Unix socket */
    bool real_clock;
    _Atomic bool store_full; /* no commit finds room */
};

struct reply {
    int status;
    char *head; /* all header lines */
    char *body;
    size_t len;
    json_t *json; /* of the body, NULL when it is none */
};

int fx_setup(void **state);
int fx_setup_distrust(void **state);
int fx_setup_real_clock(void **state);
int fx_teardown(void **state);

/* Send method, target, extra header lines ("A: b\r\n", may be "") and a body over the Unix socket. */
struct reply ask(struct fx *x, const char *method, const char *target, const char *headers, const char *body);
/* The same over TCP, signed with this key ("" signs nothing). */
struct reply ask_tcp(struct fx *x, const char *method, const char *target, const char *body, const char *key_id,
                     const char *secret);
/* Raw: connect, send these bytes, read one reply. */
struct reply ask_raw(struct fx *x, bool tcp, const char *bytes, size_t len);
int dial(struct fx *x, bool tcp);
void reply_done(struct reply *r);

/* A header of the reply into a buffer the next call reuses; NULL without. */
const char *reply_header(const struct reply *r, const char *name);
const char *reply_str(const struct reply *r, const char *key); /* a member of the body; fails the test without */
int64_t reply_int(const struct reply *r, const char *key);

/* Expect a status; then expect an error type and part of its message. */
void expect(struct reply r, int status);
void expect_fault(struct reply r, int status, const char *type, const char *part);

/* Base64 of a package of one file. Freed by the caller. */
char *package(const char *text);
/* Create a function and wait until it is active. */
void make_function(struct fx *x, const char *name);
void await_active(struct fx *x, const char *name);

#endif
