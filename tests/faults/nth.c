/* The n-th call fails, for every n: the scenario is run with its first call failing, then with its second, until a run
 * meets no fault. After each run a process without faults opens what is left and holds it to what was told.
 *
 * A pass is a set of calls and a way to fail. --stride takes every so manieth n, from an offset drawn from the seed.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdutil.h"
#include "check.h"
#include "scenario.h"

enum { EVER = 1 << 30, FINDINGS_SHOWN = 20 };

/* How a run may end besides reaching its end. */
enum {
    MAY_NOT_START = 1,
    MAY_BE_FATAL = 2,
    MAY_BE_REFUSED = 4,
    IS_KILLED = 8,
    MAY_END = 16,
    /* Only when it was the write of a meta page, after which LMDB takes no more, or the sync before it that no disk of
     * this world interrupts. */
    MAY_BE_FATAL_META = 32,
};

#define MEANT_FOR_ROOM                                                                                                 \
    (FAULT_ANY_WRITE | FAULT_ANY_SYNC | FAULT_BIT(FAULT_FTRUNCATE) | FAULT_BIT(FAULT_FALLOCATE) |                      \
     FAULT_BIT(FAULT_OPEN) | FAULT_BIT(FAULT_MKDIR) | FAULT_BIT(FAULT_RENAME))

static const struct pass {
    const char *name;
    uint64_t calls;
    enum fault_how how;
    int error;
    uint64_t count;
    unsigned may;
} passes[] = {
    {"eio", FAULT_ANY_DATA, FAULT_REFUSE, EIO, 1, MAY_NOT_START | MAY_BE_FATAL},
    {"eio-late", FAULT_ANY_WRITE | FAULT_ANY_SYNC, FAULT_LATE, EIO, 1, MAY_NOT_START | MAY_BE_FATAL},
    {"eio-ever", FAULT_ANY_DATA, FAULT_REFUSE, EIO, EVER, MAY_NOT_START | MAY_BE_FATAL | MAY_BE_REFUSED},
    {"enospc", MEANT_FOR_ROOM, FAULT_REFUSE, ENOSPC, 1, MAY_NOT_START | MAY_BE_FATAL_META},
    {"enospc-late", FAULT_ANY_WRITE | FAULT_ANY_SYNC, FAULT_LATE, ENOSPC, 1, MAY_NOT_START | MAY_BE_FATAL_META},
    {"enospc-ever", MEANT_FOR_ROOM, FAULT_REFUSE, ENOSPC, EVER, MAY_NOT_START | MAY_BE_FATAL_META | MAY_BE_REFUSED},
    {"edquot", MEANT_FOR_ROOM, FAULT_REFUSE, EDQUOT, 1, MAY_NOT_START | MAY_BE_FATAL_META},
    {"short", FAULT_ANY_WRITE, FAULT_SHORT, 0, 1, MAY_NOT_START | MAY_BE_FATAL},
    {"eintr", FAULT_ANY_WRITE | FAULT_ANY_SYNC, FAULT_REFUSE, EINTR, 1, MAY_NOT_START | MAY_BE_FATAL_META},
    {"emfile", FAULT_BIT(FAULT_OPEN), FAULT_REFUSE, EMFILE, 1, MAY_NOT_START},
    {"enfile", FAULT_BIT(FAULT_OPEN), FAULT_REFUSE, ENFILE, 1, MAY_NOT_START},
    {"enomem", FAULT_BIT(FAULT_MMAP) | FAULT_BIT(FAULT_OPEN), FAULT_REFUSE, ENOMEM, 1, MAY_NOT_START},
    {"no-thread", FAULT_BIT(FAULT_THREAD), FAULT_REFUSE, EAGAIN, 1, MAY_NOT_START},
    {"memory", FAULT_ANY_MEMORY, FAULT_REFUSE, ENOMEM, 1, MAY_NOT_START | MAY_END},
    {"memory-ever", FAULT_ANY_MEMORY, FAULT_REFUSE, ENOMEM, EVER, MAY_NOT_START | MAY_BE_REFUSED | MAY_END},
    {"kill", FAULT_ANY_DATA, FAULT_KILL, 0, 1, IS_KILLED},
    {"kill-after", FAULT_ANY_DATA, FAULT_KILL_AFTER, 0, 1, IS_KILLED},
};

struct nth {
    const struct pass *pass;
    uint64_t seed;
    char top[64], data[80], log[80]; /* the folder the shim watches, the data directory and stderr's file in it */
    struct fault_region *region;
    struct ledger *ledger;
    uint64_t faults, done, not_started, fatal, ended, refused, killed;
    uint64_t findings;
};

static void say(struct nth *x, uint64_t n, const char *fmt, ...) BIDE_PRINTF(3, 4);
static void say(struct nth *x, uint64_t n, const char *fmt, ...)
{
    va_list ap;
    if (x->findings++ >= FINDINGS_SHOWN)
        return;
    (void)fprintf(stderr, "nth: %s %" PRIu64 " (%s): ", x->pass->name, n, x->region->what);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
}

static bool log_says(struct nth *x, const char *part, char *text, size_t cap)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    (void)!file_read(AT_FDCWD, x->log, &b);
    (void)snprintf(text, cap, "%.*s", (int)b.len, b.len > 0 ? b.data : "");
    buf_done(&b);
    return strstr(text, part) != NULL;
}

/* The log must tell a person what went wrong: the system's own words for the error, or ours for its kind. */
static void hear_reason(struct nth *x, uint64_t n)
{
    char text[2000];
    int error = (int)x->region->error;
    bool said = log_says(x, error != 0 ? strerror(error) : "Input/output error", text, sizeof text);
    if (!said && (error == ENOMEM || error == EAGAIN))
        said = strstr(text, "memory") != NULL || strstr(text, "ERR_NOMEM") != NULL ||
               strstr(text, strerror(EAGAIN)) != NULL; /* what a thread without memory for it is called */
    if (!said && x->pass->how == FAULT_SHORT)
        said = strstr(text, strerror(ENOSPC)) != NULL;
    if (!said && (error == ENOSPC || error == EDQUOT))
        said = strstr(text, "ERR_FULL") != NULL || strstr(text, "fatal error") != NULL;
    if (!said)
        say(x, n, "its last words do not tell why: %s", text[0] != '\0' ? text : "(nothing)");
}

static void judge_status(struct nth *x, uint64_t n, int status)
{
    char text[2000];
    unsigned may = x->pass->may;
    if (WIFSIGNALED(status)) {
        x->killed++;
        if (WTERMSIG(status) == SIGKILL && (may & IS_KILLED))
            return;
        (void)log_says(x, "", text, sizeof text);
        say(x, n, "ended by signal %d (%s): %s", WTERMSIG(status), strsignal(WTERMSIG(status)), text);
        return;
    }
    unsigned got = 0;
    switch (WEXITSTATUS(status)) {
    case SCENARIO_DONE:
        x->done++;
        return;
    case SCENARIO_NO_START:
        x->not_started++;
        got = MAY_NOT_START;
        break;
    case SCENARIO_FATAL:
        x->fatal++;
        got = MAY_BE_FATAL;
        if (strstr(x->region->what, "O_DSYNC") != NULL ||
            (x->pass->error == EINTR && strstr(x->region->what, "sync") != NULL))
            got |= MAY_BE_FATAL_META;
        break;
    case SCENARIO_NO_MEMORY:
        x->ended++;
        got = MAY_END;
        break;
    case SCENARIO_REFUSED:
        x->refused++;
        got = MAY_BE_REFUSED;
        break;
    default:
        break;
    }
    if ((may & got) == 0) {
        (void)log_says(x, "", text, sizeof text);
        say(x, n, "exit status %d: %s", WEXITSTATUS(status), text);
    } else {
        hear_reason(x, n);
    }
}

static void forward(const char *line, void *arg)
{
    (void)arg;
    (void)fprintf(stderr, "  %s\n", line);
}

static void wait_child(pid_t pid, int *ret_status)
{
    while (waitpid(pid, ret_status, 0) < 0)
        if (errno != EINTR) {
            perror("nth: waitpid");
            exit(2);
        }
}

static pid_t fork_child(void)
{
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        perror("nth: fork");
        exit(2);
    }
    return pid;
}

static int run_scenario(struct nth *x, uint64_t n)
{
    int status;
    pid_t pid = fork_child();
    if (pid == 0) {
        struct scenario_opts o = {.data = x->data, .ledger = x->ledger, .region = x->region, .seed = x->seed};
        int fd = open(x->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || dup2(fd, 2) < 0)
            _exit(100);
        if (n > 0)
            fault_arm(x->region, x->pass->calls, n, x->pass->count, x->pass->how, x->pass->error);
        _exit(scenario_run(&o));
    }
    wait_child(pid, &status);
    fault_disarm(x->region);
    return status;
}

static void check_what_is_left(struct nth *x, uint64_t n)
{
    int status;
    pid_t pid = fork_child();
    if (pid == 0) {
        (void)alarm(30);
        _exit(check_directory(x->data, x->ledger, UINT64_MAX, forward, NULL) > 0);
    }
    wait_child(pid, &status);
    if (status != 0)
        say(x, n, "what is left does not hold (%s %d)", WIFSIGNALED(status) ? "signal" : "exit",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void clear(struct nth *x)
{
    if (file_remove_tree(AT_FDCWD, x->data) < 0) {
        perror("nth: removing the last run");
        exit(2);
    }
    ledger_clear(x->ledger);
}

/* False: there was no n-th call. */
static bool try_nth(struct nth *x, uint64_t n)
{
    clear(x);
    int status = run_scenario(x, n);
    bool fired = atomic_load(&x->region->fired) > 0;
    x->faults += fired;
    judge_status(x, n, status);
    check_what_is_left(x, n);
    return fired;
}

/* A run without faults, in which every kind of call must have been seen: else the shim is blind. */
static void look_around(struct nth *x)
{
    struct fault_region *r = x->region;
    clear(x);
    int status = run_scenario(x, 0);
    judge_status(x, 0, status);
    check_what_is_left(x, 0);
    (void)printf("nth: calls of the scenario:");
    for (int i = 0; i < FAULT_CALLS; i++)
        if (atomic_load(&r->counts[i]) > 0)
            (void)printf(" %s %" PRIu64, fault_call_name((enum fault_call)i), atomic_load(&r->counts[i]));
    (void)printf("; writes to O_DSYNC descriptors %" PRIu64 "\n", atomic_load(&r->dsync_writes));
    const char *unseen = scenario_unseen(r);
    if (unseen != NULL)
        say(x, 0, "BLIND: no %s was seen", unseen);
}

static void run_pass(struct nth *x, const struct pass *p, uint64_t stride, uint64_t only)
{
    int64_t began = clock_mono_ms();
    x->pass = p;
    x->faults = x->done = x->not_started = x->fatal = x->ended = x->refused = x->killed = 0;
    uint64_t n = only > 0 ? only : 1 + x->seed % stride;
    while (try_nth(x, n) && only == 0)
        n += stride;
    (void)printf("nth: %-11s %6" PRIu64 " faults (every %" PRIu64 " of %" PRIu64 " calls): went on %" PRIu64
                 ", fatal %" PRIu64 ", out of memory %" PRIu64 ", refused %" PRIu64 ", did not start %" PRIu64
                 ", killed %" PRIu64 "; %.1f s\n",
                 p->name, x->faults, stride, n - 1, x->done, x->fatal, x->ended, x->refused, x->not_started, x->killed,
                 (double)(clock_mono_ms() - began) / 1000);
    (void)fflush(stdout);
}

static void usage(FILE *f)
{
    (void)fprintf(f, "usage: faults_nth [--pass NAME]... [--stride N] [--only N] [--seed N] [--dir DIR]\n\n"
                     "  --pass    one of:");
    for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++)
        (void)fprintf(f, " %s", passes[i].name);
    (void)fprintf(f, "\n            (default: all)\n"
                     "  --stride  take every N-th call only (default 1: each)\n"
                     "  --only    the N-th call alone\n"
                     "  --seed    of the scenario, and where a stride begins (default: the time)\n"
                     "  --dir     scratch folder (default /dev/shm)\n");
}

static uint64_t number(const char *text)
{
    char *end;
    errno = 0;
    uint64_t v = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text) {
        (void)fprintf(stderr, "faults_nth: %s is not a number\n", text);
        exit(2);
    }
    return v;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"pass", required_argument, NULL, 'p'},
                                            {"stride", required_argument, NULL, 't'},
                                            {"only", required_argument, NULL, 'o'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"dir", required_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    enum { PASSES = sizeof passes / sizeof passes[0] };
    bool wanted[PASSES] = {false}, any = false;
    uint64_t stride = 1, only = 0, faults = 0;
    const char *dir = "/dev/shm";
    struct nth x = {.seed = (uint64_t)clock_mono_us() % 1000000, .pass = &passes[0]};
    int opt;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        bool known = false;
        switch (opt) {
        case 'p':
            for (size_t i = 0; i < PASSES; i++)
                if (strcmp(passes[i].name, optarg) == 0)
                    known = wanted[i] = any = true;
            if (!known) {
                (void)fprintf(stderr, "faults_nth: there is no pass %s\n", optarg);
                return 2;
            }
            break;
        case 't':
            stride = number(optarg);
            break;
        case 'o':
            only = number(optarg);
            break;
        case 's':
            x.seed = number(optarg);
            break;
        case 'd':
            dir = optarg;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (stride == 0)
        stride = 1;
    (void)snprintf(x.top, sizeof x.top, "%.40s/bide-nth-XXXXXX", dir);
    if (mkdtemp(x.top) == NULL) {
        perror(x.top);
        return 2;
    }
    (void)snprintf(x.data, sizeof x.data, "%s/d", x.top);
    (void)snprintf(x.log, sizeof x.log, "%s.log", x.top);
    x.region = fault_region_new(NULL, x.top, 0);
    x.ledger = ledger_new();
    if (x.region == NULL || x.ledger == NULL) {
        perror("nth: shared memory");
        return 2;
    }
    scenario_prepare();
    fault_use(x.region);
    (void)printf("nth: seed %" PRIu64 "\n", x.seed);
    look_around(&x);
    for (size_t i = 0; i < PASSES; i++) {
        if (any && !wanted[i])
            continue;
        run_pass(&x, &passes[i], stride, only);
        faults += x.faults;
    }
    (void)!file_remove_tree(AT_FDCWD, x.top);
    (void)unlink(x.log);
    (void)printf("nth: seed %" PRIu64 ": %" PRIu64 " faults, %" PRIu64 " findings\n", x.seed, faults, x.findings);
    return x.findings > 0;
}
