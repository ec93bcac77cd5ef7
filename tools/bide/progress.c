#include "progress.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "tick.h"

enum { STEP_MS = 100 };

static bool shown;
static int64_t next_ms;

void progress_show(const char *fmt, ...)
{
    static int terminal = -1;
    va_list ap;
    if (terminal < 0)
        terminal = isatty(STDERR_FILENO);
    if (!terminal || tick_ms() < next_ms)
        return;
    next_ms = tick_ms() + STEP_MS;
    (void)fputs("\r\033[K", stderr);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fflush(stderr);
    shown = true;
}

void progress_clear(void)
{
    if (shown)
        (void)fputs("\r\033[K", stderr);
    shown = false;
    next_ms = 0;
}
