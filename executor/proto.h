/* Messages between the engine and the executor process: one msgpack array per SOCK_SEQPACKET datagram, descriptors by
 * SCM_RIGHTS (the design, section 2). The executor process has privileges and the engine does not, so what the engine
 * sends is treated as hostile: bounded datagrams, a type and a length for every field, a range for every number,
 * nothing left over. Knows neither sandboxes nor sockets; linked by both sides.
 *
 *   struct proto_msg m = {.type = PROTO_STOP, .worker = 7};
 *   proto_encode(&m, &buf, &err);                       // then fd_send_msg(sock, buf.data, buf.len, fds, n)
 *
 *   static struct proto_in in;                          // big: keep one per reader, not on the stack
 *   proto_decode(&in, PROTO_FROM_ENGINE, data, len, &err);
 *   switch (in.msg.type) ...
 *
 * The life of a worker as seen from the engine: START, then STARTED or START_FAILED (and nothing more about that id);
 * after STARTED any number of EXITED and RESET_DONE, and at the end, asked for by STOP or not, exactly one DEAD.
 * Requests about ids that are unknown or gone are ignored, since they may cross a DEAD on the way. Not thread-safe per
 * object.
 */
#ifndef EXECUTOR_PROTO_H
#define EXECUTOR_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    PROTO_VERSION = 2,
    PROTO_MSG_MAX = 96 * 1024,  /* of one datagram */
    PROTO_TEXT_MAX = 64 * 1024, /* of argv and env of a START together, NULs included */
    PROTO_ARGV_MAX = 32,
    PROTO_ENV_MAX = 256,
    PROTO_LAYERS_MAX = 5,
    PROTO_RUNTIME_MAX = 32, /* name of a runtime's folder: [a-z0-9._-], not starting with a dot */
    PROTO_ROLE_MAX = 64,
    PROTO_STEP_MAX = 31,
    PROTO_NAME_MAX = 15,
    PROTO_REASON_MAX = 399,
    PROTO_DEGRADED_MAX = 32,
    PROTO_MEMORY_MB_MIN = 1, /* sizes: the registry enforces Lambda's ranges, these keep arithmetic safe */
    PROTO_MEMORY_MB_MAX = 65536,
    PROTO_TMP_MB_MIN = 1,
    PROTO_TMP_MB_MAX = 65536,
    PROTO_NPROC_MIN = 4,
    PROTO_NPROC_MAX = 4096,
    PROTO_STARTED_FDS_MAX = 3,
};

enum proto_from { PROTO_FROM_ENGINE, PROTO_FROM_EXECUTOR };

enum proto_type {
    /* engine to executor */
    PROTO_START = 1, /* make a box and run the program in it */
    PROTO_RESET,     /* kill everything in the box but its init, run the program anew; /tmp stays */
    PROTO_STOP,      /* kill the box; DEAD follows. Of a start in progress: START_FAILED follows, or STARTED and DEAD */
    PROTO_FREEZE,
    PROTO_THAW,
    PROTO_READY, /* the runtime asked for its first invocation: the CPU boost of its initialisation ends */
    /* executor to engine */
    PROTO_HELLO = 16, /* first message, once */
    PROTO_STARTED,    /* carries 2 or 3 descriptors: PROTO_STARTED_x */
    PROTO_START_FAILED,
    PROTO_EXITED, /* the program ended; the box lives and can be reset */
    PROTO_RESET_DONE,
    PROTO_DEAD, /* the box is gone and so is every process that was in it */
};

/* Order of the descriptors of STARTED. All close-on-exec; the first two non-blocking. */
enum {
    PROTO_STARTED_LISTENER, /* listening on 127.0.0.1 inside the box: the Runtime API's */
    PROTO_STARTED_LOG,      /* read end of the pipe that is the program's stdout and stderr */
    PROTO_STARTED_PEAK,     /* only with has_peak: file with the box's peak memory in bytes, decimal; pread at 0 */
};

struct proto_start {
    char code_sha256[65];                    /* 64 lower-case hex digits: mounted from code/, at /var/task */
    char runtime_dir[PROTO_RUNTIME_MAX + 1]; /* folder below the runtimes directory, at /var/runtime; "" = none */
    char role[PROTO_ROLE_MAX + 1];           /* unknown ones get the profile `default` */
    uint32_t memory_mb;                      /* MemorySize */
    uint32_t tmp_mb;                         /* size of /tmp */
    uint32_t nproc;                          /* processes and threads at once */
    bool cpu_boost;                          /* a whole core until READY, instead of the share MemorySize buys */
    /* Absolute path of the program as the box sees it, and its arguments. NULL-terminated; borrowed when encoding, in
     * proto_in when decoded. AWS_LAMBDA_RUNTIME_API is added to env by the executor process. */
    const char *const *argv;
    size_t n_argv;
    const char *const *env; /* "KEY=VALUE" */
    size_t n_env;
    /* Merged at /opt, a later one over an earlier one; each a hash like code_sha256, mounted from code/ too, none
     * twice. Lifetimes as of argv. */
    const char *const *layers;
    size_t n_layers;
};

struct proto_hello {
    uint32_t version;                 /* PROTO_VERSION; another one is refused by the decoder with ERR_VERSION */
    char limits[PROTO_NAME_MAX + 1];  /* back end of the limits: "v2", "v1", "none" */
    char sandbox[PROTO_NAME_MAX + 1]; /* "strict", "relaxed", "off" */
    const char *const *degraded;      /* one sentence each; borrowed when encoding, in proto_in when decoded */
    size_t n_degraded;
};

struct proto_started {
    uint32_t uid; /* the host's uid of everything in the box */
    bool has_peak;
};

/* Which step of the set-up failed, with which errno (0: none), in words. Never the function's fault. */
struct proto_start_failed {
    char step[PROTO_STEP_MAX + 1];
    int32_t sys;
    char text[PROTO_REASON_MAX + 1];
};

struct proto_exited {
    int32_t exec_errno; /* not 0: the program could not be executed at all (ENOENT, EACCES, ENOEXEC ...) */
    int32_t exit_code;  /* -1 when it was killed */
    int32_t signal;     /* 0 when it exited */
    bool oom;           /* memory ran out: DEAD follows by itself */
    uint64_t peak_kb;   /* 0 unknown */
};

struct proto_dead {
    bool oom;
    int32_t signal; /* that ended the box's init; 0 when it ended by itself */
    uint64_t peak_kb;
};

struct proto_msg {
    enum proto_type type;
    uint64_t worker; /* the engine's id, never 0; HELLO has none */
    union {
        struct proto_start start;
        struct proto_hello hello;
        struct proto_started started;
        struct proto_start_failed failed;
        struct proto_exited exited;
        struct proto_dead dead;
    } u;
};

/* A decoded message and everything its pointers point to. */
struct proto_in {
    struct proto_msg msg;
    const char *list[PROTO_ARGV_MAX + PROTO_ENV_MAX + PROTO_LAYERS_MAX + 3];
    char text[PROTO_TEXT_MAX + PROTO_LAYERS_MAX * 65]; /* argv, env; layers */
    size_t text_len;
    size_t n_list;
};

/* Append one datagram to out (give it the ceiling PROTO_MSG_MAX). ERR_INVALID with the field's name in e when a value
 * is out of the range a decoder would accept; ERR_TOOBIG; ERR_NOMEM. */
int proto_encode(const struct proto_msg *m, struct buf *out, struct err *e) BIDE_MUST_USE;

/* Decode a datagram that came from the given side. ERR_CORRUPT: not such a message, or a value out of range (e names
 * the field); ERR_VERSION: HELLO of another version. in->msg is to be used only after 0. */
int proto_decode(struct proto_in *in, enum proto_from from, const void *data, size_t len, struct err *e) BIDE_MUST_USE;

/* "START" and so on, "?" for anything else: for logs; static storage. */
const char *proto_type_name(enum proto_type t);

#endif
