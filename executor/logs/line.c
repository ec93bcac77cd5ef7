#include "line.h"

#include <string.h>

int line_put(struct buf *b, const char *stamp, const char *request_id, const char *text, size_t len)
{
    const char *id = request_id[0] != '\0' ? request_id : "-";
    size_t id_len = strlen(id);
    int rc = buf_reserve(b, LINE_STAMP_LEN + 1 + id_len + 1 + len + 1);
    if (rc < 0)
        return rc;
    char *p = b->data + b->len;
    memcpy(p, stamp, LINE_STAMP_LEN);
    p += LINE_STAMP_LEN;
    *p++ = ' ';
    memcpy(p, id, id_len);
    p += id_len;
    *p++ = ' ';
    memcpy(p, text, len);
    p += len;
    *p++ = '\n';
    b->len = (size_t)(p - b->data);
    b->data[b->len] = '\0';
    return 0;
}

static bool number(const char *p, size_t n, int64_t *ret)
{
    *ret = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        *ret = *ret * 10 + (p[i] - '0');
    }
    return true;
}

/* Days from 1970-01-01 to a day of the Gregorian calendar. */
static int64_t days(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

bool line_parse_time(const char *p, size_t len, int64_t *ret_ms)
{
    int64_t y, mo, d, h, mi, s, ms;
    if (len < LINE_STAMP_LEN || p[4] != '-' || p[7] != '-' || p[10] != 'T' || p[13] != ':' || p[16] != ':' ||
        p[19] != '.' || p[23] != 'Z' || !number(p, 4, &y) || !number(p + 5, 2, &mo) || !number(p + 8, 2, &d) ||
        !number(p + 11, 2, &h) || !number(p + 14, 2, &mi) || !number(p + 17, 2, &s) || !number(p + 20, 3, &ms))
        return false;
    if (y < 1970 || mo < 1 || mo > 12 || d < 1 || d > 31 || h > 23 || mi > 59 || s > 60)
        return false;
    *ret_ms = ((days(y, mo, d) * 24 + h) * 60 + mi) * 60000 + s * 1000 + ms;
    return true;
}

bool line_parse(const char *p, size_t len, struct line *ret)
{
    if (!line_parse_time(p, len, &ret->time_ms) || len < LINE_STAMP_LEN + 3 || p[LINE_STAMP_LEN] != ' ')
        return false;
    const char *id = p + LINE_STAMP_LEN + 1;
    size_t left = len - LINE_STAMP_LEN - 1;
    const char *space = memchr(id, ' ', left < LINE_REQUEST_MAX ? left : LINE_REQUEST_MAX);
    if (space == NULL || space == id)
        return false;
    size_t n = (size_t)(space - id);
    if (n == 1 && *id == '-')
        n = 0;
    memcpy(ret->request_id, id, n);
    ret->request_id[n] = '\0';
    ret->text = space + 1;
    ret->len = len - (size_t)(space + 1 - p);
    return true;
}
