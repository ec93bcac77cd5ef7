#include "num.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first, so that formatting finds the shortest exact form. */
static const struct unit durations[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit sizes[] = {
    {"TiB", 1ULL << 40}, {"GiB", 1ULL << 30}, {"MiB", 1ULL << 20}, {"KiB", 1ULL << 10}, {"", 1}};
#define N(a_) (sizeof(a_) / sizeof((a_)[0]))

int num_parse_u64(const char *text, size_t len, uint64_t *ret)
{
    uint64_t v = 0;
    if (len == 0)
        return ERR_INVALID;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return ERR_INVALID;
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return ERR_INVALID;
        v = v * 10 + digit;
    }
    *ret = v;
    return 0;
}

int num_parse_i64(const char *text, size_t len, int64_t *ret)
{
    uint64_t v;
    bool minus = len > 0 && text[0] == '-';
    int rc = num_parse_u64(text + minus, len - minus, &v);
    if (rc < 0 || v > (uint64_t)INT64_MAX + minus)
        return ERR_INVALID;
    *ret = minus ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

static int parse_unit(const char *text, size_t len, const struct unit *units, size_t n, uint64_t max, uint64_t *ret)
{
    size_t digits = 0;
    uint64_t v;
    while (digits < len && text[digits] >= '0' && text[digits] <= '9')
        digits++;
    if (num_parse_u64(text, digits, &v) < 0)
        return ERR_INVALID;
    for (size_t i = 0; i < n; i++) {
        if (strlen(units[i].name) != len - digits || memcmp(units[i].name, text + digits, len - digits) != 0)
            continue;
        if (v > max / units[i].factor)
            return ERR_INVALID;
        *ret = v * units[i].factor;
        return 0;
    }
    return ERR_INVALID;
}

int num_parse_duration_ms(const char *text, size_t len, int64_t *ret)
{
    uint64_t v = 0;
    if (len == 1 && text[0] == '0') {
        *ret = 0;
        return 0;
    }
    int rc = parse_unit(text, len, durations, N(durations), INT64_MAX, &v);
    if (rc == 0)
        *ret = (int64_t)v;
    return rc;
}

int num_parse_size(const char *text, size_t len, uint64_t *ret)
{
    return parse_unit(text, len, sizes, N(sizes), UINT64_MAX, ret);
}

static void format_unit(uint64_t v, const struct unit *units, size_t n, char *out, size_t cap)
{
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && (v == 0 || v % units[i].factor != 0))
            continue;
        (void)snprintf(out, cap, "%llu%s", (unsigned long long)(v / units[i].factor), units[i].name);
        return;
    }
}

void num_format_duration_ms(int64_t ms, char *out, size_t cap)
{
    format_unit(ms < 0 ? 0 : (uint64_t)ms, durations, N(durations), out, cap);
}

void num_format_size(uint64_t bytes, char *out, size_t cap)
{
    format_unit(bytes, sizes, N(sizes), out, cap);
}
