/* The verbs of `bide`: one table row each (cmd.c), one function each (cmd_*.c). The row drives parsing, --help, the
 * manual and completion; the function only talks to the daemon and prints.
 */
#ifndef BIDE_CMD_H
#define BIDE_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };
enum { CMD_OPTS_MAX = 24, CMD_ARGS_MAX = 16 };

struct opt {
    const char *name; /* without the dashes; NULL ends a list */
    const char *arg;  /* name of its value; NULL: a flag */
    const char *help;
};

struct cmd;

/* One call of a verb, parsed. */
struct call {
    const struct cmd *cmd;
    const char *data;     /* the data directory */
    const char *endpoint; /* --endpoint, or NULL */
    bool json;
    const char *values[CMD_OPTS_MAX]; /* parallel to cmd->opts; flags hold "" */
    const char *args[CMD_ARGS_MAX];   /* positional, cmd->min_args..max_args of them */
    size_t n_args;
    struct client *client; /* connected lazily by call_client */
};

struct cmd {
    const char *name; /* "status", "dlq ls" */
    const char *args; /* synopsis of the positional arguments */
    const char *summary;
    const char *help; /* more, may be "" */
    int min_args, max_args;
    const struct opt *opts; /* besides those that every verb has (opts.h) */
    int (*run)(struct call *c);
};

extern const struct cmd cmds[];
extern const size_t n_cmds;

const char *call_opt(const struct call *c, const char *name); /* NULL: not given */
bool call_flag(const struct call *c, const char *name);
/* A whole number from min to max, or fallback when not given. On nonsense prints and returns false. */
bool call_number(const struct call *c, const char *name, uint64_t min, uint64_t max, uint64_t fallback, uint64_t *ret);

/* The client for this call; on failure prints what to do and returns NULL. */
struct client *call_client(struct call *c);

/* "bide: ..." on stderr; gives EXIT_FAILED. */
int call_fail(const char *fmt, ...) BIDE_PRINTF(1, 2);
/* "bide VERB: ..." and where the help is; gives EXIT_USAGE. */
int call_usage(const struct call *c, const char *fmt, ...) BIDE_PRINTF(2, 3);

int cmd_env(struct call *c);
int cmd_status(struct call *c);
int cmd_deploy(struct call *c);
int cmd_invoke(struct call *c);
int cmd_functions(struct call *c);
int cmd_pause(struct call *c);
int cmd_resume(struct call *c);
int cmd_purge(struct call *c);
int cmd_events_ls(struct call *c);
int cmd_events_show(struct call *c);
int cmd_events_cancel(struct call *c);
int cmd_events_retry(struct call *c);
int cmd_dlq_ls(struct call *c);
int cmd_dlq_show(struct call *c);
int cmd_dlq_replay(struct call *c);
int cmd_dlq_rm(struct call *c);
int cmd_dlq_export(struct call *c);
int cmd_dlq_import(struct call *c);
int cmd_verify(struct call *c);
int cmd_clock_advance(struct call *c);
int cmd_wait(struct call *c);
int cmd_logs(struct call *c);
int cmd_help(struct call *c);
int cmd_backup(struct call *c);
int cmd_compact(struct call *c);

#endif
