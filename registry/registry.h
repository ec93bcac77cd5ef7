/* The registry: functions, their configuration, code and concurrency. Durable in the store; read from memory.
 *
 * A struct function is an immutable snapshot with a reference count: readers keep the one they got, whatever is changed
 * meanwhile. Changes are ops on the store; the new snapshot is visible only after its commit. Any thread.
 */
#ifndef REGISTRY_REGISTRY_H
#define REGISTRY_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/id.h"
#include "store/store.h"

struct registry;

enum {
    FUNCTION_NAME_MAX = 64,
    FUNCTION_HANDLER_MAX = 128,
    FUNCTION_DESCRIPTION_MAX = 256,
    FUNCTION_ROLE_MAX = 256,
    FUNCTION_ENV_BYTES_MAX = 4096,
    FUNCTION_TAGS_MAX = 50,
};

enum function_state { FUNCTION_PENDING, FUNCTION_ACTIVE, FUNCTION_FAILED };
enum update_status { UPDATE_NONE /* never updated */, UPDATE_SUCCESSFUL, UPDATE_IN_PROGRESS, UPDATE_FAILED };

struct pair {
    const char *key;
    const char *value;
};

/* Asynchronous settings of one qualifier; -1 = not set (Lambda's default applies). */
struct invoke_config {
    bool present;
    int32_t max_retries; /* 0..2 */
    int32_t max_age_s;   /* 60..21600 */
    int64_t modified_at_ms;
};

struct function {
    uint64_t fid;        /* incarnation: never reused */
    uint64_t generation; /* grows with every change of what a worker would see (code, configuration) */
    char name[FUNCTION_NAME_MAX + 1];
    char runtime[32];
    char role[FUNCTION_ROLE_MAX + 1];
    char handler[FUNCTION_HANDLER_MAX + 1];
    char description[FUNCTION_DESCRIPTION_MAX + 1];
    int32_t timeout_s;
    int32_t memory_mb;
    int32_t tmp_mb;
    const struct pair *env; /* n_env pairs, sorted by key */
    size_t n_env;
    bool has_env; /* Environment was given, perhaps empty */
    const struct pair *tags;
    size_t n_tags;
    char architecture[16];
    char code_sha256[SHA256_HEX_LEN + 1]; /* of the zip: names its folder below code/ */
    int64_t code_size;                    /* zip bytes */
    int64_t modified_at_ms;
    char revision_id[ID_TEXT_LEN + 1];
    enum function_state state;
    enum update_status update;
    char state_reason[256]; /* when failed */
    int32_t reserved;       /* reserved concurrency, -1 = none */
    bool paused;
    struct invoke_config async; /* of $LATEST */
};

struct registry_opts {
    struct clock *clock;
    int code_fd; /* the code/ folder; borrowed */
    int32_t account_concurrency;
    int32_t unreserved_minimum;
    void (*on_sweep_due)(void *arg); /* registry_sweep_due is true now. Any thread; locks may be held. May be NULL */
    void *arg;
};

/* Reads every function into memory, finishes what a crash interrupted (a function found pending, or with an update in
 * progress, is completed or failed), and sweeps unreferenced code. Before store_start. */
int registry_open(struct registry **ret, struct store *s, const struct registry_opts *o, struct err *e) BIDE_MUST_USE;
void registry_close(struct registry *r);
/* Every record could be read: a fid that is not known belongs to a function that was deleted. */
bool registry_whole(const struct registry *r);

/* A reference to the function of that name now; NULL if there is none. */
const struct function *registry_get(struct registry *r, const char *name);
const struct function *registry_get_fid(struct registry *r, uint64_t fid);
void function_unref(const struct function *f); /* NULL is fine */
const struct function *function_ref(const struct function *f);

/* Functions sorted by name, from the first whose name is > after ("" = all), up to max_n references in out. The number
 * given; the caller unrefs each. */
size_t registry_list(struct registry *r, const char *after, const struct function **out, size_t max_n);
size_t registry_count(struct registry *r);
/* Sum of reserved concurrency, and code bytes counted once per function. */
void registry_totals(struct registry *r, int64_t *ret_reserved, int64_t *ret_code_bytes);

/* Told after the commit, on the store thread, of every function that was created, changed or deleted. deleted: f is the
 * last snapshot. Before store_start. */
typedef void registry_change_cb(const struct function *f, bool deleted, void *arg);
void registry_on_change(struct registry *r, registry_change_cb *cb, void *arg);

/* --- code ----- */

struct code {
    char sha256[SHA256_HEX_LEN + 1];
    uint8_t digest[SHA256_LEN];
    int64_t zip_bytes;
};

/* Check a zip and unpack it below code/<sha256>/ (folders 0755, files with the zip's execute bits), durably: temporary
 * name, fsync, rename, fsync of the folder; the zip itself stays beside it as code/<sha256>.zip. The same bytes are
 * unpacked once. Blocks for as long as unpacking takes: call it on a thread of its own, never on a loop. The code is
 * kept from the sweep until registry_code_release, or for good once a function names it. Errors: ERR_INVALID (not a
 * zip, a name that leaves the folder, link, device, duplicate, encrypted: e says which entry), ERR_TOOBIG (unzipped
 * size, entries), ERR_IO, ERR_FULL. */
int registry_code_add(struct registry *r, const void *zip, size_t len, struct code *ret, struct err *e) BIDE_MUST_USE;
/* May remove files: not on a loop either. */
void registry_code_release(struct registry *r, const struct code *c);

/* A worker runs this code: its package stays until registry_code_unuse, whatever becomes of the function. Any thread,
 * nothing blocks. ERR_NOMEM. */
int registry_code_use(struct registry *r, const char *sha256) BIDE_MUST_USE;
void registry_code_unuse(struct registry *r, const char *sha256);

/* Complete what a want of room or memory has left pending. And remove the packages that no function names, no worker
 * uses and nobody holds, and that were found so by the call before as well: whoever read a function's snapshot just
 * before it changed has until then to say that it uses the code. Looks only when a package may have come to that.
 * Blocks on the disk: a thread of its own, one at a time. What cannot be removed is tried again by the next start. */
void registry_sweep(struct registry *r);
bool registry_sweep_due(const struct registry *r); /* the next call would look; any thread */

/* The zip of that SHA-256 (hex) as it was given, appended to b. Blocks on the disk. ERR_NOTFOUND, ERR_INVALID (not a
 * SHA-256), ERR_TOOBIG, ERR_NOMEM, ERR_IO. */
int registry_code_read(struct registry *r, const char *sha256, struct buf *b) BIDE_MUST_USE;

/* Keep every package where it is: nothing is removed from code/ until as many unholds. For a copy being made of the
 * store: what its functions name must still be there when their packages are fetched. Any thread. */
void registry_code_hold(struct registry *r);
void registry_code_unhold(struct registry *r);

/* Each package there is, whole, in no order: fd reads its zip and is closed afterwards. A result other than 0 ends the
 * walk and is returned. Blocks on the disk. ERR_IO. */
typedef int registry_package_cb(const char *sha256, int fd, int64_t zip_bytes, void *arg);
int registry_code_each(struct registry *r, registry_package_cb *cb, void *arg) BIDE_MUST_USE;

/* --- changes ----- */

/* f: the new snapshot, a reference valid during the callback; NULL on error or after a deletion. On the store thread.
 */
typedef void registry_cb(int err, const struct err *e, const struct function *f, void *arg);

/* What a create or an update gives. NULL or -1 = not given. Strings are borrowed for the call. */
struct function_spec {
    const char *runtime, *role, *handler, *description, *architecture;
    int32_t timeout_s, memory_mb, tmp_mb;
    const struct pair *env;
    size_t n_env;
    bool env_given;
    const struct pair *tags;
    size_t n_tags;
    const struct code *code;
    const char *revision_id; /* update: must equal the present one, else ERR_CONFLICT with "revision" in e->text */
};

/* Answers state Pending (create) or update InProgress (update); the same registry then makes it Active/Successful with
 * a second op of its own. ERR_EXISTS; ERR_NOTFOUND; ERR_CONFLICT (pending, update in progress, revision). */
int registry_create(struct registry *r, const char *name, const struct function_spec *spec, registry_cb *cb,
                    void *arg) BIDE_MUST_USE;
int registry_update(struct registry *r, const char *name, const struct function_spec *spec, registry_cb *cb,
                    void *arg) BIDE_MUST_USE;
int registry_delete(struct registry *r, const char *name, registry_cb *cb, void *arg) BIDE_MUST_USE;

/* reserved -1 removes. ERR_NOTFOUND; ERR_FULL: fewer than the minimum would stay unreserved. */
int registry_set_reserved(struct registry *r, const char *name, int32_t reserved, registry_cb *cb,
                          void *arg) BIDE_MUST_USE;

/* Replace (merge false) or merge the asynchronous settings; cfg NULL removes them (ERR_NOTFOUND: none there). A merge
 * needs one there: ERR_NOTFOUND with e->text "config". */
int registry_set_invoke_config(struct registry *r, const char *name, const struct invoke_config *cfg, bool merge,
                               registry_cb *cb, void *arg) BIDE_MUST_USE;

/* Sets or clears the durable pause of asynchronous starts. */
int registry_set_paused(struct registry *r, const char *name, bool paused, registry_cb *cb, void *arg) BIDE_MUST_USE;

/* Deleted functions whose events are not all dead letters yet: kept as tombstones until registry_forget, so that a
 * crash in the middle goes on afterwards. */
typedef void registry_tombstone_cb(uint64_t fid, const char *name, void *arg);
int registry_tombstones(struct registry *r, registry_tombstone_cb *cb, void *arg) BIDE_MUST_USE;
int registry_forget(struct registry *r, uint64_t fid) BIDE_MUST_USE; /* any thread; an op, nobody is told */

/* For tools that look at a stopped daemon's store: each function of it, the snapshot valid during the callback, on the
 * calling thread. ERR_VERSION, ERR_IO; a record that cannot be read is told with f NULL. */
typedef void registry_walk_cb(const char *name, const struct function *f, void *arg);
int registry_walk(struct store *s, registry_walk_cb *cb, void *arg, struct err *e) BIDE_MUST_USE;

#endif
