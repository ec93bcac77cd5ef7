/* engine_sim [options]: simulates seeds, one process each, and makes a failure small. See sim.h. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "base/log.h"
#include "life.h"
#include "model.h"

enum { TEXT_MAX = 400, RANGES_MAX = 4096, EXIT_VIOLATION = 3, SMALLER_TRIES = 600, SMALLER_S = 60 };

struct range {
    uint64_t from, to; /* inclusive */
};

/* What a run is to do, and what it tells. Shared with its process. */
static struct shared {
    uint64_t seed, steps, events;
    enum sim_bug bug;
    bool trace, no_end;            /* no_end: nothing is of interest after the last step */
    struct range keep[RANGES_MAX]; /* none: every step */
    uint32_t n_keep;
    /* the answer */
    bool violated, draining;
    uint64_t step;
    char text[TEXT_MAX];
    struct sim_totals totals;
} * shared;

struct sim sim;

/* --- randomness -----------------------------------------------------------------------------------------------------
 */

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

uint64_t sim_rand(void)
{
    sim.rng += 0x9e3779b97f4a7c15;
    return mix(sim.rng);
}

uint32_t sim_below(uint32_t n)
{
    return (uint32_t)((sim_rand() >> 32) * n >> 32);
}

bool sim_one_in(uint32_t n)
{
    return n > 0 && sim_below(n) == 0;
}

bool sim_percent(uint32_t percent)
{
    return sim_below(100) < percent;
}

void sim_note(uint64_t what)
{
    sim.totals.digest = mix(sim.totals.digest ^ what);
}

void sim_step_begins(void)
{
    sim.step++;
    sim.rng = mix(sim.seed ^ mix(sim.step));
}

/* --- what is told ---------------------------------------------------------------------------------------------------
 */

void sim_trace(const char *fmt, ...)
{
    char line[600];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "%8" PRIu64 " %14.3f %s\n", sim.step, (double)(sim.mono_us / 1000) / 1000.0, line);
}

_Noreturn static void end_violated(const char *text)
{
    shared->violated = true;
    shared->draining = sim.calm;
    shared->step = sim.step;
    shared->totals = sim.totals;
    (void)snprintf(shared->text, sizeof shared->text, "%s", text);
    if (sim.trace)
        (void)fprintf(stderr, "%8" PRIu64 " violation: %s\n", sim.step, text);
    _exit(EXIT_VIOLATION);
}

void sim_violation(const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    end_violated(text);
}

void __wrap_bide_assert_fail(const char *file, int line, const char *cond, const char *fmt, ...) BIDE_PRINTF(4, 5);

/* The engine's own check of itself. */
void __wrap_bide_assert_fail(const char *file, int line, const char *cond, const char *fmt, ...)
{
    char detail[200], text[TEXT_MAX];
    const char *name = strrchr(file, '/');
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    (void)snprintf(text, sizeof text, "the engine asserts %s:%d: %.80s: %s", name != NULL ? name + 1 : file, line, cond,
                   detail);
    end_violated(text);
}

/* --- a run ----------------------------------------------------------------------------------------------------------
 */

static uint32_t one_of(const uint32_t *v, uint32_t n)
{
    return v[sim_below(n)];
}
#define ONE_OF(...)                                                                                                    \
    one_of((const uint32_t[]){__VA_ARGS__}, (uint32_t)(sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)))

static void draw_plan(void)
{
    sim.plan = (struct sim_plan){
        .events = shared->events,
        .steps = shared->steps,
        .open_max = ONE_OF(20, 60, 60, 200, 1500),
        .account = ONE_OF(4, 10, 30, 100),
        .worker_starts = ONE_OF(1, 2, 8),
        .map_bytes = (uint64_t)ONE_OF(4, 64, 64) << 20,
        .reserve_bytes = (uint64_t)2 << 20,
        .dlq_bytes = (uint64_t)ONE_OF(16, 64, 65536, 65536) << 10,
        .history_bytes = (uint64_t)ONE_OF(8, 64, 256) << 10,
        .history_payload = sim_one_in(3),
        .crash_in = ONE_OF(0, 100, 300, 1000, 3000),
        .io_in = ONE_OF(0, 0, 1000, 5000),
        .full_in = ONE_OF(0, 0, 50, 300),
        .step_in = ONE_OF(0, 0, 500, 3000),
        .stop_in = ONE_OF(0, 2000, 20000),
        .operator_in = ONE_OF(0, 20, 100, 400),
        .kill_in = ONE_OF(0, 100, 1000),
        .lose_in = ONE_OF(0, 5000, 50000),
        .disrupted_pct = ONE_OF(0, 3, 10, 40),
        .failed_pct = ONE_OF(0, 10, 30, 80),
        .start_failed_pct = ONE_OF(0, 5, 30),
        .init_failed_pct = ONE_OF(0, 5, 30),
        .long_pct = ONE_OF(0, 2, 20),
    };
}

/* A bug is to be found soon. */
static void hurry(void)
{
    sim.plan.open_max = 60;
    sim.plan.crash_in = 300;
    sim.plan.io_in = 1000;
    sim.plan.step_in = 500;
    sim.plan.operator_in = 10;
    sim.plan.disrupted_pct = 10;
    sim.plan.failed_pct = 30;
}

static void load_settings(void)
{
    char account[64], starts[64];
    const char *sets[] = {account,          starts,      "account.unreserved_minimum=1", "worker.memory=8GiB",
                          "worker.idle=5m", "clock=real"};
    struct err e = {0};
    (void)snprintf(account, sizeof account, "account.concurrency=%u", sim.plan.account);
    (void)snprintf(starts, sizeof starts, "worker.starts=%u", sim.plan.worker_starts);
    if (settings_load(&sim.settings, NULL, sets, sizeof sets / sizeof sets[0], &e) < 0)
        sim_violation("settings: %s", e.text);
}

static bool is_kept(uint64_t step)
{
    if (shared->n_keep == 0)
        return true;
    uint32_t lo = 0, hi = shared->n_keep;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (shared->keep[mid].to < step)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < shared->n_keep && shared->keep[lo].from <= step;
}

static void simulate(void)
{
    sim.seed = shared->seed;
    sim.bug = shared->bug;
    sim.trace = shared->trace;
    sim.mono_us = 1000000;
    sim.wall_offset_us = SIM_EPOCH_US;
    sim_step_begins();
    draw_plan();
    if (sim.bug != BUG_NONE)
        hurry();
    load_settings();
    log_setup(sim.trace ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, LOG_FORMAT_TEXT,
              sim.trace ? STDERR_FILENO : open("/dev/null", O_WRONLY | O_CLOEXEC));
    model_init();
    life_start();
    steps_first();
    while (sim.step < sim.plan.steps && model_known_events() < sim.plan.events) {
        sim_step_begins();
        if (is_kept(sim.step))
            steps_one();
    }
    if (!shared->no_end)
        steps_drain();
    sim.totals.steps = sim.step;
    shared->totals = sim.totals;
}

/* In a process and a folder of its own. False: it ended in no way that it should. */
static void run(void)
{
    char dir[] = "/dev/shm/engine_sim.XXXXXX";
    int status = 0, cwd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    shared->violated = false;
    if (cwd < 0 || mkdtemp(dir) == NULL || chdir(dir) < 0) {
        perror("engine_sim: a folder in /dev/shm");
        exit(1);
    }
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (mkdir("code", 0755) < 0)
            sim_violation("a folder: %s", strerror(errno));
        sim.code_fd = open("code", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        simulate();
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (fchdir(cwd) < 0 || file_remove_tree(AT_FDCWD, dir) < 0)
        perror("engine_sim: removing its folder");
    fd_close(&cwd);
    if (!shared->violated && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        shared->violated = true;
        (void)snprintf(shared->text, sizeof shared->text, "the process ended with status 0x%x", (unsigned)status);
    }
}

/* --- making a failure small -----------------------------------------------------------------------------------------
 */

/* The kind of a violation: its text without numbers. */
static void kind_of(const char *text, char out[TEXT_MAX])
{
    size_t n = 0;
    for (const char *p = text; *p != '\0' && n < TEXT_MAX - 1; p++)
        if (*p < '0' || *p > '9')
            out[n++] = *p;
    out[n] = '\0';
}

static bool still(const char *kind)
{
    char now[TEXT_MAX];
    run();
    kind_of(shared->text, now);
    return shared->violated && strcmp(kind, now) == 0;
}

static uint64_t n_kept(void)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < shared->n_keep; i++)
        n += shared->keep[i].to - shared->keep[i].from + 1;
    return n;
}

/* Leave out the kept steps from the at-th on, n of them. */
static void leave_out(uint64_t at, uint64_t n)
{
    struct range *old = malloc(sizeof shared->keep);
    uint32_t n_old = shared->n_keep;
    uint64_t seen = 0;
    memcpy(old, shared->keep, sizeof shared->keep);
    shared->n_keep = 0;
    for (uint32_t i = 0; i < n_old; i++) {
        uint64_t len = old[i].to - old[i].from + 1, lo = at > seen ? at - seen : 0,
                 hi = at + n > seen ? at + n - seen : 0;
        lo = lo < len ? lo : len;
        hi = hi < len ? hi : len;
        if (lo > 0)
            shared->keep[shared->n_keep++] = (struct range){old[i].from, old[i].from + lo - 1};
        if (hi < len)
            shared->keep[shared->n_keep++] = (struct range){old[i].from + hi, old[i].to};
        seen += len;
    }
    free(old);
}

static void make_small(void)
{
    char kind[TEXT_MAX], text[TEXT_MAX];
    struct range *best = malloc(sizeof shared->keep);
    uint32_t n_best, tries = 0;
    time_t until = time(NULL) + SMALLER_S;
    bool trace = shared->trace;
    shared->trace = false;
    kind_of(shared->text, kind);
    shared->no_end = !shared->draining;
    if (shared->no_end)
        shared->steps = shared->step;
    if (shared->n_keep == 0) {
        shared->keep[0] = (struct range){1, shared->step};
        shared->n_keep = 1;
    }
    memcpy(text, shared->text, sizeof text);
    memcpy(best, shared->keep, sizeof shared->keep);
    n_best = shared->n_keep;
    for (uint64_t chunk = n_kept() / 2; chunk > 0; chunk /= 2)
        for (uint64_t at = 0; at < n_kept() && tries < SMALLER_TRIES && time(NULL) < until;) {
            if (shared->n_keep + 1 < RANGES_MAX)
                leave_out(at, chunk);
            tries++;
            if (shared->n_keep > 0 && still(kind)) {
                memcpy(best, shared->keep, sizeof shared->keep);
                memcpy(text, shared->text, sizeof text);
                n_best = shared->n_keep;
            } else {
                memcpy(shared->keep, best, sizeof shared->keep);
                shared->n_keep = n_best;
                at += chunk;
            }
        }
    free(best);
    memcpy(shared->text, text, sizeof text);
    shared->no_end = false;
    shared->trace = trace;
}

static void print_repeat(void)
{
    (void)printf("sim: repeat: engine_sim --seed %" PRIu64 " --events %" PRIu64 " --steps %" PRIu64, shared->seed,
                 shared->events, shared->steps);
    if (shared->bug != BUG_NONE)
        (void)printf(" --bug %s", sim_bug_names[shared->bug]);
    for (uint32_t i = 0; i < shared->n_keep; i++)
        (void)printf("%s%" PRIu64 "-%" PRIu64, i == 0 ? " --keep " : ",", shared->keep[i].from, shared->keep[i].to);
    (void)printf(" --trace\n");
}

/* --- many runs ------------------------------------------------------------------------------------------------------
 */

static void add(struct sim_totals *sum, const struct sim_totals *t)
{
    sum->steps += t->steps;
    sum->events += t->events;
    sum->calls += t->calls;
    sum->runs += t->runs;
    sum->commits += t->commits;
    sum->crashes += t->crashes;
    sum->stops += t->stops;
    sum->faults += t->faults;
    sum->clock_steps += t->clock_steps;
    sum->dead += t->dead;
    sum->replayed += t->replayed;
    sum->cancelled += t->cancelled;
    sum->verified += t->verified;
    sum->virtual_ms += t->virtual_ms;
    sum->passed_most = t->passed_most > sum->passed_most ? t->passed_most : sum->passed_most;
}

static void print_totals(const struct sim_totals *t, uint64_t runs, uint64_t violations)
{
    (void)printf("sim: %" PRIu64 " seeds, %" PRIu64 " events (%" PRIu64 " dead, %" PRIu64 " replayed, %" PRIu64
                 " cancelled), %" PRIu64 " calls, %" PRIu64 " runs, %" PRIu64 " steps, %" PRIu64 " commits, %.1f h\n"
                 "sim: %" PRIu64 " crashes, %" PRIu64 " stops, %" PRIu64 " store faults, %" PRIu64
                 " clock steps, %" PRIu64 " times verified, passed over at most %" PRIu64 " times\n"
                 "sim: %" PRIu64 " violations\n",
                 runs, t->events, t->dead, t->replayed, t->cancelled, t->calls, t->runs, t->steps, t->commits,
                 (double)t->virtual_ms / 3600000.0, t->crashes, t->stops, t->faults, t->clock_steps, t->verified,
                 t->passed_most, violations);
}

static bool parse_keep(char *text)
{
    for (char *p = strtok(text, ","); p != NULL; p = strtok(NULL, ",")) {
        struct range *r = &shared->keep[shared->n_keep];
        if (shared->n_keep == RANGES_MAX || sscanf(p, "%" SCNu64 "-%" SCNu64, &r->from, &r->to) != 2)
            return false;
        shared->n_keep++;
    }
    return true;
}

static const char usage[] =
    "usage: engine_sim [--seed N] [--runs N] [--minutes N] [--events N] [--bug NAME] [--no-smaller] [--twice]\n"
    "                  [--steps N] [--keep RANGES] [--trace] [--go-on]\n"
    "Simulates the engine under faults, one seed after the other, from --seed on (without one: any).\n"
    "  --runs, --minutes  how many seeds (20), or for how long\n"
    "  --events           of each seed (5000)\n"
    "  --bug              put a bug in on purpose; \"list\" names them\n"
    "  --twice            every seed twice: both runs must be the same\n"
    "  --no-smaller       report a violation as it is found\n"
    "  --go-on            after a violation, too\n"
    "  --steps, --keep, --trace  repeat a violation, as its report says\n";

struct options {
    uint64_t runs;
    double minutes;
    bool smaller, twice, go_on, keep;
};

static int wrong(const char *text)
{
    (void)fputs(text, stderr);
    return 2;
}

static int read_bug(const char *name)
{
    for (int i = 0; i < BUGS; i++) {
        if (strcmp(name, "list") == 0 && i > 0)
            (void)puts(sim_bug_names[i]);
        if (strcmp(name, sim_bug_names[i]) == 0)
            return i;
    }
    return -1;
}

static int read_options(int argc, char **argv, struct options *o)
{
    enum { SEED, RUNS, MINUTES, EVENTS, STEPS, KEEP, BUG, TRACE, SMALLER, TWICE, GO_ON, HELP };
    static const struct option longs[] = {
        {"seed", 1, NULL, SEED},     {"runs", 1, NULL, RUNS},   {"minutes", 1, NULL, MINUTES},
        {"events", 1, NULL, EVENTS}, {"steps", 1, NULL, STEPS}, {"keep", 1, NULL, KEEP},
        {"bug", 1, NULL, BUG},       {"trace", 0, NULL, TRACE}, {"no-smaller", 0, NULL, SMALLER},
        {"twice", 0, NULL, TWICE},   {"go-on", 0, NULL, GO_ON}, {"help", 0, NULL, HELP},
        {NULL, 0, NULL, 0}};
    int c, bug;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case SEED:
            shared->seed = strtoull(optarg, NULL, 10);
            break;
        case RUNS:
            o->runs = strtoull(optarg, NULL, 10);
            break;
        case MINUTES:
            o->minutes = strtod(optarg, NULL);
            break;
        case EVENTS:
            shared->events = strtoull(optarg, NULL, 10);
            break;
        case STEPS:
            shared->steps = strtoull(optarg, NULL, 10);
            break;
        case KEEP:
            if (!parse_keep(optarg))
                return wrong("engine_sim: --keep takes ranges: 1-20,30-31\n");
            o->keep = true;
            break;
        case BUG:
            bug = read_bug(optarg);
            if (bug < 0)
                return 2;
            shared->bug = (enum sim_bug)bug;
            break;
        case TRACE:
            shared->trace = true;
            break;
        case SMALLER:
            o->smaller = false;
            break;
        case TWICE:
            o->twice = true;
            break;
        case GO_ON:
            o->go_on = true;
            break;
        case HELP:
            (void)fputs(usage, stdout);
            exit(0);
        default:
            return wrong(usage);
        }
    }
    return 0;
}

static void report(const struct options *o)
{
    uint64_t steps = shared->steps;
    (void)printf("sim: violation: %s (seed %" PRIu64 ", step %" PRIu64 "%s)\n", shared->text, shared->seed,
                 shared->step, shared->draining ? ", at the end" : "");
    if (o->smaller && !o->keep) {
        make_small();
        (void)printf("sim: made small: %s, in %" PRIu64 " steps\n", shared->text, n_kept());
    } else if (!shared->draining && !o->keep) {
        shared->steps = shared->step;
    }
    print_repeat();
    shared->steps = steps;
    if (!o->keep)
        shared->n_keep = 0;
}

int main(int argc, char **argv)
{
    struct options o = {.runs = 20, .smaller = true};
    struct sim_totals sum = {0};
    uint64_t violations = 0, done = 0;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return wrong("engine_sim: out of memory\n");
    shared->events = 5000;
    int rc = read_options(argc, argv, &o);
    if (rc != 0)
        return rc;
    (void)signal(SIGPIPE, SIG_IGN);
    if (shared->steps == 0)
        shared->steps = 200 * shared->events;
    if (o.keep || shared->trace)
        o.runs = 1;
    if (shared->seed == 0)
        shared->seed = (uint64_t)time(NULL) * 100000;
    (void)printf("sim: from seed %" PRIu64 " on\n", shared->seed);
    time_t until = time(NULL) + (time_t)(o.minutes * 60);
    for (; o.minutes > 0 ? time(NULL) < until : done < o.runs; done++, shared->seed++) {
        run();
        add(&sum, &shared->totals);
        if (!shared->violated && o.twice) {
            uint64_t digest = shared->totals.digest;
            run();
            if (!shared->violated && digest != shared->totals.digest) {
                shared->violated = true;
                (void)snprintf(shared->text, sizeof shared->text, "two runs of one seed differ");
            }
        }
        if (!shared->violated)
            continue;
        violations++;
        report(&o);
        (void)fflush(stdout);
        if (!o.go_on) {
            done++;
            break;
        }
    }
    print_totals(&sum, done, violations);
    return violations > 0 ? 1 : 0;
}
