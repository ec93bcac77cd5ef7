#include "cmd.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

/* The same in every listing (show_limit). */
#define LIMIT_OPT                                                                                                      \
    {                                                                                                                  \
        "limit", "N", "at most N of them, 0 = all (default 50 on a terminal, else all)"                                \
    }

static const struct opt no_opts[] = {{0}};
static const struct opt functions_opts[] = {LIMIT_OPT, {0}};
static const struct opt deploy_opts[] = {
    {"name", "NAME", "name of the function (required)"},
    {"runtime", "RUNTIME",
     "e.g. python3.12 or provided.al2023; of a new function taken from its files when it is plain"},
    {"handler", "HANDLER", "e.g. app.handler; likewise"},
    {"role", "ARN",
     "execution role; its last part names a role of the settings (default arn:aws:iam::000000000000:role/default)"},
    {"timeout", "SECONDS", "1 to 900 (default 3)"},
    {"memory", "MB", "128 to 10240 (default 128)"},
    {"tmp", "MB", "size of /tmp, 512 to 10240 (default 512)"},
    {"env", "KEY=VALUE,...", "environment of the function; replaces what it had"},
    {"description", "TEXT", "what it is for"},
    {"concurrency", "N", "reserved concurrency: at most N of it at once; none takes the reservation away"},
    {"retries", "N", "attempts after the first of an event, 0 to 2"},
    {"max-age", "DURATION", "age at which an event is given up, 60s to 6h"},
    {"watch", NULL, "stay, and deploy again whenever the files change"},
    {0},
};
static const struct opt invoke_opts[] = {
    {"event", NULL, "asynchronously: print the event's id and return once it is on disk"},
    {"payload", "JSON|@FILE|-", "the event; @FILE reads a file, - standard input (default {})"},
    {"count", "N", "send the event N times, asynchronously and many at once"},
    {"file", "FILE", "send each line of a JSON Lines file as an event, likewise; - standard input"},
    {"log", NULL, "print the end of the invocation's log on stderr"},
    {0},
};
static const struct opt events_opts[] = {
    {"function", "NAME", "only events of this function"},
    {"state", "STATE", "queued, running, waiting, done, dead, cancelled or replayed"},
    {"since", "TIME",
     "only those accepted at TIME or later: 2h or 7d ago, or 2026-01-02, or 2026-01-02T03:04:05Z (UTC)"},
    {"until", "TIME", "only those accepted before TIME"},
    {"error-type", "TYPE", "only those whose last attempt failed with this type of error"},
    LIMIT_OPT,
    {0},
};
static const struct opt cancel_opts[] = {
    {"function", "NAME", "all events of this function that are not over"},
    {"state", "STATE", "with --function: only the queued, waiting or running ones"},
    {0},
};
static const struct opt retry_opts[] = {
    {"function", "NAME", "all waiting events of this function"},
    {0},
};
static const struct opt dlq_opts[] = {
    {"function", "NAME", "only dead letters of this function"},
    {"condition", "CONDITION",
     "RetriesExhausted, EventAgeExceeded, ZeroReservedConcurrency, Disrupted, FunctionDeleted or Corrupt"},
    {"replayed", NULL, "also those replayed already"},
    {"since", "TIME",
     "only those that died at TIME or later: 2h or 7d ago, or 2026-01-02, or 2026-01-02T03:04:05Z (UTC)"},
    {"until", "TIME", "only those that died before TIME"},
    {"error-type", "TYPE", "only those whose last attempt failed with this type of error"},
    LIMIT_OPT,
    {0},
};
static const struct opt export_opts[] = {
    {"function", "NAME", "only dead letters of this function"},
    {"condition", "CONDITION",
     "RetriesExhausted, EventAgeExceeded, ZeroReservedConcurrency, Disrupted, FunctionDeleted or Corrupt"},
    {"replayed", NULL, "also those replayed already"},
    {"since", "TIME",
     "only those that died at TIME or later: 2h or 7d ago, or 2026-01-02, or 2026-01-02T03:04:05Z (UTC)"},
    {"until", "TIME", "only those that died before TIME"},
    {0},
};
static const struct opt replay_opts[] = {
    {"function", "NAME", "all dead letters of this function"},
    {"condition", "CONDITION", "with --function or --all: only those with this condition"},
    {"all", NULL, "every dead letter"},
    {"again", NULL, "also when it was replayed before"},
    {0},
};
static const struct opt rm_opts[] = {
    {"function", "NAME", "all dead letters of this function"},
    {"condition", "CONDITION", "with --function or --all: only those with this condition"},
    {"all", NULL, "every dead letter"},
    {0},
};
static const struct opt backup_opts[] = {
    {"pages", NULL, "copy the store page by page, free pages too: larger, and for a store that cannot be compacted"},
    {"no-verify", NULL, "do not recount the copy"},
    {0},
};

static const struct opt logs_opts[] = {
    {"follow", NULL, "go on with what comes, until interrupted"},
    {"since", "TIME", "from then on: 10m or 2h ago, or 2026-01-02, or 2026-01-02T03:04:05Z (UTC)"},
    {"event", "ID", "only the lines of this event, all attempts; or of a synchronous call, by its request id"},
    {0},
};

static const struct opt wait_opts[] = {
    {"function", "NAME", "only for the events of this function"},
    {"settled", NULL, "also until none waits for a retry: every event is done, dead or cancelled"},
    {"timeout", "DURATION", "give up after this, with exit status 1 (default 60s)"},
    {0},
};

const struct cmd cmds[] = {
    {"env", "", "print the shell lines that point AWS clients here",
     "Use it as: eval \"$(bide env)\". Afterwards the AWS CLI, boto3 and the other SDKs talk to this daemon.", 0, 0,
     no_opts, cmd_env},
    {"status", "", "show what the daemon holds and does", "", 0, 0, no_opts, cmd_status},
    {"deploy", "PATH", "create or update a function from a folder or a zip",
     "PATH is a zip file, a folder (packed, without .git, __pycache__ and the like) or a single file. Code that the "
     "function has already is not sent again. Waits until the function is ready.",
     1, 1, deploy_opts, cmd_deploy},
    {"invoke", "NAME", "call a function",
     "Prints the function's answer. Exit status 1 when the function failed, or when an event was refused.", 1, 1,
     invoke_opts, cmd_invoke},
    {"functions", "", "list the functions, with what is queued, running, waiting and dead of each", "", 0, 0,
     functions_opts, cmd_functions},
    {"pause", "NAME", "start no more events of a function",
     "What runs goes on, synchronous calls go on, new events are accepted and queued, and events grow older. Also "
     "across\n"
     "restarts.",
     1, 1, no_opts, cmd_pause},
    {"resume", "NAME", "let a paused function's events start again", "", 1, 1, no_opts, cmd_resume},
    {"purge", "NAME", "cancel all queued and waiting events of a function",
     "Those accepted before it began. What runs goes on; dead letters stay.", 1, 1, no_opts, cmd_purge},
    {"events ls", "", "list events, newest first", "", 0, 0, events_opts, cmd_events_ls},
    {"events show", "ID", "show one event with every attempt", "ID is the request id that the client got.", 1, 1,
     no_opts, cmd_events_show},
    {"events cancel", "[ID...]", "cancel events that are not over",
     "Name ids, or --function. One that runs is stopped and ends as cancelled, whatever its outcome, and also if the\n"
     "daemon is killed at this moment. Cancelling twice is fine.",
     0, CMD_ARGS_MAX, cancel_opts, cmd_events_cancel},
    {"events retry", "[ID...]", "try waiting events now instead of when they are due",
     "Name ids, or --function. Dead letters are put back with `bide dlq replay`.", 0, CMD_ARGS_MAX, retry_opts,
     cmd_events_retry},
    {"dlq ls", "", "list dead letters, oldest first", "", 0, 0, dlq_opts, cmd_dlq_ls},
    {"dlq show", "ID", "show a dead letter: payload, attempts, errors, log tails", "", 1, 1, no_opts, cmd_dlq_show},
    {"dlq replay", "[ID...]", "put dead letters back as new events",
     "Name ids, or --function, or --all. A letter that was replayed before is left alone unless --again is given.", 0,
     CMD_ARGS_MAX, replay_opts, cmd_dlq_replay},
    {"dlq rm", "[ID...]", "remove dead letters for good", "Name ids, or --function, or --all.", 0, CMD_ARGS_MAX,
     rm_opts, cmd_dlq_rm},
    {"dlq export", "[FILE]", "write dead letters as JSON Lines, with all that is known of them",
     "To FILE, which appears when it is whole, or to standard output. `bide dlq import` reads it.", 0, 1, export_opts,
     cmd_dlq_export},
    {"dlq import", "[FILE|-]", "read dead letters that were exported",
     "Each line is taken whole or not at all; a bad one is named and the others go on. Letters whose id is known "
     "already\n"
     "are left alone, so that importing twice does no harm.",
     0, 1, no_opts, cmd_dlq_import},
    {"logs", "NAME", "what a function wrote, with START, END and REPORT of each run",
     "Oldest first, the workers' streams merged by time. Each line: time (UTC), the stream's first letters, text.", 1,
     1, logs_opts, cmd_logs},
    {"wait", "", "wait until no event is queued or running",
     "For scripts: what was sent before has been tried when it returns.", 0, 0, wait_opts, cmd_wait},
    {"verify", "", "recount everything and check every record",
     "Asks the running daemon; when none runs on the data directory, reads it directly.", 0, 0, no_opts, cmd_verify},
    {"backup", "DIR", "copy events, functions and their code, while the daemon goes on",
     "DIR is made, whole or not at all, and is a data directory: bided --data DIR is the restore.", 1, 1, backup_opts,
     cmd_backup},
    {"compact", "", "make the store of a stopped daemon as small as what it holds",
     "A store keeps the size of its largest backlog. Needs room on the disk for a second copy while it runs.", 0, 0,
     no_opts, cmd_compact},
    {"clock advance", "DURATION", "move the virtual clock forward, e.g. 90s, 2m, 6h",
     "Only for a daemon started with --set clock=virtual. Returns when everything that became due is in the queue.", 1,
     1, no_opts, cmd_clock_advance},
    {"help", "[VERB...]", "what there is to say about a verb", "", 0, 2, no_opts, cmd_help},
};
const size_t n_cmds = sizeof cmds / sizeof cmds[0];

const char *call_opt(const struct call *c, const char *name)
{
    for (size_t i = 0; c->cmd->opts[i].name != NULL; i++)
        if (strcmp(c->cmd->opts[i].name, name) == 0)
            return c->values[i];
    BIDE_ASSERT(false, "verb %s has no option %s", c->cmd->name, name);
    return NULL;
}

bool call_flag(const struct call *c, const char *name)
{
    return call_opt(c, name) != NULL;
}

bool call_number(const struct call *c, const char *name, uint64_t min, uint64_t max, uint64_t fallback, uint64_t *ret)
{
    const char *text = call_opt(c, name);
    *ret = fallback;
    if (text == NULL || (num_parse_u64(text, strlen(text), ret) == 0 && *ret >= min && *ret <= max))
        return true;
    (void)call_usage(c, "--%s takes a whole number from %llu to %llu, not \"%s\"", name, (unsigned long long)min,
                     (unsigned long long)max, text);
    return false;
}

struct client *call_client(struct call *c)
{
    if (c->client == NULL) {
        struct err e = {0};
        if (client_open(&c->client, c->data, c->endpoint, &e) < 0) {
            (void)call_fail("%s", e.text);
            return NULL;
        }
    }
    return c->client;
}

int call_fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fputs("bide: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    return EXIT_FAILED;
}

int call_usage(const struct call *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "bide %s: ", c->cmd->name);
    (void)vfprintf(stderr, fmt, ap);
    (void)fprintf(stderr, "\nTry: bide %s --help\n", c->cmd->name);
    va_end(ap);
    return EXIT_USAGE;
}
