#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fdutil.h"

enum { LINE_MAX_LEN = 2048 };

static _Atomic int cur_level = LOG_LEVEL_INFO;
static _Atomic int cur_format = LOG_FORMAT_TEXT;
static _Atomic int cur_fd = STDERR_FILENO;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_setup(enum log_level level, enum log_format format, int fd)
{
    atomic_store(&cur_level, (int)level);
    atomic_store(&cur_format, (int)format);
    atomic_store(&cur_fd, fd);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&cur_level, memory_order_relaxed);
}

/* Bytes of the UTF-8 character at p (RFC 3629, table 3-7 of Unicode), 0 when it is none. p ends with a NUL. */
static size_t utf8_len(const unsigned char *p)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : 4;
    if ((p[0] >= 0x80 && p[0] < 0xc2) || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool outside = (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf4 && p[1] >= 0x90);
    return overlong || outside ? 0 : n;
}

/* Copy s into out so that one fact stays one line, any terminal survives it and, for JSON, it stays a string. */
static void escape(const char *s, char *out, size_t cap, bool json)
{
    size_t n = 0, len;
    for (const unsigned char *p = (const unsigned char *)s; *p != '\0' && n + 7 < cap; p += len) {
        size_t valid = utf8_len(p);
        len = valid > 0 ? valid : 1;
        if (*p < 0x20 || *p == 0x7f || (valid == 0 && !json))
            n += (size_t)snprintf(out + n, cap - n, json ? "\\u%04x" : "\\x%02x", *p);
        else if (valid == 0)
            n += (size_t)snprintf(out + n, cap - n, "\\ufffd");
        else if (json && (*p == '"' || *p == '\\'))
            n += (size_t)snprintf(out + n, cap - n, "\\%c", *p);
        else {
            memcpy(out + n, p, len);
            n += len;
        }
    }
    out[n] = '\0';
}

void log_write(enum log_level level, const char *area, const char *fmt, ...)
{
    if (!log_enabled(level))
        return;
    int keep = errno;
    char msg[LINE_MAX_LEN / 2], safe[LINE_MAX_LEN], line[LINE_MAX_LEN + 256], stamp[CLOCK_ISO_LEN];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    bool json = atomic_load(&cur_format) == LOG_FORMAT_JSON;
    escape(msg, safe, sizeof safe, json);
    clock_format_iso(clock_real_ms(), stamp);
    int n = json ? snprintf(line, sizeof line, "{\"time\":\"%s\",\"level\":\"%s\",\"area\":\"%s\",\"msg\":\"%s\"}\n",
                            stamp, level_names[level], area, safe)
                 : snprintf(line, sizeof line, "%s %s %s %s\n", stamp, level_names[level], area, safe);
    BIDE_ASSERT(n > 0 && (size_t)n < sizeof line, "log line of %d bytes", n);
    /* Nobody is left to be told when the log itself cannot be written. */
    int unwritten = fd_write_all(atomic_load(&cur_fd), line, (size_t)n);
    (void)unwritten;
    errno = keep;
}
