/* A running executor process with a data directory of its own, and the engine's side of its socket in the test's hands.
 *
 *   struct rig r;
 *   rig_open(&r, &(struct rig_opts){.mode = BOX_STRICT});
 *   rig_start(&r, 1, (const char *[]){"/var/task/bootstrap", "files", NULL});   // waits for STARTED
 *   rig_wait(&r, PROTO_EXITED, 1);                                              // r.in.msg is the message
 *   rig_log(&r, 1);                                                             // what it printed so far
 *   rig_close(&r);                                                              // SIGTERM, exit status checked
 *
 * Every wait has a deadline and fails the test. The program in code/<sha>/bootstrap is probe.c.
 */
#ifndef SANDBOX_RIG_H
#define SANDBOX_RIG_H

#include <stdbool.h>
#include <sys/types.h>

#include "executor_box/box.h"
#include "executor_proto/proto.h"

enum { RIG_WORKERS = 8, RIG_LOG_MAX = 256 * 1024, RIG_WAIT_MS = 20000, RIG_USER = 65534 };

#define RIG_SHA "00000000000000000000000000000000000000000000000000000000000000aa"

struct rig_opts {
    enum box_mode mode;
    bool as_user; /* the executor process is an ordinary user */
    bool engine;  /* a process in the engine's place: SIGTERM makes it exit with 5, SIGINT kill itself */
    const struct box_role *roles;
    size_t n_roles;
    const char *dir; /* reuse this data directory, and leave it */
};

struct rig_worker {
    int listener, log, peak;
    uid_t uid;
    char text[RIG_LOG_MAX];
    size_t text_len;
};

struct rig {
    char dir[64];
    bool keep_dir;
    int code_fd, runtimes_fd, init_fd, workers_fd, sock;
    pid_t pid;
    struct proto_in in;
    struct rig_worker w[RIG_WORKERS]; /* by worker id */
};

/* Ends the test as skipped, or with BIDE_SANDBOX_MUST_WORK=1 as failed; closes r's executor process unless r is NULL.
 */
void rig_skip(struct rig *r, const char *reason);
void rig_need_root(void);

void rig_open(struct rig *r, const struct rig_opts *o);
/* SIGHUP gives the role default the host's network. */
int rig_end(struct rig *r, int sig); /* sends sig (0: closes the socket), waits; the wait status */
void rig_close(struct rig *r);

struct proto_msg rig_start_msg(uint64_t worker, const char *const *argv);
void rig_send(struct rig *r, const struct proto_msg *m);
void rig_order(struct rig *r, enum proto_type t, uint64_t worker);
/* The next message; fails on another type or worker. */
const struct proto_msg *rig_wait(struct rig *r, enum proto_type t, uint64_t worker);
const struct proto_msg *rig_next(struct rig *r); /* whatever it is */
void rig_start(struct rig *r, uint64_t worker, const char *const *argv);

/* All that the worker has printed by now. */
const char *rig_log(struct rig *r, uint64_t worker);
/* Until it has printed a line that begins with text. */
void rig_wait_log(struct rig *r, uint64_t worker, const char *text);
void rig_forget_log(struct rig *r, uint64_t worker);

/* The result in the line "NAME RESULT", or NULL. */
const char *rig_result(struct rig *r, uint64_t worker, const char *name);

uint32_t rig_uid_base(void);  /* of this test process's boxes: other daemons on the host have others */
int rig_count_uid(uid_t uid); /* processes of the host with this uid */
bool rig_lock_is_free(const struct rig *r);

#endif
