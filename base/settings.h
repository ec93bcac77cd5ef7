/* Settings: one table of keys (type, bounds, default, help) that the file, --set, the API and the documentation share.
 *
 * The file is read by libconfuse: `key = value` lines with our dotted keys and titled blocks
 *
 *   role "web" { network = host  allow = { "lambda:InvokeFunction" } }
 *
 * Unknown keys, bad values and repeated keys are refused with file and line. Any thread may read; nothing changes after
 * loading but the live settings, by settings_update.
 */
#ifndef BASE_SETTINGS_H
#define BASE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

enum setting_type {
    SETTING_STRING,
    SETTING_INT,
    SETTING_REAL,
    SETTING_DURATION,
    SETTING_SIZE,
    SETTING_ENUM,
    SETTING_BOOL
};

/* The fixed order is the order of the documentation. Each id is one row of the table in settings.c. */
enum setting {
    SET_LISTEN,
    SET_USER,
    SET_REGION,
    SET_ACCOUNT,
    SET_ASYNC_RETRY_FIRST_WAIT,
    SET_ASYNC_RETRY_MULTIPLIER,
    SET_ASYNC_RETRY_MAX_WAIT,
    SET_ASYNC_RETRY_JITTER, /* real 0..1: share of the wait that is random */
    SET_ASYNC_REQUEUE_FIRST_WAIT,
    SET_ASYNC_REQUEUE_MAX_WAIT,
    SET_ASYNC_MAX_DISRUPTIONS,
    SET_ASYNC_MAX_PAYLOAD,
    SET_ACCOUNT_CONCURRENCY,
    SET_ACCOUNT_UNRESERVED_MINIMUM,
    SET_WORKER_MEMORY, /* size; default 60 % of RAM */
    SET_WORKER_STARTS, /* default number of cores */
    SET_WORKER_IDLE,
    SET_QUEUE_MAX_BYTES,
    SET_QUEUE_RESERVE_BYTES,
    SET_HISTORY_RETENTION,
    SET_HISTORY_MAX_BYTES,
    SET_HISTORY_PAYLOAD,
    SET_DLQ_RETENTION,
    SET_DLQ_MAX_BYTES, /* default half of queue.max_bytes */
    SET_SHUTDOWN_GRACE,
    SET_LOG_LEVEL,
    SET_LOG_FORMAT,
    SET_LOGS,
    SET_LOGS_RATE,
    SET_LOGS_FUNCTION_MAX_BYTES,
    SET_LOGS_MAX_BYTES,
    SET_LOGS_RETENTION,
    SET_CLOCK,
    SET_SANDBOX,
    SETTING_COUNT
};

struct setting_info {
    const char *key;
    enum setting_type type;
    const char *default_text; /* as shown in the documentation; computed ones say so in words */
    const char *choices;      /* SETTING_ENUM: "real|virtual" */
    double min, max;          /* in the type's unit (ms, bytes, number) */
    const char *help;         /* one line */
};

enum { SETTINGS_ROLES_MAX = 64, ROLE_NAME_MAX = 64, ROLE_ALLOW_MAX = 32 };

struct setting_role {
    char name[ROLE_NAME_MAX + 1];
    char network[16]; /* none, outbound, host */
    char allow[ROLE_ALLOW_MAX][64];
    size_t n_allow;
};

struct settings;

const struct setting_info *setting_info(enum setting s);

/* It can be changed while the daemon runs. The others are read at start. */
bool setting_live(enum setting s);

/* Defaults, then the file (path may be NULL), then each "KEY=VALUE" of sets in order. One thread at a time.
 * ERR_INVALID for what is wrong in them, ERR_NOTFOUND, ERR_IO or ERR_TOOBIG for the file, ERR_NOMEM. */
int settings_load(struct settings **ret, const char *path, const char *const *sets, size_t n_sets,
                  struct err *e) BIDE_MUST_USE;
/* The same from the text of a file; name is what errors call it. */
int settings_parse(struct settings **ret, const char *name, const char *text, size_t len, const char *const *sets,
                   size_t n_sets, struct err *e) BIDE_MUST_USE;
void settings_free(struct settings *s);

/* Take the live settings over from fresh while other threads read s; tell of each setting that differs, live or not.
 * The texts of live settings (settings_str) must be read by this thread only. ERR_NOMEM: nothing, or some, was taken.
 */
typedef void settings_diff_cb(enum setting k, const char *text, void *arg);
int settings_update(struct settings *s, const struct settings *fresh, settings_diff_cb *cb, void *arg) BIDE_MUST_USE;

int64_t settings_int(const struct settings *s, enum setting k);     /* INT, DURATION (ms), SIZE (bytes), BOOL (0/1) */
double settings_real(const struct settings *s, enum setting k);     /* REAL */
const char *settings_str(const struct settings *s, enum setting k); /* STRING, ENUM; lives as long as s */
size_t settings_roles(const struct settings *s, const struct setting_role **ret);

#endif
