#include "report.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

enum { MS_TEXT = 32 };

/* "3.01": milliseconds with two decimals. */
static const char *ms_text(int64_t us, char out[MS_TEXT])
{
    (void)snprintf(out, MS_TEXT, "%lld.%02lld", (long long)(us / 1000), (long long)(us % 1000 / 10));
    return out;
}

void report_init_start(struct capture *c, const char *version, const char *region)
{
    uint8_t sum[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1];
    sha256_sum(version, strlen(version), sum);
    hex_encode(sum, sizeof sum, hex);
    capture_printf(c, "INIT_START Runtime Version: %s\tRuntime Version ARN: arn:aws:lambda:%s::runtime:%s\n", version,
                   region, hex);
}

void report_init_end(struct capture *c, int64_t init_us, const char *status, const char *error_type)
{
    char ms[MS_TEXT];
    capture_printf(c, "INIT_REPORT Init Duration: %s ms\tPhase: init\tStatus: %s", ms_text(init_us, ms), status);
    if (error_type[0] != '\0')
        capture_printf(c, "\tError Type: %s", error_type);
    capture_add(c, "\n", 1);
}

void report_start(struct capture *c, const char *request_id, const char *function_version)
{
    capture_printf(c, "START RequestId: %s Version: %s\n", request_id, function_version);
}

void report_timed_out(struct capture *c, int64_t now_ms, const char *request_id, int64_t limit_ms)
{
    char when[CLOCK_ISO_LEN], seconds[MS_TEXT];
    clock_format_iso(now_ms, when);
    capture_printf(c, "%s %s Task timed out after %s seconds\n", when, request_id, ms_text(limit_ms, seconds));
}

/* A cold start bills its init too (Lambda: since August 2025). */
void report_end(struct capture *c, const struct report *r)
{
    char ms[MS_TEXT];
    long long billed = (r->duration_us + r->init_us + 999) / 1000;
    capture_printf(c, "END RequestId: %s\n", r->request_id);
    capture_printf(c,
                   "REPORT RequestId: %s\tDuration: %s ms\tBilled Duration: %lld ms\tMemory Size: %d MB\tMax Memory "
                   "Used: %llu MB\t",
                   r->request_id, ms_text(r->duration_us, ms), billed, (int)r->memory_mb,
                   (unsigned long long)(r->peak_kb + 1023) / 1024);
    if (r->init_us > 0)
        capture_printf(c, "Init Duration: %s ms\t", ms_text(r->init_us, ms));
    if (r->status != NULL)
        capture_printf(c, "Status: %s", r->status);
    if (r->status != NULL && r->error_type[0] != '\0')
        capture_printf(c, "\tError Type: %s", r->error_type);
    capture_add(c, "\n", 1);
}
