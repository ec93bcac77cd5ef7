#include "log.h"

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

/* Copy s into out so that one fact stays one line and, for JSON, stays a string. */
static size_t escape(const char *s, char *out, size_t cap, bool json)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)s; *p != '\0' && n + 7 < cap; p++) {
        if (*p < 0x20 || *p == 0x7f)
            n += (size_t)snprintf(out + n, cap - n, json ? "\\u%04x" : "\\x%02x", *p);
        else if (json && (*p == '"' || *p == '\\'))
            n += (size_t)snprintf(out + n, cap - n, "\\%c", *p);
        else
            out[n++] = (char)*p;
    }
    out[n] = '\0';
    return n;
}

void log_write(enum log_level level, const char *area, const char *fmt, ...)
{
    if (!log_enabled(level))
        return;
    char msg[LINE_MAX_LEN / 2], safe[LINE_MAX_LEN], line[LINE_MAX_LEN + 256], stamp[CLOCK_ISO_LEN];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    bool json = atomic_load(&cur_format) == LOG_FORMAT_JSON;
    (void)escape(msg, safe, sizeof safe, json);
    clock_format_iso(clock_real_ms(), stamp);
    int n = json ? snprintf(line, sizeof line, "{\"time\":\"%s\",\"level\":\"%s\",\"area\":\"%s\",\"msg\":\"%s\"}\n",
                            stamp, level_names[level], area, safe)
                 : snprintf(line, sizeof line, "%s %s %s %s\n", stamp, level_names[level], area, safe);
    /* Nobody is left to be told when the log itself cannot be written. */
    if (n > 0 && fd_write_all(atomic_load(&cur_fd), line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1) < 0)
        return;
}
