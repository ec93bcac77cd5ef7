/* A seeded simulation of the scheduler: the production objects, a virtual clock, a scripted executor and crashes,
 * checked at every step against rules written down a second time (rules.c, model.c).
 *
 *   sim [--seed N] [--runs N] [--events N] [--break N]
 *
 * Without --seed a fresh one is taken and printed. Each run has a seed of its own, counted up from the first. --break
 * puts in one of the bugs of enum model_break: a simulation that does not report it is blind.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "world.h"

static struct world world;
static uint64_t events_per_run = 5000;
static int broken = BREAK_NONE;

void sim_violation(const char *fmt, ...)
{
    va_list ap;
    (void)fflush(stdout);
    (void)fprintf(stderr, "sim: violation at step %llu, seed %llu, %lld ms: ", (unsigned long long)world.step,
                  (unsigned long long)world.seed, (long long)world.mono);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "\nsim: repeat with: sim --seed %llu --events %llu --break %d\n",
                  (unsigned long long)world.seed, (unsigned long long)events_per_run, broken);
    exit(1);
}

static uint64_t number(const char *text)
{
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0') {
        (void)fprintf(stderr, "sim: not a number: %s\n", text);
        exit(2);
    }
    return v;
}

static void one_run(uint64_t seed)
{
    world_init(&world, seed, events_per_run, (enum model_break)broken);
    while (world_step(&world))
        ;
    model_check_all(&world.model);
    (void)printf("sim: seed %llu: %llu events in %llu steps: %llu done %llu dead %llu cancelled; %llu runs %llu alone "
                 "%llu calls %llu refused %llu starts %llu stops %llu expired %llu refills %llu crashes\n",
                 (unsigned long long)seed, (unsigned long long)world.model.accepted, (unsigned long long)world.step,
                 (unsigned long long)world.model.by_state[M_DONE], (unsigned long long)world.model.by_state[M_DEAD],
                 (unsigned long long)world.model.by_state[M_CANCELLED], (unsigned long long)world.n_runs,
                 (unsigned long long)world.n_lone, (unsigned long long)world.n_calls_run,
                 (unsigned long long)world.n_refused, (unsigned long long)world.n_starts,
                 (unsigned long long)world.n_stops, (unsigned long long)world.n_expired,
                 (unsigned long long)world.n_refills, (unsigned long long)world.n_crashes);
    world_done(&world);
}

int main(int argc, char **argv)
{
    uint64_t seed = 0, runs = 1;
    bool seed_given = false;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) {
            (void)fprintf(stderr, "usage: sim [--seed N] [--runs N] [--events N] [--break N]\n");
            return 2;
        }
        uint64_t v = number(argv[i + 1]);
        if (strcmp(argv[i], "--seed") == 0) {
            seed = v;
            seed_given = true;
        } else if (strcmp(argv[i], "--runs") == 0) {
            runs = v;
        } else if (strcmp(argv[i], "--events") == 0 && v > 0 && v < MODEL_EVENTS_MAX) {
            events_per_run = v;
        } else if (strcmp(argv[i], "--break") == 0 && v < BREAKS) {
            broken = (int)v;
        } else {
            (void)fprintf(stderr, "sim: bad option: %s %s\n", argv[i], argv[i + 1]);
            return 2;
        }
    }
    if (!seed_given && getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return 2;
    seed >>= seed_given ? 0 : 16; /* short enough to type */
    (void)printf("sim: first seed %llu, %llu runs of %llu events\n", (unsigned long long)seed, (unsigned long long)runs,
                 (unsigned long long)events_per_run);
    (void)fflush(stdout);
    for (uint64_t i = 0; i < runs; i++)
        one_run(seed + i);
    return 0;
}
