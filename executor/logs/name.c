#include "name.h"

#include <stdio.h>
#include <string.h>

#include "base/num.h"

enum { DATE_LEN = 10, ID_LEN = 32, FUNCTION_LEN_MAX = 64 };

static const char digits[] = "0123456789", hex[] = "0123456789abcdef";

bool name_function_ok(const char *function)
{
    size_t n = strlen(function);
    return n > 0 && n <= FUNCTION_LEN_MAX &&
           strspn(function, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == n;
}

static bool is_date(const char *p, char mark)
{
    for (size_t i = 0; i < DATE_LEN; i++)
        if (i == 4 || i == 7 ? p[i] != mark : p[i] < '0' || p[i] > '9')
            return false;
    return true;
}

static bool is_version(const char *p, size_t n, const char *latest)
{
    if (n == strlen(latest) && memcmp(p, latest, n) == 0)
        return true;
    for (size_t i = 0; i < n; i++)
        if (strchr(digits, p[i]) == NULL)
            return false;
    return n > 0 && n <= 20;
}

bool name_base(const char *stream, char base[NAME_BASE_MAX])
{
    size_t n = strlen(stream);
    const char *close = n > DATE_LEN + 2 ? strchr(stream + DATE_LEN, ']') : NULL;
    if (close == NULL || !is_date(stream, '/') || stream[DATE_LEN] != '/' || stream[DATE_LEN + 1] != '[' ||
        strlen(close + 1) != ID_LEN || strspn(close + 1, hex) != ID_LEN)
        return false;
    const char *version = stream + DATE_LEN + 2;
    size_t len = (size_t)(close - version);
    if (!is_version(version, len, "$LATEST"))
        return false;
    (void)snprintf(base, NAME_BASE_MAX, "%.4s-%.2s-%.2s-%.*s-%s", stream, stream + 5, stream + 8,
                   (int)(len - (*version == '$')), version + (*version == '$'), close + 1);
    return true;
}

bool name_base_ok(const char *base, size_t len)
{
    if (len < DATE_LEN + 1 + 1 + 1 + ID_LEN || len >= NAME_BASE_MAX)
        return false;
    const char *id = base + len - ID_LEN;
    for (size_t i = 0; i < ID_LEN; i++)
        if (id[i] == '\0' || strchr(hex, id[i]) == NULL)
            return false;
    return is_date(base, '-') && base[DATE_LEN] == '-' && id[-1] == '-' &&
           is_version(base + DATE_LEN + 1, (size_t)(id - 1 - (base + DATE_LEN + 1)), "LATEST");
}

void name_stream(const char *base, char *out, size_t cap)
{
    size_t len = strlen(base);
    const char *version = base + DATE_LEN + 1;
    (void)snprintf(out, cap, "%.4s/%.2s/%.2s/[%s%.*s]%s", base, base + 5, base + 8, *version == 'L' ? "$" : "",
                   (int)(len - ID_LEN - 1 - DATE_LEN - 1), version, base + len - ID_LEN);
}

void name_file(const char *base, uint32_t segment, char out[NAME_FILE_MAX])
{
    if (segment <= 1)
        (void)snprintf(out, NAME_FILE_MAX, "%s.log", base);
    else
        (void)snprintf(out, NAME_FILE_MAX, "%s.%u.log", base, (unsigned)segment);
}

bool name_parse_file(const char *file, char base[NAME_BASE_MAX], uint32_t *ret_segment)
{
    const char *dot = strchr(file, '.');
    uint64_t n = 1;
    if (dot == NULL || !name_base_ok(file, (size_t)(dot - file)))
        return false;
    if (strcmp(dot, ".log") != 0) {
        const char *end = strchr(dot + 1, '.');
        if (end == NULL || strcmp(end, ".log") != 0 || num_parse_u64(dot + 1, (size_t)(end - dot - 1), &n) < 0 ||
            n < 2 || n > NAME_SEGMENT_MAX || dot[1] == '0')
            return false;
    }
    memcpy(base, file, (size_t)(dot - file));
    base[dot - file] = '\0';
    *ret_segment = (uint32_t)n;
    return true;
}
