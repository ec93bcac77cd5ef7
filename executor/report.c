#include "report.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

enum { MS_TEXT = 32, TYPE_TEXT = 288, LINES_MAX = 1024 };

/* "3.01": milliseconds with two decimals. */
static const char *ms_text(int64_t us, char out[MS_TEXT])
{
    (void)snprintf(out, MS_TEXT, "%lld.%02lld", (long long)(us / 1000), (long long)(us % 1000 / 10));
    return out;
}

void report_init_start(struct capture *c, const char *version, const char *region)
{
    uint8_t sum[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1], line[LINES_MAX];
    sha256_sum(version, strlen(version), sum);
    hex_encode(sum, sizeof sum, hex);
    (void)snprintf(line, sizeof line,
                   "INIT_START Runtime Version: %.128s\tRuntime Version ARN: arn:aws:lambda:%s::runtime:%s\n", version,
                   region, hex);
    capture_line(c, line);
}

/* "\tError Type: T", or nothing. */
static const char *type_text(const char *type, char out[TYPE_TEXT])
{
    out[0] = '\0';
    if (type[0] != '\0')
        (void)snprintf(out, TYPE_TEXT, "\tError Type: %.256s", type);
    return out;
}

void report_init_end(struct capture *c, int64_t init_us, const char *status, const char *error_type)
{
    char ms[MS_TEXT], type[TYPE_TEXT], line[LINES_MAX];
    (void)snprintf(line, sizeof line, "INIT_REPORT Init Duration: %s ms\tPhase: init\tStatus: %s%s\n",
                   ms_text(init_us, ms), status, type_text(error_type, type));
    capture_line(c, line);
}

void report_start(struct capture *c, const char *request_id, const char *function_version)
{
    char line[LINES_MAX];
    (void)snprintf(line, sizeof line, "START RequestId: %s Version: %s\n", request_id, function_version);
    capture_line(c, line);
}

void report_timed_out(struct capture *c, int64_t now_ms, const char *request_id, int64_t limit_ms)
{
    char when[CLOCK_ISO_LEN], seconds[MS_TEXT], line[LINES_MAX];
    clock_format_iso(now_ms, when);
    (void)snprintf(line, sizeof line, "%s %s Task timed out after %s seconds\n", when, request_id,
                   ms_text(limit_ms, seconds));
    capture_line(c, line);
}

/* A cold start bills its init too (Lambda: since August 2025). */
void report_end(struct capture *c, const struct report *r)
{
    char ms[MS_TEXT], init[64] = "", status[32] = "", type[TYPE_TEXT] = "", lines[LINES_MAX];
    long long billed = (r->duration_us + r->init_us + 999) / 1000;
    if (r->init_us > 0)
        (void)snprintf(init, sizeof init, "Init Duration: %s ms\t", ms_text(r->init_us, ms));
    if (r->status != NULL) {
        (void)snprintf(status, sizeof status, "Status: %s", r->status);
        (void)type_text(r->error_type, type);
    }
    (void)snprintf(
        lines, sizeof lines,
        "END RequestId: %s\nREPORT RequestId: %s\tDuration: %s ms\tBilled Duration: %lld ms\tMemory Size: %d "
        "MB\tMax Memory Used: %llu MB\t%s%s%s\n",
        r->request_id, r->request_id, ms_text(r->duration_us, ms), billed, (int)r->memory_mb,
        (unsigned long long)(r->peak_kb + 1023) / 1024, init, status, type);
    capture_line(c, lines);
}
