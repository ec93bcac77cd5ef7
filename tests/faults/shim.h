/* The fault shim: stands between a program and the C library at the calls by which bide meets the disk, the process
 * table, the network and the heap, and makes them fail, late, short, slow or deadly; or writes down what reached the
 * disk.
 *
 * Two forms of the same file. faultshim.so, for LD_PRELOAD into a release binary: the environment variable BIDE_FAULTS
 * names a file that holds a struct fault_region. Linked into a test program: fault_use().
 *
 * Everything is told and counted in the region, which is shared memory: whoever made it arms and disarms a running
 * process, and reads the counters of one that was killed. Numbers are fixed-width, so that other languages can do it
 * too (daemon.py).
 */
#ifndef TESTS_FAULTS_SHIM_H
#define TESTS_FAULTS_SHIM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Calls of one kind share a number: write and its 64-bit namesake, open and openat and openat2. Those up to
 * FAULT_LAST_DATA are seen only for files and folders below region->dir. The order is known to daemon.py. */
enum fault_call {
    FAULT_WRITE,
    FAULT_PWRITE,
    FAULT_WRITEV,
    FAULT_PWRITEV,
    FAULT_LSEEK,
    FAULT_FDATASYNC,
    FAULT_FSYNC,
    FAULT_SYNCFS,
    FAULT_MSYNC,
    FAULT_FTRUNCATE,
    FAULT_FALLOCATE,
    FAULT_MMAP,
    FAULT_OPEN,
    FAULT_MKDIR,
    FAULT_RENAME,
    FAULT_UNLINK,
    FAULT_LAST_DATA = FAULT_UNLINK,
    FAULT_FORK,
    FAULT_CLONE, /* clone3 */
    FAULT_THREAD,
    FAULT_ACCEPT,
    FAULT_SOCKET,
    FAULT_MALLOC,
    FAULT_CALLOC,
    FAULT_REALLOC,
    FAULT_CALLS
};

#define FAULT_BIT(call_) (UINT64_C(1) << (call_))
#define FAULT_ANY_DATA   (FAULT_BIT(FAULT_LAST_DATA + 1) - 1)
#define FAULT_ANY_SYNC   (FAULT_BIT(FAULT_FDATASYNC) | FAULT_BIT(FAULT_FSYNC) | FAULT_BIT(FAULT_SYNCFS))
#define FAULT_ANY_WRITE                                                                                                \
    (FAULT_BIT(FAULT_WRITE) | FAULT_BIT(FAULT_PWRITE) | FAULT_BIT(FAULT_WRITEV) | FAULT_BIT(FAULT_PWRITEV))
#define FAULT_ANY_MEMORY (FAULT_BIT(FAULT_MALLOC) | FAULT_BIT(FAULT_CALLOC) | FAULT_BIT(FAULT_REALLOC))

enum fault_how {
    FAULT_REFUSE, /* nothing is done, errno is set */
    FAULT_LATE,   /* it is done, and fails all the same: a sync whose answer is an error, a write whose sync failed */
    FAULT_SHORT,  /* half of a write is done and its length returned */
    FAULT_DROP,   /* nothing is done and success returned: a disk that lies */
    FAULT_KILL,   /* SIGKILL before it */
    FAULT_KILL_AFTER,
};

struct fault_region {
    uint64_t magic; /* FAULT_MAGIC */
    /* What is to happen: written while armed is 0. */
    _Atomic uint64_t armed;
    uint64_t calls;  /* FAULT_BIT of each that is meant */
    uint64_t pid;    /* only in this process; 0: in any */
    uint64_t from;   /* the n-th such call since it was armed, from 1 */
    uint64_t count;  /* so many in a row */
    uint64_t chance; /* not 0: instead of from and count, each with chance / 2^32, drawn from seed */
    uint64_t seed;
    uint64_t how;
    uint64_t error;   /* errno */
    uint64_t slow_us; /* every sync takes so long; whether armed or not */
    uint64_t record;  /* not 0: the trace is written; whether armed or not */
    /* What did. */
    _Atomic uint64_t seen;  /* calls that were meant, since armed */
    _Atomic uint64_t fired; /* of them, made to fail */
    _Atomic uint64_t counts[32];
    _Atomic uint64_t dsync_writes; /* of the writes, those to a descriptor with O_DSYNC */
    _Atomic uint64_t lock;
    _Atomic uint64_t trace_len;
    uint64_t trace_cap;
    char dir[256];  /* no slash at its end */
    char what[256]; /* the first that fired: "pwrite /tmp/x/queue/data.mdb" */
    unsigned char trace[];
};

#define FAULT_MAGIC UINT64_C(0x6269646566617531)

/* One entry of the trace, in the order in which things happened; len bytes follow, and padding to 8. Files and folders
 * are named by inode number, a number that is made anew starts a new file. */
enum trace_kind {
    TRACE_WRITE,    /* ino, off, bytes; flag: O_DSYNC, durable when it returned */
    TRACE_SYNC,     /* ino: a file or a folder */
    TRACE_SYNC_ALL, /* the file system */
    TRACE_SIZE,     /* ino, off: cut or lengthened to */
    TRACE_RESERVE,  /* ino, off: lengthened to, if it was shorter */
    TRACE_CREATE,   /* dir, ino, name */
    TRACE_MKDIR,    /* likewise */
    TRACE_RENAME,   /* dir, dir_to, ino, name, NUL, new name */
    TRACE_UNLINK,   /* dir, name */
    TRACE_ROOT,     /* ino of region->dir; first */
};

struct trace_entry {
    uint32_t kind;
    uint32_t flag;
    uint64_t len;
    uint64_t ino;
    uint64_t dir;
    uint64_t dir_to;
    uint64_t off;
};

/* Maps a new region: shared with the children of this process, and with whoever opens path when that is not NULL. NULL
 * when it cannot be had. Linked form and tests only. */
struct fault_region *fault_region_new(const char *path, const char *dir, uint64_t trace_cap);
void fault_region_free(struct fault_region *r);

/* From now on this process and its children go by r; NULL: by none. The linked form. */
void fault_use(struct fault_region *r);

/* Start anew with counting calls in the calling process: the from-th of calls, and count of them, how. */
void fault_arm(struct fault_region *r, uint64_t calls, uint64_t from, uint64_t count, enum fault_how how, int error);
void fault_disarm(struct fault_region *r);

/* Does the shim stand before malloc? Not in a program with a sanitizer. */
bool fault_sees_memory(void);

const char *fault_call_name(enum fault_call c); /* "fdatasync" */

#endif
