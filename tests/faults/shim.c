#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static struct fault_region *region;

static const char *const names[FAULT_CALLS] = {
    "write", "pwrite",    "writev",         "pwritev", "lseek",  "fdatasync", "fsync",  "syncfs",
    "msync", "ftruncate", "fallocate",      "mmap",    "open",   "mkdir",     "rename", "unlink",
    "fork",  "clone3",    "pthread_create", "accept4", "socket", "malloc",    "calloc", "realloc"};

const char *fault_call_name(enum fault_call c)
{
    return names[c];
}

/* --- the region --------------------------------------------------------------------------------------------------- */

static void *map(int fd, size_t len)
{
    long p = syscall(SYS_mmap, NULL, len, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0L);
    return p == -1 ? NULL : (void *)p;
}

struct fault_region *fault_region_new(const char *path, const char *dir, uint64_t trace_cap)
{
    size_t len = sizeof(struct fault_region) + trace_cap;
    int fd = -1;
    if (strlen(dir) >= sizeof((struct fault_region *)0)->dir)
        return NULL;
    if (path != NULL) {
        fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || syscall(SYS_ftruncate, fd, len) < 0)
            return NULL;
    }
    struct fault_region *r = map(fd, len);
    if (fd >= 0)
        (void)syscall(SYS_close, fd);
    if (r == NULL)
        return NULL;
    r->magic = FAULT_MAGIC;
    r->trace_cap = trace_cap;
    strcpy(r->dir, dir);
    return r;
}

void fault_region_free(struct fault_region *r)
{
    if (r != NULL)
        (void)munmap(r, sizeof *r + r->trace_cap);
}

static void note_root(void);

void fault_use(struct fault_region *r)
{
    region = r;
    note_root();
}

void fault_arm(struct fault_region *r, uint64_t calls, uint64_t from, uint64_t count, enum fault_how how, int error)
{
    atomic_store(&r->armed, 0);
    r->calls = calls;
    r->pid = (uint64_t)getpid();
    r->from = from;
    r->count = count;
    r->chance = 0;
    r->how = how;
    r->error = (uint64_t)error;
    atomic_store(&r->seen, 0);
    atomic_store(&r->fired, 0);
    r->what[0] = '\0';
    atomic_store(&r->armed, 1);
}

void fault_disarm(struct fault_region *r)
{
    atomic_store(&r->armed, 0);
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("BIDE_FAULTS");
    struct stat st;
    if (region != NULL || path == NULL)
        return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && (size_t)st.st_size >= sizeof *region) {
        struct fault_region *r = map(fd, (size_t)st.st_size);
        if (r != NULL && r->magic == FAULT_MAGIC)
            fault_use(r);
    }
    (void)syscall(SYS_close, fd);
}

/* --- the C library's own -------------------------------------------------------------------------------------------
 */

/* dlsym may want memory before malloc is found. */
static _Thread_local bool finding;

static void *find(const char *name)
{
    finding = true;
    void *p = dlsym(RTLD_NEXT, name);
    finding = false;
    return p;
}

#define REAL(name_)                                                                                                    \
    ({                                                                                                                 \
        static typeof(&name_) real_;                                                                                   \
        if (real_ == NULL)                                                                                             \
            real_ = (typeof(&name_))find(#name_);                                                                      \
        real_;                                                                                                         \
    })

/* --- which files ---------------------------------------------------------------------------------------------------
 */

static bool is_below(const char *path)
{
    size_t n = strlen(region->dir);
    return strncmp(path, region->dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static bool link_text(const char *link, char *out, size_t cap)
{
    long n = syscall(SYS_readlink, link, out, cap - 1);
    if (n < 0)
        return false;
    out[n] = '\0';
    return true;
}

static bool fd_path(int fd, char *out, size_t cap)
{
    char link[40];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return fd >= 0 && link_text(link, out, cap);
}

/* The path by which a file is meant, made absolute; dots in it stay. */
static bool at_path(int dir, const char *path, char *out, size_t cap)
{
    if (path == NULL)
        return false;
    out[0] = '\0';
    if (path[0] != '/' && !(dir == AT_FDCWD ? link_text("/proc/self/cwd", out, cap) : fd_path(dir, out, cap)))
        return false;
    size_t n = strlen(out);
    return (size_t)snprintf(out + n, cap - n, "%s%s", n > 0 ? "/" : "", path) < cap - n;
}

/* --- what is to happen ---------------------------------------------------------------------------------------------
 */

static uint64_t draw(uint64_t n)
{
    uint64_t z = region->seed + n * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) & UINT32_MAX;
}

/* Counts the call. True: it is one that is to fail. */
static bool hit(enum fault_call c, const char *path)
{
    struct fault_region *r = region;
    atomic_fetch_add(&r->counts[c], 1);
    if (atomic_load(&r->armed) == 0 || (r->calls & FAULT_BIT(c)) == 0)
        return false;
    if (r->pid != 0 && r->pid != (uint64_t)syscall(SYS_getpid))
        return false;
    uint64_t n = atomic_fetch_add(&r->seen, 1) + 1;
    bool fail = r->chance != 0 ? draw(n) < r->chance : n >= r->from && n - r->from < r->count;
    if (!fail)
        return false;
    if (atomic_fetch_add(&r->fired, 1) == 0)
        (void)snprintf(r->what, sizeof r->what, "%s %.200s", names[c], path);
    if (r->how == FAULT_KILL)
        (void)syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    return true;
}

/* A call on a file is made in these steps; struct turn carries them. The lock makes the order of the trace that of the
 * calls. */
struct turn {
    enum fault_call call;
    bool ours;
    bool failing;
    bool recording;
};

static void lock(void)
{
    for (unsigned spins = 0; atomic_exchange(&region->lock, 1) != 0; spins++) {
        if (spins > 10000000) /* its holder was killed */
            return;
        (void)sched_yield();
    }
}

static void take_turn(struct turn *t, enum fault_call c, const char *path)
{
    *t = (struct turn){.call = c, .ours = true, .recording = region->record != 0};
    t->failing = hit(c, path);
    if (t->recording)
        lock();
}

static bool is_dsync(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_DSYNC) != 0;
}

static struct turn turn_fd(enum fault_call c, int fd)
{
    struct turn t = {.ours = false};
    char path[4300];
    int sys = errno;
    if (region != NULL && fd_path(fd, path, 4200) && is_below(path)) {
        if ((FAULT_ANY_WRITE & FAULT_BIT(c)) != 0 && is_dsync(fd))
            strcat(path, " O_DSYNC");
        take_turn(&t, c, path);
    }
    errno = sys;
    return t;
}

static struct turn turn_at(enum fault_call c, int dir, const char *name)
{
    struct turn t = {.ours = false};
    char path[4200];
    int sys = errno;
    if (region != NULL && at_path(dir, name, path, sizeof path) && is_below(path))
        take_turn(&t, c, path);
    errno = sys;
    return t;
}

/* Nothing is done at all: *ret is the answer. */
static bool refused(const struct turn *t, int64_t answer, int64_t *ret)
{
    if (!t->failing)
        return false;
    if (region->how == FAULT_DROP) {
        *ret = answer;
        return true;
    }
    if (region->how != FAULT_REFUSE)
        return false;
    *ret = -1;
    errno = (int)region->error;
    return true;
}

static int64_t end_turn(const struct turn *t, int64_t ret)
{
    if (!t->ours)
        return ret;
    int sys = errno;
    if (t->recording)
        atomic_store(&region->lock, 0);
    if (t->failing && region->how == FAULT_KILL_AFTER)
        (void)syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    if (t->failing && region->how == FAULT_LATE && ret >= 0) {
        sys = (int)region->error;
        ret = -1;
    }
    errno = sys;
    return ret;
}

/* --- the trace -----------------------------------------------------------------------------------------------------
 */

static struct trace_entry *append(enum trace_kind kind, uint64_t len)
{
    struct fault_region *r = region;
    uint64_t at = atomic_load(&r->trace_len), size = (sizeof(struct trace_entry) + len + 7) & ~UINT64_C(7);
    if (at + size > r->trace_cap) {
        static const char text[] = "faultshim: the trace is full\n";
        (void)syscall(SYS_write, 2, text, sizeof text - 1);
        abort();
    }
    struct trace_entry *e = (struct trace_entry *)(void *)(r->trace + at);
    *e = (struct trace_entry){.kind = (uint32_t)kind, .len = len};
    return e;
}

static void publish(const struct trace_entry *e)
{
    uint64_t size = (sizeof *e + e->len + 7) & ~UINT64_C(7);
    atomic_fetch_add(&region->trace_len, size);
}

static uint64_t ino_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* Of what the path names, links not followed; 0: nothing. */
static uint64_t ino_at(int dir, const char *path)
{
    struct stat st;
    int sys = errno;
    uint64_t ino = fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
    errno = sys;
    return ino;
}

static const char *leaf_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Of the folder that holds the path's last name. */
static uint64_t folder_of(int dir, const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    struct stat st;
    if (slash == NULL)
        return (dir == AT_FDCWD ? stat(".", &st) : fstat(dir, &st)) == 0 ? st.st_ino : 0;
    size_t n = slash == path ? 1 : (size_t)(slash - path);
    if (n >= sizeof folder)
        return 0;
    memcpy(folder, path, n);
    folder[n] = '\0';
    return fstatat(dir, folder, &st, 0) == 0 ? st.st_ino : 0;
}

static void note_root(void)
{
    struct stat st;
    if (region == NULL || region->record == 0 || region->trace_len > 0 || stat(region->dir, &st) < 0)
        return;
    struct trace_entry *e = append(TRACE_ROOT, 0);
    e->ino = st.st_ino;
    publish(e);
}

static void note_fd(const struct turn *t, enum trace_kind kind, int fd, uint64_t off)
{
    if (!t->ours || !t->recording)
        return;
    struct trace_entry *e = append(kind, 0);
    e->ino = ino_of(fd);
    e->off = off;
    publish(e);
}

static void note_write(const struct turn *t, int fd, int64_t off, const struct iovec *v, int n, int64_t done)
{
    if (!t->ours || done <= 0)
        return;
    int sys = errno;
    bool dsync = is_dsync(fd);
    if (dsync)
        atomic_fetch_add(&region->dsync_writes, 1);
    if (t->recording) {
        if (off < 0)
            off = lseek(fd, 0, SEEK_CUR) - done;
        struct trace_entry *e = append(TRACE_WRITE, (uint64_t)done);
        char *to = (char *)(e + 1);
        e->ino = ino_of(fd);
        e->off = (uint64_t)off;
        e->flag = dsync;
        for (int i = 0; i < n && done > 0; i++) {
            size_t len = v[i].iov_len < (size_t)done ? v[i].iov_len : (size_t)done;
            memcpy(to, v[i].iov_base, len);
            to += len;
            done -= (int64_t)len;
        }
        publish(e);
    }
    errno = sys;
}

static void note_name(const struct turn *t, enum trace_kind kind, int dir, const char *path, uint64_t ino)
{
    if (!t->ours || !t->recording)
        return;
    const char *leaf = leaf_of(path);
    struct trace_entry *e = append(kind, strlen(leaf) + 1);
    e->dir = folder_of(dir, path);
    e->ino = ino;
    strcpy((char *)(e + 1), leaf);
    publish(e);
}

static void note_rename(const struct turn *t, int dir, const char *path, int dir_to, const char *path_to, uint64_t ino)
{
    if (!t->ours || !t->recording)
        return;
    const char *leaf = leaf_of(path), *leaf_to = leaf_of(path_to);
    size_t n = strlen(leaf) + 1, n_to = strlen(leaf_to) + 1;
    struct trace_entry *e = append(TRACE_RENAME, n + n_to);
    e->dir = folder_of(dir, path);
    e->dir_to = folder_of(dir_to, path_to);
    e->ino = ino;
    memcpy(e + 1, leaf, n);
    memcpy((char *)(e + 1) + n, leaf_to, n_to);
    publish(e);
}

/* --- writes --------------------------------------------------------------------------------------------------------
 */

/* Half, but something: what a full disk makes of a write. */
static size_t shortened(const struct turn *t, size_t n)
{
    return t->failing && region->how == FAULT_SHORT && n > 1 ? n / 2 : n;
}

EXPORT ssize_t write(int fd, const void *p, size_t n)
{
    struct turn t = turn_fd(FAULT_WRITE, fd);
    int64_t k;
    if (!refused(&t, (int64_t)n, &k)) {
        k = REAL(write)(fd, p, shortened(&t, n));
        note_write(&t, fd, -1, &(struct iovec){(void *)(uintptr_t)p, n}, 1, k);
    }
    return end_turn(&t, k);
}

EXPORT ssize_t pwrite(int fd, const void *p, size_t n, off_t off)
{
    struct turn t = turn_fd(FAULT_PWRITE, fd);
    int64_t k;
    if (!refused(&t, (int64_t)n, &k)) {
        k = REAL(pwrite)(fd, p, shortened(&t, n), off);
        note_write(&t, fd, off, &(struct iovec){(void *)(uintptr_t)p, n}, 1, k);
    }
    return end_turn(&t, k);
}

EXPORT ssize_t pwrite64(int fd, const void *p, size_t n, off64_t off)
{
    return pwrite(fd, p, n, off);
}

static int64_t total(const struct iovec *v, int n)
{
    int64_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += (int64_t)v[i].iov_len;
    return sum;
}

/* off -1: at the descriptor's own place, as writev. */
static int64_t write_vector(enum fault_call c, int fd, const struct iovec *v, int n, off_t off)
{
    struct turn t = turn_fd(c, fd);
    int64_t k;
    if (!refused(&t, total(v, n), &k)) {
        struct iovec half = {.iov_base = v[0].iov_base, .iov_len = v[0].iov_len / 2};
        bool cut = t.failing && region->how == FAULT_SHORT && half.iov_len > 0;
        const struct iovec *w = cut ? &half : v;
        int m = cut ? 1 : n;
        k = off < 0 ? REAL(writev)(fd, w, m) : REAL(pwritev)(fd, w, m, off);
        note_write(&t, fd, off, v, n, k);
    }
    return end_turn(&t, k);
}

EXPORT ssize_t writev(int fd, const struct iovec *v, int n)
{
    return write_vector(FAULT_WRITEV, fd, v, n, -1);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *v, int n, off_t off)
{
    return write_vector(FAULT_PWRITEV, fd, v, n, off);
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t off)
{
    return pwritev(fd, v, n, off);
}

EXPORT off_t lseek(int fd, off_t off, int whence)
{
    struct turn t = {.ours = false};
    int64_t k;
    if (whence == SEEK_SET) /* the one before a write; others are questions, our own among them */
        t = turn_fd(FAULT_LSEEK, fd);
    if (!refused(&t, off, &k))
        k = REAL(lseek)(fd, off, whence);
    return end_turn(&t, k);
}

EXPORT off64_t lseek64(int fd, off64_t off, int whence)
{
    return lseek(fd, off, whence);
}

EXPORT int ftruncate(int fd, off_t len)
{
    struct turn t = turn_fd(FAULT_FTRUNCATE, fd);
    int64_t k;
    if (!refused(&t, 0, &k)) {
        k = REAL(ftruncate)(fd, len);
        if (k == 0)
            note_fd(&t, TRACE_SIZE, fd, (uint64_t)len);
    }
    return (int)end_turn(&t, k);
}

EXPORT int ftruncate64(int fd, off64_t len)
{
    return ftruncate(fd, len);
}

EXPORT int fallocate(int fd, int mode, off_t off, off_t len)
{
    struct turn t = turn_fd(FAULT_FALLOCATE, fd);
    int64_t k;
    if (!refused(&t, 0, &k)) {
        k = REAL(fallocate)(fd, mode, off, len);
        if (k == 0 && mode == 0)
            note_fd(&t, TRACE_RESERVE, fd, (uint64_t)(off + len));
    }
    return (int)end_turn(&t, k);
}

EXPORT int fallocate64(int fd, int mode, off64_t off, off64_t len)
{
    return fallocate(fd, mode, off, len);
}

EXPORT int posix_fallocate(int fd, off_t off, off_t len)
{
    struct turn t = turn_fd(FAULT_FALLOCATE, fd);
    int64_t k;
    if (!refused(&t, 0, &k)) {
        k = REAL(posix_fallocate)(fd, off, len);
        if (k == 0)
            note_fd(&t, TRACE_RESERVE, fd, (uint64_t)(off + len));
    } else if (k < 0) {
        k = errno;
    }
    return (int)end_turn(&t, k);
}

EXPORT int posix_fallocate64(int fd, off64_t off, off64_t len)
{
    return posix_fallocate(fd, off, len);
}

/* --- syncs ---------------------------------------------------------------------------------------------------------
 */

static void dawdle(const struct turn *t)
{
    if (!t->ours || region->slow_us == 0)
        return;
    struct timespec ts = {.tv_sec = (time_t)(region->slow_us / 1000000),
                          .tv_nsec = (long)(region->slow_us % 1000000 * 1000)};
    (void)nanosleep(&ts, NULL);
}

static int sync_fd(enum fault_call c, int fd, int (*real)(int))
{
    struct turn t = turn_fd(c, fd);
    int64_t k;
    dawdle(&t);
    if (!refused(&t, 0, &k)) {
        k = real(fd);
        if (k == 0)
            note_fd(&t, c == FAULT_SYNCFS ? TRACE_SYNC_ALL : TRACE_SYNC, fd, 0);
    }
    return (int)end_turn(&t, k);
}

EXPORT int fdatasync(int fd)
{
    return sync_fd(FAULT_FDATASYNC, fd, REAL(fdatasync));
}

EXPORT int fsync(int fd)
{
    return sync_fd(FAULT_FSYNC, fd, REAL(fsync));
}

EXPORT int syncfs(int fd)
{
    return sync_fd(FAULT_SYNCFS, fd, REAL(syncfs));
}

/* Of any map: what it maps is not asked for, since nobody here syncs one. */
EXPORT int msync(void *p, size_t n, int flags)
{
    if (region != NULL && hit(FAULT_MSYNC, "")) {
        errno = (int)region->error;
        return -1;
    }
    return REAL(msync)(p, n, flags);
}

EXPORT void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
    struct turn t = {.ours = false};
    int64_t k;
    if (fd >= 0)
        t = turn_fd(FAULT_MMAP, fd);
    if (!refused(&t, -1, &k))
        k = (int64_t)(intptr_t)REAL(mmap)(at, n, prot, flags, fd, off);
    return (void *)(intptr_t)end_turn(&t, k);
}

EXPORT void *mmap64(void *at, size_t n, int prot, int flags, int fd, off64_t off)
{
    return mmap(at, n, prot, flags, fd, off);
}

/* --- names ---------------------------------------------------------------------------------------------------------
 */

typedef int open_cb(int dir, const char *path, uint64_t flags, const void *arg);

/* arg: the mode, or openat2's struct. */
static int open_at(int dir, const char *path, uint64_t flags, const void *arg, open_cb *real)
{
    struct turn t = turn_at(FAULT_OPEN, dir, path);
    int64_t k;
    if (!refused(&t, -1, &k)) {
        uint64_t was = t.recording && (flags & O_CREAT) != 0 ? ino_at(dir, path) : 0;
        k = real(dir, path, flags, arg);
        if (k >= 0 && (flags & O_CREAT) != 0 && was == 0)
            note_name(&t, TRACE_CREATE, dir, path, t.recording ? ino_of((int)k) : 0);
        else if (k >= 0 && (flags & O_TRUNC) != 0)
            note_fd(&t, TRACE_SIZE, (int)k, 0);
    }
    if (k >= 0 && t.failing && region->how == FAULT_LATE)
        (void)close((int)k);
    return (int)end_turn(&t, k);
}

static int really_openat(int dir, const char *path, uint64_t flags, const void *arg)
{
    return REAL(openat)(dir, path, (int)flags, *(const mode_t *)arg);
}

static int really_openat2(int dir, const char *path, uint64_t flags, const void *arg)
{
    (void)flags;
    return (int)REAL(syscall)(SYS_openat2, dir, path, arg, sizeof(struct open_how));
}

static mode_t mode_of(int flags, va_list *ap)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(*ap, mode_t) : 0;
}

#define OPENAT(dir_)                                                                                                   \
    va_list ap;                                                                                                        \
    va_start(ap, flags);                                                                                               \
    mode_t mode = mode_of(flags, &ap);                                                                                 \
    va_end(ap);                                                                                                        \
    return open_at(dir_, path, (uint64_t)flags, &mode, really_openat)

EXPORT int open(const char *path, int flags, ...)
{
    OPENAT(AT_FDCWD);
}

EXPORT int open64(const char *path, int flags, ...)
{
    OPENAT(AT_FDCWD);
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
    OPENAT(dir);
}

EXPORT int openat64(int dir, const char *path, int flags, ...)
{
    OPENAT(dir);
}

EXPORT int mkdirat(int dir, const char *path, mode_t mode)
{
    struct turn t = turn_at(FAULT_MKDIR, dir, path);
    int64_t k;
    if (!refused(&t, 0, &k)) {
        k = REAL(mkdirat)(dir, path, mode);
        if (k == 0)
            note_name(&t, TRACE_MKDIR, dir, path, t.recording ? ino_at(dir, path) : 0);
    }
    return (int)end_turn(&t, k);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

EXPORT int renameat2(int dir, const char *path, int dir_to, const char *path_to, unsigned flags)
{
    struct turn t = turn_at(FAULT_RENAME, dir, path);
    int64_t k;
    if (!refused(&t, 0, &k)) {
        uint64_t ino = t.recording ? ino_at(dir, path) : 0;
        k = REAL(renameat2)(dir, path, dir_to, path_to, flags);
        if (k == 0)
            note_rename(&t, dir, path, dir_to, path_to, ino);
    }
    return (int)end_turn(&t, k);
}

EXPORT int renameat(int dir, const char *path, int dir_to, const char *path_to)
{
    return renameat2(dir, path, dir_to, path_to, 0);
}

EXPORT int rename(const char *path, const char *path_to)
{
    return renameat2(AT_FDCWD, path, AT_FDCWD, path_to, 0);
}

EXPORT int unlinkat(int dir, const char *path, int flags)
{
    struct turn t = turn_at(FAULT_UNLINK, dir, path);
    int64_t k;
    if (!refused(&t, 0, &k)) {
        k = REAL(unlinkat)(dir, path, flags);
        if (k == 0)
            note_name(&t, TRACE_UNLINK, dir, path, 0);
    }
    return (int)end_turn(&t, k);
}

EXPORT int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

EXPORT int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

/* --- processes, threads, connections -------------------------------------------------------------------------------
 */

static bool refuses(enum fault_call c)
{
    if (region == NULL || !hit(c, ""))
        return false;
    errno = (int)region->error;
    return true;
}

EXPORT pid_t fork(void)
{
    return refuses(FAULT_FORK) ? -1 : REAL(fork)();
}

EXPORT int pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    return refuses(FAULT_THREAD) ? errno : REAL(pthread_create)(ret, attr, run, arg);
}

EXPORT int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    return refuses(FAULT_ACCEPT) ? -1 : REAL(accept4)(fd, addr, len, flags);
}

EXPORT int socket(int domain, int type, int protocol)
{
    return refuses(FAULT_SOCKET) ? -1 : REAL(socket)(domain, type, protocol);
}

EXPORT long syscall(long number, ...)
{
    long a[6];
    va_list ap;
    va_start(ap, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (number == SYS_openat2)
        return open_at((int)a[0], (const char *)a[1], ((const struct open_how *)a[2])->flags, (const void *)a[2],
                       really_openat2);
    if (number == SYS_clone3 && refuses(FAULT_CLONE))
        return -1;
    return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#ifdef FAULT_NO_MEMORY
bool fault_sees_memory(void)
{
    return false;
}
#else
bool fault_sees_memory(void)
{
    return true;
}

/* --- memory --------------------------------------------------------------------------------------------------------
 */

/* Little, and never given back. */
static _Alignas(16) char early[4096];
static size_t early_used;

static void *early_alloc(size_t n)
{
    size_t at = early_used;
    early_used += (n + 15) & ~(size_t)15;
    return early_used <= sizeof early ? early + at : NULL;
}

/* caller: an address in the library that asks for memory; not every library bears a refusal. */
static bool refuses_memory(enum fault_call c, const void *caller)
{
    Dl_info info;
    if (!refuses(c))
        return false;
    size_t n = strlen(region->what);
    if (atomic_load(&region->fired) == 1 && dladdr(caller, &info) != 0 && info.dli_fname != NULL)
        (void)snprintf(region->what + n, sizeof region->what - n, "for %.200s", info.dli_fname);
    errno = ENOMEM;
    return true;
}

EXPORT void *malloc(size_t n)
{
    if (finding)
        return early_alloc(n);
    return refuses_memory(FAULT_MALLOC, __builtin_return_address(0)) ? NULL : REAL(malloc)(n);
}

EXPORT void *calloc(size_t n, size_t size)
{
    if (finding)
        return early_alloc(n * size);
    return refuses_memory(FAULT_CALLOC, __builtin_return_address(0)) ? NULL : REAL(calloc)(n, size);
}

EXPORT void *realloc(void *p, size_t n)
{
    if (finding)
        return early_alloc(n);
    return refuses_memory(FAULT_REALLOC, __builtin_return_address(0)) ? NULL : REAL(realloc)(p, n);
}
#endif
