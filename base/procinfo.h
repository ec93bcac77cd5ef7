/* What the kernel says of a process: memory, descriptors, CPU. Reads /proc; blocks no longer than that takes. */
#ifndef BASE_PROCINFO_H
#define BASE_PROCINFO_H

#include <stdint.h>
#include <sys/types.h>

#include "err.h"

struct procinfo {
    uint64_t cpu_ms;         /* user and system time */
    uint64_t virtual_bytes;  /* address space: a store's whole map counts */
    uint64_t resident_bytes; /* pages of mapped files included */
    uint64_t anon_bytes;     /* resident memory that is the process's own */
    uint64_t threads;
    int64_t started_at_ms; /* epoch milliseconds, real time */
    int64_t open_fds;      /* -1: not ours to see (another user's, before Linux 6.2) */
};

/* Any thread. ERR_NOTFOUND: no such process. ERR_IO, ERR_CORRUPT: /proc is not what it should be. */
int procinfo_read(pid_t pid, struct procinfo *ret) BIDE_MUST_USE;

#endif
