#include "clock.h"

#include <stdio.h>
#include <time.h>

#include "err.h"

void clock_init_real(struct clock *c)
{
    c->is_virtual = false;
    atomic_store(&c->now_ms, 0);
}

void clock_init_virtual(struct clock *c, int64_t start_ms)
{
    c->is_virtual = true;
    atomic_store(&c->now_ms, start_ms);
}

int64_t clock_now_ms(struct clock *c)
{
    return c->is_virtual ? atomic_load(&c->now_ms) : clock_real_ms();
}

int64_t clock_advance(struct clock *c, int64_t by_ms)
{
    BIDE_ASSERT(c->is_virtual && by_ms >= 0, "advance by %lld", (long long)by_ms);
    return atomic_fetch_add(&c->now_ms, by_ms) + by_ms;
}

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    BIDE_ASSERT(clock_gettime(id, &ts) == 0, "clock %d", (int)id);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_real_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_mono_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

static void format(int64_t ms, const char *zone, char *out)
{
    int64_t sec = ms / 1000, part = ms % 1000;
    if (part < 0) {
        sec--;
        part += 1000;
    }
    time_t t = (time_t)sec;
    struct tm tm;
    char day[24];
    if (gmtime_r(&t, &tm) == NULL || strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        day[0] = '\0';
    (void)snprintf(out, CLOCK_ISO_LEN, "%s.%03d%s", day, (int)part, zone);
}

void clock_format_lambda(int64_t ms, char *out)
{
    format(ms, "+0000", out);
}

void clock_format_iso(int64_t ms, char *out)
{
    format(ms, "Z", out);
}
