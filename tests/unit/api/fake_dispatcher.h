/* A dispatcher that answers as it was told to, on a thread of its own. It takes the real one's place at link time. */
#ifndef TESTS_API_FAKE_DISPATCHER_H
#define TESTS_API_FAKE_DISPATCHER_H

#include <pthread.h>
#include <stdatomic.h>

#include "dispatcher/dispatcher.h"

struct dispatcher {
    /* the script */
    enum invoke_end end;
    const char *body;
    const char *log;
    const char *why;
    bool hold; /* answer only when the call is abandoned */
    /* what the last call was */
    char payload[64];
    size_t payload_len;
    char context[64];
    char qualifier[32];
    struct id id;
    bool want_log;
    _Atomic unsigned abandoned;
    _Atomic unsigned clock_moved;
    /* the answer in progress */
    pthread_t thread;
    bool running;
    invoke_cb *cb;
    void *arg;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool released;
};

void fake_init(struct dispatcher *d);
void fake_done(struct dispatcher *d);
void fake_hold(struct dispatcher *d, bool hold);

#endif
