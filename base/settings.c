#include "settings.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "fdutil.h"
#include "num.h"

#define KIB 1024.0
#define MIB (1024.0 * KIB)
#define GIB (1024.0 * MIB)
#define TIB (1024.0 * GIB)
#define SEC 1000.0
#define DAY (86400.0 * SEC)

/* The one table. Order: enum setting. */
static const struct setting_info table[SETTING_COUNT] = {
    [SET_LISTEN] = {"listen", SETTING_STRING, "127.0.0.1:9310", NULL, 1, 100,
                    "address and port of the HTTP API, ADDR:PORT or [V6]:PORT; port 0 picks one"},
    [SET_USER] = {"user", SETTING_STRING, "bide", NULL, 1, 64,
                  "whom the engine runs as when started as root; without such an account uid 64310"},
    [SET_REGION] = {"region", SETTING_STRING, "us-east-1", NULL, 1, 32,
                    "AWS region in ARNs and signatures, of a-z, 0-9 and -"},
    [SET_ACCOUNT] = {"account", SETTING_STRING, "000000000000", NULL, 12, 12, "AWS account in ARNs, twelve digits"},
    [SET_ASYNC_RETRY_FIRST_WAIT] = {"async.retry_first_wait", SETTING_DURATION, "60s", NULL, 0, 7 * DAY,
                                    "wait before the first retry after a function error"},
    [SET_ASYNC_RETRY_MULTIPLIER] = {"async.retry_multiplier", SETTING_REAL, "2", NULL, 1, 100,
                                    "growth of that wait from retry to retry"},
    [SET_ASYNC_RETRY_MAX_WAIT] = {"async.retry_max_wait", SETTING_DURATION, "300s", NULL, 0, 7 * DAY,
                                  "longest wait between retries"},
    [SET_ASYNC_RETRY_JITTER] = {"async.retry_jitter", SETTING_REAL, "0", NULL, 0, 1,
                                "share of a wait that is random; it shortens the wait, never lengthens it"},
    [SET_ASYNC_REQUEUE_FIRST_WAIT] = {"async.requeue_first_wait", SETTING_DURATION, "1s", NULL, 1, DAY,
                                      "first backoff of a function whose workers cannot start; doubles"},
    [SET_ASYNC_REQUEUE_MAX_WAIT] = {"async.requeue_max_wait", SETTING_DURATION, "300s", NULL, 1, DAY,
                                    "longest such backoff"},
    [SET_ASYNC_MAX_DISRUPTIONS] = {"async.max_disruptions", SETTING_INT, "5", NULL, 1, 1000,
                                   "lone runs that may be broken off before an event is dead (Disrupted)"},
    [SET_ASYNC_MAX_PAYLOAD] = {"async.max_payload", SETTING_SIZE, "1MiB", NULL, 1, 6291456,
                               "largest asynchronous event"},
    [SET_ACCOUNT_CONCURRENCY] = {"account.concurrency", SETTING_INT, "1000", NULL, 1, 100000,
                                 "invocations at once, all functions"},
    [SET_ACCOUNT_UNRESERVED_MINIMUM] =
        {"account.unreserved_minimum", SETTING_INT, "100", NULL, 0, 100000,
         "concurrency that must stay unreserved; gives way to a smaller account.concurrency"},
    [SET_WORKER_MEMORY] = {"worker.memory", SETTING_SIZE, "60 % of RAM", NULL, 128 * MIB, 1024 * TIB,
                           "bound of the sum of MemorySize over live workers"},
    [SET_WORKER_STARTS] = {"worker.starts", SETTING_INT, "number of cores", NULL, 1, 1024,
                           "worker starts in progress at once"},
    [SET_WORKER_IDLE] = {"worker.idle", SETTING_DURATION, "5m", NULL, 0, 30 * DAY,
                         "an idle worker is stopped after this"},
    [SET_QUEUE_MAX_BYTES] = {"queue.max_bytes", SETTING_SIZE, "64GiB", NULL, MIB, 64 * TIB,
                             "size the store may grow to: address space, not disk"},
    [SET_QUEUE_RESERVE_BYTES] =
        {"queue.reserve_bytes", SETTING_SIZE, "64MiB", NULL, 0, TIB,
         "space kept free, in the store and on the disk, so that accepted events can be finished"},
    [SET_HISTORY_RETENTION] = {"history.retention", SETTING_DURATION, "7d", NULL, 0, 3650 * DAY,
                               "how long finished events are kept"},
    [SET_HISTORY_MAX_BYTES] = {"history.max_bytes", SETTING_SIZE, "4GiB", NULL, 0, 64 * TIB, "size of that history"},
    [SET_HISTORY_PAYLOAD] = {"history.payload", SETTING_BOOL, "off", NULL, 0, 1, "keep payloads of finished events"},
    [SET_DLQ_RETENTION] = {"dlq.retention", SETTING_DURATION, "14d", NULL, 0, 3650 * DAY,
                           "how long dead letters are kept"},
    [SET_DLQ_MAX_BYTES] = {"dlq.max_bytes", SETTING_SIZE, "half of queue.max_bytes", NULL, 0, 64 * TIB,
                           "size of the dead-letter store; an event that finds no room there stays waiting"},
    [SET_SHUTDOWN_GRACE] = {"shutdown.grace", SETTING_DURATION, "30s", NULL, 0, DAY,
                            "how long running attempts may go on at SIGTERM"},
    [SET_LOG_LEVEL] = {"log.level", SETTING_ENUM, "info", "error|warn|info|debug", 0, 0,
                       "the daemon's own log, on stderr"},
    [SET_LOG_FORMAT] = {"log.format", SETTING_ENUM, "text", "text|json", 0, 0, "form of its lines"},
    [SET_LOGS] = {"logs", SETTING_BOOL, "on", NULL, 0, 1, "keep what functions write, for `bide logs`"},
    [SET_LOGS_RATE] = {"logs.rate", SETTING_SIZE, "512KiB", NULL, 1024, GIB,
                       "output a second that is kept of a function; eight times that at once"},
    [SET_LOGS_FUNCTION_MAX_BYTES] = {"logs.function_max_bytes", SETTING_SIZE, "64MiB", NULL, MIB, 64 * TIB,
                                     "size of one function's logs; the oldest go"},
    [SET_LOGS_MAX_BYTES] = {"logs.max_bytes", SETTING_SIZE, "1GiB", NULL, MIB, 64 * TIB,
                            "size of all logs; those of the functions that have most go first"},
    [SET_LOGS_RETENTION] = {"logs.retention", SETTING_DURATION, "14d", NULL, 3600 * SEC, 3650 * DAY,
                            "how long logs are kept"},
    [SET_CLOCK] = {"clock", SETTING_ENUM, "real", "real|virtual", 0, 0,
                   "virtual: stands still and is moved by `bide clock advance`"},
    [SET_SANDBOX] = {"sandbox", SETTING_ENUM, "strict", "strict|relaxed|off", 0, 0,
                     "what to do when a fence cannot be had"},
};

/* What a running daemon takes over at SIGHUP. The rest shaped what was opened or promised at start. */
static const bool live[SETTING_COUNT] = {
    [SET_ASYNC_RETRY_FIRST_WAIT] = true,
    [SET_ASYNC_RETRY_MULTIPLIER] = true,
    [SET_ASYNC_RETRY_MAX_WAIT] = true,
    [SET_ASYNC_RETRY_JITTER] = true,
    [SET_ASYNC_MAX_DISRUPTIONS] = true,
    [SET_ASYNC_MAX_PAYLOAD] = true,
    [SET_ASYNC_REQUEUE_FIRST_WAIT] = true,
    [SET_WORKER_STARTS] = true,
    [SET_WORKER_IDLE] = true,
    [SET_ASYNC_REQUEUE_MAX_WAIT] = true,
    [SET_HISTORY_RETENTION] = true,
    [SET_HISTORY_MAX_BYTES] = true,
    [SET_HISTORY_PAYLOAD] = true,
    [SET_DLQ_RETENTION] = true,
    [SET_SHUTDOWN_GRACE] = true,
    [SET_LOG_LEVEL] = true,
    [SET_LOG_FORMAT] = true,
    [SET_LOGS] = true,
    [SET_LOGS_RATE] = true,
    [SET_LOGS_FUNCTION_MAX_BYTES] = true,
    [SET_LOGS_MAX_BYTES] = true,
    [SET_LOGS_RETENTION] = true,
};

struct value {
    bool given;
    _Atomic int64_t integer;
    _Atomic double real;
    char *text;
};

struct settings {
    struct value v[SETTING_COUNT];
    struct setting_role *roles;
    size_t n_roles;
};

const struct setting_info *setting_info(enum setting s)
{
    return &table[s];
}

bool setting_live(enum setting s)
{
    return live[s];
}

/* --- one value ---------------------------------------------------------------------------------------------------- */

static bool in_choices(const char *choices, const char *text)
{
    size_t n = strlen(text);
    for (const char *p = choices; *p != '\0';) {
        size_t len = strcspn(p, "|");
        if (len == n && strncmp(p, text, n) == 0)
            return true;
        p += len + (p[len] == '|');
    }
    return false;
}

static bool parse_real(const char *text, double *ret)
{
    char *end;
    if (text[0] == '\0' || strspn(text, "0123456789.") != strlen(text))
        return false;
    *ret = strtod(text, &end);
    return *end == '\0' && isfinite(*ret);
}

static int parse_number(const struct setting_info *i, const char *text, struct value *v)
{
    size_t n = strlen(text);
    uint64_t size = 0;
    int64_t integer = 0;
    double real = 0;
    int rc = 0;
    switch (i->type) {
    case SETTING_INT:
        rc = num_parse_i64(text, n, &integer);
        break;
    case SETTING_DURATION:
        rc = num_parse_duration_ms(text, n, &integer);
        break;
    case SETTING_SIZE:
        rc = num_parse_size(text, n, &size);
        if (rc == 0 && size > INT64_MAX)
            rc = ERR_INVALID;
        integer = (int64_t)size;
        break;
    case SETTING_BOOL:
        integer = strcmp(text, "on") == 0 || strcmp(text, "true") == 0 || strcmp(text, "yes") == 0;
        if (integer == 0 && strcmp(text, "off") != 0 && strcmp(text, "false") != 0 && strcmp(text, "no") != 0)
            rc = ERR_INVALID;
        break;
    case SETTING_REAL:
        if (!parse_real(text, &real) || real < i->min || real > i->max)
            return ERR_INVALID;
        v->real = real;
        return 0;
    case SETTING_STRING:
    case SETTING_ENUM:
        break;
    }
    if (rc == 0 && ((double)integer < i->min || (double)integer > i->max))
        rc = ERR_INVALID;
    if (rc == 0)
        v->integer = integer;
    return rc;
}

static bool string_ok(enum setting k, const char *text)
{
    static const char *const only[SETTING_COUNT] = {
        [SET_ACCOUNT] = "0123456789", [SET_REGION] = "abcdefghijklmnopqrstuvwxyz0123456789-"};
    size_t n = strlen(text);
    if ((double)n < table[k].min || (double)n > table[k].max)
        return false;
    if (only[k] != NULL)
        return strspn(text, only[k]) == n;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
            return false;
    return true;
}

static const char *wanted(const struct setting_info *i, char *out, size_t cap)
{
    char lo[32], hi[32];
    switch (i->type) {
    case SETTING_DURATION:
        num_format_duration_ms((int64_t)i->min, lo, sizeof lo);
        num_format_duration_ms((int64_t)i->max, hi, sizeof hi);
        (void)snprintf(out, cap, "a duration from %s to %s, such as 200ms, 5s, 2m, 6h, 7d", lo, hi);
        break;
    case SETTING_SIZE:
        num_format_size((uint64_t)i->min, lo, sizeof lo);
        num_format_size((uint64_t)i->max, hi, sizeof hi);
        (void)snprintf(out, cap, "a size from %s to %s, such as 64MiB or 4GiB", lo, hi);
        break;
    case SETTING_INT:
        (void)snprintf(out, cap, "a whole number from %.0f to %.0f", i->min, i->max);
        break;
    case SETTING_REAL:
        (void)snprintf(out, cap, "a number from %g to %g", i->min, i->max);
        break;
    case SETTING_BOOL:
        (void)snprintf(out, cap, "on or off");
        break;
    case SETTING_ENUM:
        (void)snprintf(out, cap, "one of %s", i->choices);
        break;
    case SETTING_STRING:
        (void)snprintf(out, cap, "%.0f to %.0f characters: %s", i->min, i->max, i->help);
        break;
    }
    return out;
}

/* where: "FILE:LINE" or "--set". */
static int set(struct settings *s, enum setting k, const char *text, const char *where, struct err *e)
{
    const struct setting_info *i = &table[k];
    struct value *v = &s->v[k];
    char want[200];
    int rc = 0;
    if (i->type == SETTING_ENUM)
        rc = in_choices(i->choices, text) ? 0 : ERR_INVALID;
    else if (i->type == SETTING_STRING)
        rc = string_ok(k, text) ? 0 : ERR_INVALID;
    else
        rc = parse_number(i, text, v);
    if (rc < 0)
        return err_set(e, ERR_INVALID, "%s: %s = \"%s\": it takes %s", where, i->key, text,
                       wanted(i, want, sizeof want));
    char *copy = strdup(text);
    if (copy == NULL)
        return err_set(e, ERR_NOMEM, "settings: out of memory");
    free(v->text);
    v->text = copy;
    v->given = true;
    return 0;
}

static int find_key(const char *key, size_t len)
{
    for (int k = 0; k < SETTING_COUNT; k++)
        if (strlen(table[k].key) == len && strncmp(table[k].key, key, len) == 0)
            return k;
    return -1;
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

enum { FILE_MAX_LEN = 256 * 1024 };

/* libconfuse calls back without an argument of ours, and its lexer is one per process anyway: one load at a time. */
static struct reading {
    struct settings *s;
    const char *path;
    struct err e; /* the first error */
    int line[SETTING_COUNT];
    int network_line;         /* of the role being read; 0: not seen yet */
    struct setting_role role; /* the same */
} * reading;

BIDE_PRINTF(2, 3) static int refuse(const cfg_t *cfg, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (reading->e.code == 0)
        (void)err_set(&reading->e, ERR_INVALID, "%s:%d: %s", reading->path, cfg->line, text);
    return -1;
}

BIDE_PRINTF(2, 0) static void on_file_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    char text[300];
    (void)vsnprintf(text, sizeof text, fmt, ap);
    (void)refuse(cfg, "%s", text);
}

/* A key that was there before is refused: the library would let the last one win without a word. */
static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    int k = find_key(opt->name, strlen(opt->name));
    BIDE_ASSERT(k >= 0, "no setting %s", opt->name);
    if (reading->line[k] != 0)
        return refuse(cfg, "%s is set twice (first in line %d)", opt->name, reading->line[k]);
    reading->line[k] = cfg->line;
    *(const char **)result = value;
    char where[300];
    (void)snprintf(where, sizeof where, "%s:%d", reading->path, cfg->line);
    return set(reading->s, (enum setting)k, value, where, &reading->e) < 0 ? -1 : 0;
}

static int on_network(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    if (reading->network_line != 0)
        return refuse(cfg, "%s is set twice (first in line %d)", opt->name, reading->network_line);
    reading->network_line = cfg->line;
    if (!in_choices("none|outbound|host", value))
        return refuse(cfg, "network = \"%s\": it takes one of none, outbound, host", value);
    (void)snprintf(reading->role.network, sizeof reading->role.network, "%s", value);
    *(const char **)result = value;
    return 0;
}

static int on_allow(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    struct setting_role *r = &reading->role;
    /* The library empties its list at a second "allow =", not at "allow +=". */
    if (cfg_opt_size(opt) != r->n_allow + 1)
        return refuse(cfg, "allow is set twice");
    if (r->n_allow == ROLE_ALLOW_MAX)
        return refuse(cfg, "more than %d actions in allow", ROLE_ALLOW_MAX);
    if (value[0] == '\0' || strlen(value) >= sizeof r->allow[0])
        return refuse(cfg, "allow: \"%s\": an action has 1 to %zu characters", value, sizeof r->allow[0] - 1);
    (void)snprintf(r->allow[r->n_allow++], sizeof r->allow[0], "%s", value);
    *(const char **)result = value;
    return 0;
}

/* The closing brace of a role. */
static int on_role(cfg_t *cfg, cfg_opt_t *opt)
{
    struct settings *s = reading->s;
    struct setting_role *r = &reading->role;
    cfg_t *sec = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
    const char *name = cfg_title(sec);
    size_t len = strlen(name);
    if (len == 0 || len > ROLE_NAME_MAX)
        return refuse(cfg, "role \"%s\": a name has 1 to %d characters", name, ROLE_NAME_MAX);
    if (cfg_size(sec, "allow") != r->n_allow)
        return refuse(cfg, "allow is set twice");
    if (s->n_roles == SETTINGS_ROLES_MAX)
        return refuse(cfg, "more than %d roles", SETTINGS_ROLES_MAX);
    if (reading->network_line == 0)
        (void)snprintf(r->network, sizeof r->network, "none");
    memcpy(r->name, name, len + 1);
    s->roles[s->n_roles++] = *r;
    memset(r, 0, sizeof *r);
    reading->network_line = 0;
    return 0;
}

/* The library takes the end of the file for a closing brace, so a last line of ours tells whether every role was
 * closed: it is known outside of roles and, inside one, is the error. */
#define LAST_KEY  "end-of-settings"
#define LAST_LINE "\n" LAST_KEY " = yes\n"

static int on_last_line(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    *(const char **)result = value;
    return (opt->flags & CFGF_NODEFAULT) != 0 ? 0 : refuse(cfg, "the file ends inside a role");
}

static int parse_text(struct settings *s, const char *path, const char *text, struct err *e)
{
    cfg_opt_t role[] = {CFG_STR_CB("network", NULL, CFGF_NODEFAULT, on_network),
                        CFG_STR_LIST_CB("allow", NULL, CFGF_NODEFAULT, on_allow),
                        CFG_STR_CB(LAST_KEY, NULL, CFGF_NONE, on_last_line), CFG_END()};
    cfg_opt_t opts[SETTING_COUNT + 3];
    for (int k = 0; k < SETTING_COUNT; k++)
        opts[k] = (cfg_opt_t)CFG_STR_CB(table[k].key, NULL, CFGF_NODEFAULT, on_value);
    opts[SETTING_COUNT] = (cfg_opt_t)CFG_SEC("role", role, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
    opts[SETTING_COUNT + 1] = (cfg_opt_t)CFG_STR_CB(LAST_KEY, NULL, CFGF_NODEFAULT, on_last_line);
    opts[SETTING_COUNT + 2] = (cfg_opt_t)CFG_END();
    cfg_t *cfg = cfg_init(opts, CFGF_NONE);
    if (cfg == NULL)
        return err_set(e, ERR_NOMEM, "settings: out of memory");
    struct reading r = {.s = s, .path = path};
    reading = &r;
    (void)cfg_set_error_function(cfg, on_file_error);
    (void)cfg_set_validate_func(cfg, "role", on_role);
    int parsed = cfg_parse_buf(cfg, text);
    reading = NULL;
    (void)cfg_free(cfg);
    if (r.e.code != 0)
        return err_set(e, r.e.code, "%s", r.e.text);
    return parsed == CFG_SUCCESS ? 0 : err_set(e, ERR_INVALID, "%s: the settings cannot be parsed", path);
}

/* The library counts the lines of a comment wrongly, and errors must name the right one: comments become blanks before
 * it sees them. Its comments: # and // to the end of the line, and C's; not inside quotes. */
static void blank_comments(char *p)
{
    char quote = '\0';
    while (*p != '\0') {
        if (quote != '\0') {
            if (*p == '\\' && p[1] != '\0')
                p++;
            else if (*p == quote)
                quote = '\0';
            p++;
        } else if (*p == '"' || *p == '\'') {
            quote = *p++;
        } else if (*p == '#' || (p[0] == '/' && p[1] == '/')) {
            while (*p != '\0' && *p != '\n')
                *p++ = ' ';
        } else if (p[0] == '/' && p[1] == '*') {
            while (*p != '\0' && !(p[0] == '*' && p[1] == '/')) {
                *p = *p == '\n' ? '\n' : ' ';
                p++;
            }
            for (int i = 0; i < 2 && *p != '\0'; i++)
                *p++ = ' ';
        } else {
            p++;
        }
    }
}

/* b holds the file's text and has room for LAST_LINE. */
static int read_text(struct settings *s, const char *name, struct buf *b, struct err *e)
{
    if (b->len > FILE_MAX_LEN)
        return err_set(e, ERR_TOOBIG, "%s: more than %d bytes of settings", name, FILE_MAX_LEN);
    if (b->len > 0 && memchr(b->data, '\0', b->len) != NULL)
        return err_set(e, ERR_INVALID, "%s: there is a NUL byte in it", name);
    if (buf_puts(b, LAST_LINE) < 0)
        return err_set(e, ERR_NOMEM, "settings: out of memory");
    blank_comments(b->data);
    return parse_text(s, name, b->data, e);
}

static int read_file(const char *path, struct buf *b, struct err *e)
{
    int rc = file_read(AT_FDCWD, path, b);
    if (rc == ERR_TOOBIG)
        return err_set(e, rc, "%s: more than %d bytes of settings", path, FILE_MAX_LEN);
    return rc < 0 ? err_sys(e, rc, errno, "settings file %s", path) : 0;
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

static int set_size(struct settings *s, enum setting k, uint64_t bytes, struct err *e)
{
    char text[32];
    num_format_size(bytes, text, sizeof text);
    return set(s, k, text, "default", e);
}

static int defaults(struct settings *s, struct err *e)
{
    int rc = 0;
    for (int k = 0; k < SETTING_COUNT && rc == 0; k++)
        if (k != SET_WORKER_MEMORY && k != SET_WORKER_STARTS && k != SET_DLQ_MAX_BYTES)
            rc = set(s, (enum setting)k, table[k].default_text, "default", e);
    struct sysinfo si;
    uint64_t share = sysinfo(&si) == 0 ? (uint64_t)si.totalram * si.mem_unit / 10 * 6 : 0;
    if (rc == 0)
        rc = set_size(s, SET_WORKER_MEMORY, (double)share > table[SET_WORKER_MEMORY].min ? share : 128ULL << 20, e);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    char text[32];
    (void)snprintf(text, sizeof text, "%ld", cores < 1 ? 1 : cores > 1024 ? 1024 : cores);
    if (rc == 0)
        rc = set(s, SET_WORKER_STARTS, text, "default", e);
    for (int k = 0; k < SETTING_COUNT; k++)
        s->v[k].given = false;
    return rc;
}

/* What one setting means for another. */
static int settle(struct settings *s, struct err *e)
{
    uint64_t room = (uint64_t)s->v[SET_QUEUE_MAX_BYTES].integer;
    if (!s->v[SET_DLQ_MAX_BYTES].given && set_size(s, SET_DLQ_MAX_BYTES, room / 2, e) < 0)
        return ERR_NOMEM;
    if (s->v[SET_QUEUE_RESERVE_BYTES].integer > s->v[SET_QUEUE_MAX_BYTES].integer / 2)
        return err_set(e, ERR_INVALID,
                       "queue.reserve_bytes is more than half of queue.max_bytes: nothing could be accepted");
    const struct value *all = &s->v[SET_ACCOUNT_CONCURRENCY], *kept = &s->v[SET_ACCOUNT_UNRESERVED_MINIMUM];
    if (kept->integer > all->integer && kept->given)
        return err_set(e, ERR_INVALID, "account.unreserved_minimum is more than account.concurrency");
    /* Nobody asked for that minimum: a smaller account keeps all it has unreserved. */
    if (kept->integer > all->integer)
        return set(s, SET_ACCOUNT_UNRESERVED_MINIMUM, all->text, "default", e);
    return 0;
}

static int apply_sets(struct settings *s, const char *const *sets, size_t n_sets, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < n_sets && rc == 0; i++) {
        const char *eq = strchr(sets[i], '=');
        int k = eq != NULL ? find_key(sets[i], (size_t)(eq - sets[i])) : -1;
        if (eq == NULL)
            rc = err_set(e, ERR_INVALID, "--set %s: write KEY=VALUE", sets[i]);
        else if (k < 0)
            rc = err_set(e, ERR_INVALID, "--set %s: there is no setting %.*s", sets[i], (int)(eq - sets[i]), sets[i]);
        else
            rc = set(s, (enum setting)k, eq + 1, "--set", e);
    }
    return rc;
}

/* text NULL: no file. */
static int load(struct settings **ret, const char *name, struct buf *text, const char *const *sets, size_t n_sets,
                struct err *e)
{
    struct settings *s = calloc(1, sizeof *s);
    if (s != NULL)
        s->roles = calloc(SETTINGS_ROLES_MAX, sizeof *s->roles);
    if (s == NULL || s->roles == NULL) {
        settings_free(s);
        return err_set(e, ERR_NOMEM, "settings: out of memory");
    }
    int rc = defaults(s, e);
    if (rc == 0 && text != NULL)
        rc = read_text(s, name, text, e);
    if (rc == 0)
        rc = apply_sets(s, sets, n_sets, e);
    if (rc == 0)
        rc = settle(s, e);
    if (rc < 0) {
        settings_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

int settings_load(struct settings **ret, const char *path, const char *const *sets, size_t n_sets, struct err *e)
{
    struct buf b;
    buf_init(&b, FILE_MAX_LEN + sizeof LAST_LINE);
    int rc = path != NULL ? read_file(path, &b, e) : 0;
    if (rc == 0)
        rc = load(ret, path, path != NULL ? &b : NULL, sets, n_sets, e);
    buf_done(&b);
    return rc;
}

int settings_parse(struct settings **ret, const char *name, const char *text, size_t len, const char *const *sets,
                   size_t n_sets, struct err *e)
{
    struct buf b;
    buf_init(&b, FILE_MAX_LEN + sizeof LAST_LINE);
    int rc = buf_append(&b, text, len);
    if (rc < 0)
        (void)err_set(e, rc, "%s: %s", name,
                      rc == ERR_TOOBIG ? "too long for a file of settings" : "out of memory for the settings");
    else
        rc = load(ret, name, &b, sets, n_sets, e);
    buf_done(&b);
    return rc;
}

static bool same(const struct value *a, const struct value *b, enum setting_type type)
{
    if (type == SETTING_STRING || type == SETTING_ENUM)
        return strcmp(a->text, b->text) == 0;
    return type == SETTING_REAL ? a->real == b->real : a->integer == b->integer;
}

int settings_update(struct settings *s, const struct settings *fresh, settings_diff_cb *cb, void *arg)
{
    for (int k = 0; k < SETTING_COUNT; k++) {
        struct value *to = &s->v[k];
        const struct value *from = &fresh->v[k];
        if (same(to, from, table[k].type))
            continue;
        if (live[k]) {
            char *text = strdup(from->text);
            if (text == NULL)
                return ERR_NOMEM;
            free(to->text);
            to->text = text;
            to->integer = from->integer;
            to->real = from->real;
        }
        cb((enum setting)k, from->text, arg);
    }
    return 0;
}

void settings_free(struct settings *s)
{
    if (s == NULL)
        return;
    for (int k = 0; k < SETTING_COUNT; k++)
        free(s->v[k].text);
    free(s->roles);
    free(s);
}

int64_t settings_int(const struct settings *s, enum setting k)
{
    return atomic_load_explicit(&s->v[k].integer, memory_order_relaxed);
}

double settings_real(const struct settings *s, enum setting k)
{
    return atomic_load_explicit(&s->v[k].real, memory_order_relaxed);
}

const char *settings_str(const struct settings *s, enum setting k)
{
    return s->v[k].text != NULL ? s->v[k].text : "";
}

size_t settings_roles(const struct settings *s, const struct setting_role **ret)
{
    *ret = s->roles;
    return s->n_roles;
}
