/* The power is cut, many thousand times: a scenario is run once and everything it writes is recorded; then, for each
 * moment at which something was about to be durable, the disks that a power cut may leave are made, and each is opened
 * by the production code and held to what had been told by then.
 *
 * Of the operations that are not durable at a moment an image has: none, all, all but one, one alone, the first so
 * many, subsets at random, subsets at random torn at 512 bytes. The same image with the same claims is looked at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdutil.h"
#include "check.h"
#include "disk.h"
#include "scenario.h"

enum {
    SEEN_SLOTS = 1 << 20,
    SINGLES_MAX = 48, /* operations that are taken away, or left, one at a time */
    RANDOM = 10,
    TORN = 6,
    FINDINGS_SHOWN = 20,
    SECOND_CUT_OF = 150, /* of so many images one is cut again while it is recovered */
    IMAGE_S = 30,        /* an image that takes longer hangs */
};

#define TRACE_CAP          (UINT64_C(256) << 20)
#define RECOVERY_TRACE_CAP (UINT64_C(16) << 20)

enum control { CONTROL_NONE, CONTROL_NO_SYNC, CONTROL_LYING_SYNC, CONTROL_LYING_FSYNC, CONTROL_EARLY_ACK };

/* Shared with the process that looks at the images, so that its death tells where it was. */
struct progress {
    _Atomic uint64_t images, findings, same, twice;
    _Atomic uint64_t moment, number; /* of the image in hand: number counts within the moment */
    uint64_t stop_at;                /* images */
    char what[1024];
    uint64_t seen[SEEN_SLOTS];
};

struct cut {
    uint64_t seed;
    enum control control;
    char top[64], image[80], second[80];
    struct fault_region *region;
    struct ledger *ledger;
    struct disk *disk;
    struct progress *p;
    uint64_t rng;
    uint64_t skip_moment, skip_number; /* go on behind this image */
    int64_t only_moment;
    bool quiet;
    uint8_t *chosen;
};

static uint64_t draw(struct cut *x)
{
    uint64_t z = x->rng += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* --- one image -------------------------------------------------------------------------------------------------------
 */

/* What the image lacks, or has, whichever is shorter. */
static void describe(struct cut *x, const struct disk_choice *c)
{
    size_t n = disk_pending(x->disk), there = 0, used;
    char one[200], *out = x->p->what;
    for (size_t i = 0; i < n; i++)
        there += c->chosen[i] != 0;
    bool list_missing = n - there < there;
    used = (size_t)snprintf(out, sizeof x->p->what, "%zu of %zu unsynced operations are there%s%s:", there, n,
                            c->torn != 0 ? ", torn" : "", list_missing ? "; not there" : "");
    for (size_t i = 0, shown = 0; i < n && shown < 6; i++) {
        if ((c->chosen[i] != 0) == list_missing)
            continue;
        disk_describe(x->disk, i, one, sizeof one);
        used += (size_t)snprintf(out + used, sizeof x->p->what - used, "%s %s", shown > 0 ? "," : "", one);
        shown++;
        if (used >= sizeof x->p->what - 220)
            break;
    }
}

static void tell(const char *line, void *arg)
{
    struct cut *x = arg;
    if (!x->quiet)
        (void)fprintf(stderr, "  %s\n", line);
}

static void announce(struct cut *x, const char *how)
{
    uint64_t n = atomic_fetch_add(&x->p->findings, 1);
    x->quiet = n >= FINDINGS_SHOWN;
    if (!x->quiet)
        (void)fprintf(stderr, "cut: seed %" PRIu64 " moment %" PRIu64 " image %" PRIu64 "%s; %s\n", x->seed,
                      atomic_load(&x->p->moment), atomic_load(&x->p->number), how, x->p->what);
}

/* Lines are told below the one that says which image it is. */
struct lines {
    char text[4][700];
    size_t n;
};

static void keep_line(const char *line, void *arg)
{
    struct lines *l = arg;
    if (l->n < sizeof l->text / sizeof l->text[0])
        (void)snprintf(l->text[l->n++], sizeof l->text[0], "%s", line);
}

static bool is_new(struct cut *x, uint64_t digest)
{
    uint64_t key = digest | 1;
    for (size_t i = key % SEEN_SLOTS, n = 0; n < SEEN_SLOTS; i = (i + 1) % SEEN_SLOTS, n++) {
        if (x->p->seen[i] == key)
            return false;
        if (x->p->seen[i] == 0) {
            x->p->seen[i] = key;
            return true;
        }
    }
    return true;
}

/* What was claimed by a moment, as a number. */
static uint64_t claims(const struct cut *x, uint64_t pos)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < atomic_load(&x->ledger->n_lines); i++)
        n += x->ledger->lines[i].pos <= pos;
    return n;
}

static void write_image(struct disk *d, const struct disk_choice *c, const char *path)
{
    int rc = disk_write(d, c, path);
    if (rc != 0) {
        (void)fprintf(stderr, "cut: %s: %s\n", path, strerror(rc));
        _exit(3);
    }
}

static void remove_image(const char *path)
{
    if (file_remove_tree(AT_FDCWD, path) < 0) {
        perror(path);
        _exit(3);
    }
}

static void check_image(struct cut *x, const char *path, uint64_t pos, const char *how)
{
    struct lines lines = {.n = 0};
    char data[100];
    (void)snprintf(data, sizeof data, "%s/a/d", path);
    (void)alarm(IMAGE_S);
    unsigned found = check_directory(data, x->ledger, pos, keep_line, &lines);
    (void)alarm(0);
    atomic_fetch_add(&x->p->images, 1);
    if (found == 0)
        return;
    announce(x, how);
    for (size_t i = 0; i < lines.n; i++)
        tell(lines.text[i], x);
}

/* --- the power goes again, while a start recovers --------------------------------------------------------------------
 */

static struct fault_region *recovery;

static void recovered(void)
{
    recovery->record = 0;
}

/* The next check of x->image is recorded, as far as it recovers. */
static struct disk *record_recovery(struct cut *x)
{
    struct disk *d = disk_new(x->image);
    recovery = fault_region_new(NULL, x->image, RECOVERY_TRACE_CAP);
    BIDE_ASSERT(recovery != NULL, "no memory");
    recovery->record = 1;
    check_recovered = recovered;
    fault_use(recovery);
    return d;
}

static void cut_again(struct cut *x, struct disk *d, uint64_t pos)
{
    static uint8_t chosen[65536];
    uint64_t rng = x->rng; /* what follows of the first disk is the same with this and without it */
    fault_use(NULL);
    check_recovered = NULL;
    if (!disk_read(d, recovery))
        _exit(3);
    for (size_t m = 0; m < disk_moments(d); m++) {
        disk_go_to(d, m);
        size_t n = disk_pending(d);
        for (int i = 0; i < 3; i++) { /* nothing of what is not durable, a part of it, torn */
            for (size_t k = 0; k < n; k++)
                chosen[k] = i > 0 && draw(x) % 2;
            write_image(d, &(struct disk_choice){chosen, i == 2 ? draw(x) | 1 : 0}, x->second);
            check_image(x, x->second, pos, ", and again while a start recovered");
            remove_image(x->second);
            atomic_fetch_add(&x->p->twice, 1);
        }
    }
    x->rng = rng;
    disk_free(d);
    fault_region_free(recovery);
}

static void look(struct cut *x, const struct disk_choice *c)
{
    struct progress *p = x->p;
    uint64_t number = atomic_fetch_add(&p->number, 1) + 1, pos = disk_pos(x->disk);
    if (atomic_load(&p->moment) == x->skip_moment && number <= x->skip_number)
        return;
    if (!is_new(x, disk_digest(x->disk, c) + claims(x, pos) * UINT64_C(0x9e3779b97f4a7c15))) {
        atomic_fetch_add(&p->same, 1);
        return;
    }
    describe(x, c);
    bool again = x->control == CONTROL_NONE && (atomic_load(&p->moment) * 31 + number) % SECOND_CUT_OF == 0;
    write_image(x->disk, c, x->image);
    struct disk *second = again ? record_recovery(x) : NULL;
    check_image(x, x->image, pos, "");
    if (again)
        cut_again(x, second, pos);
    remove_image(x->image);
}

/* --- the images of a moment ------------------------------------------------------------------------------------------
 */

static bool enough(const struct cut *x)
{
    return atomic_load(&x->p->images) >= x->p->stop_at ||
           (x->control != CONTROL_NONE && atomic_load(&x->p->findings) >= FINDINGS_SHOWN);
}

static void look_with(struct cut *x, uint64_t torn)
{
    if (!enough(x))
        look(x, &(struct disk_choice){x->chosen, torn});
}

static void fill(struct cut *x, size_t n, uint8_t v)
{
    memset(x->chosen, v, n);
}

static void look_at_singles(struct cut *x, size_t n)
{
    size_t singles = n < SINGLES_MAX ? n : SINGLES_MAX;
    for (size_t k = 0; k < singles; k++) {
        size_t i = n <= SINGLES_MAX ? k : draw(x) % n;
        fill(x, n, 1);
        x->chosen[i] = 0;
        look_with(x, 0);
        fill(x, n, 0);
        x->chosen[i] = 1;
        look_with(x, 0);
        fill(x, n, 0);
        fill(x, i, 1);
        look_with(x, 0);
    }
}

static void look_at_random(struct cut *x, size_t n, bool torn)
{
    uint64_t often = draw(x) % 3; /* a half, most, few */
    for (size_t i = 0; i < n; i++) {
        uint64_t v = draw(x) % 8;
        x->chosen[i] = often == 0 ? v < 4 : often == 1 ? v < 7 : v < 1;
    }
    look_with(x, torn ? draw(x) | 1 : 0);
}

static void look_at_moment(struct cut *x, size_t moment)
{
    disk_go_to(x->disk, moment);
    atomic_store(&x->p->moment, moment);
    atomic_store(&x->p->number, 0);
    x->rng = x->seed * 1000003 + moment;
    size_t n = disk_pending(x->disk);
    fill(x, n, 0);
    look_with(x, 0);
    if (n == 0)
        return;
    fill(x, n, 1);
    look_with(x, 0);
    look_at_singles(x, n);
    for (int i = 0; i < RANDOM && n > 2; i++)
        look_at_random(x, n, false);
    fill(x, n, 1);
    look_with(x, draw(x) | 1);
    for (int i = 0; i < TORN; i++)
        look_at_random(x, n, true);
}

/* --- one scenario ----------------------------------------------------------------------------------------------------
 */

static pid_t fork_child(void)
{
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        perror("cut: fork");
        exit(3);
    }
    return pid;
}

static int wait_child(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) {
            perror("cut: waitpid");
            exit(3);
        }
    return status;
}

static void record(struct cut *x)
{
    char data[100];
    (void)snprintf(data, sizeof data, "%s/a/d", x->top);
    pid_t pid = fork_child();
    if (pid == 0) {
        struct scenario_opts o = {.data = data,
                                  .ledger = x->ledger,
                                  .region = x->region,
                                  .seed = x->seed,
                                  .no_sync = x->control == CONTROL_NO_SYNC,
                                  .early_ack = x->control == CONTROL_EARLY_ACK};
        x->region->record = 1;
        fault_use(x->region);
        if (x->control == CONTROL_LYING_SYNC)
            fault_arm(x->region, FAULT_BIT(FAULT_FDATASYNC), 1, UINT64_MAX, FAULT_DROP, 0);
        if (x->control == CONTROL_LYING_FSYNC)
            fault_arm(x->region, FAULT_BIT(FAULT_FSYNC) | FAULT_BIT(FAULT_SYNCFS), 1, UINT64_MAX, FAULT_DROP, 0);
        _exit(scenario_run(&o));
    }
    int status = wait_child(pid);
    if (status != 0) {
        (void)fprintf(stderr, "cut: seed %" PRIu64 ": the scenario did not end well (status %#x)\n", x->seed,
                      (unsigned)status);
        exit(1);
    }
    const char *unseen = scenario_unseen(x->region);
    if (unseen != NULL && x->control == CONTROL_NONE) {
        (void)fprintf(stderr, "cut: BLIND: no %s was seen\n", unseen);
        exit(1);
    }
}

static _Noreturn void look_at_all(struct cut *x)
{
    x->disk = disk_new(NULL);
    if (!disk_read(x->disk, x->region))
        _exit(3);
    x->chosen = malloc(65536);
    size_t n = disk_moments(x->disk);
    for (size_t m = x->skip_moment == UINT64_MAX ? 0 : x->skip_moment; m < n && !enough(x); m++)
        if (x->only_moment < 0 || m == (size_t)x->only_moment)
            look_at_moment(x, m);
    _exit(0);
}

/* The traces end well, or the process that looks at them would not be told from one that found nothing. */
static void look_at_images(struct cut *x)
{
    x->skip_moment = UINT64_MAX;
    for (;;) {
        pid_t pid = fork_child();
        if (pid == 0)
            look_at_all(x);
        int status = wait_child(pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            return;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
            exit(3);
        /* The image has ended the process: an assertion, a bus error, a store that gives up, a hang. */
        char how[80];
        (void)snprintf(how, sizeof how, " LOST: ended by %s %d", WIFSIGNALED(status) ? "signal" : "status",
                       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        atomic_fetch_add(&x->p->images, 1);
        announce(x, how);
        x->skip_moment = atomic_load(&x->p->moment);
        x->skip_number = atomic_load(&x->p->number);
        remove_image(x->image);
        remove_image(x->second);
    }
}

static uint64_t one_scenario(struct cut *x)
{
    uint64_t before = atomic_load(&x->p->images), findings = atomic_load(&x->p->findings);
    int64_t began = clock_mono_ms();
    memset(x->p->seen, 0, sizeof x->p->seen);
    atomic_store(&x->p->same, 0);
    x->region = fault_region_new(NULL, x->top, TRACE_CAP);
    if (x->region == NULL) {
        perror("cut: shared memory");
        exit(3);
    }
    ledger_clear(x->ledger);
    record(x);
    look_at_images(x);
    (void)printf("cut: seed %" PRIu64 ": %" PRIu64 " bytes of trace, %u claims, %" PRIu64 " images (%" PRIu64
                 " more were the same), %" PRIu64 " findings, %.1f s\n",
                 x->seed, atomic_load(&x->region->trace_len), atomic_load(&x->ledger->n_lines),
                 atomic_load(&x->p->images) - before, atomic_load(&x->p->same), atomic_load(&x->p->findings) - findings,
                 (double)(clock_mono_ms() - began) / 1000);
    (void)fflush(stdout);
    fault_region_free(x->region);
    char made[80];
    (void)snprintf(made, sizeof made, "%s/a", x->top);
    if (file_remove_tree(AT_FDCWD, made) < 0)
        exit(3);
    return atomic_load(&x->p->images) - before;
}

/* --- the program -----------------------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    enum control control;
} controls[] = {
    {"no-sync", CONTROL_NO_SYNC},         /* MDB_NOSYNC */
    {"lying-sync", CONTROL_LYING_SYNC},   /* fdatasync returns at once */
    {"lying-fsync", CONTROL_LYING_FSYNC}, /* fsync does: packages, credentials, names */
    {"early-ack", CONTROL_EARLY_ACK},     /* told when submitted, not when committed */
};

static void usage(FILE *f)
{
    (void)fprintf(f, "usage: faults_cut [--images N] [--seed N] [--moment N] [--control NAME] [--dir DIR]\n\n"
                     "  --images   end after so many (default 10000); seeds follow one another until then\n"
                     "  --seed     of the first scenario (default: the time)\n"
                     "  --moment   of one scenario this moment alone: repeats a finding\n"
                     "  --control  break something on purpose, and fail unless it is found:");
    for (size_t i = 0; i < sizeof controls / sizeof controls[0]; i++)
        (void)fprintf(f, " %s", controls[i].name);
    (void)fprintf(f, "\n  --dir      scratch folder (default /dev/shm)\n");
}

static uint64_t number(const char *text)
{
    char *end;
    errno = 0;
    uint64_t v = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text) {
        (void)fprintf(stderr, "faults_cut: %s is not a number\n", text);
        exit(2);
    }
    return v;
}

static enum control control_named(const char *name)
{
    for (size_t i = 0; i < sizeof controls / sizeof controls[0]; i++)
        if (strcmp(controls[i].name, name) == 0)
            return controls[i].control;
    (void)fprintf(stderr, "faults_cut: there is no control %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"images", required_argument, NULL, 'i'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"moment", required_argument, NULL, 'm'},
                                            {"control", required_argument, NULL, 'c'},
                                            {"dir", required_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct cut x = {.seed = (uint64_t)clock_mono_us() % 1000000, .only_moment = -1};
    uint64_t images = 10000;
    const char *dir = "/dev/shm", *control = NULL;
    int opt;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (opt) {
        case 'i':
            images = number(optarg);
            break;
        case 's':
            x.seed = number(optarg);
            break;
        case 'm':
            x.only_moment = (int64_t)number(optarg);
            break;
        case 'c':
            control = optarg;
            x.control = control_named(optarg);
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
    (void)snprintf(x.top, sizeof x.top, "%.40s/bide-cut-XXXXXX", dir);
    if (mkdtemp(x.top) == NULL) {
        perror(x.top);
        return 3;
    }
    (void)snprintf(x.image, sizeof x.image, "%s.image", x.top);
    (void)snprintf(x.second, sizeof x.second, "%s.second", x.top);
    x.p = mmap(NULL, sizeof *x.p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    x.ledger = ledger_new();
    if (x.p == MAP_FAILED || x.ledger == NULL) {
        perror("cut: shared memory");
        return 3;
    }
    x.p->stop_at = images;
    scenario_prepare();
    uint64_t first = x.seed;
    while (one_scenario(&x) > 0 && x.only_moment < 0 && !enough(&x))
        x.seed++;
    uint64_t findings = atomic_load(&x.p->findings);
    (void)rmdir(x.top);
    if (control != NULL) {
        (void)printf("cut: control %s: %s\n", control,
                     findings > 0 ? "found, as it must be" : "NOT FOUND: the test is blind");
        return findings == 0;
    }
    (void)printf("cut: of the power cuts %" PRIu64 " came while a start recovered from another\n",
                 atomic_load(&x.p->twice));
    (void)printf("cut: seeds %" PRIu64 " to %" PRIu64 ": %" PRIu64 " power cuts, %" PRIu64 " findings\n", first, x.seed,
                 atomic_load(&x.p->images), findings);
    return findings > 0;
}
