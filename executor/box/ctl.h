/* What passes between the executor process and the init of a box: datagrams of one fixed size on a SOCK_SEQPACKET pair,
 * and once, through a sealed memfd, the job. Included by init.c too: no dependencies, no functions.
 */
#ifndef BOX_CTL_H
#define BOX_CTL_H

#include <stdint.h>

enum ctl_kind {
    /* executor process to child and init */
    CTL_GO = 1, /* limits and id maps are in place */
    CTL_RESET,  /* kill everything, start the program anew */
    CTL_STOP,   /* kill everything and end: where killing init would not do it */
    /* child and init to executor process */
    CTL_LISTENER,   /* carries the Runtime API's listening socket */
    CTL_FAIL,       /* a step of the set-up failed: step, sys, text */
    CTL_UP,         /* the program runs, or its exec failed and EXITED follows */
    CTL_EXITED,     /* sys: errno of the exec, or 0; status: wait status */
    CTL_RESET_DONE, /* killed, and the program runs again (or EXITED follows) */
};

enum { CTL_STEP_LEN = 32, CTL_TEXT_LEN = 256 };

struct ctl_msg {
    uint32_t kind;
    int32_t sys;
    int32_t status;
    char step[CTL_STEP_LEN];
    char text[CTL_TEXT_LEN];
};

/* Descriptors that init is executed with; 0, 1 and 2 are the program's. */
enum { INIT_FD_CTL = 3, INIT_FD_JOB = 4, INIT_FD_LOCK = 5, INIT_FD_FREEZER = 6, INIT_FD_END = 7 };

enum {
    JOB_MAGIC = 0x62696465,
    JOB_BOXED = 1,    /* init is PID 1 of a pid namespace */
    JOB_LANDLOCK = 2, /* add a Landlock domain when the kernel has one */
    JOB_FREEZER =
        4, /* the program's process writes "0" to INIT_FD_FREEZER: its own move into the group that is frozen */
    JOB_STRINGS_MAX = 512,
    JOB_INSNS_MAX = 4096,
};

/* The memfd: this head, n_insns BPF instructions of 8 bytes, then text: n_argv + n_env NUL-terminated strings. */
struct job_head {
    uint32_t magic;
    uint32_t flags;
    uint32_t n_insns;
    uint32_t n_argv;
    uint32_t n_env;
    uint32_t text_len;
};

#endif
