#include "when.h"

#include <string.h>
#include <time.h>

#include "base/num.h"

/* n digits at *p, from lo to hi. */
static bool digits(const char **p, int n, int lo, int hi, int *ret)
{
    *ret = 0;
    for (int i = 0; i < n; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return false;
        *ret = *ret * 10 + (**p - '0');
    }
    return *ret >= lo && *ret <= hi;
}

static bool skip(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

static bool fraction(const char **p, int *ret_ms)
{
    int n = 0, scale = 100;
    *ret_ms = 0;
    for (; **p >= '0' && **p <= '9'; (*p)++, n++, scale /= 10)
        *ret_ms += (**p - '0') * scale; /* what is finer than a millisecond counts nothing */
    return n > 0 && n <= 9;
}

/* "Z", "+01:00", "+0100" or nothing. */
static bool zone(const char **p, int *ret_min)
{
    int h, m, sign = **p == '-' ? -1 : 1;
    *ret_min = 0;
    if (**p == '\0' || skip(p, 'Z') || skip(p, 'z'))
        return true;
    if (!skip(p, '+') && !skip(p, '-'))
        return false;
    if (!digits(p, 2, 0, 23, &h))
        return false;
    (void)skip(p, ':');
    if (!digits(p, 2, 0, 59, &m))
        return false;
    *ret_min = sign * (h * 60 + m);
    return true;
}

static bool date(const char *p, int64_t *ret_ms)
{
    struct tm tm = {0};
    int ms = 0, off = 0, day;
    if (!digits(&p, 4, 1970, 9999, &tm.tm_year) || !skip(&p, '-') || !digits(&p, 2, 1, 12, &tm.tm_mon) ||
        !skip(&p, '-') || !digits(&p, 2, 1, 31, &tm.tm_mday))
        return false;
    if (skip(&p, 'T') || skip(&p, 't') || skip(&p, ' ')) {
        if (!digits(&p, 2, 0, 23, &tm.tm_hour) || !skip(&p, ':') || !digits(&p, 2, 0, 59, &tm.tm_min))
            return false;
        if (skip(&p, ':') && (!digits(&p, 2, 0, 59, &tm.tm_sec) || (skip(&p, '.') && !fraction(&p, &ms))))
            return false;
        if (!zone(&p, &off))
            return false;
    }
    tm.tm_year -= 1900;
    tm.tm_mon--;
    day = tm.tm_mday;
    time_t t = timegm(&tm);
    if (*p != '\0' || tm.tm_mday != day) /* 30 February */
        return false;
    *ret_ms = ((int64_t)t - off * 60) * 1000 + ms;
    return *ret_ms >= 0;
}

bool when_parse(const char *text, int64_t now_ms, int64_t *ret_ms)
{
    int64_t back;
    if (num_parse_duration_ms(text, strlen(text), &back) == 0) {
        *ret_ms = back < now_ms ? now_ms - back : 0;
        return true;
    }
    return date(text, ret_ms);
}
