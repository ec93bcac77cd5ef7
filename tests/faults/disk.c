#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

enum { NAMES_MAX = 512, SECTOR = 512, CONTENT_MAX = 16 << 20 };

#define NEVER SIZE_MAX

struct object;

struct name {
    char text[128];
    struct object *what;
};

struct op {
    const struct trace_entry *e;
    size_t index;         /* in the trace */
    size_t durable_at;    /* index of the operation by whose return it is; NEVER */
    struct object *of;    /* which it changes; NULL: none that matters */
    struct object *what;  /* that is named: CREATE, MKDIR, RENAME */
    struct op *next;      /* of the same object */
    size_t pending_place; /* at this moment, when it is pending */
    bool is_pending;
};

/* A file or a folder. state holds what the first operations, all of them durable, have made of it. */
struct object {
    uint64_t ino;
    bool is_dir, matters;
    struct op *ops, **ops_end;
    struct op *rest; /* the first that is not in state yet */
    struct name *names;
    size_t n_names;
    unsigned char *bytes;
    size_t len, cap;
    struct object *older; /* with the same inode number, or in the list of all */
};

struct disk {
    const struct fault_region *r;
    struct op *ops;
    size_t n_ops;
    struct object *objects;
    struct object *root;
    size_t *moments; /* indexes of operations */
    size_t n_moments;
    size_t now; /* index of the operation that is on its way */
    struct op **pending;
    size_t n_pending;
    struct object scratch; /* state with the choice */
    uint64_t digest;
};

static const char *first_name(const struct trace_entry *e)
{
    return (const char *)(e + 1);
}

static const char *second_name(const struct trace_entry *e)
{
    return first_name(e) + strlen(first_name(e)) + 1;
}

/* --- reading the trace -----------------------------------------------------------------------------------------------
 */

static struct object *object_new(struct disk *d, uint64_t ino, bool is_dir)
{
    struct object *o = calloc(1, sizeof *o);
    BIDE_ASSERT(o != NULL, "no memory");
    o->ino = ino;
    o->is_dir = is_dir;
    o->matters = true;
    o->ops_end = &o->ops;
    o->older = d->objects;
    d->objects = o;
    return o;
}

/* The latest with that number. One that was there before the trace began is made up. */
static struct object *object_of(struct disk *d, uint64_t ino, bool is_dir)
{
    for (struct object *o = d->objects; o != NULL; o = o->older)
        if (o->ino == ino)
            return o;
    return object_new(d, ino, is_dir);
}

static void belongs_to(struct object *o, struct op *op)
{
    if (!o->matters)
        return;
    op->of = o;
    *o->ops_end = op;
    o->ops_end = &op->next;
}

static void sync_object(struct object *o, size_t at)
{
    for (struct op *op = o->ops; op != NULL; op = op->next)
        if (op->durable_at == NEVER && op->index < at)
            op->durable_at = at;
}

/* Data that no promise is about: a lock's, and what functions have said. */
static bool is_of_no_matter(const char *name)
{
    return strcmp(name, "lock.mdb") == 0 || strcmp(name, "lock") == 0 || strcmp(name, "workers.lock") == 0;
}

static void read_op(struct disk *d, struct op *op)
{
    const struct trace_entry *e = op->e;
    switch ((enum trace_kind)e->kind) {
    case TRACE_ROOT:
        if (d->root == NULL)
            d->root = object_new(d, e->ino, true);
        break;
    case TRACE_WRITE:
    case TRACE_SIZE:
    case TRACE_RESERVE:
        belongs_to(object_of(d, e->ino, false), op);
        if (e->kind == TRACE_WRITE && e->flag != 0)
            op->durable_at = op->index;
        break;
    case TRACE_CREATE:
    case TRACE_MKDIR:
        op->what = object_new(d, e->ino, e->kind == TRACE_MKDIR);
        op->what->matters = !is_of_no_matter(first_name(e));
        if (op->what->matters)
            belongs_to(object_of(d, e->dir, true), op);
        break;
    case TRACE_RENAME:
        BIDE_ASSERT(e->dir == e->dir_to, "a rename from folder to folder");
        op->what = object_of(d, e->ino, false);
        belongs_to(object_of(d, e->dir, true), op);
        break;
    case TRACE_UNLINK:
        belongs_to(object_of(d, e->dir, true), op);
        break;
    case TRACE_SYNC:
        sync_object(object_of(d, e->ino, false), op->index);
        break;
    case TRACE_SYNC_ALL:
        for (struct object *o = d->objects; o != NULL; o = o->older)
            sync_object(o, op->index);
        break;
    }
}

static bool is_moment(const struct op *op)
{
    return op->e->kind == TRACE_SYNC || op->e->kind == TRACE_SYNC_ALL ||
           (op->e->kind == TRACE_WRITE && op->e->flag != 0);
}

static const struct trace_entry *entry_at(const struct fault_region *r, uint64_t *at)
{
    const struct trace_entry *e = (const struct trace_entry *)(const void *)(r->trace + *at);
    *at += (sizeof *e + e->len + 7) & ~UINT64_C(7);
    return e;
}

static void set_len(struct object *o, size_t len);
static void link_name(struct object *o, const char *name, struct object *what);

static void import_file(struct object *o, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size == 0)
        return;
    set_len(o, (size_t)st.st_size);
    ssize_t k = pread(fd, o->bytes, o->len, 0);
    BIDE_ASSERT(k == st.st_size, "a file that cannot be read");
}

/* What lies there, lock files left out. fd is closed. */
static struct object *import(struct disk *d, int fd)
{
    struct stat st;
    BIDE_ASSERT(fd >= 0 && fstat(fd, &st) == 0, "what lies in the folder cannot be looked at");
    struct object *o = object_new(d, st.st_ino, S_ISDIR(st.st_mode));
    if (!o->is_dir) {
        import_file(o, fd);
        (void)close(fd);
        return o;
    }
    DIR *folder = fdopendir(fd);
    BIDE_ASSERT(folder != NULL, "no memory");
    const struct dirent *de;
    while ((de = readdir(folder)) != NULL)
        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 && !is_of_no_matter(de->d_name))
            link_name(o, de->d_name, import(d, openat(fd, de->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)));
    (void)closedir(folder);
    return o;
}

struct disk *disk_new(const char *path)
{
    struct disk *d = calloc(1, sizeof *d);
    BIDE_ASSERT(d != NULL, "no memory");
    if (path != NULL)
        d->root = import(d, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return d;
}

bool disk_read(struct disk *d, const struct fault_region *r)
{
    uint64_t end = atomic_load(&((struct fault_region *)(uintptr_t)r)->trace_len);
    d->r = r;
    for (uint64_t at = 0; at < end; d->n_ops++)
        (void)entry_at(r, &at);
    d->ops = calloc(d->n_ops + 1, sizeof *d->ops);
    d->moments = calloc(d->n_ops + 1, sizeof *d->moments);
    d->pending = calloc(d->n_ops + 1, sizeof *d->pending);
    BIDE_ASSERT(d->ops != NULL && d->moments != NULL && d->pending != NULL, "no memory");
    uint64_t at = 0;
    for (size_t i = 0; i < d->n_ops; i++) {
        d->ops[i] = (struct op){.e = entry_at(r, &at), .index = i, .durable_at = NEVER};
        read_op(d, &d->ops[i]);
        if (is_moment(&d->ops[i]))
            d->moments[d->n_moments++] = i;
    }
    d->moments[d->n_moments++] = d->n_ops;
    for (struct object *o = d->objects; o != NULL; o = o->older)
        o->rest = o->ops;
    if (d->root == NULL) {
        (void)fprintf(stderr, "disk: the trace does not say where it begins\n");
        return false;
    }
    return true;
}

void disk_free(struct disk *d)
{
    if (d == NULL)
        return;
    for (struct object *o = d->objects, *older; o != NULL; o = older) {
        older = o->older;
        free(o->names);
        free(o->bytes);
        free(o);
    }
    free(d->scratch.names);
    free(d->scratch.bytes);
    free(d->ops);
    free(d->moments);
    free(d->pending);
    free(d);
}

/* --- what an operation does ------------------------------------------------------------------------------------------
 */

static void make_room(struct object *o, size_t len)
{
    BIDE_ASSERT(len <= CONTENT_MAX, "a file of %zu bytes", len);
    if (len > o->cap) {
        o->cap = 2 * len;
        o->bytes = realloc(o->bytes, o->cap);
        BIDE_ASSERT(o->bytes != NULL, "no memory");
    }
}

static void set_len(struct object *o, size_t len)
{
    make_room(o, len);
    if (len > o->len)
        memset(o->bytes + o->len, 0, len - o->len);
    o->len = len;
}

static bool keeps_piece(uint64_t torn, const struct op *op, size_t piece)
{
    uint64_t z = torn + (op->index * 131 + piece) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return (z ^ z >> 31) & 1;
}

static void apply_write(struct object *o, const struct op *op, uint64_t torn)
{
    const unsigned char *from = (const unsigned char *)(op->e + 1);
    size_t off = op->e->off, end = off + op->e->len;
    if (o->len < end)
        set_len(o, end);
    for (size_t at = off; at < end;) { /* pieces begin where sectors do */
        size_t stop = (at / SECTOR + 1) * SECTOR;
        if (stop > end)
            stop = end;
        if (torn == 0 || keeps_piece(torn, op, at / SECTOR))
            memcpy(o->bytes + at, from + (at - off), stop - at);
        at = stop;
    }
}

static size_t find_name(const struct object *o, const char *name)
{
    size_t i = 0;
    while (i < o->n_names && strcmp(o->names[i].text, name) != 0)
        i++;
    return i;
}

static void link_name(struct object *o, const char *name, struct object *what)
{
    size_t i = find_name(o, name);
    if (o->names == NULL)
        o->names = calloc(NAMES_MAX, sizeof *o->names);
    BIDE_ASSERT(o->names != NULL && i < NAMES_MAX, "a folder of %zu names", i);
    (void)snprintf(o->names[i].text, sizeof o->names[i].text, "%s", name);
    o->names[i].what = what;
    if (i == o->n_names)
        o->n_names++;
}

static void unlink_name(struct object *o, const char *name)
{
    size_t i = find_name(o, name);
    if (i < o->n_names)
        o->names[i] = o->names[--o->n_names];
}

static void apply(struct object *o, const struct op *op, uint64_t torn)
{
    const struct trace_entry *e = op->e;
    switch ((enum trace_kind)e->kind) {
    case TRACE_WRITE:
        apply_write(o, op, torn);
        break;
    case TRACE_SIZE:
        set_len(o, e->off);
        break;
    case TRACE_RESERVE:
        if (o->len < e->off)
            set_len(o, e->off);
        break;
    case TRACE_CREATE:
    case TRACE_MKDIR:
        link_name(o, first_name(e), op->what);
        break;
    case TRACE_RENAME:
        if (find_name(o, first_name(e)) < o->n_names && o->names[find_name(o, first_name(e))].what == op->what)
            unlink_name(o, first_name(e));
        link_name(o, second_name(e), op->what);
        break;
    case TRACE_UNLINK:
        unlink_name(o, first_name(e));
        break;
    case TRACE_SYNC:
    case TRACE_SYNC_ALL:
    case TRACE_ROOT:
        break;
    }
}

/* --- moments ---------------------------------------------------------------------------------------------------------
 */

size_t disk_moments(const struct disk *d)
{
    return d->n_moments;
}

void disk_go_to(struct disk *d, size_t moment)
{
    d->now = d->moments[moment];
    d->n_pending = 0;
    for (struct object *o = d->objects; o != NULL; o = o->older)
        for (; o->rest != NULL && o->rest->durable_at < d->now; o->rest = o->rest->next)
            apply(o, o->rest, 0);
    for (size_t i = 0; i < d->n_ops && i <= d->now; i++) {
        struct op *op = &d->ops[i];
        op->is_pending = op->of != NULL && op->durable_at >= d->now;
        if (op->is_pending) {
            op->pending_place = d->n_pending;
            d->pending[d->n_pending++] = op;
        }
    }
}

uint64_t disk_pos(const struct disk *d)
{
    if (d->now == d->n_ops)
        return UINT64_MAX;
    return (uint64_t)((const unsigned char *)d->ops[d->now].e - d->r->trace);
}

size_t disk_pending(const struct disk *d)
{
    return d->n_pending;
}

/* Some name of the object, for people. */
static const char *name_of(const struct disk *d, const struct op *op)
{
    const char *name = "?";
    for (size_t i = 0; i < d->n_ops && i <= op->index; i++) {
        const struct trace_entry *e = d->ops[i].e;
        if ((e->kind == TRACE_CREATE || e->kind == TRACE_MKDIR) && e->ino == op->e->ino)
            name = first_name(e);
        if (e->kind == TRACE_RENAME && e->ino == op->e->ino)
            name = second_name(e);
    }
    return name;
}

void disk_describe(const struct disk *d, size_t pending, char *out, size_t cap)
{
    const struct op *op = d->pending[pending];
    const struct trace_entry *e = op->e;
    switch ((enum trace_kind)e->kind) {
    case TRACE_WRITE:
        (void)snprintf(out, cap, "write of %llu at %llu to %s%s", (unsigned long long)e->len,
                       (unsigned long long)e->off, name_of(d, op), e->flag != 0 ? " (synchronous)" : "");
        break;
    case TRACE_SIZE:
    case TRACE_RESERVE:
        (void)snprintf(out, cap, "size %llu of %s", (unsigned long long)e->off, name_of(d, op));
        break;
    case TRACE_CREATE:
    case TRACE_MKDIR:
        (void)snprintf(out, cap, "making %s", first_name(e));
        break;
    case TRACE_RENAME:
        (void)snprintf(out, cap, "rename of %s to %s", first_name(e), second_name(e));
        break;
    case TRACE_UNLINK:
        (void)snprintf(out, cap, "removing %s", first_name(e));
        break;
    case TRACE_SYNC:
    case TRACE_SYNC_ALL:
    case TRACE_ROOT:
        (void)snprintf(out, cap, "a sync");
        break;
    }
}

/* --- images ----------------------------------------------------------------------------------------------------------
 */

/* d->scratch becomes o as the choice has it. An operation that is durable stays so also when one before it is missing.
 */
static void choose(struct disk *d, const struct object *o, const struct disk_choice *c)
{
    struct object *s = &d->scratch;
    s->is_dir = o->is_dir;
    s->n_names = 0;
    for (size_t i = 0; i < o->n_names; i++)
        link_name(s, o->names[i].text, o->names[i].what);
    make_room(s, o->len);
    if (o->len > 0)
        memcpy(s->bytes, o->bytes, o->len);
    s->len = o->len;
    for (const struct op *op = o->rest; op != NULL && op->index <= d->now; op = op->next) {
        if (!op->is_pending)
            apply(s, op, 0);
        else if (c->chosen[op->pending_place] != 0)
            apply(s, op, c->torn);
    }
}

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const unsigned char *at = p;
    for (; n >= 8; n -= 8, at += 8) {
        uint64_t v;
        memcpy(&v, at, 8);
        h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    for (; n > 0; n--, at++)
        h = (h ^ *at) * UINT64_C(0x100000001b3);
    return h;
}

static int write_file(const struct object *s, int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int rc = 0;
    for (size_t at = 0; at < s->len && rc == 0;) {
        ssize_t k = write(fd, s->bytes + at, s->len - at);
        if (k < 0)
            rc = errno;
        else
            at += (size_t)k;
    }
    (void)close(fd);
    return rc;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

/* dir_fd -1: only the digest is wanted. */
static int visit(struct disk *d, const struct object *o, const struct disk_choice *c, int dir_fd, const char *name)
{
    struct name *names = NULL;
    int fd = -1, rc = 0;
    choose(d, o, c);
    d->digest = mix(d->digest, name, strlen(name));
    if (!o->is_dir) {
        d->digest = mix(d->digest, &d->scratch.len, sizeof d->scratch.len);
        d->digest = mix(d->digest, d->scratch.bytes, d->scratch.len);
        return dir_fd < 0 ? 0 : write_file(&d->scratch, dir_fd, name);
    }
    size_t n = d->scratch.n_names;
    if (dir_fd >= 0 || dir_fd == AT_FDCWD) {
        if (mkdirat(dir_fd, name, 0700) < 0)
            return errno;
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return errno;
    }
    if (n > 0) {
        names = malloc(n * sizeof *names);
        BIDE_ASSERT(names != NULL, "no memory");
        memcpy(names, d->scratch.names, n * sizeof *names);
        qsort(names, n, sizeof *names, by_text); /* one order, so that one content has one digest */
    }
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = visit(d, names[i].what, c, fd, names[i].text);
    free(names);
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

uint64_t disk_digest(struct disk *d, const struct disk_choice *c)
{
    d->digest = 1;
    (void)visit(d, d->root, c, -1, "");
    return d->digest;
}

int disk_write(struct disk *d, const struct disk_choice *c, const char *path)
{
    d->digest = 1;
    return visit(d, d->root, c, AT_FDCWD, path);
}
