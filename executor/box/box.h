/* The executor process: the one half of bided with privileges. It makes sandboxes (boxes), starts runtimes in them,
 * keeps their limits, and reaps them; the engine asks for all of it over one socket (executor/proto.h).
 * Single-threaded; no HTTP, no LMDB, no libevent. Must be entered before any thread exists, since it clones.
 *
 *   struct box_config c = {.mode = BOX_STRICT, .code_fd = ..., .init_fd = ..., ...};
 *   if (box_probe(&c, &fences, &err) < 0) refuse to start, with err.text
 *   ... fork the engine ...
 *   exit(box_main(&c, sock, engine_pid));
 *
 * A box is a process tree below one init (executor/box/init.c) in namespaces of its own, in a slot: a number that owns
 * a host uid and a cgroup. Order of the set-up and reasons: profile.c. Who is who when one of them dies: every init has
 * a parent-death signal and the other end of a socket to watch; an init's death kills everything in its pid namespace.
 */
#ifndef BOX_BOX_H
#define BOX_BOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum {
    BOX_ROLES_MAX = 64,
    BOX_ROLE_NAME_MAX = 64,
    BOX_WORKERS_MAX = 4096,
    BOX_FENCES_MAX = 16,
    BOX_FENCE_TEXT_MAX = 384,
    BOX_EXIT_REFUSED = 1, /* exit status: cannot work here; the reason is in the log */
    BOX_EXIT_LOST = 3,    /* exit status: the engine is gone (the design, section 6) */
};

enum box_mode {
    BOX_STRICT,  /* every essential fence or no start */
    BOX_RELAXED, /* goes on without /proc or seccomp where the host denies them, and says so */
    BOX_OFF,     /* no fences: for development. Programs run as the owner of code_fd */
};

enum box_network {
    BOX_NETWORK_NONE, /* a network namespace with its own loopback and nothing else */
    BOX_NETWORK_HOST, /* the host's network: a declared degradation */
};

struct box_role {
    char name[BOX_ROLE_NAME_MAX + 1];
    enum box_network network;
};

struct box_config {
    enum box_mode mode;
    int code_fd;                  /* the folder code/ */
    int runtimes_fd;              /* the folder of runtimes, or -1 */
    int init_fd;                  /* the static helper bide-init, open for reading */
    int workers_fd;               /* workers.lock, or -1; locked shared here and held by every box's init */
    const struct box_role *roles; /* a role that is not here, and `default` when it is not here, gets network none */
    size_t n_roles;
    uint32_t uid_base;    /* as root, slot N runs as host uid and gid uid_base + N; 0 = BOX_UID_BASE */
    uint32_t max_workers; /* slots; 1..BOX_WORKERS_MAX */
    /* SIGHUP came: called between two turns of box_main's loop, may change roles and n_roles, and should not block.
     * NULL: SIGHUP is ignored. */
    void (*on_hangup)(void *arg);
    void *hangup_arg;
};

/* Above every range that systemd or shadow hand out, below 2^31. */
enum { BOX_UID_BASE = 0x70000000 };

/* One fence: can it be had here? */
struct box_fence {
    const char *name; /* "memory limit" */
    bool essential;   /* E in the documentation: strict refuses to start without it; others are degradations */
    bool have;
    char text[BOX_FENCE_TEXT_MAX]; /* not have: one sentence with the reason and what to do */
};

struct box_fences {
    const char *limits; /* "v2", "v1", "none": static storage */
    bool no_proc;       /* relaxed, and the host denies a fresh /proc: boxes have none */
    bool no_seccomp;
    size_t n;
    struct box_fence fence[BOX_FENCES_MAX];
};

/* Try everything, a whole box included, and leave nothing behind. 0: this mode can be had (ret says what is missing);
 * ERR_DENIED: an essential fence cannot be had, e says which, why and what to do; ret is filled then too. ERR_NOMEM,
 * ERR_INVALID: the configuration is wrong. Call it single-threaded. */
int box_probe(const struct box_config *c, struct box_fences *ret, struct err *e) BIDE_MUST_USE;

/* The process's life from here on; returns its exit status with nothing left of any box. SIGTERM and SIGINT are
 * passed on to the engine (pid engine, a child of this process; 0 = none, for tests: a SIGTERM then ends it). When the
 * engine exits, its exit status is returned; when it is killed, BOX_EXIT_LOST. sock passes to it. */
int box_main(const struct box_config *c, int sock, pid_t engine) BIDE_MUST_USE;

#endif
