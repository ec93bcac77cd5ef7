/* The insides of the logs module: a lock-protected queue between those who put and one writing thread. Private. */
#ifndef LOGS_PRIV_H
#define LOGS_PRIV_H

#include <bsd/sys/queue.h>
#include <pthread.h>
#include <sys/types.h>

#include "base/err.h"
#define uthash_fatal(what_) bide_no_memory("table") /* its own way out says nothing */
#include <uthash.h>

#include "base/buf.h"
#include "line.h"
#include "logs.h"
#include "name.h"

enum {
    LOGS_BURST = 8,                    /* seconds' worth of a function's rate that it may use at once */
    QUEUE_COST_MAX = 8 << 20,          /* bytes that wait to be written, as lines */
    QUEUE_FUNCTION_MAX = 2 << 20,      /* of one function's output */
    QUEUE_URGENT = 256 << 10,          /* from here on the writer is not given time to gather more */
    GATHER_MS = 50,                    /* that time */
    OPEN_FILES_MAX = 64,               /* files kept open for writing */
    SEGMENT_BYTES_MAX = 8 << 20,       /* a stream goes on in another file */
    SEGMENT_BYTES_MIN = 64 << 10,      /* however small logs.function_max_bytes is */
    SEGMENT_AGE_MS = 24 * 3600 * 1000, /* the same: retention removes whole files */
    SWEEP_MS = 60 * 1000,              /* between looks at age and size, while something is written */
    SWEEP_IDLE_MS = 3600 * 1000,       /* while nothing is */
    DISK_LOOK_MS = 250,                /* between looks at the free disk, or DISK_LOOK_BYTES written */
    DISK_LOOK_BYTES = 8 << 20,
    FILES_MAX = 16384, /* of a function */
};

/* What the module asks of the world; scripted in tests. */
struct logs_io {
    int64_t (*real_ms)(void *arg);
    int64_t (*mono_ms)(void *arg);
    uint64_t (*disk_free)(int fd, void *arg);
    ssize_t (*write)(int fd, const void *p, size_t n, void *arg);
    void *arg;
};

struct logs_fn {
    UT_hash_handle hh; /* by name; under logs.mu, as all but the last two */
    char name[65];
    size_t streams;
    int64_t tokens; /* bytes it may put now; below 0: it went over */
    int64_t tokens_at_ms;
    bool over;       /* until a second's worth has come back */
    uint64_t round;  /* of queued */
    uint64_t queued; /* in this round */
    int64_t used_at_ms;
    bool counted; /* the writer's: bytes is known */
    uint64_t bytes;
};

struct logs_stream {
    TAILQ_ENTRY(logs_stream) close_link; /* logs.closing */
    struct logs *l;
    struct logs_fn *fn;
    char base[NAME_BASE_MAX];
    uint64_t over_rate, no_room; /* dropped since the last record; under logs.mu */
    int64_t closed_ms;           /* the stamp of its last words */

    /* the writer's */
    bool dirty;
    TAILQ_ENTRY(logs_stream) dirty_link; /* logs.dirty */
    TAILQ_ENTRY(logs_stream) open_link;  /* logs.open: least recently written first */
    struct buf out;                      /* lines of this round */
    struct buf part;                     /* the beginning of a line */
    char part_owner[LINE_REQUEST_MAX];
    uint32_t segment;
    int fd; /* -1: not open */
    uint64_t size;
    int64_t began_at_ms; /* the segment */
};

TAILQ_HEAD(stream_list, logs_stream);

/* In the queue, before its bytes. */
struct record {
    struct logs_stream *s;
    int64_t stamp_ms;
    uint64_t over_rate, no_room; /* dropped before it */
    uint32_t len;
    bool platform;
    char request_id[LINE_REQUEST_MAX];
};

struct logs {
    struct logs_io io;
    int dir_fd;
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t work, done;

    /* under mu */
    struct logs_opts o;
    struct logs_fn *fns;
    struct buf fill;
    uint64_t cost;  /* of what is in fill */
    uint64_t round; /* counts the writer's rounds */
    struct stream_list closing;
    int64_t stamp_ms, floor_ms; /* the last stamp; the next is not below floor */
    int64_t done_ms;            /* everything stamped before is written */
    uint64_t done_round;
    bool urgent, stop, sweep_asked, sweeping;
    uint64_t sweeps;
    struct logs_stats stats;

    /* the writer's */
    struct logs_opts w; /* as they were when its round began */
    struct buf taken;
    struct stream_list dirty, open;
    size_t n_open;
    int64_t now_stamp_ms; /* what stamp is the text of */
    char stamp[LINE_STAMP_LEN + 8];
    int64_t disk_looked_ms;
    uint64_t since_look; /* bytes written since */
    bool disk_short, failing;
    bool wrote; /* since the last sweep */
    uint64_t total;
    int64_t swept_ms;
    uint64_t segment_bytes;
};

/* logs.c */
int logs_open_with(struct logs **ret, int dir_fd, const struct logs_opts *o, const struct logs_io *io,
                   struct err *e) BIDE_MUST_USE;
int logs_open_beneath(int dir_fd, const char *path, uint64_t flags, uint64_t mode);
void logs_sweep_now(struct logs *l); /* ask the writer for a sweep and wait for it */
/* Wait until what has been put is written, a second at most; the time up to which nothing more will be stamped. */
int64_t logs_settle(struct logs *l);

/* queue.c */
void logs_wake(struct logs *l);                          /* mu is held */
void logs_release_fn(struct logs *l, struct logs_fn *f); /* a stream less; mu is held */

/* write.c: the writer's */
void write_round(struct logs *l, struct stream_list *closing);
void write_forget(struct logs *l, const char *function, const char *base, uint32_t segment);

bool write_disk_has_room(struct logs *l);

/* sweep.c: the writer's */
void sweep_all(struct logs *l);
void sweep_function(struct logs *l, struct logs_fn *f); /* over its size */

/* One log file of a function. */
struct segment {
    char base[NAME_BASE_MAX];
    uint32_t n;
    int64_t mtime_ms;
    uint64_t size, disk; /* bytes; what they take on the disk */
};

struct segments {
    struct segment *v;
    size_t n, cap;
};

/* All of a function's files, in no order. ERR_NOTFOUND: no folder. v is the caller's to free, also on failure. */
int segments_list(int dir_fd, const char *function, struct segments *ret) BIDE_MUST_USE;

#endif
