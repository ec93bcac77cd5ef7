#include "notify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"

#ifdef BIDE_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>

/* Not sd_watchdog_enabled(3): that one wants WATCHDOG_PID to be this process, and it is the executor process, whose
 * child this is. */
int64_t notify_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t us, for_pid;
    if (usec == NULL || num_parse_u64(usec, strlen(usec), &us) < 0 || us < 1000 || us > INT64_MAX)
        return 0;
    if (pid == NULL)
        return (int64_t)(us / 1000);
    if (num_parse_u64(pid, strlen(pid), &for_pid) < 0)
        return 0;
    return for_pid == (uint64_t)getpid() || for_pid == (uint64_t)getppid() ? (int64_t)(us / 1000) : 0;
}

void notify_tell(const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)sd_notify(0, text);
}
#else
int64_t notify_watchdog_ms(void)
{
    return 0;
}

void notify_tell(const char *fmt, ...)
{
    (void)fmt;
}
#endif
