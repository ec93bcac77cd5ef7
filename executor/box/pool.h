/* The slots: which box lives where, in what state, and what the engine is told about it.
 *
 *   free -> starting -> running -> dying -> free        (STARTED ... DEAD)
 *              `-----------------> dying -> free        (START_FAILED)
 *
 * A slot is free again only when its init is reaped, and with it everything that was in the box. The loop (main_exec.c)
 * calls in; nothing here waits.
 */
#ifndef BOX_POOL_H
#define BOX_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "spawn.h"

enum {
    POOL_TICK_MS = 100,         /* memory is looked at this often */
    POOL_START_LIMIT_MS = 5000, /* a set-up takes a few; this is for a host on its knees */
    POOL_STOP_LIMIT_MS = 1000,  /* sandbox = off: then init is killed as well */
    POOL_SEND_LIMIT_MS = 10000, /* an engine that does not read is as good as gone */
};

enum slot_state { SLOT_FREE, SLOT_STARTING, SLOT_RUNNING, SLOT_DYING };

struct slot {
    enum slot_state state;
    bool started; /* the engine was told STARTED */
    bool frozen;
    bool resetting; /* reports of the program that is being killed are dropped */
    bool oom;
    uint64_t worker;
    struct spawned box;
    int listener;
    uint32_t memory_mb;
    bool cpu_boost;
    int64_t since_ms;                 /* of STARTING or DYING */
    struct proto_start_failed failed; /* why a start failed; step "" = not known yet */
};

struct pool {
    struct spawner *spawner;
    int sock;
    int epoll;
    bool lost; /* the engine cannot be told any more */
    uint32_t n_slots;
    uint32_t n_busy;
    struct buf out;
    struct slot slot[];
};

/* What epoll's data says; the slot's index is in the low half. */
enum pool_source { POOL_ENGINE_SOCK, POOL_SIGNALS, POOL_ENGINE_PID, POOL_CTL, POOL_PIDFD };
uint64_t pool_event(enum pool_source source, uint32_t index);
int pool_watch(int epoll, int fd, uint64_t event, struct err *e) BIDE_MUST_USE;

int pool_new(struct pool **ret, struct spawner *s, int sock, int epoll, struct err *e) BIDE_MUST_USE;
/* Kills what is left and reaps it, then frees. */
void pool_free(struct pool *p);

/* A message of the engine, decoded. */
void pool_order(struct pool *p, const struct proto_msg *m);
void pool_send(struct pool *p, const struct proto_msg *m, const int *fds, size_t n_fds);

void pool_on_ctl(struct pool *p, uint32_t index);
void pool_on_exit(struct pool *p, uint32_t index);
void pool_tick(struct pool *p); /* every POOL_TICK_MS while pool_needs_tick */
bool pool_needs_tick(const struct pool *p);

#endif
