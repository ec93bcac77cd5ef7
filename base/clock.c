#include "clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "num.h"

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

enum { DAY_LEN = 10, SECOND_LEN = 19 };

/* "2026-01-02T03:04:05", and nothing else: what strptime forgives is found by writing it again. */
static int parse_seconds(const char text[SECOND_LEN + 1], int64_t *ret)
{
    struct tm tm = {0};
    char again[SECOND_LEN + 1];
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (end == NULL || *end != '\0')
        return ERR_INVALID;
    time_t t = timegm(&tm);
    if (gmtime_r(&t, &tm) == NULL || strftime(again, sizeof again, "%Y-%m-%dT%H:%M:%S", &tm) != SECOND_LEN ||
        memcmp(again, text, SECOND_LEN) != 0 || t < 0)
        return ERR_INVALID;
    *ret = (int64_t)t * 1000;
    return 0;
}

/* "", "Z", ".6", ".678Z" */
static int parse_rest(const char *p, const char *end, int64_t *ret)
{
    if (p < end && *p == '.') {
        int64_t unit = 100;
        for (p++; p < end && *p >= '0' && *p <= '9' && unit > 0; p++, unit /= 10)
            *ret += unit * (*p - '0');
        if (unit == 100)
            return ERR_INVALID;
    }
    if (p < end && *p == 'Z')
        p++;
    return p == end ? 0 : ERR_INVALID;
}

int clock_parse_when(const char *text, size_t len, int64_t now_ms, int64_t *ret)
{
    int64_t ms;
    if (num_parse_duration_ms(text, len, &ms) == 0) {
        *ret = now_ms > ms ? now_ms - ms : 0;
        return 0;
    }
    char second[SECOND_LEN + 1] = "0000-00-00T00:00:00";
    bool day = len == DAY_LEN;
    if (day || (len >= SECOND_LEN && (text[DAY_LEN] == 'T' || text[DAY_LEN] == ' '))) {
        memcpy(second, text, day ? DAY_LEN : SECOND_LEN);
        second[DAY_LEN] = 'T';
        if (parse_seconds(second, ret) == 0)
            return day ? 0 : parse_rest(text + SECOND_LEN, text + len, ret);
    }
    return num_parse_i64(text, len, ret) == 0 && *ret >= 0 ? 0 : ERR_INVALID;
}
