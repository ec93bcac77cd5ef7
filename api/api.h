/* The HTTP front: the Lambda REST API with SigV4, and bide's own /bide/v1. Parses, authenticates, validates, routes;
 * nothing here decides when work runs. One api object per API thread (loop).
 */
#ifndef API_API_H
#define API_API_H

#include <sys/types.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/loop.h"
#include "base/settings.h"
#include "dispatcher/dispatcher.h"
#include "dlq/dlq.h"
#include "queue/queue.h"
#include "registry/registry.h"

struct api;
struct logs;

struct api_key {
    char id[129];
    char secret[129];
};

struct api_deps {
    struct loop *loop;
    struct clock *clock;
    struct id_gen *ids;
    const struct settings *settings;
    struct registry *registry;
    struct queue *queue;
    struct dlq *dlq;
    struct dispatcher *dispatcher;
    struct logs *logs; /* logs.h */
    int runtimes_fd;
    const struct api_key *keys; /* who may call over TCP */
    size_t n_keys;
    const char *version;   /* of the program */
    uint32_t unix_uids[3]; /* who may call over the Unix socket without a signature */
    size_t n_unix_uids;
    pid_t executor_pid;        /* for /metrics; 0: none */
    uint64_t recovered_events; /* found running at this start */
};

int api_new(struct api **ret, const struct api_deps *deps, struct err *e) BIDE_MUST_USE;
/* The live settings have changed. On the loop's thread. */
void api_reload(struct api *a);

void api_free(struct api *a); /* after the loop has ended */

/* Listening sockets; ownership passes. Before or while the loop runs, on its thread. */
int api_listen_tcp(struct api *a, int fd, struct err *e) BIDE_MUST_USE;
int api_listen_unix(struct api *a, int fd, struct err *e) BIDE_MUST_USE;

/* Stop accepting connections and new calls; cb on the loop's thread when the last answer is written. */
void api_drain(struct api *a, void (*cb)(void *arg), void *arg);

#endif
